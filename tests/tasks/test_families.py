"""What a request becomes where a checkpoint's family understands less, or something else."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.checkpoints.catalog import Checkpoint, families
from studio.core.errors import InvalidRequest
from studio.tasks import _sampled, img2img, style, txt2img, upscale
from studio.tasks.img2img import Img2Img
from studio.tasks.style import Restyle
from studio.tasks.txt2img import Hires, Txt2Img
from studio.tasks.upscale import Upscale


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
        strengthless=family.strengthless,
    )


def facts(family: str) -> Any:
    return SimpleNamespace(
        checkpoint=lambda _: checkpoint(family),
        embeddings=lambda _: {},
        size=lambda _: (640, 640),
        upscaler=lambda _: SimpleNamespace(id="lanczos"),
    )


def resolved(family: str, **changes: Any) -> Any:
    request = replace(Txt2Img(prompt="a fox", seed=1), **changes)
    return _sampled.resolve(request, facts(family))


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


ABOVE = {"prompt": "make it night", "seed": 1, "image": "0" * 64}


def test_a_strength_that_means_nothing_is_left_out_and_said() -> None:
    found = img2img.resolve(Img2Img(**ABOVE, strength=0.3), facts("flux_kontext"))
    assert found.request.strength == 1.0
    assert [note for note in found.notes if "strength was left out" in note]
    assert img2img.resolve(found.request, facts("flux_kontext")) == replace(found, notes=())
    unasked = img2img.resolve(Img2Img(**ABOVE), facts("flux_kontext"))
    assert (unasked.request.strength, unasked.notes) == (1.0, ())
    felt = img2img.resolve(Img2Img(**ABOVE, strength=0.3), facts("flux"))
    assert (felt.request.strength, felt.notes) == (0.3, ())


def test_a_second_pass_without_a_strength_is_painted_whole_or_not_at_all() -> None:
    def hires(strength: float) -> Any:
        request = Txt2Img(prompt="a fox", seed=1, hires=Hires(factor=1.0, strength=strength))
        return txt2img.resolve(request, facts("flux2"))

    assert hires(0.3).request.hires.strength == 1.0 and len(hires(0.3).notes) == 1
    assert hires(0.0).request.hires.strength == 0.0 and not hires(0.0).notes
    detailed = upscale.resolve(
        Upscale(image="0" * 64, prompt="a fox", seed=1, scale=1.0, strength=0.3), facts("flux2")
    )
    assert detailed.request.strength == 1.0 and len(detailed.notes) == 1


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_style_in_words_paints_whole_where_a_strength_means_nothing(strength: float) -> None:
    request = Restyle(**ABOVE, method="words", strength=strength, structure="none", steps=20)
    found = style.resolve(request, facts("flux_kontext"))
    assert found.request.strength == strength, "which is also the share of the look"
    assert style.resolve(found.request, facts("flux_kontext")).request == found.request
    work = style.work(found.request)
    assert work is not None and [one.calls for one in work.passes] == [20]
    felt = style.work(style.resolve(request, facts("flux")).request)
    assert felt is not None and sum(one.calls for one in felt.passes) == int(20 * 0.6 * strength)
