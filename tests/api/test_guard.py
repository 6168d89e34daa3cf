"""The guard's gates, one by one."""

import re

import pytest

from studio.api import surface
from studio.api.access import Access, Hosts
from studio.api.guard import STUDIO_CSP, own_origin, too_large
from studio.api.limits import Gauge, Rate, Strikes
from studio.api.login import login_path, safe_next
from studio.api.visit import Visit, cookie, host_of, same_origin, sign, signed, visit_of
from studio.core.errors import Busy, NotFound, Refused
from studio.core.versions import version
from studio.paths import ASSETS
from tests.api.house import House, complaint


def scope(headers: dict[str, str] | None = None, **changes: object) -> dict:
    sent = {"host": "127.0.0.1:7860", **(headers or {})}
    return {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "scheme": "http",
        "client": ("192.0.2.7", 4711),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
        **changes,
    }


def visit(headers: dict[str, str] | None = None, **changes: object) -> Visit:
    return visit_of(scope(headers, **changes), Hosts())


@pytest.mark.parametrize(
    ("netloc", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:7860", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:7860", "::1"),
        ("studio.local.", "studio.local."),
        ("", ""),
        ("a:b", ""),
        ("a:99999", ""),
        ("user@localhost", ""),
        ("localhost/evil", ""),
        ("localhost, evil", "localhost, evil"),
        ("[::1", ""),
        ("lócalhost", ""),
    ],
)
def test_the_name_in_a_host_header(netloc: str, name: str) -> None:
    assert host_of(netloc) == name


def test_hosts_know_their_names_and_bare_addresses_only_when_listening() -> None:
    own = Hosts()
    assert own.knows("localhost") and own.knows("127.0.0.1") and own.knows("::1")
    assert not any(map(own.knows, ("", "evil.example", "localhost.evil", "192.0.2.7", "0.0.0.0")))
    listening = Hosts(("studio",), any_address=True)
    assert (
        listening.knows("192.0.2.7") and listening.knows("fe80::1") and listening.knows("STUDIO.")
    )
    assert not listening.knows("evil.example") and not listening.knows("")
    listening.add("x.gradio.live", https=True)
    assert listening.knows("x.gradio.live") and listening.https("x.gradio.live")
    listening.end("x.gradio.live")
    assert not listening.knows("x.gradio.live") and listening.ended("x.gradio.live")


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:7860", "localhost:7860", True),
        ("https://x.gradio.live", "x.gradio.live", True),
        ("https://x.gradio.live", "x.gradio.live:443", True),
        ("http://[::1]:7860", "[::1]:7860", True),
        ("http://localhost:7861", "localhost:7860", False),
        ("http://localhost", "localhost:7860", False),
        ("http://127.0.0.1:7860", "localhost:7860", False),
        ("http://localhost.evil:7860", "localhost:7860", False),
        ("http://localhost:7860.evil", "localhost:7860", False),
        ("http://localhost:7860/x", "localhost:7860", False),
        ("null", "localhost:7860", False),
        ("", "localhost:7860", False),
        ("file://", "localhost:7860", False),
        ("chrome-extension://abc", "abc", False),
    ],
)
def test_origins(origin: str, host: str, same: bool) -> None:
    assert same_origin(origin, host) is same


LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def test_links_from_other_sites_work_and_nothing_else_of_theirs() -> None:
    own_origin(visit(LINK))
    own_origin(visit({"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:7860"}))
    own_origin(visit({"sec-fetch-site": "none"}))
    own_origin(visit(method="POST"))
    for headers, method in (
        (LINK, "POST"),
        ({**LINK, "sec-fetch-dest": "iframe"}, "GET"),
        ({**LINK, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, "GET"),
        ({"sec-fetch-site": "same-site"}, "GET"),
        ({"origin": "null"}, "POST"),
        ({"origin": "https://evil.example"}, "DELETE"),
        ({"origin": "https://evil.example"}, "OPTIONS"),
    ):
        with pytest.raises(Refused):
            own_origin(visit(headers, method=method))


@pytest.mark.parametrize(
    ("asked", "safe"),
    [
        ("/", "/"),
        ("/gallery?text=fox", "/gallery?text=fox"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("evil.example", "/"),
        ("", "/"),
        ("/" + "x" * 3000, "/"),
        ("/a\\b", "/"),
        ("/é", "/é"),
    ],
)
def test_redirects_stay_here(asked: str, safe: str) -> None:
    assert safe_next(asked) == safe


def test_a_person_comes_back_to_where_they_wanted() -> None:
    assert login_path(visit()) == "/login"
    assert login_path(visit(path="/x", query_string=b"a=1&b=2")) == "/login?next=/x%3Fa%3D1%26b%3D2"
    assert login_path(visit(path="//evil.example")) == "/login"


def test_signatures_hold_for_one_install_and_one_purpose() -> None:
    one, other = Access(secret=b"1" * 32), Access(secret=b"2" * 32)
    made = sign(one, "login", "abc")
    assert signed(one, "login", made) == "abc"
    assert signed(one, "visitor", made) is None
    assert signed(other, "login", made) is None
    for forged in ("", "abc", "abc.", f"abd.{made.rpartition('.')[2]}", made[:-1], made + "é"):
        assert signed(one, "login", forged) is None


def test_cookies_are_found_among_others() -> None:
    seen = visit({"cookie": "a=1; pochade-x=value.sig; b=pochade-x=2"})
    assert cookie(seen, "pochade-x") == "value.sig"
    assert cookie(seen, "pochade-y") == ""


def test_addresses_of_one_line_count_as_one() -> None:
    assert (
        visit(client=("2001:db8:1:2:3::4", 1)).address
        == visit(client=("2001:db8:1:2::9", 1)).address
    )
    forged = visit({"x-forwarded-for": "10.9.8.7"})
    assert forged.address == "192.0.2.7"
    hosts = Hosts()
    hosts.add("x.gradio.live", https=True)
    tunnelled = {"host": "x.gradio.live", "x-forwarded-for": "10.9.8.7, 198.51.100.4"}
    through = visit_of(scope(tunnelled), hosts)
    assert through.address == "198.51.100.4" and through.https


def test_a_rate_lets_bursts_pass_and_refills() -> None:
    now = [0.0]
    rate = Rate(2, 3, clock=lambda: now[0])
    assert [rate.take("a") for _ in range(3)] == [0, 0, 0]
    assert rate.take("a") == pytest.approx(0.5)
    assert rate.take("b") == 0
    now[0] = 0.5
    assert rate.take("a") == 0
    assert rate.take("a") > 0


def test_strikes_are_forgotten_after_their_time() -> None:
    now = [0.0]
    strikes = Strikes(3, 60, clock=lambda: now[0])
    for now[0] in (0.0, 10.0, 20.0):
        assert strikes.wait("a") == 0
        strikes.add("a")
    assert strikes.wait("a") == 40
    assert strikes.wait("b") == 0
    now[0] = 60.0
    assert strikes.wait("a") == 0


def test_a_gauge_counts_down_also_after_errors() -> None:
    gauge = Gauge()
    for _ in range(3):
        with pytest.raises(KeyError), gauge.hold("a", 1, "views"):
            raise KeyError
    with gauge.hold("a", 1, "views"), pytest.raises(Busy), gauge.hold("a", 1, "views"):
        pass
    assert gauge.held("a") == 0


def test_page_sessions_belong_to_who_brought_them() -> None:
    pages = surface.PageSessions()
    assert pages.claim("abc", "user:ada") is True
    assert pages.claim("abc", "user:ada") is False
    for session in ("abc", "", "../x", "a" * 65):
        with pytest.raises(NotFound):
            pages.claim(session, "user:ben")


def test_only_what_pages_need_of_gradio_is_open() -> None:
    for method, path in (
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/config"),
        ("GET", "/assets/index.js"),
        ("POST", "/gradio_api/queue/join"),
        ("GET", "/gradio_api/queue/data"),
        ("POST", "/gradio_api/run/predict"),
        ("GET", "/gradio_api/heartbeat/a1"),
    ):
        assert surface.closed(method, path) is None
    for method, path in (
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/component_server"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/proxy=http://x"),
    ):
        assert isinstance(surface.closed(method, path), Refused)
    for method, path in (
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/monitoring"),
        ("GET", "/gradio_api/info"),
        ("POST", "/gradio_api/run/echo"),
        ("POST", "/gradio_api/call/echo"),
        ("GET", "/token"),
        ("POST", "/"),
        ("GET", "/whatever/comes/next"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/queue/join/"),
    ):
        assert isinstance(surface.closed(method, path), NotFound)


def test_sizes_are_said_in_megabytes() -> None:
    assert "(9.5 MB, the limit is 1 MB)" in too_large(10_000_000, 1024**2).message


def test_answers_carry_what_keeps_browsers_safe(alone: House) -> None:
    with alone.client() as client:
        page = client.get("/")
        data = client.get("/api/choices")
        static = client.get("/theme.css")
        script = client.get("/assets/ui/main.js")
    for answer in (page, data, static, script):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert "server" not in answer.headers
    assert page.headers["content-security-policy"] == STUDIO_CSP
    assert data.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == data.headers["cache-control"] == "private, no-store"


def test_what_never_changes_is_kept_by_the_browser(alone: House) -> None:
    with alone.client() as client:
        built = re.findall(r'"\./(assets/[^"]+)"', client.get("/").text)
        assert built
        for path in built:
            kept = client.get(f"/{path}").headers["cache-control"]
            assert kept == "private, max-age=31536000, immutable", path
        gone = client.get("/assets/index-AAAAAAAA.js")
        assert gone.status_code == 404
        assert gone.headers["cache-control"] == "private, no-store"
        assert "immutable" not in client.get("/assets/ui/main.js").headers["cache-control"]


def test_our_own_modules_are_kept_until_one_changes(alone: House) -> None:
    ours = f"/assets/ui/v-{version(ASSETS / 'ui')}"
    with alone.client() as client:
        for name in ("main.js", "studio.css", "icons/icons.svg"):
            kept = client.get(f"{ours}/{name}")
            assert kept.status_code == 200 and kept.content
            assert kept.headers["cache-control"] == "private, max-age=31536000, immutable"
        for version_of_another_start in ("v-0123456789abcdef", "v-"):
            old = client.get(f"/assets/ui/{version_of_another_start}/main.js")
            assert old.status_code == 200 and old.headers["cache-control"] == "private, no-cache"


def test_a_proxy_s_headers_are_believed_from_nobody(alone: House) -> None:
    forged = {
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
        "x-gradio-server": "http://evil.example",
        "forwarded": "host=evil.example",
    }
    with alone.client(headers=forged) as client:
        config = client.get("/config")
        assert config.status_code == 200 and "evil.example" not in config.text
        assert "evil.example" not in client.get("/").text


def test_a_page_that_is_not_there_is_a_page_for_people_and_json_for_scripts(alone: House) -> None:
    with alone.client() as client:
        html = client.get("/nowhere", headers={"accept": "text/html"})
        assert html.status_code == 404 and "<h1>There is nothing here.</h1>" in html.text
        complaint(client.get("/nowhere"), 404)


def test_the_studio_s_own_files_and_no_others(alone: House) -> None:
    with alone.client() as client:
        first = client.get("/assets/ui/main.js")
        assert first.headers["content-type"].startswith("text/javascript")
        assert first.headers["cache-control"] == "private, no-cache"
        again = client.get("/assets/ui/main.js", headers={"if-none-match": first.headers["etag"]})
        assert again.status_code == 304
        for path in (
            "..%2fconstraints.txt",
            "icons",
            "",
            ".hidden.js",
            "main.py",
            "a%00.js",
            "%2e%2e/%2e%2e/studio/cli.js",
            "icons%2f..%2f..%2fx.js",
            "a%5c..%5cb.js",
        ):
            complaint(client.get(f"/assets/ui/{path}"), 404)
            complaint(client.get(f"/assets/ui/v-0/{path}"), 404)


def test_gradio_s_own_accidents_get_an_id_too(alone: House, caplog) -> None:
    event = {"data": ["x"], "fn_index": 4711, "session_hash": "guard0test"}
    with alone.client() as client:
        for path in ("/gradio_api/queue/join", "/gradio_api/run/predict"):
            answer = client.post(path, json=event)
            assert answer.status_code >= 400
            if answer.status_code == 500:
                assert "(id " in complaint(answer, 500)["message"]
