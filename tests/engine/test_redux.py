"""FLUX.1 Redux: pictures that follow the words of a prompt, as diffusers' own pipelines have them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL import Image

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.imageprompts import ImagePrompts
from studio.core.errors import InvalidRequest
from studio.engine.imageprompts import load_looker
from studio.tasks._references import Reference, resolve_references
from studio.tasks.txt2img import Txt2Img, work
from tests.engine.desk import Desk
from tests.engine.test_families import aligned
from tests.engine.test_references import look
from tests.engine.tiny_families import TINY


class Told:
    """`Facts` as far as references ask for them."""

    def __init__(self, prompts: ImagePrompts) -> None:
        self.image_prompt, self.looker = prompts.get, prompts.looker

    def size(self, _: str) -> tuple[int, int]:
        return 64, 64


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FLUX.1, SD3 of the same width, and Redux for the first."""
    folder = tmp_path_factory.mktemp("redux")
    TINY["flux"](folder / "flux")
    TINY["sd3"](folder / "sd3")
    save_redux(folder / "ipadapter")
    return folder


def save_redux(folder: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder: Any = ReduxImageEncoder(redux_dim=32, txt_in_features=32)
        eyes = transformers.SiglipVisionModel(
            transformers.SiglipVisionConfig(
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=16,
                image_size=32,
                patch_size=8,
            )
        )
    encoder.save_pretrained(folder / "embedder")
    eyes.save_pretrained(folder / "encoder")
    (folder / "embedder" / "diffusion_pytorch_model.safetensors").rename(
        folder / "redux.safetensors"
    )


def theirs(shelf: Path, *pictures: Image.Image) -> bytes:
    pipeline = aligned(diffusers.FluxPipeline.from_pretrained(shelf / "flux"))
    pipeline.set_progress_bar_config(disable=True)
    embedder = ReduxImageEncoder(redux_dim=32, txt_in_features=32)
    from safetensors.torch import load_file

    embedder.load_state_dict(load_file(shelf / "ipadapter" / "redux.safetensors"))
    prior = diffusers.FluxPriorReduxPipeline(
        image_encoder=transformers.SiglipVisionModel.from_pretrained(
            shelf / "ipadapter" / "encoder"
        ),
        feature_extractor=transformers.SiglipImageProcessor(size={"height": 32, "width": 32}),
        image_embedder=embedder,
        text_encoder=pipeline.text_encoder,
        tokenizer=pipeline.tokenizer,
        text_encoder_2=pipeline.text_encoder_2,
        tokenizer_2=pipeline.tokenizer_2,
    )
    told = [aligned(prior)(picture, prompt="a fox") for picture in pictures]
    states = [told[0].prompt_embeds, *(one.prompt_embeds[:, 512:] for one in told[1:])]
    [image] = pipeline(
        prompt_embeds=torch.cat(states, dim=1),
        pooled_prompt_embeds=told[0].pooled_prompt_embeds,
        width=64,
        height=64,
        num_inference_steps=3,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(7),
    ).images
    return image.tobytes()


def wish(*refs: str, **changes: Any) -> dict[str, Any]:
    references = [
        {"image": ref, "method": "adapter", "adapter": "redux", **changes} for ref in refs
    ]
    return {
        "checkpoint": "flux",
        "prompt": "a fox",
        "sampler": "flow_euler",
        "references": references,
    }


def test_it_is_what_diffusers_makes_of_it(
    shelf: Path, make_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    desk = make_desk(shelf)
    plain = desk.paint(**wish())
    other = Image.new("RGB", (50, 40), "teal")
    refs = [desk.put(look(), tmp_path), desk.put(other, tmp_path)]
    one = theirs(shelf, look())
    assert desk.paint(**wish(refs[0])) == [one]
    assert desk.paint(**wish(*refs)) == [theirs(shelf, look(), other)]
    narrow = desk.paint(**wish(refs[0], tokens=16), weights="fp8")
    [facts] = [frame["facts"] for frame in desk.frames("picture")]
    assert narrow not in (plain, [one]) and "8 bits" in facts["plan"][-1]
    assert desk.paint(**wish(refs[0], weight=0.5)) not in (plain, [one])
    assert desk.paint(**wish(refs[0], weight=0.0)) == plain
    assert desk.paint(**wish()) == plain


def test_it_is_found_by_its_keys_and_fits_flux_alone(shelf: Path) -> None:
    prompts = ImagePrompts((shelf / "ipadapter",))
    [redux] = prompts.all()
    flux, sd3 = (Catalog((shelf,)).get(name) for name in ("flux", "sd3"))
    assert (redux.eyes, redux.sees, redux.context, flux.words) == ("siglip", 32, 32, 32)
    assert redux.fits(flux) and not redux.fits(sd3)
    assert prompts.get(None, flux) == redux
    looker = prompts.looker(redux)
    assert (looker.path.parent.name, looker.patches) == ("encoder", 16)
    told = Reference(image="0" * 64, method="adapter", tokens=7)
    [resolved] = resolve_references((told,), flux, Told(prompts))  # type: ignore[arg-type]
    assert (resolved.adapter, resolved.takes, resolved.tokens) == ("redux", "all", 16)
    asked = replace(told, method=None)
    assert resolve_references((asked,), flux, Told(prompts)) == (resolved,)  # type: ignore[arg-type]
    request = Txt2Img(
        prompt="a fox", width=64, height=64, sampler="flow_euler", references=(resolved, resolved)
    )
    assert work(request).tokens == 32
    assert work(replace(request, references=(replace(resolved, weight=0.0),))).tokens == 0


def test_its_encoder_is_shaped_by_its_tensors_without_a_config(shelf: Path, tmp_path: Path) -> None:
    source = shelf / "ipadapter" / "encoder" / "model.safetensors"
    (tmp_path / "sigclip.safetensors").write_bytes(source.read_bytes())
    (tmp_path / "redux.safetensors").write_bytes(
        (shelf / "ipadapter" / "redux.safetensors").read_bytes()
    )
    prompts = ImagePrompts((tmp_path,))
    [redux] = prompts.all()
    found: Any = load_looker(prompts.looker(redux))["looker"]
    assert (found.config.image_size, found.config.num_hidden_layers) == (32, 2)
    (tmp_path / "sigclip.safetensors").unlink()
    with pytest.raises(InvalidRequest, match="SigLIP"):
        ImagePrompts((tmp_path,)).looker(redux)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "shared"}, "told a style picture, but not look"),
        ({"method": "adapter", "end": 0.5}, "from the first step to the last"),
    ],
)
def test_what_words_cannot_do_is_said(shelf: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        resolved(shelf, **changes)


def test_it_takes_all_of_a_picture_whatever_was_asked(shelf: Path) -> None:
    found = resolved(shelf, method="adapter", takes="style")
    assert (found.takes, found.adapter) == ("all", "redux")


def test_one_of_weight_0_is_as_if_it_were_not_there(shelf: Path, tmp_path: Path) -> None:
    told = Reference(image="0" * 64, method="adapter")
    none, catalog = Told(ImagePrompts((tmp_path,))), Catalog((shelf,))
    with pytest.raises(InvalidRequest):
        resolve_references((told,), catalog.get("flux"), none)  # type: ignore[arg-type]
    off = replace(told, weight=0.0, end=0.5, tokens=7)
    for name in ("flux", "sd3"):
        [found] = resolve_references((off,), catalog.get(name), none)  # type: ignore[arg-type]
        assert found == replace(off, tokens=0)


def resolved(shelf: Path, **asked: Any) -> Reference:
    facts = Told(ImagePrompts((shelf / "ipadapter",)))
    asked_for = (Reference(image="0" * 64, **asked),)
    flux = Catalog((shelf,)).get("flux")
    return resolve_references(asked_for, flux, facts)[0]  # type: ignore[arg-type]
