"""Other programs' folders are told by their layout and read where they lie."""

from pathlib import Path

import pytest

from studio.core.layouts import Kind, folders_below
from studio.settings import Settings, default_hub_cache, load

TREES = {
    "a1111": {
        Kind.CHECKPOINTS: "models/Stable-diffusion",
        Kind.LORAS: "models/Lora",
        Kind.EMBEDDINGS: "embeddings",
        Kind.VAE: "models/VAE",
        Kind.CONTROLNET: "models/ControlNet",
        Kind.UPSCALERS: "models/ESRGAN",
    },
    "comfy": {
        Kind.CHECKPOINTS: "models/checkpoints",
        Kind.LORAS: "models/loras",
        Kind.EMBEDDINGS: "models/embeddings",
        Kind.VAE: "models/vae",
        Kind.CONTROLNET: "models/controlnet",
        Kind.UPSCALERS: "models/upscale_models",
        Kind.TEXT_ENCODERS: "models/text_encoders",
    },
    "invoke": {
        Kind.CHECKPOINTS: "models/sdxl/main",
        Kind.LORAS: "models/sdxl/lora",
        Kind.EMBEDDINGS: "models/sd-1/embedding",
        Kind.VAE: "models/sdxl/vae",
        Kind.CONTROLNET: "models/sdxl/controlnet",
    },
}


@pytest.mark.parametrize("program", TREES)
def test_each_programs_folders_are_found(program: str, tmp_path: Path) -> None:
    for place in TREES[program].values():
        (tmp_path / place).mkdir(parents=True)
    for kind, place in TREES[program].items():
        assert folders_below(tmp_path, kind) == (tmp_path / place,)
        if place.startswith("models/"):
            assert folders_below(tmp_path / "models", kind) == (tmp_path / place,)


def test_a_cache_holds_what_is_told_by_its_keys(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    (hub / "models--owner--name" / "snapshots").mkdir(parents=True)
    for given in (hub, tmp_path):
        assert folders_below(given, Kind.CHECKPOINTS) == (hub,)
        assert folders_below(given, Kind.UPSCALERS) == ()


def test_so_does_what_invokeai_keeps_by_key(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").mkdir(parents=True)
    for given in (models, tmp_path):
        for kind in Kind:
            assert folders_below(given, kind) == (models,)


def test_a_key_beside_other_folders_is_one_of_them(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").mkdir(parents=True)
    (models / "Stable-diffusion").mkdir()
    assert folders_below(tmp_path, Kind.CHECKPOINTS) == (models / "Stable-diffusion",)


def test_a_folder_of_no_layout_holds_checkpoints(tmp_path: Path) -> None:
    assert folders_below(tmp_path, Kind.CHECKPOINTS) == (tmp_path,)
    assert folders_below(tmp_path, Kind.LORAS) == ()


def test_a_setting_adds_them_for_every_kind(tmp_path: Path) -> None:
    for place in TREES["comfy"].values():
        (tmp_path / "comfy" / place).mkdir(parents=True)
    settings = Settings(data_dir=tmp_path / "data", models_dirs=(tmp_path / "comfy",))
    for kind, place in TREES["comfy"].items():
        own, added = settings.all_dirs(kind)[-2:]
        assert (own, added) == (tmp_path / "data" / kind.value, tmp_path / "comfy" / place)


def test_the_cache_is_where_its_own_programs_keep_it(tmp_path: Path) -> None:
    assert default_hub_cache({"HF_HUB_CACHE": "/a"}) == Path("/a")
    assert default_hub_cache({"HF_HOME": "/a"}) == Path("/a/hub")
    assert default_hub_cache({"XDG_CACHE_HOME": "/a"}) == Path("/a/huggingface/hub")
    environ = {"HF_HOME": "/a", "STUDIO_HUB_CACHE": "/b"}
    assert load({"data_dir": tmp_path}, environ, tmp_path).hub_cache == Path("/b")
