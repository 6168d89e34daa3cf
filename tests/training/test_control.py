"""ControlNets on a toy scale: maps, a step of training, the exported folder, the measures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("cv2")

from safetensors.torch import load_file  # noqa: E402

from studio.checkpoints.controls import Controls  # noqa: E402
from studio.paths import BUILTIN_CHECKPOINT  # noqa: E402
from studio.preprocessors._people import ABSENT, Person, Point  # noqa: E402
from studio.training import (  # noqa: E402
    adherence,
    compose,
    control,
    maps,
    resume,
    shards,
    surveyor,
    text,
    unet,
)
from tests.training import toys  # noqa: E402


def tiny_unet() -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=16, layers_per_block=1, block_out_channels=(32, 64), cross_attention_dim=text.WIDTH,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=4,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    ).requires_grad_(False)  # fmt: skip


@pytest.mark.parametrize("kind", maps.KINDS)
def test_maps_follow_the_seed_and_vary(kind: str) -> None:
    made = compose.draw(1, 1, toys.library(), people=1.0)
    truth = (made.pixels[0], made.depth[0], made.people[0])
    one, same, other = (
        [maps.VARIED[kind](rng, *truth) for _ in range(4)]
        for rng in map(np.random.default_rng, (0, 0, 1))
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    for drawn in (*one, maps.exact(kind, *truth)):
        assert drawn.shape == (128, 128, 3)
        assert drawn.dtype == np.uint8
        assert drawn.any()


def test_a_step_changes_the_controlnet_and_nothing_else() -> None:
    net = tiny_unet()
    steerer = control.create(net).train()
    before = [{k: v.clone() for k, v in part.state_dict().items()} for part in (net, steerer)]
    optimizer = control.optimizer_of(steerer)
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    batch = (torch.randn(2, 4, 16, 16), torch.randn(2, 77, text.WIDTH), torch.rand(2, 3, 128, 128))
    for _ in range(2):
        control.learn(net, steerer, optimizer, batch, unet.signal())
    assert all(torch.equal(before[0][k], v) for k, v in net.state_dict().items())
    changed = [k for k, v in steerer.state_dict().items() if not torch.equal(before[1][k], v)]
    assert any(k.startswith("controlnet_down_blocks") for k in changed)
    assert any(k.startswith("down_blocks") for k in changed)
    assert all(p.grad is None for p in net.parameters())


def test_a_fresh_controlnet_changes_nothing() -> None:
    net = tiny_unet()
    steerer = control.create(net).eval()
    z, context, steps = (
        torch.randn(1, 4, 16, 16),
        torch.randn(1, 77, text.WIDTH),
        torch.tensor([500]),
    )
    plain = net(z, steps, context, return_dict=False)[0]
    steered = control.Steered(net, steerer, torch.rand(1, 3, 128, 128))
    torch.testing.assert_close(steered(z, steps, context, return_dict=False)[0], plain)


def test_amplified_it_says_the_same_louder() -> None:
    steerer = control.create(tiny_unet()).eval()
    for layer in (*steerer.controlnet_down_blocks, steerer.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight)
    asked = (torch.randn(1, 4, 16, 16), torch.tensor([500]), torch.randn(1, 77, text.WIDTH))

    def said() -> list[Any]:
        hint = torch.ones(1, 3, 128, 128)
        down, middle = steerer(*asked, controlnet_cond=hint, return_dict=False)
        return [*down, middle]

    with torch.no_grad():
        before = said()
        control.amplify(steerer, 1.5)
        for one, other in zip(before, said(), strict=True):
            torch.testing.assert_close(other, 1.5 * one, rtol=1e-3, atol=1e-4)


def test_batches_for_poses_are_of_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "load", lambda _folder: toys.library())
    monkeypatch.setattr(shards, "SHARD", 8)
    monkeypatch.setattr(control, "BATCH", 2)
    shards.build(tmp_path, 1, truth=True, people=0.6)
    (tmp_path / "latents").mkdir()
    np.save(tmp_path / "latents" / "0000.z.npy", np.ones((8, 4, 16, 16), np.float16))
    np.save(tmp_path / "latents" / "0000.c.npy", np.ones((8, 77, 4), np.float16))
    np.save(tmp_path / "empty.npy", np.zeros((77, 4), np.float16))
    (tmp_path / "latents.json").write_text(json.dumps({"deviation": 0.5}))
    stream = control.of_kind(tmp_path, "pose", 0)
    for _ in range(3):
        z, context, hint = next(stream)
        assert z.shape == (2, 4, 16, 16)
        assert context.shape == (2, 77, 4)
        assert z.mean() == 2
        assert (hint.flatten(1).amax(1) > 0).all(), "each map shows somebody"


def test_the_export_works_with_plain_diffusers(tmp_path: Path) -> None:
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, UNet2DConditionModel
    from PIL import Image

    net = UNet2DConditionModel.from_pretrained(BUILTIN_CHECKPOINT / "unet", local_files_only=True)
    control.write(control.create(net), tmp_path / "small")
    again = ControlNetModel.from_pretrained(tmp_path / "small", local_files_only=True)
    pipe = StableDiffusionControlNetPipeline.from_pretrained(
        BUILTIN_CHECKPOINT, controlnet=again, local_files_only=True
    )
    hint = Image.fromarray(np.full((128, 128, 3), 90, np.uint8))
    picture = pipe("a red fox", image=hint, num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (128, 128, 3)
    [listed] = Controls((tmp_path,)).all()
    assert (listed.id, listed.kinds, listed.label) == ("small", maps.KINDS, control.LABEL)
    assert listed.size_bytes < 17e6


def test_a_shipped_controlnet_is_taken_up_again(tmp_path: Path) -> None:
    resume.resume(tmp_path, BUILTIN_CHECKPOINT)
    control.write(control.trained(tmp_path, unet.trained(tmp_path)[0])[0], tmp_path / "again")
    name = "diffusion_pytorch_model.safetensors"
    shipped, again = (
        load_file(folder / name)
        for folder in (BUILTIN_CHECKPOINT.with_name("builtin-control"), tmp_path / "again")
    )
    assert shipped.keys() == again.keys()
    for key, tensor in shipped.items():
        torch.testing.assert_close(again[key], tensor, rtol=1e-3, atol=1e-6)


def test_edges_are_measured_with_tolerance() -> None:
    wanted = np.zeros((32, 32), np.uint8)
    wanted[:, 10] = 255
    near, far = np.roll(wanted, 1, 1), np.roll(wanted, 6, 1)
    assert adherence.edge_f1(wanted, wanted, 0) == 1
    assert adherence.edge_f1(near, wanted, 1) == 1
    assert adherence.edge_f1(near, wanted, 0) == 0
    assert adherence.edge_f1(far, wanted, 1) == 0
    assert adherence.edge_f1(np.maximum(wanted, far), wanted, 1) == pytest.approx(2 / 3)


def test_depth_is_measured_by_correlation() -> None:
    ramp = np.tile(np.arange(32, dtype=np.uint8), (32, 1))
    assert adherence.correlation(ramp * 2 + 7, ramp) == pytest.approx(1)
    assert adherence.correlation(ramp[:, ::-1], ramp) == pytest.approx(-1)
    assert adherence.correlation(np.zeros_like(ramp), ramp) == 0


def test_joints_are_measured_from_the_nearest_of_their_kind() -> None:
    wanted = [Person((Point(20.0, 20.0, 1.0),) * 17 + (ABSENT,))]
    here, beside, nowhere = ((20.0, 20.0),), ((20.0 + 12.8, 20.0),), ()
    assert adherence.joint_distance([here] * 18, wanted) == 0
    assert adherence.joint_distance([beside] * 18, wanted) == pytest.approx(0.1)
    assert adherence.joint_distance([beside + here] * 18, wanted) == 0
    assert adherence.joint_distance([nowhere] * 18, wanted) == adherence.MISSED


def test_a_gain_of_two_halves_what_is_amiss() -> None:
    def gain(kind: str, controlled: float, free: float) -> float:
        return adherence.Adherence(
            kind=kind, controlled=controlled, free=free, kept=1, pictures=1
        ).gain

    assert gain("edges", 0.6, 0.3) == pytest.approx(2)
    assert gain("edges to the pixel", 0.6, 0.3) == pytest.approx(2)
    assert gain("depth", 0.9, 0.8) == pytest.approx(2)
    assert gain("pose", 0.05, 0.1) == pytest.approx(2)


def test_the_surveyor_is_told_the_truth_and_finds_it() -> None:
    """Its answers have the shape of its lessons, peaks lie where joints are, and training lowers
    the loss."""
    made = compose.draw(1, 8, toys.library(), people=1.0)
    heat = surveyor.heat(made.people)
    for plane, persons in zip(heat, made.people, strict=True):
        found = [surveyor.peaks(kind) for kind in plane]
        assert adherence.joint_distance(found, persons) < 0.03
    known = {
        "pixels": torch.from_numpy(made.pixels),
        "near": surveyor.nearness(made.depth),
        "heat": heat,
    }
    torch.manual_seed(0)
    net = surveyor.Net().train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    stream, losses = surveyor.batches(known, 0), []
    for _ in range(12):
        losses.append(surveyor.loss_of(net, *next(stream)))
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.7 * losses[0]
    [first, *_] = net.survey(made.pixels)
    assert first.near.shape == (surveyor.CELLS, surveyor.CELLS)
    assert len(first.joints) == 18
