"""Importing a module does nothing, and nothing heavy: the web process never loads torch."""

import subprocess
import sys

from tests.arch.source import ROOT, modules

HEAVY = ("torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "gradio", "cv2")

IMPORT_ALL = f"""
HEAVY = {HEAVY!r}
import importlib, os, socket, subprocess, sys, threading

def refuse(what):
    def refused(*_, **__):
        raise AssertionError(f"an import wants to {{what}}")
    return refused

socket.socket.connect = refuse("open a connection")
subprocess.Popen.__init__ = refuse("start a process")
threads = threading.active_count()
before = os.getcwd(), dict(os.environ)
for name in sys.argv[1].split():
    importlib.import_module(name)
    heavy = [found for found in HEAVY if found in sys.modules]
    assert not heavy, f"{{name}} loads {{', '.join(heavy)}}"
assert threading.active_count() == threads, "an import starts a thread"
assert (os.getcwd(), dict(os.environ)) == before, "an import changes the surroundings"
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_rooms_without_torch_and_gradio_load_neither() -> None:
    light = [module.name for module in modules() if module.room not in {"engine", "ui", "training"}]
    done = run(IMPORT_ALL, " ".join(light))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "an import prints"
    assert done.stderr == "", "an import warns"


def test_a_heavy_module_would_be_found() -> None:
    done = run(IMPORT_ALL, "studio.core.errors cv2")
    assert "cv2 loads cv2" in done.stderr


def test_help_needs_nothing_but_python() -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        "from studio.cli import parser\n"
        "parser().format_help()\n"
        "foreign = {n.split('.')[0] for n in set(sys.modules) - before} - sys.stdlib_module_names\n"
        "print(sorted(foreign - {'studio'}))"
    )
    done = run(script)
    assert done.stdout == "[]\n", done.stdout + done.stderr
