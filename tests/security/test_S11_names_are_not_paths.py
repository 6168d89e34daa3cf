"""S11 and S15: a name in a request is compared with names, and never becomes a path."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.api.house import WANT, House, complaint

NAMES = (
    "../x",
    "/etc/passwd",
    "..\\x",
    "%2e%2e%2f",
    "C:\\x",
    "\\\\srv\\s",
    "CON",
    "x" * 200,
    "tiny/../tiny",
    "./tiny",
    "TINY",
)


@contextmanager
def opened() -> Iterator[list[str]]:
    """Every path that this process opens or lists meanwhile."""
    seen: list[str] = []
    running = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if running and event in {"open", "os.listdir", "os.scandir"}:
            seen.append(str(arguments[0]))

    sys.addaudithook(hook)
    yield seen
    running = False


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_by_path_is_unknown(alone: House, name: str) -> None:
    with alone.client() as client, opened() as seen:
        error = complaint(client.post("/api/jobs", json={**WANT, "checkpoint": name}), 422)
    assert error["message"].startswith("There is no checkpoint '")
    assert not [path for path in seen if path.endswith(name)]


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_a_name_that_is_no_name_is_refused(alone: House, name: str) -> None:
    with alone.client() as client:
        complaint(client.post("/api/jobs", json={**WANT, "checkpoint": name}), 422)


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "%2e%2e", "a%00b", "x" * 300, "CON"])
@pytest.mark.parametrize("ending", ["", "/file", "/thumb"])
def test_a_picture_by_path_is_unknown(alone: House, name: str, ending: str) -> None:
    with alone.client() as client:
        assert client.get(f"/api/images/{name}{ending}").status_code == 404


@pytest.mark.parametrize("tag", ["<lora:../../x:1>", "<lora:/etc/passwd:1>", "<hypernet:..\\x:1>"])
def test_a_tag_in_a_prompt_selects_no_file(alone: House, tag: str) -> None:
    with alone.client() as client, opened() as seen:
        error = complaint(client.post("/api/jobs", json={**WANT, "prompt": f"a fox {tag}"}), 422)
    assert error["message"].startswith(("Unknown ", "There is no LoRA '"))
    assert not [path for path in seen if path.endswith(("x", "passwd"))]


def test_nothing_was_queued(alone: House) -> None:
    with alone.client() as client:
        before = len(client.get("/api/jobs").json()["jobs"])
        complaint(client.post("/api/jobs", json={**WANT, "checkpoint": "../x"}), 422)
        assert len(client.get("/api/jobs").json()["jobs"]) == before
