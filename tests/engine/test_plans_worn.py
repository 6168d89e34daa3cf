"""What is added to a checkpoint acts on it however its weights are kept: the same bytes by every plan,
but for 8 bits."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from studio.engine.plan import Descent
from tests.engine.adapters import ATTENTION, TEXT, save_kohya
from tests.engine.desk import Desk
from tests.engine.original import vae
from tests.engine.test_ladder import facts, held, weights_of
from tests.engine.test_loras import by_row, kron, scaled, scaled_inputs
from tests.engine.tiny import (
    save_tiny_control,
    save_tiny_image_prompt,
    save_tiny_looker,
    save_tiny_sdxl,
)
from tests.engine.tiny_families import TINY

PLAIN = "evict tiles-32 split"
KEPT = ("", "packed", "blocks", "fp8")

WORN: dict[str, dict[str, Any]] = {
    "lora": {"loras": [{"name": "ink", "weight": 0.8, "text_weight": 0.8}]},
    "dora": {"loras": [{"name": "rows", "weight": 0.3, "text_weight": 0.0}]},
    "lycoris": {
        "loras": [
            {"name": name, "weight": 0.4, "text_weight": 0.4} for name in ("kron", "ia3", "inputs")
        ]
    },
    "embedding and vae": {"prompt": "a pair", "embeddings": ["pair"], "vae": "other"},
    "refiner": {"refiner": "last", "refiner_after": 0.5, "steps": 4},
    "image prompt": {"references": [{"method": "adapter", "adapter": "look", "takes": "all"}]},
    "shared attention": {"references": [{"method": "shared"}]},
    "control": {"units": [{"controlnet": "pose"}]},
}


def quick(*names: str) -> list[Any]:
    """All that can be worn, of which the others are only tried where there is time."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in WORN]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint `xl` and its refiner `last`, both in half precision, and whatever they wear."""
    folder = tmp_path_factory.mktemp("plans")
    save_tiny_sdxl(folder / "xl", seed=5)
    TINY["sdxl_refiner"](folder / "last")
    xl: Any = diffusers.StableDiffusionXLPipeline.from_pretrained(folder / "xl")
    loras = folder / "loras"
    convolved = ("conv1", "time_emb_proj", "conv_shortcut", *ATTENTION)
    texts = {"lora_te1": (xl.text_encoder, TEXT), "lora_te2": (xl.text_encoder_2, TEXT)}
    unet = {"lora_unet": (xl.unet, convolved)}
    save_kohya(loras / "ink.safetensors", {**unet, **texts})
    save_kohya(loras / "rows.safetensors", unet, pieces=by_row)
    save_kohya(loras / "kron.safetensors", {**unet, **texts}, pieces=kron)
    save_kohya(loras / "ia3.safetensors", unet, pieces=scaled)
    save_kohya(loras / "inputs.safetensors", unet, pieces=scaled_inputs)
    save_tiny_image_prompt(folder / "ipadapter" / "look.safetensors", folder / "xl")
    save_tiny_looker(folder / "ipadapter" / "looker")
    save_tiny_control(folder / "controlnet" / "pose", folder / "xl")
    dice = torch.Generator().manual_seed(3)
    (folder / "embeddings").mkdir()
    pair = {f"clip_{n}": torch.randn(2, w, generator=dice) for n, w in (("l", 32), ("g", 64))}
    save_file(pair, folder / "embeddings" / "pair.safetensors")
    for weight in xl.vae.decoder.parameters():
        weight.data *= 1.1
    (folder / "vae").mkdir()
    save_file(vae(xl.vae), folder / "vae" / "other.safetensors")
    for name in ("xl", "last"):
        for file in (folder / name).rglob("*.safetensors"):
            save_file({key: t.half().contiguous() for key, t in load_file(file).items()}, file)
    return folder


@pytest.fixture(scope="module")
def desk(make_desk: Callable[..., Desk], home: Path) -> Desk:
    return make_desk(home)


@pytest.fixture
def rung(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has jobs begin with the plan of that name."""
    monkeypatch.setattr("studio.costs.plan.TILES_PX", (48, 32))

    def begin(name: str) -> None:
        monkeypatch.setattr(desk.runner.learned, "rung", lambda *_: name)

    return begin


def asked(desk: Desk, worn: str, folder: Path) -> dict[str, Any]:
    """The request's fields; pictures that lend their look are put on the desk."""
    fields = {"checkpoint": "xl", **WORN[worn]}
    if "references" in fields:
        shown = desk.put(Image.effect_noise((64, 64), 80).convert("RGB"), folder)
        fields["references"] = [{"image": shown, **one} for one in fields["references"]]
    if "units" in fields:
        shown = desk.put(Image.new("RGB", (64, 64), "white"), folder)
        fields["units"] = [{"map": shown, **one} for one in fields["units"]]
    return fields


@pytest.mark.parametrize("worn", quick("lora"))
def test_what_is_worn_acts_by_every_plan(
    desk: Desk, rung: Callable[[str], None], tmp_path: Path, worn: str
) -> None:
    fields = asked(desk, worn, tmp_path)
    rung("")
    bare, weights = desk.paint(checkpoint="xl"), weights_of(desk, "xl")
    rung(PLAIN)
    plain = desk.paint(**fields)
    assert plain[0] != bare[0]
    for kept in KEPT:
        rung(f"{PLAIN} drop-text {kept}".strip())
        made = desk.paint(**fields)
        told = facts(desk)[0]
        assert "Text encoders dropped once the prompt is read." in told
        if kept != "fp8":
            assert made == plain, kept
            continue
        off = np.frombuffer(made[0], np.uint8).astype(int) - np.frombuffer(plain[0], np.uint8)
        assert made != plain and np.abs(off).mean() < 40
        assert told[-1] == "Weights of the denoiser kept in 8 bits."
    rung("")
    assert desk.paint(checkpoint="xl") == bare
    assert weights_of(desk, "xl") == weights and not desk.leases


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["blocks", "packed"])
def test_a_refiner_is_kept_as_the_plan_says_and_its_text_encoder_leaves_too(
    desk: Desk, rung: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    seen: list[dict[str, int]] = []
    real = diffusers.UNet2DConditionModel.forward

    def looking(*args: Any, **options: Any) -> Any:
        rows = desk.runner.manager.ledger().holdings
        seen.append({row.id: row.size_bytes for row in rows if row.part == "unet"})
        assert not any(row.part.startswith("text") for row in rows)
        return real(*args, **options)

    desk.runner.unload()
    rung("")
    desk.paint(**asked(desk, "refiner", Path()))
    whole = held(desk)["unet"]
    rung(f"{PLAIN} drop-text {kept}")
    monkeypatch.setattr(diffusers.UNet2DConditionModel, "forward", looking)
    desk.paint(**asked(desk, "refiner", Path()))
    assert len(seen[-1]) == 2 and all(size < 0.7 * whole for size in seen[-1].values())
    monkeypatch.undo()
    hires = {"factor": 2.0, "strength": 0.5, "upscaler": "lanczos", "steps": 4}
    monkeypatch.setattr(desk.runner.learned, "rung", lambda *_: f"{PLAIN} drop-text {kept}")
    assert desk.paint(**asked(desk, "refiner", Path()), hires=hires)


@pytest.mark.parametrize("kept", ["blocks", pytest.param("packed", marks=pytest.mark.slow)])
def test_a_failure_leaves_everything_as_it_was(
    desk: Desk,
    rung: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    kept: str,
) -> None:
    rung("")
    fields = asked(desk, "lora", Path())
    bare, worn = desk.paint(checkpoint="xl"), desk.paint(**fields)
    weights = weights_of(desk, "xl")
    real, calls = diffusers.UNet2DConditionModel.forward, list[int]()

    @wraps(real)
    def failing(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("in the middle")
        return real(*args, **options)

    monkeypatch.setattr(diffusers.UNet2DConditionModel, "forward", failing)
    rung(f"{PLAIN} drop-text {kept}")
    assert desk.run(**fields)["op"] == "failed" and len(calls) == 2
    assert not desk.leases
    rung("")
    assert desk.paint(checkpoint="xl") == bare and desk.paint(**fields) == worn
    assert weights_of(desk, "xl") == weights


@pytest.mark.parametrize("worn", quick("image prompt"))
def test_memory_that_runs_out_takes_a_job_down_to_the_last_plan(
    desk: Desk,
    rung: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    worn: str,
) -> None:
    rung(PLAIN)
    fields = asked(desk, worn, tmp_path)
    split = desk.paint(**fields)
    real, ends = diffusers.UNet2DConditionModel.forward, iter(range(100))

    @wraps(real)
    def full(*args: Any, **options: Any) -> Any:
        if next(ends) < 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **options)

    monkeypatch.setattr(diffusers.UNet2DConditionModel, "forward", full)
    assert desk.paint(**fields) == split
    assert facts(desk)[0][-1] == "Blocks of the denoiser brought in one after another."
    desk.runner.unload()


@pytest.mark.parametrize("worn", quick("lora"))
def test_what_is_predicted_is_what_is_in_memory(
    desk: Desk,
    rung: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    worn: str,
) -> None:
    seen: list[tuple[int, int]] = []
    real = diffusers.UNet2DConditionModel.forward

    @wraps(real)
    def looking(*args: Any, **options: Any) -> Any:
        held = desk.runner.manager.ledger().holdings
        needed = begun[-1]._needed(begun[-1].plan)
        there = sum(row.size_bytes for row in held if row.leases)
        seen.append((needed.weights + needed.controls + needed.added, there))
        return real(*args, **options)

    begun: list[Descent] = []
    start = Descent.begin
    monkeypatch.setattr(
        Descent, "begin", lambda self, *args: (begun.append(self), start(self, *args))[1]
    )
    monkeypatch.setattr(diffusers.UNet2DConditionModel, "forward", looking)
    fields = asked(desk, worn, tmp_path)
    for name in ("", *(f"{PLAIN} drop-text {kept}" for kept in ("packed", "fp8", "blocks"))):
        rung(name)
        desk.paint(**fields)
        predicted, there = seen[-1]
        assert predicted == pytest.approx(there, rel=0.02), name
