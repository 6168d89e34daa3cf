"""One file whose tensors are not what they are called is passed over, or has a problem: it never
hides those that lie beside it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.checkpoints.beside import Shelf
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls
from studio.checkpoints.embeddings import embeddings
from studio.checkpoints.header import read_header
from studio.checkpoints.imageprompts import ImagePrompts
from studio.checkpoints.install import kind_of
from studio.checkpoints.loras import loras
from studio.checkpoints.vaes import vaes
from tests.checkpoints.files import HEADERS, folder, sparse_of

Folders = tuple[Path, ...]

LISTS: dict[str, Callable[[Folders], Sequence[Any]]] = {
    "checkpoints": lambda folders: Catalog(folders).all(),
    "networks beside": lambda folders: Shelf(folders).all(),
    "loras": lambda folders: loras(folders).all(),
    "embeddings": lambda folders: embeddings(folders).all(),
    "vaes": lambda folders: vaes(folders).all(),
    "controlnets": lambda folders: Controls(folders).all(),
    "image prompts": lambda folders: ImagePrompts(folders).all(),
}

TOLD_BY = [
    *json.loads((HEADERS / "sdxl-file.json").read_text()),
    *("emb_params", "clip_l", "clip_g", "task_embedding", "decoder.conv_in.weight"),
    *("control_model.input_hint_block.0.weight", "control_model.input_blocks.0.0.weight"),
    "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    *("controlnet_cond_embedding.conv_in.weight", "conv_in.weight"),
    *("embeddings.patch_embedding.weight", "visual_projection.weight", "head.probe"),
    *("redux_up.weight", "redux_down.weight", "image_proj.proj.3.weight"),
    *("ip_adapter.1.to_k_ip.weight", "image_proj.latents", "image_proj.proj_in.weight"),
    *("double_blocks.0.img_attn.norm.query_norm.scale", "img_in.weight", "txt_in.weight"),
    *("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",),
    *("unet.conv_in.weight", "transformer.context_embedder.weight", "shared.weight"),
]
"""Keys that lists look for, of every kind at once."""

SHAPES: list[tuple[int, ...]] = [(), (0,), (7,), (0, 4), (3, 3, 3), (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("listed", LISTS.values(), ids=LISTS.keys())
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_is_hidden(
    listed: Callable[[Folders], Sequence[Any]], shape: tuple[int, ...], tmp_path: Path
) -> None:
    sparse_of(tmp_path / "all.safetensors", dict.fromkeys(TOLD_BY, shape))
    for key in TOLD_BY[-30:]:
        sparse_of(tmp_path / f"{key}.safetensors", {key: shape})
    for found in listed((tmp_path,)):
        assert found.path.parent == tmp_path


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_install_of_it_has_a_kind_or_is_damaged(shape: tuple[int, ...], tmp_path: Path) -> None:
    file = sparse_of(tmp_path / "all.safetensors", dict.fromkeys(TOLD_BY, shape))
    assert kind_of(read_header(file), file)


def test_keys_of_several_families_are_none(tmp_path: Path) -> None:
    mixed = (
        "transformer.text_embedding_padding",
        "transformer.time_extra_emb.pooler.positional_embedding",
        "transformer.blocks.0.attn2.to_k.weight",
        "text_encoder_2.shared.weight",
        "vae.decoder.conv_in.weight",
        "transformer.noise_refiner.0.attn.to_q.weight",
        "transformer.context_refiner.0.attn.to_q.weight",
    )
    sparse_of(tmp_path / "mixture.safetensors", dict.fromkeys(mixed, (4, 4)))
    folder(tmp_path / "sound")
    mixture, sound = Catalog((tmp_path,)).all()
    assert mixture.problem == "'mixture' is no checkpoint of a kind that the studio knows."
    assert not sound.problem
