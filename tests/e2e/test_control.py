"""Maps and looks: what steers a picture, seen before it does."""

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import SLOW, at, newest, painted, png
from tests.serving import Server

UNIT = "#control-units-units .po-unit"


def give(page: Page, selector: str, data: bytes) -> None:
    file = {"name": "a.png", "mimeType": "image/png", "buffer": data}
    page.set_input_files(selector, [file])  # type: ignore[list-item]


class TestControl:
    @pytest.fixture
    def page(self, page: Page) -> Page:
        at(page, "control", "Control")
        expect(page.locator(UNIT)).to_have_count(1)
        return page

    def test_a_map_is_seen_tuned_and_painted_with(self, page: Page, server: Server) -> None:
        give(page, f"{UNIT} input[type=file]", png("teal", (96, 96)))
        shown = page.locator(f"{UNIT} figure").nth(1).locator("img")
        expect(shown).to_have_attribute("src", re.compile("/api/pictures/"), timeout=SLOW)
        first = shown.get_attribute("src")
        page.get_by_label("Made by").select_option("xdog")
        page.wait_for_function(
            "([selector, first]) => document.querySelectorAll(selector)[1].src.indexOf(first) < 0",
            arg=[f"{UNIT} figure img", first],
            timeout=SLOW,
        )
        painted(page, "a teapot", tab="control")
        job = httpx.get(f"{server.url}/api/jobs/{newest(page, 'control')}").json()
        [unit] = job["request"]["units"]
        assert job["task"] == "control"
        assert unit["preprocessor"] == "xdog"
        assert unit["controlnet"] == "tiny-canny"

    @pytest.mark.slow
    def test_units_outlive_a_reload(self, page: Page) -> None:
        give(page, f"{UNIT} input[type=file]", png("navy", (96, 96)))
        expect(page.locator(f"{UNIT} figure img").first).to_be_visible()
        page.get_by_role("button", name="Add a unit").click()
        expect(page.locator(UNIT)).to_have_count(2)
        page.get_by_label("Shows").nth(1).select_option("depth")
        page.wait_for_timeout(1000)  # the draft is on its way
        page.reload()
        at(page, "control", "Control")
        expect(page.locator(UNIT)).to_have_count(2)
        expect(page.get_by_label("Shows").nth(1)).to_have_value("depth")

    @pytest.mark.slow
    def test_without_a_picture_it_says_so(self, page: Page) -> None:
        page.fill("#control-prompt textarea", "a teapot")
        page.click("#control-generate")
        expect(page.get_by_text("There is no picture to take control from.")).to_be_visible()

    @pytest.mark.slow
    def test_nobody_in_the_picture_is_said(self, page: Page) -> None:
        give(page, f"{UNIT} input[type=file]", png("gold", (96, 96)))
        page.get_by_label("Shows").select_option("pose")
        expect(page.locator(f"{UNIT} .po-unit-words")).to_contain_text("person", timeout=SLOW)


def test_a_picture_gets_the_look_of_another(page: Page) -> None:
    at(page, "style", "Style")
    give(page, "#style-image-file", png("teal", (96, 64)))
    page.get_by_role("button", name="Take mosaic").click()
    expect(page.locator("#style-styles-slot li")).to_have_count(1)
    page.click("#style-generate")
    expect(page.locator("#style-panel[data-state=finished]")).to_be_visible(timeout=SLOW)
    expect(page.locator("#style-panel .po-compare")).to_be_visible()
