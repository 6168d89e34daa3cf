"""S42: a share link in the wrong hands, and the end of sharing."""

from pathlib import Path

from studio.app import App
from tests.api.house import WANT, House, complaint, open_house

HOST = "8f3c.gradio.live"


def test_the_link_is_worth_nothing_without_its_token_and_the_token_works_once(
    app: App, tmp_path: Path
) -> None:
    with open_house(app, tmp_path, shared=True, one_time_tokens=("t" * 32,)) as house:
        house.access.hosts.add(HOST, https=True)
        shared = {"host": HOST, "accept": "text/html"}
        with house.client(headers=shared) as friend:
            assert friend.get("/").headers["location"] == "/login"
            entered = friend.get(f"/enter?token={'t' * 32}")
            assert entered.status_code == 303 and "; Secure" in entered.headers["set-cookie"]
            cookie = {"cookie": entered.headers["set-cookie"].partition(";")[0]}
            assert friend.get("/api/live", headers=cookie).status_code == 200
            with house.client(headers=shared) as stranger:
                assert stranger.get(f"/enter?token={'t' * 32}").status_code == 410
                complaint(stranger.get("/api/live"), 401)
            house.access.hosts.remove(HOST)  # sharing ends
            complaint(friend.get("/api/live", headers=cookie), 400)
            assert friend.get(f"/enter?token={'t' * 32}").status_code == 400


def test_a_page_behind_the_tunnel_is_a_page_by_https(
    app: App, tmp_path: Path, alone: House
) -> None:
    alone.access.hosts.add(HOST, https=True)
    with alone.client(headers={"host": HOST}) as client:
        assert client.get("/config").json()["root"] == f"https://{HOST}"
    alone.access.hosts.remove(HOST)


def test_a_visitor_may_have_four_jobs_waiting(public: House) -> None:
    with public.client() as visitor:
        jobs = [visitor.post("/api/jobs", json=WANT).json()["id"] for _ in range(4)]
        error = complaint(visitor.post("/api/jobs", json=WANT), 429)
        assert error["message"] == "You already have 4 jobs waiting."
        for job in jobs:
            visitor.delete(f"/api/jobs/{job}")
