"""What ControlNets on disk are for, from names, notes and keys alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.checkpoints.controls import ControlNet, Controls, config_beside
from studio.core.errors import InvalidRequest
from studio.families._steering import Encoder
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


FLUX = {
    "controlnet_x_embedder.weight": (3072, 64),
    "x_embedder.weight": (3072, 64),
    "context_embedder.weight": (3072, 4096),
    "time_text_embed.text_embedder.linear_1.weight": (3072, 768),
    "transformer_blocks.0.attn.norm_q.weight": (128,),
}
"""Of InstantX's files."""
UNTOLD = ("edges", "depth", "pose")


def test_one_that_wants_a_mask_is_listed_and_refused(tmp_path: Path) -> None:
    sparse_of(tmp_path / "flux-canny.safetensors", FLUX)
    wider = {**FLUX, "controlnet_x_embedder.weight": (3072, 68)}
    sparse_of(tmp_path / "flux-inpainting.safetensors", wider)
    controls = Controls((tmp_path,))
    whole = Encoder(3072, 4096, "FluxControlNetModel")
    assert [one.id for one in controls.fitting(whole)] == ["flux-canny"]
    assert controls.fitting(None) == ()
    with pytest.raises(InvalidRequest, match="under a mask"):
        controls.get("flux-inpainting").require_fits(Any)


def test_it_fits_denoisers_of_its_width_that_read_as_it_does(tmp_path: Path) -> None:
    sparse_of(tmp_path / "canny.safetensors", FLUX)
    found = only(tmp_path)
    assert found.fits(Encoder(3072, 4096, "FluxControlNetModel"))
    for other in (
        Encoder(3072, 4096, "QwenImageControlNetModel"),
        Encoder(1536, 4096, "FluxControlNetModel"),
        Encoder(3072, 768, "FluxControlNetModel"),
    ):
        assert not found.fits(other)


def test_one_that_reads_no_text_fits_whatever_reads_any(tmp_path: Path) -> None:
    keys = {
        "pos_embed_input.proj.weight": (2432, 16, 2, 2),
        "time_text_embed.text_embedder.linear_1.weight": (2432, 2048),
    }
    sparse_of(tmp_path / "sd3.5_large_controlnet_depth.safetensors", keys)
    assert only(tmp_path).fits(Encoder(2432, 4096, "SD3ControlNetModel"))
    assert not only(tmp_path).fits(Encoder(1536, 4096, "SD3ControlNetModel"))


@pytest.mark.parametrize(("told", "kinds"), [(10, ("edges", "depth", "pose", "tile")), (0, UNTOLD)])
def test_a_union_for_flux_may_be_told_what_a_map_shows(
    tmp_path: Path, told: int, kinds: tuple[str, ...]
) -> None:
    modes = {"controlnet_mode_embedder.weight": (told, 3072)} if told else {}
    sparse_of(tmp_path / "FLUX.1-dev-ControlNet-Union-Pro.safetensors", {**FLUX, **modes})
    assert (only(tmp_path).types, only(tmp_path).kinds) == (told, kinds)


def test_one_whose_tensors_have_no_such_shapes_is_none(tmp_path: Path) -> None:
    sparse_of(tmp_path / "canny.safetensors", {**FLUX, "x_embedder.weight": ()})
    assert Controls((tmp_path,)).all() == ()


def test_what_no_tensor_tells_is_in_the_config_of_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    assert config_beside(file, ("a",)) == {}
    (tmp_path / "config.json").write_text('{"a": false, "num_layers": 10000000}')
    assert config_beside(file, ("a", "b")) == {"a": False}
    assert config_beside(tmp_path / "a-file.safetensors", ("a",)) == {}
    (tmp_path / "config.json").write_text("[")
    assert config_beside(file, ("a",)) == {}


def test_two_of_a_name_are_both_there(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("controlnet", "ControlNet")]
    for folder in folders:
        net(folder / "canny.safetensors")
    net(folders[1] / "depth" / "diffusion_pytorch_model.safetensors")
    net(folders[1] / "depth" / "diffusion_pytorch_model.fp16.safetensors")
    controls = Controls((*folders, folders[1] / "depth"))
    found = {one.id: one.path.relative_to(tmp_path).as_posix() for one in controls.all()}
    assert found == {
        "canny": "controlnet/canny.safetensors",
        "ControlNet/canny": "ControlNet/canny.safetensors",
        "depth": "ControlNet/depth/diffusion_pytorch_model.safetensors",
        "depth/diffusion_pytorch_model.fp16": (
            "ControlNet/depth/diffusion_pytorch_model.fp16.safetensors"
        ),
    }
    assert controls.get("ControlNet/canny").path.parent == folders[1]


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
