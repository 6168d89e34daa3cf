"""S45: cookies made elsewhere."""

import stat
from pathlib import Path

from studio.api.access import install_secret
from studio.api.visit import cookie_name, sign
from studio.app import App
from tests.api.house import USERS, complaint, open_house

RIGHT = {"name": "ada", "password": USERS["ada"]}


def test_each_install_has_a_secret_that_only_its_owner_reads(tmp_path: Path) -> None:
    one, two = install_secret(tmp_path / "one"), install_secret(tmp_path / "two")
    assert one != two and len(one) == 32
    assert stat.S_IMODE((tmp_path / "one" / ".secret").stat().st_mode) == 0o600
    (tmp_path / "one" / ".secret").chmod(0o644)
    assert install_secret(tmp_path / "one") == one
    assert stat.S_IMODE((tmp_path / "one" / ".secret").stat().st_mode) == 0o600


def test_a_cookie_of_one_studio_is_nothing_to_another(app: App, tmp_path: Path) -> None:
    with open_house(app, tmp_path / "one", users=USERS) as house, house.client() as client:
        client.post("/login", data=RIGHT)
        ((name, value),) = client.cookies.items()
        assert client.get("/api/live").status_code == 200
    with open_house(app, tmp_path / "two", users=USERS) as house:
        other = cookie_name(house.access)
        assert other != name
        with house.client(cookies={name: value, other: value}) as client:
            complaint(client.get("/api/live"), 401)


def test_logins_on_disk_are_hashed_and_private(app: App, tmp_path: Path) -> None:
    with open_house(app, tmp_path, users=USERS) as house, house.client() as client:
        client.post("/login", data=RIGHT)
        ((_, value),) = client.cookies.items()
    file = tmp_path / ".logins.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = file.read_text()
    assert value.partition(".")[0] not in kept and USERS["ada"] not in kept


def test_a_signed_guess_is_no_login(app: App, tmp_path: Path) -> None:
    """Also somebody who read the secret needs a session that was opened."""
    with open_house(app, tmp_path, users=USERS) as house:
        forged = sign(house.access, "login", "0" * 32)
        visitor = sign(house.access, "visitor", "0" * 32)
        for value in (forged, visitor, "local", "user:ada", ""):
            with house.client(cookies={cookie_name(house.access): value}) as client:
                complaint(client.get("/api/live"), 401)
    with (
        open_house(app, tmp_path, public=True) as house,
        house.client(cookies={cookie_name(house.access): "a" * 32 + "." + "b" * 32}) as client,
    ):
        assert "set-cookie" in client.get("/api/live").headers  # a stranger, and a new one
