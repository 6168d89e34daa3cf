"""S44: guessing passwords and tokens."""

from pathlib import Path

import pytest

from studio.app import App
from tests.api.house import USERS, complaint, open_house

WRONG = {"name": "ada", "password": "wrong"}
RIGHT = {"name": "ada", "password": USERS["ada"]}


@pytest.mark.parametrize("way", ["form", "basic", "token", "mixed"])
def test_ten_wrong_logins_a_minute_and_no_more(app: App, tmp_path: Path, way: str) -> None:
    with (
        open_house(app, tmp_path, users=USERS, one_time_tokens=("t" * 32,)) as house,
        house.client() as client,
    ):
        for number in range(10):
            if way == "form" or (way == "mixed" and number % 2):
                assert client.post("/login", data=WRONG).status_code == 401
            elif way == "token":
                assert client.get(f"/enter?token={number}").status_code == 403
            else:
                complaint(client.get("/api/live", auth=("ada", "wrong")), 401)
        blocked = client.post("/login", data=RIGHT)  # no matter whether it is right
        assert blocked.status_code == 429 and 50 <= int(blocked.headers["retry-after"]) <= 60
        assert "set-cookie" not in blocked.headers
        basic = client.get("/api/live", auth=("ada", USERS["ada"]))
        complaint(basic, 429)
        assert int(basic.headers["retry-after"]) > 50
        link = client.get("/enter?token=" + "t" * 32)
        assert link.status_code == 429 and int(link.headers["retry-after"]) > 50
        complaint(client.get("/api/live"), 401)  # without a try it is as before


def test_who_is_in_stays_in_while_others_guess(app: App, tmp_path: Path) -> None:
    with open_house(app, tmp_path, users=USERS) as house, house.client() as client:
        client.post("/login", data=RIGHT)
        with house.client() as thief:
            for _ in range(11):
                thief.post("/login", data=WRONG)
        assert client.get("/api/live").status_code == 200


def test_a_wrong_name_and_a_wrong_password_look_the_same(app: App, tmp_path: Path) -> None:
    with open_house(app, tmp_path, users=USERS) as house, house.client() as client:
        name = client.post("/login", data={"name": "eve", "password": "x"})
        password = client.post("/login", data={"name": "ada", "password": "x"})
        assert name.status_code == password.status_code == 401
        assert name.text.replace("eve", "ada") == password.text
