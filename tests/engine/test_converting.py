"""FLUX.1 and Stable Diffusion 3 from a folder to a single file and back, to the byte, and as others
read them."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file

from studio.checkpoints.catalog import Catalog, Checkpoint, families
from studio.checkpoints.convert import Layout, convert
from studio.checkpoints.folder import read_parts
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.header import read_header
from studio.checkpoints.merge import merge
from studio.core.errors import InvalidRequest
from studio.engine.device import Device
from studio.engine.manager import Manager
from studio.engine.unpacking import floats
from studio.paths import CONFIGS
from tests.checkpoints.test_convert import content
from tests.checkpoints.test_convert import parts as contents
from tests.engine.desk import Desk
from tests.engine.gguf_files import Packed, save_gguf
from tests.engine.original import _under
from tests.engine.test_denoiser_files import Parts, configs, folders, paint, painted, parts, save
from tests.engine.test_gguf import packed
from tests.engine.tiny_families import TINY

__all__ = ["configs", "folders", "packed", "painted", "parts"]  # fixtures

HARD_CODED = {("flux", "transformer"), ("schnell", "transformer")}
"""diffusers takes FLUX.1's width for granted; at that width its names are compared elsewhere."""
PREFIXES = {"flux": "vae", "schnell": "vae", "sd3": "first_stage_model"}


def get(folder: Path, name: str, beside: tuple[Path, ...] = ()) -> Checkpoint:
    return Catalog((folder,), beside=beside).get(name)


@pytest.mark.parametrize("name", PREFIXES)
def test_there_and_back_is_the_same_to_the_byte(
    name: str, folders: Path, configs: Path, tmp_path: Path
) -> None:
    file, folder, again = (tmp_path / x for x in ("a.safetensors", "b", "c.safetensors"))
    convert(get(folders, name), "file", file, configs=configs)
    convert(get(tmp_path, "a"), "folder", folder, configs=configs)
    assert contents(folder) == contents(folders / name)
    convert(get(tmp_path, "b"), "file", again, configs=configs)
    assert again.read_bytes() == file.read_bytes()
    found = {get(tmp_path, one).family for one in "abc"}
    assert found == {get(folders, name).family}
    for config in ("transformer/config.json", "scheduler/scheduler_config.json"):
        ours, theirs = (json.loads((at / config).read_text()) for at in (folder, folders / name))
        assert {key: ours[key] for key in theirs if key in ours} == {
            key: theirs[key] for key in theirs if key in ours
        }


@pytest.mark.parametrize("name", PREFIXES)
def test_a_file_is_what_its_makers_write(
    name: str, folders: Path, configs: Path, parts: dict[str, Parts], tmp_path: Path
) -> None:
    wanted = parts[name].whole(PREFIXES[name])
    convert(get(folders, name), "file", tmp_path / "a.safetensors", configs=configs)
    found = load_file(tmp_path / "a.safetensors")
    # T5 has one table of words under two names, of which folders write one
    wanted.pop("text_encoders.t5xxl.transformer.encoder.embed_tokens.weight", None)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in wanted.items())
    own = "pochade.configs" in read_header(tmp_path / "a.safetensors").metadata
    assert own == (name == "schnell")  # a tiny one that is shifted as dev is


@pytest.mark.parametrize("name", PREFIXES)
def test_diffusers_reads_the_file(name: str, folders: Path, configs: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    convert(get(folders, name), "file", file, configs=configs)
    whole: Any = diffusers.DiffusionPipeline.from_pretrained(folders / name)
    for part in ("transformer", "vae"):
        if (name, part) in HARD_CODED:
            continue
        network = getattr(whole, part)
        read = type(network).from_single_file(
            str(file), config=str(folders / name), subfolder=part, local_files_only=True
        )
        state = network.state_dict()
        assert read.state_dict().keys() == state.keys()
        assert all(torch.equal(t, state[key]) for key, t in read.state_dict().items())


@pytest.mark.parametrize("name", ["flux_fill", "flux_kontext"])
def test_their_kin_stay_what_they_are(
    name: str, folders: Path, configs: Path, tmp_path: Path
) -> None:
    TINY[name](tmp_path / "it")
    convert(get(tmp_path, "it"), "file", tmp_path / "a.safetensors", configs=configs)
    assert get(tmp_path, "a").family == name
    convert(get(tmp_path, "a"), "folder", tmp_path / "b", configs=configs)
    assert get(tmp_path, "b").family == name
    assert contents(tmp_path / "b") == contents(tmp_path / "it")


@pytest.mark.parametrize("name", [name for name in TINY if not families()[name].single_file])
def test_a_folder_of_any_family_takes_other_numbers(
    name: str, tmp_path: Path, device: Device
) -> None:
    TINY[name](tmp_path / "it")
    (tmp_path / "it" / "pochade.json").write_text('{"steps": 3}')
    entry = get(tmp_path, "it")
    with pytest.raises(InvalidRequest, match="only this layout"):
        convert(entry, "file", tmp_path / "a.safetensors", configs=CONFIGS)
    convert(entry, "folder", tmp_path / "b", configs=CONFIGS, dtype="BF16")
    written = list((tmp_path / "b").rglob("*.safetensors"))
    for file in written:
        before, after = (
            load_file(at / file.relative_to(tmp_path / "b"))
            for at in (tmp_path / "it", tmp_path / "b")
        )
        assert before.keys() == after.keys()
        for key, tensor in before.items():
            wanted = tensor.bfloat16() if tensor.is_floating_point() else tensor
            assert torch.equal(after[key], wanted), key
    parts = [part for part in read_parts(tmp_path / "it") if part.weights]
    assert {file.parent.name for file in written} == {part.name for part in parts}
    made = get(tmp_path, "b")
    assert (made.family, made.problem, made.defaults.steps) == (name, "", 3)
    with Manager(device, CONFIGS, Hashes(None)).use(made, next(iter(made.roles))) as lease:
        assert lease.weights.components
    convert(made, "folder", tmp_path / "c", configs=CONFIGS, dtype="F32")
    assert {f.relative_to(tmp_path / "b") for f in (tmp_path / "b").rglob("*")} == {
        f.relative_to(tmp_path / "c") for f in (tmp_path / "c").rglob("*")
    }


def test_a_note_hides_none_of_that(folders: Path, configs: Path, tmp_path: Path) -> None:
    TINY["flux_kontext"](tmp_path / "it")
    (tmp_path / "it" / "pochade.json").write_text('{"label": "My Kontext", "steps": 9}')
    it = get(tmp_path, "it")
    convert(it, "file", tmp_path / "out" / "a.safetensors", configs=configs)
    found = get(tmp_path / "out", "a")
    assert (found.family, found.label) == ("flux_kontext", "My Kontext")
    assert found.defaults == it.defaults
    merge(
        (it, found), "weighted", 0.5, tmp_path / "out" / "m.safetensors", to="file", configs=configs
    )
    merged = get(tmp_path / "out", "m")
    assert (merged.family, merged.label) == ("flux_kontext", "m")
    assert merged.defaults == it.defaults


def test_sd3_goes_without_t5(folders: Path, configs: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "sd3", tmp_path / "it")
    index = json.loads((tmp_path / "it" / "model_index.json").read_text())
    index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    (tmp_path / "it" / "model_index.json").write_text(json.dumps(index))
    shutil.rmtree(tmp_path / "it" / "text_encoder_3")
    convert(get(tmp_path, "it"), "file", tmp_path / "a.safetensors", configs=configs)
    convert(get(tmp_path, "a"), "folder", tmp_path / "b", configs=configs)
    assert contents(tmp_path / "b") == contents(tmp_path / "it")
    assert not list((tmp_path / "b").glob("tokenizer_3"))
    assert get(tmp_path, "b").family == "sd3"


def test_a_projection_that_a_file_leaves_out_changes_nothing(
    parts: dict[str, Parts], configs: Path, tmp_path: Path
) -> None:
    whole = parts["sd3"].whole("first_stage_model")
    name = "text_encoders.clip_l.transformer.text_projection.weight"
    whole[name] = torch.eye(24)
    save(whole, tmp_path / "same.safetensors")
    del whole[name]
    save(whole, tmp_path / "short.safetensors")
    for one in ("same", "short"):
        convert(get(tmp_path, one), "folder", tmp_path / f"{one}-folder", configs=configs)
    assert contents(tmp_path / "short-folder") == contents(tmp_path / "same-folder")


def test_a_denoiser_takes_along_what_it_borrows(
    parts: dict[str, Parts],
    folders: Path,
    configs: Path,
    painted: dict[str, bytes],
    tmp_path: Path,
    make_desk: Callable[..., Desk],
) -> None:
    beside = tmp_path / "beside"
    save(parts["flux"].denoiser, tmp_path / "in" / "alone.safetensors")
    save(parts["flux"].vae, beside / "ae.safetensors")
    save(parts["flux"].texts["clip_l"], beside / "clip_l.safetensors")
    save(parts["flux"].texts["t5xxl"], beside / "t5xxl.safetensors")
    entry = get(tmp_path / "in", "alone", (beside,))
    convert(entry, "folder", tmp_path / "out" / "b", configs=configs)
    assert paint(make_desk(tmp_path / "out"), "b") == painted["flux"]
    shutil.copytree(folders / "flux", tmp_path / "in" / "lender")
    convert(get(tmp_path / "in", "alone"), "folder", tmp_path / "c", configs=configs)
    assert contents(tmp_path / "c") == contents(folders / "flux")


def test_packed_numbers_are_written_out(
    parts: dict[str, Parts],
    packed: tuple[dict[str, Packed], dict[str, torch.Tensor]],
    folders: Path,
    configs: Path,
    tmp_path: Path,
) -> None:
    tensors, plain = packed
    save_gguf(tensors, tmp_path / "q.gguf")
    shutil.copytree(folders / "flux", tmp_path / "lender")
    write = partial(convert, get(tmp_path, "q"), configs=configs, unpack=floats)
    with pytest.raises(InvalidRequest, match="packed"):
        write("folder", tmp_path / "b")
    write("file", tmp_path / "a.safetensors", dtype="F32")
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in plain.items())
    write("folder", tmp_path / "b", dtype="BF16")
    save(plain, tmp_path / "plain.safetensors")
    convert(get(tmp_path, "plain"), "folder", tmp_path / "c", configs=configs, dtype="BF16")
    assert contents(tmp_path / "b") == contents(tmp_path / "c")


def test_numbers_by_a_scale_are_written_out(
    parts: dict[str, Parts], configs: Path, tmp_path: Path
) -> None:
    scaled: dict[str, torch.Tensor] = {"scaled_fp8": torch.zeros(2)}
    plain: dict[str, torch.Tensor] = {}
    for key, tensor in parts["flux"].whole("vae").items():
        scaled[key] = plain[key] = tensor
        if "double_blocks" in key and key.endswith(".weight"):
            scale = tensor.abs().max().float().reshape(()) / 448
            scaled[key] = (tensor / scale).to(torch.float8_e4m3fn)
            scaled[f"{key.removesuffix('.weight')}.scale_weight"] = scale
            plain[key] = scaled[key].float() * scale
    save(scaled, tmp_path / "scaled.safetensors")
    save(plain, tmp_path / "plain.safetensors")
    convert(get(tmp_path, "scaled"), "folder", tmp_path / "b", configs=configs, dtype="F32")
    convert(get(tmp_path, "plain"), "folder", tmp_path / "c", configs=configs)
    assert contents(tmp_path / "b") == contents(tmp_path / "c")
    convert(
        get(tmp_path, "scaled"), "file", tmp_path / "d.safetensors", configs=configs, dtype="F32"
    )
    assert content(tmp_path / "d.safetensors") == content(tmp_path / "plain.safetensors")


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("to", ["file", "folder"])
def test_numbers_of_eight_bits_are_merged_in_a_format_that_is_said(
    scaled: bool, to: Layout, parts: dict[str, Parts], configs: Path, tmp_path: Path
) -> None:
    whole = parts["flux"].whole("vae")
    key = "model.diffusion_model.double_blocks.0.img_attn.proj.weight"
    small = {**whole, key: whole[key].to(torch.float8_e4m3fn)}
    if scaled:
        small[f"{key.removesuffix('.weight')}.scale_weight"] = torch.tensor(2.0)
    save(small, tmp_path / "small.safetensors")
    save(whole, tmp_path / "whole.safetensors")
    mix = partial(merge, method="weighted", alpha=0.5, to=to, configs=configs)
    pair = (get(tmp_path, "small"), get(tmp_path, "whole"))
    out = tmp_path / ("m.safetensors" if to == "file" else "m")
    with pytest.raises(InvalidRequest) as refused:
        mix(pair, target=out)
    assert "--dtype" in refused.value.hint and not out.exists()
    mix(pair, target=out, dtype="BF16")
    assert not get(tmp_path, "m").problem
    mix((pair[1], pair[0]), target=tmp_path / "full.safetensors", to="file")
    found = load_file(tmp_path / "full.safetensors")[key]
    assert torch.equal(found, (whole[key] + small[key].float() * (2 if scaled else 1)) / 2)


def test_a_layer_without_a_name_is_not_lost(
    parts: dict[str, Parts], configs: Path, tmp_path: Path
) -> None:
    odd = _under("model.diffusion_model", {"double_blocks.0.odd.weight": torch.ones(2)})
    save({**parts["flux"].whole("vae"), **odd}, tmp_path / "a.safetensors")
    with pytest.raises(InvalidRequest, match=r"no name for .*double_blocks\.0\.odd"):
        convert(get(tmp_path, "a"), "folder", tmp_path / "b", configs=configs)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_files_are_merged_wherever_they_have_their_networks(
    name: str, folders: Path, configs: Path, parts: dict[str, Parts], tmp_path: Path
) -> None:
    """The denoiser alone under bare names, everything in one file, a folder: all have its tensors."""
    shutil.copytree(folders / name, tmp_path / "folder")
    doubled = {key: tensor * 2 for key, tensor in parts[name].denoiser.items()}
    save(doubled, tmp_path / "bare.safetensors")
    save(parts[name].whole("vae"), tmp_path / "whole.safetensors")
    bare, whole, folder = (get(tmp_path, one) for one in ("bare", "whole", "folder"))
    mix = partial(merge, method="weighted", alpha=0.5, to="file", configs=configs)
    for number, pair in enumerate(((whole, bare), (folder, bare), (bare, folder), (bare, whole))):
        target = tmp_path / "out" / f"{number}.safetensors"
        mix(pair, target=target)
        found = load_file(target)
        for key, tensor in parts[name].denoiser.items():
            assert torch.equal(tensor * 1.5, found[f"model.diffusion_model.{key}"])
        assert not any(key in found for key in doubled)
    found = mix((folder, whole), target=tmp_path / "all.safetensors")
    assert found.only_first == ()
