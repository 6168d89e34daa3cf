"""Pictures are diffusers' own, to the bit, and depend on nothing but their request."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from studio import samplers
from studio.engine.schedulers import build
from studio.samplers import Sampler, find
from tests.engine.desk import Desk
from tests.engine.tiny import save_tiny_sd

ROWS = [row for row in samplers.ROWS if row.process == "diffusion"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""Two hundred thousand of them, from loops of diffusers over numpy."""


PIPELINES = {
    "sd": "StableDiffusionPipeline",
    "v": "StableDiffusionPipeline",
    "xl": "StableDiffusionXLPipeline",
}


@pytest.fixture(scope="module")
def desk(make_desk: Callable[..., Desk], shelf: Path) -> Desk:
    """One for all: nothing that was painted before changes a picture."""
    return make_desk(shelf)


def bare(folder: Path, kind: str, sampler: str, **call: object) -> bytes:
    """The plain diffusers call that a picture should be equal to."""
    import diffusers

    pipeline = getattr(diffusers, kind).from_pretrained(
        folder, safety_checker=None, requires_safety_checker=False, local_files_only=True
    ) if kind == "StableDiffusionPipeline" else getattr(diffusers, kind).from_pretrained(
        folder, add_watermarker=False, local_files_only=True
    )  # fmt: skip
    row = find(sampler)
    cls = getattr(diffusers, row.scheduler)
    pipeline.scheduler = cls.from_config(pipeline.scheduler.config, **row.options)
    pipeline.set_progress_bar_config(disable=True)
    seed = call.pop("seed")
    [image] = pipeline(generator=torch.Generator("cpu").manual_seed(seed), **call).images
    return image.convert("RGB").tobytes()


@pytest.mark.parametrize("name", PIPELINES)
def test_a_picture_is_bit_equal_to_the_bare_call(desk: Desk, shelf: Path, name: str) -> None:
    [ours] = desk.paint(
        checkpoint=name, prompt="a red fox", negative_prompt="rain", sampler="dpmpp_2m_karras"
    )
    theirs = bare(
        shelf / name,
        PIPELINES[name],
        "dpmpp_2m_karras",
        prompt="a red fox",
        negative_prompt="rain",
        width=64,
        height=64,
        num_inference_steps=3,
        guidance_scale=5.0,
        seed=7,
    )
    assert ours == theirs
    assert len(set(ours)) > 10  # not a flat grey, which would be equal for nothing


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("name", ["sd", pytest.param("v", marks=pytest.mark.slow)])
def test_every_sampler_paints(desk: Desk, row: Sampler, name: str) -> None:
    """From one step on, with either prediction; what it cannot do is said, not painted."""
    counts = (1, 4) if name == "sd" else (4,)
    pictures = [desk.paint(checkpoint=name, sampler=row.id, steps=steps)[0] for steps in counts]
    assert all(len(pixels) == 64 * 64 * 3 for pixels in pictures)
    assert len(set(pictures)) == len(pictures)
    [frame] = desk.frames("picture")
    assert frame["facts"]["scheduler"] == row.scheduler
    assert desk.frames("progress")[-1]["step"] == 4


CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "prediction_type": "v_prediction",
}


def sigmas(row: Sampler, steps: int = 10) -> np.ndarray:
    scheduler = build(row, CONFIG)
    scheduler.set_timesteps(steps)
    return np.asarray(scheduler.sigmas, dtype=np.float64)


def all_sigmas() -> np.ndarray:
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.cumprod(1 - betas)
    return ((1 - kept) / kept) ** 0.5


KARRAS = [row for row in ROWS if row.a1111[1] == "Karras" and not row.scheduler.startswith("KDPM2")]
EVEN = [row for row in ROWS if row.id in {"euler", "euler_a", "lms", "dpmpp_2m", "dpmpp_2m_sde"}]


@pytest.mark.parametrize("row", KARRAS, ids=lambda row: row.id)
def test_karras_rows_follow_karras(row: Sampler) -> None:
    """Equation 5 of Karras et al. 2022 with rho 7, written out here."""
    noise, ramp = all_sigmas(), np.linspace(0, 1, 10)
    low, high = noise[0] ** (1 / 7), noise[-1] ** (1 / 7)
    assert np.allclose(sigmas(row)[:-1], (high + ramp * (low - high)) ** 7, rtol=2e-3)
    assert sigmas(row)[-1] == 0


@pytest.mark.parametrize("row", EVEN, ids=lambda row: row.id)
def test_plain_rows_step_evenly_through_time(row: Sampler) -> None:
    """As k-diffusion's `get_sigmas`: from the last timestep to the first, or one step above it."""
    noise, found = all_sigmas(), sigmas(row)[:-1]
    ends = (999, 0) if row.scheduler.startswith(("Euler", "LMS")) else (999, 99.9)
    even = np.interp(np.linspace(*ends, 10), np.arange(1000), noise)
    assert np.allclose(found, even, rtol=2e-2)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_scheduler_keeps_what_the_checkpoint_says(row: Sampler) -> None:
    import diffusers

    made = build(row, CONFIG)
    assert type(made) is getattr(diffusers, row.scheduler)
    assert made.config.prediction_type == "v_prediction" and made.config.beta_end == 0.012
    for name, value in row.options.items():
        assert getattr(made.config, name, value) == value
    straight = getattr(diffusers, row.scheduler).from_config(CONFIG, **row.options)
    made.set_timesteps(6)
    straight.set_timesteps(6)
    assert torch.equal(torch.as_tensor(made.timesteps), torch.as_tensor(straight.timesteps))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_no_sampler_cuts_latents_off(row: Sampler) -> None:
    """diffusers' DDIM does by default, which turns pictures grey where a checkpoint's config was
    written for another scheduler."""
    made = build(row, CONFIG)
    assert not getattr(made.config, "clip_sample", False)
    assert not getattr(made.config, "thresholding", False)


def test_a_checkpoint_trained_to_no_signal_starts_there() -> None:
    made = build(find("euler"), {**CONFIG, "timestep_spacing": "trailing"})
    assert made.config.timestep_spacing == "trailing"


def test_too_many_steps_for_a_sampler_is_said(desk: Desk) -> None:
    ending = desk.run(sampler="lcm", steps=60)
    assert (ending["op"], ending["message"]) == ("failed", "LCM cannot paint in 60 steps.")


@pytest.mark.parametrize("sampler", ["euler_a", "dpmpp_2m_sde", "dpmpp_sde", "lcm", "plms"])
def test_picture_i_of_a_job_is_its_seed_alone(desk: Desk, sampler: str) -> None:
    together = desk.paint(sampler=sampler, seed=20, count=3)
    assert [frame["seed"] for frame in desk.frames("picture")] == [20, 21, 22]
    assert [desk.paint(sampler=sampler, seed=20 + i)[0] for i in range(3)] == together
    assert len(set(together)) == 3


def test_nothing_before_a_picture_changes_it(make_desk: Callable[..., Desk], shelf: Path) -> None:
    desk = make_desk(shelf)
    [first] = desk.paint(sampler="dpmpp_2m_sde", seed=5)
    torch.manual_seed(99)
    desk.paint(checkpoint="xl", sampler="heun", prompt="(other:1.4) words", width=96)
    desk.paint(sampler="lms", guidance=1.0, count=2, clip_skip=2)
    desk.control.watched = True
    assert desk.paint(sampler="dpmpp_2m_sde", seed=5) == [first]
    assert desk.frames("preview")


def test_sizes_guidance_and_prompts_matter(desk: Desk) -> None:
    variants = [
        desk.paint(),
        desk.paint(prompt="a (fox:1.5)"),
        desk.paint(negative_prompt="snow"),
        desk.paint(guidance=1.0),
        desk.paint(guidance=9.0),
        desk.paint(clip_skip=2),
        desk.paint(checkpoint="sd2"),
        desk.paint(seed=8),
    ]
    assert len({picture for [picture] in variants}) == len(variants)
    [wide] = desk.paint(width=104, height=72)
    [frame] = desk.frames("picture")
    assert (frame["width"], frame["height"], len(wide)) == (104, 72, 104 * 72 * 3)


def test_guidance_of_one_ignores_the_negative_prompt(desk: Desk) -> None:
    assert desk.paint(guidance=1.0) == desk.paint(guidance=1.0, negative_prompt="anything")


def test_the_largest_seed_works(desk: Desk) -> None:
    desk.paint(seed=2**63 - 1, count=2)
    assert [frame["seed"] for frame in desk.frames("picture")] == [2**63 - 1, 2**63]


def test_prompts_are_encoded_once_a_job(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.engine import painter

    calls: list[str] = []
    encode = painter.encode
    monkeypatch.setattr(
        painter, "encode", lambda *a, **k: (calls.append(k["prompt"]), encode(*a, **k))[1]
    )
    desk.paint(count=4)
    assert calls == ["a fox"]


def test_facts_name_what_made_the_picture(desk: Desk, shelf: Path) -> None:
    import hashlib

    desk.paint(prompt="a fox", negative_prompt="rain rain")
    facts = desk.frames("picture")[0]["facts"]
    weights = shelf / "sd" / "unet" / "diffusion_pytorch_model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert facts["checkpoint"] == {
        "id": "sd",
        "label": "sd",
        "family": "sd15",
        "sha256": digest,
        "short": digest[:10],
    }
    assert (facts["device"], facts["dtype"], facts["rng"]) == ("cpu", "float32", "CPU")
    assert facts["tokens"] == {"prompt": 4, "negative": 8, "chunks": 1}
    assert facts["versions"]["torch"] == torch.__version__ and facts["seconds"] > 0


def test_numbers_that_run_over_make_no_picture(
    tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    """F09: NaN in the weights, or in the autoencoder alone."""
    from safetensors.torch import load_file, save_file

    save_tiny_sd(tmp_path / "sd")
    for part in ("vae", "unet"):
        weights = tmp_path / "sd" / part / "diffusion_pytorch_model.safetensors"
        tensors = load_file(weights)
        key = "decoder.conv_out.bias" if part == "vae" else "conv_out.bias"
        healthy = tensors[key].clone()
        tensors[key] = torch.full_like(healthy, float("nan"))
        save_file(tensors, weights)
        desk = make_desk(tmp_path)
        ending = desk.run()
        assert ending["op"] == "failed" and "not finite" in ending["message"]
        assert not desk.frames("picture")
        tensors[key] = healthy
        save_file(tensors, weights)
    assert make_desk(tmp_path).run()["op"] == "done"
