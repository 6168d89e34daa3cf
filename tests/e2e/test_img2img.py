"""From a picture to another one, and back to what it was made from."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import DRAFT, NewPage, ready
from tests.e2e.steps import SLOW, at, done, gallery, give, number, paint, painted, png, until
from tests.serving import Server

TAB, LABEL = "img2img", "From a picture"
PROMPT = f"#{TAB}-prompt textarea"
PANEL = f"#{TAB}-panel"
ID = re.compile("/api/(images|pictures)/([0-9a-f]{32,64})")


def pictures(page: Page) -> Locator:
    return page.locator(f"#{TAB}-image-slot li img")


def start_from(page: Page, *files: bytes) -> None:
    before = pictures(page).count()
    page.set_input_files(
        f"#{TAB}-image-file",
        [
            {"name": f"{number}.png", "mimeType": "image/png", "buffer": data}
            for number, data in enumerate(files)
        ],
    )
    expect(pictures(page)).to_have_count(before + len(files))


def shown(image: Locator) -> str:
    """The ref or id of the picture that an element shows."""
    found = ID.search(image.get_attribute("src") or "")
    assert found is not None
    return found[2]


@pytest.fixture
def page(page: Page) -> Page:
    at(page, TAB, LABEL)
    return page


def test_a_picture_is_repainted_compared_and_repainted_again(page: Page) -> None:
    start_from(page, png("teal", (96, 48)))
    source = shown(pictures(page))
    expect(page.locator(f"#{TAB}-pixels")).to_contain_text("88 × 64 px")
    painted(page, "a lake", tab=TAB)
    expect(page.locator(f"{PANEL} .po-words")).to_contain_text("88 × 64")

    compare = page.locator(f"{PANEL} .po-compare")
    expect(compare.locator(".po-before")).to_have_attribute("src", f"/api/pictures/{source}")
    line = page.get_by_role("slider", name="Line between before and after")
    line.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(line).to_have_value("53")
    box = compare.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.53, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20, steps=4)
    page.mouse.up()
    at_px = page.locator(f"{PANEL} .po-line").bounding_box()
    assert at_px is not None
    assert abs(at_px["x"] + 1 - box["x"] - box["width"] * 0.2) < box["width"] * 0.02

    result = shown(compare.locator(".po-after"))
    page.get_by_role("button", name="Use as source").click()
    expect(pictures(page)).to_have_attribute("src", f"/api/pictures/{result}")
    expect(page.locator(PROMPT)).to_have_value("a lake")
    painted(page, "the lake in winter", tab=TAB)
    expect(compare.locator(".po-before")).to_have_attribute("src", f"/api/pictures/{result}")

    page.locator(PANEL).get_by_role("button", name="Full screen").click()
    viewer = page.get_by_role("dialog", name="Picture")
    expect(viewer.locator(".po-said")).to_contain_text("the lake in winter")
    expect(viewer.locator(".po-facts dl")).to_contain_text("Strength0.6")
    viewer.get_by_role("button", name="Open the picture it was made from").click()
    expect(viewer.locator(".po-said")).to_contain_text("a lake")
    origin = viewer.locator(".po-parents img")
    expect(origin).to_have_attribute("src", f"/api/pictures/{source}")
    assert origin.evaluate("async image => (await image.decode(), image.naturalWidth)") == 96
    viewer.get_by_role("button", name="Back").click()
    expect(viewer.locator(".po-said")).to_contain_text("the lake in winter")


@pytest.mark.slow
def test_a_reload_keeps_the_picture_and_what_is_done_with_it(page: Page) -> None:
    start_from(page, png("olive", (64, 96)))
    source = shown(pictures(page))
    page.fill(PROMPT, "an olive tree")
    number(page, f"#{TAB}-strength input[type=number]", 0.3)
    expect(page.locator(f"#{TAB}-strength-words .meaning")).to_have_text("repaints, close to it")
    page.get_by_text("Own size").click()
    page.locator(f"#{TAB}-resize").get_by_text("Pad").click()
    until(
        page,
        f"fetch('/api/drafts/{TAB}').then(answer => answer.json())",
        lambda draft: (draft.get("resize"), draft.get("size_mode")) == ("pad", "Own size"),
    )
    page.reload()
    ready(page)
    at(page, TAB, LABEL)
    expect(pictures(page)).to_have_attribute("src", f"/api/pictures/{source}")
    expect(page.locator(f"#{TAB}-strength input[type=number]")).to_have_value("0.3")
    expect(page.locator(f"#{TAB}-resize input:checked")).to_have_value("pad")
    page.get_by_role("button", name="Remove all").click()
    expect(pictures(page)).to_have_count(0)
    page.click(f"#{TAB}-generate")
    message = page.locator("[data-testid=toast-body]")
    expect(message).to_contain_text("There is no picture to start from.")


@pytest.mark.slow
def test_several_pictures_become_a_job_each_with_the_same_settings(page: Page) -> None:
    give(
        page, f"#{TAB}-image-slot .po-slot", {"a.png": png("red"), "b.png": png("blue")}, by="drop"
    )
    expect(pictures(page)).to_have_count(2)
    give(page, f"#{TAB}-image-slot .po-slot", {"c.png": png("green")}, by="paste")
    expect(pictures(page)).to_have_count(3)
    page.locator(f"#{TAB}-image-slot li").first.get_by_role("button").click()
    refs = {shown(image) for image in pictures(page).all()}
    assert len(refs) == 2
    paint(page, "a batch of two", tab=TAB)
    until(
        page,
        """fetch("/api/jobs").then(answer => answer.json()).then(({jobs}) => jobs.filter(
            job => job.request.prompt === "a batch of two" && job.state === "finished").length)""",
        lambda count: count == 2,
    )
    jobs = page.evaluate("fetch('/api/jobs').then(answer => answer.json())")["jobs"]
    mine = [job for job in jobs if job["request"].get("prompt") == "a batch of two"]
    assert {job["request"]["image"] for job in mine} == refs


@pytest.mark.slow
def test_a_folder_brings_its_pictures_in_the_order_of_their_names(
    page: Page, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, size in {"10": (80, 64), "9": (72, 64), "1": (64, 64)}.items():
        (folder / f"{name}.png").write_bytes(png("teal", size))
    (folder / "notes.txt").write_text("no picture")
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Choose a folder").click()
    chosen.value.set_files(folder)
    sizes = page.locator(f"#{TAB}-image-slot .po-slot-size")
    expect(sizes).to_have_text(["64 × 64", "72 × 64", "80 × 64"])
    expect(page.locator(f"#{TAB}-image-slot")).to_contain_text("3 pictures, a job each")

    page.get_by_role("button", name="Remove all").click()
    for file in folder.glob("*.png"):
        file.unlink()
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Choose a folder").click()
    chosen.value.set_files(folder)
    expect(page.locator(".po-toast")).to_contain_text("There is no PNG, JPEG or WebP picture")
    expect(pictures(page)).to_have_count(0)


@pytest.mark.slow
def test_a_photograph_is_taken_with_the_camera(page: Page) -> None:
    page.get_by_role("button", name="Take a photo").click()
    camera = page.get_by_role("dialog", name="Camera")
    camera.get_by_role("button", name="Cancel").click()
    expect(camera).to_have_count(0)
    expect(pictures(page)).to_have_count(0)
    page.get_by_role("button", name="Take a photo").click()
    camera.get_by_role("button", name="Take the photo").click()
    expect(pictures(page)).to_have_count(1)
    # the browser's own picture is a green one with a clock in it
    assert pictures(page).evaluate(
        """async image => {
            await image.decode();
            const sheet = new OffscreenCanvas(1, 1).getContext("2d");
            sheet.drawImage(image, 0, 0, 1, 1);
            const [red, green, blue] = sheet.getImageData(0, 0, 1, 1).data;
            return green > red + 40 && green > blue + 40;
        }"""
    )
    page.evaluate(SQUARE_CAMERA)
    page.get_by_role("button", name="Take a photo").click()
    shoot = camera.get_by_role("button", name="Take the photo")
    expect(shoot).to_be_enabled()
    # whatever the camera's shape: else the buttons would move under a finger
    box = camera.locator("video").bounding_box()
    assert box is not None and box["width"] / box["height"] == pytest.approx(16 / 9, abs=0.02)
    shoot.click()
    expect(pictures(page)).to_have_count(2)


SQUARE_CAMERA = """() => (navigator.mediaDevices.getUserMedia = async () => {
    const sheet = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
    const pen = sheet.getContext("2d");
    setInterval(() => pen.fillRect(0, 0, 64, 64), 50);
    return sheet.captureStream();
})"""
"""A camera in the dark, so that its picture is not the one of the browser's own."""


@pytest.mark.slow
def test_a_camera_that_cannot_be_played_is_not_waited_for(page: Page) -> None:
    page.evaluate(
        """() => (HTMLMediaElement.prototype.play = () =>
            Promise.reject(new DOMException("", "NotReadableError")))"""
    )
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator(".po-toast")).to_contain_text("The camera is in use by something else")
    expect(page.get_by_role("dialog", name="Camera")).to_have_count(0)


@pytest.mark.slow
def test_a_camera_that_is_not_lent_is_said(page: Page) -> None:
    page.evaluate(
        """() => (navigator.mediaDevices.getUserMedia = () =>
            Promise.reject(new DOMException("", "NotAllowedError")))"""
    )
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator(".po-toast")).to_contain_text("does not let this page use the camera")


@pytest.mark.slow
def test_a_picture_of_the_gallery_can_be_sent_here_and_its_settings_come_back(page: Page) -> None:
    page.get_by_role("tab", name="Paint", exact=True).click()
    painted(page, "something to start from")
    gallery(page).first.locator(".po-open").click()
    viewer = page.get_by_role("dialog", name="Picture")
    viewer.get_by_label("Send to").select_option(LABEL)
    expect(page.get_by_role("tab", name=LABEL)).to_have_attribute("aria-selected", "true")
    expect(pictures(page)).to_have_count(1)
    sent = shown(pictures(page))
    number(page, f"#{TAB}-strength input[type=number]", 0.9)
    painted(page, "something made of it", tab=TAB)
    page.get_by_role("button", name="Remove all").click()
    number(page, f"#{TAB}-strength input[type=number]", 0.1)
    tiles = gallery(page)
    page.fill("#po-search", "made of it")
    expect(tiles).to_have_count(1)
    tiles.first.locator(".po-open").click()
    viewer.get_by_role("button", name="Use these settings").click()
    expect(pictures(page)).to_have_attribute("src", f"/api/pictures/{sent}")
    expect(page.locator(f"#{TAB}-strength input[type=number]")).to_have_value("0.9")
    expect(page.locator(f"#{TAB}-size-mode input:checked")).to_have_value("Own size")
    expect(page.locator(f"#{TAB}-pixels")).to_contain_text("64 × 64 px")


@pytest.mark.slow
def test_a_picture_that_is_gone_is_said_to_be_gone(new_page: NewPage, server: Server) -> None:
    draft = {**DRAFT, "image": "0" * 64}
    httpx.put(f"{server.url}/api/drafts/{TAB}", json=draft).raise_for_status()
    page = new_page()
    at(page, TAB, LABEL)
    slot = page.locator(f"#{TAB}-image-slot")
    expect(slot).to_contain_text("This picture is gone. Choose another one.")
    expect(page.locator(f"#{TAB}-pixels")).to_contain_text("follows the picture")
    start_from_nothing = page.locator(f"#{TAB}-image-file")
    page.get_by_role("button", name="Remove all").click()
    start_from_nothing.set_input_files(
        {"name": "new.png", "mimeType": "image/png", "buffer": png("navy")}
    )
    painted(page, "the sea instead", tab=TAB)


@pytest.mark.slow
def test_a_file_that_is_no_picture_is_refused_in_words(page: Page) -> None:
    page.set_input_files(
        f"#{TAB}-image-file",
        {"name": "notes.png", "mimeType": "image/png", "buffer": b"dear diary"},
    )
    expect(page.locator(".po-toast")).to_contain_text("This is not a picture")
    expect(pictures(page)).to_have_count(0)


@pytest.mark.slow
def test_a_tab_that_is_not_in_view_does_nothing(new_page: NewPage) -> None:
    page = new_page()
    assert page.locator(f"{PANEL} > *").count() == 0
    at(page, TAB, LABEL)
    expect(page.locator(f"{PANEL} > *")).to_have_count(1)
    page.get_by_role("tab", name="Paint", exact=True).click()
    before = page.locator(PANEL).inner_html()
    painted(page, "out of sight")
    assert page.locator(PANEL).inner_html() == before
    expect(done(page)).to_have_count(1)


@pytest.mark.slow
def test_what_another_tab_paints_is_told_and_can_be_stopped(page: Page) -> None:
    page.get_by_role("tab", name="Paint", exact=True).click()
    paint(page, "painted next door", steps=150, count=8)
    page.get_by_text(re.compile("Step [0-9]+ of 150")).wait_for(timeout=60_000)
    page.get_by_role("tab", name=LABEL, exact=True).click()
    row = page.locator(f"#{TAB}-queue .po-moving")
    expect(row).to_contain_text("painted next door")
    expect(row).to_contain_text("Paint · 64 × 64")
    row.get_by_role("button", name="Stop").click()
    expect(row).to_have_count(0)


@pytest.mark.slow
def test_a_picture_larger_than_the_studio_takes_is_made_smaller_and_that_is_said(
    page: Page,
) -> None:
    page.set_input_files(
        f"#{TAB}-image-file",
        [{"name": "8.png", "mimeType": "image/png", "buffer": png("teal", (9000, 4600))}],
    )
    expect(page.locator(".po-toast")).to_contain_text("5729 × 2928", timeout=SLOW)
    expect(pictures(page)).to_have_count(1)
