"""Styles in words: what they add to a prompt, and A1111's `styles.csv`, read and written.

A style with `{prompt}` in it is written around the prompt, any other one behind it, as A1111 does.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from studio.core.errors import InvalidRequest, TooLarge
from studio.core.records import Preset
from studio.core.requests import MAX_PROMPT_CHARS

PLACE = "{prompt}"
COLUMNS = ("name", "prompt", "negative_prompt")
OLD_COLUMN = "text"
"""What the column `prompt` was called before there were negative ones."""
MAX_FILE_BYTES = 1024 * 1024
MAX_NAME_CHARS = 100
MOST = 500
"""Styles in one file."""


def expanded(prompt: str, negative: str, presets: Sequence[Preset]) -> tuple[str, str]:
    """Prompt and negative prompt with all of the styles, one after the other."""
    for preset in presets:
        prompt = _merged(preset.prompt, prompt)
        negative = _merged(preset.negative_prompt, negative)
    return prompt, negative


def _merged(style: str, prompt: str) -> str:
    if PLACE in style:
        return style.replace(PLACE, prompt)
    return ", ".join(part for part in (prompt.strip(), style.strip()) if part)


def read_csv(data: bytes) -> tuple[Preset, ...]:
    """The styles of a file; a name that comes again replaces the one before.

    Rows that are commented out with `#` and those that say nothing, such as dividers, are left out.
    Raises `TooLarge`, `InvalidRequest` for what is no such file.
    """
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(
            f"The file of styles is too large ({len(data) // 1024} KB, the limit is "
            f"{MAX_FILE_BYTES // 1024} KB).",
            "Split it.",
        )
    try:
        text = data.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error):
        raise _unreadable() from None
    found: dict[str, Preset] = {}
    for row in rows:
        if "name" not in row or not {"prompt", OLD_COLUMN} & row.keys():
            raise _unreadable()
        name = (row["name"] or "").strip()
        prompt = row.get("prompt", row.get(OLD_COLUMN)) or ""
        negative = row.get("negative_prompt") or ""
        if name and not name.startswith("#") and (prompt.strip() or negative.strip()):
            found[name] = checked(Preset(name=name, prompt=prompt, negative_prompt=negative))
    if len(found) > MOST:
        raise TooLarge(f"There are {len(found)} styles in the file.", f"Keep at most {MOST}.")
    return tuple(found.values())


def write_csv(presets: Iterable[Preset]) -> bytes:
    """The styles as A1111 writes them: with a byte order mark, quoted where needed."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows((one.name, one.prompt, one.negative_prompt) for one in presets)
    return file.getvalue().encode("utf-8-sig")


def checked(preset: Preset) -> Preset:
    """The style as it may be kept. Raises `InvalidRequest`."""
    name = " ".join(preset.name.split())
    if not name or len(name) > MAX_NAME_CHARS or name.startswith("#") or not name.isprintable():
        raise InvalidRequest(
            f"A style cannot be called '{name[:40]}'.",
            f"Give it a name of 1 to {MAX_NAME_CHARS} letters that does not start with #.",
            field="name",
        )
    for field in ("prompt", "negative_prompt"):
        if len(getattr(preset, field)) > MAX_PROMPT_CHARS:
            raise InvalidRequest(
                f"The style '{name}' is longer than {MAX_PROMPT_CHARS} letters.",
                "Shorten it.",
                field=field,
            )
    if not preset.prompt.strip() and not preset.negative_prompt.strip():
        raise InvalidRequest(
            f"The style '{name}' says nothing.",
            "Write what it adds to a prompt, or to a negative one.",
            field="prompt",
        )
    texts = (_lines(preset.prompt), _lines(preset.negative_prompt))
    return Preset(name=name, prompt=texts[0], negative_prompt=texts[1])


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def of_file(path: Path) -> tuple[Preset, ...]:
    """The styles of a file as it is now; none if it is missing or cannot be read."""
    try:
        return read_csv(path.read_bytes())
    except (OSError, InvalidRequest, TooLarge):
        return ()


@cache
def builtin(path: Path) -> tuple[Preset, ...]:
    """The styles that come with the studio."""
    return read_csv(path.read_bytes())


def _unreadable() -> InvalidRequest:
    return InvalidRequest(
        "This is no file of styles.",
        "It must be a CSV file in UTF-8 whose first line is name,prompt,negative_prompt.",
    )
