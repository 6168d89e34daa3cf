"""Whose turn it is: pure arithmetic over who waits and who was served last."""

from collections import deque
from collections.abc import Mapping, Sequence


def in_turn(waiting: Sequence[tuple[str, str]], served: Mapping[str, int]) -> tuple[str, ...]:
    """The order in which waiting jobs will run.

    `waiting` holds (job id, owner), each owner's jobs in the order that owner wants. `served` tells
    the number of each owner's last turn; owners without one come first. Turns go round: everybody
    gets one job before anybody gets a second.
    """
    lines: dict[str, deque[str]] = {}
    for job_id, owner in waiting:
        lines.setdefault(owner, deque()).append(job_id)
    ring = deque(sorted(lines, key=lambda owner: served.get(owner, 0)))  # stable: first come first
    order: list[str] = []
    while ring:
        owner = ring.popleft()
        order.append(lines[owner].popleft())
        if lines[owner]:
            ring.append(owner)
    return tuple(order)
