"""Looks: of other pictures, and in words."""

import httpx
from playwright.sync_api import Page, expect

from tests.e2e.steps import SLOW, at, choose, newest, painted, png
from tests.serving import Server


def test_styles_in_words_are_chosen_and_the_prompt_is_shown(page: Page, server: Server) -> None:
    page.fill("#txt2img-prompt textarea", "a lighthouse")
    page.click("#txt2img-styles-open")
    panel = page.locator("#txt2img-styles-panel")
    panel.get_by_role("button", name="Linocut", exact=True).click()
    outcome = page.locator("#txt2img-styles-outcome")
    expect(outcome).to_contain_text("linocut print of a lighthouse, bold carved shapes")
    panel.get_by_role("button", name="New style").click()
    page.fill("#txt2img-style-name", "At night")
    page.fill("#txt2img-style-prompt", "{prompt}, moonlight")
    panel.get_by_role("button", name="Save style").click()
    panel.get_by_role("button", name="At night", exact=True).click()
    expect(outcome).to_contain_text("slight misregistration, moonlight")
    painted(page, "a lighthouse")
    request = httpx.get(f"{server.url}/api/jobs/{newest(page)}").json()["request"]
    assert request["styled"] == ["Linocut", "At night"]
    assert request["prompt"].startswith("linocut print of a lighthouse, bold")
    assert request["prompt"].endswith(", moonlight")
    panel.get_by_role("button", name="Edit At night").click()
    panel.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(panel.get_by_role("button", name="At night", exact=True)).to_have_count(0)
    expect(outcome).not_to_contain_text("moonlight")


def test_a_picture_gets_the_look_of_another(page: Page) -> None:
    at(page, "style", "Style")
    choose(page, "#style-image-file", png("teal", (96, 64)))
    page.get_by_role("button", name="Take mosaic").click()
    expect(page.locator("#style-styles-slot li")).to_have_count(1)
    page.click("#style-generate")
    expect(page.locator("#style-panel[data-state=finished]")).to_be_visible(timeout=SLOW)
    compared = page.locator("#style-panel .po-compare")
    expect(compared).to_be_visible()
    line = compared.get_by_role("slider")
    line.focus()
    page.keyboard.press("Home")
    expect(line).to_have_value("0")
    for method in ("In words", "Shared attention"):
        page.get_by_label(method, exact=True).check()
        expect(page.locator("#style-method-about")).to_contain_text("Paints the picture anew")
    expect(page.get_by_label("What the picture shows")).to_be_visible()
    expect(page.locator("#style-extras")).to_be_hidden()
