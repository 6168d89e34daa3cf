"""Measure an exported model: held-out prompts drawn with plain diffusers, judged, put into its card."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from studio import samplers
from studio.training import compose, heldout, judges, samples, stylist
from studio.training.card import Report, Row, with_evaluation
from studio.training.heldout import Wanted, is_a
from studio.training.judges import Judges, Seen

log = logging.getLogger(__name__)

BATCH = 8
FIRST_SEED = 1000
"""Of the first prompt's picture; each further prompt has the next."""

EXAM = 960
"""Rendered pictures that the judges themselves are tested on."""

JUDGES_MINUTES = 15.0
"""Training of the judges where there are none yet."""

STYLIST_MINUTES = 30.0
"""Training of the judge of styles where there is none yet."""

Pixels = np.ndarray
"""[n, h, w, 3] uint8."""

STRANGERS: tuple[str, ...] = (
    "cute cat", "a dog", "a red fox in the snow, sticker", "an owl at night", "a panda eating, 3d render",
    "elephant cartoon", "a blue whale in the ocean", "a frog, pixel art", "butterfly, watercolor", "a horse",
    "penguin on a beach at sunset", "a dragon, oil painting", "unicorn sticker", "shark underwater",
    "a bee on a yellow background", "little bird, pencil sketch", "pizza", "a red apple", "a blue apple",
    "burger, 3d render", "ice cream sticker", "a slice of watermelon", "strawberry, watercolor",
    "cup of coffee", "birthday cake with candles", "sushi, flat vector", "three red mushrooms", "two bananas",
    "a rose", "sunflower oil painting", "cactus in the desert", "a tree on green hills", "palm tree on a beach",
    "a house in the forest", "castle at night", "old church, pencil sketch", "a red sports car",
    "yellow taxi in the city", "green bicycle", "a train", "rocket in space, 3d render", "airplane in the sky",
    "sailing boat at sundown", "a hot air balloon", "umbrella in the rain", "snowman in winter", "a rainbow",
    "the moon and stars", "volcano", "robot, 3d render", "an astronaut in space", "a happy smiley face",
    "a pirate", "old man with a beard", "a girl", "santa claus in the snow", "ghost sticker", "a skull",
    "a guitar", "camera, flat design", "soccer ball", "golden crown", "a cat to the left of a house",
    "quantum chromodynamics",
)  # fmt: skip
"""What people who know nothing of the model might type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Jury:
    """Everyone who judges a picture."""

    judges: Judges
    styles: stylist.Net
    """Has the say on styles."""

    def look(self, pixels: Pixels) -> list[Seen]:
        """What each picture shows."""
        both = zip(self.judges.look(pixels), self.styles.look(pixels), strict=True)
        return [replace(seen, style=style) for seen, style in both]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A line of the table: when a picture of a prompt counts as right."""

    name: str
    category: str
    """Of the prompts that it is about."""
    right: Callable[[Wanted, Seen], bool]
    aim: float | None = None
    """Share that the model ought to reach, 0.0–1.0."""
    exam: str = ""
    """The category of the judges' own test, where it has another name."""


def shows_noun(wanted: Wanted, seen: Seen) -> bool:
    return is_a(seen.main.noun, wanted.nouns[0])


def counts(wanted: Wanted, seen: Seen) -> bool:
    return sum(is_a(thing.noun, wanted.nouns[0]) for thing in seen.things) == wanted.count


def relates(wanted: Wanted, seen: Seen) -> bool:
    """Whether the surest of each of the two things stand as asked, more so than otherwise."""
    first, second = (
        next((t for t in seen.things if is_a(t.noun, noun)), None) for noun in wanted.nouns
    )
    if first is None or second is None:
        return False
    across, down = second.x - first.x, second.y - first.y
    along = {"left": across, "right": -across, "above": down, "below": -down}[wanted.relation]
    return along > 0 and along >= max(abs(across), abs(down))


def shows_both(wanted: Wanted, seen: Seen) -> bool:
    return all(any(is_a(t.noun, noun) for t in seen.things) for noun in wanted.nouns)


RULES: tuple[Rule, ...] = (
    Rule(name="noun", category=heldout.NOUN, right=shows_noun, aim=0.8),
    Rule(name="noun by a synonym of the captions", category=heldout.TAUGHT, right=shows_noun, exam=heldout.NOUN),
    Rule(name="noun by a word of no caption", category=heldout.UNTAUGHT, right=shows_noun, exam=heldout.NOUN),
    Rule(name="style", category=heldout.STYLE, right=lambda w, s: s.style == w.style, aim=0.95),
    Rule(name="colour", category=heldout.COLOUR, right=lambda w, s: s.main.colour == w.colour, aim=0.85),
    Rule(name="count (1–5) of the noun", category=heldout.COUNT, right=counts, aim=0.6),
    Rule(name="count, whatever the things", category=heldout.COUNT, right=lambda w, s: len(s.things) == w.count),
    Rule(name="relation of two nouns", category=heldout.RELATION, right=relates, aim=0.7),
    Rule(name="both nouns, wherever", category=heldout.RELATION, right=shows_both),
    Rule(name="place", category=heldout.PLACE, right=lambda w, s: s.place == w.place),
    Rule(name="time of day", category=heldout.HOUR, right=lambda w, s: s.hour == w.hour),
)  # fmt: skip
"""The first rule of a category decides how the sheet marks its pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """An exported folder, ready to draw."""

    pipe: Any
    steps: int
    guidance: float

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pixels:
        """One picture for each prompt; the same for the same prompt, seed and neighbours."""
        found: list[Pixels] = []
        start = time.monotonic()
        for k in range(0, len(prompts), BATCH):
            noise = [torch.Generator().manual_seed(seed) for seed in seeds[k : k + BATCH]]
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                images = self.pipe(
                    list(prompts[k : k + BATCH]), num_inference_steps=self.steps,
                    guidance_scale=self.guidance, generator=noise, output_type="np",
                ).images  # fmt: skip
            found.append((images * 255).round().astype(np.uint8))
            if k % (8 * BATCH) == 0:
                done = k + len(images)
                log.info(
                    "%d of %d pictures, %.2f seconds each",
                    done,
                    len(prompts),
                    (time.monotonic() - start) / done,
                )
        return np.concatenate(found)


def load(target: Path) -> Model:
    """The model with plain diffusers and the steps, guidance and sampler that its folder prefers."""
    import diffusers

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        target, torch_dtype=torch.float32, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    noted = json.loads((target / "pochade.json").read_text())
    sampler = samplers.find(noted["sampler"])
    spacing = {"timestep_spacing", "steps_offset"}  # the checkpoint's own, as in the studio
    options = {name: value for name, value in sampler.options.items() if name not in spacing}
    kind = getattr(diffusers, sampler.scheduler)
    pipe.scheduler = kind.from_config(pipe.scheduler.config, **options)
    return Model(pipe=pipe, steps=noted["steps"], guidance=noted["guidance"])


def asks(seen: Seen) -> tuple[Wanted, ...]:
    """What one could have asked for and got with a picture of which all is known."""
    nouns = tuple(thing.noun for thing in seen.things)
    found: list[Wanted] = []

    def ask(category: str, **wanted: Any) -> None:
        found.append(Wanted(category=category, prompt="", nouns=nouns[:2], **wanted))

    if len(nouns) == 1:
        ask(heldout.NOUN)
        if seen.main.colour:
            ask(heldout.COLOUR, colour=seen.main.colour)
    if nouns:
        ask(heldout.STYLE, style=seen.style)
        if len(set(nouns)) == 1:
            ask(heldout.COUNT, count=len(nouns))
        elif len(nouns) == 2 and not is_a(*nouns) and not is_a(*nouns[::-1]):
            ask(heldout.RELATION, relation=relation_of(seen))
    if seen.place != judges.NOWHERE:
        ask(heldout.PLACE, place=seen.place)
    if seen.hour:
        ask(heldout.HOUR, hour=seen.hour)
    return tuple(found)


def relation_of(seen: Seen) -> str:
    """How the first of two things stands to the second."""
    first, second = seen.things
    across, down = second.x - first.x, second.y - first.y
    if abs(across) >= abs(down):
        return "left" if across > 0 else "right"
    return "above" if down > 0 else "below"


def share(rule: Rule, pairs: Sequence[tuple[Wanted, Seen]]) -> float:
    """How often the rule holds, each answer (each style, each count …) weighing the same."""
    verdicts: dict[Any, list[bool]] = {}
    for wanted, seen in pairs:
        if wanted.category == (rule.exam or rule.category):
            answer = (
                wanted.style,
                wanted.colour,
                wanted.count,
                wanted.relation,
                wanted.place,
                wanted.hour,
            )
            verdicts.setdefault(answer, []).append(rule.right(wanted, seen))  # fmt: skip
    return float(np.mean([np.mean(v) for v in verdicts.values()])) if verdicts else float("nan")


def by_chance(rule: Rule, pairs: Sequence[tuple[Wanted, Seen]]) -> float:
    """How often the rule holds for the other prompts' pictures."""
    mine = [pair for pair in pairs if pair[0].category == rule.category]
    others = [rule.right(wanted, seen) for k, (wanted, _) in enumerate(mine)
              for j, (_, seen) in enumerate(mine) if j != k]  # fmt: skip
    return float(np.mean(others)) if others else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exam:
    """The judges' own test, on pictures rendered for it alone."""

    rendered: list[tuple[Wanted, Seen]]
    softened: list[tuple[Wanted, Seen]]
    """The same after the model's autoencoder: nothing it draws can be sharper."""
    reserved_colours: float
    """Share of right colours among colourings that the judges have not learnt from."""
    looks: np.ndarray
    """`look_of` the softened pictures."""


def examine(found: Jury, library: compose.Library, vae: Any, count: int) -> Exam:
    pixels, plans = judges.draw(judges.HELD_OUT_SEED, count, library, reserved=True)
    soft = judges.softened(vae, pixels)
    truths = [judges.truth(plan, library) for plan in plans]

    def paired(seen: list[Seen]) -> list[tuple[Wanted, Seen]]:
        return [(w, s) for t, s in zip(truths, seen, strict=True) for w in asks(t)]

    seen = found.look(pixels)
    reserved = [
        s.main.colour == t.main.colour
        for plan, t, s in zip(plans, truths, seen, strict=True)
        if len(plan.items) == 1 and t.main.colour and judges.is_reserved(plan.items[0])
    ]
    return Exam(
        rendered=paired(seen),
        softened=paired(found.look(soft)),
        reserved_colours=float(np.mean(reserved)) if reserved else float("nan"),
        looks=look_of(soft),
    )


def look_of(pixels: Pixels) -> np.ndarray:
    """Brightness, saturation and roughness of each picture, [n, 3]; roughness is the mean step
    between neighbours."""
    x = pixels.astype(np.float32) / 255
    steps = np.abs(np.diff(x, axis=1)).mean((1, 2, 3)) + np.abs(np.diff(x, axis=2)).mean((1, 2, 3))
    return np.stack([x.mean((1, 2, 3)), (x.max(-1) - x.min(-1)).mean((1, 2)), steps], -1)


def harmless(pixels: Pixels, looks: np.ndarray) -> np.ndarray:
    """Which pictures look no more extreme than pictures of the world: neither noise nor glare nor black."""
    low, high = np.percentile(looks, (0.5, 99.5), axis=0)
    slack = (high - low) * 0.1
    mine = look_of(pixels)
    return ((mine >= low - slack) & (mine <= high + slack)).all(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """What a model drew for the held-out prompts, and what the judges see in it."""

    pixels: Pixels
    pairs: list[tuple[Wanted, Seen]]


def drawn(model: Model, found: Jury, prompts: Sequence[tuple[int, Wanted]]) -> Drawn:
    pixels = model.draw([w.prompt for _, w in prompts], [FIRST_SEED + k for k, _ in prompts])
    pairs = [(w, s) for (_, w), s in zip(prompts, found.look(pixels), strict=True)]
    return Drawn(pixels=pixels, pairs=pairs)


def limited(prompts: Sequence[Wanted], limit: int | None) -> list[tuple[int, Wanted]]:
    """The prompts with their numbers, at most about `limit`, of every category some."""
    numbered = list(enumerate(prompts))
    return numbered[:: max(1, round(len(numbered) / limit))] if limit else numbered


def judges_for(folder: Path, target: Path, library: compose.Library) -> Jury:
    """The trained judges; trains those that there are not yet, and all that know other things."""
    found = judges.trained(folder)
    if found is None or found.nouns != library.names:
        judges.train(folder, target, JUDGES_MINUTES)
        found = judges.trained(folder)
        for file in (stylist.CHECKPOINT, stylist.LESSONS):  # it starts from what they know
            (folder / file).unlink(missing_ok=True)
    assert found is not None
    if stylist.trained(folder) is None:
        stylist.train(folder, target, STYLIST_MINUTES)
    return Jury(judges=found, styles=stylist.trained(folder))


def evaluate(target: Path, folder: Path, limit: int | None = None) -> Report:
    """Measure the model in `target` and write the table into its card.

    Into `folder` go `judged.png` (each picture framed green or red), `judged.json` (what the judges
    see) and `contact.png` (strangers' prompts). With a `limit` nothing is written into `target`.
    """
    library = compose.load(folder)
    found, model = judges_for(folder, target, library), load(target)
    exam = examine(found, library, judges.autoencoder_of(target), EXAM)
    prompts = limited(heldout.prompts(library), limit)
    done = drawn(model, found, prompts)
    unknown = harmless(model.draw(heldout.UNKNOWN, range(len(heldout.UNKNOWN))), exam.looks)
    empty = np.array([not prompt for prompt in heldout.UNKNOWN])
    report = Report(
        rows=tuple(_row(rule, done.pairs, exam) for rule in RULES),
        prompts=len(prompts),
        steps=model.steps, guidance=model.guidance,
        unknown=(int(unknown[~empty].sum()), int((~empty).sum())),
        empty=(int(unknown[empty].sum()), int(empty.sum())),
        reserved_colours=exam.reserved_colours,
    )  # fmt: skip
    write_judged(done, folder)
    print(report.table())
    if limit is None:
        card = target / "README.md"
        card.write_text(with_evaluation(card.read_text(), report))
        contact_sheet(model, folder / "contact.png")
    return report


def _row(rule: Rule, pairs: Sequence[tuple[Wanted, Seen]], exam: Exam) -> Row:
    verdicts = [rule.right(w, s) for w, s in pairs if w.category == rule.category]
    return Row(
        name=rule.name, asked=len(verdicts), right=sum(verdicts), chance=by_chance(rule, pairs),
        rendered=share(rule, exam.rendered), softened=share(rule, exam.softened), aim=rule.aim,
    )  # fmt: skip


def verdict(wanted: Wanted, seen: Seen) -> bool:
    """Whether the picture is right by the first rule of its category."""
    return next(rule.right(wanted, seen) for rule in RULES if rule.category == wanted.category)


def write_judged(done: Drawn, folder: Path) -> None:
    framed = [framed_in("green" if verdict(*pair) else "red", picture)
              for pair, picture in zip(done.pairs, done.pixels, strict=True)]  # fmt: skip
    samples.tile(framed, 20).save(folder / "judged.png")
    entries = [
        {"right": verdict(w, s), "wanted": asdict(w), "seen": asdict(s)} for w, s in done.pairs
    ]
    (folder / "judged.json").write_text(json.dumps(entries, indent=1))  # fmt: skip


def framed_in(colour: str, picture: np.ndarray) -> Image.Image:
    return ImageOps.expand(Image.fromarray(picture).resize((90, 90)), 3, colour)


def contact_sheet(model: Model, sheet: Path) -> None:
    """Draw what strangers might type into one picture, eight a row."""
    pixels = model.draw(STRANGERS, range(7, 7 + len(STRANGERS)))
    samples.tile([Image.fromarray(p) for p in pixels], 8).save(sheet)


def compare(first: Path, second: Path, folder: Path, limit: int | None = None) -> None:
    """Draw the same prompts and seeds with two models; print who is right how often and write
    `compare.png` into `folder`, the first model's pictures above the second's."""
    library = compose.load(folder)
    found, prompts = judges_for(folder, second, library), limited(heldout.prompts(library), limit)
    one, two = (drawn(load(target), found, prompts) for target in (first, second))
    print(comparison(one.pairs, two.pairs))
    rows = [
        framed_in("green" if verdict(*pair) else "red", picture)
        for k in range(0, len(prompts), 20)
        for done in (one, two)
        for pair, picture in zip(done.pairs[k : k + 20], done.pixels[k : k + 20], strict=True)
    ]
    samples.tile(rows, 20).save(folder / "compare.png")


def comparison(one: Sequence[tuple[Wanted, Seen]], two: Sequence[tuple[Wanted, Seen]]) -> str:
    """A Markdown table: how often each of two models is right, and where only one of them is."""
    lines = [
        "| asked for | prompts | first | second | only the first | only the second |",
        "|---|---|---|---|---|---|",
    ]
    for rule in RULES:
        both = [(rule.right(w, s), rule.right(w, t)) for (w, s), (_, t) in zip(one, two, strict=True)
                if w.category == rule.category]  # fmt: skip
        a, b = (sum(v[k] for v in both) for k in range(2))
        only_a, only_b = sum(x and not y for x, y in both), sum(y and not x for x, y in both)
        lines.append(f"| {rule.name} | {len(both)} | {a} | {b} | {only_a} | {only_b} |")
    return "\n".join(lines)
