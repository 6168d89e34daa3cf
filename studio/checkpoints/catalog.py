"""What a checkpoint is to everybody else, and the list of those that there are."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any, Literal, cast

from studio.checkpoints.beside import Lent, Offer, Shelf, chosen, offers_of
from studio.checkpoints.folder import (
    CustomCode,
    Part,
    UnsafeWeights,
    read_parts,
    saved_from,
    scheduler_config,
    shapes_of,
    tensors_of,
)
from studio.checkpoints.gguf import ENDING, UnknownFormat, read_any
from studio.checkpoints.header import BadFile, Header, NotSafetensors, Tensor, as_named, readable
from studio.checkpoints.ids import free_id
from studio.checkpoints.latents import latent_channels
from studio.checkpoints.originals import SINGLE_FILES, bare, is_plain
from studio.checkpoints.scan import PICKLED, Found, Stamp, folder_stamp, scan, sidecar_of
from studio.checkpoints.sidecar import Sidecar, read_sidecar
from studio.checkpoints.trunks import Trunk, trunk_of, words_of
from studio.core.errors import InvalidRequest, Unavailable, Unusable
from studio.costs.anatomy import Anatomy, anatomy_of
from studio.discovery import open_drawer
from studio.families._family import Defaults, Family, Guidance, Over, Published, Role, Supports
from studio.families._identify import Unclear, identify
from studio.families._keys import Shapes, saved_as
from studio.families._steering import Balance, Encoder
from studio.families._unets import encoder_of
from studio.samplers import DIFFUSION, ROWS

BUILTIN_ID = "builtin"

DENOISERS = ("unet", "transformer", "decoder")
"""What the network is called that takes the noise away."""

_NO_DEFAULTS = Defaults(steps=25, guidance=7.0, sampler=ROWS[0].id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Weights on disk that a user picks. A broken or unknown one is listed with its `problem`."""

    id: str
    """Name below the checkpoint folder without its ending; unique, never a path to follow."""
    label: str
    family: str
    """Id of the family; empty if no family knows its keys."""
    path: Path
    """Where it lies. Never leaves the server."""
    layout: Literal["folder", "file"]
    size_bytes: int
    native_px: int
    multiple_px: int
    defaults: Defaults
    supports: Supports
    guidance: Guidance = Guidance.CLASSIFIER_FREE
    samplers: tuple[str, ...] = DIFFUSION
    """Ids of those that fit."""
    strengthless: frozenset[Role] = frozenset()
    """Roles in which a strength means nothing to it."""
    problem: str = ""
    """Why it cannot be used, as a sentence; empty when it can."""
    encoder: Encoder | None = None
    """Shape of its denoiser, where that is a UNet that attends to text."""
    steered: Encoder | None = None
    """What a ControlNet must be made for to fit; None if none can."""
    trunk: Trunk | None = None
    """What a LoRA must be made for to fit, where the denoiser is a transformer."""
    words: int = 0
    """Width of the states of a prompt that those of a picture may follow; 0 where they may not."""
    latents: int = 0
    """Channels of its autoencoder's latents; a VAE must have as many to fit."""
    advice: str = ""
    """What to do about the problem."""
    lacks: tuple[Published, ...] = ()
    """Files that are published beside it, and that are nowhere, where that is the problem."""
    anatomy: Anatomy | None = None
    """How large its parts are; None if it cannot be used."""
    lent: tuple[Lent, ...] = ()
    """Networks that its file lacks and that are read from elsewhere."""

    @property
    def family_label(self) -> str:
        """Its family's name for people; empty if no family knows it."""
        return families()[self.family].label if self.family else ""

    @property
    def roles(self) -> frozenset[Role]:
        """What it can be used for; nothing if it cannot be used at all."""
        return frozenset(() if self.problem else families()[self.family].pipelines)

    def require_usable(self) -> None:
        """Raises `Unusable` if it is not what it should be, `InvalidRequest` if it only lacks files
        that can be had."""
        if self.problem:
            kind = InvalidRequest if self.lacks else Unusable
            raise kind(self.problem, self.advice, field="checkpoint")

    def require_steered(self) -> None:
        """Raises `InvalidRequest` if no ControlNet fits it, whatever there is."""
        if self.steered is None:
            raise InvalidRequest(
                f"'{self.label}' is {self.family_label}, which no ControlNet steers.",
                "Leave the control maps out, or choose another checkpoint.",
                field="units",
            )

    @property
    def balances(self) -> tuple[Balance, ...]:
        """What may be said to matter more, prompt or map."""
        steering = families()[self.family].steering if self.family else None
        return steering.balances if steering else ()

    @property
    def refiners(self) -> frozenset[str]:
        """Ids of families that can take over for its last steps."""
        return frozenset(() if self.problem else families()[self.family].refiners)


@cache
def families() -> dict[str, Family]:
    """The drawer of families, opened once."""
    return dict(open_drawer("studio.families", Family))


def family_of(shapes: Shapes) -> Family | None:
    """The family that these tensors are of; None if of none, or of a mixture that nobody made."""
    try:
        return identify(shapes, families())
    except Unclear:
        return None


class Catalog:
    """The checkpoints below some folders and the built-in one, as they are at this moment.

    Asking is cheap: names, sizes and times are read each time, contents only of what is new. May
    be used from any thread.
    """

    def __init__(
        self,
        folders: tuple[Path, ...],
        builtin: Path | None = None,
        beside: tuple[Path, ...] = (),
    ) -> None:
        """`folders` need not exist. The first one that has an id keeps it; what has it too goes by
        its folder's name as well. Below `beside` lie text encoders and autoencoders for files that
        hold a denoiser alone."""
        self._folders = tuple(folders)
        self._builtin = builtin
        self._shelf = Shelf(tuple(beside))
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[Found, tuple[Offer, ...], Checkpoint]] = {}
        self._offered: dict[Found, tuple[Offer, ...]] = {}

    def all(self) -> tuple[Checkpoint, ...]:
        """All of them, the built-in one first, then by folder and name; broken ones too."""
        with self._lock:
            every = self._found()
            offers = self._offers(every)
            seen: dict[str, tuple[Found, tuple[Offer, ...], Checkpoint]] = {}
            for found in every:
                before = self._seen.get(found.id)
                offered = offers if found.layout == "file" else ()
                if before and before[:2] == (found, offered):
                    seen[found.id] = before
                else:
                    seen[found.id] = (found, offered, inspect(found, offered))
            self._seen = seen
            return _told_apart(
                checkpoint
                for found, _, checkpoint in seen.values()
                # one that only lacks something somebody meant to paint with
                if not (found.loose and checkpoint.problem) or checkpoint.lacks
            )

    def _offers(self, every: tuple[Found, ...]) -> tuple[Offer, ...]:
        """What files may borrow, where there are any: of folders, then of files of their own."""
        files = [one for one in every if one.layout == "file"]
        if not files:
            return ()
        folders = [one for one in every if one.layout == "folder" and one.id != BUILTIN_ID]
        self._offered = {
            one: self._offered[one] if one in self._offered else _offers(one) for one in folders
        }
        return (*(o for offers in self._offered.values() for o in offers), *self._shelf.all())

    def get(self, checkpoint_id: str | None) -> Checkpoint:
        """The checkpoint that `find` finds; None is the first usable one.

        Raises `InvalidRequest` if there is none or if it cannot be used, of which `Unusable` is one,
        `Unavailable` if there is no usable one at all.
        """
        usable = [checkpoint for checkpoint in self.all() if not checkpoint.problem]
        if checkpoint_id is None:
            if not usable:
                raise Unavailable(
                    "There is no checkpoint that can be used.",
                    "Put a Stable Diffusion .safetensors file into the checkpoint folder.",
                )
            return usable[0]
        found = self.find(checkpoint_id)
        if found is None:
            raise InvalidRequest(
                f"There is no checkpoint '{_shown(checkpoint_id)}'.",
                _choice([checkpoint.id for checkpoint in usable]),
                field="checkpoint",
            )
        found.require_usable()
        return found

    def find(self, name: str) -> Checkpoint | None:
        """The checkpoint of that id, or of that file name, also one that cannot be used.

        The name is only ever compared with names, never made into a path.
        """
        listed = self.all()
        named = [one for one in listed if one.id == name]
        return next(iter((*named, *(one for one in listed if _file_name(one) == name))), None)

    def _found(self) -> tuple[Found, ...]:
        """Everything there is, each id once."""
        listed: dict[str, Found] = {}
        if self._builtin and (builtin := _builtin(self._builtin)):
            listed[builtin.id] = builtin
        taken = {name: found.path for name, found in listed.items()}
        for folder in self._folders:
            for found in scan(folder):
                name = free_id(found.path, folder, taken, found.id)
                taken[name] = found.path
                listed.setdefault(name, found)
        return tuple(replace(found, id=name) for name, found in listed.items())


def _told_apart(checkpoints: Iterable[Checkpoint]) -> tuple[Checkpoint, ...]:
    """The same; those of one label go by their ids as well, which are unique."""
    listed = tuple(checkpoints)
    often = Counter(one.label for one in listed)
    return tuple(one if often[one.label] == 1 else _with_id(one) for one in listed)


def _with_id(checkpoint: Checkpoint) -> Checkpoint:
    own = checkpoint.id.rpartition("/")[2] == checkpoint.label
    label = checkpoint.id if own else f"{checkpoint.label} ({checkpoint.id})"
    return replace(checkpoint, label=label)


def _file_name(checkpoint: Checkpoint) -> str:
    """Its id with the ending of its file; the id alone where it is a folder."""
    return checkpoint.id + checkpoint.path.suffix if checkpoint.layout == "file" else checkpoint.id


def _builtin(folder: Path) -> Found | None:
    try:
        stamp: Stamp = folder_stamp(folder)
    except OSError:
        return None
    if not any(name.endswith("/model_index.json") for name, _, _ in stamp):
        return None
    return Found(id=BUILTIN_ID, path=folder, layout="folder", stamp=stamp)


def _offers(found: Found) -> tuple[Offer, ...]:
    """What others may borrow of a folder; nothing where it is not as it should be."""
    try:
        with as_named(found.path):
            parts = read_parts(found.path)
            shapes = {**shapes_of(parts), saved_as(saved_from(found.path)): ()}
            family = family_of(shapes)
            if family is None:
                return ()
            return offers_of(found.path, parts, family.configs if family.needs else "")
    except (BadFile, OSError):
        return ()


def inspect(found: Found, offers: tuple[Offer, ...] = ()) -> Checkpoint:
    """What it is, from names, headers and configs alone; one that cannot be used has a problem.
    `offers` are networks that its file may borrow."""
    noted = read_sidecar(sidecar_of(found.path))
    blank = Checkpoint(
        id=found.id,
        label=noted.label or found.id.rpartition("/")[2],
        family="",
        path=found.path,
        layout=found.layout,
        size_bytes=sum(
            size for name, size, _ in found.stamp if name.endswith((".safetensors", ENDING))
        ),
        native_px=512,
        multiple_px=8,
        defaults=_NO_DEFAULTS,
        supports=Supports(),
    )
    try:
        with as_named(found.path):
            if found.layout == "folder":
                return _folder(blank, noted)
            return _file(blank, noted, offers)
    except BadFile as problem:
        return replace(blank, problem=str(problem), advice=_advice(problem))
    except OSError:
        return replace(
            blank,
            problem="This checkpoint cannot be read.",
            advice="Check the permissions of its files.",
        )


def _file(blank: Checkpoint, noted: Sidecar, offers: tuple[Offer, ...]) -> Checkpoint:
    if blank.path.suffix.lower() in PICKLED:
        raise UnsafeWeights(
            f"Only .safetensors models can be used ({blank.path.name} was not loaded)."
        )
    header = read_any(blank.path)
    shapes = header.shapes
    family = family_of(shapes)
    if family is None:
        return _unknown(blank)
    if not family.configs:
        return _folder_only(blank, family)
    if family.needs is not None:
        said = families().get(noted.family or "")
        family = said if said and said.configs == family.configs else family
        return _denoiser(blank, noted, family, header, offers)
    blank = replace(blank, **_parts(shapes, header.tensors, family))
    return _known(blank, family, noted, family.native_px, family.multiple_px)


def _denoiser(
    blank: Checkpoint, noted: Sidecar, family: Family, header: Header, offers: tuple[Offer, ...]
) -> Checkpoint:
    """A file of a family whose files often hold the denoiser alone."""
    shapes = header.shapes
    if family.needs is None:
        raise ValueError(f"{family.id} needs nothing")
    own = bare(shapes)
    try:
        needs = family.needs(own)
        SINGLE_FILES[family.components["transformer"][0]](own)
    except (KeyError, ValueError, IndexError, ZeroDivisionError):
        return _unreadable(blank, family)
    if not is_plain(shapes):
        return _unreadable(blank, family)
    lent: list[Lent] = []
    missing: list[str] = []
    for part, need in needs.items():
        if any(key.startswith(family.single_file[part].prefixes) for key in shapes):
            continue
        if found := chosen(part, need, offers, family.configs):
            lent.append(found)
        elif part not in family.optional:
            missing.append(part)
    if missing:
        lacks = sorted((needs[part].published for part in missing), key=lambda one: one.gated)
        return _incomplete(blank, family, tuple(lacks))
    borrowed = {f"{one.part}.{key}": found for one in lent for key, found in one.offer.tensors}
    whole = {**shapes, **{key: tensor.shape for key, tensor in borrowed.items()}}
    tensors = {**header.tensors, **borrowed}
    blank = replace(blank, **_parts(whole, tensors, family), lent=tuple(lent))
    return _known(blank, family, noted, family.native_px, family.multiple_px)


def _folder(blank: Checkpoint, noted: Sidecar) -> Checkpoint:
    parts = read_parts(blank.path)
    schedule = scheduler_config(blank.path)
    size = sum(file.stat().st_size for part in parts for file in part.weights)
    blank = replace(blank, size_bytes=size)
    tensors = tensors_of(parts)
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    shapes[saved_as(saved_from(blank.path))] = ()
    family = family_of(shapes)
    if family is None:
        return _unknown(blank)
    blank = replace(blank, **_parts(shapes, tensors, family))
    of = {part.name: part for part in parts}
    for name, kinds in family.components.items():
        if name not in of and name in family.optional:
            continue
        if name not in of:
            raise BadFile(f"This checkpoint is incomplete: it has no {name}.")
        if of[name].kind not in kinds:
            raise BadFile(f"The studio does not know the class {of[name].kind} for a {name}.")
    native, multiple = _sizes(family, of)
    known = _known(blank, family, noted, native, multiple)
    if family.quick and _quick(schedule):
        return replace(known, defaults=replace(family.quick, **noted.defaults()))
    return known


def _quick(schedule: Mapping[str, Any]) -> bool:
    """Whether a scheduler config is that of a distilled checkpoint: it starts at pure noise and yet
    predicts noise, which takes a network that paints the picture in one go."""
    trailing = schedule.get("timestep_spacing") == "trailing"
    return trailing and schedule.get("prediction_type", "epsilon") == "epsilon"


def _parts(shapes: Shapes, tensors: Mapping[str, Tensor], family: Family) -> dict[str, Any]:
    """What is read from the shapes of a checkpoint's tensors, as its fields; `tensors` are how
    they lie in files."""
    stored = {key: tensor.end - tensor.begin for key, tensor in tensors.items()}
    return {
        "encoder": encoder_of(shapes),
        "steered": family.steering.encoder(shapes) if family.steering else None,
        "trunk": trunk_of(shapes, family.components.get("transformer", ("",))[0]),
        "words": words_of(shapes) if family.appended else 0,
        "latents": latent_channels(shapes),
        "anatomy": anatomy_of(shapes, stored),
    }


def denoiser_file(checkpoint: Checkpoint) -> Path:
    """The file that tells checkpoints apart: the single one, or the first one of the denoiser."""
    if checkpoint.layout == "file":
        return checkpoint.path
    parts = {part.name: part for part in read_parts(checkpoint.path)}
    return next(parts[name] for name in DENOISERS if name in parts).weights[0]


def _unknown(blank: Checkpoint) -> Checkpoint:
    """Healthy, and nothing that the studio paints with: a LoRA, a ControlNet, another family."""
    known = list(dict.fromkeys(f.label.partition(",")[0] for f in families().values()))
    return replace(
        blank,
        problem=f"'{blank.label}' is no checkpoint of a kind that the studio knows.",
        advice=f"It paints with {', '.join(known[:-1])} and {known[-1]}.",
    )


def _folder_only(blank: Checkpoint, family: Family) -> Checkpoint:
    """Recognised, but a single file does not hold what the studio would need beside it."""
    beside = ", ".join(sorted(name for name in family.components if "tokenizer" not in name))
    return replace(
        blank,
        problem=f"'{blank.label}' is {family.label} as a single file; the studio reads this kind "
        "from a folder, with its tokenizers and configs.",
        advice=f"Get the folder in diffusers' layout ({beside} and tokenizers) from the page of the "
        "checkpoint's makers, and put it into the checkpoint folder.",
    )


def _incomplete(blank: Checkpoint, family: Family, lacks: tuple[Published, ...]) -> Checkpoint:
    """Its denoiser is there, something beside it is nowhere."""
    names = [one.label for one in lacks]
    wanted = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    them, they = ("them", "they were") if names[1:] else ("it", "it was")
    size = readable(sum(one.size_bytes for one in lacks))
    return replace(
        blank,
        lacks=lacks,
        problem=f"'{blank.label}' is {family.label} without {wanted}.",
        advice=f"Install {them} under Checkpoints ({size}) or with '{_command(blank.id)}', or put "
        f"{them} into the folders 'text_encoders' and 'vae' of the data folder; {they} looked for "
        "there and in the folders of other programs that were added.",
    )


def _command(checkpoint_id: str) -> str:
    """That which installs what it lacks, as shells of every kind read it."""
    plain = not set(checkpoint_id) & set('"$`\\!')
    quoted = f'"{checkpoint_id}"' if plain else quote(checkpoint_id)
    return f"python3 launch.py checkpoints install --for={quoted}"


def _unreadable(blank: Checkpoint, family: Family) -> Checkpoint:
    """Its numbers are packed in a way that only other programs know."""
    return replace(
        blank,
        problem=f"'{blank.label}' is {family.label} with numbers packed in a way that the studio "
        "cannot read.",
        advice="Get it in fp16, bf16 or fp8 (float8_e4m3fn), or as GGUF.",
    )


def _known(
    blank: Checkpoint, family: Family, noted: Sidecar, native_px: int, multiple_px: int
) -> Checkpoint:
    reads_first = family.text is None or bool(family.text.results)
    mixes = family.over is Over.LATENTS
    return replace(
        blank,
        family=family.id,
        anatomy=blank.anatomy and replace(blank.anatomy, reads_first=reads_first, mixes=mixes),
        native_px=noted.native_px or native_px,
        multiple_px=noted.multiple_px or multiple_px,
        defaults=replace(family.defaults, **noted.defaults()),
        supports=family.supports,
        guidance=family.guidance,
        samplers=family.samplers,
        strengthless=family.strengthless,
    )


def _sizes(family: Family, parts: dict[str, Part]) -> tuple[int, int]:
    """The native side of a folder's checkpoint and the multiple that sides must be of, in px.

    Families whose networks see squares of latents have a multiple of several latents of 8 px.
    """
    if not family.sized:
        return family.native_px, family.multiple_px
    scale = _scale(parts["vae"]) if "vae" in parts else family.multiple_px
    multiple = family.multiple_px * scale // 8
    return _native(parts, scale) or family.native_px, max(8, multiple)


def _scale(vae: Part) -> int:
    """Pixels to a latent, along one side: each block but the last halves the picture."""
    names = ("block_out_channels", "decoder_block_out_channels")
    blocks: Any = next((vae.config[name] for name in names if name in vae.config), None)
    count = len(cast(list[Any], blocks)) if isinstance(blocks, list) else 0
    return 2 ** (count - 1) if 1 < count < 8 else 8


def _native(parts: dict[str, Part], scale: int) -> int | None:
    denoiser = parts.get("unet") or parts.get("transformer")
    size: Any = denoiser.config.get("sample_size") if denoiser else None
    if isinstance(size, int) and 64 <= size * scale <= 2048:
        return size * scale
    return None


def _advice(problem: BadFile) -> str:
    if isinstance(problem, UnsafeWeights):
        return (
            "Such files can run code when they are opened; convert it to .safetensors on the site "
            "it came from or with diffusers' conversion scripts, and use that."
        )
    if isinstance(problem, CustomCode):
        return "The studio runs no code that comes with weights; use the plain version of it."
    if isinstance(problem, UnknownFormat):
        return "Get it as Q8_0, Q6_K, Q5_K, Q4_K or F16, or as .safetensors."
    if isinstance(problem, NotSafetensors):
        return "Get the .safetensors version of this checkpoint, however the file is called."
    return "Copy or download it again, then reload the page."


def _shown(checkpoint_id: str) -> str:
    printable = "".join(letter for letter in checkpoint_id if letter.isprintable())
    return printable if len(printable) <= 60 else printable[:59] + "…"


def _choice(ids: list[str]) -> str:
    if not ids:
        return "Put a Stable Diffusion .safetensors file into the checkpoint folder."
    named = ", ".join(ids[:5])
    return f"Choose one of {named} …" if len(ids) > 5 else f"Choose one of {named}."
