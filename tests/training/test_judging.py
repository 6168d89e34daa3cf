"""How the built-in model is judged: prompts, judges, verdicts and the table, on a toy scale."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from studio.training import (  # noqa: E402
    card,
    compose,
    evaluate,
    export,
    heldout,
    judges,
    runs,
    samples,
    stylist,
    text,
    unet,
)
from studio.training.heldout import Wanted  # noqa: E402
from studio.training.judges import Seen, Thing  # noqa: E402
from tests.training import toys  # noqa: E402


def thing(noun: str, x: float = 0.5, y: float = 0.5, colour: str = "red") -> Thing:
    return Thing(noun=noun, colour=colour, x=x, y=y)


def seen(*things: Thing) -> Seen:
    return Seen(things=things, main=things[0], style="sticker", place=judges.NOWHERE, hour="day")


def pixels_of(seed: int, count: int = 12) -> np.ndarray:
    return compose.pictures(seed, count, toys.library())[0]


# The prompts


def test_held_out_prompts_are_many_and_no_caption_reads_like_one() -> None:
    library = toys.words()
    prompts = heldout.prompts(library)
    assert len(prompts) >= 300
    assert len({w.prompt for w in prompts}) == len(prompts)
    assert {w.category for w in prompts} == {rule.category for rule in evaluate.RULES}
    rng = np.random.default_rng(0)
    said = {compose.plan(rng, library, people=0.0).caption for _ in range(500)}
    can_be_caption = heldout.caption_grammar(library)
    assert [caption for caption in said if not can_be_caption(caption)] == []


def test_a_prompt_that_a_caption_could_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout, "NOUN_FORMS", ("{}, sticker",))
    with pytest.raises(ValueError, match="a ghost, sticker"):
        heldout.prompts(toys.words())


def test_words_of_no_caption_are_none() -> None:
    library = toys.words()
    taught = {*library.names, *(w for words in library.words for w in words)}
    untaught = [w for w in heldout.prompts(library) if w.category == heldout.UNTAUGHT]
    assert len(untaught) > 20
    assert not taught & set(heldout.UNTAUGHT_WORDS.values())


# The judges


def test_labels_say_where_the_middles_are_and_what_is_there() -> None:
    library = toys.library()
    items = compose.related(np.random.default_rng(0), "left", (0, 4), (None, judges.COLOURS[4]))
    plan = compose.Plan(items=items, scene=None, plain=(255, 255, 255), style="sticker", caption="")
    labels = judges.label([plan], library)
    assert (labels.centre == 1).sum() == 2
    left, right = (int(item.x * judges.CELLS) for item in items)
    middle = judges.CELLS // 2
    assert labels.noun[0, middle, left] == 0
    assert labels.noun[0, middle, right] == 1
    assert labels.colour[0, middle, left] == judges.UNKNOWN
    assert labels.colour[0, middle, right] == 4


def test_a_sketch_has_no_colour_to_judge() -> None:
    plan = compose.Plan(
        items=compose.arrange(np.random.default_rng(0), 0, judges.COLOURS[4], 2),
        scene=None, plain=(255, 255, 255), style="pencil sketch", caption="",
    )  # fmt: skip
    assert [t.colour for t in judges.truth(plan, toys.library()).things] == ["", ""]


def test_judges_never_learn_the_colourings_they_are_tested_on() -> None:
    library, rng = toys.library(), np.random.default_rng(0)

    def reserved(**options: bool) -> int:
        plans = [judges.draw_plan(rng, library, **options) for _ in range(150)]
        return sum(judges.is_reserved(item) for plan in plans for item in plan.items)

    assert reserved() == 0
    assert reserved(reserved=True) > 5


@pytest.mark.slow
def test_a_net_learns_what_the_plans_say() -> None:
    library, rng = toys.library(), np.random.default_rng(1)
    torch.manual_seed(0)
    plans = []
    while len(plans) < 8:
        plan = judges.draw_plan(rng, library)
        if plan.scene is None and plan.items and plan.style == "flat vector":
            plans.append(plan)
    pixels = np.stack([compose.render(plan, library, rng) for plan in plans])
    net, labels = judges.Net(len(library.names)), judges.label(plans, library)
    inputs = judges.reduced(pixels).float() / 255
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(45):
        loss = judges.loss_of(net(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = judges.Judges(net=net, nouns=library.names, threshold=0.3).look(pixels)
    truths = [judges.truth(plan, library) for plan in plans]
    right = [
        sorted(t.noun for t in f.things) == sorted(t.noun for t in true.things)
        for f, true in zip(found, truths, strict=True)
    ]
    assert np.mean(right) >= 0.75
    assert [f.style for f in found] == ["flat vector"] * len(plans)


def test_the_judge_of_styles_learns_every_style_of_things() -> None:
    library, rng = toys.library(), np.random.default_rng(0)
    plans = [stylist.draw_plan(rng, library) for _ in range(400)]
    assert all(plan.items for plan in plans)
    assert not any(judges.is_reserved(item) for plan in plans for item in plan.items)
    often = {style: sum(plan.style == style for plan in plans) for style in judges.STYLES}
    assert min(often.values()) > 25
    rimmed = {library.style[i.row] for plan in plans if plan.style == "sticker" for i in plan.items}
    assert rimmed == set(compose.DRAWN_STYLES)
    drawn = [plan for plan in plans if plan.style == "flat vector"]
    assert {library.style[i.row] for plan in drawn for i in plan.items} == {"flat vector"}


@pytest.mark.slow
def test_the_judge_of_styles_goes_on_where_it_stopped(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "load", lambda _folder: toys.library())
    with pytest.raises(FileNotFoundError, match="Train the judges first"):
        stylist.train(tmp_path, exported, minutes=1e-6, pool=16)
    others = judges.Judges(net=judges.Net(2), nouns=("apple", "window"), threshold=0.3)
    monkeypatch.setattr(judges, "trained", lambda _folder: others)
    stylist.train(tmp_path, exported, minutes=1e-6, pool=16)
    first = runs.restore(tmp_path / stylist.CHECKPOINT)
    monkeypatch.delattr(stylist, "draw_plan")  # its lessons lie in the folder
    stylist.train(tmp_path, exported, minutes=2e-6, pool=16)
    second = runs.restore(tmp_path / stylist.CHECKPOINT)
    assert (first["step"], second["step"]) == (1, 2)
    assert stylist.trained(tmp_path / "nothing") is None
    assert len(stylist.trained(tmp_path).look(pixels_of(0, 3))) == 3


@pytest.mark.slow
def test_the_judge_of_styles_learns_what_its_lessons_say(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "softened", lambda _vae, pixels, _noise: pixels)
    pictures, styles = stylist.lessons(tmp_path, exported, toys.library(), 6)
    torch.manual_seed(0)
    net, inputs = stylist.Net(judges.Net(0)), samples.autoencoder.to_unit(pictures.numpy())
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(45):
        loss = torch.nn.functional.cross_entropy(net(inputs), styles)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert net.look(pictures.numpy()) == [judges.STYLES[k] for k in styles]


def test_one_judge_says_the_style_and_others_all_else() -> None:
    class Looking:
        def __init__(self, answer: object) -> None:
            self.look = lambda pixels: [answer] * len(pixels)

    others = seen(thing("fox", 0.2), thing("apple", 0.8))
    jury = evaluate.Jury(judges=Looking(others), styles=Looking("watercolor"))
    assert jury.look(pixels_of(0, 2)) == [replace(others, style="watercolor")] * 2


# The verdicts


@pytest.mark.parametrize(
    ("found", "wanted", "right"),
    [
        ("green apple", "apple", True),
        ("apple", "green apple", False),
        ("pineapple", "apple", False),
        ("cat face", "cat", True),
    ],
)
def test_a_kind_of_a_thing_is_the_thing(found: str, wanted: str, right: bool) -> None:
    assert heldout.is_a(found, wanted) is right


def test_counting_takes_only_the_noun() -> None:
    wanted = Wanted(category=heldout.COUNT, prompt="", nouns=("apple",), count=2)
    assert evaluate.counts(wanted, seen(thing("apple"), thing("apple"), thing("fox")))
    assert not evaluate.counts(wanted, seen(thing("apple"), thing("fox")))


@pytest.mark.parametrize(
    ("relation", "first", "second"),
    [
        ("left", (0.2, 0.5), (0.8, 0.6)),
        ("right", (0.8, 0.5), (0.2, 0.4)),
        ("above", (0.5, 0.2), (0.6, 0.8)),
        ("below", (0.5, 0.8), (0.4, 0.2)),
    ],
)
def test_relations_are_those_of_the_middles(
    relation: str, first: tuple[float, float], second: tuple[float, float]
) -> None:
    picture = seen(thing("apple", *first), thing("fox", *second))
    assert evaluate.relation_of(picture) == relation
    for asked in ("left", "right", "above", "below"):
        wanted = Wanted(
            category=heldout.RELATION, prompt="", nouns=("apple", "fox"), relation=asked
        )
        assert evaluate.relates(wanted, picture) is (asked == relation)
        assert not evaluate.relates(wanted, seen(thing("apple", *first)))


def test_chance_is_the_share_of_the_others_pictures() -> None:
    rule = next(rule for rule in evaluate.RULES if rule.name == "noun")
    pairs = [
        (Wanted(category=heldout.NOUN, prompt="", nouns=(noun,)), seen(thing(noun)))
        for noun in ("apple", "fox", "fox", "owl")
    ]
    assert evaluate.by_chance(rule, pairs) == pytest.approx(2 / 12)


def test_each_answer_weighs_the_same() -> None:
    rule = next(rule for rule in evaluate.RULES if rule.category == heldout.COUNT)
    one = (
        Wanted(category=heldout.COUNT, prompt="", nouns=("apple",), count=1),
        seen(thing("apple")),
    )
    two = (
        Wanted(category=heldout.COUNT, prompt="", nouns=("apple",), count=2),
        seen(thing("apple")),
    )
    assert evaluate.share(rule, [one, one, one, two]) == pytest.approx(0.5)


@pytest.mark.slow
def test_noise_glare_and_black_are_no_harmless_pictures() -> None:
    looks = evaluate.look_of(pixels_of(0, 240))
    rng = np.random.default_rng(0)
    bad = np.stack([
        rng.integers(0, 256, (128, 128, 3), np.uint8),
        np.broadcast_to(np.array([255, 0, 255], np.uint8), (128, 128, 3)),
        np.zeros((128, 128, 3), np.uint8),
    ])  # fmt: skip
    assert not evaluate.harmless(bad, looks).any()
    assert evaluate.harmless(pixels_of(1, 60), looks).mean() > 0.9


# The table and the card


def report(**changes: object) -> card.Report:
    row = card.Row(name="noun", asked=80, right=20, chance=0.013, rendered=0.97, softened=0.94, aim=0.8)  # fmt: skip
    rows = (row, replace(row, name="colour", right=72, aim=0.85), replace(row, name="place", aim=None))  # fmt: skip
    given = card.Report(rows=rows, prompts=240, steps=16, guidance=4.0, unknown=(7, 8),
                        empty=(4, 4), reserved_colours=0.9)  # fmt: skip
    return replace(given, **changes)


def test_the_table_says_what_was_measured() -> None:
    table = report().table()
    assert "| noun | 80 | 20 | 25 % | 1 % | 80 % | 97 % | 94 % |" in table
    assert "| place | 80 | 20 | 25 % | 1 % |  | 97 % | 94 % |" in table
    state = report().state()
    assert "Of the 2 aims, reached: colour (90 %, aim 85 %)." in state
    assert "Not reached: noun (25 %, aim 80 %)." in state


def test_nothing_asked_is_no_number_in_the_table() -> None:
    nothing = card.Row(name="noun", asked=0, right=0, chance=float("nan"), rendered=float("nan"),
                       softened=0.5, aim=0.8)  # fmt: skip
    assert "nan" not in report(rows=(nothing,)).state()


def test_an_evaluation_takes_the_place_of_the_last_one() -> None:
    plain = f"# Model\n\n{card.START}\n{card.NOT_EVALUATED}\n{card.END}\n\n## How to ask\n"
    first = card.with_evaluation(plain, report())
    again = card.with_evaluation(first, report(prompts=361))
    assert first.startswith("# Model\n")
    assert again.endswith("\n\n## How to ask\n")
    assert "Nobody has measured" not in first
    assert "240 prompts" in first
    assert "240 prompts" not in again
    assert again.count("## State") == 1
    assert card.with_evaluation("# Old", report()).count("## State") == 1


def test_the_card_counts_all_trainings(tmp_path: Path) -> None:
    runs.save(tmp_path / unet.CHECKPOINT, {"step": 100, "minutes": 5.0, "pictures": 1600})
    runs.save(tmp_path / "text.pt", {"step": 10, "minutes": 1.0})
    earlier = {"unet": {"step": 300, "minutes": 20.0, "pictures": 2400}}
    (tmp_path / export.EARLIER).write_text(json.dumps(earlier))
    history = export.history(tmp_path)
    assert history["unet"] == {"step": 400, "minutes": 25.0, "pictures": 4000}
    assert history["text"]["pictures"] == 10 * text.BATCH
    written = card.card(
        card.Export(concepts=[{"name": "fox"}], trained=history, size_mb=56.0, parameters=19_000_000,
                    decibels=22.34, rendered=64, preferred=export.PREFERRED, schedule=unet.SCHEDULE,
                    empty_share=0.1)
    )  # fmt: skip
    assert "| UNet (19 M parameters) | 400 | 25 | 4,000 pictures, 10 a step |" in written
    assert "autoencoder (AutoencoderTiny" not in written
    assert "64 rendered pictures that it was not trained on back at 22.3 dB" in written
    assert "V-prediction, scaled_linear betas 0.00085 to 0.02, 10 % empty" in written


# All of it


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export of tiny, untrained parts that prefers a single step."""
    from diffusers import UNet2DConditionModel

    monkeypatch.setattr(text, "VOCABULARY", 600)
    text.build_tokenizer(["a red fox"], ["fox", "red"], tmp_path / "words")
    tokenizer = text.tokenizer_of(tmp_path / "words")
    net = UNet2DConditionModel(
        sample_size=16, layers_per_block=1, block_out_channels=(32, 64), cross_attention_dim=text.WIDTH,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=4,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    pipe = samples.assemble(
        tokenizer, text.create(tokenizer), net, samples.autoencoder.create(), 0.9
    )
    target = tmp_path / "model"
    export.write(pipe, tmp_path / "words", target)
    (target / "pochade.json").write_text(json.dumps({**export.PREFERRED, "steps": 1}))
    (target / "README.md").write_text(f"{card.START}\n{card.END}\n\n## How to ask\n")
    return target


@pytest.mark.slow
def test_evaluation_from_prompts_to_card(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, every = toys.library(), heldout.prompts(toys.library())
    some = tuple({w.category: w for w in every}.values())
    monkeypatch.setattr(compose, "load", lambda _folder: library)
    monkeypatch.setattr(heldout, "prompts", lambda _library: some)
    monkeypatch.setattr(heldout, "UNKNOWN", ("photosynthesis", ""))
    monkeypatch.setattr(evaluate, "STRANGERS", ("a cat",))
    monkeypatch.setattr(evaluate, "EXAM", 6)
    judges.train(tmp_path, exported, minutes=1e-6, pool=64)
    stylist.train(tmp_path, exported, minutes=1e-6, pool=16)

    measured = evaluate.evaluate(exported, tmp_path)

    assert measured.prompts == len(some)
    assert measured.unknown[1] == measured.empty[1] == 1
    readme = (exported / "README.md").read_text()
    assert measured.table() in readme
    assert readme.endswith("## How to ask\n")
    judged = json.loads((tmp_path / "judged.json").read_text())
    assert [entry["wanted"]["prompt"] for entry in judged] == [w.prompt for w in some]
    assert (tmp_path / "judged.png").exists()
    assert (tmp_path / "contact.png").exists()


def test_a_model_compared_with_itself_is_no_better() -> None:
    pairs = [
        (Wanted(category=heldout.NOUN, prompt="", nouns=("fox",)), seen(thing(noun)))
        for noun in ("fox", "owl")
    ]
    better = [(wanted, seen(thing("fox"))) for wanted, _ in pairs]
    assert "| noun | 2 | 1 | 1 | 0 | 0 |" in evaluate.comparison(pairs, pairs)
    assert "| noun | 2 | 1 | 2 | 0 | 1 |" in evaluate.comparison(pairs, better)
