"""What a job will take, where checkpoints are, and the memory view."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.steps import PAINT, describe, number, painted


def test_the_line_beside_generate_follows_the_form(page: Page) -> None:
    painted(page, "a fox", steps=4)
    describe(page, "a fox", steps=4)
    line = page.locator(f"#{PAINT}-estimate-words")
    expect(line).to_have_text(re.compile(r"^(≈|about) [\d.]+ s · \d+ MB"))
    assert page.locator(f"#{PAINT}-generate").get_attribute("aria-describedby") == (
        f"{PAINT}-estimate-words"
    )
    before = line.inner_text()
    number(page, f"#{PAINT}-count input", 32)
    expect(line).not_to_have_text(before)


def test_the_memory_says_what_is_there_keeps_it_and_lets_all_go(page: Page) -> None:
    painted(page, "a fox")
    picker = page.locator(f"#{PAINT}-picker")
    expect(picker).to_contain_text("Stable Diffusion 1.x · 1 MB · in memory, ready")
    picker.get_by_role("button", name="Keep in memory").click()
    expect(picker.locator("[aria-pressed=true]")).to_be_visible()
    page.get_by_role("button", name="Memory", exact=True).click()
    view = page.get_by_role("dialog", name="Checkpoints and memory")
    row = view.locator(".po-memory-row", has_text="tiny")
    expect(row).to_have_attribute("data-where", "ram")
    expect(row.get_by_role("button")).to_have_attribute("aria-pressed", "true")
    expect(view.get_by_role("img")).to_have_attribute("aria-label", re.compile("Painting networks"))
    view.get_by_text("What holds what").click()
    expect(view.locator(".po-memory-parts li")).not_to_have_count(0)
    expect(
        view.locator(".po-memory-parts li", has_text=re.compile("Painting network.*tiny"))
    ).to_be_visible()
    view.get_by_role("button", name="Unload all").click()
    page.get_by_role("dialog", name="Unload all?").get_by_role("button", name="Unload all").click()
    expect(view.locator(".po-memory-foot [role=status]")).to_contain_text("→ 0 MB")
    expect(row).to_have_attribute("data-where", "disk")
    expect(view.locator(".po-memory-parts li")).to_have_count(0)
