"""Finding, keeping and throwing away."""

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from studio.gallery.store import Gallery
from tests.bench.bench_gallery import fill
from tests.e2e.conftest import NewPage
from tests.e2e.steps import PROMPT, foreign_png, gallery, give, painted, until
from tests.serving import Server


def test_search_star_trash_and_undo(page: Page) -> None:
    painted(page, "a lighthouse at dusk", count=2)
    painted(page, "a bowl of plums")
    tiles = gallery(page)
    page.fill("#po-search", "lightho")
    expect(tiles).to_have_count(2)
    shade = "one => getComputedStyle(one).backgroundColor"
    for part in (".po-open", ".po-choose"):
        assert tiles.first.locator(part).evaluate(shade) != "rgba(0, 0, 0, 0)"
    tiles.first.locator(".po-open").click()
    viewer = page.get_by_role("dialog", name="Picture")
    expect(viewer.locator(".po-said")).to_contain_text("a lighthouse at dusk")
    expect(viewer.locator("dl")).not_to_contain_text("planned")
    viewer.get_by_role("button", name="Star").click()
    expect(viewer.get_by_role("button", name="Starred")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    expect(viewer.locator(".po-count")).to_have_text("2 of 2")
    page.keyboard.press("Delete")
    expect(viewer.locator(".po-count")).to_have_text("1 of 1")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The picture is back.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(tiles).to_have_count(2)
    page.click("#po-only-starred")
    expect(tiles).to_have_count(1)


@pytest.mark.slow
def test_several_go_to_the_trash_and_come_back(page: Page) -> None:
    painted(page, "three grey stones", count=3)
    tiles = gallery(page)
    page.fill("#po-search", "stones")
    expect(tiles).to_have_count(3)
    for place in range(2):
        tiles.nth(place).hover()
        tiles.nth(place).locator(".po-choose").click()
    chosen = page.get_by_role("group", name="Chosen pictures")
    expect(chosen).to_contain_text("2 pictures chosen")
    chosen.get_by_role("button", name="Delete").click()
    expect(tiles).to_have_count(1)
    page.get_by_role("button", name="Trash").click()
    expect(tiles).to_have_count(2)
    tiles.first.hover()
    tiles.first.locator(".po-choose").click()
    chosen.get_by_role("button", name="Restore").click()
    expect(tiles).to_have_count(1)
    page.fill("#po-search", "boats")
    expect(page.get_by_text("No picture in the trash fits.")).to_be_visible()
    page.get_by_role("button", name="Empty the trash").click()
    expect(page.get_by_text("also those that are not shown here")).to_be_visible()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.locator(".po-toast").get_by_text("The trash is empty.")).to_be_visible()
    page.get_by_role("button", name="Trash", exact=True).click()
    page.fill("#po-search", "stones")
    expect(tiles).to_have_count(2)


@pytest.mark.slow
def test_a_pictures_settings_go_back_into_the_form(page: Page) -> None:
    painted(page, "something to return to", steps=5)
    page.fill(PROMPT, "something else")
    gallery(page).first.locator(".po-open").click()
    page.get_by_role("button", name="Use these settings").click()
    expect(page.get_by_role("tab", name="Paint", exact=True)).to_have_attribute(
        "aria-selected", "true"
    )
    expect(page.locator(PROMPT)).to_have_value("something to return to")
    expect(page.locator("#txt2img-steps input[type=number]")).to_have_value("5")
    expect(page.locator("#txt2img-seed input")).to_have_value(re.compile("^[0-9]+$"))


@pytest.mark.slow
def test_a_foreign_picture_brings_its_settings_and_says_what_is_lost(
    page: Page, tmp_path: Path
) -> None:
    file = foreign_png(
        tmp_path,
        'a cottage <img src=x onerror="window.__xss=1">, <lora:detail:0.8>\n'
        "Negative prompt: fog <script>window.__xss=1</script>\n"
        "Steps: 31, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 4242, "
        "Size: 512x768, Model hash: 0123456789, Model: <b>dreams, Clip skip: 2",
    )
    page.set_input_files("#txt2img-settings-file", file)
    expect(page.locator(PROMPT)).to_have_value(re.compile("^a cottage <img"))
    expect(page.locator("#txt2img-negative-prompt textarea")).to_have_value(
        re.compile("fog <script>")
    )
    expect(page.locator("#txt2img-steps input[type=number]")).to_have_value("31")
    expect(page.locator("#txt2img-seed input")).to_have_value("4242")
    expect(page.locator("#txt2img-sampler input")).to_have_value("DPM++ 2M Karras")
    expect(page.locator("#txt2img-pixels")).to_contain_text("512 × 768 px")
    lost = page.locator("#txt2img-recovered .po-notice ul")
    expect(lost).to_contain_text("<b>dreams")
    assert page.evaluate("window.__xss") is None


@pytest.mark.slow
@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_can_be_given_to_the_prompt(page: Page, tmp_path: Path, way: str) -> None:
    file = foreign_png(
        tmp_path, "a dropped barn\nSteps: 12, Sampler: Euler a, Seed: 3, Size: 64x64"
    )
    give(page, PROMPT, {"barn.png": file.read_bytes()}, by=way)
    expect(page.locator(PROMPT)).to_have_value("a dropped barn")
    expect(page.locator("#txt2img-steps input[type=number]")).to_have_value("12")


SEND = """async (...messages) => {
    const main = document.querySelector("script[src*='/assets/ui/v-']").src;
    const { send } = await import(new URL("bridge.js", main));
    return Promise.all(messages.map((message) => send({ tab: "txt2img", ...message })));
}"""
"""Has the page's own module put settings into a form, all at once."""


@pytest.mark.slow
def test_everybody_who_fills_the_form_at_once_gets_their_own_answer(page: Page) -> None:
    answers = page.evaluate(
        f"""() => ({SEND})(
            {{ do: "fill", settings: {{ prompt: "a barn" }} }},
            {{ do: "nothing" }},
            {{ do: "fill", settings: {{ steps: 7 }} }},
        )"""
    )
    filled = [answer and answer["filled"] for answer in answers]
    assert filled == [["Prompt"], None, ["Steps"]]
    expect(page.locator(PROMPT)).to_have_value("a barn")
    expect(page.locator("#txt2img-steps input[type=number]")).to_have_value("7")


@pytest.mark.slow
def test_a_message_whose_answer_is_lost_holds_nothing_up(page: Page) -> None:
    def lose(route: Route) -> None:
        if "a lost prompt" not in (route.request.post_data or ""):
            route.continue_()

    page.route("**/gradio_api/run/predict", lose)
    page.clock.install()
    with page.expect_request(lambda request: "a lost prompt" in (request.post_data or "")):
        page.evaluate(
            f"""() => void ({SEND})({{ do: "fill", settings: {{ prompt: "a lost prompt" }} }})
                .then(([answer]) => (window.answer = answer))"""
        )
    page.clock.fast_forward(60_000)
    expect(page.locator(".po-toast")).to_contain_text("The studio does not answer.")
    assert page.evaluate("window.answer") is None
    page.evaluate(f"""() => ({SEND})({{ do: "fill", settings: {{ prompt: "found" }} }})""")
    expect(page.locator(PROMPT)).to_have_value("found")


@pytest.mark.slow
def test_a_picture_without_settings_is_answered_in_words(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "plain.png"
    Image.new("RGB", (8, 8)).save(file)
    page.fill(PROMPT, "stays")
    page.set_input_files("#txt2img-settings-file", file)
    expect(page.locator("#txt2img-recovered .po-notice[data-kind=bad]")).to_be_visible()
    expect(page.locator(PROMPT)).to_have_value("stays")


@pytest.mark.slow
def test_a_long_gallery_draws_only_what_is_near_and_is_walked_to_its_end(
    new_page: NewPage, tmp_path: Path
) -> None:
    kept = Gallery(tmp_path / "data")
    fill(kept, tmp_path / "data", 260)
    kept.close()
    with Server(tmp_path / "data", flags=("--device", "cpu")) as server:
        page = new_page(server.url)
        tiles = gallery(page)
        tiles.first.locator(".po-open").focus()
        held = "document.activeElement.closest('li')?.getAttribute('aria-posinset')"

        def at_the_end(place: str | None) -> bool:
            page.keyboard.press("End")  # of what is there, and more comes
            return place == "260"

        until(page, f"Promise.resolve({held})", at_the_end)
        assert tiles.count() < 200
        expect(page.locator("#po-grid > li:focus-within")).to_be_in_viewport()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#po-grid > li:focus-within")).to_be_in_viewport()
        # turned away by the wheel, the keys go on from what is in view
        page.evaluate("window.scrollTo(0, 0)")
        until(page, f"Promise.resolve({held})", lambda place: place and int(place) < 200)
        page.keyboard.press("Home")
        expect(page.locator("#po-grid > li:focus-within")).to_have_attribute("aria-posinset", "1")
        page.keyboard.press("x")
        page.keyboard.press("End")
        page.keyboard.press("Home")
        expect(page.locator("#po-grid > li.po-is-chosen")).to_have_attribute("aria-posinset", "1")
