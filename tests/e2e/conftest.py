"""The real studio in a process of its own, seen through a real browser."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.engine.tiny import save_tiny_control
from tests.serving import Server

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A camera that shows a picture of the browser's own, and is lent without a question."""
KNOWN = re.compile(r"404 \(Not Found\)|net::ERR_|favicon|Failed to load resource")
"""What a browser writes into its console though nothing is wrong with the page: answers that a test
asks for, and connections that end because a page or a server is closed."""

SLOW = 180_000
"""ms; a page that is opened in a new browser, or the first picture, which waits for the engine, while
other work holds the cores."""
PATIENT = 30_000
"""ms; anything else. Long, since other work may hold the cores; only a failure takes so long."""

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
expect.set_options(timeout=PATIENT)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = CHROMIUM or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium is installed")
        found = playwright.chromium.launch(executable_path=path, args=[*QUIET, *CAMERA])
        yield found
        found.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, checkpoints: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    save_tiny_control(folder / "data" / "controlnet" / "tiny-union", checkpoints / "tiny")
    flags = ("--checkpoints", str(checkpoints), "--device", "cpu")
    with Server(folder / "data", flags=flags) as running:
        yield running


NewPage = Callable[..., Page]

DRAFT = {"checkpoint": "tiny", "width": 64, "height": 64, "steps": 2, "guidance": 1.0}
"""The form as every test finds it: the quickest checkpoint, at its native size."""


def leave_drafts(server: Server, **options: Any) -> None:
    """The forms as every test finds them. `options` are those of `httpx.put`."""
    for tab in ("txt2img", "img2img", "control"):
        address = f"{server.url}/api/drafts/{tab}"
        httpx.put(address, json=DRAFT, **options).raise_for_status()


VIEW = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="session")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that has opened a studio before: it keeps Gradio's files, and what it compiled."""
    found = browser.new_context(**VIEW)
    yield found
    found.close()


@pytest.fixture
def new_page(browser: Browser, profile: BrowserContext, server: Server) -> Iterator[NewPage]:
    """Opens the studio, each further time and with options in a browser of its own; at the end its
    console must hold no error."""
    leave_drafts(server)
    profile.clear_cookies()
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_page(
        url: str | None = None, arrive: Callable[[Page], None] = ready, **options: object
    ) -> Page:
        if options or profile.pages:
            context = browser.new_context(**{**VIEW, **options})
            contexts.append(context)
        else:
            context = profile
        page = context.new_page()
        page.set_default_timeout(PATIENT)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda line: (
                errors.append(line.text)
                if line.type == "error" and not KNOWN.search(line.text)
                else None
            ),
        )
        page.goto(url or server.url, timeout=SLOW)
        arrive(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    for page in profile.pages:
        page.evaluate("() => { try { localStorage.clear() } catch {} }")
        page.close()
    assert errors == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


def ready(page: Page) -> None:
    """Waits until the form is as it was left and the live parts have drawn themselves."""
    page.wait_for_selector("body[data-restored-txt2img][data-pochade=ready]", timeout=SLOW)
