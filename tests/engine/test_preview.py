"""A preview shows the picture that is coming, not the noise that is there."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from studio import samplers
from studio.engine import preview
from studio.engine.schedulers import build
from studio.samplers import Sampler, find

ROWS = [row for row in samplers.ROWS if row.process == "diffusion"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""Two hundred thousand of them, from loops of diffusers over numpy."""


CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_estimate_finds_the_picture_in_the_noise(row: Sampler, prediction: str) -> None:
    """A network that knows the answer: at every step the estimate must be that answer."""
    scheduler = build(row, {**CONFIG, "prediction_type": prediction})
    scheduler.set_timesteps(6)
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(1, 4, 8, 8, generator=generator)
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    x0 = preview.X0(scheduler)
    assert x0.estimate() is None
    options: dict[str, Any] = {}
    if "generator" in __import__("inspect").signature(scheduler.step).parameters:
        options["generator"] = generator
    for timestep in scheduler.timesteps[:3]:
        kept = scheduler.alphas_cumprod[round(float(timestep))]
        alpha, sigma = kept**0.5, (1 - kept) ** 0.5
        variance_one = float(scheduler.init_noise_sigma) == 1.0
        sample = alpha * picture + sigma * noise
        sample = sample if variance_one else sample / alpha
        output = noise if prediction == "epsilon" else alpha * noise - sigma * picture
        scheduler.scale_model_input(sample, timestep)
        scheduler.step(output, timestep, sample, **options, return_dict=False)
        found = x0.estimate()
        assert found is not None
        assert torch.allclose(found, picture, atol=0.02), (found - picture).abs().max()


def test_following_a_scheduler_changes_nothing() -> None:
    plain, followed = build(find("euler"), CONFIG), build(find("euler"), CONFIG)
    for scheduler in (plain, followed):
        scheduler.set_timesteps(3)
    preview.X0(followed)
    sample, output = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    steps = [s.step(output, s.timesteps[0], sample).prev_sample for s in (plain, followed)]
    assert torch.equal(*steps)
    assert type(followed).step is type(plain).step


def test_a_large_autoencoder_is_read_as_colours(shelf: Path) -> None:
    """The linear map must be closer to the real decoding than a flat picture is."""
    import diffusers

    vae = diffusers.AutoencoderKL.from_pretrained(shelf / "sd" / "vae")
    scratch: dict[str, Any] = {}
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        image = preview.to_rgb(latents, vae, scratch)
        uniform = torch.full((1, 4, 4, 4), 0.4)
        real = vae.decode(uniform, return_dict=False)[0][..., 8:-8, 8:-8].mean((0, 2, 3))
    matrix, base = scratch["colours"]
    assert image.size == (64, 64) and matrix.shape == (4, 3)
    guess = uniform[0, :, 0, 0] @ matrix + base
    assert (guess - real.clamp(-1, 1)).abs().mean() < real.std() + 0.2


@pytest.mark.parametrize("name", ["sd", "v"])
def test_a_preview_is_a_small_jpeg(shelf: Path, name: str) -> None:
    import diffusers

    kind = diffusers.AutoencoderTiny if name == "v" else diffusers.AutoencoderKL
    vae = kind.from_pretrained(shelf / name / "vae")
    with torch.inference_mode():
        image = preview.to_rgb(torch.randn(1, 4, 128, 64), vae, {})
    shown = Image.open(io.BytesIO(preview.jpeg(image)))
    assert shown.format == "JPEG" and shown.size == (256, 512)


def test_previews_keep_their_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(preview.time, "monotonic", lambda: now)
    pace = preview.Pace()
    assert pace.due()
    pace.took(0.001)
    now = 100.2
    assert not pace.due()
    now = 100.26
    assert pace.due()
    pace.took(0.5)
    now = 124.0
    assert not pace.due()
    now = 125.3
    assert pace.due()
