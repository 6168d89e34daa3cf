"""What a request would take, and what is in memory: for whom, and what comes back."""

from collections.abc import Iterator

import httpx
import pytest

from studio.core.errors import Refused
from studio.costs.history import Painted
from tests.api.house import USERS, WANT, House, complaint, png


@pytest.fixture
def client(alone: House) -> Iterator[httpx.Client]:
    with alone.client() as client:
        yield client


def test_an_estimate_queues_nothing(client: httpx.Client) -> None:
    before = client.get("/api/jobs").json()
    answer = client.post("/api/estimate", json={**WANT, "count": 3})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    # no engine has painted here yet
    assert told["seconds"] is None and told["measured"] is False
    assert told["peak_bytes"] > 0 and told["refused"] is None and told["changes"] == []
    assert client.get("/api/jobs").json() == before


@pytest.mark.parametrize(
    ("want", "by", "pixels"),
    [
        ({"task": "upscale", "upscaler": "lanczos"}, "upscaler:lanczos", 80 * 40),
        ({"task": "preprocess", "preprocessor": "canny"}, "preprocessor:canny", 40 * 20),
    ],
)
def test_what_needs_no_checkpoint_is_estimated_from_what_it_took(
    client: httpx.Client, alone: House, want: dict[str, str], by: str, pixels: int
) -> None:
    kind = {"Content-Type": "image/png"}
    ref = client.post("/api/inputs", content=png((40, 20)), headers=kind).json()["ref"]
    want = {**want, "image": ref}
    assert client.post("/api/estimate", json=want).json()["words"] == ""
    took = Painted(
        checkpoint=by,
        device="cpu",
        dtype="float32",
        pixels=pixels,
        calls=1,
        batch=1,
        nets=0,
        call_s=3.0,
        rest_s=0.0,
        predicted_bytes=0,
        peak_bytes=0,
    )
    alone.app.history.add([took])
    told = client.post("/api/estimate", json=want).json()
    assert (told["words"], told["measured"]) == ("≈ 3 s", True)


def test_a_form_may_be_estimated_before_its_prompt_is_written(client: httpx.Client) -> None:
    first = client.get("/api/choices").json()["checkpoints"][0]
    told = client.post("/api/estimate", json={"prompt": " "}).json()
    assert told["size"] == [first["native_px"]] * 2
    more = client.post("/api/estimate", json={**WANT, "width": 512, "height": 512}).json()
    less = client.post("/api/estimate", json=WANT).json()
    assert more["peak_bytes"] > less["peak_bytes"]


def test_a_form_may_be_estimated_before_its_preprocessor_has_its_weights(
    client: httpx.Client,
) -> None:
    kind = {"Content-Type": "image/png"}
    ref = client.post("/api/inputs", content=png((40, 20)), headers=kind).json()["ref"]
    want = {"task": "preprocess", "preprocessor": "hed", "image": ref}
    assert "weights" in complaint(client.post("/api/jobs", json=want), 422)["message"]
    assert client.post("/api/estimate", json=want).status_code == 200


def test_what_would_be_refused_is_refused_here_too(client: httpx.Client) -> None:
    assert (
        complaint(client.post("/api/estimate", json={**WANT, "steps": 0}), 422)["field"] == "steps"
    )
    complaint(client.post("/api/estimate", json={**WANT, "task": "nothing"}), 422)
    complaint(client.post("/api/estimate", json={**WANT, "task": 3}), 422)
    complaint(client.post("/api/estimate", json=[]), 422)


def test_what_no_checkpoint_paints_has_no_estimate(client: httpx.Client) -> None:
    ref = client.post(
        "/api/inputs", content=png((64, 64)), headers={"Content-Type": "image/png"}
    ).json()
    told = client.post("/api/estimate", json={"task": "upscale", "image": ref["ref"]}).json()
    assert told["words"] == "" and told["peak_bytes"] == 0


def test_the_memory_of_no_engine_is_empty(client: httpx.Client) -> None:
    told = client.get("/api/memory").json()
    assert told["engine"] != "ready" and told["components"] == [] and told["weights"] == 0
    [tiny] = [row for row in told["checkpoints"] if row["id"] == "tiny"]
    assert tiny["where"] == "disk" and tiny["pinned"] is False and tiny["held_bytes"] == 0
    assert tiny["swap_seconds"] > 0 and tiny["size_bytes"] > 0
    assert tiny["family"] == "Stable Diffusion 1.x"
    answer = client.post("/api/memory/unload").json()
    assert answer["done"] and answer["after"]["weights"] == 0


def test_a_checkpoint_is_pinned_until_it_is_not_or_all_is_unloaded(client: httpx.Client) -> None:
    def pinned() -> list[str]:
        return [
            row["id"] for row in client.get("/api/memory").json()["checkpoints"] if row["pinned"]
        ]

    def pin(on: object, name: object = "tiny") -> httpx.Response:
        return client.post("/api/memory/pin", json={"checkpoint": name, "pinned": on})

    assert pin(True).status_code == pin(True).status_code == 204
    assert pinned() == ["tiny"]
    assert pin(False).status_code == 204 and pinned() == []
    pin(True)
    client.post("/api/memory/unload")
    assert pinned() == []
    complaint(pin("yes"), 422)
    complaint(pin(True, "none"), 422)
    complaint(pin(True, 3), 422)


def test_users_may_look_and_visitors_and_guests_may_not(locked: House, public: House) -> None:
    name, word = next(iter(USERS.items()))
    with locked.client(auth=(name, word)) as client:
        assert client.get("/api/memory").status_code == 200
    with public.client() as client:
        complaint(client.get("/api/memory"), 403)
        complaint(client.post("/api/memory/unload"), 403)
        pin = {"checkpoint": "tiny", "pinned": True}
        complaint(client.post("/api/memory/pin", json=pin), 403)
        assert client.post("/api/estimate", json=WANT).status_code == 200
    for reach in (public.studio.memory, public.studio.unload):
        with pytest.raises(Refused):
            reach("guest:anyone")
