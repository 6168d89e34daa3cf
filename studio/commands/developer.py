"""`test` and `bench`: for who works on the studio, in a checkout."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from studio.commands.exit_codes import BAD_INPUT, STOPPED, WENT_WRONG
from studio.paths import ROOT

BENCHES = ROOT / "tests" / "bench"


def test(rest: Sequence[str]) -> int:
    """Runs pytest over the checkout; its exit code."""
    if not importlib.util.find_spec("pytest"):
        print("pytest is not installed here.", file=sys.stderr)
        print("Run the tests with: python3 launch.py test", file=sys.stderr)
        return BAD_INPUT
    return _python("pytest", *rest)


def bench(names: Sequence[str]) -> int:
    """Runs the measurements that are named, or all of them; 1 if one of them failed."""
    known = {file.stem.removeprefix("bench_"): file for file in sorted(BENCHES.glob("bench_*.py"))}
    wrong = [name for name in names if name not in known]
    if wrong or not known:
        listed = ", ".join(known) or "none in this installation"
        if {"-h", "--help"} & set(names):
            print(f"pochade bench [NAME …]\n\nmeasurements: {listed}")
            return 0
        print(f"There is no measurement called '{' '.join(wrong)}'.", file=sys.stderr)
        print(f"Name some of these: {listed}.", file=sys.stderr)
        return BAD_INPUT
    codes: list[int] = []
    for name in names or known:
        print(f"── {name}", flush=True)
        codes.append(_python(f"tests.bench.{known[name].stem}"))
    return WENT_WRONG if any(codes) else 0


def _python(module: str, *rest: str) -> int:
    try:
        return subprocess.call([sys.executable, "-m", module, *rest], cwd=ROOT)
    except KeyboardInterrupt:
        return STOPPED
