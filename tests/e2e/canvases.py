"""A hand that works on a canvas of the page, and what its mask should then be."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.conftest import DRAFT, SLOW, ready
from tests.serving import Server

Mask = NDArray[np.uint8]
Points = Sequence[tuple[float, float]]
STEPS = 4
"""Of the pointer between two points."""
FINE = 8
"""Subpixels a side in which an expected stroke is drawn."""


def upload(server: Server, image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    answer = httpx.post(
        f"{server.url}/api/inputs",
        content=file.getvalue(),
        headers={"Content-Type": "image/png"},
    )
    return answer.raise_for_status().json()["ref"]


def leave(server: Server, tab: str, **values: Any) -> None:
    """The form of a tab as the next page will find it."""
    draft = {**DRAFT, "prompt": "a patch of colour", **values}
    httpx.put(f"{server.url}/api/drafts/{tab}", json=draft).raise_for_status()


def open_tab(page: Page, label: str) -> None:
    """Opens a tab, whose form then is as it was left."""
    ready(page)
    tab = page.get_by_role("tab", name=label, exact=True)
    if not tab.is_visible():
        page.locator("#tabs .overflow-menu > button").click()
        tab = page.locator("#tabs .overflow-dropdown button", has_text=label)
    tab.click()
    rows = json.loads(page.locator("#po-about").get_attribute("data-tabs") or "[]")
    for row in rows:
        if row["label"] == label and row["task"]:
            page.wait_for_selector(f"body[data-restored-{row['id']}]", timeout=SLOW)


@dataclass
class Canvas:
    """The mask canvas of the tab Inpaint. Points are in px of the picture."""

    page: Page
    server: Server

    def settled(self) -> "Canvas":
        """Waits until what is seen is what the server has."""
        # a change of the form is noticed a moment after it was made
        self.page.evaluate("new Promise(done => setTimeout(() => setTimeout(done)))")
        self.page.locator("#inpaint-canvas[data-state=settled]").wait_for(timeout=30_000)
        return self

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture is on the screen."""
        box = self.page.locator("#inpaint-canvas .po-c-picture").bounding_box()
        size = self.page.evaluate(
            "(one => [one.naturalWidth, one.naturalHeight])"
            "(document.querySelector('#inpaint-canvas .po-c-picture'))"
        )
        assert box is not None
        return box["x"] + x * box["width"] / size[0], box["y"] + y * box["height"] / size[1]

    def drag(self, points: Points) -> None:
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=STEPS)
        self.page.mouse.up()

    def take(self, tool: str) -> None:
        self.page.locator(f"#inpaint-canvas [data-tool={tool}]").click()

    def set(self, name: str, value: float) -> None:
        """A slider of the tools, by its own scale."""
        self.page.get_by_role("slider", name=name, exact=True).fill(str(value))

    def size(self, px: float) -> int:
        """Makes the brush about so large; how large it is now."""
        self.set("Size", round(1000 * np.log(px) / np.log(1024)))
        return int(self.page.locator(".po-c-slider output").first.inner_text().split()[0])

    def ref(self, name: str) -> str:
        return self.page.input_value(f"#inpaint-{name} textarea")

    def mask(self, **fields: Any) -> Mask:
        """What the server makes of the mask that the form holds; as it was drawn."""
        plain = {"image": self.ref("image"), "mask": self.ref("mask"), "feather_px": 0}
        answer = httpx.post(
            f"{self.server.url}/api/mask", json={**plain, "area": "whole", **fields}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    def says(self, words: Any) -> None:
        expect(self.page.locator("#inpaint-canvas .po-c-line > :first-child")).to_have_text(words)

    def overlay(self) -> Mask:
        """Of each pixel of the picture whether it is tinted: 255 or 0."""
        found = self.page.evaluate(
            """async () => {
                // what was just asked for is drawn with the next frame
                await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
                const over = document.querySelector("#inpaint-canvas .po-c-over");
                const { data } = over.getContext("2d").getImageData(0, 0, over.width, over.height);
                let tinted = "";
                // the dark line around what is tinted lies outside of it
                for (let i = 0; i < data.length; i += 4)
                    tinted += data[i] > 100 && data[i + 3] ? "1" : "0";
                return [over.width, over.height, tinted];
            }"""
        )
        tinted = np.frombuffer(found[2].encode(), np.uint8).reshape(found[1], found[0]) == ord("1")
        stage = self.page.locator("#inpaint-canvas .po-c-stage").bounding_box()
        picture = self.page.locator("#inpaint-canvas .po-c-picture").bounding_box()
        assert stage is not None
        assert picture is not None
        left, top = picture["x"] - stage["x"], picture["y"] - stage["y"]
        height, width = self.mask().shape
        across = (np.arange(width) + 0.5) * picture["width"] / width + left
        down = (np.arange(height) + 0.5) * picture["height"] / height + top
        seen = tinted[down.astype(int)[:, None], across.astype(int)[None, :]]
        return np.where(seen, 255, 0).astype(np.uint8)


def nothing(size: tuple[int, int]) -> Mask:
    return np.zeros((size[1], size[0]), np.uint8)


def stroke(mask: Mask, points: Points, size_px: float, *, value: int = 255) -> Mask:
    """The mask after a round brush has gone along these points; `value` 0 is an eraser."""
    height, width = mask.shape
    fine = np.zeros((height * FINE, width * FINE), np.uint8)
    # OpenCV counts from the middle of the first pixel
    corners = np.rint(np.array(points) * FINE - 0.5).astype(np.int32)
    cv2.polylines(fine, [corners.reshape(-1, 1, 2)], False, 255, round(size_px * FINE))
    touched = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) >= 128
    return np.where(touched, value, mask).astype(np.uint8)


def polygon(mask: Mask, points: Points, *, value: int = 255) -> Mask:
    found = mask.copy()
    cv2.fillPoly(found, [np.rint(np.array(points) - 0.5).astype(np.int32)], value)
    return found


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union of what is more than half masked; 1.0 if both are empty."""
    a, b = one >= 128, other >= 128
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
