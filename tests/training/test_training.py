"""The training code on a toy scale: captions, pictures and the exported folder."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from studio.training import captions, colours, compose, export, filters, samples, scenes, text, unet  # noqa: E402
from studio.training.concepts import choose  # noqa: E402
from tests.training import toys  # noqa: E402


def test_pictures_and_captions_follow_the_seed() -> None:
    library = toys.library()
    first, said = compose.pictures(3, 12, library)
    again, said_again = compose.pictures(3, 12, library)
    _, others = compose.pictures(4, 12, library)
    assert first.shape == (12, 128, 128, 3)
    assert first.dtype == np.uint8
    assert said == said_again
    assert said != others
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("scene", scenes.SCENES, ids=lambda s: f"{s.place.name}-{s.hour.name}")
def test_every_scene_fills_the_picture(scene: scenes.Scene) -> None:
    assert scenes.paint(scene, np.random.default_rng(0)).pixels.shape == (128, 128, 3)


@pytest.mark.parametrize("style", filters.FILTERS)
def test_filters_leave_white_nearly_white(style: str) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    blank = Image.new("RGB", (128, 128), "white")
    assert np.asarray(filters.FILTERS[style](blank, rng)).mean() > 230


@pytest.mark.parametrize("colour", colours.COLOURS, ids=lambda c: c.name)
def test_recolouring_is_seen(colour: colours.Colour) -> None:
    library = toys.library()
    turned = colours.recolour(library.pixels[0], library.hue[0] or 0.0, colour)
    middle = turned[64, 64, :3].astype(int)
    distance = {c.name: np.abs(middle - c.rgb).sum() for c in colours.COLOURS}
    assert min(distance, key=lambda name: distance[name]) == colour.name


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("fox", "foxes"),
        ("cherry", "cherries"),
        ("cup of coffee", "cups of coffee"),
        ("mouse", "mice"),
    ],
)
def test_plurals(noun: str, many: str) -> None:
    assert captions.plural(noun) == many


def test_concepts_take_our_names_and_each_once() -> None:
    entries = [
        {"label": "automobile", "hexcode": "1F697", "subgroup": 1},
        {"label": "guide dog", "hexcode": "1F9AE", "subgroup": 2},
        {"label": "cat", "hexcode": "1F408", "subgroup": 2},
    ]
    chosen = choose(entries, {"1": "transport-ground", "2": "animal-mammal"})
    assert [c.name for c in chosen] == ["car", "cat"]


def test_export_loads_with_plain_diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import (
        DDIMScheduler,
        StableDiffusionImg2ImgPipeline,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )

    words = tmp_path / "words"
    monkeypatch.setattr(text, "VOCABULARY", 600)
    text.build_tokenizer(["a red fox"], ["fox", "red"], words)
    tokenizer = text.tokenizer_of(words)
    net = UNet2DConditionModel(
        sample_size=16, layers_per_block=1, block_out_channels=(32, 64), cross_attention_dim=text.WIDTH,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=4,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    pipe = samples.assemble(
        tokenizer, text.create(tokenizer), net, samples.autoencoder.create(), 0.9
    )
    export.write(pipe, words, tmp_path / "model")

    again = StableDiffusionPipeline.from_pretrained(tmp_path / "model", local_files_only=True)
    StableDiffusionImg2ImgPipeline.from_pretrained(tmp_path / "model", local_files_only=True)
    assert again.vae.config.scaling_factor == pytest.approx(0.9)
    assert again.scheduler.config.prediction_type == "v_prediction"
    assert again.unet.dtype == again.text_encoder.dtype == torch.float32
    assert not DDIMScheduler.from_config(again.scheduler.config).config.clip_sample
    assert again.tokenizer("a red fox").input_ids[1:-1] == tokenizer("a red fox").input_ids[1:-1]
    picture = again("a red fox", num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (128, 128, 3)


def test_steps_of_training_cover_the_schedule() -> None:
    steps = unet.draw_steps(2000)
    assert steps.min() >= 0
    assert steps.max() <= 999
    assert unet.signal()[-1].sqrt() < 0.02
