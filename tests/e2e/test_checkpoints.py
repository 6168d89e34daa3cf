"""Installing from the page: a look at the size, then on its way, stopped, gone on with, there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.checkpoints.files import denoiser_alone
from tests.checkpoints.web import Web, serving
from tests.e2e.conftest import NewPage, leave_drafts, ready
from tests.e2e.steps import SLOW
from tests.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def web(checkpoints: Path, tmp_path: Path) -> Iterator[Web]:
    from studio.checkpoints.catalog import Catalog
    from studio.checkpoints.convert import convert
    from studio.paths import CONFIGS

    file = tmp_path / "tiny.safetensors"
    convert(Catalog((checkpoints,)).get("tiny"), "file", file, configs=CONFIGS)
    with serving(Web(files={"<b>fox.safetensors": file.read_bytes()})) as found:
        yield found


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Checkpoints", exact=True).click()


def test_a_checkpoint_arrives_and_can_be_chosen_at_once(
    new_page: NewPage, server: Server, web: Web
) -> None:
    page = new_page()
    other = new_page()
    open_tab(page)
    expect(page.get_by_role("heading", name="To begin with")).to_be_visible()
    source = page.get_by_label("Address, or a name on Hugging Face")
    source.fill("nothing")
    source.press("Enter")
    expect(page.locator(".po-answer")).to_contain_text("neither an address nor")
    source.fill(f"{web.url}/%3Cb%3Efox.safetensors")
    source.press("Enter")
    expect(page.locator(".po-answer b")).to_have_text("b_fox")
    page.get_by_role("button", name="Install", exact=True).click()
    arrival = page.locator(".po-arrival").first
    expect(arrival.locator(".po-state")).to_contain_text("It is on the shelf", timeout=SLOW)
    expect(page.locator(".po-entry", has_text="b_fox")).to_be_visible()
    page.reload()
    ready(page)
    open_tab(page)
    expect(page.locator(".po-arrival .po-state")).to_contain_text("It is on the shelf")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".po-arrival")).to_have_count(0)
    # another page that was open all the while offers it, and has lost nothing of what is written
    other.fill("#txt2img-prompt textarea", "half a thought")
    other.click("#txt2img-checkpoint input")
    expect(other.get_by_role("option", name="b_fox")).to_be_visible(timeout=SLOW)
    expect(other.locator("#txt2img-prompt textarea")).to_have_value("half a thought")
    (server.data_dir / "checkpoints" / "b_fox.safetensors").unlink()


def test_a_stopped_one_goes_on(new_page: NewPage, server: Server, web: Web) -> None:
    leave_drafts(server)
    name = next(iter(web.files))
    page = new_page()
    open_tab(page)
    page.get_by_label("Address, or a name on Hugging Face").fill(f"{web.url}/{name}")
    page.get_by_text("Name and checksum").click()
    page.get_by_label("Name", exact=True).fill("Fox")
    page.get_by_role("button", name="Look", exact=True).first.click()
    expect(page.locator(".po-answer b")).to_have_text("Fox")
    # the first of the two looks again at what is to be installed
    web.stall_after, web.stalls, web.stall_s = 100_000, 2, 8.0
    page.get_by_role("button", name="Install", exact=True).click()
    arrival = page.locator(".po-arrival").first
    arrival.get_by_role("button", name="Stop").click()
    arrival.get_by_role("button", name="Go on").click(timeout=SLOW)
    expect(arrival.locator(".po-state")).to_contain_text("on the shelf", timeout=SLOW)
    arrival.get_by_role("button", name="Dismiss").click()
    (server.data_dir / "checkpoints" / "Fox.safetensors").unlink()


def test_what_a_checkpoint_lacks_can_be_asked_for_again(new_page: NewPage, server: Server) -> None:
    file = denoiser_alone(server.data_dir / "checkpoints" / "alone.safetensors")
    asked: list[str] = []

    def answer(route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        asked.append(route.request.post_data_json["name"])
        if len(asked) % 3 == 1:
            error = {"message": "The server gives it to none.", "hint": "Log in."}
            return route.fulfill(status=422, json={"error": error})
        return route.fulfill(json={})

    page = new_page()
    page.route("**/api/installs", answer)
    open_tab(page)
    get = page.get_by_role("button", name="Install what it lacks")
    for _ in range(2):
        expect(get).to_be_enabled(timeout=SLOW)
        get.click()
        expect(page.locator(".po-lacking .po-wrong")).to_contain_text("none. Log in.")
    expect(get).to_be_enabled()
    assert asked == 2 * ["ae.safetensors", "clip_l.safetensors", "t5xxl_fp16.safetensors"]
    file.unlink()


def test_a_guest_sees_what_there_is_and_no_more(new_page: NewPage, server: Server) -> None:
    page = new_page()
    page.route("**/api/installs", lambda route: route.fulfill(
        json={"may_install": False, "installs": [], "starters": [], "free_bytes": 0}
    ))  # fmt: skip
    open_tab(page)
    expect(page.locator(".po-entry").first).to_be_visible()
    expect(page.get_by_role("heading", name="Install")).to_have_count(0)
