"""The mask that the server has is the one that was drawn, whatever was done on the way."""

import io
import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.canvases import (
    Canvas,
    leave,
    nothing,
    open_tab,
    overlap,
    polygon,
    stroke,
    upload,
)
from tests.e2e.conftest import NewPage, ready
from tests.serving import Server

SIZE = (480, 360)
ALIKE = 0.98
"""Least intersection over union of a drawn mask and the server's."""
ZIGZAG = [(60, 60), (300, 90), (120, 200), (380, 300)]
ACROSS = [(40, 300), (440, 60)]

OpenCanvas = Callable[..., Canvas]


def photograph(size: tuple[int, int] = SIZE, seed: int = 1) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def open_canvas(new_page: NewPage, server: Server) -> Iterator[OpenCanvas]:
    """Opens the tab Inpaint with a picture in it."""

    def opened(image: Image.Image | None = None, **options: object) -> Canvas:
        leave(server, "inpaint", image=upload(server, image or photograph()), mask="", feather_px=0)
        page = new_page(**options)
        open_tab(page, "Inpaint")
        return Canvas(page, server).settled()

    yield opened
    leave(server, "inpaint", image="", mask="")


@pytest.fixture
def canvas(open_canvas: OpenCanvas) -> Canvas:
    return open_canvas()


def test_tools_and_sizes_change_in_mid_mask(canvas: Canvas) -> None:
    expected = nothing(SIZE)
    size = canvas.size(24)
    canvas.drag(ZIGZAG)
    expected = stroke(expected, ZIGZAG, size)
    assert overlap(canvas.settled().mask(), expected) >= ALIKE

    size = canvas.size(60)
    canvas.drag([(400, 80), (330, 160)])
    expected = stroke(expected, [(400, 80), (330, 160)], size)
    assert overlap(canvas.settled().mask(), expected) >= ALIKE

    canvas.take("eraser")
    canvas.drag(ACROSS)
    erased = stroke(expected, ACROSS, size, value=0)
    assert overlap(canvas.settled().mask(), erased) >= ALIKE

    canvas.take("rectangle")
    canvas.drag([(20, 220), (140, 340)])
    erased[220:340, 20:140] = 255
    assert overlap(canvas.settled().mask(), erased) >= ALIKE

    canvas.take("lasso")
    corners = [(250, 200), (420, 210), (400, 340), (230, 320)]
    canvas.drag(corners)
    assert overlap(canvas.settled().mask(), polygon(erased, corners)) >= ALIKE


@pytest.mark.slow
def test_strokes_are_taken_back_and_come_again(canvas: Canvas) -> None:
    page = canvas.page
    size = canvas.size(30)
    canvas.drag(ZIGZAG)
    one = canvas.settled().mask()
    page.keyboard.press("e")
    canvas.drag(ACROSS)
    other = canvas.settled().mask()
    assert overlap(other, stroke(one, ACROSS, size, value=0)) >= ALIKE
    page.keyboard.press("Control+z")
    assert (canvas.settled().mask() == one).all()
    page.keyboard.press("Control+z")
    canvas.settled()
    assert canvas.ref("mask") == ""
    canvas.says("Nothing is masked yet. Paint over what you want to change.")
    page.keyboard.press("Control+Shift+z")
    assert (canvas.settled().mask() == one).all()
    page.get_by_role("button", name="Redo").click()
    assert (canvas.settled().mask() == other).all()
    page.get_by_role("button", name="Clear the mask").click()
    canvas.settled()
    assert canvas.ref("mask") == ""
    page.get_by_role("button", name="Undo").click()
    assert (canvas.settled().mask() == other).all()


@pytest.mark.slow
def test_what_is_pressed_in_mid_stroke_ends_it_or_is_for_the_next_one(canvas: Canvas) -> None:
    page = canvas.page
    size = canvas.size(30)
    canvas.drag(ACROSS)
    one = canvas.settled().mask()

    def dragged(points: list[tuple[float, float]], pressed: str) -> None:
        page.mouse.move(*canvas.at(*points[0]))
        page.mouse.down()
        page.mouse.move(*canvas.at(*points[1]), steps=6)
        page.keyboard.press(pressed)
        for point in points[2:]:
            page.mouse.move(*canvas.at(*point), steps=6)
        page.mouse.up()

    corners = [(250.0, 200.0), (420.0, 210.0), (400.0, 340.0), (230.0, 320.0)]
    dragged(corners, "Control+z")
    assert (canvas.settled().mask() == one).all()
    dragged(corners, "l")
    brushed = stroke(one, corners, size)
    assert overlap(canvas.settled().mask(), brushed) >= ALIKE
    dragged(corners, "b")
    assert overlap(canvas.settled().mask(), polygon(brushed, corners)) >= ALIKE
    expect(page.locator("#inpaint-canvas [data-tool=brush]")).to_have_attribute(
        "aria-pressed", "true"
    )


@pytest.mark.slow
def test_a_mask_outlives_tab_and_page_and_goes_on(canvas: Canvas) -> None:
    page = canvas.page
    size = canvas.size(36)
    canvas.drag(ZIGZAG)
    before = canvas.settled().mask()
    open_tab(page, "Paint")
    open_tab(page, "Inpaint")
    assert (canvas.settled().mask() == before).all()
    assert overlap(canvas.overlay(), before) >= 0.95
    page.reload()
    ready(page)
    open_tab(page, "Inpaint")
    assert (canvas.settled().mask() == before).all()
    assert overlap(canvas.overlay(), before) >= 0.95
    canvas.drag(ACROSS)
    assert overlap(canvas.settled().mask(), stroke(before, ACROSS, size)) >= ALIKE


def test_what_is_overlaid_is_what_the_server_will_use(canvas: Canvas) -> None:
    page = canvas.page
    canvas.size(30)
    canvas.drag(ZIGZAG)
    canvas.settled()
    drawn = np.count_nonzero(canvas.overlay())
    page.fill("#inpaint-feather-px input[type=number]", "24")
    page.keyboard.press("Tab")
    page.fill("#inpaint-grow-px input[type=number]", "-5")
    page.keyboard.press("Tab")
    used = canvas.settled().mask(feather_px=24, grow_px=-5)
    seen = canvas.overlay()
    assert overlap(seen, np.where(used > 0, 255, 0).astype(np.uint8)) >= 0.95
    assert np.count_nonzero(seen) > drawn
    share = 100 * np.count_nonzero(used) / used.size
    said = page.locator("#inpaint-canvas .po-c-line > :first-child").inner_text()
    assert abs(float(said.split(" ")[0]) - share) <= 0.5
    assert "px" in said
    page.locator("#inpaint-area").get_by_text("Whole picture").click()
    canvas.says(re.compile("looks at the whole picture"))


@pytest.mark.slow
def test_inverting_repaints_what_is_not_masked(canvas: Canvas) -> None:
    page = canvas.page
    size = canvas.size(40)
    canvas.drag(ZIGZAG)
    drawn = canvas.settled().mask()
    page.keyboard.press("x")
    expect(page.locator("#inpaint-invert input")).to_be_checked()
    canvas.settled()
    assert (canvas.mask() == drawn).all()
    used = canvas.mask(invert=True)
    assert (used == 255 - drawn).all()
    assert overlap(canvas.overlay(), used) >= 0.95
    # a stroke takes away from what is seen, at once
    canvas.drag(ACROSS)
    seen = canvas.overlay()
    expected = stroke(drawn, ACROSS, size)
    assert overlap(seen, 255 - expected) >= 0.95
    assert overlap(canvas.settled().mask(), expected) >= ALIKE


@pytest.mark.slow
def test_all_of_a_picture_is_repainted_by_inverting_an_empty_mask(canvas: Canvas) -> None:
    assert canvas.ref("mask") == ""
    canvas.page.get_by_role("button", name="Invert (X)").click()
    canvas.says(re.compile("^100 % is repainted"))
    assert (canvas.mask(invert=True) == 255).all()


@pytest.mark.slow
def test_softness_and_opacity_are_in_the_mask(canvas: Canvas) -> None:
    size = canvas.size(80)
    canvas.set("Opacity", 50)
    canvas.drag([(100, 180), (380, 180)])
    half = canvas.settled().mask()
    assert set(np.unique(half)) >= {0, 128}
    assert half.max() == 128
    canvas.drag([(100, 180), (380, 180)])  # going over it again does not add up
    assert canvas.settled().mask().max() == 128
    canvas.set("Opacity", 100)
    canvas.set("Softness", 100)
    canvas.drag([(100, 180), (380, 180)])
    column = canvas.settled().mask()[:, 240].astype(int)
    assert column[180] == 255
    below = column[180 : 180 + size // 4]
    assert (np.diff(below) <= 0).all()
    assert below[-1] < 255


@pytest.mark.slow
def test_strokes_land_where_they_are_seen_however_near_one_is(canvas: Canvas) -> None:
    page = canvas.page
    page.mouse.move(*canvas.at(150, 120))
    page.mouse.wheel(0, -500)
    page.keyboard.down("Space")
    x, y = canvas.at(150, 120)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 70, y + 45, steps=4)
    page.mouse.up()
    page.keyboard.up("Space")
    near = canvas.at(150, 120)
    assert abs(near[0] - x - 70) < 2
    size = canvas.size(20)
    points = [(120, 100), (200, 130), (160, 170)]
    canvas.drag(points)
    drawn = canvas.settled().mask()
    assert overlap(drawn, stroke(nothing(SIZE), points, size)) >= ALIKE
    page.keyboard.press("0")
    assert overlap(canvas.overlay(), drawn) >= 0.93


@pytest.mark.slow
def test_fingers_paint_and_two_of_them_only_move_the_picture(open_canvas: OpenCanvas) -> None:
    canvas = open_canvas(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = canvas.page
    page.locator("#inpaint-canvas .po-c-stage").scroll_into_view_if_needed()
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        spots = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    page.locator(".po-c-menu summary").click()
    menu = page.locator(".po-c-items").bounding_box()
    assert menu is not None
    assert menu["x"] >= 0 and menu["x"] + menu["width"] <= 390
    page.keyboard.press("Escape")

    size = canvas.size(60)
    fingers("touchStart", canvas.at(80, 80))
    for step in range(1, 21):
        fingers("touchMove", canvas.at(80 + 15 * step, 80 + 9 * step))
    fingers("touchEnd")
    expected = stroke(nothing(SIZE), [(80, 80), (380, 260)], size)
    drawn = canvas.settled().mask()
    assert overlap(drawn, expected) >= ALIKE

    page.get_by_role("button", name="Undo").click()
    page.locator("#inpaint-canvas .po-c-stage").scroll_into_view_if_needed()
    scroll = page.evaluate("scrollY")
    before = canvas.at(0, 0)
    one, other = canvas.at(200, 150), canvas.at(280, 210)
    fingers("touchStart", one)
    fingers("touchMove", (one[0] - 2, one[1]))
    fingers("touchStart", one, other)
    for step in range(1, 11):
        fingers("touchMove", (one[0] - 4 * step, one[1]), (other[0] + 4 * step, other[1]))
    fingers("touchEnd")
    assert canvas.at(0, 0)[0] < before[0] - 20
    assert abs(page.evaluate("scrollY") - scroll) <= 1  # where it stands between two pixels
    page.get_by_role("button", name="Redo").click()
    assert (canvas.settled().mask() == drawn).all()


@pytest.mark.slow
def test_a_pen_paints_as_wide_as_it_is_pressed(canvas: Canvas) -> None:
    page = canvas.page
    page.locator("#inpaint-canvas .po-c-stage").scroll_into_view_if_needed()
    pen = page.context.new_cdp_session(page)

    def drawn(points: list[tuple[float, float]], force: float) -> None:
        def at(kind: str, place: tuple[float, float], **more: object) -> None:
            x, y = canvas.at(*place)
            told = {"type": kind, "x": x, "y": y, "pointerType": "pen", "force": force, **more}
            pen.send("Input.dispatchMouseEvent", told)

        held = {"button": "left", "buttons": 1, "clickCount": 1}
        at("mousePressed", points[0], **held)
        for (x, y), (to_x, to_y) in pairwise(points):
            for step in range(1, 11):
                share = step / 10
                at("mouseMoved", (x + share * (to_x - x), y + share * (to_y - y)), **held)
        at("mouseReleased", points[-1], **{**held, "buttons": 0})

    size = canvas.size(60)
    drawn(ZIGZAG, 0.5)
    expected = stroke(nothing(SIZE), ZIGZAG, size * 0.6)
    assert overlap(canvas.settled().mask(), expected) >= ALIKE
    canvas.drag(ACROSS)
    expected = stroke(expected, ACROSS, size)
    assert overlap(canvas.settled().mask(), expected) >= ALIKE


@pytest.mark.slow
def test_a_mask_is_uploaded_and_one_of_another_size_is_refused_in_words(
    canvas: Canvas, tmp_path: Path
) -> None:
    page = canvas.page
    canvas.drag(ACROSS)
    canvas.settled()
    wanted = polygon(nothing(SIZE), [(100, 50), (400, 120), (220, 330)])
    file = tmp_path / "mask.png"
    Image.fromarray(wanted).convert("1").save(file)
    page.set_input_files("#inpaint-canvas [data-role=mask-file]", file)
    assert (canvas.settled().mask() == wanted).all()
    canvas.page.keyboard.press("Control+z")

    Image.new("L", (100, 80), 255).save(file)
    before = canvas.settled().ref("mask")
    page.set_input_files("#inpaint-canvas [data-role=mask-file]", file)
    canvas.says(re.compile("^The mask is 100×80 px and the picture 480×360 px"))
    assert canvas.settled().ref("mask") == before


@pytest.mark.slow
def test_a_mask_is_downloaded_as_it_was_drawn(canvas: Canvas) -> None:
    canvas.set("Softness", 60)
    canvas.drag(ZIGZAG)
    drawn = canvas.settled().mask()
    canvas.page.locator(".po-c-menu summary").click()
    with canvas.page.expect_download() as found:
        canvas.page.get_by_role("button", name="Download the mask").click()
    assert (np.asarray(Image.open(found.value.path())) == drawn).all()


@pytest.mark.slow
def test_what_is_transparent_can_be_masked(open_canvas: OpenCanvas) -> None:
    alpha = 255 - polygon(nothing(SIZE), [(60, 60), (300, 80), (180, 300)])
    image = photograph()
    image.putalpha(Image.fromarray(alpha))
    canvas = open_canvas(image)
    page = canvas.page
    page.locator(".po-c-menu summary").click()
    page.get_by_role("button", name="From the picture's transparency").click()
    assert (canvas.settled().mask() == 255 - alpha).all()


@pytest.mark.slow
def test_a_changed_picture_asks_what_becomes_of_the_mask(canvas: Canvas) -> None:
    page = canvas.page
    canvas.drag(ZIGZAG)
    drawn = canvas.settled().mask()

    def choose(image: Image.Image) -> None:
        file = io.BytesIO()
        image.save(file, "PNG")
        page.set_input_files(
            "#inpaint-image-file",
            {"name": "new.png", "mimeType": "image/png", "buffer": file.getvalue()},
        )

    question = page.get_by_role("alertdialog")
    choose(photograph(seed=2))
    expect(question).to_contain_text("The picture has changed. Keep the mask?")
    assert canvas.ref("mask") == ""
    question.get_by_role("button", name="Keep it").click()
    assert (canvas.settled().mask() == drawn).all()

    choose(photograph(seed=3))
    question.get_by_role("button", name="Clear it").click()
    canvas.settled()
    assert canvas.ref("mask") == ""
    assert not canvas.page.get_by_role("button", name="Undo").is_enabled()

    canvas.drag(ACROSS)
    canvas.settled()
    choose(photograph((200, 100)))
    expect(question).to_contain_text(
        "The mask is 480 × 360 px and this picture 200 × 100 px, so it cannot be kept."
    )
    assert canvas.ref("mask") == ""
    expect(question.get_by_role("button")).to_have_count(1)


@pytest.mark.slow
def test_a_question_that_was_not_answered_keeps_nothing(canvas: Canvas, server: Server) -> None:
    page = canvas.page
    canvas.drag(ZIGZAG)
    canvas.settled()
    file = io.BytesIO()
    photograph(seed=4).save(file, "PNG")
    page.set_input_files(
        "#inpaint-image-file",
        {"name": "new.png", "mimeType": "image/png", "buffer": file.getvalue()},
    )
    page.get_by_role("alertdialog").wait_for()
    end = time.monotonic() + 30
    while httpx.get(f"{server.url}/api/drafts/inpaint").json().get("mask"):
        assert time.monotonic() < end
        time.sleep(0.05)
    page.reload()
    ready(page)
    open_tab(page, "Inpaint")
    canvas.settled()
    assert canvas.ref("mask") == ""
    expect(page.get_by_role("alertdialog")).to_have_count(0)


@pytest.mark.slow
def test_a_picture_that_is_gone_is_said(new_page: NewPage, server: Server) -> None:
    leave(server, "inpaint", image="0" * 64, mask="")
    page = new_page()
    open_tab(page, "Inpaint")
    Canvas(page, server).says("This picture is gone. Choose another one.")
    leave(server, "inpaint", image="", mask="")


@pytest.mark.slow
def test_keys_mean_the_canvas_only_while_it_is_meant(canvas: Canvas) -> None:
    page = canvas.page
    brush = page.locator("#inpaint-canvas [data-tool=brush]")
    page.mouse.move(*canvas.at(200, 200))
    page.locator("#inpaint-prompt textarea").focus()
    page.keyboard.type(" exxb[")
    expect(brush).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#inpaint-invert input")).not_to_be_checked()
    expect(page.locator("#inpaint-prompt textarea")).to_have_value(re.compile(r" exxb\[$"))
    page.locator("#inpaint-canvas .po-c-stage").focus()
    page.keyboard.press("e")
    expect(brush).to_have_attribute("aria-pressed", "false")
    size = canvas.size(50)
    page.locator("#inpaint-canvas .po-c-stage").focus()
    page.mouse.move(*canvas.at(210, 190))
    page.keyboard.press("]")
    expect(page.locator(".po-c-slider output").first).to_have_text(f"{round(size * 1.2)} px")
    ring = page.locator(".po-c-ring").bounding_box()
    picture = page.locator("#inpaint-canvas .po-c-picture").bounding_box()
    assert ring is not None
    assert picture is not None
    assert abs(ring["width"] - round(size * 1.2) * picture["width"] / SIZE[0]) <= 1
    page.keyboard.down("h")
    expect(page.locator("#inpaint-canvas .po-c-over")).to_be_hidden()
    page.keyboard.up("h")
    expect(page.locator("#inpaint-canvas .po-c-over")).to_be_visible()


@pytest.mark.slow
def test_a_mask_is_painted_with_the_keyboard_alone(canvas: Canvas) -> None:
    page = canvas.page
    size = canvas.size(40)
    page.locator("#inpaint-canvas .po-c-stage").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    step = round(size / 4)
    y = SIZE[1] / 2 - step
    expected = stroke(nothing(SIZE), [(SIZE[0] / 2, y), (SIZE[0] / 2 + 12 * step, y)], size)
    assert overlap(canvas.settled().mask(), expected) >= ALIKE


@pytest.mark.slow
def test_the_largest_picture_is_masked_in_full(open_canvas: OpenCanvas) -> None:
    size = (8000, 5000)
    canvas = open_canvas(Image.new("RGB", size, "#8fb0c8"))
    points = [(1000, 1000), (6000, 1500), (3000, 4200)]
    brush = canvas.size(400)
    canvas.drag(points)
    canvas.page.locator("#inpaint-canvas[data-state=settled]").wait_for(timeout=60_000)
    canvas.settled()
    # drawn in an eighth of the size: an eighth of a brush is as far off as anywhere else
    small = [(x / 8, y / 8) for x, y in points]
    expected = stroke(nothing((1000, 625)), small, brush / 8)
    found = np.asarray(Image.fromarray(canvas.mask()).resize((1000, 625), Image.Resampling.BOX))
    assert overlap(found, expected) >= ALIKE
