"""GGUF files: a denoiser in packed numbers paints as the same numbers do when they are written out."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from transformers.models.t5.modeling_t5 import T5DenseGatedActDense

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.facts import verify
from studio.checkpoints.gguf import PACKED, read_gguf
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.header import BadFile
from studio.checkpoints.install import File, Plan, settle
from studio.engine.layouts import Piece, Ref
from studio.engine.loading import _sources
from studio.engine.packed import PackedFeed, Packing
from studio.engine.packed import packed as packed_network
from studio.engine.reading import FileFeed, Files
from studio.engine.unpacking import UNPACK
from studio.families._family import Role
from tests.engine.desk import Desk
from tests.engine.gguf_files import Packed, q4_k, q8_0, save_gguf
from tests.engine.test_denoiser_files import Parts, configs, folders, keep, paint, parts, save

__all__ = ["configs", "folders", "parts"]  # fixtures

UNPACKED = {
    "Q4_0": "0d0e23d8c7fb9b93",
    "Q4_1": "49ba65c48d0d7250",
    "Q5_0": "cdbc4e33a11405bd",
    "Q5_1": "3d441944ba5c473f",
    "Q8_0": "a9d72a25f80e2334",
    "Q2_K": "bf0562031ae41bff",
    "Q3_K": "829b20827e0cbd8b",
    "Q4_K": "e72a9864a82cfc87",
    "Q5_K": "2459a987246ce4d1",
    "Q6_K": "f4efeaed25cf3e57",
}
"""Begin of the SHA-256 of some numbers, as the package gguf 0.19.0 unpacks them."""


@pytest.mark.parametrize("name", PACKED)
def test_packed_numbers_are_what_ggml_says(name: str) -> None:
    form = PACKED[name]
    raw = (torch.arange(8 * form.size_bytes) * 37 % 123).to(torch.uint8).view(8, -1)
    numbers = UNPACK[name](raw)
    assert numbers.shape == (8, form.block)
    digest = hashlib.sha256(numbers.numpy().astype("<f4").tobytes()).hexdigest()
    assert digest.startswith(UNPACKED[name])


@pytest.fixture(scope="module")
def packed(parts: dict[str, Parts]) -> tuple[dict[str, Packed], dict[str, torch.Tensor]]:
    """A denoiser of all kinds of numbers, and the same written out."""
    dice = np.random.default_rng(0)
    tensors: dict[str, Packed] = {}
    plain: dict[str, torch.Tensor] = {}
    for number, (name, tensor) in enumerate(parts["flux"].denoiser.items()):
        values: Any = tensor.detach().float().contiguous().numpy()
        if values.ndim < 2:
            tensors[name] = ("F32", values.shape, values.tobytes())
        elif number % 3 == 0 and values.size % 256 == 0:
            data, flat = q4_k(values.size, dice)
            values = flat.reshape(values.shape)
            tensors[name] = ("Q4_K", values.shape, data)
        elif number % 3 == 1:
            values = values.astype(np.float16)
            tensors[name] = ("F16", values.shape, values.tobytes())
        else:
            data, values = q8_0(values)
            tensors[name] = ("Q8_0", values.shape, data)
        plain[name] = torch.from_numpy(values.astype(np.float32))
    assert {kind for kind, _, _ in tensors.values()} == {"F32", "F16", "Q8_0", "Q4_K"}
    return tensors, plain


def held(desk: Desk, checkpoint: str, part: str = "transformer") -> int:
    """Bytes that a part of it takes."""
    rows = desk.runner.manager.ledger().of(checkpoint)
    return next(row.size_bytes for row in rows if row.part == part)


INK = [{"name": "ink", "weight": 1.0, "text_weight": None}]


def lora(denoiser: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A LoRA over its attention, by its makers' names."""
    dice = torch.Generator().manual_seed(3)
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in denoiser.items():
        if name.endswith(("attn.qkv.weight", "linear1.weight")):
            layer = f"diffusion_model.{name.removesuffix('.weight')}"
            high, wide = weight.shape
            tensors[f"{layer}.lora_A.weight"] = torch.randn(4, wide, generator=dice) * 0.3
            tensors[f"{layer}.lora_B.weight"] = torch.randn(high, 4, generator=dice) * 0.3
    return tensors


def test_it_paints_as_its_numbers_written_out(
    packed: tuple[dict[str, Packed], dict[str, torch.Tensor]],
    folders: Path,
    configs: Path,
    tmp_path: Path,
    make_desk: Callable[..., Desk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(folders / "flux", tmp_path / "installed")
    save_gguf(packed[0], tmp_path / "small.gguf")
    save(packed[1], tmp_path / "full.safetensors")
    save(lora(packed[1]), tmp_path / "loras" / "ink.safetensors")
    desk = make_desk(tmp_path, configs)
    wanted = paint(desk, "full")
    assert paint(desk, "small") == wanted
    whole = held(desk, "small")
    anatomy = desk.runner.catalog.get("small").anatomy
    assert anatomy is not None and anatomy.stored < anatomy.denoiser * 2
    desk.runner.unload()
    assert paint(desk, "small", weights="packed") == wanted
    assert desk.frames("picture")[0]["facts"]["plan"][-1].endswith("as packed as in their file.")
    inked = paint(desk, "full", loras=INK)
    assert inked != wanted
    monkeypatch.setattr("studio.engine.runner.ways_on", lambda *_: ("whole", "packed", "blocks"))
    for weights in ("packed", "blocks"):
        assert paint(desk, "small", loras=INK, weights=weights) == inked
    found = desk.runner.catalog.get("small")
    with desk.runner.manager.use(found, Role.TEXT, kept="packed"):
        # what is no layer's weight stays wide, and every tensor begins at a round place
        assert anatomy.stored <= held(desk, "small") < min(whole / 2, 2 * anatomy.stored)
    verdict = verify(found, Hashes(None), {})
    assert verdict.problems == ()
    digest = hashlib.sha256((tmp_path / "small.gguf").read_bytes()).hexdigest()
    assert verdict.sha256 == {"small.gguf": digest}
    assert (found.family, found.size_bytes) == ("flux", (tmp_path / "small.gguf").stat().st_size)


def test_what_is_packed_is_told_apart_by_its_first_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = {
        "narrow": torch.randn(64, 64).to(torch.float8_e4m3fn),
        "wide": torch.randn(64, 64),
        "bias": torch.randn(4096),
        "lone": torch.tensor(2.0),
    }
    save_file(numbers, tmp_path / "it.safetensors")
    layout = {
        name: Ref((Piece(name, 0, tuple(one.shape), one.stride()),))
        for name, one in numbers.items()
    }
    packings = {
        "narrow": Packing("F8_E4M3", (64, 64), pieces=layout["narrow"].pieces),
        "wide": Packing("F8_E4M3", (64, 64)),
    }
    feed = PackedFeed(FileFeed(_sources((tmp_path / "it.safetensors",)), layout), packings)
    held = {name: torch.empty(4096, dtype=torch.uint8) for name in packings}
    held |= {"bias": torch.empty(4096), "lone": torch.empty(())}
    feed.pour(held, lambda: None)
    assert torch.equal(held["narrow"], numbers["narrow"].view(torch.uint8).flatten())
    assert feed.equals(held)
    real, read = Files.bytes_of, list[int]()

    def counted(files: Files, source: str, begin: int, raw: torch.Tensor) -> None:
        read.append(len(raw))
        real(files, source, begin, raw)

    monkeypatch.setattr(Files, "bytes_of", counted)
    for name, tensor in held.items():
        for at in (0, -1):
            other = tensor.clone()
            other.view(-1)[at] += 1
            read.clear()
            assert not feed.equals({**held, name: other})
            assert at or sum(read) < 4096


def test_a_packed_weight_is_unpacked_by_what_computes_with_it() -> None:
    numbers = torch.randn(8, 64).to(torch.float8_e4m3fn)
    wide = numbers.to(torch.bfloat16)
    packing = Packing("F8_E4M3", (8, 64), dtype=torch.bfloat16)
    for kind in (torch.nn.Linear(64, 8), torch.nn.Conv2d(64, 8, 1)):
        plain: Any = kind.bfloat16()
        shape = tuple(plain.weight.shape)
        plain.weight.data = wide.view(shape)
        given = torch.randn(1, 64, *shape[2:], dtype=torch.bfloat16)
        with torch.inference_mode():
            wanted = plain(given)
        layer: Any = packed_network(
            torch.nn.Sequential(plain), {"0.weight": replace(packing, shape=shape)}
        )[0]
        layer.weight = numbers.view(torch.uint8).flatten()
        weight = layer.weight
        assert (weight.shape, weight.dtype, weight.device) == (shape, wide.dtype, wide.device)
        with torch.inference_mode():
            assert torch.equal(layer(given), wanted)
            assert torch.equal(weight.flatten(1) @ given.flatten(), wide @ given.flatten())


def test_t5_unpacks_each_weight_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its feed-forward asks for a number format before it computes."""
    config = transformers.T5Config(d_model=32, d_ff=64, feed_forward_proj="gated-gelu")
    block: Any = T5DenseGatedActDense(config)
    names = ("wi_0", "wi_1", "wo")
    sizes = {name: tuple(block.get_submodule(name).weight.shape) for name in names}
    packed_network(block, {f"{name}.weight": Packing("F8_E4M3", sizes[name]) for name in names})
    for name in names:
        numbers = torch.randn(sizes[name]).to(torch.float8_e4m3fn)
        block.get_submodule(name).weight = numbers.view(torch.uint8).flatten()
    read: list[tuple[int, ...]] = []
    unpacked = Packing.unpacked

    def counted(packing: Packing, numbers: torch.Tensor) -> torch.Tensor:
        read.append(packing.shape)
        return unpacked(packing, numbers)

    monkeypatch.setattr(Packing, "unpacked", counted)
    with torch.inference_mode():
        assert block(torch.randn(1, 4, 32)).shape == (1, 4, 32)
    assert read == list(sizes.values())


def as_llama(name: str) -> str:
    """What llama.cpp calls a tensor of T5's."""
    for theirs, ours in {
        "shared.": "token_embd.",
        "encoder.final_layer_norm.": "enc.output_norm.",
        "encoder.block.": "enc.blk.",
        "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b",
        "layer.0.SelfAttention.": "attn_",
        "layer.0.layer_norm": "attn_norm",
        "layer.1.layer_norm": "ffn_norm",
        "layer.1.DenseReluDense.wi_0": "ffn_gate",
        "layer.1.DenseReluDense.wi_1": "ffn_up",
        "layer.1.DenseReluDense.wo": "ffn_down",
    }.items():
        name = name.replace(theirs, ours)
    return name


def test_t5_is_read_as_llama_cpp_writes_it(
    parts: dict[str, Parts],
    folders: Path,
    configs: Path,
    tmp_path: Path,
    make_desk: Callable[..., Desk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed: dict[str, Packed] = {}
    plain: dict[str, torch.Tensor] = {}
    for key, tensor in parts["flux"].texts["t5xxl"].items():
        if key == "encoder.embed_tokens.weight":  # the same table again
            continue
        values: Any = tensor.float().numpy()
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            data, values = q8_0(values)
            packed[as_llama(key)] = ("Q8_0", values.shape, data)
        else:
            packed[as_llama(key)] = ("F32", values.shape, values.tobytes())
        plain[key] = torch.from_numpy(values)
    whole = parts["flux"].whole("vae", "t5xxl")
    for name in ("small", "full"):
        save(whole, tmp_path / name / "it.safetensors")
        (tmp_path / name / "text_encoders").mkdir()
    save_gguf(packed, tmp_path / "small" / "text_encoders" / "t5.gguf", "t5encoder")
    save(plain, tmp_path / "full" / "text_encoders" / "t5.safetensors")
    small, full = (make_desk(tmp_path / name, configs) for name in ("small", "full"))
    wanted = paint(full, "it")
    assert paint(small, "it") == wanted
    found = small.runner.catalog.get("it")
    stored = sum(len(data) for _, _, data in packed.values())
    assert found.anatomy is not None and found.anatomy.text_stored > stored
    whole = held(small, "it", "text_encoder_2")
    monkeypatch.setattr("studio.costs.plan.WORTH", 1.0)  # its denoiser is wide in both
    keep(monkeypatch, "packed")
    small.runner.unload()
    assert paint(small, "it") == wanted
    with small.runner.manager.use(found, Role.TEXT, kept="packed"):
        # the table of words, most of one so small, is no layer's weight
        assert stored <= held(small, "it", "text_encoder_2") < 0.6 * whole
        texts = sum(held(small, "it", part) for part in ("text_encoder", "text_encoder_2"))
        assert found.anatomy.text_packed(4) == pytest.approx(texts, rel=0.05)
    assert paint(small, "it") == wanted


def test_what_cannot_be_read_says_so(
    packed: tuple[dict[str, Packed], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    whole = save_gguf(packed[0], tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "header.gguf").write_bytes(whole[:200])
    (tmp_path / "bomb.gguf").write_bytes(whole[:8] + b"\xff" * 200)
    (tmp_path / "other.gguf").write_bytes(b"not one")
    name = next(iter(packed[0]))
    save_gguf({name: ("F32", (4,), bytes(16))}, tmp_path / "part.gguf")
    for file in tmp_path.glob("*.gguf"):
        if file.stem not in {"whole", "part"}:
            with pytest.raises(BadFile):
                read_gguf(file)
    (tmp_path / "arrived").mkdir()
    shutil.copyfile(tmp_path / "whole.gguf", tmp_path / "arrived" / "flux.gguf")
    arrived = Plan(source="", name="flux", files=(File(path="flux.gguf", url="", size_bytes=1),))
    lone = settle(tmp_path / "arrived", arrived, tmp_path / "data")
    assert lone == tmp_path / "data" / "checkpoints" / "flux.gguf"  # what it lacks may come later
    said = {one.id: one.problem for one in Catalog((tmp_path,)).all()}
    assert "damaged" in said["cut"] and "damaged" in said["header"]
    assert "not a GGUF file" in said["other"] and said["bomb"]
    assert "no checkpoint" in said["part"]
    assert "without ae.safetensors" in said["whole"]
