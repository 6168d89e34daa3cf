#!/usr/bin/env python3
"""Starts Pochade. The first start installs it into .venv beside this file; later ones are quick.

    python3 launch.py                  the studio in the browser
    python3 launch.py generate "…"     a picture from the command line
    python3 launch.py test             the tests
    python3 launch.py --help           everything else

Needs nothing but Python 3.11 or newer. Uses no syntax newer than Python 3.7, so that an older
Python gets a sentence and not a syntax error.
"""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "assets" / "constraints.txt"
STAMP = VENV / "pochade.json"
"""What the last complete set-up installed. Written last, so a set-up that was cut off has none."""
LOG = VENV / "set-up.log"
WINDOWS = sys.platform == "win32"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")

ADVICE = (
    (
        r"No space left on device|Errno 28|not enough space",
        "The disk is full.",
        "Free about 10 GB and start again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSL: ",
        "The package index could not prove who it is (TLS).",
        "Behind a company proxy, give pip its certificate with the variable PIP_CERT.",
    ),
    (
        r"NewConnectionError|ConnectTimeout|Read timed out|ProxyError|Max retries exceeded"
        r"|name resolution|Network is unreachable|Connection refused|Could not fetch URL",
        "The package index cannot be reached.",
        "Check the network (pip's own settings for proxies and mirrors are used) and start again;"
        " it goes on where it stopped.",
    ),
    (
        r"from versions: none",
        "The package index does not have a package that is needed.",
        "Check the network and pip's own settings for mirrors,"
        " or start with another Python, for example: python3.12 launch.py",
    ),
    (
        r"No matching distribution found|requires a different Python|is not a supported wheel",
        "A package is not offered for this Python ({python}) on this machine.",
        "Start with another Python, for example: python3.12 launch.py",
    ),
    (
        r"Permission denied|Errno 13|Read-only file system|Errno 30",
        "A file could not be written.",
        "Copy the whole folder to a place of your own and start it there.",
    ),
)
"""What pip says, what it means, and what helps; the first that is found counts."""


class SetupFailed(Exception):
    """The set-up cannot go on: what happened, and what to do. What was installed stays."""

    def __init__(self, message: str, hint: str, lines: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.lines = tuple(lines)


def main(arguments: list[str]) -> int:
    if sys.version_info < OLDEST_PYTHON:
        running = "{}.{}".format(*sys.version_info[:2])
        return _complain(
            SetupFailed(
                f"Pochade needs Python 3.11 or newer, and this is Python {running}.",
                "Install a newer one and name it, for example: python3.12 launch.py",
            )
        )
    try:
        if _asks_for_help(arguments) and not is_ready(()):
            return _run_without_packages(arguments)
        make_ready(("test",) if arguments[:1] == ["test"] else ())
    except SetupFailed as failure:
        return _complain(failure)
    except KeyboardInterrupt:
        print("\nStopped. The next start goes on from here.", file=sys.stderr)
        return 130
    # -P: a folder called "studio" in the current folder must not be taken for ours
    return _become([str(PYTHON), "-P", "-m", "studio.cli", *arguments])


def make_ready(extras: tuple[str, ...]) -> None:
    """Makes .venv hold what pyproject.toml asks for; does nothing, in milliseconds, if it does."""
    if is_ready(extras):
        return
    try:
        VENV.mkdir(exist_ok=True)
        with _one_at_a_time():
            if not is_ready(extras):
                _set_up(tuple(sorted({*extras, *_installed().get("extras", ())})))
    except OSError as error:
        raise SetupFailed(
            f"The folder that launch.py lies in cannot be written to ({error.strerror}).",
            "Copy it to a place of your own and start it there.",
        ) from None


def is_ready(extras: tuple[str, ...]) -> bool:
    stamp = _installed()
    return (
        stamp.get("digest") == _digest()
        and set(extras) <= set(stamp.get("extras", ()))
        and PYTHON.exists()
    )


def _installed() -> dict[str, Any]:
    try:
        return dict(json.loads(STAMP.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _digest() -> str:
    """Changes with anything that makes an installed .venv wrong, its place on disk included."""
    digest = hashlib.sha256(f"{sys.version}\n{VENV}\n".encode())
    for file in (PYPROJECT, CONSTRAINTS):
        try:
            digest.update(file.read_bytes())
        except OSError:
            raise SetupFailed(
                f"The file {file.name} is missing beside launch.py.",
                "Get the whole folder again; a part of it is not enough.",
            ) from None
    return digest.hexdigest()


def _set_up(extras: tuple[str, ...]) -> None:
    started = time.monotonic()
    print("Setting up Pochade in .venv: once, about 6 GB, a few minutes.", flush=True)
    STAMP.unlink(missing_ok=True)
    if not _pip_works():
        _make_venv()
    target = ".[{}]".format(",".join(extras)) if extras else "."
    _install([str(PYTHON), "-m", "pip", "install", "--no-user", "--progress-bar", "off",
              "--no-input", "-c", str(CONSTRAINTS), "-e", target])  # fmt: skip
    # pip does so for packages only; where Python may not write such files itself, each start would
    compileall.compile_dir(str(ROOT / "studio"), quiet=2)
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(json.dumps({"digest": _digest(), "extras": list(extras)}), "utf-8")
    os.replace(fresh, STAMP)
    print(f"Ready after {_spoken(time.monotonic() - started)}.", flush=True)


def _pip_works() -> bool:
    """Whether .venv is whole enough to go on from; a cut-off or moved one is made anew."""
    try:
        found = subprocess.run(
            [str(PYTHON), "-c", "import pip, sys; print(sys.version); print(sys.prefix)"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return False
    return found.returncode == 0 and found.stdout.splitlines() == [
        *sys.version.splitlines(),
        str(VENV),
    ]


def _make_venv() -> None:
    missing = SetupFailed(
        "This Python cannot make a virtual environment: its part 'ensurepip' is not installed.",
        "On Debian and Ubuntu: sudo apt install python{}.{}-venv".format(*sys.version_info[:2]),
    )
    if not importlib.util.find_spec("ensurepip") or not importlib.util.find_spec("venv"):
        raise missing
    import venv  # Debian can leave it out, so it is looked for first

    builder = venv.EnvBuilder(with_pip=True, clear=True, symlinks=not WINDOWS)
    try:
        # our lock lies beside .venv, so clearing the folder does not lose it
        builder.create(VENV)
    except subprocess.CalledProcessError:
        raise missing from None


def _install(command: list[str]) -> None:
    """Runs pip, telling a person what it does. Raises `SetupFailed` with the lines that matter."""
    count = sum("==" in line for line in CONSTRAINTS.read_text("utf-8").splitlines())
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
    ) as pip, LOG.open("w", encoding="utf-8") as log, Progress(count) as progress:
        for line in pip.stdout or ():
            log.write(line)
            lines.append(line.rstrip())
            progress.see(line)
    if pip.returncode:
        raise _explained(lines)


def _explained(lines: list[str]) -> SetupFailed:
    text = "\n".join(lines)
    python = "{}.{}".format(*sys.version_info[:2])
    told = [line for line in lines if re.match(r"\s*(ERROR|error)", line)] or lines
    for pattern, message, hint in ADVICE:
        if re.search(pattern, text):
            return SetupFailed(message.format(python=python), hint, told[-4:])
    return SetupFailed(
        "The packages could not be installed.",
        "Everything that pip said is in .venv/set-up.log; starting again goes on from here.",
        told[-8:],
    )


class Progress:
    """One line that says what is going on; elsewhere than on a terminal, a line now and then."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen: set[str] = set()
        self._now = "asking for the list of packages"
        self._since = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        self._say()
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._clock.join()
        if self._terminal:
            print("\r\x1b[K", end="", flush=True)

    def see(self, line: str) -> None:
        """Takes a line of pip's and keeps the part worth knowing."""
        collecting = re.match(r"\s*Collecting ([\w.-]+)", line)
        fetching = re.match(r"\s*(Downloading|Using cached) (\S+) \((.+)\)", line)
        if collecting:
            self._seen.add(collecting[1].lower())
            self._change(
                f"[{len(self._seen)} of {self._count}] looking for {collecting[1]}",
                worth_a_line=False,
            )
        elif fetching and not fetching[2].endswith(".metadata"):
            name, version = [*fetching[2].rsplit("/", 1)[-1].split("-"), ""][:2]
            verb = "downloading" if fetching[1] == "Downloading" else "taking from the cache"
            large = fetching[3].endswith("GB") or bool(re.match(r"\d{2,}[\d.]* MB", fetching[3]))
            place = f"[{len(self._seen)} of {self._count}]"
            self._change(f"{place} {verb} {name} {version} ({fetching[3]})", worth_a_line=large)
        elif line.startswith("Installing collected packages"):
            self._change(f"installing {line.count(',') + 1} packages", worth_a_line=True)

    def _change(self, now: str, *, worth_a_line: bool) -> None:
        self._now, self._since = now, time.monotonic()
        if worth_a_line or self._terminal:
            self._say()

    def _say(self) -> None:
        if not self._terminal:
            print(f"  {self._now}", flush=True)
            return
        waited = int(time.monotonic() - self._since)
        width = shutil.get_terminal_size().columns
        line = f"  {self._now}" + (f" · {waited} s" if waited > 1 else "")
        print(f"\r\x1b[K{line[: width - 1]}", end="", flush=True)

    def _tick(self) -> None:
        while not self._over.wait(1.0):
            if self._terminal:
                self._say()


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two first starts at once would install over each other: the second waits."""
    if WINDOWS:
        yield
        return
    import fcntl  # not on Windows

    with (ROOT / ".venv.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another start is setting up; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _asks_for_help(arguments: list[str]) -> bool:
    return arguments[:1] != ["test"] and bool({"-h", "--help", "--version"} & set(arguments))


def _run_without_packages(arguments: list[str]) -> int:
    """Help and version need no package, so asking for them installs nothing."""
    sys.path.insert(0, str(ROOT))
    from studio.cli import main as studio  # found only once the folder is on the path

    return studio(arguments)


def _become(command: list[str]) -> int:
    if WINDOWS:  # execv there returns to the shell at once, and the two would share the console
        with contextlib.suppress(KeyboardInterrupt):
            return subprocess.call(command)
        return 130
    os.execv(command[0], command)
    return 0


def _complain(failure: SetupFailed) -> int:
    for line in failure.lines:
        print(f"    {line}", file=sys.stderr)
    print(f"{failure.message}\n{failure.hint}", file=sys.stderr)
    return 1


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
