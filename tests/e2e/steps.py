"""What a person does on the page, in their words."""

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import SLOW, ready

PAINT = "txt2img"
"""The tab that a page opens with."""
PROMPT = f"#{PAINT}-prompt textarea"


def at(page: Page, tab: str, label: str) -> None:
    """Opens a tab, whose form then is as it was left."""
    ready(page)
    page.get_by_role("tab", name=label, exact=True).click()
    page.wait_for_selector(f"body[data-restored-{tab}]", timeout=SLOW)


def describe(page: Page, prompt: str, *, steps: int = 2, count: int = 1, tab: str = PAINT) -> None:
    page.fill(f"#{tab}-prompt textarea", prompt)
    number(page, f"#{tab}-steps input[type=number]", steps)
    number(page, f"#{tab}-count input", count)


def number(page: Page, selector: str, value: float) -> None:
    page.fill(selector, str(value))
    page.keyboard.press("Tab")


def paint(page: Page, prompt: str, *, steps: int = 2, count: int = 1, tab: str = PAINT) -> None:
    describe(page, prompt, steps=steps, count=count, tab=tab)
    page.click(f"#{tab}-generate")


def done(page: Page, tab: str = PAINT) -> Locator:
    return page.locator(f"#{tab}-panel .po-tile[data-state=done]")


def painted(page: Page, prompt: str, *, steps: int = 2, count: int = 1, tab: str = PAINT) -> None:
    """Paints and waits for the whole job."""
    before = newest(page, tab)
    paint(page, prompt, steps=steps, count=count, tab=tab)
    page.wait_for_function(
        "([panel, before]) => document.querySelector(panel).dataset.job !== before",
        arg=[f"#{tab}-panel", before],
    )
    expect(page.locator(f"#{tab}-panel[data-state=finished]")).to_be_visible(timeout=SLOW)
    expect(done(page, tab)).to_have_count(count, timeout=SLOW)


def kept(page: Page, words: str, tab: str = PAINT) -> None:
    """Waits until the draft of a form, which a reload brings back, holds these words."""
    until(
        page,
        f"fetch('/api/drafts/{tab}').then(answer => answer.text())",
        lambda text: words in text,
    )


def until(page: Page, asked: str, holds: Callable[[Any], bool]) -> None:
    """Waits until what JavaScript answers holds. The answer may be a promise, which Playwright's own
    `wait_for_function` takes for the answer itself."""
    end = time.monotonic() + SLOW / 1000
    while not holds(found := page.evaluate(asked)):
        assert time.monotonic() < end, f"{asked} stayed at {found!r}"
        page.wait_for_timeout(50)


def newest(page: Page, tab: str = PAINT) -> str:
    return page.locator(f"#{tab}-panel").get_attribute("data-job") or ""


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


def png(colour: str, size: tuple[int, int] = (64, 64)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def give(page: Page, selector: str, files: dict[str, bytes], *, by: str) -> None:
    """Drops files onto an element, or pastes them there."""
    page.evaluate(
        """([selector, files, by]) => {
            const data = new DataTransfer();
            for (const [name, bytes] of Object.entries(files))
                data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
            const target = document.querySelector(selector);
            const told = {bubbles: true, cancelable: true};
            if (by === "paste") target.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, ...told}));
            else for (const type of ["dragenter", "dragover", "drop"])
                target.dispatchEvent(new DragEvent(type, {dataTransfer: data, ...told}));
        }""",
        [selector, {name: list(data) for name, data in files.items()}, by],
    )


def choose(page: Page, selector: str, data: bytes) -> None:
    """Chooses a PNG in a place for pictures."""
    file = {"name": "a.png", "mimeType": "image/png", "buffer": data}
    page.set_input_files(selector, [file])  # type: ignore[list-item]
