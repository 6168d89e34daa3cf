"""Asking the server that already runs: its answers, its errors, and one that cannot be trusted."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from studio import client
from studio.client import HEADER, Answered, Beside
from studio.core.errors import Unavailable
from studio.datadir import Server


@dataclass
class Script:
    """What a server on loopback answers, in order, and what it was asked."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    asked: list[tuple[str, str, str, bytes]] = field(default_factory=list)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def beside(script: Script) -> Iterator[Beside]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.asked.append((self.command, self.path, self.headers[HEADER], body))
            status, headers, data = script.answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server looks for these names

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield Beside(Server(url=url, token="secret", pid=4242))
    server.shutdown()
    server.server_close()


def test_a_picture_is_sent_as_it_is(script: Script, beside: Beside) -> None:
    script.answers = [(201, {}, b'{"ref": "ab"}')]
    assert beside.add_input(b"\x89PNG") == "ab"
    assert script.asked == [("POST", "/api/inputs", "secret", b"\x89PNG")]


def test_a_job_is_sent_as_json_with_the_secret(script: Script, beside: Beside) -> None:
    script.answers = [(201, {}, b'{"id": "ab"}'), (200, {}, b'{"id": "ab", "state": "queued"}')]
    assert beside.submit("txt2img", {"prompt": "a fox"})["state"] == "queued"
    method, path, token, body = script.asked[0]
    assert (method, path, token) == ("POST", "/api/jobs", "secret")
    assert json.loads(body) == {"task": "txt2img", "prompt": "a fox"}
    assert script.asked[1][:2] == ("GET", "/api/jobs/ab")


def test_the_servers_own_words_are_passed_on(script: Script, beside: Beside) -> None:
    error = {"error": {"message": "Steps are wrong.", "hint": "Change them.", "field": "steps"}}
    script.answers = [(422, {}, json.dumps(error).encode())]
    with pytest.raises(Answered) as caught:
        beside.submit("txt2img", {})
    told = caught.value
    assert (told.message, told.hint, told.field) == ("Steps are wrong.", "Change them.", "steps")
    assert told.status == 422


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "no"}'])
def test_an_answer_of_another_kind_is_a_sentence_too(script, beside, body: bytes) -> None:
    script.answers = [(502, {}, body)]
    with pytest.raises(Answered, match="answered with status 502"):
        beside.job("ab")


def test_a_name_does_not_choose_a_folder(script: Script, beside: Beside) -> None:
    for name in ("../../a.png", "..\\a.png", "/etc/a.png", "a.png"):
        header = {"Content-Disposition": f'inline; filename="{name}"'}
        script.answers = [(200, header, b"png")]
        assert beside.picture("ab") == ("a.png", b"png")
    for name in ("..", "x/..", ""):
        header = {"Content-Disposition": f'inline; filename="{name}"'}
        script.answers = [(200, header, b"png")]
        assert beside.picture("ab")[0] == "ab.png"


def test_asking_too_often_is_waited_out_but_a_new_job_is_not(script, beside, monkeypatch) -> None:
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    busy = (429, {}, b'{"error": {"message": "Slow.", "hint": "Wait.", "field": null}}')
    script.answers = [busy, busy, (200, {}, b'{"id": "ab"}')]
    assert beside.job("ab") == {"id": "ab"}
    script.answers = [busy]
    with pytest.raises(Answered, match="Slow"):
        beside.submit("txt2img", {})
    assert script.answers == []


def test_nobody_there_names_the_process_to_stop() -> None:
    gone = Beside(Server(url="http://127.0.0.1:9", token="secret", pid=4242))
    with pytest.raises(Unavailable, match="process 4242"):
        gone.job("ab")
