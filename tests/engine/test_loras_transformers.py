"""LoRAs of the families whose denoiser is a transformer, under each of the names that trainers use."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file

from studio import samplers
from studio.checkpoints.adapters import layers_of
from studio.checkpoints.catalog import families
from studio.checkpoints.loras import loras
from studio.checkpoints.originals import ORIGINALS
from studio.checkpoints.trunks import Trunk, trunk_for, trunk_of
from studio.engine.adapters import load_adapter, swaps
from studio.engine.layouts import trace
from studio.engine.loading import renamed
from studio.engine.schedulers import build
from studio.families._family import Role, Sampling
from studio.tasks._task import Added
from tests.checkpoints.files import sparse_of
from tests.checkpoints.test_loras import CHECKPOINT
from tests.engine.adapters import low_rank
from tests.engine.desk import Desk
from tests.engine.original import transformer
from tests.engine.test_loras import kron
from tests.engine.test_loras_joint import kohya, makers, trained
from tests.engine.test_loras_joint import low_rank as joint
from tests.engine.tiny_families import TINY

WEIGHT = 0.7


def peft(layer: str, piece: str) -> str:
    return makers(layer, piece).replace("diffusion_model.", "transformer.", 1)


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with the tiny checkpoint of one family, made when it is first asked for."""
    home = tmp_path_factory.mktemp("transformers")

    def of(family: str) -> Path:
        if not (home / family).exists():
            TINY[family](home / family / family)
        return home / family

    return of


def denoiser(folder: Path, family: str) -> Any:
    kind = families()[family].components["transformer"][0]
    return getattr(diffusers, kind).from_pretrained(folder / family / "transformer").eval()


def weighted(network: Any) -> Iterator[tuple[str, Any]]:
    for path, layer in network.named_modules():
        if isinstance(layer, torch.nn.Linear):
            yield path, layer


@pytest.mark.parametrize(
    ("kind", "converter", "config"),
    [
        (
            "Flux2Transformer2DModel",
            "flux2_transformer_checkpoint",
            {"num_layers": 1, "num_single_layers": 1},
        ),
        ("ZImageTransformer2DModel", "z_image_transformer_checkpoint", {"n_layers": 1}),
        ("Lumina2Transformer2DModel", "lumina2", {"num_layers": 1}),
    ],
)
def test_makers_names_are_those_of_diffusers_converters(
    kind: str, converter: str, config: dict[str, Any]
) -> None:
    """At full width, tensor by tensor: which rows of which tensor of the original each one is."""
    with torch.device("meta"):
        network = getattr(diffusers, kind)(**config)
    shapes = {k: (tuple(t.shape), torch.float32) for k, t in transformer(network).items()}
    convert = getattr(single_file_utils, f"convert_{converter}_to_diffusers")
    theirs = dict(trace(convert, shapes))
    ours = dict(trace(partial(renamed, ORIGINALS[kind], network), shapes))
    assert ours == theirs


@pytest.mark.parametrize(
    ("family", "kind", "named"),
    [
        ("flux2", joint, makers),
        ("flux2", joint, kohya),
        ("flux2", kron, makers),
        ("zimage", joint, kohya),
        ("lumina2", joint, makers),
        ("pixart_sigma", joint, kohya),
        ("sana", joint, makers),
        ("hunyuandit", joint, kohya),
    ],
)
def test_under_its_makers_names_it_is_the_change_that_it_stands_for(
    family: str, kind: Any, named: Any, drawer: Callable[[str], Path], tmp_path: Path
) -> None:
    network = denoiser(drawer(family), family)
    merged = trained(network, kind, tmp_path / "it.safetensors", named)
    asked = Added(id="it", weight=WEIGHT, text_weight=0.0)
    found = swaps(
        [(load_adapter(tmp_path / "it.safetensors"), asked)], {"transformer": network}, {}
    )
    assert found.unused == (0,)
    dice = torch.Generator().manual_seed(1)
    changed = 0
    for path, layer in weighted(merged):
        x = torch.randn(3, layer.in_features, generator=dice)
        plain = network.get_submodule(path)
        with torch.no_grad(), found.applied():
            ours = network.get_submodule(path)(x)
            assert torch.allclose(ours, layer(x), atol=1e-4), path
            changed += not torch.allclose(ours, plain(x), atol=1e-3)
    assert changed >= len(found.sites) > 8


def write(network: Any, file: Path, named: Callable[[str, str], str], endings: str) -> None:
    """A LoRA over the layers whose names end so: those of diffusers' or, but for PEFT, of makers'."""
    layers = dict(weighted(network))
    names = {path: (path,) for path in layers}
    known = ORIGINALS.get(type(network).__name__)
    if known and named is not peft:
        names |= {name: joined.layers for name, joined in known.every(layers)}
    dice = torch.Generator().manual_seed(3)
    tensors: dict[str, torch.Tensor] = {}
    for name, own in names.items():
        if name.endswith(tuple(endings.split())):
            high = sum(layers[one].out_features for one in own)
            pieces = low_rank(torch.nn.Linear(layers[own[0]].in_features, high), dice)
            if named is not kohya:
                del pieces["alpha"]
            tensors |= {named(name, piece): tensor for piece, tensor in pieces.items()}
    file.parent.mkdir(exist_ok=True)
    save_file(tensors, file)


def merge(network: Any, file: Path) -> None:
    """What a LoRA under diffusers' names stands for, added to the weights."""
    state = load_file(file)
    for path, layer in weighted(network):
        if (down := state.get(f"transformer.{path}.lora_A.weight")) is not None:
            layer.weight.data += WEIGHT * state[f"transformer.{path}.lora_B.weight"] @ down


@pytest.mark.parametrize(
    ("family", "named", "ending"),
    [
        pytest.param("zimage", peft, "to_q to_out.0 feed_forward.w1", marks=pytest.mark.slow),
        ("zimage", kohya, "attention.qkv attention.out"),
        pytest.param("qwenimage", peft, "to_q add_k_proj img_mlp.net.2", marks=pytest.mark.slow),
        ("qwenimage", kohya, "to_q to_add_out img_mod.1"),
        pytest.param("sana", peft, "attn1.to_q attn2.to_out.0 proj_out", marks=pytest.mark.slow),
        pytest.param("sana_sprint", peft, "attn1.to_q attn2.to_k", marks=pytest.mark.slow),
        pytest.param("lumina2", peft, "to_q to_v linear_2 norm1.linear", marks=pytest.mark.slow),
        pytest.param("flux2", makers, "img_attn.qkv txt_attn.proj linear1", marks=pytest.mark.slow),
        ("flux2_klein", kohya, "txt_attn.qkv img_mlp.0 linear2"),
        ("pixart_sigma", peft, "attn1.to_q attn2.to_k ff.net.2"),
        pytest.param("hunyuandit", peft, "attn1.to_q attn2.to_k ff.net.2", marks=pytest.mark.slow),
    ],
)
def test_it_is_what_diffusers_makes_of_it_and_leaves_the_weights_alone(
    family: str,
    named: Any,
    ending: str,
    drawer: Callable[[str], Path],
    make_desk: Callable[..., Desk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where diffusers reads none, it is what the same change of the weights makes."""
    folder = drawer(family)
    file = folder / "loras" / f"{named.__name__}.safetensors"
    write(denoiser(folder, family), file, named, ending)
    desk = make_desk(folder)
    found = desk.runner.catalog.get(family)
    guidance = found.defaults.guidance
    wish = {
        "checkpoint": family,
        "steps": 2,
        "guidance": guidance,
        "sampler": found.defaults.sampler,
    }
    lora = {"name": named.__name__, "weight": WEIGHT, "text_weight": None}
    [plain] = desk.paint(**wish)
    before = {
        part: [t.numpy().tobytes() for t in module.state_dict().values()]
        for part, module in desk.networks(family).items()
    }
    [ours] = desk.paint(loras=[lora], **wish)
    assert ours != plain
    # which saves nothing of so small a denoiser
    monkeypatch.setattr("studio.engine.runner.ways_on", lambda *_: ("whole", "blocks"))
    assert desk.paint(loras=[lora], weights="blocks", **wish) == [ours]
    assert desk.frames("picture")[0]["facts"]["plan"][-1].startswith("Blocks of the denoiser")
    assert desk.paint(**wish) == [plain]
    assert before == {
        part: [t.numpy().tobytes() for t in module.state_dict().values()]
        for part, module in desk.networks(family).items()
    }
    pipeline: Any = diffusers.DiffusionPipeline.from_pretrained(folder / family)
    pipeline.set_progress_bar_config(disable=True)
    if hasattr(pipeline, "load_lora_weights"):
        pipeline.load_lora_weights(file, adapter_name="it")
        pipeline.set_adapters(["it"], [WEIGHT])
    else:
        merge(pipeline.transformer, file)
    pipeline.scheduler = build(samplers.find(found.defaults.sampler), pipeline.scheduler.config)
    negative = "negative_prompt" in signature(pipeline.__call__).parameters
    [image] = pipeline(
        prompt="a fox",
        **({"negative_prompt": ""} if negative else {}),
        width=64,
        height=64,
        num_inference_steps=2,
        generator=torch.Generator("cpu").manual_seed(7),
        **families()[family].call_args(
            Sampling(
                role=Role.TEXT, width=64, height=64, steps=2, guidance=guidance, guided=guidance > 1
            )
        ),
    ).images
    theirs, with_it, without = (
        np.frombuffer(pixels, np.uint8).astype(int) for pixels in (image.tobytes(), ours, plain)
    )
    assert np.abs(with_it - theirs).max() <= 1 < np.abs(with_it - without).max()


FULL: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "flux": ("FluxTransformer2DModel", {}),
    "sd3": ("SD3Transformer2DModel", {}),
    "flux2": ("Flux2Transformer2DModel", {}),
    "flux2_klein": (
        "Flux2Transformer2DModel",
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
        },
    ),
    "zimage": ("ZImageTransformer2DModel", {}),
    "qwenimage": ("QwenImageTransformer2DModel", {}),
    "lumina2": ("Lumina2Transformer2DModel", {}),
    "pixart_sigma": ("PixArtTransformer2DModel", {}),
    "sana": ("SanaTransformer2DModel", {}),
    "hunyuandit": (
        "HunyuanDiT2DModel",
        {"in_channels": 4, "patch_size": 2, "hidden_size": 1408, "num_layers": 40},
    ),
}
"""diffusers' class and what it is told, at the size that people have."""


def test_it_fits_checkpoints_of_its_family_alone(tmp_path: Path) -> None:
    """At full size, under each of the names, over attentions alone, those of the blocks for pictures
    and words alone, and over everything."""
    checkpoints = {"unet": CHECKPOINT}
    for family, (kind, config) in FULL.items():
        with torch.device("meta"):
            network = getattr(diffusers, kind)(**config)
        shapes = {f"transformer.{k}": tuple(t.shape) for k, t in network.state_dict().items()}
        checkpoints[family] = replace(CHECKPOINT, encoder=None, trunk=trunk_of(shapes, kind))
        layers = dict(weighted(network))
        joined = dict(ORIGINALS[kind].every(layers)) if kind in ORIGINALS else {}
        there = {
            peft: {path: (path,) for path in layers},
            kohya: {path: (path,) for path in layers},
            makers: {name: one.layers for name, one in joined.items()},
        }
        for named, names in there.items():
            for part in ("att|single_blocks", "^(?!.*single).*att", ""):
                sizes: dict[str, tuple[int, ...]] = {}
                for name, own in names.items():
                    if re.search(part, name):
                        high = sum(layers[one].out_features for one in own)
                        sizes[named(name, "lora_down.weight")] = (8, layers[own[0]].in_features)
                        sizes[named(name, "lora_up.weight")] = (high, 8)
                if sizes:
                    sparse_of(tmp_path / family / f"{named.__name__}{len(part)}.safetensors", sizes)
    shelf = loras((tmp_path,)).all()
    assert len(shelf) > 50 and not [one.id for one in shelf if one.problem]
    fit = {(one.id, name) for one in shelf for name in checkpoints if one.fits(checkpoints[name])}
    assert fit == {(one.id, one.id.partition("/")[0]) for one in shelf}


def test_a_lora_for_single_blocks_fits_one_that_has_more() -> None:
    def needed(*blocks: int) -> Trunk | None:
        shapes = {
            f"transformer.transformer_blocks.{n}.attn.to_q.lora_{side}.weight": shape
            for n in blocks
            for side, shape in (("A", (8, 3072)), ("B", (3072, 8)))
        }
        return trunk_for(layers_of(shapes), shapes)

    kind, config = FULL["flux"]
    with torch.device("meta"):
        network = getattr(diffusers, kind)(**config)
    shapes = {f"transformer.{k}": tuple(t.shape) for k, t in network.state_dict().items()}
    flux = trunk_of(shapes, kind)
    assert flux is not None
    fits = {blocks: flux.carries(found) for blocks in ((7,), (0,), (3, 7), tuple(range(19)),
            tuple(range(5)), tuple(range(20))) if (found := needed(*blocks))}  # fmt: skip
    assert list(fits.values()) == [True, True, True, True, False, False]


def test_a_joined_layer_beside_its_parts_is_the_same_change_once(
    drawer: Callable[[str], Path], tmp_path: Path
) -> None:
    network = denoiser(drawer("zimage"), "zimage")
    write(network, tmp_path / "joined.safetensors", kohya, "attention.qkv")
    state = load_file(tmp_path / "joined.safetensors")
    apart: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        for n, part in enumerate("qkv"):
            name = key.replace("_qkv.", f"_to_{part}.")
            apart[name] = tensor.chunk(3)[n].clone() if "lora_up" in key else tensor.clone()
    save_file({**state, **apart}, tmp_path / "both.safetensors")
    asked = Added(id="it", weight=1.0, text_weight=0.0)
    x = torch.ones(1, 32)
    made: list[torch.Tensor] = []
    for name in ("joined", "both"):
        adapter = load_adapter(tmp_path / f"{name}.safetensors")
        with torch.no_grad(), swaps([(adapter, asked)], {"transformer": network}, {}).applied():
            made.append(network.get_submodule("layers.0.attention.to_k")(x))
    assert torch.equal(*made)
