"""Coming in by a link, and ending it, in a real browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from studio.app import App, compose
from studio.settings import Settings
from studio.ui.shell import mount
from tests.api.house import House, open_house

TOKEN = "t" * 32
HOUR_S = 3600


@pytest.fixture
def studio(tmp_path: Path, checkpoints: Path) -> Iterator[App]:
    app = compose(
        Settings(data_dir=tmp_path / "data", checkpoint_dirs=(checkpoints,), device="cpu")
    )
    yield app
    app.close()


@contextmanager
def shared(app: App, tmp_path: Path, **access: object) -> Iterator[House]:
    with open_house(app, tmp_path / "access", mount=mount, **access) as house:
        house.access.sharing.begin("https://x.gradio.live", 5 * HOUR_S, lambda: None)
        yield house


@pytest.mark.slow
def test_the_button_behind_a_link_needs_no_script(
    browser: Browser, studio: App, tmp_path: Path
) -> None:
    with shared(studio, tmp_path, shared=True, guest_tokens=(TOKEN,)) as house:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{house.url}/enter?token={TOKEN}&next=/api/sharing")
        page.goto(f"{house.url}/enter?token={TOKEN}&next=/api/sharing")  # looking spends nothing
        page.get_by_role("button", name="Come in").click()
        expect(page.locator("body")).to_contain_text('{"link":null}')
        context.close()


@pytest.mark.slow
def test_the_person_at_the_machine_sees_the_link_and_ends_it(
    browser: Browser, studio: App, tmp_path: Path
) -> None:
    with shared(studio, tmp_path) as house:
        context = browser.new_context(viewport={"width": 390, "height": 780})
        page = context.new_page()
        page.goto(house.url)
        chip = page.get_by_role("group", name="Sharing")
        expect(chip).to_contain_text("Shared until", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        chip.get_by_role("button", name="Stop sharing").click()
        asked = page.get_by_role("dialog", name="Stop sharing?")
        asked.get_by_role("button", name="Cancel").click()
        expect(chip).to_be_visible()
        assert not house.access.sharing.over
        chip.get_by_role("button", name="Stop sharing").click()
        asked.get_by_role("button", name="Stop sharing").click()
        expect(chip).to_be_hidden()
        assert house.access.sharing.over
        context.close()
