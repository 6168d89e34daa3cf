"""Embeddings and VAEs beside diffusers' own, and that nothing stays."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from studio import samplers
from studio.engine.schedulers import build
from tests.engine.desk import REQUEST, Desk
from tests.engine.original import vae as original_vae
from tests.engine.tiny import save_tiny_sd, save_tiny_sdxl

PIPELINES: dict[str, Any] = {
    "sd": diffusers.StableDiffusionPipeline,
    "xl": diffusers.StableDiffusionXLPipeline,
}


def theirs(folder: Path, name: str, **parts: Any) -> Any:
    found = PIPELINES[name].from_pretrained(folder / name, **parts)
    found.scheduler = build(samplers.find("euler"), found.scheduler.config)
    found.set_progress_bar_config(disable=True)
    return found


def painted(pipeline: Any, prompt: str = REQUEST["prompt"], **more: Any) -> bytes:
    [image] = pipeline(
        prompt,
        width=64,
        height=64,
        num_inference_steps=REQUEST["steps"],
        guidance_scale=REQUEST["guidance"],
        generator=torch.Generator("cpu").manual_seed(REQUEST["seed"]),
        **more,
    ).images
    return image.tobytes()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sd` and `xl`; the embeddings `blob`, `Two-Fold` and, for `xl`, `pair`; the VAEs `other`, in
    diffusers' layout, and `plain`, the same in the original one."""
    folder = tmp_path_factory.mktemp("worn")
    save_tiny_sd(folder / "sd")
    save_tiny_sdxl(folder / "xl")
    dice = torch.Generator().manual_seed(3)
    embeddings = folder / "embeddings"
    embeddings.mkdir()
    save_file({"emb_params": torch.randn(1, 32, generator=dice)}, embeddings / "blob.safetensors")
    save_file(
        {"emb_params": torch.randn(3, 32, generator=dice)}, embeddings / "Two-Fold.safetensors"
    )
    save_file(
        {
            "clip_l": torch.randn(2, 32, generator=dice),
            "clip_g": torch.randn(2, 64, generator=dice),
        },
        embeddings / "pair.safetensors",
    )
    save_tiny_sd(folder / "elsewhere", seed=9)
    (folder / "vae").mkdir()
    shutil.move(folder / "elsewhere" / "vae", folder / "vae" / "other")
    shutil.rmtree(folder / "elsewhere")
    vae = diffusers.AutoencoderKL.from_pretrained(folder / "vae" / "other")
    save_file(original_vae(vae), folder / "vae" / "plain.safetensors")
    return folder


@pytest.fixture(scope="module")
def desk(make_desk: Callable[..., Desk], home: Path) -> Desk:
    return make_desk(home)


@pytest.mark.parametrize("name", ["blob", "Two-Fold"])
def test_a_word_is_what_diffusers_makes_of_it(desk: Desk, home: Path, name: str) -> None:
    prompt = f"a fox, {name}, snow"
    [ours] = desk.paint(prompt=prompt, negative_prompt=name, embeddings=[name])
    before = desk.held()
    [plain] = desk.paint(prompt=prompt, negative_prompt=name)
    assert desk.held() == before
    pipeline = theirs(home, "sd")
    vectors = load_file(home / "embeddings" / f"{name}.safetensors")["emb_params"]
    pipeline.load_textual_inversion({"blobby": vectors}, token="<blobby>")
    said = prompt.replace(name, "<blobby>")
    assert ours == painted(pipeline, said, negative_prompt="<blobby>")
    assert ours != plain
    assert desk.paint(prompt=prompt.upper(), negative_prompt=name, embeddings=[name]) == [ours]


def test_both_encoders_of_a_pair_have_their_vectors(desk: Desk, home: Path) -> None:
    [ours] = desk.paint(checkpoint="xl", prompt="a pair here", embeddings=["pair"])
    pipeline = theirs(home, "xl")
    vectors = load_file(home / "embeddings" / "pair.safetensors")
    for key, part in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            {"<pair>": vectors[key]},
            token="<pair>",
            text_encoder=getattr(pipeline, f"text_encoder{part}"),
            tokenizer=getattr(pipeline, f"tokenizer{part}"),
        )
    assert ours == painted(pipeline, "a <pair> here")


def test_a_failure_leaves_the_table_in_its_place(desk: Desk) -> None:
    [plain] = desk.paint(prompt="a blob")
    encoder: Any = desk.networks()["text_encoder"]
    table = encoder.get_input_embeddings()

    def broken(*_: Any) -> None:
        raise RuntimeError("in the text encoder")

    hook = next(iter(encoder.modules())).register_forward_hook(broken)
    assert desk.run(prompt="a blob", embeddings=["blob"])["op"] == "failed"
    hook.remove()
    assert encoder.get_input_embeddings() is table
    assert desk.paint(prompt="a blob") == [plain]


@pytest.mark.parametrize("vae", ["other", "plain"])
def test_another_vae_is_what_diffusers_makes_of_it(desk: Desk, home: Path, vae: str) -> None:
    [own] = desk.paint()
    [ours] = desk.paint(vae=vae)
    [frame] = desk.frames("picture")
    assert (frame["facts"]["vae"]["name"], len(frame["facts"]["vae"]["short"])) == (vae, 10)
    other = diffusers.AutoencoderKL.from_pretrained(home / "vae" / "other")
    assert ours == painted(theirs(home, "sd", vae=other))
    assert ours != own
    assert desk.paint() == [own]


def test_one_whose_latents_differ_is_refused(desk: Desk, home: Path) -> None:
    shutil.copytree(home / "vae" / "other", home / "vae" / "scaled")
    config = home / "vae" / "scaled" / "config.json"
    config.write_text(config.read_text().replace("0.18215", "0.13025"))
    ending = desk.run(vae="scaled")
    assert ending["op"] == "failed"
    assert "of another kind" in ending["message"]
