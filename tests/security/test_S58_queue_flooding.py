"""S58: one person fills the queue."""

from tests.api.house import WANT, House, complaint


def test_a_flood_is_cut_and_others_have_their_turn(public: House) -> None:
    with public.client() as flooder, public.client() as other:
        answers = [flooder.post("/api/jobs", json=WANT) for _ in range(50)]
        taken = [answer.json()["id"] for answer in answers if answer.status_code == 202]
        assert len(taken) == 4
        for answer in answers[4:]:
            error = complaint(answer, 429)
            assert error["message"] == "You already have 4 jobs waiting."
            assert answer.headers["retry-after"]
        job = other.post("/api/jobs", json=WANT).json()
        order = public.app.jobs.order()
        mine = [one for one in order if one in {*taken, job["id"]}]
        assert mine.index(job["id"]) <= 1
        again = flooder.post(f"/api/jobs/{taken[0]}/rerun")
        complaint(again, 429)
        for one in taken:
            flooder.delete(f"/api/jobs/{one}")
        other.delete(f"/api/jobs/{job['id']}")


def test_asking_too_often_is_429_for_who_does_it(app, tmp_path) -> None:
    from studio.api.access import Limits
    from tests.api.house import open_house

    limits = Limits(requests_per_s=5, burst=20)
    with (
        open_house(app, tmp_path, public=True, limits=limits) as house,
        house.client() as eager,
        house.client() as calm,
    ):
        assert calm.get("/api/live").status_code == 200
        answers = [eager.get("/api/live") for _ in range(40)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 10 <= len(refused) <= 25
        assert complaint(refused[-1], 429)["message"] == "You ask too often."
        assert calm.get("/api/live").status_code == 200


def test_new_cookies_do_not_help(app, tmp_path) -> None:
    from studio.api.access import Limits
    from tests.api.house import open_house

    with open_house(app, tmp_path, public=True, limits=Limits(visitors_per_minute=10)) as house:
        answers = []
        for _ in range(20):
            with house.client() as fresh:
                answers.append(fresh.get("/api/live").status_code)
        assert answers.count(200) == 10 and answers[-1] == 429
