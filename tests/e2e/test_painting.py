"""From a prompt to a picture, and what may come between."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewPage, ready
from tests.e2e.steps import PROMPT, SLOW, describe, done, kept, newest, paint, painted, until
from tests.serving import Server


def test_a_picture_forms_before_ones_eyes_until_stop_and_another_is_painted(page: Page) -> None:
    page.evaluate(
        """() => {
            window.forming = {};
            const panel = document.querySelector("#txt2img-panel");
            new MutationObserver(() => panel.querySelectorAll(".po-tile img").forEach((image, at) => {
                if (image.src.includes("/preview")) (window.forming[at] ??= new Set()).add(image.src);
            })).observe(panel, {subtree: true, attributes: true});
        }"""
    )
    paint(page, "an endless sea", steps=150, count=32)
    of_one = "Math.max(0, ...Object.values(window.forming).map(seen => seen.size))"
    until(page, of_one, lambda previews: previews >= 2)
    page.click("#txt2img-stop")
    expect(page.locator("#txt2img-panel")).to_have_attribute("data-state", "cancelled")
    expect(page.locator("#txt2img-stop")).to_be_hidden()
    painted(page, "a red fox in the snow, sticker")
    picture = done(page).locator("img")
    expect(picture).to_have_attribute("src", re.compile("/api/images/[0-9a-f]{32}/file"))
    assert picture.evaluate("image => image.naturalWidth") == 64
    expect(page.locator("#txt2img-announce")).to_have_text("Done: 1 picture")


def test_a_reload_in_the_middle_finds_everything_as_it_was(page: Page, server: Server) -> None:
    paint(page, "a long way home", steps=150, count=32)
    page.get_by_text(re.compile("Step [0-9]+ of 150")).wait_for(timeout=SLOW)
    describe(page, "the one after", steps=3)
    page.click("#txt2img-generate")
    expect(page.locator(".po-queue .po-row")).to_have_count(1)
    page.fill(PROMPT, "words that are not sent yet")
    kept(page, "words that are not sent yet")
    page.reload()
    ready(page)
    assert page.input_value(PROMPT) == "words that are not sent yet"
    expect(page.locator("#txt2img-steps input[type=number]")).to_have_value("3")
    page.get_by_text(re.compile("Step [0-9]+ of 150")).wait_for()
    expect(page.locator("#txt2img-panel img[src*=preview]")).to_be_visible()
    expect(page.locator(".po-queue .po-row")).to_have_count(1)
    page.click("#txt2img-stop")
    expect(page.locator("#txt2img-panel[data-state=finished]")).to_be_visible(timeout=SLOW)


@pytest.mark.slow
def test_two_browsers_see_the_same_studio(new_page: NewPage) -> None:
    here, there = new_page(), new_page()
    paint(here, "seen from both sides", steps=150, count=32)
    here.get_by_text(re.compile("Step [0-9]+ of 150")).wait_for(timeout=SLOW)
    there.get_by_text(re.compile("Step [0-9]+ of 150")).wait_for()
    there.click("#txt2img-stop")
    expect(here.locator("#txt2img-panel")).to_have_attribute("data-state", "cancelled")
    assert newest(here) == newest(there)


@pytest.mark.slow
def test_jobs_wait_in_an_order_that_can_be_changed(page: Page) -> None:
    paint(page, "the first", steps=150, count=8)
    page.get_by_text(re.compile("Step [0-9]+ of 150")).wait_for(timeout=SLOW)
    for prompt in ("one", "two", "three"):
        paint(page, prompt)
        page.locator(".po-queue .po-row", has_text=prompt).wait_for()
    rows = page.locator("ol.po-queue .po-clip")
    expect(rows).to_have_text(["one", "two", "three"])
    page.locator(".po-row", has_text="three").get_by_role("button", name="Earlier").click()
    expect(rows).to_have_text(["one", "three", "two"])
    page.locator(".po-row", has_text="one").get_by_role("button", name="Later").focus()
    page.keyboard.press("Enter")
    expect(rows).to_have_text(["three", "one", "two"])
    for prompt in ("one", "two", "three"):
        page.locator(".po-row", has_text=prompt).get_by_role("button", name="Cancel").click()
    expect(rows).to_have_count(0)
    page.click("#txt2img-stop")
    expect(page.locator("#txt2img-panel")).not_to_have_attribute("data-state", "running")


def test_what_is_wrong_is_said_with_a_hint(page: Page) -> None:
    page.fill(PROMPT, "   ")
    page.click("#txt2img-generate")
    message = page.locator("[data-testid=toast-body]")
    expect(message).to_contain_text("Prompt is empty.")
    expect(message).to_contain_text("Type what you would like to see.")


@pytest.mark.slow
def test_a_size_that_had_to_be_changed_is_said(page: Page) -> None:
    page.get_by_role("button", name="More settings").click()
    page.fill("#txt2img-width input", "77")
    page.keyboard.press("Tab")
    expect(page.locator("#txt2img-pixels")).to_contain_text("77 × ")
    paint(page, "a snapped size")
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("Width 77 became 72")


@pytest.mark.slow
def test_the_seed_of_the_last_job_can_be_kept(page: Page) -> None:
    painted(page, "once more")
    page.get_by_role("button", name="Reuse last").click()
    expect(page.locator("#txt2img-seed input")).to_be_enabled()
    expect(page.locator("#txt2img-seed input")).to_have_value(re.compile("^[0-9]+$"))
    seed = page.input_value("#txt2img-seed input")
    painted(page, "once more")
    expect(page.locator("#txt2img-panel .po-words")).to_contain_text(f"seed {seed}")
    page.locator("#txt2img-seed-mode").get_by_text("Random").click()
    expect(page.locator("#txt2img-seed input")).to_be_disabled()


@pytest.mark.slow
def test_shapes_sizes_and_swap_change_the_pixels(page: Page) -> None:
    page.locator("#txt2img-shape").get_by_text("3:2").click()
    expect(page.locator("#txt2img-pixels")).to_contain_text("80 × 64 px")
    page.get_by_role("button", name="Swap sides").click()
    expect(page.locator("#txt2img-pixels")).to_contain_text("64 × 80 px")
    page.locator("#txt2img-shape").get_by_text("1:1").click()
    expect(page.locator("#txt2img-pixels")).to_contain_text("64 × 64 px")


@pytest.mark.slow
def test_tokens_are_counted_while_typing(page: Page) -> None:
    page.fill(PROMPT, "a fox")
    expect(page.locator(".po-tokens")).to_have_text(re.compile("^[1-9][0-9]* / 75 tokens$"))
