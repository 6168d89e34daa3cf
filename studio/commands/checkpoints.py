"""`checkpoints`: which weights there are to paint with, what they are, and new ones made of them."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from studio.checkpoints.beside import beside_in
from studio.checkpoints.catalog import Catalog, Checkpoint
from studio.checkpoints.convert import convert
from studio.checkpoints.facts import Verdict, facts, verify
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.header import BadFile, readable
from studio.checkpoints.installs import Installs
from studio.checkpoints.merge import merge
from studio.checkpoints.networks import fits_a_file
from studio.checkpoints.numbers import FORMATS, Floats
from studio.checkpoints.streams import Progress, Taken
from studio.commands.exit_codes import DAMAGED, OK
from studio.commands.generate import Status, own_path
from studio.core.errors import InvalidRequest, Refused, StudioError, Unavailable, Unusable
from studio.core.layouts import Kind
from studio.paths import BUILTIN_CHECKPOINT, CONFIGS
from studio.settings import Settings, load

MOST_SHOWN = 400
"""Characters of an entry of metadata that are printed."""


def checkpoints(options: Mapping[str, Any]) -> int:
    """Runs the action that was asked for; without one it lists them. Raises `StudioError`."""
    named = {field.name for field in fields(Settings)}
    settings = load({key: value for key, value in options.items() if key in named})
    desk = _Desk(settings, as_json=bool(options.get("json")))
    action = options.get("action") or "list"
    try:
        with _stoppable():
            return _ACTIONS[action](desk, options)
    except Taken as problem:
        hint = "Choose another name with --out, or have it replaced with --force."
        raise Taken(problem.message, hint, field="out") from None
    except BadFile as problem:
        raise Unusable(str(problem), "Copy or download it again.", field="checkpoint") from None


@contextmanager
def _stoppable() -> Iterator[None]:
    """A process that is asked to end, as by a service manager, leaves nothing half-written either."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What every action needs."""

    settings: Settings
    as_json: bool

    @property
    def catalog(self) -> Catalog:
        return Catalog(
            self.settings.all_dirs(Kind.CHECKPOINTS),
            builtin=BUILTIN_CHECKPOINT,
            beside=beside_in(self.settings.all_dirs),
        )

    @property
    def hashes(self) -> Hashes:
        return Hashes(self.settings.data_dir / "cache")

    @property
    def shelf(self) -> Path:
        return self.settings.data_dir / Kind.CHECKPOINTS.value

    def find(self, name: str) -> Checkpoint:
        """By id, also one that cannot be used. Raises `InvalidRequest`."""
        catalog = self.catalog
        return catalog.find(name) or catalog.get(name)  # which says what there is

    def say(self, found: Mapping[str, Any], *lines: str) -> None:
        """Prints the object for scripts, or the lines for people."""
        if self.as_json:
            print(json.dumps(found, ensure_ascii=False))
        else:
            print("\n".join(lines))

    @contextmanager
    def progress(self, verb: str) -> Iterator[Progress]:
        """A line on a terminal that says how far it is."""
        status, shown = Status(sys.stderr), [-1]

        def tell(done: int, total: int) -> None:
            percent = done * 100 // max(total, 1)
            if status.shown and percent != shown[0]:
                shown[0] = percent
                status.show(f"{verb}: {percent} % of {readable(total)}")

        try:
            yield tell
        finally:
            status.clear()


def _list(desk: _Desk, options: Mapping[str, Any]) -> int:
    """A line for each; those that cannot be used say why below it."""
    found = desk.catalog.all()
    lines: list[str] = []
    wide = max((len(entry.id) for entry in found), default=0)
    for entry in found:
        size = readable(entry.size_bytes)
        lines.append(f"{entry.id:{wide}}  {entry.family or 'unknown':8}  {size:>9}  {entry.label}")
        if entry.problem:
            lines.append(f"{'':{wide}}  {entry.problem} {entry.advice or ''}".rstrip())
    if not found:
        lines = [
            "There is no checkpoint yet.",
            "Put a .safetensors file or a diffusers folder into 'checkpoints' in the data folder.",
        ]
    desk.say({"checkpoints": [_json(entry) for entry in found]}, *lines)
    return OK


def _inspect(desk: _Desk, options: Mapping[str, Any]) -> int:
    entry = desk.find(options["name"])
    if entry.problem:
        desk.say(_json(entry), f"{entry.id}: {entry.problem}", entry.advice)
        return DAMAGED
    with desk.progress("Reading") as progress:
        found = facts(entry, desk.hashes, progress)
    lines = [
        f"{entry.id}: {entry.label}",
        f"family    {entry.family}, {entry.layout}, {readable(entry.size_bytes)}",
        f"paints    {entry.native_px} px, {entry.defaults.steps} steps, "
        f"guidance {entry.defaults.guidance:g}",
    ]
    for part in found.parts:
        formats = ", ".join(f"{name} {count:,}" for name, count in part.dtypes.items())
        kind = f" ({part.kind})" if part.kind else ""
        lines.append(f"part      {part.name}{kind}: {formats}; {readable(part.size_bytes)}")
    for name, sums in found.sums.items():
        lines.append(f"file      {name}")
        lines.append(f"          SHA-256 {sums.sha256}")
        lines.append(
            f"          AutoV1 {sums.autov1}  AutoV2 {sums.autov2}  AutoV3 {sums.autov3 or '–'}"
        )
    lines += [f"metadata  {key}: {_short(value)}" for key, value in found.metadata.items()]
    desk.say(
        {
            **_json(entry),
            "layout": entry.layout,
            "parameters": sum(part.parameters for part in found.parts),
            "parts": [asdict(part) for part in found.parts],
            "hashes": {name: asdict(sums) for name, sums in found.sums.items()},
            "metadata": dict(found.metadata),
        },
        *lines,
    )
    return OK


def _verify(desk: _Desk, options: Mapping[str, Any]) -> int:
    """One, or all. Ends with `DAMAGED` if one of them is not what it should be."""
    name = options.get("name")
    entries = desk.catalog.all() if name is None else (desk.find(name),)
    known = Installs(desk.settings.data_dir).sums()
    verdicts: dict[str, Verdict] = {}
    lines: list[str] = []
    for entry in entries:
        with desk.progress(entry.id) as progress:
            verdict = verdicts[entry.id] = verify(entry, desk.hashes, known, progress)
        lines.append(f"{entry.id}: {'not as it should be' if verdict.problems else 'sound'}")
        lines += [f"  {sentence}" for sentence in (*verdict.problems, *verdict.notes)]
    told = {
        "checkpoints": [
            {"id": key, "sound": not found.problems, **asdict(found)}
            for key, found in verdicts.items()
        ]
    }
    desk.say(told, *lines)
    return DAMAGED if any(found.problems for found in verdicts.values()) else OK


def _convert(desk: _Desk, options: Mapping[str, Any]) -> int:
    to, dtype = options["to"], options.get("to_dtype")
    entry = desk.find(options["name"])
    if not (entry.lacks and to == entry.layout):  # what it paints with is not needed for that
        entry.require_usable()
    name = entry.id.rpartition("/")[2] + (f"-{dtype}" if dtype else "")
    target = _target(desk.shelf, options.get("out") or name, single=to == "file")
    with desk.progress("Writing") as progress:
        made = convert(
            entry,
            to,
            target,
            configs=CONFIGS,
            dtype=FORMATS[dtype] if dtype else None,
            unpack=_unpack,
            force=bool(options.get("force")),
            progress=progress,
        )
    if made.sha256:
        desk.hashes.remember(made.path, made.sha256)
    left = ()
    if made.left_out:
        left = (f"Left out, since no network has it: {_some(made.left_out)}",)
    told = {**asdict(made), "path": str(made.path)}
    desk.say(told, f"{made.path}  {readable(made.size_bytes)}", *made.notes, *left)
    return OK


def _unpack(kind: str, data: bytes) -> Floats:
    """What GGUF packs; only such files take the time that torch needs to be there."""
    from studio.engine.unpacking import floats

    return floats(kind, data)


def _merge(desk: _Desk, options: Mapping[str, Any]) -> int:
    entries = tuple(_usable(desk, name) for name in options["names"])
    dtype = options.get("to_dtype")
    to = options.get("to") or ("file" if all(map(fits_a_file, entries)) else "folder")
    with desk.progress("Writing") as progress:
        made = merge(
            entries,
            options["method"],
            options["alpha"],
            _target(desk.shelf, options["out"], single=to == "file"),
            to=to,
            configs=CONFIGS,
            dtype=FORMATS[dtype] if dtype else None,
            force=bool(options.get("force")),
            progress=progress,
        )
    if made.sha256:
        desk.hashes.remember(made.path, made.sha256)
    lines = [f"{made.path}  {readable(made.size_bytes)}"]
    if made.only_first:
        lines.append(f"Only in {entries[0].id}, or of another shape: {_some(made.only_first)}")
    if made.not_taken:
        lines.append(f"Not in {entries[0].id}, and not taken: {_some(made.not_taken)}")
    desk.say({**asdict(made), "path": str(made.path)}, *lines, *made.notes)
    return OK


def _install(desk: _Desk, options: Mapping[str, Any]) -> int:
    """Fetches and checks it, here and now; what an earlier try has left is gone on with. Of several
    each is tried, and what went wrong is said at the end."""
    name, sha256 = options.get("name") or "", options.get("sha256") or ""
    wishes = _wishes(desk, options)
    if len(wishes) != 1 and (name or sha256):
        raise InvalidRequest(
            "A name or a checksum can be given for a single source only.", "Leave it out."
        )
    failed: list[StudioError] = []
    for source, label in wishes:
        try:
            _fetched(desk, source, name or label, sha256)
        except StudioError as problem:
            if not label:
                raise
            failed.append(_of_one(problem, source, label))
    for problem in failed[:-1]:
        print(problem, file=sys.stderr)
    if failed:
        raise failed[-1]
    return OK


def _of_one(problem: StudioError, source: str, label: str) -> StudioError:
    """What went wrong with one of several files, by its name."""
    hint = problem.hint
    if isinstance(problem, Unavailable):
        hint = (
            f"It is {source} on Hugging Face; bring it from where there is a network, and put it "
            "into the folder 'text_encoders' or 'vae' of the data folder."
        )
    return type(problem)(f"{label} was not installed: {problem.message}", hint, field=problem.field)


def _wishes(desk: _Desk, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Sources to install, and what to call them: the one that is named, or all that a checkpoint
    lacks."""
    source, lacking = options.get("source"), options.get("lacking")
    if bool(source) == bool(lacking):
        raise InvalidRequest(
            "Nothing was named to be installed, or two things at once.",
            "Name a source, or a checkpoint that lacks something with --for.",
        )
    if source:
        return [(source, "")]
    entry = desk.find(str(lacking))
    if not entry.lacks:
        raise InvalidRequest(
            f"'{entry.label}' lacks nothing that could be installed.",
            entry.advice or "It can be used as it is.",
            field="for",
        )
    return [(one.source, one.label) for one in entry.lacks]


def _fetched(desk: _Desk, source: str, name: str, sha256: str) -> None:
    installs = Installs(desk.settings.data_dir)
    entry = installs.add(source, name, sha256)
    if not desk.as_json:
        licence = f", licence {entry.plan.licence}" if entry.plan.licence else ""
        print(f"{entry.plan.name}: {readable(entry.plan.size_bytes)}{licence}", flush=True)
    if entry.note:
        print(entry.note, file=sys.stderr)
    if there := installs.there(entry.plan):
        print(f"It is there already, as {there}; this is another copy.", file=sys.stderr)
    try:
        with desk.progress(entry.plan.name) as progress:
            done = installs.run(
                entry.id,
                lambda count: progress(count, installs.get(entry.id).plan.size_bytes),
                lambda: False,
            )
    except (InvalidRequest, Refused):
        if not installs.get(entry.id).sums:  # nothing of it is there to be gone on with
            installs.remove(entry.id)
        raise
    except KeyboardInterrupt:
        print("Stopped. What has arrived is kept; the same command goes on.", file=sys.stderr)
        raise
    if done.note != entry.note:
        print(done.note, file=sys.stderr)
    path = desk.settings.data_dir / done.path
    desk.say({**done.shown(), "path": str(path), "sha256": dict(done.sums)}, str(path))


_ACTIONS: Mapping[str, Callable[[_Desk, Mapping[str, Any]], int]] = {
    "list": _list,
    "inspect": _inspect,
    "verify": _verify,
    "convert": _convert,
    "merge": _merge,
    "install": _install,
}


def _usable(desk: _Desk, name: str) -> Checkpoint:
    entry = desk.find(name)
    entry.require_usable()
    return entry


def _target(shelf: Path, out: str, *, single: bool) -> Path:
    """A bare name lies on the shelf, anything else is a path of the person's own."""
    path = own_path(out)
    if path.name in {"", "..", "."} or path.name.startswith("."):
        raise InvalidRequest(
            f"'{out[:60]}' is no name for a checkpoint.", "Choose another one.", field="out"
        )
    if single and path.suffix.lower() != ".safetensors":
        path = path.with_name(f"{path.name}.safetensors")
    return shelf / path if len(path.parts) == 1 else path.absolute()


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _short(value: str) -> str:
    return value if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]}…"


def _json(entry: Checkpoint) -> dict[str, Any]:
    return {
        "id": entry.id,
        "label": entry.label,
        "family": entry.family,
        "native_px": entry.native_px,
        "size_bytes": entry.size_bytes,
        "problem": entry.problem,
        "advice": entry.advice,
        "lacks": [asdict(one) for one in entry.lacks],
    }
