"""Logging in and out, as a browser and as a script."""

import json
import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from studio.api.access import Access, install_secret, make_access
from studio.api.logins import DAY_S, Logins
from studio.app import App
from studio.core.errors import Refused
from tests.api.house import USERS, WANT, House, complaint, open_house

ADA = {"name": "ada", "password": USERS["ada"]}
PAGE = {"accept": "text/html,*/*"}


@pytest.fixture
def browser(locked: House) -> Iterator[httpx.Client]:
    with locked.client(headers=PAGE) as client:
        yield client


def test_a_person_logs_in_and_out(browser: httpx.Client) -> None:
    away = browser.get("/?tab=gallery")
    assert away.status_code == 303 and away.headers["location"] == "/login?next=/%3Ftab%3Dgallery"
    form = browser.get(away.headers["location"])
    assert form.status_code == 200 and 'name=next value="/?tab=gallery"' in form.text
    back = browser.post("/login", data={**ADA, "next": "/?tab=gallery"})
    assert back.status_code == 303 and back.headers["location"] == "/?tab=gallery"
    kept = back.headers["set-cookie"]
    assert "HttpOnly" in kept and "SameSite=Lax" in kept and "Path=/" in kept
    assert browser.get("/").status_code == 200
    assert browser.get("/api/live").status_code == 200
    assert browser.get("/login").headers["location"] == "/"
    before = dict(browser.cookies)
    assert browser.post("/logout").headers["location"] == "/login"
    assert browser.get("/").status_code == 303
    browser.cookies.update(before)
    assert browser.get("/").status_code == 303  # taken back on the server too


def test_a_wrong_password_is_said_and_the_name_kept(browser: httpx.Client) -> None:
    answer = browser.post("/login", data={"name": '"><b>ada', "password": "x", "next": "//evil"})
    assert answer.status_code == 401 and "set-cookie" not in answer.headers
    assert "role=alert" in answer.text and "Name or password is wrong." in answer.text
    assert 'value="&quot;&gt;&lt;b&gt;ada"' in answer.text and "<b>ada" not in answer.text
    assert 'name=next value="/"' in answer.text


def test_the_form_is_a_form_and_nothing_else(browser: httpx.Client) -> None:
    complaint(browser.post("/login", json=ADA, headers={"accept": "*/*"}), 415)
    many = "&".join(f"a{number}=1" for number in range(1000))
    kind = {"content-type": "application/x-www-form-urlencoded", "accept": "*/*"}
    complaint(browser.post("/login", content=many, headers=kind), 400)
    assert browser.post("/login", content=b"name=%ff", headers=kind).status_code == 401
    page = browser.get("/login").text
    assert "<script" not in page and "http" not in page.replace("http://www.w3.org", "")
    for name in ("name", "password"):
        assert f"<label for={name}>" in page and f"id={name} " in page


def test_scripts_send_basic_and_get_json(locked: House) -> None:
    with locked.client() as script:
        complaint(script.get("/api/live"), 401)
        complaint(script.get("/", headers={"accept": "*/*"}), 401)
        assert script.get("/api/live", auth=("ada", USERS["ada"])).status_code == 200
        complaint(script.get("/api/live", auth=("ada", "wrong")), 401)
        complaint(script.get("/api/live", headers={"authorization": "Basic !!"}), 401)
        complaint(script.get("/api/live", headers={"authorization": "Bearer x"}), 401)


def test_health_says_less_without_a_login(locked: House) -> None:
    with locked.client() as script:
        assert script.get("/api/health").json() == {"status": "ok"}
        assert "engine" in script.get("/api/health", auth=("ada", USERS["ada"])).json()


def test_the_command_line_of_this_machine_is_local(locked: House) -> None:
    with locked.client(headers={"X-Pochade-Local": "L" * 43}) as script:
        job = script.post("/api/jobs", json=WANT).json()
        assert locked.app.jobs.get(job["id"]).owner == "local"
        script.delete(f"/api/jobs/{job['id']}")
    with locked.client(headers={"X-Pochade-Local": "M" * 43}) as other:
        complaint(other.get("/api/live"), 401)


def test_a_one_time_link_opens_once(app: App, tmp_path: Path) -> None:
    with open_house(app, tmp_path, one_time_tokens=("first", "second")) as house:
        with house.client(headers=PAGE) as one:
            assert one.get("/").status_code == 303
            entered = one.post("/enter", data={"token": "first", "next": "//evil.example"})
            assert entered.status_code == 303 and entered.headers["location"] == "/"
            assert one.get("/api/live").status_code == 200
            again = one.get("/enter?token=second&next=/?a")  # in already
            assert again.headers["location"] == "/?a"
            assert one.post("/enter", data={"token": "second"}).headers["location"] == "/"
        with house.client(headers=PAGE) as two:
            gone = two.get("/enter?token=first")
            assert gone.status_code == 410 and "has been used" in gone.text
            assert two.get("/enter?token=third").status_code == 403
            assert two.get("/enter").status_code == 403
            assert two.post("/enter", data={"token": "first"}).status_code == 410
            assert two.post("/enter", data={"token": "third"}).status_code == 403
            assert two.post("/enter", data={"next": "/"}).status_code == 403
            assert "one-time code" in two.get("/login").text
            pasted = two.post("/login", data={"token": "http://x/enter?token=second", "next": "/"})
            assert pasted.status_code == 303
            assert two.get("/api/live").status_code == 200
            assert two.post("/login", data={"token": "second"}).status_code == 410
    with open_house(app, tmp_path, one_time_tokens=("first",)) as house, house.client() as three:
        assert three.get("/enter?token=first").status_code == 410


def test_only_the_button_spends_a_link(app: App, tmp_path: Path) -> None:
    token = 'first"><b>' + "x" * 20
    with open_house(app, tmp_path, one_time_tokens=(token,)) as house:
        with house.client(headers=PAGE) as messenger:
            for look in (messenger.get, messenger.head):
                for _ in range(2):
                    seen = look("/enter", params={"token": token, "next": "/?tab=gallery"})
                    assert seen.status_code == 200 and "set-cookie" not in seen.headers
            complaint(messenger.get("/api/live"), 401)
        with house.client(headers={**PAGE, "sec-fetch-site": "cross-site"}) as elsewhere:
            assert elsewhere.post("/enter", data={"token": token}).status_code == 403
        with house.client(headers=PAGE) as person:
            page = person.get("/enter", params={"token": token, "next": "/?tab=gallery"}).text
            assert "<script" not in page and "<b>" not in page and "<button" in page
            assert "<form method=post action=/enter>" in page
            fields = re.findall(r'<input type=hidden name=(\w+) value="([^"]*)">', page)
            sent = {name: unescape(value) for name, value in fields}
            entered = person.post("/enter", data=sent, headers={"origin": house.url})
            assert entered.headers["location"] == "/?tab=gallery"
            assert person.get("/api/live").status_code == 200


def test_guessing_links_is_slow_by_whichever_way(app: App, tmp_path: Path) -> None:
    with open_house(app, tmp_path, one_time_tokens=("first",)) as house, house.client() as client:
        most = house.access.limits.wrong_logins_per_minute
        for number in range(most):
            assert client.get(f"/enter?token={number}").status_code == 403
        assert client.get("/enter?token=first").status_code == 429
        assert client.post("/enter", data={"token": "first"}).status_code == 429


def test_logins_survive_a_restart_but_not_a_new_password(app: App, tmp_path: Path) -> None:
    with open_house(app, tmp_path, users=USERS) as house, house.client() as client:
        client.post("/login", data=ADA)
        kept = dict(client.cookies)
    with open_house(app, tmp_path, users=USERS) as house, house.client(cookies=kept) as client:
        assert client.get("/api/live").status_code == 200
    changed = {**USERS, "ada": "another"}
    with open_house(app, tmp_path, users=changed) as house, house.client(cookies=kept) as client:
        complaint(client.get("/api/live"), 401)
    without = {"ben": USERS["ben"]}
    with open_house(app, tmp_path, users=without) as house, house.client(cookies=kept) as client:
        complaint(client.get("/api/live"), 401)


def test_cookies_are_secure_where_https_is_spoken(app: App, tmp_path: Path) -> None:
    with open_house(app, tmp_path, users=USERS) as house:
        house.access.hosts.add("x.gradio.live", https=True)
        with house.client(headers={"host": "x.gradio.live"}) as client:
            assert "; Secure" in client.post("/login", data=ADA).headers["set-cookie"]
        with house.client() as client:
            assert "; Secure" not in client.post("/login", data=ADA).headers["set-cookie"]
        house.access.hosts.end("x.gradio.live")
        with house.client(headers={"host": "x.gradio.live"}) as client:
            complaint(client.get("/login"), 410)
    with (
        open_house(app, tmp_path, users=USERS, secure_cookies=True) as house,
        house.client() as client,
    ):
        assert "; Secure" in client.post("/login", data=ADA).headers["set-cookie"]


def test_visitors_of_a_public_studio_keep_their_space(public: House) -> None:
    with public.client() as one, public.client() as two:
        job = one.post("/api/jobs", json=WANT).json()
        assert one.get(f"/api/jobs/{job['id']}").status_code == 200
        complaint(two.get(f"/api/jobs/{job['id']}"), 404)
        assert public.app.jobs.get(job["id"]).owner.startswith("visitor:")
        assert "set-cookie" not in one.get("/api/live").headers
        assert one.get("/login").headers["location"] == "/"
        one.delete(f"/api/jobs/{job['id']}")


def test_old_and_damaged_logins_are_forgotten(tmp_path: Path) -> None:
    access = make_access(data_dir=tmp_path, users=USERS)
    session = Logins(access).open_for_user("ada")
    assert Logins(access).owner(session) == "user:ada"
    file = tmp_path / ".logins.json"
    assert session not in file.read_text()
    kept = json.loads(file.read_text())
    for login in kept["sessions"].values():
        assert login["expires"] == pytest.approx(time.time() + 30 * DAY_S, abs=60)
        login["expires"] = time.time() - 1
    file.write_text(json.dumps(kept))
    assert Logins(access).owner(session) is None
    for damaged in ("", "{", "[]", '{"sessions": 3, "spent": []}', '{"sessions": {"a": 1}}'):
        file.write_text(damaged)
        assert Logins(access).owner(session) is None


def test_a_login_still_works_when_nothing_can_be_written(tmp_path: Path) -> None:
    access = Access(secret=b"x" * 32, users=USERS, logins_file=tmp_path / "missing" / "logins.json")
    logins = Logins(access)
    assert logins.owner(logins.open_for_user("ada")) == "user:ada"


def test_logins_are_bounded(tmp_path: Path) -> None:
    access = Access(secret=b"x" * 32, users=USERS)
    logins = Logins(access)
    first = logins.open_for_user("ada")
    for _ in range(access.limits.logins):
        logins.open_for_user("ben")
    assert logins.owner(first) is None


def test_access_is_refused_where_it_would_be_open_by_accident(tmp_path: Path) -> None:
    for wrong in (
        {"host": "0.0.0.0"},
        {"host": "192.168.0.2"},
        {"shared": True},
        {"users": {"": "x"}},
        {"users": {"x": ""}},
    ):
        with pytest.raises(Refused):
            make_access(data_dir=tmp_path, **wrong)
    assert make_access(data_dir=tmp_path).alone
    assert make_access(data_dir=tmp_path, host="0.0.0.0", public=True).hosts.knows("192.0.2.7")
    assert make_access(data_dir=tmp_path, shared=True, one_time_tokens=("x",)).needs_login


def test_a_damaged_secret_is_made_anew(tmp_path: Path) -> None:
    first = install_secret(tmp_path)
    assert install_secret(tmp_path) == first
    (tmp_path / ".secret").write_bytes(b"short")
    assert len(install_secret(tmp_path)) == 32
    assert install_secret(tmp_path) != first


def test_next_is_quoted_in_the_address(browser: httpx.Client) -> None:
    assert quote("/?a=1&b=2", safe="/") in browser.get("/?a=1&b=2").headers["location"]


def test_the_link_of_a_share_opens_a_space_of_ones_own(app: App, tmp_path: Path) -> None:
    tokens = {"one_time_tokens": ("mine" * 8,), "guest_tokens": ("theirs" * 6,)}
    with open_house(app, tmp_path, **tokens) as house:
        record = house.picture("local")
        for token, status in (("mine" * 8, 200), ("theirs" * 6, 404)):
            with house.client() as client:
                assert client.post("/enter", data={"token": token}).status_code == 303
                assert client.get(f"/api/images/{record.id}").status_code == status
