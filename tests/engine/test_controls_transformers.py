"""ControlNets of transformers beside diffusers' own pipelines with them."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from studio import samplers
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls, steerings
from studio.checkpoints.header import read_header
from studio.checkpoints.install import kind_of
from studio.core.errors import InvalidRequest
from studio.core.layouts import Kind
from studio.engine import latent
from studio.engine.controls import control_config
from studio.engine.schedulers import build
from studio.families._family import Role
from tests.engine.desk import REQUEST, Desk
from tests.engine.original import transformer
from tests.engine.tiny_controls import save_control, save_deep

FLUX, SD3, QWEN = "FluxControlNetModel", "SD3ControlNetModel", "QwenImageControlNetModel"
NETS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "flux-canny": ("flux", FLUX, {"num_layers": 2, "num_single_layers": 2}),
    "flux-union": ("flux", FLUX, {"num_layers": 3, "num_single_layers": 0, "num_mode": 10}),
    "flux-unguided-depth": (
        "flux",
        FLUX,
        {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": False},
    ),
    "flux-pixels-canny": (
        "flux",
        FLUX,
        {
            "num_layers": 2,
            "num_single_layers": 0,
            "patch_size": 2,
            "conditioning_embedding_channels": 16,
            "guidance_embeds": False,
        },
    ),
    "sd3-canny": ("sd3", SD3, {"num_layers": 2}),
    "sd3-blur": (
        "sd3",
        SD3,
        {
            "num_layers": 3,
            "joint_attention_dim": None,
            "qk_norm": None,
            "dual_attention_layers": (),
            "use_pos_embed": False,
            "pos_embed_type": None,
            "pos_embed_max_size": None,
            "force_zeros_for_pooled_projection": False,
        },
    ),
    "qwen-union": ("qwenimage", QWEN, {"num_layers": 2}),
    "hunyuan-pose": ("hunyuandit", "HunyuanDiT2DControlNetModel", {"transformer_num_layers": 8}),
    "sana-hed": ("sana", "SanaControlNetModel", {"num_layers": 2}),
    "zimage-union": (
        "zimage",
        "ZImageControlNetModel",
        {
            "control_layers_places": [0, 2],
            "control_refiner_layers_places": [],
            "control_in_dim": 16,
            "add_control_noise_refiner": None,
        },
    ),
    "zimage-union-2.1": (
        "zimage",
        "ZImageControlNetModel",
        {
            "control_layers_places": [0, 1, 2, 3],
            "control_refiner_layers_places": [0],
            "control_in_dim": 33,
            "add_control_noise_refiner": "control_noise_refiner",
        },
    ),
}
"""Checkpoint, class and config of each, by name."""
BLOCKS = {
    "flux": {"num_layers": 4, "num_single_layers": 3},
    "flux_schnell": {"num_layers": 4, "num_single_layers": 3},
    "sd3": {"num_layers": 4},
    "qwenimage": {"num_layers": 3},
    "hunyuandit": {"num_layers": 8},
    "sana": {"num_layers": 4},
    "zimage": {"n_layers": 4},
}
SAMPLERS = {"hunyuandit": "ddim"}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transformers")
    for family, blocks in BLOCKS.items():
        save_deep(family, folder / family, **blocks)
    for family in ("flux_fill", "flux_kontext"):
        save_deep(family, folder / family)
    for name, (checkpoint, kind, config) in NETS.items():
        save_control(kind, folder / "controlnet" / name, folder / checkpoint, **config)
    return folder


@pytest.fixture(scope="module")
def desk(make_desk: Callable[..., Desk], shelf: Path) -> Desk:
    return make_desk(shelf)


def lines() -> Image.Image:
    drawn = Image.new("RGB", (64, 64))
    ImageDraw.Draw(drawn).ellipse((10, 14, 52, 58), outline="white", width=3)
    return drawn


@pytest.fixture(scope="module")
def ref(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> str:
    return desk.put(lines(), tmp_path_factory.mktemp("maps"))


def ask(checkpoint: str, ref: str, *nets: str, steps: int = 4, **unit: Any) -> dict[str, Any]:
    units = [{"map": ref, "controlnet": net, **unit} for net in nets]
    sampler = SAMPLERS.get(checkpoint, "flow_euler")
    return {"checkpoint": checkpoint, "sampler": sampler, "steps": steps, "units": units}


PIPELINES = {
    "flux": diffusers.FluxControlNetPipeline,
    "flux_schnell": diffusers.FluxControlNetPipeline,
    "sd3": diffusers.StableDiffusion3ControlNetPipeline,
    "qwenimage": diffusers.QwenImageControlNetPipeline,
    "hunyuandit": diffusers.HunyuanDiTControlNetPipeline,
    "sana": diffusers.SanaControlNetPipeline,
    "zimage": diffusers.ZImageControlNetPipeline,
}
CALLS: dict[str, dict[str, Any]] = {
    "flux": {},
    "flux_schnell": {},
    "qwenimage": {"negative_prompt": "", "true_cfg_scale": REQUEST["guidance"]},
    "hunyuandit": {"negative_prompt": "", "use_resolution_binning": False},
    "sana": {"negative_prompt": "", "use_resolution_binning": False},
    # which counts from 0.0
    "zimage": {"negative_prompt": "", "guidance_scale": REQUEST["guidance"] - 1.0},
}
"""What else diffusers' pipelines are called with."""


def quick(names: Iterable[str], *wanted: str) -> list[Any]:
    """All the names, of which the others are only tried where there is time."""
    return [
        name if name in wanted else pytest.param(name, marks=pytest.mark.slow) for name in names
    ]


UNSPANNED = ("hunyuandit", "sana", "zimage")
"""Whose pipelines have ControlNets act in all steps."""


def theirs(shelf: Path, checkpoint: str, net: str, image: Any, **options: Any) -> Any:
    """The pixels that diffusers' own pipeline paints."""
    kind: Any = getattr(diffusers, NETS[net][1])
    control = kind.from_pretrained(shelf / "controlnet" / net)
    plain = PIPELINES[checkpoint].from_pretrained(shelf / checkpoint, controlnet=control)
    sampler = samplers.find(SAMPLERS.get(checkpoint, "flow_euler"))
    plain.scheduler = build(sampler, plain.scheduler.config)
    plain.set_progress_bar_config(disable=True)
    asked = {
        "guidance_scale": REQUEST["guidance"],
        **CALLS.get(checkpoint, {"negative_prompt": ""}),
    }
    if checkpoint == "qwenimage":
        del asked["guidance_scale"]
    with torch.inference_mode():
        made = plain(
            REQUEST["prompt"],
            control_image=image,
            width=64,
            height=64,
            num_inference_steps=4,
            controlnet_conditioning_scale=0.8,
            generator=torch.Generator("cpu").manual_seed(REQUEST["seed"]),
            **asked,
            **options,
        ).images[0]
    return np.asarray(made).astype(int)


def apart(ours: bytes, made: Any) -> int:
    return int(np.abs(np.frombuffer(ours, np.uint8).reshape(made.shape).astype(int) - made).max())


@pytest.mark.parametrize(
    ("checkpoint", "net", "unit", "options"),
    [
        ("flux", "flux-canny", {}, {}),
        ("flux", "flux-union", {"kind": "depth"}, {"control_mode": 2}),
        ("flux", "flux-unguided-depth", {}, {}),
        ("flux", "flux-pixels-canny", {}, {}),
        ("sd3", "sd3-canny", {}, {}),
        ("sd3", "sd3-blur", {"kind": "tile"}, {}),
        ("qwenimage", "qwen-union", {}, {}),
        ("hunyuandit", "hunyuan-pose", {}, {}),
        ("sana", "sana-hed", {}, {}),
        ("zimage", "zimage-union", {}, {}),
        ("zimage", "zimage-union-2.1", {}, {}),
    ],
)
def test_it_is_what_the_pipeline_of_diffusers_gives(
    desk: Desk,
    shelf: Path,
    ref: str,
    checkpoint: str,
    net: str,
    unit: dict[str, Any],
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Same noise, embeddings and ControlNet: the same picture. diffusers draws what a map is encoded
    as by chance, where the likeliest is taken here; and encodes it twice for SD 3, and divides by
    other numbers for Qwen-Image, which may change a last bit."""
    span = {} if checkpoint in UNSPANNED else {"start": 0.2, "end": 0.8}
    [ours] = desk.paint(**ask(checkpoint, ref, net, weight=0.8, **span, **unit))
    monkeypatch.setattr(
        DiagonalGaussianDistribution, "sample", lambda likely, generator=None: likely.mode()
    )
    spans = {f"control_guidance_{end}": share for end, share in span.items()}
    made = theirs(shelf, checkpoint, net, lines(), **spans, **options)
    assert apart(ours, made) <= (0 if checkpoint == "flux" else 1)
    [plain] = desk.paint(**ask(checkpoint, ref))
    assert apart(plain, made) > 4


def test_one_for_flux_dev_steers_schnell_and_is_told_a_guidance(
    desk: Desk, shelf: Path, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    forward: Any = diffusers.FluxControlNetModel.forward

    def watched(net: Any, *given: Any, guidance: Any = None, **options: Any) -> Any:
        seen.append(guidance)
        return forward(net, *given, guidance=guidance, **options)

    monkeypatch.setattr(diffusers.FluxControlNetModel, "forward", watched)
    plain = desk.paint(**ask("flux_schnell", ref))
    assert desk.paint(**ask("flux_schnell", ref, "flux-canny")) != plain
    assert [guidance.tolist() for guidance in seen] == [[3.5]] * 4
    seen.clear()
    assert desk.paint(**ask("flux_schnell", ref, "flux-unguided-depth")) != plain
    assert seen == [None] * 4


@pytest.mark.parametrize("net", quick(NETS, "flux-union", "qwen-union", "zimage-union"))
def test_weight_0_is_no_unit_and_units_act_in_their_steps(desk: Desk, ref: str, net: str) -> None:
    checkpoint = NETS[net][0]
    kind = {"kind": "depth"} if net == "flux-union" else {}
    plain = desk.paint(**ask(checkpoint, ref))
    assert desk.paint(**ask(checkpoint, ref, net, weight=0.0, **kind)) == plain
    assert desk.paint(**ask(checkpoint, ref, net, start=0.8, end=0.9, **kind)) == plain
    spans = ((0.0, 0.5), (0.5, 1.0), (0.0, 1.0))
    made = {desk.paint(**ask(checkpoint, ref, net, start=a, end=b, **kind))[0] for a, b in spans}
    assert len(made | set(plain)) == 4
    assert desk.paint(**ask(checkpoint, ref)) == plain


def test_units_of_different_depth_add_up(desk: Desk, ref: str) -> None:
    """Two blocks and two single ones beside three and none: each speaks to the blocks that it speaks
    to alone."""
    both = ask("flux", ref, "flux-canny", "flux-union", kind="depth")
    [made] = desk.paint(**both)
    alone = {
        desk.paint(**ask("flux", ref, net, kind="depth"))[0] for net in ("flux-canny", "flux-union")
    }
    assert len({made, *alone}) == 3
    weak = [{**unit, "weight": 0.0} if n else unit for n, unit in enumerate(both["units"])]
    assert desk.paint(**{**both, "units": weak})[0] in alone


def test_what_only_one_unit_speaks_to_hears_that_one(desk: Desk, shelf: Path, ref: str) -> None:
    """Of Z-Image's some speak to every block, some to every other one; in either order."""
    deep = shelf / "controlnet" / "sana-deep-hed"
    save_control("SanaControlNetModel", deep, shelf / "sana", seed=2, num_layers=3)
    for checkpoint, nets in (
        ("zimage", ("zimage-union", "zimage-union-2.1")),
        ("sana", ("sana-hed", deep.name)),
    ):
        [made], [turned] = (
            desk.paint(**ask(checkpoint, ref, *order)) for order in (nets, nets[::-1])
        )
        assert apart(made, np.frombuffer(turned, np.uint8).astype(int)) <= 1
        assert made not in {desk.paint(**ask(checkpoint, ref, net))[0] for net in nets}
    shutil.rmtree(deep)


@pytest.mark.parametrize(
    "net",
    quick(
        ["flux-canny", "sd3-canny", "qwen-union", "hunyuan-pose", "sana-hed", "zimage-union"],
        "flux-canny",
        "zimage-union",
    ),
)
def test_the_same_unit_twice_is_one_of_twice_the_weight(desk: Desk, ref: str, net: str) -> None:
    """What each adds is summed before a block hears it."""
    checkpoint = NETS[net][0]
    [twice] = desk.paint(**ask(checkpoint, ref, net, net, weight=0.5))
    [once] = desk.paint(**ask(checkpoint, ref, net, weight=1.0))
    assert apart(twice, np.frombuffer(once, np.uint8).astype(int)) <= 2


@pytest.mark.parametrize(
    "net",
    quick(["sd3-canny", "qwen-union", "sana-hed", "hunyuan-pose"], "sd3-canny", "qwen-union"),
)
def test_where_the_map_matters_more_the_negative_prompt_does_not_hear_it(
    desk: Desk, ref: str, net: str
) -> None:
    checkpoint = NETS[net][0]
    made = {
        desk.paint(**ask(checkpoint, ref, net, balance=balance))[0]
        for balance in ("balanced", "control")
    }
    assert len(made) == 2
    unguided = {
        desk.paint(**ask(checkpoint, ref, net, balance=balance), guidance=1.0)[0]
        for balance in ("balanced", "control")
    }
    assert len(unguided) == 1


def test_pictures_of_a_job_encode_their_map_once(
    desk: Desk, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [_, second] = desk.paint(**ask("flux", ref, "flux-canny", steps=2), count=2)
    encoded, encode = list[Any](), latent.encoded

    def counted(vae: Any, pixels: Any) -> Any:
        encoded.append(pixels)
        return encode(vae, pixels)

    monkeypatch.setattr(latent, "encoded", counted)
    desk.paint(**ask("flux", ref, "flux-canny", steps=2), count=3)
    assert len(encoded) == 1
    desk.paint(**ask("flux", ref, "flux-canny", "flux-canny", steps=2))
    assert len(encoded) == 3
    [alone] = desk.paint(**ask("flux", ref, "flux-canny", steps=2), seed=REQUEST["seed"] + 1)
    assert alone == second


def test_qwen_image_asks_its_controlnet_once_a_step(
    desk: Desk, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    forward: Any = diffusers.QwenImageControlNetModel.forward

    def counted(net: Any, *given: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return forward(net, *given, **options)

    monkeypatch.setattr(diffusers.QwenImageControlNetModel, "forward", counted)
    desk.paint(**ask("qwenimage", ref, "qwen-union", steps=5))
    assert calls == 5


@pytest.mark.parametrize(
    "net",
    quick(
        ["flux-canny", "sd3-canny", "qwen-union", "sana-hed", "zimage-union-2.1"],
        "flux-canny",
        "zimage-union-2.1",
    ),
)
def test_it_steers_painting_over_a_picture_too(
    desk: Desk, tmp_path: Path, ref: str, net: str
) -> None:
    checkpoint = NETS[net][0]
    picture = desk.put(Image.effect_noise((64, 64), 90).convert("RGB"), tmp_path)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 40, 40))
    over = {"image": picture, "strength": 0.9, "steps": 5}
    within = {**over, "mask": desk.put(mask, tmp_path), "area": "whole"}
    for task, given in (("img2img", over), ("inpaint", within)):
        plain = desk.paint(task=task, **{**ask(checkpoint, ref), **given})
        asked = {**ask(checkpoint, ref, net), **given}
        steered = desk.paint(task=task, **asked)
        assert steered != plain
        assert desk.paint(task="control", **asked) == steered


@pytest.mark.parametrize("checkpoint", ["flux_fill", "flux_kontext"])
def test_what_none_steers_is_refused(desk: Desk, tmp_path: Path, ref: str, checkpoint: str) -> None:
    picture = desk.put(Image.new("RGB", (64, 64), "navy"), tmp_path)
    mask = desk.put(Image.new("L", (64, 64), 255), tmp_path)
    over = {"image": picture, "mask": mask, "area": "whole"}
    ending = desk.run(task="inpaint", **{**ask(checkpoint, ref, "flux-canny"), **over})
    assert ending["op"] == "failed"
    assert "which no ControlNet steers" in ending["message"]


def test_one_of_another_family_is_refused(desk: Desk, ref: str) -> None:
    ending = desk.run(**ask("flux", ref, "sd3-canny"))
    assert ending["op"] == "failed"
    assert "not made for" in ending["message"]


@pytest.mark.parametrize(
    "net",
    quick(["flux-canny", "sd3-blur", "qwen-union", "zimage-union"], "flux-canny", "zimage-union"),
)
def test_weights_are_as_before_also_after_a_failure(
    desk: Desk, ref: str, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, kind, _ = NETS[net]
    desk.runner.unload()
    asked = ask(checkpoint, ref, net)
    painted = desk.paint(**asked)
    before = desk.held()
    assert set(desk.runner.manager.kept) == {checkpoint, f"controlnet:{net}"}
    assert any(
        f"controlnet:{net}" in one.checkpoints for one in desk.runner.manager.ledger().holdings
    )

    def broken(*given: Any, **options: Any) -> Any:
        raise RuntimeError("in mid-step")

    monkeypatch.setattr(getattr(diffusers, kind), "forward", broken)
    assert desk.run(**asked)["op"] == "failed"
    monkeypatch.undo()
    assert desk.held() == before
    assert desk.leases == 0
    assert desk.paint(**asked) == painted


def test_what_each_fits_is_read_from_its_keys(shelf: Path) -> None:
    found = {control.id: control for control in Controls((shelf / "controlnet",)).all()}
    assert {name: control.kinds for name, control in found.items()} == {
        "flux-canny": ("edges",),
        "flux-union": ("edges", "depth", "pose", "tile"),
        "flux-unguided-depth": ("depth",),
        "flux-pixels-canny": ("edges",),
        "sd3-canny": ("edges",),
        "sd3-blur": ("tile",),
        "qwen-union": ("edges", "depth", "pose"),
        "hunyuan-pose": ("pose",),
        "sana-hed": ("edges",),
        "zimage-union": ("edges", "depth", "pose"),
        "zimage-union-2.1": ("edges", "depth", "pose"),
    }
    fits = {
        checkpoint.id: {name for name, one in found.items() if one.fits(checkpoint.steered)}
        for checkpoint in Catalog((shelf,)).all()
        if not checkpoint.problem
    }
    flux = {name for name in NETS if name.startswith("flux")}
    assert fits == {
        "flux": flux,
        "flux_schnell": flux,
        "flux_fill": set(),
        "flux_kontext": set(),
        "sd3": {"sd3-canny", "sd3-blur"},
        "qwenimage": {"qwen-union"},
        "hunyuandit": {"hunyuan-pose"},
        "sana": {"sana-hed"},
        "zimage": {"zimage-union", "zimage-union-2.1"},
    }


@pytest.mark.parametrize(
    "net",
    quick(["flux-pixels-canny", "sd3-blur", "qwen-union", "zimage-union-2.1"], "zimage-union-2.1"),
)
def test_a_file_alone_is_the_same_as_its_folder(
    desk: Desk, shelf: Path, ref: str, net: str
) -> None:
    folder = shelf / "controlnet" / net
    state = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file(state, shelf / "controlnet" / f"{net}-file.safetensors")
    made = [desk.paint(**ask(NETS[net][0], ref, name)) for name in (net, f"{net}-file")]
    assert made[0] == made[1]
    (shelf / "controlnet" / f"{net}-file.safetensors").unlink()


def test_stabilitys_own_files_are_read(desk: Desk, shelf: Path, ref: str) -> None:
    """Their names, with queries, keys and values in one."""
    state = load_file(shelf / "controlnet" / "sd3-blur" / "diffusion_pytorch_model.safetensors")
    theirs: dict[str, Any] = {}
    for key, tensor in state.items():
        for old, new in (
            (".attn.to_out.0.", ".attn.proj."),
            (".ff.net.0.proj.", ".mlp.fc1."),
            (".ff.net.2.", ".mlp.fc2."),
            (".norm1.linear.", ".adaLN_modulation.1."),
        ):
            key = key.replace(old, new)
        if ".attn.to_" not in key:
            theirs[key] = tensor
        elif ".attn.to_q." in key:
            three = [state[key.replace("to_q", f"to_{one}")] for one in "qkv"]
            theirs[key.replace("to_q", "qkv")] = torch.cat(three)
    assert theirs.keys().isdisjoint(key for key in state if ".attn.to_" in key)
    file = shelf / "controlnet" / "sd3.5_large_controlnet_blur.safetensors"
    save_file(theirs, file)
    made = [desk.paint(**ask("sd3", ref, name)) for name in ("sd3-blur", file.stem)]
    assert made[0] == made[1]
    file.unlink()


def test_xlabs_own_files_are_read(desk: Desk, shelf: Path, ref: str, tmp_path: Path) -> None:
    """Named as the denoiser is by its makers, with what reads the map counted through."""
    folder = shelf / "controlnet" / "flux-pixels-canny"
    net = diffusers.FluxControlNetModel.from_pretrained(folder)
    denoiser = diffusers.FluxTransformer2DModel.from_config({**net.config, "patch_size": 1})
    state = net.state_dict()
    denoiser.load_state_dict(state, strict=False)
    theirs = {
        name: tensor.contiguous()
        for name, tensor in transformer(denoiser).items()
        if not name.startswith("final_layer")
    }
    convolutions = ["conv_in", *(f"blocks.{n}" for n in range(6)), "conv_out"]
    for tail in ("weight", "bias"):
        theirs[f"pos_embed_input.{tail}"] = state[f"controlnet_x_embedder.{tail}"]
        for at, name in enumerate(convolutions):
            theirs[f"input_hint_block.{2 * at}.{tail}"] = state[f"input_hint_block.{name}.{tail}"]
        for at in range(net.config.num_layers):
            name = f"controlnet_blocks.{at}.{tail}"
            theirs[name] = state[name]
    file = shelf / "controlnet" / "flux-canny-controlnet-v3.safetensors"
    save_file(theirs, file)
    made = [desk.paint(**ask("flux", ref, name)) for name in (folder.name, file.stem)]
    assert made[0] == made[1]
    file.rename(tmp_path / file.name)
    [found] = Catalog((tmp_path,)).all()
    assert "no checkpoint" in found.problem, "though most of its names are those of one"
    assert kind_of(read_header(found.path), found.path) is Kind.CONTROLNET


@pytest.mark.slow
def test_edges_are_as_bright_as_stability_trained_them(
    desk: Desk, shelf: Path, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their code shows pixels of 0.5 … 128 to the autoencoder; depth is dark where things are near."""
    monkeypatch.setattr(
        DiagonalGaussianDistribution, "sample", lambda likely, generator=None: likely.mode()
    )
    flat = torch.from_numpy(np.array(lines())).permute(2, 0, 1)[None].float() / 255
    for kind, shown in (("edges", flat * 255 * 0.5 + 0.5), ("depth", 1 - 2 * flat)):
        [ours] = desk.paint(**ask("sd3", ref, "sd3-blur", kind=kind, weight=0.8))
        assert apart(ours, theirs(shelf, "sd3", "sd3-blur", shown)) <= 1


@pytest.mark.parametrize(
    "net",
    quick(
        ["flux-canny", "sd3-blur", "qwen-union", "hunyuan-pose", "sana-hed", "zimage-union-2.1"],
        "flux-canny",
        "zimage-union-2.1",
    ),
)
def test_it_steers_by_every_plan(
    desk: Desk, ref: str, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that come one after another are the same; a batch that is split may round another way.
    The prompt is longer than the negative one, by more than networks fill up."""
    asked = {**ask(NETS[net][0], ref, net), "prompt": "a red fox runs over the wide hill and away"}
    [whole] = desk.paint(**asked)
    assert desk.paint(**asked, weights="blocks") == [whole]
    monkeypatch.setattr("studio.costs.plan.TILES_PX", ())
    monkeypatch.setattr(desk.runner.learned, "rung", lambda *_: "evict split")
    [split] = desk.paint(**asked)
    assert apart(split, np.frombuffer(whole, np.uint8).astype(int)) <= 1
    assert desk.frames("picture")[0]["facts"]["plan"]


def test_what_it_borrows_of_the_denoiser_it_has_for_one_job(desk: Desk, ref: str) -> None:
    """diffusers' ControlNet for Z-Image computes with parts of the denoiser."""
    desk.paint(**ask("zimage", ref, "zimage-union-2.1"))
    catalog, controls = desk.runner.catalog, desk.runner.controls
    with (
        desk.runner.manager.use(catalog.get("zimage"), Role.TEXT) as lease,
        desk.runner.manager.use_control(controls.get("zimage-union-2.1"), lease) as net,
    ):
        found: Any = net
        assert found.t_embedder is None and found.x_pad_token is None
        assert not [name for name, _ in found.named_parameters() if not name.startswith("control_")]


@pytest.mark.parametrize("whole", [True, False])
def test_one_whose_refiner_was_never_trained_goes_through_its_layers_twice(
    whole: bool, desk: Desk, shelf: Path, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Z-Image's 2.0, as its makers publish it, and as diffusers keeps it without what it does not use."""
    state = load_file(shelf / "controlnet" / "zimage-union-2.1" / WEIGHTS)
    own = {key: tensor for key, tensor in state.items() if "noise_refiner" not in key}
    blank = "control_noise_refiner.0.before_proj.weight"
    file = shelf / "controlnet" / "zimage-union-2.0.safetensors"
    save_file({**state, blank: torch.zeros_like(state[blank])} if whole else own, file)
    [ours] = desk.paint(**ask("zimage", ref, file.stem, weight=0.8))
    assert desk.runner.controls.get(file.stem).parameters == sum(t.numel() for t in own.values())
    file.unlink()
    _, kind, config = NETS["zimage-union-2.1"]
    said = {**config, "add_control_noise_refiner": "control_layers"}
    monkeypatch.setitem(NETS, "twice", ("zimage", kind, said))
    save_control(kind, shelf / "controlnet" / "twice", shelf / "zimage", **said)
    save_file(own, shelf / "controlnet" / "twice" / WEIGHTS)
    monkeypatch.setattr(
        DiagonalGaussianDistribution, "sample", lambda likely, generator=None: likely.mode()
    )
    made = theirs(shelf, "zimage", "twice", lines())
    shutil.rmtree(shelf / "controlnet" / "twice")
    assert apart(ours, made) <= 1
    assert apart(desk.paint(**ask("zimage", ref, "zimage-union-2.1"))[0], made) > 4


def test_one_for_another_number_of_blocks_is_refused_before_a_job(desk: Desk, shelf: Path) -> None:
    """HunyuanDiT's speaks to as many blocks as it has."""
    place = shelf / "controlnet" / "hunyuan-deep-pose"
    save_control(
        "HunyuanDiT2DControlNetModel", place, shelf / "hunyuandit", transformer_num_layers=10
    )
    checkpoint = desk.runner.catalog.get("hunyuandit")
    fitting = {one.id for one in desk.runner.controls.fitting(checkpoint.steered)}
    found = desk.runner.controls.get(place.name)
    shutil.rmtree(place)
    assert fitting == {"hunyuan-pose"}
    with pytest.raises(InvalidRequest, match="is not made for 'hunyuandit'"):
        found.require_fits(checkpoint)


LARGE = {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432}
TEXTLESS = {
    "num_layers": 19,
    "num_attention_heads": 38,
    "joint_attention_dim": None,
    "pos_embed_max_size": None,
    "use_pos_embed": False,
    "force_zeros_for_pooled_projection": False,
}
HUNYUAN = {
    "in_channels": 4,
    "patch_size": 2,
    "sample_size": 128,
    "hidden_size": 1408,
    "mlp_ratio": 4.3637,
    "use_style_cond_and_image_meta_size": False,
}
PUBLISHED: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "FLUX.1 Union": (
        "FluxTransformer2DModel",
        {"guidance_embeds": True},
        FLUX,
        {"num_layers": 5, "num_single_layers": 10, "num_mode": 10, "guidance_embeds": True},
    ),
    "SD 3.5 Large Canny": ("SD3Transformer2DModel", LARGE, SD3, TEXTLESS),
    "Qwen-Image Union": ("QwenImageTransformer2DModel", {}, QWEN, {"num_layers": 5}),
    "HunyuanDiT 1.2 Pose": (
        "HunyuanDiT2DModel",
        {**HUNYUAN, "num_layers": 40},
        "HunyuanDiT2DControlNetModel",
        {**HUNYUAN, "transformer_num_layers": 40},
    ),
    "Sana HED": ("SanaTransformer2DModel", {}, "SanaControlNetModel", {"num_layers": 7}),
    "Z-Image Union 2.1 lite": (
        "ZImageTransformer2DModel",
        {},
        "ZImageControlNetModel",
        {
            "control_layers_places": [0, 10, 20],
            "control_refiner_layers_places": [0, 1],
            "control_in_dim": 33,
            "add_control_noise_refiner": "control_noise_refiner",
        },
    ),
}
"""Denoiser and ControlNet with what their configs have of their own, as large as they are published."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shapes_of_published_ones_tell_their_config(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # their numbers are not here: all of it was trained
    monkeypatch.setattr("studio.engine.controls.used", lambda path, shapes, steering: shapes)
    kind, denoiser, network, own = PUBLISHED[name]
    with init_empty_weights():
        steered: Any = getattr(diffusers, kind)(**denoiser)
        net: Any = getattr(diffusers, network)(**own)
    shapes = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
    keys = {f"transformer.{key}": tuple(t.shape) for key, t in steered.state_dict().items()}
    [steering] = [one for one in steerings() if one.keys(shapes)]
    encoder, made_for = steering.encoder(keys), steering.made_for(shapes)
    assert encoder and made_for and encoder.hears(made_for)
    config = control_config(steering, Path("a.safetensors"), shapes, dict(steered.config))
    assert {entry: config[entry] for entry in own} == own
    with init_empty_weights():
        made = type(net).from_config(config)
    assert {key: tuple(t.shape) for key, t in made.state_dict().items()} == shapes
