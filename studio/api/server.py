"""Puts the house together: our routes, Gradio behind them, the guard in front."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.routing import Match
from uvicorn.protocols.http.h11_impl import H11Protocol

from studio import __version__
from studio.api import docs
from studio.api.access import Access
from studio.api.errors import WrongMethod, nothing_here, translate
from studio.api.guard import Guard
from studio.api.login import Doorman, login_router
from studio.api.routes._routes import Door, Routes
from studio.api.shapes import Problem
from studio.api.sse import Closing
from studio.discovery import open_drawer
from studio.service.studio import Studio

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HEADER_BYTES = 64 * 1024
HEADER_S = 15.0
"""A connection that has not sent a whole request head by then is closed."""
CONNECTIONS = 1000
KEEP_ALIVE_S = 30
STOP_S = 3
"""For requests that are being answered when the server is asked to end."""

Mount = Callable[[FastAPI, Studio], FastAPI]


def build(studio: Studio, access: Access, mount: Mount | None = None) -> Guard:
    """The whole web app. `mount` puts Gradio at "/", behind our own routes."""
    closing = Closing()
    doorman = Doorman(access)
    app = FastAPI(
        title="Pochade",
        version=__version__,
        description="Pictures from words. Every error is one sentence and one hint.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses={"4XX": {"model": Problem, "description": "What is wrong, and what to do."}},
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    translate(app)
    app.include_router(login_router(access, doorman))
    for routes in open_drawer("studio.api.routes", Routes).values():
        app.include_router(routes.build(Door(studio, closing, access.sharing)))
    app.include_router(docs.router(app))
    docs.describe(app, studio)
    _end_of_api(app)
    return Guard(mount(app, studio) if mount else app, access, doorman, closing)


class WebServer(uvicorn.Server):
    """Serves a guarded app: patient with slow people, not with held connections.

    `run(sockets=[...])` blocks until a signal or `should_exit`; open streams end first, then
    requests get `STOP_S` seconds. `ready` is called once it answers, from the server's thread.
    """

    def __init__(
        self,
        guard: Guard,
        host: str = "127.0.0.1",
        port: int = 0,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                guard,
                host,
                port,
                http=Patient,
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,  # addresses hold one-time tokens and prompts
                proxy_headers=False,  # the guard decides what to believe of a proxy's headers
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=STOP_S,
                timeout_keep_alive=KEEP_ALIVE_S,
                h11_max_incomplete_event_size=HEADER_BYTES,
            )
        )
        self._guard = guard
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._guard.closing.now = True
        await super().shutdown(sockets)


class Patient(H11Protocol):
    """Uvicorn's HTTP/1.1 with a time limit for request heads, which uvicorn lacks."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # asyncio does this only for sockets that were made with a protocol number; without it,
        # each answer on a kept connection waits 40 ms for the client's delayed acknowledgement
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._answering:
            self._stop_waiting()
        elif self._head_timer is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _answering(self) -> bool:
        # None until the first request, whatever its annotation says
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self._answering and not self.transport.is_closing():
            self.transport.close()


def _end_of_api(app: FastAPI) -> None:
    """Answers for what is not under /api, before Gradio would."""

    async def nothing(request: Request) -> Response:
        for route in app.routes:
            if route.matches(request.scope)[0] is Match.PARTIAL:
                raise WrongMethod(
                    f"{request.method} is not possible at {request.url.path[:120]}.",
                    "GET /api/docs lists what is.",
                )
        raise nothing_here(request)

    for path in ("/api", "/api/{rest:path}", "/login", "/logout", "/enter", "/robots.txt"):
        app.add_api_route(path, nothing, methods=list(METHODS), include_in_schema=False)
