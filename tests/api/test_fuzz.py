"""Whatever is sent, the answer is a success or one sentence, never a 500."""

import json
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.api.house import WANT, House, complaint

plain = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=40)
anything = some.recursive(
    plain,
    lambda inner: (
        some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
quickly = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sane(answer) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        complaint(answer, answer.status_code)


@quickly
@given(
    field=some.sampled_from([*WANT, "steps", "seed", "count", "guidance", "sampler", "?"]),
    value=anything,
)
def test_jobs(alone: House, field: str, value: object) -> None:
    with alone.client() as client:
        body = json.dumps({**WANT, field: value})
        answer = client.post(
            "/api/jobs", content=body, headers={"content-type": "application/json"}
        )
        sane(answer)
        if answer.status_code == 202:
            client.delete(f"/api/jobs/{answer.json()['id']}")


@quickly
@given(
    path=some.sampled_from(
        [
            "jobs/{}",
            "jobs/{}/events",
            "images/{}",
            "images/{}/file",
            "images/{}/thumb",
            "drafts/{}",
            "images?text={}",
            "images?cursor={}",
            "images?since={}",
            "images?checkpoint={}",
            "tokens?checkpoint={}",
            "stream/{}",
            "{}",
        ]
    ),
    text=some.text(min_size=1, max_size=60).filter(lambda text: text not in {".", ".."}),
)
def test_addresses(alone: House, path: str, text: str) -> None:
    encoded = quote(text.encode("utf-8", "surrogatepass"), safe="")
    with alone.client() as client:
        sane(client.get("/api/" + path.format(encoded)))


@quickly
@given(
    path=some.sampled_from(["images/trash", "images/restore", "tokens", "jobs/x/move"]),
    body=anything,
)
def test_bodies(alone: House, path: str, body: object) -> None:
    with alone.client() as client:
        kind = {"content-type": "application/json"}
        sane(client.post(f"/api/{path}", content=json.dumps(body), headers=kind))
        sane(client.put("/api/drafts/fuzz", content=json.dumps(body), headers=kind))


@quickly
@given(
    data=some.binary(max_size=200),
    kind=some.sampled_from(["image/png", "", "x/y", "multipart/form-data; boundary=x"]),
)
def test_files(alone: House, data: bytes, kind: str) -> None:
    with alone.client() as client:
        sane(client.post("/api/inputs", content=data, headers={"content-type": kind}))
        sane(
            client.post("/api/settings-from-picture", content=data, headers={"content-type": kind})
        )
