"""PixArt-α: as PixArt-Σ, with prompts of at most 120 tokens and another autoencoder. A folder says by
its pipeline which of the two it is."""

from dataclasses import replace

from studio.families import pixart_sigma
from studio.families._family import Role
from studio.families._keys import every, saved_from

FAMILY = replace(
    pixart_sigma.FAMILY,
    id="pixart_alpha",
    label="PixArt-α",
    keys=every(pixart_sigma.folder, saved_from("PixArtAlphaPipeline")),
    pipelines=dict.fromkeys(Role, "PixArtAlphaPipeline"),
)
