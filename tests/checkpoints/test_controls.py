"""What ControlNets on disk are for, from names, notes and keys alone."""

import json
from pathlib import Path

import pytest

from studio.checkpoints.controls import ControlNet, Controls
from studio.core.errors import InvalidRequest
from tests.checkpoints.files import sparse_of

KEYS = {
    "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
    "conv_in.weight": (320, 4, 3, 3),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
}


def net(path: Path) -> Path:
    return sparse_of(path, KEYS)


def only(folder: Path) -> ControlNet:
    (found,) = Controls((folder,)).all()
    return found


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("control_v11p_sd15_canny", ("edges",)),
        ("control_v11f1p_sd15_depth", ("depth",)),
        ("control_v11p_sd15_openpose", ("pose",)),
        ("sd15-union-promax", ("edges", "depth", "pose")),
        ("something", ()),
    ],
)
def test_a_name_tells_what_it_listens_to(tmp_path: Path, name: str, kinds: tuple) -> None:
    net(tmp_path / f"{name}.safetensors")
    assert only(tmp_path).kinds[:3] == kinds


def test_a_note_knows_better_than_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "my-canny"
    net(folder / "diffusion_pytorch_model.safetensors")
    controls = Controls((tmp_path,))
    assert controls.get("my-canny").kinds == ("edges",)
    for note, kinds in (
        ({"kinds": ["edges", "depth", "pose"], "label": "Three"}, ("edges", "depth", "pose")),
        ({"kind": "depth"}, ("depth",)),
        ({"kinds": "depth"}, ("edges",)),  # broken, and so no note at all
    ):
        (folder / "pochade.json").write_text(json.dumps(note))
        assert controls.get("my-canny").kinds == kinds


UNION = {
    **KEYS,
    "conv_in.weight": (320, 4, 3, 3),
    "task_embedding": (6, 320),
    "control_add_embedding.linear_1.weight": (1280, 1536),
    "spatial_ch_projs.weight": (320, 320),
    "transformer_layes.0.attn.in_proj_weight": (960, 320),
}
"""Of xinsir's files; diffusers' `ControlNetUnionModel` has the same names."""


def test_a_union_is_told_by_its_keys_and_a_folder_may_hold_two(tmp_path: Path) -> None:
    folder = tmp_path / "controlnet-sdxl-1.0"
    sparse_of(folder / "diffusion_pytorch_model.safetensors", UNION)
    more = {**UNION, "task_embedding": (8, 320)}
    sparse_of(folder / "diffusion_pytorch_model_promax.safetensors", more)
    found = Controls((tmp_path,)).all()
    assert {one.id: (one.types, one.kinds[3:]) for one in found} == {
        "controlnet-sdxl-1.0": (6, ("normals", "segments")),
        "controlnet-sdxl-1.0_promax": (8, ("normals", "segments", "tile")),
    }


@pytest.mark.parametrize(
    ("key", "made_for"),
    [("controlnet_x_embedder.weight", "FLUX"), ("pos_embed_input.proj.weight", "Diffusion 3")],
)
def test_one_for_what_listens_to_none_is_listed_and_refused(
    tmp_path: Path, key: str, made_for: str
) -> None:
    sparse_of(tmp_path / "other-canny.safetensors", {key: (64, 64)})
    found = only(tmp_path)
    assert not found.fits(None), "also where a checkpoint has no such encoder"
    assert Controls((tmp_path,)).fitting(None) == ()
    with pytest.raises(InvalidRequest, match=made_for):
        found.require_fits("Any", None)


def test_the_folder_itself_may_be_one(tmp_path: Path) -> None:
    folder = tmp_path / "builtin-control"
    net(folder / "diffusion_pytorch_model.safetensors")
    (folder / "pochade.json").write_text('{"kinds": ["edges", "pose"]}')
    found = only(folder)
    assert (found.id, found.kinds) == ("builtin-control", ("edges", "pose"))


def test_each_of_its_folders_may_be_one(tmp_path: Path) -> None:
    for name in ("edges", "pose"):
        net(tmp_path / "builtin-control" / name / "diffusion_pytorch_model.safetensors")
    found = Controls((tmp_path / "builtin-control",)).all()
    assert [(one.id, one.kinds) for one in found] == [("edges", ("edges",)), ("pose", ("pose",))]
