"""What a folder of files is at this start, for addresses that browsers may keep."""

from functools import cache
from hashlib import sha256
from pathlib import Path


@cache
def version(folder: Path) -> str:
    """16 hex digits that change with the name or a byte of any file below `folder`. Found once in
    the life of a process: whoever changes a file starts the studio again."""
    digest = sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            held = file.read_bytes()
            digest.update(f"{file.relative_to(folder).as_posix()}\n{len(held)}\n".encode() + held)
    return digest.hexdigest()[:16]
