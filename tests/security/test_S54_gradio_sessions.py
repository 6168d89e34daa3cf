"""S54: thousands of Gradio pages that nobody opened."""

from tests.api.house import House
from tests.security.peak import peak_below


def test_random_sessions_are_slowed_down_and_memory_stays(public: House) -> None:
    with public.client() as client, peak_below(60):
        answers = [
            client.post(
                "/gradio_api/run/predict",
                json={"data": ["x"], "fn_index": 0, "session_hash": f"s{number}"},
            )
            for number in range(500)
        ]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) > 450
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert client.get("/api/health").status_code == 200


def test_events_without_a_session_are_no_events(public: House) -> None:
    with public.client() as client:
        for body in (
            b"",
            b"[]",
            b"{}",
            b'{"session_hash": 3}',
            b"[" * 100_000,
            b'{"session_hash": "../x"}',
        ):
            answer = client.post("/gradio_api/queue/join", content=body)
            assert answer.status_code in {400, 404}, body[:20]
