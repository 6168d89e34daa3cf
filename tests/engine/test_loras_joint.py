"""LoRAs of FLUX.1 and Stable Diffusion 3, whose makers joined layers that diffusers has apart."""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from studio.checkpoints.loras import loras
from studio.checkpoints.originals import ORIGINALS
from studio.core.errors import InvalidRequest
from studio.engine.adapters import load_adapter, swaps
from studio.engine.loading import renamed
from studio.tasks._task import Added
from tests.engine.desk import Desk
from tests.engine.original import transformer
from tests.engine.test_loras import by_column, by_row, change, general, hadamard, kron
from tests.engine.tiny_families import TINY

KINDS = {"flux": "FluxTransformer2DModel", "sd3": "SD3Transformer2DModel"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joint")
    for family in KINDS:
        TINY[family](folder / family)
    return folder


@pytest.fixture(scope="module")
def denoisers(home: Path) -> dict[str, Any]:
    return {
        family: getattr(diffusers, kind).from_pretrained(home / family / "transformer").eval()
        for family, kind in KINDS.items()
    }


class _Matrix(torch.nn.Linear):
    """A layer of that weight, to draw a LoRA's pieces for."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=False)
        self.weight.data = weight


def low_rank(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    return {
        "lora_down.weight": torch.randn(4, layer.in_features, generator=dice) * 0.3,
        "lora_up.weight": torch.randn(layer.out_features, 4, generator=dice) * 0.3,
        "alpha": torch.tensor(2.0),
    }


def turned(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    """OFT in blocks small enough that none lies in two layers."""
    return {"oft_blocks": torch.randn(layer.out_features // 4, 4, 4, generator=dice) * 0.3}


def kohyas(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    """OFT of FLUX.1 by kohya: blocks of their own for each part of a joined layer."""
    tall, wide = layer.out_features, layer.in_features
    sizes = {3: [wide] * 3, 7: [wide] * 3 + [4 * wide]}.get(tall // wide, [tall])
    return {
        f"oft_blocks.{n}": torch.randn(2, size // 2, size // 2, generator=dice) * 0.1
        for n, size in enumerate(sizes)
    }


def difference(kind: Any, pieces: Mapping[str, torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    if kind is low_rank:
        return pieces["lora_up.weight"] @ pieces["lora_down.weight"] * 0.5
    if kind in {turned, kohyas}:
        skew = [one - one.transpose(1, 2) for blocks in pieces.values() for one in blocks[:, None]]
        turns = [
            (torch.eye(q.shape[-1]) + q[0]) @ (torch.eye(q.shape[-1]) - q[0]).inverse()
            for q in skew
        ]
        return torch.block_diag(*turns).T @ weight - weight
    return change(kind, dict(pieces), weight)


def trained(
    network: Any, kind: Any, file: Path, named: Callable[[str, str], str], seed: int = 0
) -> Any:
    """Writes a LoRA over all layers of the original, and gives the network that it stands for."""
    dice = torch.Generator().manual_seed(seed)
    state = {key: tensor.detach().clone() for key, tensor in transformer(network).items()}
    tensors: dict[str, torch.Tensor] = {}
    for key, weight in list(state.items()):
        if not key.endswith(".weight") or weight.ndim != 2:
            continue
        layer = key.removesuffix(".weight")
        pieces = kind(_Matrix(weight), dice)
        state[key] = weight + 0.7 * difference(kind, pieces, weight)
        tensors |= {named(layer, piece): tensor for piece, tensor in pieces.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file)
    merged = type(network).from_config(network.config).eval()
    merged.load_state_dict(network.state_dict())
    known = ORIGINALS[type(network).__name__]
    merged.load_state_dict(renamed(known, merged, state), strict=False)
    return merged


def kohya(layer: str, piece: str) -> str:
    return f"lora_unet_{layer.replace('.', '_')}.{piece}"


def makers(layer: str, piece: str) -> str:
    """As ai-toolkit and ComfyUI name them."""
    short = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
    return f"diffusion_model.{layer}.{short.get(piece, piece)}"


def seen(family: str, network: Any) -> torch.Tensor:
    dice = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=dice)

    with torch.no_grad():
        if family == "sd3":
            found = network(
                noise(1, 16, 8, 8), noise(1, 5, 32), noise(1, 64), torch.tensor([500.0])
            )
        else:
            found = network(
                hidden_states=noise(1, 16, 64),
                encoder_hidden_states=noise(1, 5, 32),
                pooled_projections=noise(1, 32),
                timestep=torch.tensor([0.5]),
                guidance=torch.tensor([3.5]),
                img_ids=torch.zeros(16, 3),
                txt_ids=torch.zeros(5, 3),
            )
    return found.sample


@pytest.mark.parametrize(
    ("family", "kind", "named"),
    [
        ("flux", low_rank, kohya),
        ("flux", low_rank, makers),
        ("flux", kron, kohya),
        ("flux", by_row, kohya),
        ("flux", general, kohya),
        ("flux", turned, makers),
        ("flux", kohyas, kohya),
        ("sd3", low_rank, kohya),
        ("sd3", hadamard, kohya),
    ],
)
def test_a_lora_of_joined_layers_is_the_change_that_it_stands_for(
    family: str, kind: Any, named: Any, denoisers: dict[str, Any], tmp_path: Path
) -> None:
    network = denoisers[family]
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    merged = trained(network, kind, tmp_path / "it.safetensors", named)
    asked = Added(id="it", weight=0.7, text_weight=0.0)
    found = swaps(
        [(load_adapter(tmp_path / "it.safetensors"), asked)], {"transformer": network}, {}
    )
    assert found.unused == (0,)
    plain = seen(family, network)
    with found.applied():
        ours = seen(family, network)
    theirs = seen(family, merged)
    assert torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(ours, plain, atol=1e-2)
    assert torch.equal(seen(family, network), plain)
    assert all(torch.equal(t, before[key]) for key, t in network.state_dict().items())


def whole_turn(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    return {"oft_blocks": torch.randn(1, *[layer.out_features] * 2, generator=dice) * 0.1}


@pytest.mark.parametrize("kind", [by_column, whole_turn])
def test_what_joined_layers_have_in_common_is_refused(
    kind: Any, denoisers: dict[str, Any], tmp_path: Path
) -> None:
    """Lengths of columns, and turns of all rows at once."""
    state = {
        f"lora_unet_double_blocks_0_img_attn_qkv.{piece}": tensor
        for piece, tensor in kind(_Matrix(torch.randn(96, 32)), torch.Generator()).items()
    }
    save_file(state, tmp_path / "it.safetensors")
    adapter = load_adapter(tmp_path / "it.safetensors")
    with pytest.raises(InvalidRequest, match="cannot be shared out"):
        swaps(
            [(adapter, Added(id="it", weight=1.0, text_weight=0.0))],
            {"transformer": denoisers["flux"]},
            {},
        )


def test_it_is_known_by_the_blocks_it_needs(
    denoisers: dict[str, Any], home: Path, tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    """diffusers' own names too, and what it paints is what diffusers paints."""
    peft: dict[str, torch.Tensor] = {}
    dice = torch.Generator().manual_seed(3)
    for path, layer in denoisers["flux"].named_modules():
        if path.endswith(("to_q", "to_k", "to_v", "proj_mlp")):
            for piece, tensor in low_rank(layer, dice).items():
                if piece != "alpha":
                    short = "lora_A" if "down" in piece else "lora_B"
                    peft[f"transformer.{path}.{short}.weight"] = tensor
    for folder in KINDS:
        shutil.copytree(home / folder, tmp_path / folder)
    (tmp_path / "loras").mkdir()
    save_file(peft, tmp_path / "loras" / "ink.safetensors")
    trained(denoisers["sd3"], low_rank, tmp_path / "loras" / "wash.safetensors", kohya)
    desk = make_desk(tmp_path)
    shelf = loras((tmp_path / "loras",))
    catalog = desk.runner.catalog
    fit = {(one.name, name) for one in shelf.all() for name in KINDS if one.fits(catalog.get(name))}
    assert fit == {("ink", "flux"), ("wash", "sd3")}
    painting = partial(desk.paint, checkpoint="flux", steps=2, guidance=3.5, sampler="flow_euler")
    plain = painting()
    [ours] = painting(loras=[{"name": "ink", "weight": 1.0, "text_weight": None}])
    assert ours != plain[0] and painting() == plain
    pipeline: Any = diffusers.FluxPipeline.from_pretrained(tmp_path / "flux")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(tmp_path / "loras" / "ink.safetensors")
    image = pipeline(
        "a fox",
        width=64,
        height=64,
        num_inference_steps=2,
        guidance_scale=3.5,
        generator=torch.Generator("cpu").manual_seed(7),
    ).images[0]
    apart = [abs(a - b) for a, b in zip(ours, image.tobytes(), strict=True)]
    assert max(apart) <= 1
