"""The samplers, a row each: which diffusers scheduler, with which options, under which names.

To add one, add a row. `options` are laid over the checkpoint's own scheduler config, so prediction
type and betas always come from the checkpoint.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from studio.core.errors import InvalidRequest

_SECOND_ORDER = frozenset(
    {"HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"}
)
"""They look ahead, and call the network twice in every step but the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampler:
    """A way to take noise away, as users, files and diffusers call it."""

    id: str
    label: str
    scheduler: str
    """Class name in diffusers."""
    options: Mapping[str, Any]
    """Scheduler config entries that make this sampler what it is."""
    a1111: tuple[str, str]
    """What A1111 writes as `Sampler` and `Schedule type`."""
    aliases: tuple[str, ...] = ()
    """Other names that `find` understands."""
    process: str = "diffusion"
    """What a checkpoint must have been trained to undo for this sampler to fit: `diffusion` (noise
    on top of the picture), `flow` (a straight way from noise to the picture) or the name of a way
    that only one kind of checkpoint knows."""

    def calls(self, steps: int) -> int:
        """How often the network is called in so many steps."""
        if self.scheduler in _SECOND_ORDER:
            return max(1, 2 * steps - 1)
        return steps + 1 if self.scheduler == "PNDMScheduler" else steps


# k-diffusion spreads timesteps evenly from the last to the first, ends included; the samplers that
# come from there look as people know them only on that schedule. DDIM and PLMS come from the
# original code, which starts counting at the first timestep.
_EVEN = {"timestep_spacing": "linspace"}
_LEADING = {"timestep_spacing": "leading", "steps_offset": 1}
# Latents reach far beyond ±1, where these schedulers would cut pixels off unless told otherwise.
_UNCUT = {"clip_sample": False, "thresholding": False}
_KARRAS = {**_EVEN, "use_karras_sigmas": True}
_EXPONENTIAL = {**_EVEN, "use_exponential_sigmas": True}
_SDE = {"algorithm_type": "sde-dpmsolver++", "final_sigmas_type": "zero"}
_ODE = {"algorithm_type": "dpmsolver++", "final_sigmas_type": "zero"}

# How far the schedule leans towards noise comes from the checkpoint (`engine.schedulers`).
_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}

_PLAIN_NAMES = frozenset({"", "automatic", "uniform", "normal", "simple"})


def _row(
    name: str,
    label: str,
    scheduler: str,
    options: Mapping[str, Any],
    a1111: tuple[str, str],
    *aliases: str,
    process: str = "diffusion",
) -> Sampler:
    return Sampler(
        id=name,
        label=label,
        scheduler=scheduler,
        options=MappingProxyType(dict(options)),
        a1111=a1111,
        aliases=aliases,
        process=process,
    )


_MULTISTEP = "DPMSolverMultistepScheduler"
_SINGLESTEP = "DPMSolverSinglestepScheduler"

ROWS: tuple[Sampler, ...] = (
    _row("euler", "Euler", "EulerDiscreteScheduler", _EVEN, ("Euler", "Automatic"), "k_euler"),
    _row(
        "euler_a",
        "Euler a",
        "EulerAncestralDiscreteScheduler",
        _EVEN,
        ("Euler a", "Automatic"),
        "euler ancestral",
        "k_euler_a",
        "k_euler_ancestral",
    ),
    _row(
        "euler_karras",
        "Euler Karras",
        "EulerDiscreteScheduler",
        _KARRAS,
        ("Euler", "Karras"),
    ),
    _row(
        "dpmpp_2m",
        "DPM++ 2M",
        _MULTISTEP,
        {**_EVEN, **_ODE, "solver_order": 2},
        ("DPM++ 2M", "Uniform"),
        "k_dpmpp_2m",
    ),
    _row(
        "dpmpp_2m_karras",
        "DPM++ 2M Karras",
        _MULTISTEP,
        {**_KARRAS, **_ODE, "solver_order": 2},
        ("DPM++ 2M", "Karras"),
        "dpm++ 2m automatic",
        "k_dpmpp_2m_ka",
    ),
    _row(
        "dpmpp_sde",
        "DPM++ SDE",
        _SINGLESTEP,
        {**_EVEN, **_SDE, "solver_order": 2},
        ("DPM++ SDE", "Uniform"),
        "k_dpmpp_sde",
    ),
    _row(
        "dpmpp_sde_karras",
        "DPM++ SDE Karras",
        _SINGLESTEP,
        {**_KARRAS, **_SDE, "solver_order": 2},
        ("DPM++ SDE", "Karras"),
        "dpm++ sde automatic",
        "k_dpmpp_sde_ka",
    ),
    _row(
        "dpmpp_2m_sde",
        "DPM++ 2M SDE",
        _MULTISTEP,
        {**_EVEN, **_SDE, "solver_order": 2},
        ("DPM++ 2M SDE", "Uniform"),
        "dpmpp_2m_sde_gpu",
    ),
    _row(
        "dpmpp_2m_sde_karras",
        "DPM++ 2M SDE Karras",
        _MULTISTEP,
        {**_KARRAS, **_SDE, "solver_order": 2},
        ("DPM++ 2M SDE", "Karras"),
    ),
    _row(
        "dpmpp_2m_sde_exponential",
        "DPM++ 2M SDE Exponential",
        _MULTISTEP,
        {**_EXPONENTIAL, **_SDE, "solver_order": 2},
        ("DPM++ 2M SDE", "Exponential"),
        "dpm++ 2m sde automatic",
    ),
    _row(
        "ddim",
        "DDIM",
        "DDIMScheduler",
        {**_LEADING, **_UNCUT},
        ("DDIM", "Automatic"),
        "ddim_uniform",
    ),
    _row(
        "plms",
        "PLMS",
        "PNDMScheduler",
        {**_LEADING, "skip_prk_steps": True},
        ("PLMS", "Automatic"),
        "pndm",
    ),
    _row(
        "unipc",
        "UniPC",
        "UniPCMultistepScheduler",
        {**_EVEN, "solver_order": 2, "final_sigmas_type": "zero"},
        ("UniPC", "Automatic"),
        "uni_pc",
        "uni_pc_bh2",
    ),
    _row(
        "heun",
        "Heun",
        "HeunDiscreteScheduler",
        {**_EVEN, "clip_sample": False},
        ("Heun", "Automatic"),
        "k_heun",
    ),
    _row("lms", "LMS", "LMSDiscreteScheduler", _EVEN, ("LMS", "Automatic"), "k_lms"),
    _row("lms_karras", "LMS Karras", "LMSDiscreteScheduler", _KARRAS, ("LMS", "Karras")),
    _row(
        "dpm2",
        "DPM2",
        "KDPM2DiscreteScheduler",
        _EVEN,
        ("DPM2", "Uniform"),
        "dpm_2",
        "k_dpm_2",
    ),
    _row(
        "dpm2_karras",
        "DPM2 Karras",
        "KDPM2DiscreteScheduler",
        _KARRAS,
        ("DPM2", "Karras"),
        "dpm2 automatic",
    ),
    _row(
        "dpm2_a",
        "DPM2 a",
        "KDPM2AncestralDiscreteScheduler",
        _EVEN,
        ("DPM2 a", "Uniform"),
        "dpm2 ancestral",
        "dpm_2_ancestral",
        "k_dpm_2_a",
    ),
    _row(
        "dpm2_a_karras",
        "DPM2 a Karras",
        "KDPM2AncestralDiscreteScheduler",
        _KARRAS,
        ("DPM2 a", "Karras"),
        "dpm2 a automatic",
    ),
    _row(
        "deis",
        "DEIS",
        "DEISMultistepScheduler",
        {**_EVEN, "solver_order": 3},
        ("DEIS", "Automatic"),
    ),
    _row("lcm", "LCM", "LCMScheduler", _UNCUT, ("LCM", "Automatic")),
    _row("tcd", "TCD", "TCDScheduler", _UNCUT, ("TCD", "Automatic")),
    _row(
        "flow_euler",
        "Euler (flow)",
        "FlowMatchEulerDiscreteScheduler",
        {},
        ("Euler", "Simple"),
        process="flow",
    ),
    _row(
        "flow_dpmpp_2m",
        "DPM++ 2M (flow)",
        _MULTISTEP,
        {**_FLOW, **_ODE, "solver_order": 2},
        ("DPM++ 2M", "Simple"),
        process="flow",
    ),
    _row(
        "flow_unipc",
        "UniPC (flow)",
        "UniPCMultistepScheduler",
        {**_FLOW, "solver_order": 2, "final_sigmas_type": "zero"},
        ("UniPC", "Simple"),
        process="flow",
    ),
    _row("scm", "SCM", "SCMScheduler", {}, ("SCM", "Automatic"), process="consistency"),
    _row("ddpm", "DDPM", "DDPMScheduler", {}, ("DDPM", "Automatic"), process="unclip"),
    _row(
        "wuerstchen",
        "DDPM (Würstchen)",
        "DDPMWuerstchenScheduler",
        {},
        ("DDPM Wuerstchen", "Automatic"),
        process="wuerstchen",
    ),
)

DIFFUSION = tuple(row.id for row in ROWS if row.process == "diffusion")
"""Ids of the samplers for checkpoints that were trained to take noise away."""
FLOW = tuple(row.id for row in ROWS if row.process == "flow")
"""Ids of the samplers for checkpoints that were trained to follow a flow."""


EVERY = tuple(row.id for row in ROWS)


def find(name_or_id: str, offered: Collection[str] = EVERY) -> Sampler:
    """The row with that id, label or alias, in any case.

    Also understands "Sampler Schedule" as A1111 wrote it before it had schedule types. Raises
    `InvalidRequest` that lists the names of those that are `offered`, by id.
    """
    asked = _folded(name_or_id)
    for row in ROWS:
        if asked in _names(row):
            return row
    raise InvalidRequest(
        f"There is no sampler called '{name_or_id.strip()[:60]}'.",
        named(offered),
        field="sampler",
    )


def named(offered: Collection[str]) -> str:
    """A sentence that asks to choose among the samplers with these ids."""
    labels = [row.label for row in ROWS if row.id in offered]
    return (
        f"Choose {' or '.join(labels)}."
        if len(labels) < 4
        else f"Choose one of {', '.join(labels)}."
    )


def fitting(name_or_id: str, ids: Collection[str]) -> Sampler | None:
    """The row that `find` knows by this name, or its namesake among `ids`; None if neither is there.

    The names are A1111's: its "Euler" is one way with a diffusion checkpoint and another with a
    flow. Raises `InvalidRequest` that lists those if there is no such sampler at all.
    """
    found = find(name_or_id, ids)
    if found.id in ids:
        return found
    plain = found.a1111[0]
    return next((row for row in ROWS if row.id in ids and row.a1111[0] == plain), None)


def find_a1111(sampler: str, schedule: str = "") -> Sampler:
    """The row for A1111's `Sampler` and `Schedule type`; no schedule or "Automatic" means what
    A1111 then does (Karras for DPM++ 2M). Raises `InvalidRequest`."""
    asked = (_folded(sampler), _folded(schedule))
    for row in ROWS:
        if asked == (_folded(row.a1111[0]), _folded(row.a1111[1])):
            return row
    if asked[1] not in _PLAIN_NAMES:
        return find(f"{sampler} {schedule}")
    automatic = (row for row in ROWS if " ".join(asked) in _names(row))
    return next(automatic, None) or find(sampler)


def _names(row: Sampler) -> frozenset[str]:
    sampler, schedule = row.a1111
    names = {row.id, row.label, " ".join(row.a1111), *row.aliases}
    if _folded(schedule) in _PLAIN_NAMES:
        names.add(sampler)
    return frozenset(map(_folded, names))


def _folded(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())
