"""What is to be fetched for an install, and where it goes once it has arrived."""

import errno
import json
import re
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from studio.checkpoints.adapters import layers_of
from studio.checkpoints.beside import reads_prompts
from studio.checkpoints.catalog import families, family_of
from studio.checkpoints.catalog import inspect as inspect_checkpoint
from studio.checkpoints.controls import inspect as inspect_control
from studio.checkpoints.enlargers import enlarges
from studio.checkpoints.fetch import USUAL, Manners, Remote, look, read_small
from studio.checkpoints.folder import INDEX, MAX_CONFIG_BYTES
from studio.checkpoints.gguf import ENDING, read_any
from studio.checkpoints.header import BadFile, Header, as_named
from studio.checkpoints.imageprompts import inspect as inspect_image_prompt
from studio.checkpoints.latents import latent_channels
from studio.checkpoints.originals import PREFIX
from studio.checkpoints.scan import PICKLED, Found, file_stamp, folder_stamp
from studio.checkpoints.streams import replacing, sync_folder
from studio.core.errors import InvalidRequest, Unavailable
from studio.core.layouts import Kind

MOST_FILES = 200
MOST_BYTES = 200 << 30
MOST_TOLD = 8 << 20
"""Bytes of what Hugging Face tells of a repository."""
SAFE = ".safetensors"
READ = (SAFE, ENDING)
"""Endings of files that are installed alone: formats that cannot hold code."""
MOST_IN_A_NAME = 160
"""Bytes: systems allow 255, and endings come behind it."""
_TEXTS = frozenset({".json", ".txt", ".model"})
"""Configs and vocabularies; everything else of a repository stays where it is."""
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_PIECE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,120}")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in "123456789¹²³")}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file of an install."""

    path: str
    """Below the folder of the install: a name, or a part and a name."""
    url: str
    size_bytes: int
    sha256: str = ""
    """What it must be; empty where nobody tells."""
    tag: str = ""

    @property
    def remote(self) -> Remote:
        return Remote(url=self.url, size_bytes=self.size_bytes, name=self.path, tag=self.tag)

    def is_same(self, other: "File") -> bool:
        """Whether what has arrived of the other is of this one too."""
        if self.sha256 and self.sha256 == other.sha256:
            return True
        return (self.url, self.size_bytes, self.tag) == (other.url, other.size_bytes, other.tag)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What an install would fetch."""

    source: str
    name: str
    """What it will be called; a name that is safe on every system, without an ending."""
    files: tuple[File, ...] = field(default_factory=tuple[File, ...])
    licence: str = ""
    place: str = ""
    """The folder of the data folder that the files go into as they are; empty where their keys tell
    what they are."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def is_same(self, other: "Plan") -> bool:
        """Whether the files of the other are the same, whatever it is to be called."""
        mine, theirs = self.files, other.files
        return len(mine) == len(theirs) and all(map(File.is_same, mine, theirs))

    @property
    def is_folder(self) -> bool:
        return bool(self.place) or any(file.path == INDEX for file in self.files)


def plan(source: str, name: str = "", sha256: str = "", manners: Manners = USUAL) -> Plan:
    """Asks the network what `source` holds: an https address, or `owner/name` on Hugging Face, with
    `/file.safetensors` where a repository has several.

    Raises `InvalidRequest`, `Refused` or `Unavailable`; nothing was fetched.
    """
    source = source.strip()
    if sha256 and not re.fullmatch(r"[0-9A-Fa-f]{64}", sha256):
        raise InvalidRequest(
            "A SHA-256 has 64 digits from 0 to f.", "Check it, or leave it out.", field="sha256"
        )
    repository = _repository(source)
    found = _of_hub(source, *repository) if repository else _of_address(source, manners)
    if sha256:
        if len(found.files) != 1:
            raise InvalidRequest(
                "A checksum can be given for a single file only.", "Leave it out.", field="sha256"
            )
        found = replace(found, files=(replace(found.files[0], sha256=sha256.lower()),))
    _require_bounded(found)
    return replace(found, name=safe_name(name or found.name))


def _require_bounded(made: Plan) -> None:
    if made.size_bytes > MOST_BYTES or len(made.files) > MOST_FILES:
        raise InvalidRequest(
            "This is more than the studio installs at once.",
            "Install a part of it.",
            field="source",
        )


def again(made: Plan, changed: File, manners: Manners = USUAL) -> Plan:
    """The plan with what lies by now at the address of one of its files. Raises as `plan`."""
    remote = look(changed.url, headers_for(changed.url), manners)
    # whose tag was not asked for has none that is the same wherever the file is fetched from
    tag = remote.tag if changed.tag else ""
    fresh = replace(changed, size_bytes=remote.size_bytes, tag=tag)
    files = tuple(fresh if file == changed else file for file in made.files)
    found = replace(made, files=files)
    _require_bounded(found)
    return found


def of_files(repo: str, names: tuple[str, ...], place: str, label: str) -> Plan:
    """These very files of a repository, to be put into `place` as they are. Pickled ones too: only
    for what the studio itself names, and opens as weights alone.

    Raises `InvalidRequest`, `Refused` or `Unavailable`; nothing was fetched.
    """
    info = _info(repo)
    for name in names:
        if name not in info.files:
            raise InvalidRequest(
                f"'{repo}' has no file '{name}' any more.", "Bring it yourself.", field="source"
            )
    files = tuple(_file(repo, info, name, path=name) for name in names)
    source = f"{repo}/{names[0]}"
    return Plan(
        source=source, name=safe_name(label), files=files, licence=info.licence, place=place
    )


def safe_name(text: str) -> str:
    """A name that is one on every system and no path. Raises `InvalidRequest` if nothing is left."""
    stem = text.replace("\\", "/").rpartition("/")[2]
    stem = stem[: -len(_ending(stem))] if _ending(stem) else stem
    plain = re.sub(r"[^\w.\- ]", "_", unicodedata.normalize("NFC", stem))
    plain = re.sub(r"\s+", " ", plain).strip(" ._-")[:80]
    plain = plain.encode()[:MOST_IN_A_NAME].decode(errors="ignore").strip(" ._-")
    if not plain:
        raise InvalidRequest(
            f"'{text[:40]}' is no name for a checkpoint.", "Choose another one.", field="name"
        )
    head, dot, rest = plain.partition(".")
    return f"{head}_{dot}{rest}" if head.strip().casefold() in _RESERVED else plain


# Hugging Face


def _repository(source: str) -> tuple[str, str] | None:
    """(owner/name, file in it or empty); None for an address elsewhere."""
    from huggingface_hub import constants

    endpoint = constants.ENDPOINT.rstrip("/")
    if source.startswith(f"{endpoint}/"):
        rest = source.removeprefix(f"{endpoint}/").partition("?")[0].strip("/")
        pieces = rest.split("/")
        repo = "/".join(pieces[:2])
        if len(pieces) > 4 and pieces[2] in {"resolve", "blob"}:
            return repo, "/".join(pieces[4:])
        if len(pieces) in {2, 4} and _REPO.fullmatch(repo):
            return repo, ""
        return None
    if "://" in source:
        return None
    pieces = source.split("/")
    repo, file = "/".join(pieces[:2]), "/".join(pieces[2:])
    if not _REPO.fullmatch(repo) or ".." in source:
        raise InvalidRequest(
            "This is neither an address nor the name of a repository.",
            "Write owner/name, or https://….",
            field="source",
        )
    return repo, file


def _of_hub(source: str, repo: str, file: str) -> Plan:
    info = _info(repo)
    parts: frozenset[str] = frozenset()
    if INDEX in info.files and not file:
        parts = _parts(repo, _at(repo, info, INDEX))
    wanted = _chosen(repo, tuple(info.files), file, parts)
    files = tuple(
        _file(repo, info, name, path=name if INDEX in wanted else name.rpartition("/")[2])
        for name in wanted
    )
    name = file.rpartition("/")[2] if file else repo.partition("/")[2]
    return Plan(source=source, name=name, files=files, licence=info.licence)


def _at(repo: str, info: "_Repository", name: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}/resolve/{info.revision}/{quote(name)}"


def _file(repo: str, info: "_Repository", name: str, *, path: str) -> File:
    url, told = _at(repo, info, name), info.files[name]
    sha256 = str((told.get("lfs") or {}).get("sha256", ""))
    return File(path=path, url=url, size_bytes=_size(told, url), sha256=sha256)


def _size(entry: Mapping[str, Any], url: str) -> int:
    size = entry.get("size")
    return size if isinstance(size, int) else look(url, headers_for(url)).size_bytes


def _parts(repo: str, url: str) -> frozenset[str]:
    """The folders that a repository's index names. Raises `InvalidRequest` if no family of the
    studio is of its kind, before anything large is fetched."""
    try:
        index: Any = json.loads(read_small(url, headers_for(url), MAX_CONFIG_BYTES))
        kind = str(index["_class_name"])
    except (ValueError, KeyError, TypeError):
        raise InvalidRequest(
            f"The index of '{repo}' is not readable.", "Take another one.", field="source"
        ) from None
    if kind not in pipelines():
        known = ", ".join(family.label for family in families().values())
        raise InvalidRequest(
            f"'{repo}' is of a kind that the studio does not know ({_brief(kind)}).",
            f"It paints with {known}.",
            field="source",
        )
    return frozenset(name for name, entry in index.items() if isinstance(entry, list))


def pipelines() -> frozenset[str]:
    """diffusers' pipelines of all families."""
    return frozenset(kind for family in families().values() for kind in family.pipelines.values())


def _brief(kind: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "", kind)[:60]


@dataclass(frozen=True, slots=True)
class _Repository:
    revision: str
    licence: str
    files: Mapping[str, Mapping[str, Any]]
    """What the hub tells of each file, by name."""


def _info(repo: str) -> _Repository:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise Unavailable(
            "Hugging Face is switched off by HF_HUB_OFFLINE.", "Unset it and start again."
        )
    url = f"{constants.ENDPOINT}/api/models/{repo}?blobs=true"
    try:
        told: Any = json.loads(read_small(url, headers_for(url), MOST_TOLD))
        files = {str(entry["rfilename"]): entry for entry in told["siblings"]}
        card = told.get("cardData") or {}
        return _Repository(str(told["sha"]), str(card.get("license") or ""), files)
    except InvalidRequest:
        raise InvalidRequest(
            f"There is no repository '{repo}' for you: it does not exist, or asks for a login.",
            "Check the name; accept its terms on its page and log in with 'hf auth login'.",
            field="source",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unavailable(
            "Hugging Face answers with something unreadable.", "Try again later."
        ) from None


def _chosen(repo: str, names: tuple[str, ...], file: str, parts: frozenset[str]) -> tuple[str, ...]:
    """The files to fetch: the one that is named, the diffusers folder, or the only one there is."""
    if file:
        if file not in names:
            raise InvalidRequest(
                f"'{repo}' has no file '{file[:80]}'.", "Check the name.", field="source"
            )
        _require_safe(file)
        return (file,)
    if INDEX in names:
        return _folder_files(names, parts)
    safe = [name for name in names if _ending(name) and "/" not in name]
    if len(safe) == 1:
        return (safe[0],)
    if safe:
        named = ", ".join(safe[:6]) + (" …" if len(safe) > 6 else "")
        raise InvalidRequest(
            f"'{repo}' has {len(safe)} files to choose from: {named}.",
            f"Write {repo}/FILE.",
            field="source",
        )
    raise InvalidRequest(
        f"'{repo}' has no .safetensors or .gguf weights for a picture.",
        "Only these can be installed: other formats can run code.",
        field="source",
    )


def _folder_files(names: tuple[str, ...], parts: frozenset[str]) -> tuple[str, ...]:
    """Configs, and of each part the weights in half precision where there are some."""
    chosen: list[str] = []
    weights: dict[str, dict[str, list[str]]] = {}
    for name in names:
        pieces = name.split("/")
        if len(pieces) > 2 or not all(_PIECE.fullmatch(piece) for piece in pieces):
            continue
        part, suffix = pieces[0], Path(name).suffix.lower()
        if name != INDEX and part not in parts - _LEFT_OUT:
            continue
        if suffix in _TEXTS and (len(pieces) == 2 or name == INDEX):
            chosen.append(name)
        elif suffix == SAFE and len(pieces) == 2:
            variant = re.sub(r"-\d{5}-of-\d{5}", "", pieces[1]).removesuffix(SAFE).partition(".")[2]
            weights.setdefault(part, {}).setdefault(variant, []).append(name)
    for variants in weights.values():
        best = min(variants, key=lambda variant: (variant != "fp16", variant != "", variant))
        chosen += variants[best]
    return tuple(sorted(chosen))


_LEFT_OUT = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
"""Parts that no task paints with."""


def _require_safe(name: str) -> None:
    if not _ending(name):
        kind = Path(name).suffix.lower()
        why = f"{kind} files can run code" if kind in PICKLED else "nothing else is read"
        raise InvalidRequest(
            f"Only .safetensors and .gguf files can be installed: {why}.",
            "Take such a version of it.",
            field="source",
        )


def _ending(name: str) -> str:
    """Of a file that is installed alone, in small letters; empty for any other."""
    return next((one for one in READ if name.lower().endswith(one)), "")


def _of_address(source: str, manners: Manners) -> Plan:
    path = urlsplit(source).path
    if Path(path).suffix.lower() in PICKLED:
        _require_safe(path)
    remote = look(source, manners=manners)
    _require_safe(remote.name)
    name = safe_name(remote.name)
    path = f"{name}{_ending(remote.name)}"
    file = File(path=path, url=source, size_bytes=remote.size_bytes, tag=remote.tag)
    return Plan(source=source, name=name, files=(file,))


def headers_for(url: str) -> dict[str, str]:
    """The person's own token, for Hugging Face alone."""
    from huggingface_hub import constants, get_token

    here, there = urlsplit(url), urlsplit(constants.ENDPOINT)
    token = get_token() if (here.scheme, here.netloc) == (there.scheme, there.netloc) else None
    return {"Authorization": f"Bearer {token}"} if token else {}


# What has arrived


def settle(folder: Path, made: Plan, data_dir: Path) -> Path:
    """Puts what has arrived in `folder` where its kind belongs; the path.

    It is looked at first: headers, families, no code. Raises `InvalidRequest` if it is not what the
    studio uses, and `OSError` or `StorageFailed`; then it is still in `folder`.
    """
    if made.place:
        return _put(folder, made, data_dir / made.place)
    if made.is_folder:
        found = Found(id=made.name, path=folder, layout="folder", stamp=folder_stamp(folder))
        _require_usable(found)
        return _move(folder, free(data_dir / Kind.CHECKPOINTS.value / made.name))
    file = folder / made.files[0].path
    try:
        with as_named(file):
            header = read_any(file)
            kind = kind_of(header, file)
    except BadFile as problem:
        raise InvalidRequest(
            str(problem), "Try again; if it stays so, take it from another place.", field="source"
        ) from None
    if kind is Kind.CHECKPOINTS:
        _require_usable(Found(id=made.name, path=file, layout="file", stamp=file_stamp(file)))
    return _move(file, free(data_dir / kind.value / f"{made.name}{_ending(file.name)}"))


def _put(folder: Path, made: Plan, place: Path) -> Path:
    """The files beside what is there already, which stays."""
    for file in made.files:
        target = place / file.path
        if not target.exists():
            _move(folder / file.path, target)
    return place


def _require_usable(found: Found) -> None:
    seen = inspect_checkpoint(found)
    if seen.problem and not seen.lacks:
        raise InvalidRequest(seen.problem, seen.advice, field="source")


def kind_of(header: Header, file: Path) -> Kind:
    """What a file is, by its keys; a checkpoint if nothing else is known of it."""
    names = header.shapes.keys()
    if family_of(header.shapes) is not None:
        return Kind.CHECKPOINTS
    if reads_prompts(header.shapes):
        return Kind.TEXT_ENCODERS
    found = Found(id=file.stem, path=file, layout="file", stamp=())
    if inspect_control(found) is not None:
        return Kind.CONTROLNET
    if layers_of(header.shapes) or any(".oft_" in name for name in names):
        return Kind.LORAS
    if inspect_image_prompt(found) is not None:
        return Kind.IPADAPTER
    if {"emb_params"} & names or {"clip_l", "clip_g"} <= names or len(names) == 1:
        return Kind.EMBEDDINGS
    if any(name.startswith(PREFIX) for name in names):  # a whole one, of no family here
        return Kind.CHECKPOINTS
    if latent_channels(header.shapes):
        return Kind.VAE
    return Kind.UPSCALERS if enlarges(header.shapes) else Kind.CHECKPOINTS


def free(target: Path) -> Path:
    """The name, or with a number where it is taken, in capitals or not: nothing is ever replaced,
    nor would be on another system."""
    stem, suffix = (target.stem, target.suffix) if _ending(target.name) else (target.name, "")
    there = target.parent.iterdir() if target.parent.is_dir() else ()
    taken = {one.name.casefold() for one in there}
    number = 1
    while target.name.casefold() in taken:
        number += 1
        target = target.with_name(f"{stem}-{number}{suffix}")
    return target


def _move(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # the folder of this kind lies on another disk
        with replacing(target, force=False) as fresh:
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, fresh)
    sync_folder(target.parent)
    return target


def of_json(found: Mapping[str, Any]) -> Plan:
    """A plan as `dataclasses.asdict` wrote it. Raises `KeyError`, `TypeError` or `ValueError`."""
    files = tuple(File(**entry) for entry in found["files"])
    return Plan(
        source=str(found["source"]), name=safe_name(str(found["name"])), files=files,
        licence=str(found.get("licence", "")), place=str(found.get("place", "")),
    )  # fmt: skip
