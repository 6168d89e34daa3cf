"""`test` and `bench`: for who works on the studio, in a checkout."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.commands.exit_codes import BAD_INPUT, STOPPED, WENT_WRONG
from studio.paths import ROOT

BENCHES = ROOT / "tests" / "bench"

AT_ONCE = (
    *("-n", "logical", "--maxprocesses", "2"),
    *("--dist", "loadfile", "--no-loadscope-reorder"),
)
"""Two files of tests at once, on machines that have the cores; `-n 0` after it takes that back. In the
order of their names: those that need a browser come early, and many short ones at the end."""


def test(rest: Sequence[str]) -> int:
    """Runs pytest over the checkout; its exit code."""
    if not importlib.util.find_spec("pytest"):
        print("pytest is not installed here.", file=sys.stderr)
        print("Run the tests with: python3 launch.py test", file=sys.stderr)
        return BAD_INPUT
    return _python("pytest", *AT_ONCE, *rest)


def bench(rest: Sequence[str]) -> int:
    """Runs the measurements that are named, or all of them; 1 if one of them failed. With `--json`
    one object is printed, what went wrong in it under `failed`."""
    as_json = "--json" in rest
    names = [name for name in rest if name != "--json"]
    known = {file.stem.removeprefix("bench_"): file for file in sorted(BENCHES.glob("bench_*.py"))}
    wrong = [name for name in names if name not in known]
    if wrong or not known:
        listed = ", ".join(known) or "none in this installation"
        if {"-h", "--help"} & set(names):
            print(f"pochade bench [--json] [NAME …]\n\nmeasurements: {listed}")
            return 0
        print(f"There is no measurement called '{' '.join(wrong)}'.", file=sys.stderr)
        print(f"Name some of these: {listed}.", file=sys.stderr)
        return BAD_INPUT
    if as_json:
        return _bench_json({name: known[name] for name in names or known})
    codes: list[int] = []
    for name in names or known:
        print(f"── {name}", flush=True)
        codes.append(_python(f"tests.bench.{known[name].stem}"))
    return WENT_WRONG if any(codes) else 0


def _bench_json(chosen: Mapping[str, Path]) -> int:
    """Those that only speak to people are told line by line, under their name."""
    figures: dict[str, Any] = {}
    failed: list[str] = []
    for name, file in chosen.items():
        speaks = '"--json"' in file.read_text("utf-8") or "as_json" in file.read_text("utf-8")
        command = [
            sys.executable,
            "-m",
            f"tests.bench.{file.stem}",
            *(["--json"] if speaks else []),
        ]
        try:
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        except KeyboardInterrupt:
            return STOPPED
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        if done.returncode or not lines:
            failed.append(name)
        elif speaks:
            figures |= json.loads(lines[-1])
        else:
            figures[name] = {"lines": lines}
    print(json.dumps({**figures, **({"failed": failed} if failed else {})}))
    return WENT_WRONG if failed else 0


def _python(module: str, *rest: str) -> int:
    try:
        return subprocess.call([sys.executable, "-m", module, *rest], cwd=ROOT)
    except KeyboardInterrupt:
        return STOPPED
