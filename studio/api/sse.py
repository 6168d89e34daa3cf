"""Server-sent events: what the browser follows while pictures form."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from studio.core.events import JobState
from studio.service.studio import Studio

LOOK_S = 0.1
"""Between two looks at the owner's version, which is one number."""
QUIET_S = 0.25
"""Between two snapshots: four a second are enough to watch by."""
KEEP_ALIVE_S = 15.0
"""A comment this often keeps proxies from closing, and finds out that nobody listens."""
LONGEST_S = 3600.0
"""Then the stream ends and the browser connects again by itself."""


class Closing:
    """Says that the server wants to end, so that open streams end first."""

    def __init__(self) -> None:
        self.now = False


def stream(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


def event(data: Any, *, name: str = "", number: int | None = None) -> str:
    """One event on the wire; JSON holds no newline, so one `data` line is enough."""
    head = (f"id: {number}\n" if number is not None else "") + (f"event: {name}\n" if name else "")
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n"


async def snapshots(
    studio: Studio,
    live: Callable[[str], dict[str, Any]],
    owner: str,
    closing: Closing,
    *,
    watch: bool,
) -> AsyncIterator[str]:
    """`live(owner)` at once and after every change. `watch` lets previews be made."""
    watched = studio.watch(owner) if watch else None
    if watched:
        watched.__enter__()
    try:
        seen: int | None = None
        until = time.monotonic() + LONGEST_S
        spoke = time.monotonic()
        while not closing.now and time.monotonic() < until:
            if studio.version(owner) != seen:
                snapshot = await run_in_threadpool(live, owner)
                seen = snapshot["version"]
                yield event(snapshot)
                spoke = time.monotonic()
                await asyncio.sleep(QUIET_S)
                continue
            if time.monotonic() - spoke > KEEP_ALIVE_S:
                yield ": still here\n\n"
                spoke = time.monotonic()
            await asyncio.sleep(LOOK_S)
    finally:
        if watched:
            watched.__exit__(None, None, None)


async def feed(
    studio: Studio, owner: str, job_id: str, after: int, closing: Closing
) -> AsyncIterator[str]:
    """A job's stored feed from entry `after` + 1 on; ends with the job."""
    seen: int | None = None
    spoke = time.monotonic()
    until = spoke + LONGEST_S
    while not closing.now and time.monotonic() < until:
        version = studio.version(owner)
        if version != seen:
            seen = version
            # asked before the entries are read, so that the last entry is never missed
            state, entries = await run_in_threadpool(_look, studio, owner, job_id, after)
            for number, data in entries:
                yield event(data, name=data["kind"], number=number)
                after = number
                spoke = time.monotonic()
            if state.over:
                return
        if time.monotonic() - spoke > KEEP_ALIVE_S:
            yield ": still here\n\n"
            spoke = time.monotonic()
        await asyncio.sleep(LOOK_S)


def _look(
    studio: Studio, owner: str, job_id: str, after: int
) -> tuple[JobState, tuple[tuple[int, dict[str, Any]], ...]]:
    state = studio.job(owner, job_id).state
    return state, studio.events(owner, job_id, after)
