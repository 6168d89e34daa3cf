"""Painting into a picture and beyond it, from the first stroke to the result."""

import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.canvases import Canvas, leave, open_tab, stroke, upload
from tests.e2e.conftest import NewPage
from tests.e2e.steps import SLOW
from tests.serving import Server

SIZE = (160, 120)


def photograph(seed: int = 5) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (120, 160, 3), np.uint8))


@pytest.fixture
def canvas(new_page: NewPage, server: Server) -> Canvas:
    leave(server, "inpaint", image=upload(server, photograph()), mask="")
    page = new_page()
    open_tab(page, "Inpaint")
    return Canvas(page, server).settled()


def finished(page: Page, tab: str) -> str:
    """Waits for the job that was asked for; the id of its first picture."""
    panel = page.locator(f"#{tab}-panel[data-state=finished]")
    expect(panel).to_be_visible(timeout=SLOW)
    job = panel.get_attribute("data-job")
    images = page.evaluate(
        "async job => (await (await fetch('/api/jobs/' + job)).json()).images", job
    )
    return images[0]["id"]


def picture(server: Server, image_id: str) -> np.ndarray:
    answer = httpx.get(f"{server.url}/api/images/{image_id}/file").raise_for_status()
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def request_of(server: Server, image_id: str) -> dict[str, object]:
    return httpx.get(f"{server.url}/api/images/{image_id}").raise_for_status().json()["request"]


def test_only_what_is_masked_is_painted_to_the_byte(canvas: Canvas, server: Server) -> None:
    page = canvas.page
    canvas.size(30)
    canvas.drag([(60, 50), (100, 70)])
    canvas.settled()
    page.click("#inpaint-generate")
    image_id = finished(page, "inpaint")
    old, new = np.asarray(photograph()), picture(server, image_id)
    used = canvas.mask(feather_px=8)
    assert new.shape == old.shape
    assert (new[used == 0] == old[used == 0]).all()
    assert (new[used == 255] != old[used == 255]).any(axis=-1).mean() > 0.5
    made = request_of(server, image_id)
    assert (made["mask"], made["image"]) == (canvas.ref("mask"), canvas.ref("image"))

    # the result takes the place of the picture, and the mask is asked about
    page.click("#inpaint-use-result")
    question = page.get_by_role("alertdialog")
    expect(question).to_contain_text("Keep the mask?")
    question.get_by_role("button", name="Keep it").click()
    canvas.settled()
    assert canvas.ref("image") == image_id
    assert (canvas.mask(feather_px=8) == used).all()


@pytest.mark.slow
def test_a_stroke_of_the_last_moment_is_painted_too(canvas: Canvas, server: Server) -> None:
    page = canvas.page
    size = canvas.size(24)
    canvas.drag([(40, 30), (120, 30)])
    canvas.settled()
    canvas.drag([(40, 90), (120, 90)])
    page.keyboard.press("Control+Enter")
    image_id = finished(page, "inpaint")
    canvas.settled()
    drawn = canvas.mask()
    assert (drawn >= 128)[90, 80]
    expected = stroke(np.zeros_like(drawn), [(40, 90), (120, 90)], size)
    assert (drawn[60:] == 255).sum() >= 0.9 * (expected == 255).sum()
    assert request_of(server, image_id)["mask"] == canvas.ref("mask")


@pytest.mark.slow
def test_what_could_not_be_sent_is_not_painted_with(canvas: Canvas, server: Server) -> None:
    page = canvas.page
    canvas.drag([(40, 30), (120, 30)])
    ref = canvas.settled().ref("mask")
    jobs = httpx.get(f"{server.url}/api/jobs").json()
    page.route("**/api/inputs", lambda route: route.abort())
    canvas.drag([(40, 90), (120, 90)])
    page.click("#inpaint-generate")
    canvas.says("The studio does not answer. See whether it is still running.")
    page.wait_for_timeout(500)
    assert httpx.get(f"{server.url}/api/jobs").json() == jobs
    assert canvas.ref("mask") == ref
    page.unroute("**/api/inputs")
    page.click("#inpaint-generate")
    finished(page, "inpaint")
    assert canvas.ref("mask") != ref


@pytest.mark.slow
def test_without_a_mask_nothing_is_queued_and_it_is_said(canvas: Canvas) -> None:
    canvas.page.click("#inpaint-generate")
    message = canvas.page.locator("[data-testid=toast-body]")
    expect(message).to_contain_text("Nothing is masked: nothing would be repainted.")


@pytest.mark.slow
def test_a_picture_brings_its_settings_and_its_mask_back(canvas: Canvas, server: Server) -> None:
    page = canvas.page
    image, mask = upload(server, photograph(6)), np.zeros((120, 160), np.uint8)
    mask[30:80, 50:110] = 255
    fields = {
        "task": "inpaint",
        "prompt": "made elsewhere",
        "checkpoint": "tiny",
        "image": image,
        "mask": upload(server, Image.fromarray(mask)),
        "content": "noise",
        "area": "whole",
        "grow_px": 3,
        "invert": True,
        "steps": 2,
        "strength": 0.5,
    }
    job = httpx.post(f"{server.url}/api/jobs", json=fields).raise_for_status().json()["id"]
    finished(page, "inpaint")
    made = httpx.get(f"{server.url}/api/jobs/{job}").json()["images"][0]["id"]
    page.evaluate(
        """message => {
            const box = document.querySelector("#bridge-message textarea");
            Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(box, message);
            box.dispatchEvent(new Event("input", { bubbles: true }));
            setTimeout(() => document.querySelector("#bridge-send").click(), 50);
        }""",
        json.dumps({"do": "reuse", "image": made}),
    )
    expect(page.locator("#inpaint-prompt textarea")).to_have_value("made elsewhere")
    expect(page.locator("#inpaint-invert input")).to_be_checked()
    expect(page.locator("#inpaint-image textarea")).to_have_value(image)
    canvas.settled()
    assert (canvas.mask() == mask).all()
    expect(page.get_by_role("alertdialog")).to_have_count(0)


@pytest.mark.slow
def test_a_picture_is_continued_by_dragging_its_side(new_page: NewPage, server: Server) -> None:
    leave(server, "outpaint", image=upload(server, photograph()))
    page = new_page()
    open_tab(page, "Outpaint")
    part = page.locator("#outpaint-sides")
    handle = part.get_by_role("slider", name="Pixels to add on the right")
    handle.wait_for()
    shown = part.locator(".po-c-picture").bounding_box()
    knob = handle.bounding_box()
    assert shown is not None
    assert knob is not None
    scale = shown["width"] / SIZE[0]
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40 * scale, y, steps=8)
    page.mouse.up()
    expect(page.locator("#outpaint-right input")).to_have_value("40")
    expect(part.locator(".po-c-line")).to_contain_text("Becomes 200 × 120 px")
    handle.press("ArrowLeft")
    expect(page.locator("#outpaint-right input")).to_have_value("32")
    page.fill("#outpaint-top input", "16")
    page.keyboard.press("Tab")
    expect(part.locator(".po-c-line")).to_contain_text("Becomes 192 × 136 px")
    page.click("#outpaint-generate")
    image_id = finished(page, "outpaint")
    new, old = picture(server, image_id), np.asarray(photograph())
    assert new.shape == (136, 192, 3)
    kept = new[16 + 16 :, : 160 - 16]  # beyond the feather
    assert (kept == old[16:, : 160 - 16]).all()
    page.click("#outpaint-use-result")
    expect(page.locator("#outpaint-right input")).to_have_value("0")
    expect(part.locator(".po-c-line")).to_contain_text("Nothing is added yet")


@pytest.mark.slow
def test_a_finger_drags_a_side_and_the_page_stays(new_page: NewPage, server: Server) -> None:
    leave(server, "outpaint", image=upload(server, photograph()))
    page = new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    open_tab(page, "Outpaint")
    part = page.locator("#outpaint-sides")
    handle = part.get_by_role("slider", name="Pixels to add at the bottom")
    handle.wait_for()
    handle.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    shown, knob = part.locator(".po-c-picture").bounding_box(), handle.bounding_box()
    assert shown is not None
    assert knob is not None
    scale, place = shown["height"] / SIZE[1], part.locator(".po-c-stage").bounding_box()
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    touch = page.context.new_cdp_session(page)

    def finger(kind: str, *points: dict[str, float]) -> None:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    finger("touchStart", {"x": x, "y": y})
    for step in range(1, 9):
        finger("touchMove", {"x": x, "y": y + 3 * step * scale})
    finger("touchEnd")
    expect(page.locator("#outpaint-bottom input")).to_have_value("24")
    expect(part.locator(".po-c-line")).to_contain_text("Becomes 160 × 144 px")
    stays = part.locator(".po-c-stage").bounding_box()
    assert place is not None
    assert stays is not None
    assert abs(stays["y"] - place["y"]) < 24  # a line of text may come or go


@pytest.mark.slow
def test_presets_add_what_they_say(new_page: NewPage, server: Server) -> None:
    leave(server, "outpaint", image=upload(server, photograph()))
    page = new_page()
    open_tab(page, "Outpaint")
    part = page.locator("#outpaint-sides")
    part.get_by_role("button", name="Square").click()
    expect(part.locator(".po-c-line")).to_contain_text("Becomes 160 × 160 px")
    part.get_by_role("button", name="16:9").click()
    expect(part.locator(".po-c-line")).to_contain_text("Becomes 213 × 120 px")
    part.get_by_role("button", name="None").click()
    part.get_by_role("button", name="Half more on the left").click()
    expect(part.locator(".po-c-line")).to_contain_text("Becomes 240 × 120 px")
    expect(page.locator("#outpaint-left input")).to_have_value("80")
    page.fill("#outpaint-right input", "4096")
    page.fill("#outpaint-left input", "4090")
    page.keyboard.press("Tab")
    expect(part.locator(".po-c-line")).to_contain_text("which is too large")
