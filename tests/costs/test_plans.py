"""Bytes, plans and refusals as pure functions."""

from dataclasses import replace

import pytest

from studio.core.errors import StudioError
from studio.costs.admission import Room, admitted, exhausted, gigabytes, refusal
from studio.costs.anatomy import Anatomy, anatomy_of
from studio.costs.machine import LARGE, Machine
from studio.costs.needs import Needs, activations, coding, needs
from studio.costs.plan import WHOLE, Means, Plan, ladder, means_for, named, ways_of, ways_on
from studio.costs.work import Pass, Work

SD15 = Anatomy(
    denoiser=860_000_000,
    text=123_000_000,
    vae=84_000_000,
    width=320,
    stored=1_720_000_000,
    in_blocks=110_000_000,
)
NET = 361_000_000
HALF = Machine(device="cuda", dtype="float16")


def work(side: int = 512, *, guided: bool = True, nets: int = 0) -> Work:
    once = Pass(width=side, height=side, calls=20, guided=guided)
    return Work(checkpoint="sd", passes=(once,), controls=tuple(map(str, range(nets))))


def needed(wanted: Work, plan: Plan = WHOLE, dtype: str = "float16") -> Needs:
    return needs(
        wanted,
        SD15,
        dict.fromkeys(wanted.controls, NET),
        machine=replace(HALF, dtype=dtype),
        plan=plan,
    )


def test_short_numbers_are_for_what_is_large_and_makes_no_pixels() -> None:
    machine = Machine(device="cpu", dtype="bfloat16", exact="float32")
    small = replace(SD15, denoiser=LARGE - SD15.text - SD15.vae - 1)
    assert machine.painting(SD15) == machine == machine.painting(None)
    assert machine.painting(small).dtype == "float32"
    assert HALF.painting(small) == HALF
    wide = replace(machine, dtype="float32")
    assert ways_on(machine, SD15) == ways_of(SD15, 2) != ways_on(wide, SD15) == ways_of(SD15, 4)
    assert ways_on(machine, small) == ways_of(small, 4) and ways_on(machine, None) == ()
    need, more = (needs(work(), SD15, {}, machine=one, plan=WHOLE) for one in (machine, wide))
    assert more.weights - need.weights == 2 * (SD15.denoiser + SD15.text)
    alike = machine.painting(replace(SD15, mixes=False))
    assert (alike.value, alike.pixel_value, machine.pixel_value) == (2, 2, 4)
    beside = {"vae:own@sd15": 100, "lora:ink": 10, "controlnet:edges": 1000}
    worn = needs(work(), SD15, beside, machine=machine, plan=WHOLE)
    assert (worn.added, worn.controls) == (100 * 4 + 10 * 2, 1000 * 2)


def test_a_refiner_is_counted_in_its_own_numbers() -> None:
    machine = Machine(device="cpu", dtype="bfloat16", exact="float32")
    small = replace(SD15, denoiser=LARGE - SD15.text - SD15.vae - 1, stored=0, in_blocks=0)

    def weights(base: Anatomy, refiner: Anatomy | None = None) -> int:
        return needs(work(), base, {}, machine=machine, plan=WHOLE, refiner=refiner).weights

    assert weights(SD15, small) - weights(SD15) == weights(small) == 4 * small.parameters
    assert weights(small, SD15) - weights(small) == weights(SD15)


def test_the_constants_are_those_of_the_study() -> None:
    """InvokeAI's 2200 B × pixels × element size: 4.6 GB for 1024 px in fp16."""
    once = Pass(width=1024, height=1024, calls=1)
    assert coding(once, SD15, 2, tile_px=0) == 2200 * 1024**2 * 2
    assert coding(once, SD15, 2, tile_px=512) < coding(once, SD15, 2, tile_px=0) / 3


def test_every_rung_needs_less_or_the_same() -> None:
    wanted = work(2048, nets=4)
    plans = ladder(wanted, Means(drop_text=True, packed=True, fp8=True, blocks=True))
    peaks = [needed(wanted, plan).peak for plan in plans]
    assert peaks == sorted(peaks, reverse=True) and peaks[-1] < peaks[0] / 3
    assert [plan.name.split()[-1] if plan.name else "" for plan in plans] == [
        "",
        "evict",
        "tiles-512",
        "tiles-384",
        "split",
        "drop-text",
        "packed",
        "fp8",
        "blocks",
    ]


def test_rungs_that_change_nothing_are_left_out() -> None:
    assert [plan.name for plan in ladder(work(256, guided=False), Means())] == ["", "evict"]
    assert ladder(work(400), Means())[2].tile_px == 384


def test_weights_are_kept_in_a_way_only_where_that_saves_something() -> None:
    names = ("drop_text", "packed", "fp8", "blocks")
    assert means_for(SD15, 4, names) == Means(drop_text=True, packed=True, fp8=True, blocks=True)
    assert means_for(SD15, 2, names) == Means(drop_text=True, fp8=True, blocks=True)
    q4 = replace(SD15, stored=SD15.denoiser * 9 // 16, in_blocks=0)
    assert means_for(q4, 2, names) == Means(drop_text=True, packed=True)
    assert means_for(SD15, 4, ()) == Means()
    late = replace(SD15, reads_first=False)
    assert means_for(late, 2, names) == Means(fp8=True, blocks=True)
    blocks, packed = (needed(work(), Plan(kept=kept)).weights for kept in ("blocks", "packed"))
    text_and_vae = 2 * SD15.text + 4 * SD15.vae
    assert blocks == 2 * SD15.in_blocks + text_and_vae
    assert packed == SD15.stored + text_and_vae
    small_text = replace(SD15, text=SD15.denoiser, text_stored=SD15.denoiser)
    assert means_for(small_text, 2, names).packed
    whole = needs(work(), small_text, {}, machine=HALF, plan=WHOLE).weights
    kept = needs(work(), small_text, {}, machine=HALF, plan=Plan(kept="packed")).weights
    assert whole - kept == small_text.text


def test_four_units_get_a_plan_that_fits_or_a_refusal_with_figures() -> None:
    wanted = work(1024, nets=4)
    plans = ladder(wanted, Means())
    place = admitted(plans, Room(free=8 * 10**9), lambda plan: needed(wanted, plan))
    assert place is not None and plans[place].tile_px
    assert needed(wanted, plans[place]).peak <= 8 * 10**9 < needed(wanted).peak
    assert admitted(plans, Room(free=5 * 10**9), lambda plan: needed(wanted, plan)) is None
    error = refusal(wanted, needed(wanted, plans[-1]), 5 * 10**9)
    assert isinstance(error, StudioError)
    assert "there are 5.0 GB" in error.message and "for 4 ControlNets" in error.message
    assert "fewer control units" in error.hint


def test_idle_checkpoints_count_once_they_may_be_dropped() -> None:
    wanted = work(256, guided=False)
    plans = ladder(wanted, Means())
    room = Room(free=10**9, idle=10**10)
    assert admitted(plans, room, lambda plan: needed(wanted, plan)) == 1
    assert admitted(plans, room, lambda plan: needed(wanted, plan), first=1) == 1
    held = Room(free=10**9, mine=2 * 10**9)
    assert admitted(plans, held, lambda plan: needed(wanted, plan)) == 0


def test_a_plan_is_found_by_its_name() -> None:
    plans = ladder(work(1024), Means())
    assert [named(plan.name, plans) for plan in plans] == list(range(len(plans)))
    assert named("of another time", plans) == 0
    assert plans[named("evict tiles-384 split fp8", plans)].name == "evict tiles-384 split"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "1 MB"), (31_000_000, "31 MB"), (256_000_000, "260 MB"), (9_812_345_678, "9.8 GB")],
)
def test_bytes_are_said_as_people_say_them(count: int, text: str) -> None:
    assert gigabytes(count) == text


def test_an_exhausted_ladder_does_not_claim_what_is_not_so() -> None:
    assert "it needs about 9.0 GB, and there are 7.0 GB" in str(
        exhausted(work(), 9 * 10**9, 7 * 10**9)
    )
    assert "it needs more, and there are 7.0 GB" in str(exhausted(work(), 10**9, 7 * 10**9))


def test_parts_are_told_apart_by_their_keys() -> None:
    shapes = {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "first_stage_model.decoder.norm_out.weight": (128,),
        "cond_stage_model.transformer.text_model.x": (10, 10),
        "prior_text_encoder.x": (20, 5),
        "prior_image_encoder.x": (3, 3),
        "vision_language_encoder.x": (1,),
    }
    found = anatomy_of(shapes)
    assert (found.denoiser, found.vae, found.text) == (11520, 138, 200)
    assert (found.width, found.vae_width, found.convolves) == (320, 128, True)
    tiny = anatomy_of({"vae.decoder.layers.0.weight": (48, 4, 3, 3), "transformer.a": (64, 3072)})
    assert tiny.tiny_vae and tiny.vae_width == 48
    assert tiny.width == 3072 and not tiny.convolves


def test_tokens_of_pictures_take_as_much_as_those_of_the_picture() -> None:
    large = replace(SD15, vae_width=1)
    plain, told = (
        activations(replace(work(), tokens=tokens), large, machine=HALF, plan=WHOLE)
        for tokens in (0, 1024)
    )
    assert told == pytest.approx(2 * plain)


def test_tables_of_words_are_as_wide_as_what_is_computed_with() -> None:
    shapes = {
        "text_encoders.t5xxl.transformer.shared.weight": (100, 8),
        "text_encoders.t5xxl.transformer.encoder.block.0.layer.1.wo.weight": (8, 16),
        "text_encoders.t5xxl.transformer.encoder.block.0.layer_norm.weight": (8,),
        "conditioner.embedders.0.transformer.text_model.x.q_proj.weight": (8, 8),
        "conditioner.embedders.0.transformer.text_model.x.q_proj.bias": (8,),
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (9, 8),
        "transformer.x.weight": (8, 8),
    }
    found = anatomy_of(shapes, dict.fromkeys(shapes, 1))
    assert (found.stored, found.text_stored, found.text_wide) == (1, 2, 800 + 8 + 8 + 72)
    assert found.text_packed(4) == 2 + 4 * 888
    assert replace(found, text_stored=0).text_packed(4) == 4 * found.text


def test_weights_that_somebody_wants_kept_in_a_way_are_kept_so_by_every_plan() -> None:
    means = Means(drop_text=True, packed=True, fp8=True, blocks=True)
    for kept in ("whole", "packed", "fp8", "blocks"):
        wanted = replace(work(), kept=kept)
        plans = ladder(wanted, means)
        assert {plan.kept for plan in plans} == {kept}
        assert [plan.name.replace(kept, "").strip() for plan in plans] == [
            plan.name for plan in ladder(work(), Means(drop_text=True))
        ]
        assert named("", plans) == 0 and named(plans[3].name, plans) == 3


def test_ways_to_keep_weights_are_told_by_the_file() -> None:
    assert ways_of(SD15, 4) == ("whole", "packed", "fp8", "blocks")
    assert ways_of(SD15, 2) == ("whole", "fp8", "blocks")  # as wide as what is computed with
    full = replace(SD15, stored=4 * SD15.denoiser, in_blocks=0)
    assert ways_of(full, 4) == ("whole", "fp8")
    assert ways_of(replace(full, stored=SD15.denoiser), 4) == ("whole", "packed")
