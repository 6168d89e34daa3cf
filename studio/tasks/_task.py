"""The contract between what is asked (a task) and what does it (the engine)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from PIL.Image import Image

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.controls import ControlNet
from studio.checkpoints.embeddings import Embedding
from studio.checkpoints.imageprompts import ImagePrompt, Looker
from studio.checkpoints.loras import Lora
from studio.checkpoints.vaes import Vae
from studio.core.geometry import Size
from studio.core.records import Picture, Preset
from studio.costs.work import Kept, Work
from studio.families._family import Role
from studio.preprocessors._preprocessor import Map, Preprocessor
from studio.upscalers._upscaler import Upscaler

if TYPE_CHECKING:
    from studio.tasks._references import Reference


class Facts(Protocol):
    """What `resolve` may look at: the checkpoints and the asker's pictures that there are now."""

    def checkpoint(self, checkpoint_id: str | None) -> Checkpoint:
        """The checkpoint of that id; None is the default one. Raises `InvalidRequest`."""
        ...

    def ways(self, checkpoint: Checkpoint) -> tuple[Kept, ...]:
        """How its weights can be kept in memory."""
        ...

    def controlnet(self, control_id: str | None, kind: str, checkpoint: Checkpoint) -> ControlNet:
        """The ControlNet of that id, or the first for that kind of map, that fits the checkpoint.

        Raises `InvalidRequest` where there is none.
        """
        ...

    def lora(self, name: str, checkpoint: Checkpoint) -> Lora:
        """The LoRA that is meant by that name for that checkpoint. Raises `InvalidRequest` where
        there is none that can be used with it."""
        ...

    def embeddings(self, checkpoint: Checkpoint) -> Mapping[str, Embedding]:
        """Those that fit the checkpoint, by the word that stands for each."""
        ...

    def vae(self, name: str, checkpoint: Checkpoint) -> Vae:
        """As `lora`."""
        ...

    def size(self, ref: str) -> Size:
        """Of a picture as it is shown, upright. Raises `NotFound`."""
        ...

    def picture(self, ref: str) -> Image:
        """An upload or a picture of the gallery: upright, 8 bit, RGB, or RGBA if some of it may be
        transparent. Raises `NotFound`, `StudioError` if it cannot be read."""
        ...

    def preset(self, name: str) -> Preset:
        """The style in words of that name. Raises `InvalidRequest`."""
        ...

    def upscaler(self, upscaler_id: str | None) -> Upscaler:
        """The upscaler of that id; None is the default one. Raises `InvalidRequest`."""
        ...

    def has_weights(self, preprocessor: Preprocessor) -> bool:
        """Whether what it needs is here."""
        ...

    def image_prompt(self, prompt_id: str | None, checkpoint: Checkpoint) -> ImagePrompt:
        """The IP-Adapter of that id, or the first one, that fits the checkpoint.

        Raises `InvalidRequest` where there is none.
        """
        ...

    def looker(self, prompt: ImagePrompt) -> Looker:
        """The network that looks at pictures for it. Raises `InvalidRequest` where it is absent."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """A map that steers the painting, ready to be used."""

    controlnet: str
    shows: str
    """A kind of map, or `families._steering.SOFT_EDGES`."""
    map: Image
    """RGB, in the size of the canvas."""
    weight: float
    """0.0 … 2.0; 1.0 is as trained."""
    start: float
    end: float
    """Shares of the steps between which it is followed, 0.0 … 1.0."""
    balance: str
    """`prompt`, `balanced` or `control`: which matters more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """A LoRA that a checkpoint is used with."""

    id: str
    weight: float
    """Of its part for the denoiser: 0.0 leaves it out, 1.0 is as trained."""
    text_weight: float
    """Of its part for the text encoders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """What is added to a checkpoint for a job; its own weights stay as they are."""

    loras: tuple[Added, ...] = ()
    embeddings: tuple[str, ...] = ()
    """Ids of those that a prompt names."""
    vae: str | None = None
    """Id of the autoencoder; None is the checkpoint's own."""


PLAIN = Extras()


@dataclass(frozen=True, kw_only=True, slots=True)
class Refiner:
    """A checkpoint that takes over for the last steps."""

    id: str
    after: float
    """Share of the steps that are taken before, 0.0 … 1.0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Brush:
    """One picture's worth of sampling, in the words of the request."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str
    seed: int
    clip_skip: int = 1
    controls: tuple[Control, ...] = ()
    references: "tuple[Reference, ...]" = ()
    """Pictures that lend their look."""


class Start(StrEnum):
    """What the masked part begins as, before noise is added."""

    PICTURE = "picture"
    """What the canvas shows there."""
    NOISE = "noise"
    """Random latents."""
    NOTHING = "nothing"
    """Latents of zero: a flat grey."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """What is painted over."""

    image: Image
    """RGB, in the brush's width and height."""
    strength: float
    """0.0 keeps the picture, 1.0 repaints it."""
    mask: Image | None = None
    """Mode L, the size of `image`: what is not 0 is painted, the rest is only looked at. None
    paints all of it."""
    start: Start = Start.PICTURE


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Where a pass over a picture stands among several, so that progress counts all of them."""

    before: int = 0
    """Steps of this picture's passes before."""
    after: int = 0
    """Steps of this picture's passes behind."""
    weight: float = 1.0
    """What a step of the other passes costs, in steps of this one. For the time left."""


ALONE = Span()
"""The only pass over its picture."""


def within(step: int, steps: int, start: float, end: float) -> bool:
    """Whether the whole of step number `step`, from 0 on, lies between two shares of the steps."""
    return start <= step / steps and (step + 1) / steps <= end


class Painter(Protocol):
    """A pipeline on loan; each `paint` has a fresh scheduler and a generator of its own."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What it paints with."""
        ...

    def paint(
        self,
        brush: Brush,
        *,
        index: int,
        pictures: int,
        canvas: Canvas | None = None,
        span: Span = ALONE,
    ) -> Picture:
        """Makes one picture, reporting each step; over `canvas` where the role paints over one.

        A strength of 0 gives the canvas back as it is. Raises the engine's cancel signal at the
        next step once the job was cancelled.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Enlarged:
    """A picture that was made larger."""

    image: Image
    """RGB or RGBA, as the one before."""
    facts: Mapping[str, Any]
    """What did it: `upscaler` (id, label, hash of its weights), device, versions, seconds."""


class Tools(Protocol):
    """What a task may ask of the engine, made per job."""

    def pipeline(
        self,
        checkpoint_id: str,
        role: Role,
        *,
        controls: tuple[str, ...] = (),
        extras: Extras = PLAIN,
        refiner: Refiner | None = None,
        kept: Kept | None = None,
    ) -> AbstractContextManager[Painter]:
        """Use it, then it is gone; weights are as before, also when the body raises.

        `controls` are ids of the ControlNets that brushes will name, `extras` what the checkpoint
        is used with, `refiner` what takes over for the last steps of each. `kept` is how weights are to
        be in memory, of a task whose `work` does not say it.
        """
        ...

    def picture(self, ref: str) -> Image:
        """A picture that the request names, as `Facts.picture` gives it."""
        ...

    def control_map(self, preprocessor: str, params: Mapping[str, Any], image: Image) -> Map:
        """What the preprocessor of that id makes of an RGB picture, with params as JSON data.

        The same again is not made again. Raises `InvalidRequest` where there is nothing to see, and
        where its weights went away since the request was resolved.
        """
        ...

    def upscale(
        self,
        image: Image,
        upscaler_id: str,
        size: Size,
        *,
        index: int = 0,
        pictures: int = 1,
        span: Span = ALONE,
    ) -> Enlarged:
        """The picture in exactly that size, reporting each tile as a step.

        Raises the engine's cancel signal at the next tile once the job was cancelled.
        """
        ...

    def upscale_steps(self, upscaler_id: str, size: Size) -> int:
        """How many steps `upscale` reports for a picture of that size."""
        ...

    def check(self) -> None:
        """Raises the engine's cancel signal once the job was cancelled."""
        ...

    def progress(
        self, *, picture: int, pictures: int, step: int, steps: int, seconds_left: float | None
    ) -> None:
        """Tells who watches how far the job is."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """A request with everything decided, and what had to be changed to get there."""

    request: Any
    notes: tuple[str, ...] = ()
    pixels: int = 0
    """Width × height of the largest picture that it paints at once."""
    work: Work | None = None
    """What it asks of a checkpoint, where that depends on more than the request: `Task.work` of it is
    None then."""
    by: str = ""
    """What does the work where no checkpoint does, as `upscaler:lanczos`: what it took before tells
    what it will take."""


def no_pictures(request: Any) -> tuple[str, ...]:
    return ()


def no_work(request: Any) -> Work | None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """An entry of the drawer `tasks/`."""

    id: str
    label: str
    request: type
    """A frozen pydantic dataclass (`core.requests.STRICT`); every field has a docstring."""
    resolve: Callable[[Any, Facts], Resolved]
    """Pure but for a random seed; resolving its own result changes nothing."""
    run: Callable[[Any, Tools], Iterator[Picture]]
    """Makes the pictures of a resolved request one by one, in the engine process."""
    pictures: Callable[[Any], tuple[str, ...]] = no_pictures
    """ImageRefs that a request names, none twice: what it is made from."""
    work: Callable[[Any], Work | None] = no_work
    """What a resolved request asks of a checkpoint; None if it uses none."""
