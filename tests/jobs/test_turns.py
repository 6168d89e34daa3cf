"""Whose turn it is."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from studio.jobs.turns import in_turn


def test_turns_go_round() -> None:
    waiting = [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c"), ("b2", "b")]
    assert in_turn(waiting, {}) == ("a1", "b1", "c1", "a2", "b2", "a3")


def test_who_was_served_last_waits_longest() -> None:
    assert in_turn([("a2", "a"), ("b1", "b")], {"a": 7}) == ("b1", "a2")
    assert in_turn([("a2", "a"), ("b1", "b")], {"a": 7, "b": 9}) == ("a2", "b1")


lines = st.lists(st.tuples(st.uuids().map(str), st.sampled_from("abcde")), unique_by=lambda x: x[0])


@given(lines)
def test_every_job_runs_once_and_an_owner_keeps_their_order(waiting: list[tuple[str, str]]) -> None:
    order = in_turn(waiting, {})
    assert sorted(order) == sorted(job for job, _ in waiting)
    for owner in "abcde":
        mine = [job for job, who in waiting if who == owner]
        assert [job for job in order if job in mine] == mine


@given(lines)
def test_nobody_gets_a_second_turn_before_everybody_waiting_had_one(
    waiting: list[tuple[str, str]],
) -> None:
    owner_of = dict(waiting)
    turns = [owner_of[job] for job in in_turn(waiting, {})]
    for (place, owner), (_, _) in pairwise(enumerate(turns)):
        again = next((i for i in range(place + 1, len(turns)) if turns[i] == owner), None)
        if again is not None:
            still_waiting = set(turns[again:])
            assert still_waiting <= set(turns[place:again]) | {owner}
