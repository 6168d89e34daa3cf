"""Enlarging in the browser: from an upload, from the gallery, and as a second pass."""

from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from tests.e2e.steps import SLOW, done, gallery, newest, painted

pytestmark = pytest.mark.browser


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    image = Image.new("RGB", (48, 32), "navy")
    ImageDraw.Draw(image).ellipse((12, 4, 36, 28), fill="gold")
    image.save(tmp_path / "drawing.png")
    return tmp_path / "drawing.png"


def enlarged(page: Page) -> str:
    """Presses Generate and waits for the picture of the tab Upscale; its id."""
    before = newest(page, "upscale")
    page.click("#upscale-generate")
    page.wait_for_function(
        "before => document.querySelector('#upscale-panel').dataset.job !== before",
        arg=before,
    )
    expect(page.locator("#upscale-panel[data-state=finished]")).to_be_visible(timeout=SLOW)
    page.wait_for_selector("#upscale-panel .po-tile[data-state=done] img[src]", state="attached")
    return page.evaluate(
        "fetch('/api/images?limit=1').then(r => r.json()).then(p => p.images[0].id)"
    )


def record(page: Page, image_id: str) -> dict:
    return page.evaluate("id => fetch('/api/images/' + id).then(r => r.json())", image_id)


def test_an_upload_is_enlarged_and_compared(page: Page, drawing: Path) -> None:
    page.get_by_role("tab", name="Upscale").click()
    page.set_input_files("#upscale-image-slot input[type=file] >> nth=0", str(drawing))
    expect(page.locator("#upscale-pixels")).to_contain_text("96 × 64 px")
    page.fill("#upscale-scale input[type=number]", "4")
    page.keyboard.press("Tab")
    expect(page.locator("#upscale-pixels")).to_contain_text("192 × 128 px")
    expect(page.locator("#upscale-upscaler-words")).to_contain_text("clean edges")
    made = record(page, enlarged(page))
    assert (made["task"], made["width"], made["height"]) == ("upscale", 192, 128)
    assert made["facts"]["upscaler"]["id"] == "real-esrgan-quick"
    expect(page.locator("#upscale-panel").get_by_text("Before", exact=True)).to_be_visible()
    words = page.locator("#upscale-panel")
    expect(words).to_contain_text("1 picture")
    expect(words).not_to_contain_text("null")
    page.get_by_role("button", name="Open: Upscale").first.click()
    facts = page.get_by_role("dialog", name="Picture").locator(".po-facts dl")
    expect(facts).to_contain_text("Upscaler")
    expect(facts).not_to_contain_text("Strength")


@pytest.mark.slow
def test_a_picture_of_the_gallery_keeps_its_words(page: Page) -> None:
    painted(page, "a lighthouse for enlarging")
    gallery(page).first.locator("button").first.click()
    dialog = page.locator("dialog.po-viewer")
    dialog.get_by_label("Send to").select_option("upscale")
    # the rest of the form stays as it was left
    page.fill("#upscale-scale input[type=number]", "2")
    page.keyboard.press("Tab")
    expect(page.locator("#upscale-pixels")).to_contain_text("128 × 128 px")
    made = record(page, enlarged(page))
    assert made["prompt"] == "a lighthouse for enlarging"
    assert made["parents"] == [made["request"]["image"]] and len(made["parents"][0]) == 32
    page.check("#upscale-details input[type=checkbox]")
    expect(page.locator("#upscale-prompt textarea")).to_have_value("a lighthouse for enlarging")


@pytest.mark.slow
def test_a_second_pass(page: Page) -> None:
    page.click("#txt2img-hires > button")
    page.check("#txt2img-hires-on input[type=checkbox]")
    expect(page.locator("#txt2img-hires-words")).to_contain_text("128 × 128 px")
    painted(page, "a boat with a second pass")
    size = (
        done(page)
        .locator("img")
        .first.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    )
    assert size == [128, 128]
    page.uncheck("#txt2img-hires-on input[type=checkbox]")
    expect(page.locator("#txt2img-hires-words")).not_to_contain_text("px")
