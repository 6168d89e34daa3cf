"""S40: a route that forgot about the login. Every route there is, ours and Gradio's, is asked."""

from tests.api.house import USERS, House, answer_of
from tests.security.routes import addresses

OPEN = {"/login", "/logout", "/enter", "/robots.txt", "/api/health", "/favicon.ico"}
REFUSED = {401, 403, 404, 405}


def test_without_a_login_no_route_answers(locked: House) -> None:
    with locked.client(headers={"accept": "*/*"}) as client:
        for method, path in addresses(locked.guard):
            if path in OPEN:
                continue
            answer = client.request(method, path)
            assert answer.status_code in REFUSED, (method, path, answer.status_code)
            if method != "HEAD":
                assert set(answer.json()) == {"error"}, (method, path)


def test_a_browser_without_a_login_is_sent_to_it(locked: House) -> None:
    page = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    with locked.client(headers=page) as client:
        for method, path in addresses(locked.guard):
            if path in OPEN or method != "GET":
                continue
            answer = client.get(path)
            assert answer.status_code in {303, *REFUSED}, (path, answer.status_code)
            if answer.status_code == 303:
                assert answer.headers["location"].startswith("/login")


def test_what_is_open_says_nothing(locked: House) -> None:
    with locked.client() as client:
        assert client.get("/api/health").json() == {"status": "ok"}
        assert client.get("/robots.txt").text == "User-agent: *\nDisallow: /\n"
        assert client.get("/login").status_code == 200
        assert client.post("/logout").headers["location"] == "/login"
        assert client.get("/enter?token=guess").status_code == 403


def test_tricks_with_the_path_do_not_open_it(locked: House) -> None:
    tricks = (
        "//api/live",
        "/api//live",
        "/api/live/",
        "/API/live",
        "/login/../api/live",
        "/api/health/../live",
        "/login/%2e%2e/api/live",
        "/api/live;x=/login",
        "/api/live%3f/login",
        "/robots.txt/../config",
        "/gradio_api/queue/../../config",
        "/config/",
        "/%2fapi/live",
        "/api/health%2f..%2flive",
        "/login/",
    )
    for path in tricks:
        with locked.raw() as connection:
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            status = int(answer_of(connection).split()[1])
        assert status in REFUSED, (path, status)


def test_with_a_login_it_is_there(locked: House) -> None:
    with locked.client(auth=("ada", USERS["ada"])) as client:
        for path in ("/", "/config", "/api/live", "/api/images", "/api/docs", "/theme.css"):
            assert client.get(path).status_code == 200, path


def test_other_kinds_of_connection_are_closed(locked: House) -> None:
    with locked.raw() as connection:
        connection.sendall(
            b"GET /api/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 401 " in connection.recv(65536).partition(b"\r\n")[0]
