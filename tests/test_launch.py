"""The first start, the later ones, and what stands in their way.

The real set-up takes minutes and gigabytes, so a small project stands in for ours: the same
launch.py, a real virtual environment, a real pip that has nothing to download.
"""

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import launch

ROOT = Path(__file__).parents[1]

BACKEND = """
import sys, zipfile
from pathlib import Path

def get_requires_for_build_editable(config_settings=None):
    return []

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "pochade-0.1.0-py3-none-any.whl"
    root = str(Path.cwd())
    about = "pochade-0.1.0.dist-info/"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        wheel.writestr("pochade.pth", root)
        wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\\nName: pochade\\nVersion: 0.1.0\\n"
            "Provides-Extra: test\\nRequires-Dist: {needs}\\n" if "{needs}" else
            "Metadata-Version: 2.1\\nName: pochade\\nVersion: 0.1.0\\nProvides-Extra: test\\n")
        wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(about + "RECORD", "")
    return name
"""
CLI = """
import sys
def main(arguments):
    print("help without packages"); return 0
if __name__ == "__main__":
    print("studio", sys.argv[1:], sys.prefix != sys.base_prefix, flush=True)
    raise SystemExit(7)
"""


class Project:
    """A checkout with launch.py in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "assets").mkdir(parents=True)
        (folder / "studio").mkdir()
        shutil.copy(ROOT / "launch.py", folder)
        self.write("assets/constraints.txt", "nothing==1.0\n")
        self.write("studio/__init__.py", "")
        self.write("studio/cli.py", CLI)
        self.write(
            "pyproject.toml",
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        )
        self.needs("")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def needs(self, requirement: str) -> None:
        self.write("backend.py", BACKEND.replace("{needs}", requirement))

    def start(
        self, *arguments: str, cwd: Path | None = None, **options
    ) -> subprocess.CompletedProcess:
        env = {**os.environ, "PIP_NO_INDEX": "1", **options.pop("env", {})}
        command = [sys.executable, str(self.folder / "launch.py"), *arguments]
        return subprocess.run(
            command,
            cwd=cwd or self.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has been set up, in a folder with a space."""
    project = Project(tmp_path_factory.mktemp("made") / "my pictures")
    first = project.start("generate", "a fox")
    assert first.returncode == 7, first.stderr
    assert "Setting up Pochade" in first.stdout
    assert first.stdout.endswith("studio ['generate', 'a fox'] True\n")
    assert list((project.folder / "studio" / "__pycache__").glob("cli.*.pyc"))
    return project


def test_a_later_start_calls_no_pip(made: Project) -> None:
    stamp = made.folder / ".venv" / "pochade.json"
    before = stamp.stat().st_mtime_ns
    assert made.start().stdout == "studio [] True\n"
    assert stamp.stat().st_mtime_ns == before


def test_it_starts_from_any_folder_and_past_a_foreign_one_called_studio(
    made: Project, tmp_path: Path
) -> None:
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "studio" / "cli.py").write_text("raise SystemExit('the wrong one')")
    assert made.start("x", cwd=tmp_path).stdout == "studio ['x'] True\n"


@pytest.mark.slow
def test_changed_pins_or_new_extras_set_up_again(made: Project) -> None:
    made.write("assets/constraints.txt", "nothing==2.0\n")
    assert "Setting up" in made.start().stdout
    assert "Setting up" not in made.start().stdout
    assert "Setting up" in made.start("test", "-k", "x").stdout
    last = made.start()
    assert "Setting up" not in last.stdout
    assert json.loads((made.folder / ".venv" / "pochade.json").read_text())["extras"] == ["test"]


@pytest.mark.slow
def test_a_cut_off_set_up_is_repaired(made: Project) -> None:
    venv = made.folder / ".venv"
    (venv / "pochade.json").unlink()
    shutil.rmtree(next((venv / "lib").glob("python*")) / "site-packages" / "pip")
    repaired = made.start()
    assert repaired.returncode == 7, repaired.stderr
    assert repaired.stdout.endswith("studio [] True\n")


@pytest.mark.slow
def test_a_moved_checkout_is_set_up_anew(made: Project, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(made.folder, moved, symlinks=True)
    here = Project.__new__(Project)
    here.folder = moved
    moved_start = here.start()
    assert "Setting up" in moved_start.stdout
    assert moved_start.stdout.endswith("studio [] True\n")


@pytest.mark.slow
def test_a_package_that_cannot_be_had_is_a_sentence_with_the_line_of_pip(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.needs("surely-not-a-package>=9")
    failed = project.start()
    assert failed.returncode == 1
    assert "surely-not-a-package" in failed.stderr
    assert "does not have a package that is needed" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (project.folder / ".venv" / "pochade.json").exists()
    project.needs("")
    assert project.start().returncode == 7


@pytest.mark.slow
def test_no_network_is_a_sentence(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.needs("surely-not-a-package>=9")
    env = {
        "PIP_NO_INDEX": "0",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
    }
    failed = project.start(env=env)
    assert failed.returncode == 1
    assert "The package index cannot be reached." in failed.stderr
    assert "goes on where it stopped" in failed.stderr


def test_a_missing_part_of_the_checkout_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    (project.folder / "assets" / "constraints.txt").unlink()
    failed = project.start()
    assert (failed.returncode, "constraints.txt is missing" in failed.stderr) == (1, True)


def test_help_installs_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    assert project.start("--help").stdout == "help without packages\n"
    assert not (project.folder / ".venv").exists()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="pochade-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_checkout_that_cannot_be_written_to_is_a_sentence(open_folder: Path) -> None:
    project = Project(open_folder / "project")
    for path in (project.folder, *project.folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    command = [_python_for_all(), str(project.folder / "launch.py")]
    as_nobody = {"user": 65534} if os.geteuid() == 0 else {}
    failed = subprocess.run(command, capture_output=True, text=True, check=False, **as_nobody)
    assert failed.returncode == 1
    assert "cannot be written to" in failed.stderr
    assert "Traceback" not in failed.stderr


def _python_for_all() -> str:
    """A Python that is not hidden in the home folder of the user who runs the tests."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        probe = [candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(probe, user=65534 if os.geteuid() == 0 else None, check=True)
            return candidate
    pytest.skip("there is no Python here that other users may run")


def test_python_without_ensurepip_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = launch.importlib.util.find_spec
    monkeypatch.setattr(
        launch.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find(name)
    )
    with pytest.raises(launch.SetupFailed) as caught:
        launch._make_venv()
    assert "apt install python3" in caught.value.hint


def test_an_old_python_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert launch.main([]) == 1
    assert "needs Python 3.11 or newer, and this is Python 3.9." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full."),
        ("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))", "TLS"),
        ("Temporary failure in name resolution", "cannot be reached"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", "could not be written"),
        ("ERROR: No matching distribution found for torch>=9", "is not offered for this Python"),
        ("ERROR: something nobody has seen", "could not be installed"),
    ],
)
def test_what_pip_says_is_explained(said: str, meaning: str) -> None:
    failure = launch._explained(["Collecting x", said])
    assert meaning in failure.message
    assert failure.hint
    assert any("nobody has seen" in line for line in failure.lines) == ("nobody" in said)


def test_a_terminal_sees_one_line_and_others_only_the_large_steps(capsys) -> None:
    with launch.Progress(90) as progress:
        progress.see("Collecting torch>=2.14 (from pochade)\n")
        progress.see("  Downloading torch-2.14.1-cp311-cp311-linux.whl.metadata (30 kB)\n")
        progress.see("  Downloading torch-2.14.1-cp311-cp311-linux.whl (900.0 MB)\n")
        progress.see("  Downloading idna-3.20-py3-none-any.whl (70 kB)\n")
        progress.see("Installing collected packages: idna, torch\n")
    said = capsys.readouterr().out
    assert "[1 of 90] downloading torch 2.14.1 (900.0 MB)" in said
    assert "installing 2 packages" in said
    assert "idna" not in said


def test_on_a_terminal_the_line_is_wiped_away_at_the_end(tmp_path: Path) -> None:
    script = (
        "import launch\nwith launch.Progress(3) as p: p.see('Collecting idna\\n')\nprint('end')"
    )
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=theirs, check=True)
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "[1 of 3] looking for idna" in said
    assert said.endswith("\r\x1b[Kend\r\n")
