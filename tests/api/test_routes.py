"""The API, asked as a client would."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from studio.core.errors import Busy, NotFound
from tests.api.house import WANT, House, complaint, png, unknown


@pytest.fixture
def client(alone: House):
    with alone.client() as client:
        yield client
        for job in client.get("/api/jobs?active=1").json()["jobs"]:
            client.delete(f"/api/jobs/{job['id']}")


def submitted(client: httpx.Client, **fields: object) -> dict:
    answer = client.post("/api/jobs", json={**WANT, **fields})
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_a_job_is_queued_found_and_stopped(client: httpx.Client) -> None:
    job = submitted(client, seed=5)
    assert job["state"] == "queued" and job["position"] == 1
    assert job["request"]["seed"] == 5
    assert client.get(f"/api/jobs/{job['id']}").json() == job
    assert client.get("/api/jobs").json()["jobs"][0] == job
    assert client.get("/api/live").json()["jobs"][0]["id"] == job["id"]
    assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
    assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"


def test_everything_but_the_prompt_may_be_left_out(client: httpx.Client) -> None:
    answer = client.post("/api/jobs", json={"prompt": "a fox"})
    assert answer.status_code == 202
    left_open = {name for name, value in answer.json()["request"].items() if value is None}
    assert left_open == {"hires", "typed"}  # nothing asked for, nothing to decide


def test_a_changed_size_is_said(client: httpx.Client) -> None:
    job = submitted(client, width=65)
    assert job["request"]["width"] == 64
    assert "65 became 64" in job["notes"][0]


def test_a_job_can_be_run_again(client: httpx.Client) -> None:
    first = submitted(client)
    answer = client.post(f"/api/jobs/{first['id']}/rerun")
    assert answer.status_code == 202
    assert answer.json()["id"] != first["id"]
    assert answer.json()["request"] == first["request"]


def test_jobs_can_be_put_in_another_order(client: httpx.Client) -> None:
    a, b, c = (submitted(client, seed=seed)["id"] for seed in range(3))

    def order() -> list[str]:
        return [job["id"] for job in client.get("/api/jobs?active=true").json()["jobs"]]

    assert order() == [a, b, c]
    assert client.post(f"/api/jobs/{c}/move", json={"before": a}).json()["position"] == 1
    assert order() == [c, a, b]
    assert client.post(f"/api/jobs/{c}/move", json={"before": None}).status_code == 200
    assert order() == [a, b, c]
    complaint(client.post(f"/api/jobs/{c}/move", json={"before": unknown()}), 404)
    complaint(client.post(f"/api/jobs/{c}/move", json={"before": 3}), 422)
    complaint(client.post(f"/api/jobs/{c}/move", json={}), 422)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[1]", "application/json", 422),
        (b'"x"', "application/json", 422),
        (b"null", "application/json", 422),
        (b"", "application/json", 422),
        (b"{", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b'{"task": "txt2img", "prompt": NaN}', "application/json", 422),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b'{"task": "txt2img", "prompt": "x"}', "text/plain", 415),
        (b'{"task": "txt2img", "prompt": "x"}', "application/x-www-form-urlencoded", 415),
        (b'{"task": "txt2img", "prompt": "x"}', "", 415),
        (b'{"task": 3, "prompt": "x"}', "application/json", 422),
        (b'{"task": "mine bitcoin", "prompt": "x"}', "application/json", 422),
        (b'{"task": "txt2img", "prompt": "x", "n": 1}', "application/json", 422),
        (
            b'{"task": "txt2img", "prompt": "x", "seed": ' + b"9" * 5000 + b"}",
            "application/json",
            422,
        ),
        (b'{"task": "txt2img", "prompt": "\\ud800"}', "application/json", 422),
    ],
)
def test_a_body_that_is_no_job_is_one_sentence(
    client: httpx.Client, body: bytes, kind: str, status: int
) -> None:
    before = len(client.get("/api/jobs").json()["jobs"])
    complaint(client.post("/api/jobs", content=body, headers={"content-type": kind}), status)
    assert len(client.get("/api/jobs").json()["jobs"]) == before


@pytest.mark.parametrize("path", ["", "/events", "/preview", "/rerun"])
@pytest.mark.parametrize("job", ["0" * 32, "x", "%2e%2e", "a%00b", "é", "9" * 300])
def test_an_unknown_job_is_404(client: httpx.Client, path: str, job: str) -> None:
    verb = "POST" if path == "/rerun" else "GET"
    complaint(client.request(verb, f"/api/jobs/{job}{path}"), 404)


def test_an_address_that_does_not_exist_is_404_in_the_same_shape(client: httpx.Client) -> None:
    error = complaint(client.get("/api/pictures"), 404)
    assert "GET /api/pictures" in error["message"]
    complaint(client.post("/api"), 404)
    complaint(client.delete("/api/health"), 405)
    complaint(client.get("/api/images/" + unknown() + "/secrets"), 404)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=201", "starred=perhaps", "since=soon", "until=1e400"]
)
def test_a_wrong_parameter_is_named(client: httpx.Client, query: str) -> None:
    error = complaint(client.get(f"/api/images?{query}"), 422)
    assert error["field"] == query.partition("=")[0]


def test_an_unexpected_error_shows_an_id_and_nothing_else(
    alone: House, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    def broken(owner: str) -> dict:
        raise RuntimeError("the secret of /home/ada")

    monkeypatch.setattr(alone.studio, "live", broken)
    error = complaint(client.get("/api/live"), 500)
    number = error["message"].partition("(id ")[2].rstrip(").")
    assert len(number) == 8 and "secret" not in str(error)
    assert number in caplog.text and "the secret of /home/ada" in caplog.text


def test_an_error_of_the_studio_keeps_its_words(
    alone: House, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise Busy("You already have 4 jobs waiting.", "Wait.", field="count")

    monkeypatch.setattr(alone.studio, "submit", busy)
    answer = client.post("/api/jobs", json=WANT)
    assert complaint(answer, 429) == {
        "message": "You already have 4 jobs waiting.",
        "hint": "Wait.",
        "field": "count",
    }
    assert answer.headers["retry-after"]


def test_pictures_are_found_starred_trashed_and_restored(
    alone: House, client: httpx.Client
) -> None:
    fox = alone.picture("local", "a quiet fox", seed=1).id
    owl = alone.picture("local", "a quiet owl", seed=2).id

    def found(query: str) -> list[str]:
        return [one["id"] for one in client.get(f"/api/images?{query}").json()["images"]]

    assert found("text=quiet") == [owl, fox]
    assert found("text=quiet&since=2020-01-01&until=2100-01-01T00:00:00Z&task=txt2img") == [
        owl,
        fox,
    ]
    made = client.get(f"/api/images/{fox}").json()["created"]
    day, night = (
        datetime.fromtimestamp(made + days * 86_400, UTC).date().isoformat() for days in (0, -1)
    )
    assert found(f"text=quiet&since={day}&until={day}") == [owl, fox]
    assert found(f"text=quiet&until={night}") == found(f"text=quiet&until={day}T00:00:00") == []
    assert found("text=quiet&until=9999-12-31") == [owl, fox]
    assert found("text=quiet&checkpoint=other") == []
    first = client.get("/api/images?text=quiet&limit=1").json()
    assert [one["id"] for one in first["images"]] == [owl]
    assert found(f"text=quiet&limit=1&cursor={first['next']}") == [fox]

    assert client.patch(f"/api/images/{fox}", json={"starred": True}).json()["starred"] is True
    assert found("text=quiet&starred=true") == [fox]
    complaint(client.patch(f"/api/images/{fox}", json={"starred": 1}), 422)
    complaint(client.patch(f"/api/images/{fox}", json={"starred": True, "owner": "ada"}), 422)

    assert client.delete(f"/api/images/{fox}").status_code == 204
    assert client.post("/api/images/trash", json={"ids": [owl]}).status_code == 204
    assert found("text=quiet") == []
    assert set(found("text=quiet&trashed=1")) == {fox, owl}
    assert client.post("/api/images/restore", json={"ids": [fox]}).status_code == 204
    assert found("text=quiet") == [fox]
    assert client.delete("/api/trash").status_code == 204
    complaint(client.get(f"/api/images/{owl}"), 404)
    complaint(client.post("/api/images/trash", json={"ids": "x"}), 422)
    complaint(client.post("/api/images/trash", json={"ids": ["x"] * 1001}), 422)


def test_a_picture_that_a_waiting_job_starts_from_stays_until_that_is_done(
    alone: House, client: httpx.Client
) -> None:
    fox = alone.picture("local", "a needed fox", seed=4).id
    job = submitted(client, task="img2img", image=fox)["id"]
    assert client.delete(f"/api/images/{fox}").status_code == 204
    assert client.delete("/api/trash").status_code == 204
    assert client.get(f"/api/images/{fox}/file").status_code == 200
    client.delete(f"/api/jobs/{job}")
    assert client.delete("/api/trash").status_code == 204
    complaint(client.get(f"/api/images/{fox}/file"), 404)


def test_the_file_is_the_png_as_it_was_saved(alone: House, client: httpx.Client) -> None:
    record = alone.picture("local", "a fox", seed=3)
    saved = alone.studio.file("local", record.id)
    answer = client.get(f"/api/images/{record.id}/file")
    assert answer.content == saved.read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == f'inline; filename="{saved.name}"'
    kept = client.get(f"/api/images/{record.id}/file?download=1")
    assert kept.headers["content-disposition"].startswith("attachment")
    thumb = client.get(f"/api/images/{record.id}/thumb")
    assert thumb.headers["content-type"] == "image/webp" and thumb.content[8:12] == b"WEBP"


def test_an_upload_gets_the_same_ref_raw_or_as_a_form(client: httpx.Client) -> None:
    data = png()
    raw = client.post("/api/inputs", content=data, headers={"content-type": "image/png"})
    form = client.post("/api/inputs", files={"file": ("../../x.png", data, "image/png")})
    assert raw.status_code == form.status_code == 201
    assert raw.json() == form.json() and len(raw.json()["ref"]) == 64


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "image/png", 422),
        (b"hello", "image/png", 415),
        (b"hello", "text/plain", 415),
        (b"{}", "application/json", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"--x\r\n\r\nhi", "multipart/form-data", 422),
        (b"nonsense", "multipart/form-data; boundary=x", 422),
        (
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--",
            "multipart/form-data; boundary=x",
            422,
        ),
    ],
)
def test_what_is_no_picture_is_refused(
    client: httpx.Client, body: bytes, kind: str, status: int
) -> None:
    complaint(client.post("/api/inputs", content=body, headers={"content-type": kind}), status)


def test_a_picture_without_settings_says_so(client: httpx.Client) -> None:
    complaint(client.post("/api/settings-from-picture", content=png()), 422)


def test_a_form_is_kept_as_it_stands(client: httpx.Client) -> None:
    assert client.put("/api/drafts/txt2img", json={"prompt": "half a th"}).status_code == 204
    assert client.get("/api/drafts/txt2img").json() == {"prompt": "half a th"}
    complaint(client.put("/api/drafts/txt2img", json={"prompt": "x" * 70_000}), 413)
    complaint(client.put("/api/drafts/..%2f", json={}), 404)
    complaint(client.put("/api/drafts/UP", json={}), 422)


def test_choices_name_what_a_request_may(client: httpx.Client) -> None:
    choices = client.get("/api/choices").json()
    assert "tiny" in [checkpoint["id"] for checkpoint in choices["checkpoints"]]
    assert len(choices["samplers"]) >= 12
    assert choices["tasks"][0]["schema"]["properties"]["prompt"]["description"]


def test_tokens_are_counted_short_and_long(
    alone: House, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(checkpoint: str | None, text: str) -> dict[str, int]:
        if checkpoint == "none":
            raise NotFound("There is no such checkpoint.", "Choose another one.")
        return {"used": len(text.split()), "window": 75, "chunks": 1}

    monkeypatch.setattr(alone.studio, "tokens", counted)
    assert client.get("/api/tokens", params={"text": "a red fox"}).json()["used"] == 3
    long = {"text": "ä " * 4000, "checkpoint": None}
    assert client.post("/api/tokens", json=long).json()["used"] == 4000
    complaint(client.post("/api/tokens", json={"text": "x" * 8001}), 422)
    complaint(client.post("/api/tokens", json={"text": 3}), 422)
    complaint(client.get("/api/tokens?checkpoint=none"), 404)


def test_openapi_holds_each_task_and_the_docs_need_no_network(client: httpx.Client) -> None:
    document = client.get("/api/openapi.json").json()
    body = document["paths"]["/api/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/AnyTask"}
    any_task = document["components"]["schemas"]["AnyTask"]
    tasks = {task["properties"]["task"]["const"]: task for task in any_task["oneOf"]}
    assert tasks["txt2img"]["required"] == ["prompt"]
    assert tasks["txt2img"]["properties"]["steps"]["description"]
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            assert operation.get("summary"), (verb, path)
            assert "4XX" in operation["responses"]
    docs = client.get("/api/docs")
    assert docs.status_code == 200 and "POST /api/jobs" in docs.text
    assert docs.text.count("The settings of txt2img") == 2  # what it would take, and asking for it
    assert "<script" not in docs.text and "//cdn" not in docs.text


def test_health_answers(client: httpx.Client) -> None:
    assert client.get("/api/health").json()["status"] == "ok"


def test_fifty_clients_at_once_lose_nothing(alone: House) -> None:
    def ask(number: int) -> str:
        with alone.client() as client:
            return submitted(client, seed=number)["id"]

    with ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(ask, range(50)))
    assert len(set(ids)) == 50
    with alone.client() as client:
        listed = {
            job["id"]: job for job in client.get("/api/jobs?limit=200&active=1").json()["jobs"]
        }
        assert [listed[one]["request"]["seed"] for one in ids] == list(range(50))
        for one in ids:
            client.delete(f"/api/jobs/{one}")
