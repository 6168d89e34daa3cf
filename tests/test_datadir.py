"""One process at a time in a data folder, and a way to find it."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.errors import StorageFailed
from studio.datadir import DataDirInUse, announce, claim, holder, server

HOLD = """
import sys, time
from pathlib import Path
from studio.datadir import announce, claim
with claim(Path(sys.argv[1]), "serve"):
    announce(Path(sys.argv[1]), "http://127.0.0.1:1", "secret")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds `tmp_path`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_one_is_told_who_holds_it(tmp_path: Path, other) -> None:
    taken = pytest.raises(DataDirInUse, match=f"already used by process {other.pid}")
    with taken, claim(tmp_path, "serve"):
        pass
    assert holder(tmp_path).command == "serve"
    found = server(tmp_path)
    assert (found.url, found.token, found.pid) == ("http://127.0.0.1:1", "secret", other.pid)


def test_what_a_killed_one_left_is_taken_over(tmp_path: Path, other) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert holder(tmp_path) is None
    assert server(tmp_path) is None
    with claim(tmp_path, "generate"):
        assert server(tmp_path) is None
        assert not (tmp_path / ".server.json").exists()


def test_released_after_use_and_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), claim(tmp_path, "serve"):
        announce(tmp_path, "http://127.0.0.1:1", os.environ["NO_SUCH_VARIABLE"])
    assert holder(tmp_path) is None
    assert not (tmp_path / ".server.json").exists()
    with claim(tmp_path, "serve"):
        pass


def test_the_secret_is_its_owners_alone(tmp_path: Path) -> None:
    with claim(tmp_path, "serve"):
        announce(tmp_path, "http://127.0.0.1:1", "secret")
        mode = (tmp_path / ".server.json").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
        assert not list(tmp_path.glob(".tmp-*"))


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed) as caught, claim(tmp_path / "file" / "data", "serve"):
        pass
    assert str(tmp_path) not in str(caught.value)


def test_nobody_holds_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert holder(tmp_path / "nothing") is None
