"""What InvokeAI calls the models that it keeps by key: read from its database, and nothing written."""

import json
import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

DATABASE = Path("databases", "invokeai.db")
"""Beside the folder `models`."""
MOST_NAMED = 20_000
_MOST_LETTERS = 120
_PARTS = str.maketrans("/\\<>:", "_____")
"""Letters that paths and tags in prompts are taken apart by."""


def names_in(models: Path) -> Mapping[str, str]:
    """Names by key; none where there is no such database, or it is none that is known."""
    file = models.parent / DATABASE
    try:
        stat = file.stat()
    except OSError:
        return {}
    return _names(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _names(file: Path, size: int, changed: int) -> Mapping[str, str]:
    # unchangeable: no lock is taken and no file made beside it while InvokeAI runs
    address = f"file:{quote(str(file.absolute()))}?mode=ro&immutable=1"
    try:
        opened = sqlite3.connect(address, uri=True)
    except sqlite3.Error:
        return {}
    try:
        rows = opened.execute("SELECT id, config FROM models LIMIT ?", (MOST_NAMED,)).fetchall()
    except sqlite3.Error:
        return {}
    finally:
        opened.close()
    return {str(key): name for key, config in rows if (name := _name(config))}


def _name(config: Any) -> str:
    try:
        found: Any = json.loads(config)
    except (TypeError, ValueError, RecursionError):
        return ""
    name = found.get("name") if isinstance(found, dict) else None
    if not isinstance(name, str):
        return ""
    return "".join(one for one in name.translate(_PARTS) if one.isprintable())[
        :_MOST_LETTERS
    ].strip()
