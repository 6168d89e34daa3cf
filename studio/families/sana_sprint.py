"""Sana Sprint: distilled to one to four steps along a circle instead of a straight way.

diffusers has no way for it to repaint a part, and in so few steps, each of which goes to the finished
picture and back under new noise, there is none to keep what is around the mask.
"""

from dataclasses import replace
from typing import Any

from studio.families import sana
from studio.families._family import ONE_SENTENCE, Defaults, Guidance, Over, Role, Sampling, Text
from studio.families._keys import every


def _call_args(sampling: Sampling) -> dict[str, Any]:
    """The place of the step between is only known for two steps."""
    between = {} if sampling.steps == 2 else {"intermediate_timesteps": None}
    return {**sana.call_args(sampling), **between}


FAMILY = replace(
    sana.FAMILY,
    id="sana_sprint",
    label="Sana, Sprint",
    keys=every(sana.folder, sana.distilled),
    pipelines={Role.TEXT: "SanaSprintPipeline", Role.IMAGE: "SanaSprintImg2ImgPipeline"},
    defaults=Defaults(steps=2, guidance=4.5, sampler="scm"),
    supports=ONE_SENTENCE,
    guidance=Guidance.EMBEDDED,
    samplers=("scm",),
    text=Text(results=("prompt_embeds", "prompt_attention_mask")),
    over=Over.PICTURE,
    begun=frozenset(),
    steering=None,
    call_args=_call_args,
)
