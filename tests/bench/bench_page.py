"""How long until the page answers in a browser, and what that costs it.

    python -m tests.bench.bench_page [ROUNDS]

Opens the studio ROUNDS times, each time in a fresh profile and then in that profile again, after
one round that does not count; then opens each further tab once. Prints the median and the range of
the seconds until the form is as it was left and the live parts have drawn themselves; of the first
opening also the CPU time of the browser's processes and of the server, the calls to Gradio until
all is quiet, and the elements drawn. Pin it to a core, as with `taskset -c 0`, to compare.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.conftest import CHROMIUM, QUIET, ready
from tests.serving import Server

QUIET_S = 2.0
"""Without a call to Gradio for so long, the page has come to rest."""
TABS = ("From a picture", "Inpaint", "Outpaint", "Upscale", "Control", "Style")

# how the page looks when it can be used, told by the browser's own clock
WATCH = """
new MutationObserver(() => {
    const {body} = document;
    if (window.pochadeReady || !body) return;
    if (body.matches("[data-restored-txt2img][data-pochade=ready]")) window.pochadeReady = performance.now();
}).observe(document, {subtree: true, attributes: true, childList: true});
"""


def main(rounds: int = 5) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "data") as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        seen = [opened(browser, server) for _ in range(rounds + 1)][1:]
        for name, unit in FIGURES.items():
            values = [one[name] for one in seen]
            print(
                f"{name:28s} {median(values):8.2f} {unit} (from {min(values):.2f} to {max(values):.2f})"
            )
        for label, seconds in tabs(browser, server).items():
            print(f"opening {label:20s} {seconds:8.2f} s")
        browser.close()


FIGURES = {
    "until ready": "s",
    "until ready again": "s",
    "CPU of the browser": "s",
    "CPU of the server": "s",
    "calls to Gradio": "",
    "elements": "",
}


def opened(browser: Browser, server: Server) -> dict[str, float]:
    """The figures of one opening, by name."""
    calls: list[float] = []
    before = _cpu_s(server)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.on("request", lambda one: "/gradio_api/run" in one.url and calls.append(time.monotonic()))
    page.goto(server.url)
    ready(page)
    _rest(page, calls)
    after = _cpu_s(server)
    figures = {
        "until ready": page.evaluate("window.pochadeReady") / 1000,
        "CPU of the browser": after[0] - before[0],
        "CPU of the server": after[1] - before[1],
        "calls to Gradio": float(len(calls)),
        "elements": float(page.evaluate("document.getElementsByTagName('*').length")),
    }
    again = context.new_page()
    again.add_init_script(WATCH)
    again.goto(server.url)
    ready(again)
    figures["until ready again"] = again.evaluate("window.pochadeReady") / 1000
    context.close()
    return figures


def tabs(browser: Browser, server: Server) -> dict[str, float]:
    """Seconds until each tab is there as it was left, opened for the first time on a page."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(server.url)
    ready(page)
    page.wait_for_timeout(QUIET_S * 1000)
    found: dict[str, float] = {}
    for label in TABS:
        begun = time.perf_counter()
        page.get_by_role("tab", name=label, exact=True).click()
        tab = page.evaluate(
            "document.querySelector('#tabs [role=tab][aria-selected=true]').id.slice(4, -7)"
        )
        page.wait_for_selector(f"body[data-restored-{tab}]")
        page.locator(f"#{tab}-generate").wait_for()
        found[label] = time.perf_counter() - begun
    context.close()
    return found


def _rest(page: Page, calls: list[float]) -> None:
    while not calls or time.monotonic() - calls[-1] < QUIET_S:
        page.wait_for_timeout(100)


def _cpu_s(server: Server) -> tuple[float, float]:
    """CPU time so far, in s: of all processes of Chromium, and of the one that serves the page."""
    chromium = sum(map(_taken_s, _processes("chrom")))
    return chromium, _taken_s(psutil.Process(server.process.pid))


def _processes(name: str) -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if name in one.name()]


def _taken_s(process: psutil.Process) -> float:
    try:
        times: Any = process.cpu_times()
        ended = times.children_user + times.children_system if "chrom" in process.name() else 0.0
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system + ended


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
