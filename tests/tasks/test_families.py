"""What a request becomes where a checkpoint's family understands less, or something else."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.checkpoints.catalog import Checkpoint, families
from studio.core.errors import InvalidRequest
from studio.tasks import _sampled
from studio.tasks.txt2img import Txt2Img


def checkpoint(family_id: str) -> Checkpoint:
    family = families()[family_id]
    return Checkpoint(
        id="it",
        label="It",
        family=family.id,
        path=Path("it"),
        layout="folder",
        size_bytes=1,
        native_px=family.native_px,
        multiple_px=family.multiple_px,
        defaults=family.defaults,
        supports=family.supports,
        guidance=family.guidance,
        samplers=family.samplers,
    )


def resolved(family: str, **changes: Any) -> Any:
    facts: Any = SimpleNamespace(checkpoint=lambda _: checkpoint(family), embeddings=lambda _: {})
    request = replace(Txt2Img(prompt="a fox", seed=1), **changes)
    return _sampled.resolve(request, facts)


def test_a_flow_paints_with_the_namesake_of_a_sampler() -> None:
    assert resolved("flux", sampler="DPM++ 2M Karras").request.sampler == "flow_dpmpp_2m"
    assert resolved("flux").request.sampler == "flow_euler"


def test_a_sampler_that_does_not_fit_is_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidRequest, match="cannot be painted with Heun") as caught:
        resolved("flux", sampler="heun")
    assert "Euler (flow)" in caught.value.hint


def test_what_is_not_understood_is_said_and_not_lost() -> None:
    found = resolved("flux", prompt="a (fox:1.3)", negative_prompt="rain")
    assert [note.partition(":")[0] for note in found.notes] == [
        "It reads sentences",
        "It has no negative prompt; it was left out.",
    ]
    assert found.request.prompt == "a (fox:1.3)"
    assert resolved("sd15", prompt="a (fox:1.3)", negative_prompt="rain").notes == ()
