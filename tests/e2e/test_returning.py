"""Coming back: to a queue in another order, to a studio that was closed, through a login."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Request, expect

from tests.e2e.conftest import DRAFT, NewPage, leave_drafts, ready
from tests.e2e.steps import PAINT, PROMPT, SLOW, at, done, gallery, paint, painted, until
from tests.serving import Server

PANEL = f"#{PAINT}-panel"
SLOWEST_RETRY = 40_000
"""ms; the page asks again after at most 15 s, and a start takes some."""


@pytest.fixture
def own_server(tmp_path: Path, checkpoints: Path) -> Iterator[Server]:
    """A studio that a test may end."""
    flags = ("--checkpoints", str(checkpoints), "--device", "cpu")
    with Server(tmp_path / "data", flags=flags) as running:
        leave_drafts(running)
        yield running


@pytest.mark.slow
def test_a_page_restores_what_is_opened_and_writes_nothing_by_itself(
    new_page: NewPage, server: Server
) -> None:
    """What is sent into a tab that was never opened joins what its form held, and can be taken
    back."""
    names = {
        row["id"]: row["api_name"]
        for row in httpx.get(f"{server.url}/config").json()["dependencies"]
    }
    calls: list[str] = []

    def heard(asked: Request) -> None:
        if asked.method == "POST" and "/gradio_api/run" in asked.url:
            calls.append(names[asked.post_data_json["fn_index"]])

    def arrive(page: Page) -> None:
        page.on("request", heard)
        page.reload()
        ready(page)

    def draft() -> dict[str, Any]:
        return httpx.get(f"{server.url}/api/drafts/img2img").json()

    httpx.put(f"{server.url}/api/drafts/txt2img", json={**DRAFT, "prompt": "still here"})
    own = {**DRAFT, "prompt": "words of its own", "strength": 0.35}
    httpx.put(f"{server.url}/api/drafts/img2img", json=own)
    page = new_page(arrive=arrive)
    expect(page.locator(f"#{PAINT}-estimate-words")).not_to_be_empty()
    at(page, "control", "Control")
    assert calls == ["restore_txt2img", "restore_control"]
    at(page, PAINT, "Paint")
    assert page.input_value(PROMPT) == "still here"
    painted(page, "something to start from")
    done(page).first.get_by_role("button").click()
    page.get_by_role("dialog", name="Picture").get_by_label("Send to").select_option("img2img")
    expect(page.locator("#img2img-image-slot li")).to_have_count(1)
    words = page.locator("#img2img-prompt textarea")
    expect(words).to_have_value("something to start from")
    until(
        page,
        "fetch('/api/drafts/img2img').then(answer => answer.json())",
        lambda kept: kept.get("image"),
    )
    assert draft()["strength"] == own["strength"], "which is no matter of the picture"
    page.locator(".po-toast").get_by_role("button", name="Undo").click()
    expect(words).to_have_value("words of its own")
    expect(page.locator("#img2img-image-slot li")).to_have_count(0)


@pytest.mark.slow
def test_waiting_jobs_are_dragged_into_another_order(page: Page) -> None:
    paint(page, "the one before", steps=150, count=8)
    page.get_by_text(re.compile("Step [0-9]+ of 150")).wait_for(timeout=SLOW)
    for prompt in ("one", "two", "three"):
        paint(page, prompt)
        page.locator(".po-queue .po-row", has_text=prompt).wait_for()
    rows = page.locator("ol.po-queue .po-row")
    words = page.locator("ol.po-queue .po-clip")
    expect(words).to_have_text(["one", "two", "three"])
    rows.nth(2).drag_to(rows.nth(0), target_position={"x": 20, "y": 4})
    expect(words).to_have_text(["three", "one", "two"])
    until(
        page,
        """fetch("/api/live").then(answer => answer.json()).then(({jobs}) => jobs.filter(
            job => job.state === "queued").map(job => job.request.prompt).join())""",
        lambda order: order == "three,one,two",
    )
    for prompt in ("one", "two", "three"):
        page.locator(".po-row", has_text=prompt).get_by_role("button", name="Cancel").click()
    expect(rows).to_have_count(0)
    page.click(f"#{PAINT}-stop")
    expect(page.locator(PANEL)).not_to_have_attribute("data-state", "running")


@pytest.mark.slow
def test_a_studio_that_was_closed_is_found_again_and_its_job_run_once_more(
    new_page: NewPage, own_server: Server
) -> None:
    page = new_page(own_server.url)
    page.evaluate("window.never_reloaded = true")
    paint(page, "a very long road", steps=40, count=16)
    page.get_by_text(re.compile("Picture [2-9] of 16")).wait_for(timeout=SLOW)
    own_server.kill()
    expect(page.locator(".po-status")).to_contain_text("Reconnecting", timeout=SLOWEST_RETRY)
    own_server.start()
    expect(page.locator(PANEL)).to_have_attribute(
        "data-state", "interrupted", timeout=SLOWEST_RETRY
    )
    expect(page.locator(".po-status")).not_to_contain_text("Reconnecting")
    # what was done by then is kept, and stands above the way to make the rest
    expect(done(page)).not_to_have_count(0)
    page.locator(PANEL).get_by_role("button", name="Run again").click()
    expect(page.locator(f"{PANEL}[data-state=running]")).to_be_visible(timeout=SLOW)
    page.click(f"#{PAINT}-stop")
    expect(page.locator(f"{PANEL}[data-state=running]")).to_have_count(0, timeout=SLOW)
    # the form was never lost, and still works against the new process
    painted(page, "a short road")
    assert page.evaluate("window.never_reloaded")


@pytest.mark.slow
def test_behind_a_login_each_person_has_pictures_of_their_own(
    new_page: NewPage, tmp_path: Path, checkpoints: Path
) -> None:
    flags = ("--checkpoints", str(checkpoints), "--device", "cpu")
    people = {"ann": "a long secret", "bob": "another one"}
    doors = tuple(
        word for name, password in people.items() for word in ("--auth", f"{name}:{password}")
    )

    def logged_in(name: str, password: str) -> Page:
        def arrive(page: Page) -> None:
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Log in").click()
            ready(page)

        return new_page(server.url, arrive=arrive)

    with Server(tmp_path / "data", flags=(*flags, *doors)) as server:
        for name, password in people.items():
            leave_drafts(server, auth=(name, password))
        ann = logged_in("ann", people["ann"])
        painted(ann, "ann's own garden")
        bob = logged_in("bob", people["bob"])
        expect(bob.locator(PANEL)).to_have_attribute("data-state", "empty")
        expect(gallery(bob)).to_have_count(0)
        expect(gallery(ann)).to_have_count(1)

        wrong = new_page(server.url, arrive=lambda page: page.get_by_label("Name").fill("ann"))
        wrong.get_by_label("Password").fill("a guess")
        wrong.get_by_role("button", name="Log in").click()
        expect(wrong.get_by_role("alert")).to_be_visible()
        assert wrong.locator("#tabs").count() == 0
