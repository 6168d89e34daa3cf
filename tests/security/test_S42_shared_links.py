"""S42: a share link in the wrong hands, what its guests may ask, and the end of sharing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from studio.api.sharing import Sharing
from studio.app import App
from studio.core.errors import Busy, InvalidRequest
from studio.jobs.store import DAY_S, JobStore
from tests.api.house import WANT, House, complaint, open_house

HOST = "8f3c.gradio.live"
MINE, THEIRS = "m" * 32, "t" * 32
FIELDS = {name: WANT[name] for name in WANT if name != "task"}
GUEST = "guest:" + "a" * 32


@contextmanager
def shared(app: App, tmp_path: Path, hours: float = 1.0) -> Iterator[tuple[House, list[str]]]:
    """A house with an open link, and what was done at the end of it."""
    done: list[str] = []
    with open_house(
        app, tmp_path, shared=True, one_time_tokens=(MINE,), guest_tokens=(THEIRS,)
    ) as house:
        access = house.access

        def end() -> None:
            done.append("tunnel closed")
            access.hosts.end(HOST)
            app.studio.dismiss_guests()

        access.hosts.add(HOST, https=True)
        access.sharing.begin(f"https://{HOST}", hours * 3600, end)
        yield house, done
        access.sharing.stop()


@contextmanager
def entered(house: House, token: str, **headers: str) -> Iterator[httpx.Client]:
    """Somebody who has come in; their cookie is sent by hand, as it is kept to https."""
    with house.client(headers={"accept": "text/html", **headers}) as client:
        answer = client.post("/enter", data={"token": token})
        assert answer.status_code == 303
        client.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        yield client


def test_the_link_is_worth_nothing_without_its_token_and_the_token_works_once(
    app: App, tmp_path: Path
) -> None:
    with shared(app, tmp_path) as (house, _), house.client(headers={"host": HOST}) as stranger:
        page = {"accept": "text/html"}
        assert stranger.get("/", headers=page).headers["location"] == "/login"
        with entered(house, THEIRS, host=HOST) as friend:
            assert friend.get("/api/live").status_code == 200
            assert stranger.get(f"/enter?token={THEIRS}").status_code == 410
            complaint(stranger.get("/api/live"), 401)


def test_a_guest_may_paint_small_pictures_and_so_many_a_day(app: App) -> None:
    most = app.studio._guests
    large = {**FIELDS, "width": 2048, "height": 1024}
    with pytest.raises(InvalidRequest, match=r"picture may have 1 MP at most \(got 2\.1 MP\)"):
        app.studio.submit(GUEST, "txt2img", large)
    hires = {**FIELDS, "width": 512, "height": 512, "hires": {"factor": 4}}
    with pytest.raises(InvalidRequest, match="may have 1 MP at most"):
        app.studio.submit(GUEST, "txt2img", hires)
    for _ in range(most.jobs_per_day):
        app.studio.cancel(GUEST, app.studio.submit(GUEST, "txt2img", FIELDS).id)
    with pytest.raises(Busy) as refused:
        app.studio.submit(GUEST, "txt2img", FIELDS)
    assert refused.value.message == f"You may ask for {most.jobs_per_day} jobs a day, and you have."
    assert refused.value.hint == "Come back in 24 hours."
    assert DAY_S - 600 < refused.value.wait_s <= DAY_S
    for other in ("guest:" + "b" * 32, "local"):
        app.studio.cancel(other, app.studio.submit(other, "txt2img", FIELDS).id)
    wide = app.studio.submit("local", "txt2img", large)
    app.studio.cancel("local", wide.id)


def test_a_day_later_there_is_room_again(tmp_path: Path) -> None:
    now = [1000.0]
    jobs = JobStore(tmp_path / "jobs.db", clock=lambda: now[0])

    def ask() -> None:
        jobs.add("guest:x", "txt2img", {}, limit=99, per_day=2)

    ask()
    now[0] += 3600
    ask()
    with pytest.raises(Busy, match="Come back in 23 hours"):
        ask()
    now[0] += 22 * 3600 + 40 * 60
    with pytest.raises(Busy, match="Come back in 20 minutes"):
        ask()
    now[0] += 20 * 60
    ask()
    with pytest.raises(Busy, match="Come back in 1 hour"):
        ask()
    jobs.close()


def test_stop_sharing_ends_tunnel_tokens_guests_and_their_jobs(app: App, tmp_path: Path) -> None:
    with (
        shared(app, tmp_path) as (house, done),
        entered(house, THEIRS, host=HOST) as friend,
        entered(house, MINE) as me,
    ):
        theirs = friend.post("/api/jobs", json=WANT).json()["id"]
        mine = me.post("/api/jobs", json=WANT).json()["id"]
        link = me.get("/api/sharing").json()["link"]
        assert link["url"] == f"https://{HOST}"
        assert me.get("/api/live").json()["sharing"] == link
        assert friend.get("/api/sharing").json() == {"link": None}
        assert friend.get("/api/live").json()["sharing"] is None
        complaint(friend.post("/api/sharing/stop"), 403)
        assert done == []
        assert me.post("/api/sharing/stop").status_code == 204
        assert me.post("/api/sharing/stop").status_code == 204
        assert done == ["tunnel closed"]
        assert me.get("/api/sharing").json() == {"link": None}
        assert me.get(f"/api/jobs/{mine}").json()["state"] == "queued"
        me.delete(f"/api/jobs/{mine}")
        assert app.jobs.get(theirs).state == "cancelled"
        for path in ("/", "/api/live", f"/enter?token={THEIRS}"):
            gone = friend.get(path)
            assert gone.status_code == 410 and "no longer shared" in gone.text, path
        friend.headers["host"] = "localhost"  # whoever got here by another way, on the network
        complaint(friend.get("/api/live", headers={"accept": "*/*"}), 401)
        with house.client() as late:
            for answer in (
                late.get(f"/enter?token={THEIRS}"),
                late.post("/enter", data={"token": THEIRS}),
                late.post("/login", data={"token": THEIRS}),
            ):
                assert answer.status_code == 410 and "no longer shared" in answer.text


def test_an_unspent_link_ends_with_the_sharing(app: App, tmp_path: Path) -> None:
    with shared(app, tmp_path) as (house, _), house.client() as late:
        house.access.sharing.stop()
        assert late.get(f"/enter?token={THEIRS}").status_code == 410
        assert late.get(f"/enter?token={MINE}").status_code == 200


def test_a_guest_does_not_outlive_the_start_that_let_them_in(app: App, tmp_path: Path) -> None:
    with shared(app, tmp_path) as (house, _), entered(house, THEIRS) as friend:
        cookie = {"cookie": friend.headers["cookie"]}
    tokens = {"one_time_tokens": ("n" * 32,), "guest_tokens": ("u" * 32,)}
    with open_house(app, tmp_path, **tokens) as house, house.client(headers=cookie) as client:
        complaint(client.get("/api/live"), 401)


def test_a_link_ends_by_itself_even_if_the_machine_slept() -> None:
    now, done = [0.0], []
    sharing = Sharing(clock=lambda: now[0])
    assert sharing.link is None and not sharing.over
    sharing.begin("https://x", 3600, lambda: done.append("closed"))
    assert sharing.link is not None and sharing.link.until == 3600
    now[0] = 3600
    assert sharing.over and sharing.link is None
    sharing.stop()
    sharing.stop()
    assert done == ["closed"]


def test_the_time_of_a_link_closes_its_tunnel() -> None:
    closed = threading.Event()
    Sharing().begin("https://x", 0.01, closed.set)
    assert closed.wait(10)


def test_a_link_that_opens_after_the_end_is_closed_at_once() -> None:
    sharing, done = Sharing(), []
    sharing.stop()
    sharing.begin("https://x", 3600, lambda: done.append("closed"))
    assert done == ["closed"] and sharing.link is None


def test_a_page_behind_the_tunnel_is_a_page_by_https(
    app: App, tmp_path: Path, alone: House
) -> None:
    alone.access.hosts.add(HOST, https=True)
    with alone.client(headers={"host": HOST}) as client:
        assert client.get("/config").json()["root"] == f"https://{HOST}"
    alone.access.hosts.end(HOST)


def test_a_visitor_may_have_four_jobs_waiting(public: House) -> None:
    with public.client() as visitor:
        jobs = [visitor.post("/api/jobs", json=WANT).json()["id"] for _ in range(4)]
        error = complaint(visitor.post("/api/jobs", json=WANT), 429)
        assert error["message"] == "You already have 4 jobs waiting."
        for job in jobs:
            visitor.delete(f"/api/jobs/{job}")
