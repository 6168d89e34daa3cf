"""S50: sizes, steps and counts that no slider would send, over the raw API."""

import pytest

from tests.api.house import WANT, House, complaint

ABSURD = {
    "width": (0, -1, 63, 2049, 16384, 100_000, 1e309, "", None, [], {}, "512", 512.5, True),
    "height": (0, -1, 100_000, "big", [64]),
    "steps": (0, -5, 151, 10_000, 10**6, 2**80, "20", [], 1.5),
    "count": (0, -1, 33, 1000, None, "1", [1]),
    "guidance": (-1, 31, 1e309, -1e309, "7", [], {}),
    "seed": (-2, 2**80, 2**63, "1", [], 1.5),
    "clip_skip": (0, 13, "1"),
    "sampler": (3, "no such sampler", [], "x" * 300),
    "checkpoint": (3, "no such checkpoint", "../tiny", "x" * 300, []),
    "prompt": ("", "  \n ", None, 3, [], "a\0b", "a\u202eb", "x" * 8001),
    "negative_prompt": (None, 3, "x" * 8001),
}
ALLOWED_NONE = {"width", "height", "steps", "guidance", "seed", "sampler", "checkpoint"}


@pytest.mark.parametrize("field", ABSURD)
def test_each_is_one_sentence_that_names_the_field(alone: House, field: str) -> None:
    with alone.client() as client:
        before = client.get("/api/live").json()["version"]
        for value in ABSURD[field]:
            if value is None and field in ALLOWED_NONE:
                continue
            answer = client.post("/api/jobs", content=_json({**WANT, field: value}), headers=JSON)
            assert complaint(answer, 422)["field"] in {field, None}, value
        assert client.get("/api/live").json()["version"] == before


def test_the_product_has_a_budget_too(alone: House) -> None:
    with alone.client() as client:
        huge = {**WANT, "width": 2048, "height": 2048, "steps": 150, "count": 32}
        assert (
            "too much for one job" in complaint(client.post("/api/jobs", json=huge), 422)["message"]
        )


def test_what_is_no_number_in_json_is_named(alone: House) -> None:
    with alone.client() as client:
        for word in (b"NaN", b"Infinity", b"-Infinity"):
            body = b'{"task": "txt2img", "prompt": "x", "guidance": ' + word + b"}"
            told = complaint(client.post("/api/jobs", content=body, headers=JSON), 422)
            assert told["field"] == "guidance"
            assert told["message"].startswith("Guidance must be a number (got ")


def test_a_ten_megabyte_prompt_is_one_sentence(alone: House) -> None:
    with alone.client() as client:
        answer = client.post("/api/jobs", json={**WANT, "prompt": "x" * 10_000_000})
        assert "the limit is 1 MB" in complaint(answer, 413)["message"]

        def parts():
            for _ in range(160):
                yield b"x" * 65536

        told_late = client.post("/api/jobs", content=parts(), headers=JSON)
        complaint(told_late, 413)
        event = client.post("/gradio_api/queue/join", content=b" " * 3_000_000, headers=JSON)
        assert "the limit is 2 MB" in complaint(event, 413)["message"]
        assert client.get("/api/health").status_code == 200


JSON = {"content-type": "application/json"}


def _json(body: dict) -> bytes:
    import json

    return json.dumps(body).replace("Infinity", "1e309").encode()
