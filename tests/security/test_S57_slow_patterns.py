"""S57: texts that make naive parsers run for minutes."""

import time

import pytest

from tests.api.house import WANT, House, complaint

TEXTS = {
    "brackets": "(" * 50_000,
    "square": "[" * 50_000,
    "pairs": "()" * 4000,
    "weights": "(a:" * 2600,
    "colons": "a:" * 4000,
    "braces": "{" * 8000,
    "escapes": "\\" * 8000,
    "wild": "__a__" * 1600,
    "spaces": " " * 7999 + "x",
    "lora": "<lora:" * 1300,
    "deep": "(" * 4000 + "x" + ")" * 4000,
    "BREAK": "BREAK " * 1300,
}


@pytest.mark.parametrize("name", TEXTS)
def test_an_answer_comes_at_once(alone: House, name: str) -> None:
    with alone.client() as client:
        for path, body in (
            ("/api/jobs", {**WANT, "prompt": TEXTS[name]}),
            ("/api/tokens", {"text": TEXTS[name], "checkpoint": "tiny"}),
        ):
            began = time.monotonic()
            answer = client.post(path, json=body)
            assert time.monotonic() - began < 3, path
            if answer.status_code not in {200, 202}:
                complaint(answer, 422)
        for query in (TEXTS[name][:500], '"' * 500, "* " * 250, "a* OR " * 80, "NEAR(" * 100):
            began = time.monotonic()
            assert client.get("/api/images", params={"text": query}).status_code == 200
            assert time.monotonic() - began < 3
        for job in client.get("/api/jobs?active=1").json()["jobs"]:
            client.delete(f"/api/jobs/{job['id']}")
