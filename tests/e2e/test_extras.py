"""LoRAs in the form: chosen, weighed, painted with, and there again."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import SLOW, kept, newest, painted
from tests.serving import Server


@pytest.fixture(scope="module")
def loras(server: Server, checkpoints: Path) -> Path:
    """`ink` and `wash` in the studio's folder."""
    import diffusers

    from tests.engine.adapters import ATTENTION, save_kohya

    unet = diffusers.UNet2DConditionModel.from_pretrained(checkpoints / "tiny" / "unet")
    folder = server.data_dir / "loras"
    for seed, name in enumerate(("ink", "wash")):
        save_kohya(folder / f"{name}.safetensors", {"lora_unet": (unet, ATTENTION)}, seed=seed)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("loras")
def test_a_lora_is_chosen_weighed_and_painted_with(page: Page, server: Server) -> None:
    fold = page.locator("#txt2img-extras-fold > button")
    fold.click()
    page.get_by_label("Add a LoRA").first.select_option("ink")
    row = page.locator("#txt2img-extras-extras .po-lora")
    expect(row).to_have_count(1)
    row.get_by_label("Weight").fill("0.5")
    row.get_by_label("Weight").dispatch_event("change")
    expect(fold).to_contain_text("Extras · 1")
    painted(page, "a teapot <lora:wash:0.25>")
    job = httpx.get(f"{server.url}/api/jobs/{newest(page)}").json()
    assert [(one["name"], one["weight"]) for one in job["request"]["loras"]] == [
        ("ink", 0.5),
        ("wash", 0.25),
    ]
    kept(page, "ink")
    page.reload()
    expect(fold).to_contain_text("Extras · 1", timeout=SLOW)
