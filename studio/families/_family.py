"""The contract of a family."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from studio.families._keys import Rule, Shapes
from studio.families._steering import Steering
from studio.samplers import DIFFUSION


class Role(StrEnum):
    """What a task needs a pipeline for."""

    TEXT = "text"
    IMAGE = "image"
    INPAINT = "inpaint"


OVER = frozenset({Role.IMAGE, Role.INPAINT})
"""Those that paint over a picture."""


class Guidance(StrEnum):
    """What a guidance scale does to a family's pictures."""

    CLASSIFIER_FREE = "classifier-free"
    """The network is asked twice a step, with and without the prompt; 1.0 asks once."""
    EMBEDDED = "embedded"
    """The network was told in training what it means, so it costs nothing; there is no negative
    prompt."""
    NONE = "none"
    """Distilled away: every scale paints the same."""


class Latents(StrEnum):
    """How a pipeline holds what its autoencoder decodes."""

    PLAIN = "plain"
    """[1, channels, height, width]."""
    PACKED = "packed"
    """Squares of 2 × 2 in a row: [1, height × width / 4, 4 × channels]."""
    FRAMES = "frames"
    """Packed, for the autoencoder of a video model, which wants [1, channels, 1, height, width]."""
    NORMED = "normed"
    """Squares of 2 × 2 in a row, each channel with a mean and spread that the autoencoder keeps."""
    PIXELS = "pixels"
    """The pipeline hands out nothing before its finished picture, so there is no preview."""


class Over(StrEnum):
    """What a pipeline that paints over a picture wants it as."""

    LATENTS = "latents"
    """Encoded here, so that the shared autoencoder keeps its precision; the part under the mask may
    start as something else."""
    PICTURE = "picture"
    """As it is. The part under the mask starts as the picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """What a request that does not say gets."""

    steps: int
    guidance: float
    """1.0 switches guidance off, higher follows the prompt more strictly."""
    sampler: str
    """Id of a row in `studio.samplers`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Supports:
    """What a family understands; front ends hide what it does not."""

    negative_prompt: bool = True
    prompt_weights: bool = True
    clip_skip: bool = True


SENTENCES = Supports(prompt_weights=False, clip_skip=False)
"""T5 and language models read sentences: weights would mean nothing to them."""
ONE_SENTENCE = Supports(negative_prompt=False, prompt_weights=False, clip_skip=False)
"""The same, and nothing to keep away from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """How a family's pipelines read a prompt, where it is not CLIP with weights and chunks."""

    results: tuple[str, ...] = ()
    """What the results of `encode_prompt` are called in the pipeline's call, in order; an empty name
    is left out. No name at all leaves the reading to the call itself."""
    negative_apart: bool = False
    """Whether the negative prompt is read by a second `encode_prompt`; its results then go by the
    same names with `negative_` in front."""
    sees: bool = False
    """Whether the encoder also looks at the picture that is painted over."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further arguments of `encode_prompt`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """The numbers of a request, as far as a pipeline's call may depend on them."""

    role: Role
    width: int
    height: int
    steps: int
    guidance: float
    guided: bool
    """Whether the negative prompt has a say; see `Family.guided`."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network in a single file."""

    kind: Literal[
        "unet",
        "FluxTransformer2DModel",
        "SD3Transformer2DModel",
        "vae",
        "clip",
        "open_clip",
        "open_clip_read",
        "text",
        "projected",
        "t5",
    ]
    """Which table of `checkpoints` knows the names of its tensors there."""
    prefixes: tuple[str, ...]
    """What stands before them, any one of these; files are written with the first. An empty one takes
    whatever there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A file that somebody who lacks a network can get."""

    label: str
    """What it is called where people get it, and here once it is installed."""
    source: str
    """`owner/name/file` on Hugging Face."""
    size_bytes: int
    licence: str
    gated: bool = False
    """Its page asks for a login and for consent first."""


@dataclass(frozen=True, slots=True)
class Need:
    """A network that a denoiser paints with, and that its file may or may not hold."""

    kind: Literal["vae", "clip", "t5"]
    width: int
    """Of its text states, or channels of its latents."""
    published: Published
    """For somebody who lacks it."""
    others: str = ""
    """A pattern in the names of files that look like it and are another family's."""

    def says_another(self, name: str) -> bool:
        """Whether a file of that name, without its ending, is another family's."""
        return bool(self.others) and re.search(self.others, name.lower()) is not None


CallArgs = Callable[[Sampling], dict[str, Any]]


def guidance_scale(sampling: Sampling) -> dict[str, Any]:
    return {"guidance_scale": sampling.guidance}


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """An entry of the drawer `families/`."""

    id: str
    label: str
    keys: Rule
    """Holds for state-dict keys of this family; never looks at a file's name or size."""
    before: tuple[str, ...] = ()
    """Ids of families that must be tried before this one."""
    pipelines: Mapping[Role, str]
    """diffusers class name per role, looked up on first use."""
    components: Mapping[str, tuple[str, ...]]
    """Classes that each part of a checkpoint may be of; a single file is read as the first one.
    A part that is not named here is not loaded."""
    optional: frozenset[str] = frozenset()
    """Components that it paints without, if they are not there."""
    native_px: int
    multiple_px: int
    sized: bool = False
    """Whether a folder's own configs say otherwise: its sample size and the blocks of its
    autoencoder."""
    defaults: Defaults
    quick: Defaults | None = None
    """What a distilled kin with the very same keys gets: one whose scheduler config starts at pure
    noise (`trailing` timesteps) and yet predicts noise, as SD- and SDXL-Turbo do. A single file does
    not say so; a sidecar can."""
    supports: Supports = Supports()
    guidance: Guidance = Guidance.CLASSIFIER_FREE
    samplers: tuple[str, ...] = DIFFUSION
    """Ids of the samplers that fit."""
    text: Text | None = None
    """None: CLIP reads it, with weights and in chunks (`engine.conditioning`)."""
    latents: Latents = Latents.PLAIN
    over: Over = Over.LATENTS
    begun: frozenset[Role] = frozenset()
    """Roles that diffusers has no pipeline for: the one that paints from words begins with the picture
    under noise (`engine.begun`)."""
    appended: str = ""
    """The argument of its pipelines' calls that is a prompt's states, where those of a picture may
    follow them (FLUX.1 Redux); none where they may not."""
    strengthless: frozenset[Role] = frozenset()
    """Roles in which it looks at a picture and paints what the words say of it, so that a strength
    means nothing; front ends offer none."""
    steering: Steering | None = None
    """How ControlNets steer its denoiser; None where none do."""
    call_args: CallArgs = guidance_scale
    """Keyword arguments of its pipelines beside prompt, size, steps and generator; may overrule the
    last three."""
    refiners: frozenset[str] = frozenset()
    """Ids of families that can take over for its last steps."""
    writer: str = ""
    """The component that writes the picture as tokens before the first step, if one does."""
    steps_before: int = 0
    """Of pipelines in two stages, where a prior foresees what a decoder then paints: steps of the
    prior that a request does not count."""
    steps_after: int = 0
    """The same for steps of the decoder, where the request counts those of the prior."""
    configs: str = ""
    """Folder below assets/configs/ with the configs and tokenizers of this family, for single files;
    empty where there are none to be read."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Entries of a component's config that differ from the one in `configs`, by component."""
    single_file: Mapping[str, Network] = field(default_factory=dict[str, Network])
    """Where each network lies in a single file; empty where the layouts are not converted into each
    other. One with `needs` names them all."""
    needs: Callable[[Shapes], Mapping[str, Need]] | None = None
    """Networks beside the denoiser, by component, read from the shapes of its tensors by their
    original names (`checkpoints.originals`). For families whose single files often hold the denoiser
    alone; None where a file holds all there is."""
    listens: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, Mapping[str, float]]
    )
    """Which attention layers a picture speaks to that lends its `style` or its `composition` alone,
    by the start of their names, and how strongly each hears it (0.0 … 1.0)."""

    def guided(self, guidance: float) -> bool:
        """Whether a negative prompt has a say at that scale."""
        return self.guidance is Guidance.CLASSIFIER_FREE and guidance > 1.0
