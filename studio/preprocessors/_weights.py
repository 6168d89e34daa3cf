"""Where weights may lie that other people trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import InvalidRequest
from studio.preprocessors._preprocessor import ANNOTATORS, Preprocessor, Run, Weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where to look, in this order."""

    folders: tuple[Path, ...] = ()
    """Each holds the files themselves, or a folder with the name of the repository."""
    hub: Path | None = None
    """The cache of Hugging Face's own programs."""


def usual(data_dir: Path) -> Places:
    """The folder for annotators in the data folder, and the cache of this machine."""
    from huggingface_hub import constants

    return Places(folders=(data_dir / ANNOTATORS,), hub=Path(constants.HF_HUB_CACHE))


def find(weights: Weights, places: Places) -> Path | None:
    """The folder in which all of the files lie; None if there is none."""
    for folder in _folders(weights, places):
        if all((folder / file).is_file() for file in weights.files):
            return folder
    return None


def is_ready(entry: Preprocessor, places: Places) -> bool:
    """Whether it can make maps as things are."""
    return entry.needs is None or find(entry.needs, places) is not None


def _folders(weights: Weights, places: Places) -> Iterator[Path]:
    owner, _, name = weights.repo.partition("/")
    for folder in places.folders:
        yield folder / name
        # a lone file is known by its name; a config.json is not
        if not _anonymous(weights.files):
            yield folder
    if places.hub is not None:
        snapshots = places.hub / f"models--{owner}--{name}" / "snapshots"
        if snapshots.is_dir():
            yield from sorted(snapshots.iterdir())


def _anonymous(files: Sequence[str]) -> bool:
    return "config.json" in files


def opened(entry: Preprocessor, places: Places, labels: dict[str, str]) -> Run:
    """What makes the maps of an entry. Raises `InvalidRequest` where its weights are absent.

    `labels` are those of all preprocessors by id, to name the one that stands in.
    """
    if entry.run is not None:
        return entry.run
    if entry.needs is None or entry.load is None:
        raise ValueError(f"the preprocessor {entry.id} can do nothing")
    folder = find(entry.needs, places)
    if folder is None:
        raise absent(entry.needs, labels, "preprocessor")
    return entry.load(folder)


def absent(weights: Weights, labels: dict[str, str], field: str) -> InvalidRequest:
    """The sentences for a person whose machine lacks these weights, which `field` asks for; `labels`
    as for `opened`."""
    files = " ".join(weights.files)
    return InvalidRequest(
        f"The weights of {weights.label} are not here ({_megabytes(weights.size_bytes)}, "
        f"{weights.licence}): neither in the folder {ANNOTATORS} of the data folder nor in the "
        "cache of Hugging Face.",
        f"Install them in the tab Control, run 'hf download {weights.repo} {files} --local-dir "
        f"{weights.place}' in the data folder, or use '{labels[weights.instead]}', which needs none.",
        field=field,
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
