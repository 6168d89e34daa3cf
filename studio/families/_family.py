"""The contract of a family."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from studio.families._keys import Rule


class Role(StrEnum):
    """What a task needs a pipeline for."""

    TEXT = "text"
    IMAGE = "image"
    INPAINT = "inpaint"


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
    native_px: int
    multiple_px: int
    defaults: Defaults
    supports: Supports = Supports()
    configs: str
    """Folder below assets/configs/ with the configs and tokenizers of this family, for single files."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Entries of a component's config that differ from the one in `configs`, by component."""
