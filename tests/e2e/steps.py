"""What a person does on the page, in their words."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Locator, Page, expect

PROMPT = "#txt2img-prompt textarea"
SLOW = 60_000
"""ms; the first picture waits for the engine."""


def describe(page: Page, prompt: str, *, steps: int = 2, count: int = 1) -> None:
    page.fill(PROMPT, prompt)
    number(page, "#txt2img-steps input[type=number]", steps)
    number(page, "#txt2img-count input", count)


def number(page: Page, selector: str, value: int) -> None:
    page.fill(selector, str(value))
    page.keyboard.press("Tab")


def paint(page: Page, prompt: str, *, steps: int = 2, count: int = 1) -> None:
    describe(page, prompt, steps=steps, count=count)
    page.click("#txt2img-generate")


def done(page: Page) -> Locator:
    return page.locator("#txt2img-panel .po-tile[data-state=done]")


def painted(page: Page, prompt: str, *, steps: int = 2, count: int = 1) -> None:
    """Paints and waits for the whole job."""
    before = newest(page)
    paint(page, prompt, steps=steps, count=count)
    page.wait_for_function(
        "before => document.querySelector('#txt2img-panel').dataset.job !== before", arg=before
    )
    expect(page.locator("#txt2img-panel[data-state=finished]")).to_be_visible(timeout=SLOW)
    expect(done(page)).to_have_count(count, timeout=SLOW)


def newest(page: Page) -> str:
    return page.locator("#txt2img-panel").get_attribute("data-job") or ""


def gallery(page: Page) -> Locator:
    page.get_by_role("tab", name="Gallery").click()
    return page.locator("#po-grid > li")


def foreign_png(folder: Path, parameters: str) -> Path:
    """A picture as A1111 saves it."""
    text = PngInfo()
    text.add_text("parameters", parameters)
    file = folder / "foreign.png"
    Image.new("RGB", (64, 64), "teal").save(file, pnginfo=text)
    return file
