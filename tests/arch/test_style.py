"""The style of the code, as ruff sees it (pyproject.toml says which rules and why)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.arch.source import ROOT

RUFF = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")


@pytest.mark.skipif(RUFF is None, reason="ruff comes with the test extra")
def test_ruff_has_nothing_to_say() -> None:
    done = subprocess.run(
        [str(RUFF), "check", "--no-cache", "launch.py", "studio", "tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
