"""LoRAs beside diffusers' own: what they add, and that nothing stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from studio import samplers
from studio.engine.adapters import _original_names, load_adapter, swaps
from studio.engine.schedulers import build
from studio.tasks._task import Added
from tests.engine.adapters import ATTENTION, TEXT, low_rank, save_kohya
from tests.engine.desk import REQUEST, Desk
from tests.engine.tiny import save_tiny_sd, save_tiny_sdxl

PIPELINES: dict[str, Any] = {
    "sd": diffusers.StableDiffusionPipeline,
    "xl": diffusers.StableDiffusionXLPipeline,
}


def theirs(folder: Path, name: str) -> Any:
    found = PIPELINES[name].from_pretrained(folder / name)
    found.scheduler = build(samplers.find("euler"), found.scheduler.config)
    found.set_progress_bar_config(disable=True)
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sd` and `xl`, and the LoRAs `ink`, `wash` and `conv` for one and `gold` for the other."""
    folder = tmp_path_factory.mktemp("loras")
    save_tiny_sd(folder / "sd")
    save_tiny_sdxl(folder / "xl")
    sd, xl = theirs(folder, "sd"), theirs(folder, "xl")
    loras = folder / "loras"
    both = {"lora_unet": (sd.unet, ATTENTION), "lora_te": (sd.text_encoder, TEXT)}
    save_kohya(loras / "ink.safetensors", both, metadata={"ss_output_name": "Ink and wash"})
    save_kohya(loras / "styles" / "wash.safetensors", both, seed=1)
    save_kohya(
        loras / "conv.safetensors",
        {"lora_unet": (sd.unet, ("conv1", "conv2", "proj_in", *ATTENTION))},
    )
    save_kohya(
        loras / "gold.safetensors",
        {
            "lora_unet": (xl.unet, ATTENTION),
            "lora_te1": (xl.text_encoder, TEXT),
            "lora_te2": (xl.text_encoder_2, TEXT),
        },
    )
    return folder


@pytest.fixture(scope="module")
def desk(make_desk: Callable[..., Desk], home: Path) -> Desk:
    return make_desk(home)


def added(name: str, weight: float = 1.0, text_weight: float | None = None) -> dict[str, Any]:
    return {"name": name, "weight": weight, "text_weight": text_weight}


def paint(desk: Desk, *loras: dict[str, Any], **changes: Any) -> bytes:
    [pixels] = desk.paint(loras=list(loras), **changes)
    return pixels


@pytest.mark.parametrize(("checkpoint", "lora"), [("sd", "ink"), ("sd", "conv"), ("xl", "gold")])
def test_it_is_what_diffusers_makes_of_it(
    desk: Desk, home: Path, checkpoint: str, lora: str
) -> None:
    ours = paint(desk, added(lora, 0.7), checkpoint=checkpoint)
    pipeline = theirs(home, checkpoint)
    pipeline.load_lora_weights(home / "loras" / f"{lora}.safetensors", adapter_name="it")
    pipeline.set_adapters(["it"], [0.7])
    image = pipeline(
        REQUEST["prompt"],
        width=64,
        height=64,
        num_inference_steps=REQUEST["steps"],
        guidance_scale=REQUEST["guidance"],
        generator=torch.Generator("cpu").manual_seed(REQUEST["seed"]),
    ).images[0]
    assert ours != paint(desk, checkpoint=checkpoint)
    ours_, theirs_ = np.frombuffer(ours, np.uint8), np.frombuffer(image.tobytes(), np.uint8)
    assert np.abs(ours_.astype(int) - theirs_).max() <= 1


def test_denoiser_and_text_encoder_have_weights_of_their_own(desk: Desk, home: Path) -> None:
    ours = paint(desk, added("ink", 0.6, 0.3))
    pipeline = theirs(home, "sd")
    pipeline.load_lora_weights(home / "loras" / "ink.safetensors", adapter_name="it")
    pipeline.set_adapters(["it"], [{"unet": 0.6, "text_encoder": 0.3}])
    image = pipeline(
        REQUEST["prompt"],
        width=64,
        height=64,
        num_inference_steps=REQUEST["steps"],
        guidance_scale=REQUEST["guidance"],
        generator=torch.Generator("cpu").manual_seed(REQUEST["seed"]),
    ).images[0]
    apart = np.frombuffer(ours, np.uint8).astype(int) - np.frombuffer(image.tobytes(), np.uint8)
    assert np.abs(apart).max() <= 1
    parts = [paint(desk, added("ink", *weights)) for weights in ((0.6, 0.0), (0.0, 0.3))]
    assert len({ours, *parts, paint(desk)}) == 4


def test_weight_0_is_no_lora_and_the_same_again_is_the_same(desk: Desk) -> None:
    plain = paint(desk)
    first = paint(desk, added("ink", 0.8))
    assert first != plain
    assert paint(desk, added("ink", 0.0)) == plain
    assert paint(desk, added("ink", 0.8)) == first
    assert paint(desk) == plain
    assert desk.paint(loras=[added("ink", 0.8)], seed=6, count=2)[1] == first


def test_several_add_up(desk: Desk) -> None:
    ink, wash = added("ink", 0.8), added("styles/wash", 0.5)
    both = paint(desk, ink, wash)
    assert both not in (paint(desk, ink), paint(desk, wash))
    assert paint(desk, ink, added("styles/wash", 0.0)) == paint(desk, ink)


def test_a_second_pass_has_them_once(desk: Desk) -> None:
    """Two pipelines over the same networks are on loan at once."""
    hires = {"factor": 1.0, "strength": 0.0, "steps": 3, "upscaler": "lanczos"}
    assert paint(desk, added("ink"), hires=hires) == paint(desk, added("ink"))


def bytes_of(desk: Desk) -> dict[str, list[bytes]]:
    return {
        part: [t.numpy().tobytes() for t in module.state_dict().values()]
        + [type(layer).__name__.encode() for layer in module.modules()]
        for part, module in desk.networks().items()
    }


def test_weights_are_as_before_also_after_a_failure(desk: Desk) -> None:
    plain = paint(desk)
    paint(desk, added("ink"))
    before = bytes_of(desk)
    unet: Any = desk.networks()["unet"]
    steps: list[int] = []

    def broken(*_: Any) -> None:
        steps.append(1)
        if len(steps) == 2:
            raise RuntimeError("in mid-step")

    hook = unet.mid_block.register_forward_hook(broken)
    assert desk.run(loras=[added("ink")])["op"] == "failed"
    hook.remove()
    assert bytes_of(desk) == before
    assert desk.leases == 0
    assert paint(desk) == plain


def test_one_of_another_family_is_refused(desk: Desk) -> None:
    ending = desk.run(loras=[added("gold")])
    assert ending["op"] == "failed"
    assert "made for another kind" in ending["message"]
    assert desk.run()["op"] == "done"


def test_facts_say_what_was_added(desk: Desk) -> None:
    paint(desk, added("styles/wash", 0.5, 0.25))
    [frame] = desk.frames("picture")
    [told] = frame["facts"]["loras"]
    assert (told["name"], told["weight"], told["text_weight"]) == ("wash", 0.5, 0.25)
    assert len(told["short"]) == 12


def by_row(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    """A DoRA as kohya and LyCORIS write it with `wd_on_output`."""
    rows = layer.weight.shape[0]
    lengths = torch.rand(rows, *[1] * (layer.weight.ndim - 1), generator=dice) + 0.5
    return {**low_rank(layer, dice), "dora_scale": lengths}


def by_column(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    columns = layer.weight.shape[1]
    lengths = torch.rand(1, columns, *[1] * (layer.weight.ndim - 2), generator=dice) + 0.5
    return {**hadamard(layer, dice), "dora_scale": lengths}


def kron(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    out, wide = layer.weight.shape[:2]
    rest = layer.weight.shape[2:]
    return {
        "lokr_w1": torch.randn(2, 2, generator=dice) * 0.3,
        "lokr_w2_a": torch.randn(out // 2, 3, generator=dice) * 0.3,
        "lokr_w2_b": torch.randn(3, wide // 2 * rest.numel(), generator=dice) * 0.3,
        "alpha": torch.tensor(1.5),
    }


def hadamard(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    out, wide = layer.weight.shape[0], layer.weight[0].numel()
    made = {}
    for one in ("w1", "w2"):
        made[f"hada_{one}_a"] = torch.randn(out, 3, generator=dice) * 0.3
        made[f"hada_{one}_b"] = torch.randn(3, wide, generator=dice) * 0.3
    return {**made, "alpha": torch.tensor(1.5)}


def scaled(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    return {
        "weight": torch.randn(layer.weight.shape[0], generator=dice) * 0.3,
        "on_input": torch.tensor(False),
    }


def scaled_inputs(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    return {
        "weight": torch.randn(layer.weight.shape[1], generator=dice) * 0.3,
        "on_input": torch.tensor(True),
    }


def whole(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    made = {"diff": torch.randn(layer.weight.shape, generator=dice) * 0.1}
    if layer.bias is not None:
        made["diff_b"] = torch.randn(layer.bias.shape, generator=dice) * 0.1
    return made


def general(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    """GLoRA as LyCORIS writes it."""
    out, wide = layer.weight.shape[:2]
    ones, kernel = [1] * (layer.weight.ndim - 2), layer.weight.shape[2:]
    sizes = {"a1": (wide, 3, *ones), "a2": (3, wide, *ones), "b1": (out, 3, *ones)}
    sizes |= {"b2": (3, wide, *kernel)}
    made = {f"{k}.weight": torch.randn(size, generator=dice) * 0.3 for k, size in sizes.items()}
    return {**made, "alpha": torch.tensor(1.5)}


def turning(blocks: tuple[int, ...], **more: float) -> Any:
    """OFT as kohya and LyCORIS write it, or BOFT for four numbers."""

    def made(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
        pieces = {name: torch.tensor(value) for name, value in more.items()}
        if "rescale" in pieces:
            rows = torch.rand(layer.weight.shape[0], generator=dice) + 0.5
            pieces["rescale"] = rows.view(-1, *[1] * (layer.weight.ndim - 1))
        return {"oft_blocks": torch.randn(blocks, generator=dice) * 0.3, **pieces}

    return made


turned = turning((3, 4, 4))
held = turning((3, 4, 4), alpha=0.05)
rescaled = turning((3, 4, 4), rescale=1.0)
butterfly = turning((2, 2, 6, 6), rescale=1.0)


def early(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    """OFT of LyCORIS before version 2, as it ended."""
    return {"oft_diag": torch.eye(4) + torch.randn(3, 4, 4, generator=dice) * 0.1}


def earliest(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
    """The same as it began."""
    return {"oft_diag": torch.randn(3, 4, 4, generator=dice) * 0.1}


TURNS = (turned, held, rescaled, butterfly, early, earliest)


def rotated(kind: Any, pieces: dict[str, torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """A layer's weights turned by OFT's definition: with whole matrices and Cayley's map."""
    flat = weight.flatten(1)
    if kind in {early, earliest}:
        blocks = pieces["oft_diag"] + (torch.eye(4) if kind is earliest else 0)
        return (torch.block_diag(*blocks).T @ flat).view_as(weight)
    skew = pieces["oft_blocks"] - pieces["oft_blocks"].transpose(-1, -2)
    if kind is held:
        assert skew.norm() > 0.05 * 12  # it is held indeed
        skew = skew * (0.05 * 12 / skew.norm())
    one = torch.eye(skew.shape[-1])
    turns = (one + skew) @ (one - skew).inverse()
    if kind is not butterfly:
        flat = torch.block_diag(*turns).T @ flat
    else:
        for step, blocks in enumerate(turns):
            apart = 3 * 2**step
            rows = torch.arange(12).view(-1, 2, apart).transpose(1, 2).flatten()
            flat = (torch.block_diag(*blocks) @ flat[rows])[rows.argsort()]
    scale = pieces["rescale"].view(-1, 1) if "rescale" in pieces else 1
    return (flat * scale).view_as(weight)


def change(kind: Any, pieces: dict[str, torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """What the kind does to a layer's weights, by its definition."""
    if kind is general:
        a1, a2, b1, b2 = (pieces[f"{name}.weight"].flatten(1) for name in ("a1", "a2", "b1", "b2"))
        seen = torch.einsum("oi...,ij->oj...", weight, a1 @ a2)
        return (seen + (b1 @ b2).view_as(weight)) * 0.5
    if kind in TURNS:
        return rotated(kind, pieces, weight) - weight
    if kind in {by_row, by_column}:
        inner = dict(pieces)
        lengths = inner.pop("dora_scale")
        axes = tuple(n for n in range(weight.ndim) if lengths.shape[n] == 1)
        if kind is by_column:
            whole_ = weight + change(hadamard, inner, weight)
        else:
            up, down = pieces["lora_up.weight"].flatten(1), pieces["lora_down.weight"].flatten(1)
            whole_ = weight + (up @ down).reshape(weight.shape) * 0.5
        return whole_ * lengths / whole_.pow(2).sum(axes, keepdim=True).sqrt() - weight
    if kind is hadamard:
        one, two = (pieces[f"hada_{n}_a"] @ pieces[f"hada_{n}_b"] for n in ("w1", "w2"))
        return (one * two).reshape(weight.shape) * 0.5
    if kind is kron:
        two = pieces["lokr_w2_a"] @ pieces["lokr_w2_b"]
        two = two.reshape(two.shape[0], -1, *weight.shape[2:])
        return torch.kron(pieces["lokr_w1"].reshape(2, 2, *[1] * (two.ndim - 2)), two) * 0.5
    if kind is scaled:
        return weight * pieces["weight"].reshape(-1, *[1] * (weight.ndim - 1))
    if kind is scaled_inputs:
        return weight * pieces["weight"].reshape(1, -1, *[1] * (weight.ndim - 2))
    return pieces["diff"]


@pytest.mark.parametrize(
    "kind", [kron, hadamard, scaled, scaled_inputs, whole, by_row, by_column, general, *TURNS]
)
@pytest.mark.parametrize("layer", ["linear", "conv"])
def test_other_kinds_are_the_change_of_weights_that_they_stand_for(
    tmp_path: Path, kind: Any, layer: str
) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if layer == "linear":
                self.to_q: Any = torch.nn.Linear(8, 12)
            else:
                self.to_q = torch.nn.Conv2d(8, 12, 3, stride=2, padding=1)

    torch.manual_seed(0)
    net, merged = Net(), Net()
    x = 4 * torch.randn((2, 8) if layer == "linear" else (2, 8, 6, 6))
    file = save_kohya(tmp_path / "it.safetensors", {"lora_unet": (net, ("to_q",))}, pieces=kind)
    pieces = {key.partition(".")[2]: tensor for key, tensor in load_file(file).items()}
    merged.load_state_dict(net.state_dict())
    with torch.no_grad():
        merged.to_q.weight += 0.7 * change(kind, pieces, net.to_q.weight)
        if "diff_b" in pieces:
            merged.to_q.bias += 0.7 * pieces["diff_b"]
    asked = Added(id="it", weight=0.7, text_weight=0.0)
    found = swaps([(load_adapter(file), asked)], {"unet": net}, {})
    before = net.to_q
    with torch.no_grad(), found.applied():
        ours = net.to_q(x)
    assert net.to_q is before
    assert torch.allclose(ours, merged.to_q(x), atol=1e-4)
    assert not torch.allclose(ours, before(x), atol=1e-2)


def test_a_glora_of_old_is_one_with_its_matrices_the_other_way_round(tmp_path: Path) -> None:
    net = torch.nn.Module()
    net.to_q = torch.nn.Linear(8, 12)
    pieces = general(net.to_q, torch.Generator().manual_seed(0))
    swapped = {"a1": "a2", "a2": "a1", "b1": "b2", "b2": "b1", "alpha": "alpha"}
    old = {
        key.replace(key[:2], swapped[key[:2]]) if key != "alpha" else key: t
        for key, t in pieces.items()
    }
    x, made = torch.randn(5, 8), []
    for name, state in (("new", pieces), ("old", old)):
        file = tmp_path / f"{name}.safetensors"
        save_file({f"lora_unet_to_q.{key}": t for key, t in state.items()}, file)
        asked = Added(id=name, weight=1.0, text_weight=0.0)
        found = swaps([(load_adapter(file), asked)], {"unet": net}, {})
        with torch.no_grad(), found.applied():
            made.append(net.to_q(x))
    assert torch.equal(*made)


@pytest.mark.parametrize("layer", ["linear", "conv"])
def test_a_dora_is_what_peft_makes_of_it(tmp_path: Path, layer: str) -> None:
    """diffusers leaves the lengths out of such files; PEFT has the layers they were trained with."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(8, 12) if layer == "linear" else torch.nn.Conv2d(8, 12, 3, padding=1)
    )
    x = torch.randn((2, 8) if layer == "linear" else (2, 8, 6, 6))
    with torch.no_grad():
        plain = net(x)
    wrapped: Any = net[0]
    config = LoraConfig(
        r=4, lora_alpha=4, target_modules=["0"], use_dora=True, init_lora_weights=False
    )
    theirs_ = get_peft_model(net, config)
    state = {k: v for k, v in theirs_.state_dict().items() if "lora_" in k}
    for key in [key for key in state if "magnitude" in key]:
        state[key].mul_(torch.rand_like(state[key]) + 0.5)
    save_file(
        {k.replace("base_model.model.0.", "unet.to_q."): v.contiguous() for k, v in state.items()},
        tmp_path / "it.safetensors",
    )
    alone = torch.nn.Module()
    alone.to_q = wrapped
    asked = Added(id="it", weight=1.0, text_weight=0.0)
    found = swaps([(load_adapter(tmp_path / "it.safetensors"), asked)], {"unet": alone}, {})
    with torch.no_grad(), found.applied():
        ours = alone.to_q(x)
    with torch.no_grad():
        assert torch.allclose(ours, theirs_(x), atol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-2)


@pytest.mark.parametrize("said", [{}, {"use_cayley_neumann": False}, {"block_share": True}])
@pytest.mark.parametrize("layer", ["linear", "conv"])
def test_an_oft_is_what_peft_makes_of_it(tmp_path: Path, layer: str, said: dict[str, bool]) -> None:
    """Its config says what its tensors do not."""
    from peft import OFTConfig, get_peft_model

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(8, 12) if layer == "linear" else torch.nn.Conv2d(8, 12, 1)
    )
    x = torch.randn((2, 8) if layer == "linear" else (2, 8, 6, 6))
    alone = torch.nn.Module()
    alone.to_q = net[0]
    config = OFTConfig(oft_block_size=4, target_modules=["0"], init_weights=False, **said)
    theirs_ = get_peft_model(net, config)
    theirs_.save_pretrained(tmp_path / "peft")
    [file] = (tmp_path / "peft").glob("*.safetensors")
    state = load_file(file)
    save_file({k.replace(".0.", ".unet.to_q."): v for k, v in state.items()}, file)
    asked = Added(id="it", weight=1.0, text_weight=0.0)
    found = swaps([(load_adapter(file), asked)], {"unet": alone}, {})
    with torch.no_grad():
        plain = alone.to_q(x)
        with found.applied():
            ours = alone.to_q(x)
        assert torch.allclose(ours, theirs_(x), atol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-2)


@pytest.mark.parametrize("scaled_too", [False, True])
def test_an_early_oft_of_peft_is_by_its_definition(tmp_path: Path, scaled_too: bool) -> None:
    """Before 0.14 rows were turned, then inputs, with a scale for each row."""
    torch.manual_seed(0)
    net = torch.nn.Module()
    net.to_q = torch.nn.Linear(8, 12)
    width = 8 if scaled_too else 12
    blocks, lengths = torch.randn(width // 4, 4, 4) * 0.5, torch.rand(12, 1) + 0.5
    key = "base_model.model.unet.to_q"
    pieces = {f"{key}.oft_r": blocks, **({f"{key}.oft_s": lengths} if scaled_too else {})}
    save_file(pieces, tmp_path / "it.safetensors")
    skew, one = (blocks - blocks.transpose(1, 2)) / 2, torch.eye(4)
    turn = torch.block_diag(*((one - skew) @ (one + skew).inverse()))
    weight = net.to_q.weight.detach()
    weight = (turn @ weight.T).T * lengths if scaled_too else turn.T @ weight
    x = torch.randn(5, 8)
    asked = Added(id="it", weight=1.0, text_weight=0.0)
    found = swaps([(load_adapter(tmp_path / "it.safetensors"), asked)], {"unet": net}, {})
    with torch.no_grad(), found.applied():
        ours = net.to_q(x)
    assert torch.allclose(ours, x @ weight.T + net.to_q.bias, atol=1e-5)


def test_an_oft_paints_and_leaves_weights_as_they_were(desk: Desk, home: Path) -> None:
    def made(layer: Any, dice: torch.Generator) -> dict[str, torch.Tensor]:
        return {"oft_blocks": torch.randn(2, *[layer.weight.shape[0] // 2] * 2, generator=dice)}

    unet = theirs(home, "sd").unet
    metadata = {"ss_base_model_version": "sd_v1"}
    file = home / "loras" / "turn.safetensors"
    save_kohya(file, {"oft_unet": (unet, ATTENTION)}, pieces=made, metadata=metadata)
    plain, before = paint(desk), bytes_of(desk)
    assert paint(desk, added("turn", 0.5)) not in {plain, paint(desk, added("turn"))}
    assert bytes_of(desk) == before
    assert paint(desk) == plain


@pytest.mark.parametrize("layout", ["peft", "diffusers", "old", "original"])
def test_every_way_of_naming_layers_means_the_same(desk: Desk, home: Path, layout: str) -> None:
    name, checkpoint = ("gold", "xl") if layout == "original" else ("ink", "sd")
    state = load_file(home / "loras" / f"{name}.safetensors")
    xl = theirs(home, checkpoint)
    networks = {
        "lora_unet": ("unet", xl.unet),
        "lora_te1": ("text_encoder", xl.text_encoder),
        "lora_te2": ("text_encoder_2", getattr(xl, "text_encoder_2", None)),
        "lora_te": ("text_encoder", xl.text_encoder),
    }
    renamed: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        layer, _, piece = key.partition(".")
        prefix = next(one for one in networks if layer.startswith(f"{one}_"))
        network, module = networks[prefix]
        short = layer.removeprefix(f"{prefix}_")
        paths = {path.replace(".", "_"): path for path, _ in module.named_modules()}
        path = paths.get(short) or paths[short.removeprefix("text_model_")]
        if layout == "original":
            original = _original_names(module.config) if network == "unet" else None
            renamed[f"{prefix}_{original(path).replace('.', '_')}.{piece}" if original else key] = (
                tensor
            )
            continue
        if piece == "alpha":
            if layout != "old":
                renamed[f"{network}.{path}.alpha"] = tensor
            continue
        which = "down" if "down" in piece else "up"
        if layout == "old":
            # these have no alpha
            tensor = tensor * 0.5 if which == "up" else tensor
            owner, _, last = path.rpartition(".")
            if network == "unet":
                owner, last = (owner.rpartition(".")[0], "to_out") if last == "0" else (owner, last)
                renamed[f"unet.{owner}.processor.{last}_lora.{which}.weight"] = tensor
            else:
                renamed[f"text_encoder.{path}.lora_linear_layer.{which}.weight"] = tensor
        elif layout == "peft":
            letter = {"down": "A", "up": "B"}[which]
            renamed[f"base_model.model.{network}.{path}.lora_{letter}.weight"] = tensor
        else:
            renamed[f"{network}.{path}.lora.{which}.weight"] = tensor
    assert not renamed.keys() & state.keys() or layout == "original"
    save_file(renamed, home / "loras" / f"{layout}.safetensors")
    assert paint(desk, added(layout), checkpoint=checkpoint) == paint(
        desk, added(name), checkpoint=checkpoint
    )
