"""Prompts to embeddings, against diffusers' own way and against A1111's rules."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from studio.core.errors import InvalidRequest
from studio.engine.conditioning import _emphasised, encode

LAYERS = 4
PROMPTS = (
    "",
    "a red fox in the snow, sticker",
    "fox, " * 37,
    "a fox's tale: 12, déjà vu!",
    "x " * 75,
)


def tokenizer(folder: Path, **options: str) -> CLIPTokenizer:
    """Bytes, bytes that end a word, and a few merges; saved the way CLIP's is."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    merges = ["f o", "fo x</w>", "r e", "re d</w>", "t h", "th e</w>", "i n</w>"]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [merge.replace(" ", "") for merge in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77, **options)


def config(words: CLIPTokenizer, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=37,
        projection_dim=24,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionPipeline:
    torch.manual_seed(0)
    words = tokenizer(tmp_path_factory.mktemp("sd") / "tokenizer")
    encoder = CLIPTextModel(config(words, 32)).eval()
    # trained encoders have a mean that is not zero, which weighting then restores
    encoder.final_layer_norm.bias.data.fill_(-0.3)
    return StableDiffusionPipeline(
        vae=None,
        text_encoder=encoder,
        tokenizer=words,
        unet=None,
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionXLPipeline:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("sdxl")
    words, other = tokenizer(folder / "1"), tokenizer(folder / "2", pad_token="!")
    return StableDiffusionXLPipeline(
        vae=None,
        text_encoder=CLIPTextModel(config(words, 32)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(config(other, 48)).eval(),
        tokenizer=words,
        tokenizer_2=other,
        unet=None,
        scheduler=None,
        add_watermarker=False,
    )


@torch.no_grad()
def stock_sd(pipeline: StableDiffusionPipeline, prompt: str, negative: str) -> list[torch.Tensor]:
    return pipeline.encode_prompt(prompt, "cpu", 1, True, negative_prompt=negative)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_one_plain_chunk_is_bit_equal_to_diffusers(sd, prompt: str) -> None:
    expected, unwanted = stock_sd(sd, prompt, "blurry")
    found = encode(sd, prompt=prompt, negative_prompt="blurry").arguments
    assert set(found) == {"prompt_embeds", "negative_prompt_embeds"}
    assert torch.equal(found["prompt_embeds"], expected)
    assert torch.equal(found["negative_prompt_embeds"], unwanted)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_one_plain_chunk_of_a_pair_is_bit_equal_to_diffusers(sdxl, prompt: str) -> None:
    with torch.no_grad():
        expected = sdxl.encode_prompt(prompt, device="cpu", negative_prompt="bad, worse!")
    found = encode(sdxl, prompt=prompt, negative_prompt="bad, worse!").arguments
    names = ("prompt_embeds", "negative_prompt_embeds")
    pooled = ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    assert set(found) == {*names, *pooled}
    for name, tensor in zip((*names, *pooled), expected, strict=True):
        assert torch.equal(found[name], tensor), name


def test_no_negative_prompt_is_what_diffusers_makes_of_none(sd, sdxl) -> None:
    with torch.no_grad():
        expected = sdxl.encode_prompt("a fox", device="cpu")
        plain = sd.encode_prompt("a fox", "cpu", 1, True)
    found = encode(sdxl, prompt="a fox").arguments
    assert torch.equal(found["negative_prompt_embeds"], expected[1])
    assert not found["negative_prompt_embeds"].any()
    assert torch.equal(found["negative_pooled_prompt_embeds"], expected[3])
    assert torch.equal(encode(sd, prompt="a fox").arguments["negative_prompt_embeds"], plain[1])


def test_a_prompt_without_guidance_has_no_negative(sd, sdxl) -> None:
    found = encode(sdxl, prompt="a fox", negative_prompt="x " * 200, guided=False)
    assert set(found.arguments) == {"prompt_embeds", "pooled_prompt_embeds"}
    assert found.arguments["prompt_embeds"].shape == (1, 77, 32 + 48)
    assert found.facts == {"prompt": 2, "negative": 0, "chunks": 1}
    assert set(encode(sd, prompt="a fox", guided=False).arguments) == {"prompt_embeds"}


@pytest.mark.parametrize("skip", range(2, LAYERS + 1))
def test_clip_skip_reads_an_earlier_layer_of_both_prompts(sd, skip: int) -> None:
    model, ids = sd.text_encoder, sd.tokenizer("a fox", padding="max_length").input_ids
    with torch.no_grad():
        hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-skip]
        expected = model.final_layer_norm(hidden)
    found = encode(sd, prompt="a fox", negative_prompt="a fox", clip_skip=skip).arguments
    assert torch.equal(found["prompt_embeds"], expected)
    assert torch.equal(found["negative_prompt_embeds"], expected)


def test_clip_skip_of_a_pair_counts_from_the_same_end(sdxl) -> None:
    states = [
        encode(sdxl, prompt="a fox", clip_skip=n).arguments["prompt_embeds"] for n in (1, 2, 3)
    ]
    with torch.no_grad():
        deeper = sdxl.encode_prompt("a fox", device="cpu", clip_skip=1)[0]
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[2], deeper)


@pytest.mark.parametrize("skip", [0, LAYERS + 1, 12])
def test_a_layer_that_is_not_there_is_refused(sd, skip: int) -> None:
    with pytest.raises(InvalidRequest, match="Clip skip"):
        encode(sd, prompt="a fox", clip_skip=skip)


def test_chunks_are_encoded_apart_and_laid_end_to_end(sd) -> None:
    found = encode(sd, prompt="a red fox BREAK the snow", negative_prompt="bad").arguments
    parts = [
        encode(sd, prompt=text).arguments["prompt_embeds"] for text in ("a red fox", "the snow")
    ]
    assert torch.equal(found["prompt_embeds"], torch.cat(parts, dim=1))
    bad, nothing = (encode(sd, prompt=text).arguments["prompt_embeds"] for text in ("bad", ""))
    assert torch.equal(found["negative_prompt_embeds"], torch.cat([bad, nothing], dim=1))


def test_a_long_negative_prompt_makes_the_prompt_as_long(sdxl) -> None:
    found = encode(sdxl, prompt="a fox", negative_prompt="x " * 160)
    assert found.arguments["prompt_embeds"].shape == (1, 3 * 77, 80)
    assert found.arguments["negative_prompt_embeds"].shape == (1, 3 * 77, 80)
    assert found.facts == {"prompt": 2, "negative": 160, "chunks": 3}
    alone = encode(sdxl, prompt="a fox").arguments
    assert torch.equal(found.arguments["pooled_prompt_embeds"], alone["pooled_prompt_embeds"])


def test_a_weight_multiplies_its_tokens_and_the_mean_stays(sd) -> None:
    plain = encode(sd, prompt="a red fox").arguments["prompt_embeds"]
    found = encode(sd, prompt="a red (fox:1.5)").arguments["prompt_embeds"]
    assert torch.isclose(found.mean(), plain.mean(), rtol=1e-4, atol=1e-7)
    ratio = (found / plain)[0].median(dim=-1).values
    fox = ratio[3]
    others = torch.cat([ratio[:3], ratio[4:]])
    assert torch.allclose(others, others[0].expand_as(others), rtol=1e-4)
    assert torch.isclose(fox / others[0], torch.tensor(1.5), rtol=1e-4)


def test_more_weight_moves_further_and_neutral_weight_not_at_all(sd) -> None:
    plain = encode(sd, prompt="fox").arguments["prompt_embeds"]
    assert torch.equal(encode(sd, prompt="(fox:1.0)").arguments["prompt_embeds"], plain)
    steps = ("fox", "(fox)", "((fox))", "(fox:2)")
    moved = [
        float((encode(sd, prompt=text).arguments["prompt_embeds"] - plain).norm()) for text in steps
    ]
    assert all(less < more for less, more in pairwise(moved))


def test_the_pooled_state_carries_no_weights(sdxl) -> None:
    plain = encode(sdxl, prompt="a fox").arguments
    heavy = encode(sdxl, prompt="a (fox:1.4)").arguments
    assert torch.equal(plain["pooled_prompt_embeds"], heavy["pooled_prompt_embeds"])
    assert not torch.equal(plain["prompt_embeds"], heavy["prompt_embeds"])


def test_extreme_weights_stay_finite(sd) -> None:
    for prompt in ("(a fox:0)", "(a fox:-1)", "(a fox:100)", "(a fox:0) BREAK (b:-3)"):
        assert encode(sd, prompt=prompt).arguments["prompt_embeds"].isfinite().all(), prompt


def test_half_precision_stays_half(sdxl) -> None:
    sdxl.to(torch.bfloat16)
    try:
        for tensor in encode(sdxl, prompt="a (fox:1.3)", negative_prompt="bad").arguments.values():
            assert tensor.dtype == torch.bfloat16
            assert tensor.isfinite().all()
    finally:
        sdxl.to(torch.float32)


@pytest.mark.parametrize("prompt", ["<lora:x:1>", "(" * 40, "a BREAK " * 40])
def test_what_the_grammar_refuses_is_refused_in_either_prompt(sd, prompt: str) -> None:
    with pytest.raises(InvalidRequest):
        encode(sd, prompt=prompt)
    with pytest.raises(InvalidRequest):
        encode(sd, prompt="a fox", negative_prompt=prompt)


def test_a_mean_that_weights_turn_around_is_not_restored() -> None:
    hidden = torch.tensor([[[1.0], [-0.9]]])  # mean 0.05, weighted -0.4: restoring would flip signs
    assert torch.allclose(_emphasised(hidden, [1.0, 2.0]), torch.tensor([[[1.0], [-1.8]]]))
    balanced = torch.tensor([[[1.0], [-1.0]]])  # mean 0: restoring would wipe everything out
    assert torch.allclose(_emphasised(balanced, [1.0, 2.0]), torch.tensor([[[1.0], [-2.0]]]))
