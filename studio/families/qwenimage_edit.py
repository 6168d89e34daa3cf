"""Qwen-Image-Edit, and Plus: an instruction what to change in a picture, which the text encoder sees.

It paints after the picture, without a strength; under a mask it has one.
"""

from dataclasses import replace

from studio.families import qwenimage
from studio.families._family import Over, Role, Text
from studio.families._keys import every

FAMILY = replace(
    qwenimage.FAMILY,
    id="qwenimage_edit",
    label="Qwen-Image, Edit",
    keys=every(qwenimage.folder, qwenimage.edits),
    pipelines={
        Role.IMAGE: "QwenImageEditPipeline",
        Role.INPAINT: "QwenImageEditInpaintPipeline",
    },
    components={
        **qwenimage.FAMILY.components,
        "processor": ("Qwen2VLProcessor", "Qwen2_5_VLProcessor"),
    },
    native_px=1024,
    text=Text(),
    over=Over.PICTURE,
    steering=None,
    strengthless=frozenset({Role.IMAGE}),
)
