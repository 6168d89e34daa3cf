"""What is predicted is learned: seconds, swaps, and how far predicted bytes are off."""

from dataclasses import replace
from pathlib import Path

import pytest

from studio.costs import estimate as costs
from studio.costs.anatomy import Anatomy, Exact
from studio.costs.estimate import Estimate
from studio.costs.history import History, Loaded, Painted, measured, sent
from studio.costs.machine import Machine
from studio.costs.memory import Held, Memory, memory_of
from studio.costs.needs import activations, checkpoint_bytes
from studio.costs.plan import WHOLE, Plan
from studio.costs.predict import Costs, machine_of, room_for
from studio.costs.work import Pass, Work

HERE = Machine(device="cuda", dtype="float16")
SD = Anatomy(denoiser=860_000_000, text=123_000_000, vae=84_000_000, width=320)
ONE = Pass(width=512, height=512, calls=20)
WORK = Work(checkpoint="sd", passes=(ONE,))
ROW = Painted(
    checkpoint="sd",
    device="cuda",
    dtype="float16",
    pixels=512 * 512,
    calls=20,
    batch=2,
    nets=0,
    call_s=0.1,
    rest_s=0.5,
    predicted_bytes=10**9,
    peak_bytes=2 * 10**9,
    parameters=860_000_000,
)


def test_nothing_is_claimed_without_a_history() -> None:
    assert costs.seconds(WORK, SD, HERE, []) == (None, False)
    elsewhere = replace(ROW, device="cpu")
    assert costs.seconds(WORK, SD, HERE, [elsewhere]) == (None, False)


def test_the_same_again_takes_as_long_as_it_did() -> None:
    found, known = costs.seconds(WORK, SD, HERE, [ROW])
    assert known and found == pytest.approx(20 * 0.1 + 0.5)
    four, _ = costs.seconds(replace(WORK, count=4), SD, HERE, [ROW])
    assert four == pytest.approx(4 * found)


def test_weights_kept_in_another_way_tell_nothing() -> None:
    slow = replace(
        ROW, plan="evict tiles-512 split drop-text blocks", call_s=10.0, peak_bytes=10**9
    )
    rows = [ROW, slow, slow, slow]
    assert costs.seconds(WORK, SD, HERE, rows) == (pytest.approx(2.5), True)
    assert costs.seconds(WORK, SD, HERE, rows, "blocks") == (pytest.approx(200.5), True)
    assert costs.seconds(WORK, SD, HERE, rows, "packed") == (None, False)
    assert costs.seconds(replace(WORK, checkpoint="xl"), SD, HERE, [slow]) == (None, False)
    most = [replace(ROW, peak_bytes=10**9), replace(slow, peak_bytes=3 * 10**9)]
    factors = [costs.correction("sd", HERE, most, kept) for kept in ("whole", "packed", "blocks")]
    assert factors == [1, 1, 3]


def test_other_sizes_steps_and_guidance_follow_from_it() -> None:
    larger = replace(ONE, width=1024)
    found, known = costs.seconds(replace(WORK, passes=(larger,)), SD, HERE, [ROW])
    assert known and found == pytest.approx(2 * 2.5)
    plain = replace(ONE, guided=False, calls=10)
    found, _ = costs.seconds(replace(WORK, passes=(plain,)), SD, HERE, [ROW])
    assert found == pytest.approx(10 * 0.05 + 0.5)
    huge = replace(ONE, width=2048, height=2048)
    assert not costs.seconds(replace(WORK, passes=(huge,)), SD, HERE, [ROW])[1]


def test_tokens_of_pictures_are_seen_as_the_picture_is() -> None:
    told = replace(WORK, tokens=4 * 1024)  # as many as 512 px have, four times
    found, known = costs.seconds(told, SD, HERE, [ROW])
    assert not known and found == pytest.approx(20 * 0.5 + 0.5)
    row = replace(ROW, call_s=0.3, seen=told.seen(ONE))
    assert costs.seconds(told, SD, HERE, [ROW, row]) == (pytest.approx(20 * 0.3 + 0.5), True)
    assert costs.seconds(WORK, SD, HERE, [ROW, row]) == (pytest.approx(2.5), True)


def test_what_is_no_checkpoint_tells_of_itself_alone() -> None:
    row = replace(
        ROW, checkpoint="upscaler:x", calls=1, batch=1, call_s=3.0, rest_s=0.0, parameters=0
    )
    nothing = costs.unpainted("upscaler:x", 512**2, HERE, [ROW])
    assert (nothing.seconds, nothing.peak_bytes, costs.words(nothing)) == (None, 0, "")
    found = costs.unpainted("upscaler:x", 2 * 512**2, HERE, [ROW, row])
    assert (found.seconds, found.measured) == (pytest.approx(6.0), True)
    assert costs.words(found) == "≈ 6 s · 4.0 GB"
    assert not costs.unpainted("upscaler:x", 16 * 512**2, HERE, [row]).measured
    assert costs.seconds(replace(WORK, checkpoint="other"), SD, HERE, [row]) == (None, False)


def test_what_makes_pixels_is_told_by_the_numbers_that_it_computes_in(tmp_path: Path) -> None:
    history = History(tmp_path / "costs.sqlite")
    row = replace(ROW, checkpoint="upscaler:x", device="cpu", dtype="float32", calls=1, batch=1)
    history.add([replace(row, call_s=3.0, rest_s=0.0)])
    for exact, seconds in (("float32", 3.0), ("", None)):
        memory = Memory(device="cpu", dtype="bfloat16", exact=exact)
        told = Costs(history).without_checkpoint("upscaler:x", 512**2, memory)
        assert told["seconds"] == seconds
    history.close()


def test_the_nearest_size_counts_and_of_it_the_newest() -> None:
    old = [replace(ROW, call_s=9.0)] * 5
    new = [replace(ROW, call_s=0.2)] * 5
    far = [replace(ROW, pixels=1024 * 1024, call_s=99.0)] * 9
    found, _ = costs.seconds(WORK, SD, HERE, [*old, *new, *far])
    assert found == pytest.approx(20 * 0.2 + 0.5)


def test_another_checkpoint_is_a_guess_by_its_size() -> None:
    twice = replace(SD, denoiser=2 * SD.denoiser)
    found, known = costs.seconds(replace(WORK, checkpoint="xl"), twice, HERE, [ROW])
    assert not known and found == pytest.approx(2 * 2.5)


def test_swaps_are_learned_by_byte() -> None:
    row = Loaded(checkpoint="sd", device="cuda", dtype="float16", bytes=10**9, seconds=0.3)
    assert costs.swap_seconds("sd", 0, HERE, [row]) == 0
    assert costs.swap_seconds("sd", 2 * 10**9, HERE, [row]) == pytest.approx(0.6)
    assert costs.swap_seconds("xl", 2 * 10**9, HERE, [row]) == pytest.approx(0.6)
    assert costs.swap_seconds("sd", 10**9, HERE, []) == pytest.approx(1.0)
    tiny = replace(row, checkpoint="tiny", bytes=1000, seconds=0.2)
    assert costs.swap_seconds("sd", 10**9, HERE, [tiny]) == pytest.approx(1.2)


def test_peaks_correct_the_prediction() -> None:
    assert costs.correction("sd", HERE, []) == 1
    assert costs.correction("sd", HERE, [ROW, replace(ROW, peak_bytes=10**9)]) == 2
    assert costs.correction("xl", HERE, [ROW]) == 1
    assert costs.correction("sd", HERE, [replace(ROW, peak_bytes=0)]) == 1
    small = replace(ROW, predicted_bytes=1000, peak_bytes=10**9)
    assert costs.correction("sd", HERE, [small]) == 1


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((2.13, 0.3, 1_400_000_000, True), "≈ 2.1 s · 1.4 GB · swap 0.3 s"),
        ((2.0, 0.0, 1_400_000_000, True), "≈ 2 s · 1.4 GB"),
        ((137.0, 0.01, 900_000_000, False), "about 2 min · 900 MB"),
        ((34.0, 12.0, 900_000_000, False), "about 30 s · 900 MB · swap 12 s"),
        ((None, None, 900_000_000, False), "900 MB of memory"),
        ((0.0, None, 0, True), ""),
    ],
)
def test_it_says_about_or_nothing_rather_than_a_lie(
    found: tuple[float | None, float | None, int, bool], words: str
) -> None:
    seconds, swap, peak, known = found
    told = Estimate(seconds=seconds, swap_seconds=swap, peak_bytes=peak, measured=known)
    assert costs.words(told) == words


def test_the_history_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.costs.history.KEPT", 3)
    load = Loaded(checkpoint="sd", device="cuda", dtype="float16", bytes=10**9, seconds=0.3)
    history = History(tmp_path / "costs.db")
    history.add([ROW, load, *(replace(ROW, calls=n) for n in range(1, 4))])
    history.pin("sd", True)
    history.pin("xl", True)
    history.pin("xl", False)
    history.close()
    again = History(tmp_path / "costs.db")
    assert [row.calls for row in again.painted()] == [1, 2, 3]
    assert again.loaded() == (load,) and again.pins() == ("sd",)
    again.close()


def test_a_row_travels_as_plain_data() -> None:
    assert measured(sent(ROW)) == ROW
    for broken in ({}, {"kind": "painted"}, {**sent(ROW), "kind": "x"}, {**sent(ROW), "more": 1}):
        with pytest.raises(ValueError, match="no measurement"):
            measured(broken)


def held(name: str, *owners: str, size: int, tier: str = "device", leases: int = 0) -> Held:
    return Held(id=name, name=name, owners=owners, bytes=size, tier=tier, leases=leases)


MEMORY = Memory(
    device="cuda",
    dtype="float16",
    total=10 * 10**9,
    free=3 * 10**9,
    components=(
        held("unet", "sd", size=1_720_000_000),
        held("vae", "sd", "other", size=168_000_000),
        held("text", "sd", size=246_000_000),
        held("other", "other", size=1_700_000_000),
        held("far", "away", size=5, tier="ram"),
    ),
    whole=("sd", "away"),
)


def test_bytes_are_those_that_an_engine_found(tmp_path: Path) -> None:
    history = History(tmp_path / "costs.db")
    kept = {"whole": 3 * 10**9, "fp8": 2 * 10**9}
    found = Exact(denoiser=kept, text={"whole": 10**9, "fp8": 10**9}, rest=5 * 10**8)
    memory = replace(MEMORY, sizes={"sd": found}, free=10**9, components=(), whole=())
    assert memory_of(memory.data()) == memory
    exact = memory.sized("sd", SD)
    assert [
        checkpoint_bytes(exact, HERE, Plan(kept=way)) for way in ("whole", "fp8", "packed")
    ] == [
        45 * 10**8,
        35 * 10**8,
        5 * 10**8 + 2 * (SD.denoiser + SD.text),  # where it is not known, what shapes tell
    ]
    told = Costs(history).of(WORK, SD, {"controlnet:a": 10**8, "lora:b": 10**7}, memory)
    picture = activations(WORK, SD, machine=HERE, plan=WHOLE)
    assert told["peak_bytes"] == 45 * 10**8 + 2 * 11 * 10**7 + picture
    heard = replace(WORK, controls=("a",))
    refused = Costs(history).of(heard, SD, {"controlnet:a": 10**8, "lora:b": 10**7}, memory)
    assert "200 MB for the ControlNet, 20 MB for what is added" in refused["refused"]["message"]
    history.close()


def test_what_a_snapshot_says() -> None:
    assert memory_of(MEMORY.data()) == MEMORY
    assert MEMORY.where("sd") == "device" and MEMORY.where("away") == "ram"
    assert MEMORY.where("never") == "disk"
    assert MEMORY.weights == sum(one.bytes for one in MEMORY.components)
    assert (machine_of(MEMORY).value, machine_of(None).value) == (2, 4)
    assert memory_of(replace(MEMORY, exact="float32").data()).machine.exact == "float32"
    room = room_for(WORK, MEMORY, ())
    assert (room.mine, room.idle) == (2_134_000_000, 1_700_000_000)
    for broken in ({}, {"device": "cpu"}, {**MEMORY.data(), "components": [{}]}):
        with pytest.raises(ValueError, match="no snapshot"):
            memory_of(broken)


def test_a_checkpoint_without_its_denoiser_is_not_there(tmp_path: Path) -> None:
    """As a job leaves it whose denoiser came in blocks."""
    history = History(tmp_path / "costs.db")
    left = replace(MEMORY, components=MEMORY.components[1:], whole=("away",))
    assert left.where("sd") == "disk"
    assert Costs(history).swap("sd", SD, left) == pytest.approx(1.888)
    history.close()


def test_a_front_end_hears_of_the_plan_or_the_refusal(tmp_path: Path) -> None:
    history = History(tmp_path / "costs.db")
    history.add([replace(ROW, peak_bytes=0)])
    here = Costs(history)
    fits = here.of(WORK, SD, {}, MEMORY)
    assert fits["words"] == "≈ 2.5 s · 4.6 GB" and fits["swap_seconds"] == 0
    assert not fits["changes"] and fits["refused"] is None
    large = replace(WORK, passes=(replace(ONE, width=1536, height=1536),))
    tight = here.of(large, SD, {}, MEMORY)
    assert tight["changes"] == ["Pictures encoded and decoded in tiles of 512 px."]
    full = replace(MEMORY, free=0, components=(), whole=())
    history.add([replace(ROW, plan="evict fp8", call_s=1.0, peak_bytes=0)])
    narrow = replace(full, free=2 * 10**9, means=("fp8",))
    slower = here.of(WORK, replace(SD, vae_width=1), {}, narrow)
    assert slower["words"].startswith("≈ 20 s · 1.") and "8 bits" in slower["changes"][-1]
    assert slower["swap_seconds"] == pytest.approx(0.86 + 0.246 + 0.336)  # not of all 16 bits
    packed = replace(SD, vae_width=1, text_stored=SD.text // 2)
    swap = here.of(WORK, packed, {}, narrow)["swap_seconds"]
    assert swap == pytest.approx(0.86 + 0.0615 + 0.336)
    assert here.of(WORK, SD, {}, MEMORY)["seconds"] == pytest.approx(2.5)
    refused = here.of(large, SD, {}, full)["refused"]
    assert refused and "there are 1 MB" in refused["message"]
    assert here.swap("sd", SD, MEMORY) == 0
    assert here.swap("sd", SD, full) == pytest.approx(2.302)
    assert here.of(WORK, SD, {}, None)["swap_seconds"] == pytest.approx(4.268)
    assert here.unknown()["words"] == ""
    history.close()
