"""Any hand, any eye, any screen."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewPage, ready
from tests.e2e.steps import PROMPT, SLOW, done, gallery, painted

UNNAMED = """() => [...document.querySelectorAll(
    "button, a[href], input, select, textarea, [role=progressbar], [role=tab]")]
  .filter(one => one.checkVisibility() && !one.closest("[aria-hidden=true]"))
  .filter(one => !(one.getAttribute("aria-label") || one.innerText?.trim() || one.title
    || one.labels?.length || one.placeholder))
  .map(one => one.outerHTML.slice(0, 160))"""
SMALL = """least => [...document.querySelectorAll("button, a[href], select, summary, fieldset label")]
  .filter(one => one.checkVisibility() && !one.closest("[aria-hidden=true], .visually-hidden"))
  .map(one => [one.getBoundingClientRect(), one])
  .filter(([box]) => box.width > 0 && (box.width < least || box.height < least))
  .map(([box, one]) => `${Math.round(box.width)}x${Math.round(box.height)} ${one.outerHTML.slice(0, 120)}`)"""


def test_everything_can_be_done_with_the_keyboard_alone(page: Page) -> None:
    page.locator("#txt2img-sampler input").focus()
    rings = "one => [one.closest('.wrap'), one].map(part => getComputedStyle(part).outlineStyle)"
    assert page.locator("#txt2img-sampler input").evaluate(rings) == ["solid", "none"]
    page.locator(PROMPT).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("typed, not clicked")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#txt2img-panel[data-state=finished]")).to_be_visible(timeout=SLOW)
    opener = done(page).first.get_by_role("button")
    for _ in range(40):
        page.keyboard.press("Tab")
        if opener.evaluate("one => one === document.activeElement"):
            break
    outline = opener.evaluate("one => getComputedStyle(one).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog", name="Picture")
    expect(viewer.locator(".po-said")).to_contain_text("typed, not clicked")
    for _ in range(20):
        page.keyboard.press("Tab")
        assert page.evaluate("!document.activeElement.closest('#txt2img-paint')")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    assert opener.evaluate("one => one === document.activeElement")


@pytest.mark.slow
def test_the_gallery_is_walked_with_arrows(page: Page) -> None:
    painted(page, "a row of houses", count=3)
    tiles = gallery(page)
    page.fill("#po-search", "houses")
    expect(tiles).to_have_count(3)
    tiles.first.locator(".po-open").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    expect(tiles.nth(1)).to_have_class("po-thumb po-is-starred")
    page.keyboard.press("End")
    page.keyboard.press("x")
    expect(tiles.nth(2)).to_have_class("po-thumb po-is-chosen")


@pytest.mark.parametrize("width", [390, pytest.param(1440, marks=pytest.mark.slow)])
def test_nothing_is_wider_than_the_screen_and_everything_has_a_name(
    new_page: NewPage, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 844}, has_touch=width < 500)
    painted(page, "a" * 300)
    shown = page.locator("#txt2img-seed input").bounding_box()
    assert shown and shown["width"] > 120  # ten digits
    page.get_by_role("button", name="More settings").click()
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.locator(
            ".workplace:visible, .po-shelf:visible li, #po-grid:visible li"
        ).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab.inner_text()
        assert page.evaluate(UNNAMED) == [], tab.inner_text()
        assert page.evaluate(SMALL, 24) == [], tab.inner_text()
    gallery(page).first.locator(".po-open").click()
    page.get_by_role("dialog", name="Picture").wait_for()
    assert page.evaluate("document.querySelector('dialog[open]').scrollWidth") <= width


@pytest.mark.slow
def test_what_is_touched_is_large_enough_for_a_finger(new_page: NewPage) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("matchMedia('(pointer: coarse)').matches")
    small = [row for row in page.evaluate(SMALL, 44) if "po-" in row or "<label" in row]
    assert [row for row in small if int(row.split("x")[1].split(" ")[0]) < 44] == []


@pytest.mark.slow
def test_light_and_dark_follow_the_system_until_told_otherwise(new_page: NewPage) -> None:
    def paper(page: Page) -> int:
        shade = page.evaluate(
            "getComputedStyle(document.querySelector('.gradio-container')).backgroundColor"
        )
        return int(shade.split("(")[1].split(",")[0])

    assert paper(new_page(color_scheme="light")) > 200
    page = new_page(color_scheme="dark")
    assert paper(page) < 60
    page.get_by_role("button", name="Switch to light").click()
    assert paper(page) > 200
    page.reload()
    page.wait_for_selector("body[data-pochade=ready]")
    assert paper(page) > 200


@pytest.mark.slow
def test_nothing_is_asked_of_other_machines_and_nothing_looks_like_gradio(
    new_page: NewPage,
) -> None:
    asked: list[str] = []

    def arrive(page: Page) -> None:
        page.on("request", lambda one: asked.append(one.url))
        page.reload()
        ready(page)

    page = new_page(arrive=arrive)
    hosts = {urlsplit(url).netloc for url in asked if url.startswith("http")}
    assert hosts == {page.evaluate("location.host")}
    expect(page.locator("footer")).to_have_count(0)


@pytest.mark.slow
def test_one_tab_holds_at_most_one_stream(page: Page) -> None:
    page.evaluate(
        """() => {
            window.open_streams = 0; window.most = 0;
            const Real = window.EventSource;
            window.EventSource = class extends Real {
                constructor(...all) { super(...all); window.most = Math.max(window.most, ++window.open_streams); }
                close() { if (this.readyState !== 2) window.open_streams--; super.close(); }
            };
        }"""
    )
    for prompt in ("one", "two", "three"):
        painted(page, prompt)
    assert page.evaluate("window.most") == 1
