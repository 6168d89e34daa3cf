"""A single file in Stability's layout is the same checkpoint as the folder, without any network."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers

from studio.checkpoints.catalog import Catalog, families
from studio.checkpoints.convert import convert
from studio.checkpoints.hashes import Hashes
from studio.engine.device import Device
from studio.engine.manager import Manager
from studio.families._family import Family, Role
from studio.paths import CONFIGS
from tests.engine.desk import Desk
from tests.engine.original import original, save_configs, save_original


@pytest.fixture(scope="module")
def singles(shelf: Path, device: Device, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sd`, `two` and `xl` of the shelf, once as the folder and once as `<name>-file`."""
    folder = tmp_path_factory.mktemp("singles")
    for name in ("sd", "two", "xl"):
        shutil.copytree(shelf / name, folder / name)
        save_original(networks(shelf, name, device), folder / f"{name}-file.safetensors")
    return folder


@pytest.fixture(scope="module")
def configs(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What assets/configs is for checkpoints of full size, for these small ones."""
    folder = tmp_path_factory.mktemp("configs")
    for name, family in (("sd", "sd15"), ("two", "sd2"), ("xl", "sdxl")):
        save_configs(shelf / name, folder, family)
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Refuses and records every look at the network."""
    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    yield asked
    assert asked == []


def networks(shelf: Path, name: str, device: Device) -> dict[str, torch.nn.Module]:
    manager = Manager(device, CONFIGS, Hashes(None))
    with manager.use(Catalog((shelf,)).get(name), Role.TEXT) as lease:
        found = lease.weights.components
    return {k: m for k, m in found.items() if isinstance(m, torch.nn.Module)}


@pytest.mark.parametrize("name", ["sd", pytest.param("two", marks=pytest.mark.slow), "xl"])
def test_file_and_folder_give_the_same_pixels(
    name: str,
    singles: Path,
    configs: Path,
    make_desk: Callable[..., Desk],
    no_network: list[object],
) -> None:
    desk = make_desk(singles, configs)
    pictures = [
        desk.paint(
            checkpoint=checkpoint, prompt="a (red:1.3) fox", negative_prompt="x", sampler="euler_a"
        )
        for checkpoint in (name, f"{name}-file")
    ]
    assert pictures[0] == pictures[1]
    facts = desk.frames("picture")[0]["facts"]
    assert facts["checkpoint"]["id"] == f"{name}-file"


def test_a_file_of_an_unusual_folder_is_painted_with_as_that(
    singles: Path, configs: Path, tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(singles / "sd", folder)
    shutil.rmtree(folder / "unet")
    config = json.loads((singles / "sd" / "unet" / "config.json").read_text())
    torch.manual_seed(3)
    odd: Any = diffusers.UNet2DConditionModel.from_config({**config, "layers_per_block": 2})
    odd.save_pretrained(folder / "unet")
    words = json.loads((folder / "text_encoder" / "config.json").read_text())
    reader = transformers.CLIPTextModel(
        transformers.CLIPTextConfig.from_dict({**words, "num_hidden_layers": 1})
    )
    reader.save_pretrained(folder / "text_encoder")
    betas = folder / "scheduler" / "scheduler_config.json"
    betas.write_text(json.dumps({**json.loads(betas.read_text()), "beta_end": 0.02}))
    file = tmp_path / "odd-file.safetensors"
    made = convert(Catalog((tmp_path,)).get("odd"), "file", file, configs=configs)
    assert made.notes == ()
    usual = tmp_path / "usual"
    shutil.copytree(configs, usual)
    for part in ("unet", "text_encoder"):
        (usual / "sd15" / part / "config.json").unlink()  # its own is all that it needs
    desk = make_desk(tmp_path, usual)
    assert desk.paint(checkpoint="odd-file") == desk.paint(checkpoint="odd")


def test_old_names_and_half_precision_are_read(
    singles: Path, configs: Path, tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    """Files of 2022 name the text encoder without `text_model`; most files are in half precision."""
    from safetensors.torch import load_file, save_file

    tensors = {
        key.replace("transformer.text_model.", "transformer."): tensor.half()
        for key, tensor in load_file(singles / "sd-file.safetensors").items()
    }
    save_file(tensors, tmp_path / "old.safetensors")
    desk = make_desk(tmp_path, configs)
    assert desk.paint(checkpoint="old")
    with desk.runner.manager.use(desk.runner.catalog.get("old"), "text") as lease:  # type: ignore[arg-type]
        assert {p.dtype for p in lease.pipeline.unet.parameters()} == {torch.float32}


def test_a_marker_tensor_sets_the_prediction(
    singles: Path, configs: Path, tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(singles / "sd-file.safetensors")
    save_file({**tensors, "v_pred": torch.ones(())}, tmp_path / "v.safetensors")
    desk = make_desk(tmp_path, configs)
    with desk.runner.manager.use(desk.runner.catalog.get("v"), "text") as lease:  # type: ignore[arg-type]
        assert lease.weights.scheduler["prediction_type"] == "v_prediction"


def test_a_file_without_some_tensors_is_refused(
    singles: Path, configs: Path, tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(singles / "sd-file.safetensors")
    del tensors["model.diffusion_model.middle_block.0.in_layers.2.weight"]
    save_file(tensors, tmp_path / "x.safetensors")
    ending = make_desk(tmp_path, configs).run(checkpoint="x")
    assert ending["message"] == "'x' cannot be loaded: its weights are not what they should be."


def test_the_shipped_tokenizer_is_clips() -> None:
    """Ids as published for CLIP; SDXL's second one pads with "!"."""
    from studio.engine.loading import _tokenizer

    made = {
        (family, name): _tokenizer("CLIPTokenizer", CONFIGS / family, name)
        for family, name in (("sd15", "tokenizer"), ("sdxl", "tokenizer"), ("sdxl", "tokenizer_2"))
    }
    for tokenizer in made.values():
        ids = tokenizer("A photo of a cat, 4k").input_ids
        assert ids == [49406, 320, 1125, 539, 320, 2368, 267, 275, 330, 49407]
        assert tokenizer.model_max_length == 77
    assert [tokenizer.pad_token_id for tokenizer in made.values()] == [49407, 49407, 0]


UNETS = [family for family in families().values() if "unet" in family.components and family.configs]


@pytest.mark.parametrize("family", UNETS, ids=lambda family: family.id)
def test_shipped_configs_fit_the_published_files(family: Family) -> None:
    """Networks built from the shipped configs have exactly the tensors of headers/*-file.json."""
    from tests.families.make_headers import HEADERS, networks

    stored = json.loads((HEADERS / f"{family.id}-file.json").read_text())
    built = {
        key: list(tensor.shape)
        for key, tensor in original(networks(family.configs, **family.overrides)).items()
    }
    assert built == stored
