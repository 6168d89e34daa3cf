"""Kandinsky 2.2 trained to repaint: its decoder sees the mask and what is around it.

It paints what is under the mask from pure noise, so strength says nothing.
"""

from dataclasses import replace

from studio.families import kandinsky22
from studio.families._family import Role

FAMILY = replace(
    kandinsky22.FAMILY,
    id="kandinsky22_inpaint",
    label="Kandinsky 2.2, inpainting",
    keys=kandinsky22.decodes(9),
    pipelines={Role.INPAINT: "KandinskyV22InpaintCombinedPipeline"},
    strengthless=frozenset({Role.INPAINT}),
)
