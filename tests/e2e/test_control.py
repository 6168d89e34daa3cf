"""Maps and looks: what steers a picture, seen before it does."""

import json
import re
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.e2e.canvases import leave, upload
from tests.e2e.steps import PAINT, SLOW, at, kept, newest, painted, png
from tests.serving import Server

UNIT = "#control-units-units .po-unit"


def give(page: Page, selector: str, data: bytes) -> None:
    file = {"name": "a.png", "mimeType": "image/png", "buffer": data}
    page.set_input_files(selector, [file])  # type: ignore[list-item]


@pytest.mark.slow
def test_a_map_that_cannot_be_made_is_asked_for_once(page: Page, server: Server) -> None:
    """Where units are carried along, each look at them would else be another failing job."""
    nobody = upload(server, Image.new("RGB", (96, 96), "teal"))
    leave(server, "img2img", units=json.dumps([{"kind": "pose", "image": nobody}]))
    page.reload()
    at(page, "img2img", "From a picture")
    fold = page.locator("#tab-img2img .po-fold", has_text="Control: 1 unit")
    fold.locator("summary").click()
    expect(fold).to_contain_text("No person was found", timeout=SLOW)
    page.get_by_role("tab", name="Control", exact=True).click()
    page.get_by_role("tab", name="From a picture", exact=True).click()
    expect(fold).to_contain_text("No person was found")
    jobs = httpx.get(f"{server.url}/api/jobs").json()["jobs"]
    assert len([job for job in jobs if job["request"].get("image") == nobody]) == 1
    leave(server, "img2img", units="")


class TestControl:
    @pytest.fixture
    def page(self, page: Page) -> Page:
        at(page, "control", "Control")
        expect(page.locator(UNIT)).to_have_count(1)
        return page

    def test_a_map_is_seen_tuned_and_painted_with(self, page: Page, server: Server) -> None:
        give(page, f"{UNIT} input[type=file]", png("teal", (96, 96)))
        shown = page.locator(f"{UNIT} figure").nth(1).locator("img")
        expect(shown).to_have_attribute("src", re.compile("/api/pictures/"), timeout=SLOW)
        first = shown.get_attribute("src")
        page.get_by_label("Made by").select_option("xdog")
        page.wait_for_function(
            "([selector, first]) => document.querySelectorAll(selector)[1].src.indexOf(first) < 0",
            arg=[f"{UNIT} figure img", first],
            timeout=SLOW,
        )
        painted(page, "a teapot", tab="control")
        job = httpx.get(f"{server.url}/api/jobs/{newest(page, 'control')}").json()
        [unit] = job["request"]["units"]
        assert job["task"] == "control"
        assert unit["preprocessor"] == "xdog"
        assert unit["controlnet"] == "tiny-union"
        # the result steers beside what it was painted under, and that can be taken back
        page.click("#control-use-result")
        expect(page.locator(UNIT)).to_have_count(2)
        page.locator(".po-toast").get_by_role("button", name="Undo").click()
        expect(page.locator(UNIT)).to_have_count(1)

    @pytest.mark.slow
    def test_units_outlive_a_reload(self, page: Page) -> None:
        give(page, f"{UNIT} input[type=file]", png("navy", (96, 96)))
        expect(page.locator(f"{UNIT} figure img").first).to_be_visible()
        page.get_by_role("button", name="Add a unit").click()
        expect(page.locator(UNIT)).to_have_count(2)
        page.get_by_label("Shows").nth(1).select_option("depth")
        kept(page, "depth", tab="control")
        page.reload()
        at(page, "control", "Control")
        expect(page.locator(UNIT)).to_have_count(2)
        expect(page.get_by_label("Shows").nth(1)).to_have_value("depth")

    @pytest.mark.slow
    def test_a_picture_that_did_not_come_once_is_asked_for_again(
        self, page: Page, server: Server
    ) -> None:
        mine = upload(server, Image.new("RGB", (96, 96), "orchid"))
        leave(server, "control", units=json.dumps([{"kind": "canny", "map": mine}]))
        page.route(f"**/api/pictures/{mine}", lambda route: route.abort())
        page.reload()
        at(page, "control", "Control")
        words = page.locator(f"{UNIT} .po-unit-words")
        expect(words).to_have_text("This picture is gone. Choose another one.")
        page.unroute_all()
        page.get_by_label("Shows").select_option("depth")
        expect(words).to_have_text("")
        expect(page.locator(f"{UNIT} figure img").first).to_have_attribute("src", re.compile(mine))

    @pytest.mark.slow
    def test_what_became_of_a_replaced_picture_is_not_said_of_the_new_one(
        self, page: Page, server: Server
    ) -> None:
        mine = upload(server, Image.new("RGB", (96, 96), "salmon"))
        leave(server, "control", units=json.dumps([{"kind": "canny", "map": mine}]))
        held: list[Route] = []

        def hold(route: Route) -> None:
            held.append(route)

        page.route(f"**/api/pictures/{mine}", hold)
        page.reload()
        at(page, "control", "Control")
        give(page, f"{UNIT} input[type=file]", png("plum", (96, 96)))
        shown = page.locator(f"{UNIT} figure img").first
        expect(shown).to_have_attribute("src", re.compile("/api/pictures/"))
        assert held
        for route in held:
            route.abort()
        page.wait_for_timeout(300)
        expect(page.locator(f"{UNIT} .po-unit-words")).to_have_text("")

    @pytest.mark.slow
    def test_a_map_that_comes_once_another_way_is_chosen_is_not_shown(self, page: Page) -> None:
        held: list[Route] = []

        def hold(route: Route) -> None:
            held.append(route)

        page.route("**/api/jobs", hold)
        with page.expect_request("**/api/jobs"):
            give(page, f"{UNIT} input[type=file]", png("olive", (96, 96)))
        shown = page.locator(f"{UNIT} figure").nth(1).locator("img")
        page.get_by_label("Made by").select_option("anyline")
        expect(page.locator(f"{UNIT} .po-unit-lacking")).to_contain_text("are not here: 270 kB")
        with page.expect_response("**/api/images/*", timeout=SLOW):
            held[0].continue_()
        page.wait_for_timeout(300)
        expect(shown).to_be_hidden()
        expect(page.locator(f"{UNIT} [aria-busy]")).to_have_count(0)
        page.get_by_label("Made by").select_option("canny")
        expect(shown).to_be_visible()
        with page.expect_request("**/api/jobs"):
            page.get_by_label("Made by").select_option("xdog")
        page.get_by_label("Made by").select_option("own")
        with page.expect_response("**/api/images/*", timeout=SLOW):
            held[1].continue_()
        page.wait_for_timeout(300)
        expect(page.get_by_role("link", name="Save the map")).to_be_hidden()

    @pytest.mark.slow
    def test_without_a_picture_it_says_so(self, page: Page) -> None:
        page.fill("#control-prompt textarea", "a teapot")
        page.click("#control-generate")
        expect(page.get_by_text("There is no picture to take control from.")).to_be_visible()

    @pytest.mark.slow
    def test_nobody_in_the_picture_is_said(self, page: Page) -> None:
        give(page, f"{UNIT} input[type=file]", png("gold", (96, 96)))
        page.get_by_label("Shows").select_option("pose")
        expect(page.locator(f"{UNIT} .po-unit-words")).to_contain_text("person", timeout=SLOW)


def pose(page: Page) -> dict[str, Any]:
    """The people that the form holds, as a request would."""
    (unit,) = json.loads(page.input_value("#control-units textarea"))
    return unit["pose"]


def joints(page: Page, person: int = 0) -> list[list[float]]:
    """x, y and confidence of each joint."""
    numbers = pose(page)["people"][person]["pose_keypoints_2d"]
    return [numbers[at : at + 3] for at in range(0, 54, 3)]


class TestPose:
    """Somebody is posed by hand on an empty canvas."""

    NOSE, WRIST = 0, 4

    @pytest.fixture
    def page(self, page: Page) -> Page:
        at(page, "control", "Control")
        page.get_by_label("Shows").select_option("pose")
        page.get_by_role("button", name="Pose somebody").click()
        expect(page.locator("dialog.po-pose[data-people='1']")).to_be_visible()
        page.wait_for_function("document.querySelector('.po-pose-map').src")
        return page

    def middle(self, page: Page, joint: int, person: int = 0) -> tuple[float, float]:
        """Where a joint is on the screen, once it is drawn."""
        drawn = page.wait_for_function(
            """place => {
                const {x, y, width, height} =
                    document.querySelector(place)?.getBoundingClientRect() ?? {};
                return width && [x + width / 2, y + height / 2];
            }""",
            arg=f".po-pose [data-who='{person}'][data-joint='{joint}']",
        )
        x, y = drawn.json_value()
        return x, y

    def drag(self, page: Page, joint: int, across: float, down: float, person: int = 0) -> None:
        x, y = self.middle(page, joint, person)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + across, y + down, steps=6)
        page.mouse.up()

    def drag_by_finger(self, page: Page, joint: int, across: float, down: float) -> None:
        x, y = self.middle(page, joint)
        finger = page.context.new_cdp_session(page)
        # beside the joint: a finger does not hit as exactly as a mouse
        x += 12
        way = [(x, y), (x + across / 2, y + down / 2), (x + across, y + down)]
        for kind, points in zip(("Start", "Move", "Move", "End"), [*way, ()], strict=True):
            at = [{"x": points[0], "y": points[1]}] if points else []
            finger.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": at})

    def test_what_is_posed_is_what_paints(self, page: Page, server: Server) -> None:
        before = joints(page)
        self.drag(page, self.WRIST, 60, -80)
        after = joints(page)
        moved = [index for index in range(18) if after[index] != before[index]]
        assert moved == [self.WRIST]
        scale = (after[self.WRIST][0] - before[self.WRIST][0]) / 60
        assert after[self.WRIST][1] - before[self.WRIST][1] == pytest.approx(-80 * scale, abs=0.1)

        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
        there = joints(page)[self.WRIST]
        assert there[0] == pytest.approx(after[self.WRIST][0] + 1, abs=0.02)
        assert there[1] == pytest.approx(after[self.WRIST][1] + 10, abs=0.02)
        for _ in range(3):
            page.keyboard.press("Control+z")
        assert joints(page) == before
        for _ in range(3):
            page.keyboard.press("Control+y")
        assert joints(page)[self.WRIST] == there

        self.drag_by_finger(page, self.NOSE, 40, 10)
        (x, y, _), (start_x, start_y, _) = joints(page)[self.NOSE], before[self.NOSE]
        assert (x - start_x, y - start_y) == pytest.approx((40 * scale, 10 * scale), abs=0.1)

        page.get_by_role("button", name="Add a person").click()
        self.drag(page, self.NOSE, -10, -4, person=1)
        page.get_by_role("button", name="Show the left ear").click()
        assert joints(page, 1)[17][2] == 0, "hidden"
        expect(page.locator(".po-pose")).to_have_attribute("data-people", "2")
        page.get_by_role("button", name="Done").click()
        expect(page.locator("dialog.po-pose")).to_have_count(0)

        painted(page, "a dancer", tab="control")
        job = httpx.get(f"{server.url}/api/jobs/{newest(page, 'control')}").json()
        (unit,) = job["request"]["units"]
        assert unit["pose"] == pose(page)
        # and the map on the card is the one that the server draws of them
        shown = page.locator(f"{UNIT} figure img").first.get_attribute("src")
        drawn = httpx.post(f"{server.url}/api/pose", json=unit["pose"]).json()["ref"]
        assert shown == f"/api/pictures/{drawn}"

    @pytest.mark.slow
    def test_it_is_saved_and_loaded_again(self, page: Page, server: Server) -> None:
        self.drag(page, self.WRIST, 30, -30)
        kept = pose(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="Save JSON").click()
        text = download.value.path().read_text()
        assert json.loads(text) == kept
        page.get_by_role("button", name="Delete the person").click()
        expect(page.locator(".po-pose .po-c-line")).to_contain_text("Nobody is in this pose")
        file = {"name": "a.json", "mimeType": "application/json", "buffer": text.encode()}
        page.set_input_files("dialog [data-role=pose-file]", [file])  # type: ignore[list-item]
        expect(page.locator(".po-pose")).to_have_attribute("data-people", "1")
        assert pose(page) == kept
        broken = {**file, "buffer": b"{"}
        page.set_input_files("dialog [data-role=pose-file]", [broken])  # type: ignore[list-item]
        expect(page.get_by_text("This file is no JSON.")).to_be_visible()
        assert pose(page) == kept

    @pytest.mark.slow
    def test_nobody_does_not_go_through_silently(self, page: Page) -> None:
        page.get_by_role("button", name="Delete the person").click()
        page.get_by_role("button", name="Done").click()
        expect(page.locator(f"{UNIT} .po-unit-words")).to_contain_text("Nobody is to be seen")
        page.fill("#control-prompt textarea", "a dancer")
        page.click("#control-generate")
        expect(page.get_by_text("Nobody is to be seen in this pose.").last).to_be_visible()

    @pytest.mark.slow
    def test_it_is_there_after_a_reload_and_carried_along(self, page: Page, server: Server) -> None:
        self.drag(page, self.WRIST, 20, -20)
        page.get_by_role("button", name="Done").click()
        kept = pose(page)
        page.get_by_role("tab", name="Paint", exact=True).click()
        page.locator("#txt2img-units-carried summary").click()
        image = page.locator("#txt2img-units-carried .po-carried img")
        expect(image).to_have_attribute("src", re.compile("/api/pictures/"), timeout=SLOW)
        page.get_by_label("Steer with the maps of Control").check()
        expect(page.locator("#txt2img-units-carried summary")).to_have_text("Control: 1 unit")
        painted(page, "a dancer", tab=PAINT)
        job = httpx.get(f"{server.url}/api/jobs/{newest(page, PAINT)}").json()
        assert job["task"] == "txt2img"
        assert [unit["pose"] for unit in job["request"]["units"]] == [kept]
        page.reload()
        at(page, "control", "Control")
        expect(page.locator(f"{UNIT} figure img").first).to_have_attribute(
            "src", re.compile("/api/pictures/"), timeout=SLOW
        )
        assert pose(page) == kept
