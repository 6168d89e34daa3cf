"""The tunnel: never a program that was swapped, never more than a sentence when there is none."""

import hashlib
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from studio.api.access import Access, make_access
from studio.app import App, compose
from studio.commands.serve import Keys, _share
from studio.core.errors import Refused, Unavailable
from studio.settings import Settings
from studio.share import check, open_tunnel

FRPC = f"""#!{sys.executable}
import sys, time
print("login to server success", flush=True)
print("start proxy success: https://abc123.tunnel.example", flush=True)
time.sleep(float({{seconds}}))
"""
"""Behaves as the real program does towards its caller."""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tunnel program whose hash Gradio would know, and a server address that needs no network."""
    tunneling = pytest.importorskip("gradio.tunneling")
    networking = pytest.importorskip("gradio.networking")
    file = tmp_path / "frpc"
    write(file, "60")
    monkeypatch.setattr(tunneling, "BINARY_PATH", str(file))
    monkeypatch.setattr(tunneling, "CHECKSUMS", {tunneling.BINARY_URL: digest(file)})
    monkeypatch.setattr(networking, "GRADIO_SHARE_SERVER_ADDRESS", "127.0.0.1:9")
    monkeypatch.setattr(tunneling, "TUNNEL_TIMEOUT_SECONDS", 1)
    return file


def write(file: Path, seconds: str) -> None:
    file.write_text(FRPC.format(seconds=seconds))
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_tunnel_opens_closes_and_tells_when_it_ends(program: Path) -> None:
    tunnel = open_tunnel(7860)
    over = threading.Event()
    tunnel.watch(over.set)
    assert (tunnel.url, tunnel.host) == ("https://abc123.tunnel.example", "abc123.tunnel.example")
    assert not over.is_set()
    tunnel.close()
    assert over.wait(5)
    tunnel.close()


def test_a_tunnel_that_dies_by_itself_is_noticed(program: Path) -> None:
    import gradio.tunneling

    write(program, "0.2")
    gradio.tunneling.CHECKSUMS[gradio.tunneling.BINARY_URL] = digest(program)
    over = threading.Event()
    open_tunnel(7860).watch(over.set)
    assert over.wait(10)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[uvicorn.Server, App, Access, Keys]]:
    """What `serve` has in hand when it opens the tunnel, its server not begun."""
    app = compose(Settings(data_dir=tmp_path / "data", share=True, share_hours=3))
    keys = Keys("l" * 32, "p" * 32, "o" * 32, for_guests=True)
    access = make_access(
        data_dir=tmp_path / "data", shared=True, one_time_tokens=keys.own, guest_tokens=keys.guests
    )
    yield uvicorn.Server(uvicorn.Config("none:none")), app, access, keys
    access.sharing.stop()
    app.close()


def test_S42_stop_sharing_kills_the_tunnel_and_what_guests_wait_for(
    program: Path, served: tuple[uvicorn.Server, App, Access, Keys], capsys: Any, tmp_path: Path
) -> None:
    server, app, access, keys = served
    settings = Settings(data_dir=tmp_path / "data", share=True, share_hours=3)
    _share(server, settings, 7860, app.studio, access, keys)
    link = access.sharing.link
    assert link is not None and link.url == "https://abc123.tunnel.example"
    assert access.hosts.https("abc123.tunnel.example")
    assert abs(link.until - time.time() - 3 * 3600) < 600
    said = capsys.readouterr().out
    assert f"{link.url}/enter?token={'p' * 32}" in said and "It ends in 3 hours" in said
    assert running(program)
    job = app.studio.submit("guest:" + "a" * 32, "txt2img", {"prompt": "a fox"})
    access.sharing.stop()
    assert not running(program)
    assert access.hosts.ended("abc123.tunnel.example") and access.sharing.link is None
    assert app.jobs.get(job.id).state == "cancelled"
    assert "Sharing has stopped" in capsys.readouterr().out


def test_S42_a_tunnel_that_dies_ends_the_sharing(
    program: Path, served: tuple[uvicorn.Server, App, Access, Keys], tmp_path: Path
) -> None:
    import gradio.tunneling

    write(program, "0.2")
    gradio.tunneling.CHECKSUMS[gradio.tunneling.BINARY_URL] = digest(program)
    server, app, access, keys = served
    _share(server, Settings(data_dir=tmp_path / "data"), 7860, app.studio, access, keys)
    until = time.monotonic() + 30
    while not access.hosts.ended("abc123.tunnel.example"):
        assert time.monotonic() < until, "nobody noticed"
        time.sleep(0.05)
    assert access.sharing.over


def running(program: Path) -> list[str]:
    """Command lines of processes that run this program."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("this system does not list its processes as files")
    lines: list[str] = []
    for child in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(child.read_text())
    return [line for line in lines if str(program) in line]


def test_S46_a_swapped_program_is_not_run(program: Path, tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    program.write_text(program.read_text() + f"\nopen({str(marker)!r}, 'w')\n")
    with pytest.raises(Refused, match="not the one that Gradio published"):
        open_tunnel(7860)
    assert not marker.exists()


def test_no_network_is_a_sentence_and_leaves_nothing_running(program: Path) -> None:
    import gradio.tunneling

    program.write_text("#!/bin/sh\necho 'login to server failed'\nsleep 60\n")
    gradio.tunneling.CHECKSUMS[gradio.tunneling.BINARY_URL] = digest(program)
    with pytest.raises(Unavailable, match="No share link could be made"):
        open_tunnel(7860)
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if children.exists():
        running = [Path(f"/proc/{pid}/cmdline").read_text() for pid in children.read_text().split()]
        assert not [line for line in running if str(program) in line]


def test_a_program_that_is_not_there_yet_is_gradios_to_fetch(tmp_path: Path) -> None:
    check(tmp_path / "missing", "0" * 64)
