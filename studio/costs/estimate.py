"""Seconds and bytes of a job before it runs, from what was measured, or else from what is alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import median

from studio.costs.admission import gigabytes
from studio.costs.anatomy import Anatomy
from studio.costs.history import Loaded, Painted
from studio.costs.machine import Machine
from studio.costs.needs import needs
from studio.costs.plan import WHOLE, Kept, Plan, kept_by
from studio.costs.work import Pass, Work

NEWEST = 5
"""Measurements that a figure is the median of: a machine's ways change."""
ALIKE = log(4.0)
"""Sizes up to four times as large or small tell about each other."""
CONTROL_TIME = 0.4
"""What a ControlNet adds to a call of the denoiser, before it was measured."""
TOLD_APART_BYTES = 16 << 20
"""Of smaller pictures a process' memory says nothing: it moves by as much on its own."""
TELLING_BYTES = 256 << 20
"""Of a checkpoint whose reading says how long others take; smaller ones mostly build modules."""
LEAST_SWAP_S = 0.05
"""A swap that nobody notices is not told."""
READ_BYTES_S = 1e9
"""What a disk and a converter manage in a second, before it was measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a job will take, as far as it can be told."""

    seconds: float | None
    """Of painting; None where nothing alike was ever painted here."""
    swap_seconds: float | None
    """Of bringing in what is not there yet; 0 where all of it is."""
    peak_bytes: int
    """Of the memory, weights among it."""
    measured: bool
    """The seconds come from this checkpoint at a size like this one; else they are a guess."""


def seconds(
    work: Work,
    anatomy: Anatomy,
    machine: Machine,
    history: Sequence[Painted],
    kept: Kept = "whole",
) -> tuple[float | None, bool]:
    """Seconds of painting, and whether they were measured rather than guessed. Weights that are kept
    in another way say nothing: one may take ten times as long as another."""
    here = [row for row in history if _same(row, machine) and kept_by(row.plan) == kept]
    total, known = 0.0, True
    for one in work.passes:
        found = _pass_seconds(one, work, anatomy, here)
        if found is None:
            return None, False
        total += found[0]
        known = known and found[1]
    return total * work.count, known


def _pass_seconds(
    one: Pass, work: Work, anatomy: Anatomy, here: Sequence[Painted]
) -> tuple[float, bool] | None:
    own = [row for row in here if row.checkpoint == work.checkpoint]
    seen = work.seen(one)
    rows = _nearest(seen, own)
    if rows and abs(log(_seen(rows[0]) / seen)) <= ALIKE:
        return _like(one, work, rows), True
    if rows := rows or _nearest(seen, [row for row in here if row.parameters]):
        scale = 1.0
        if not own:
            scale = anatomy.denoiser / (median(row.parameters for row in rows) or 1)
        return _like(one, work, rows) * scale, False
    return None


def _like(one: Pass, work: Work, rows: Sequence[Painted]) -> float:
    """Seconds of a pass, as those of passes of one other size."""
    each = median(
        row.call_s / (_seen(row) * row.batch * (1 + CONTROL_TIME * row.nets)) for row in rows
    )
    rest = median(row.rest_s / row.pixels for row in rows)
    call = each * work.seen(one) * one.batch * (1 + CONTROL_TIME * len(work.controls))
    return call * one.calls + rest * one.pixels


def _nearest(pixels: int, rows: Sequence[Painted]) -> list[Painted]:
    """The newest measurements of the size that is most like this one."""
    rows = [row for row in rows if row.pixels > 0 and row.calls > 0]
    if not rows:
        return []
    best = _seen(min(rows, key=lambda row: abs(log(_seen(row) / pixels))))
    return [row for row in rows if _seen(row) == best][-NEWEST:]


def _seen(row: Painted) -> int:
    """Pixels that a call of it saw."""
    return row.seen or row.pixels


def swap_seconds(
    checkpoint: str, missing_bytes: int, machine: Machine, history: Sequence[Loaded]
) -> float:
    """Seconds of bringing in that many bytes: as this checkpoint did, else as others did."""
    if missing_bytes <= 0:
        return 0.0
    here = [row for row in history if _same(row, machine) and row.bytes > 0]
    rows = [row for row in here if row.checkpoint == checkpoint]
    if rows := rows or [row for row in here if row.bytes >= TELLING_BYTES]:
        return missing_bytes * median(row.seconds / row.bytes for row in rows[-NEWEST:])
    # small ones take their time whatever they hold
    start = median(row.seconds for row in here[-NEWEST:]) if here else 0.0
    return start + missing_bytes / READ_BYTES_S


def correction(
    checkpoint: str, machine: Machine, history: Sequence[Painted], kept: Kept = "whole"
) -> float:
    """What measured activations were of predicted ones: the most of the newest ones where weights
    were kept so, or else whole; 1 where nothing was measured."""
    rows = [
        row
        for row in history
        if row.checkpoint == checkpoint
        and _same(row, machine)
        and row.peak_bytes > 0
        and row.predicted_bytes >= TOLD_APART_BYTES
    ]
    own = [row for row in rows if kept_by(row.plan) == kept]
    rows = own or [row for row in rows if kept_by(row.plan) == "whole"]
    ratios = [row.peak_bytes / row.predicted_bytes for row in rows[-4 * NEWEST :]]
    return min(10.0, max(ratios, default=1.0))


def estimate(
    work: Work,
    anatomy: Anatomy,
    beside: Mapping[str, int],
    machine: Machine,
    *,
    missing_bytes: int,
    painted: Sequence[Painted],
    loaded: Sequence[Loaded],
    refiner: Anatomy | None = None,
    plan: Plan = WHOLE,
) -> Estimate:
    """What a job will take under a plan. `beside` and `refiner` are as `needs` has them, `missing_bytes`
    are weights that are not in memory yet."""
    painting = machine.painting(anatomy)
    found, known = seconds(work, anatomy, painting, painted, plan.kept)
    factor = correction(work.checkpoint, painting, painted, plan.kept)
    needed = needs(
        work, anatomy, beside, machine=machine, plan=plan, factor=factor, refiner=refiner
    )
    return Estimate(
        seconds=found,
        swap_seconds=swap_seconds(work.checkpoint, missing_bytes, painting, loaded),
        peak_bytes=needed.peak,
        measured=known,
    )


def unpainted(by: str, pixels: int, machine: Machine, history: Sequence[Painted]) -> Estimate:
    """What an upscaler or a preprocessor will take for a picture of so many pixels, from what it
    took before; nothing is told of one that never ran here."""
    own = [row for row in history if row.checkpoint == by and _same(row, machine)]
    rows = _nearest(pixels, own)
    if not rows:
        return Estimate(seconds=None, swap_seconds=None, peak_bytes=0, measured=False)
    return Estimate(
        seconds=pixels * median((row.call_s + row.rest_s) / row.pixels for row in rows),
        swap_seconds=None,
        peak_bytes=int(max(row.peak_bytes / row.pixels for row in rows) * pixels),
        measured=abs(log(rows[0].pixels / pixels)) <= ALIKE,
    )


def _same(row: Painted | Loaded, machine: Machine) -> bool:
    return (row.device, row.dtype) == (machine.device, machine.dtype)


def words(found: Estimate) -> str:
    """`≈ 2.1 s · 1.4 GB · swap 0.3 s`: what is not known, or nothing worth a word, is left out."""
    parts = []
    if found.seconds:
        parts.append(spoken(found.seconds, measured=found.measured))
    if found.peak_bytes:
        needed = gigabytes(found.peak_bytes)
        parts.append(needed if found.seconds else f"{needed} of memory")
    if found.swap_seconds and found.swap_seconds >= LEAST_SWAP_S:
        parts.append(f"swap {_time(found.swap_seconds)}")
    return " · ".join(parts)


def spoken(taken: float, *, measured: bool) -> str:
    """`≈ 2.1 s` where it was measured; a guess has one digit: `about 2 s`."""
    if measured:
        return f"≈ {_time(taken)}"
    return f"about {_time(float(f'{taken:.1g}'))}"


def _time(taken: float) -> str:
    if taken < 9.95:
        return f"{max(taken, 0.1):.1f} s".replace(".0 s", " s")
    if taken < 90:
        return f"{taken:.0f} s"
    return f"{taken / 60:.0f} min" if taken < 5400 else f"{taken / 3600:.1f} h"
