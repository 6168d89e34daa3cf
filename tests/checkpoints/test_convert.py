"""Converting, merging, verifying and inspecting, on real networks and without torch in the code."""

import hashlib
import io
import json
import os
import shutil
import struct
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from studio.checkpoints import merge as merging
from studio.checkpoints import names, numbers, streams
from studio.checkpoints.catalog import Catalog, Checkpoint
from studio.checkpoints.convert import convert
from studio.checkpoints.facts import facts, verify
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.header import read_header
from studio.checkpoints.merge import merge
from studio.checkpoints.networks import fits_a_file, tensors_of
from studio.core.errors import InvalidRequest, StorageFailed
from studio.paths import CONFIGS
from tests.checkpoints.files import HEADERS, safetensors, sparse, tensor
from tests.engine.tiny import save_tiny_sd, save_tiny_sd2, save_tiny_sdxl


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    save_tiny_sd(folder / "sd")
    save_tiny_sd(folder / "other", seed=1)
    save_tiny_sd(folder / "v", prediction="v_prediction")
    save_tiny_sdxl(folder / "xl")
    save_tiny_sd2(folder / "two")
    return folder


def get(shelf: Path, name: str) -> Checkpoint:
    return Catalog((shelf,)).get(name)


def content(file: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {
        name: (found.dtype, found.shape, b"".join(found.blocks()))
        for name, found in tensors_of(file).items()
    }


def parts(folder: Path) -> dict[str, dict[str, tuple[str, tuple[int, ...], bytes]]]:
    return {file.parent.name: content(file) for file in sorted(folder.glob("*/*.safetensors"))}


class TestConvert:
    @pytest.mark.parametrize("name", ["sd", "xl", pytest.param("two", marks=pytest.mark.slow)])
    def test_there_and_back_is_the_same_to_the_byte(self, name, shelf, tmp_path) -> None:
        file, folder, again = (tmp_path / x for x in ("a.safetensors", "b", "c.safetensors"))
        made = convert(get(shelf, name), "file", file, configs=CONFIGS)
        assert made.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        # networks of this size are only known to the configs of the folder
        assert "is not the usual Stable Diffusion" in made.notes[0]
        convert(get(tmp_path, "a"), "folder", folder, configs=CONFIGS)
        assert parts(folder) == parts(shelf / name)
        convert(get(tmp_path, "b"), "file", again, configs=CONFIGS)
        assert again.read_bytes() == file.read_bytes()
        assert get(tmp_path, "b").family == get(shelf, name).family == get(tmp_path, "c").family
        for config in ("unet/config.json", "model_index.json", "tokenizer/vocab.json"):
            theirs = json.loads((shelf / name / config).read_text())
            assert json.loads((folder / config).read_text()) == theirs

    @pytest.mark.parametrize("name", ["sd", "xl", "two"])
    def test_a_file_is_what_others_make_of_the_networks(self, name, shelf, tmp_path) -> None:
        """Against the key maps of the engine's tests, which are written by hand the other way."""
        import diffusers
        import torch

        from tests.engine.original import original

        kind = diffusers.StableDiffusionXLPipeline if name == "xl" else (
            diffusers.StableDiffusionPipeline
        )  # fmt: skip
        pipeline = kind.from_pretrained(shelf / name, local_files_only=True)
        wanted = original(
            {k: v for k, v in pipeline.components.items() if isinstance(v, torch.nn.Module)}
        )
        convert(get(shelf, name), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        found = content(tmp_path / "a.safetensors")
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            data = value.detach().contiguous().numpy().tobytes()
            assert found[key] == ("F32", tuple(value.shape), data), key

    @pytest.mark.parametrize("family", ["sd15", "sdxl", "sdxl_refiner"])
    def test_every_published_key_has_its_counterpart(self, family: str) -> None:
        file = json.loads((HEADERS / f"{family}-file.json").read_text())
        folder = json.loads((HEADERS / f"{family}-folder.json").read_text())
        for part, prefix in (("unet", "model.diffusion_model."), ("vae", "first_stage_model.")):
            ours = {k.removeprefix(f"{part}."): v for k, v in folder.items() if k.startswith(part)}
            theirs = {k.removeprefix(prefix): v for k, v in file.items() if k.startswith(prefix)}
            pairs = getattr(names, part)
            renamed = {pairs(ours, original=False).to_original(key).key for key in ours}
            back = {pairs(theirs, original=True).to_diffusers(key).key for key in theirs}
            assert renamed == theirs.keys() and back == ours.keys()

    def test_a_full_size_file_becomes_a_folder_with_the_usual_configs(self, tmp_path) -> None:
        from tests.checkpoints.files import sparse

        sparse(tmp_path / "a.safetensors", "sdxl_inpaint-file")
        entry, written = get(tmp_path, "a"), []

        def stop(done: int, total: int) -> None:
            written.append(total)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            convert(entry, "folder", tmp_path / "b", configs=CONFIGS, progress=stop)
        assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
        from studio.checkpoints.convert import _config_files
        from studio.checkpoints.networks import as_folder

        files = _config_files(entry, as_folder(entry), CONFIGS)
        assert json.loads(files["unet/config.json"])["in_channels"] == 9
        index = json.loads(files["model_index.json"])
        assert index["_class_name"] == "StableDiffusionXLInpaintPipeline"
        assert len(json.loads(files["tokenizer_2/vocab.json"])) == 49408
        assert "vocabulary" not in json.loads(files["tokenizer_2/tokenizer_config.json"])

    def test_what_it_predicts_comes_along(self, shelf, tmp_path) -> None:
        convert(get(shelf, "v"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        assert "v_pred" in read_header(tmp_path / "a.safetensors").shapes
        convert(get(tmp_path, "a"), "folder", tmp_path / "b", configs=CONFIGS)
        config = json.loads((tmp_path / "b/scheduler/scheduler_config.json").read_text())
        assert config["prediction_type"] == "v_prediction"
        assert parts(tmp_path / "b") == parts(shelf / "v")

    def test_what_was_noted_comes_along(self, shelf, tmp_path) -> None:
        shutil.copytree(shelf / "sd", tmp_path / "sd")
        (tmp_path / "sd/pochade.json").write_text('{"label": "Ink", "steps": 4}')
        convert(get(tmp_path, "sd"), "file", tmp_path / "out" / "a.safetensors", configs=CONFIGS)
        found = get(tmp_path / "out", "a")
        assert (found.label, found.defaults.steps) == ("Ink", 4)

    @pytest.mark.parametrize(("dtype", "kind"), [("F16", "float16"), ("BF16", "bfloat16")])
    def test_numbers_are_rounded_as_torch_does(self, dtype, kind, shelf, tmp_path) -> None:
        import torch
        from safetensors.torch import load_file

        convert(get(shelf, "sd"), "folder", tmp_path / "b", configs=CONFIGS, dtype=dtype)
        for file in (tmp_path / "b").glob("*/*.safetensors"):
            theirs = load_file(next((shelf / "sd" / file.parent.name).glob("*.safetensors")))
            for key, found in load_file(file).items():
                assert torch.equal(found, theirs[key].to(getattr(torch, kind))), key

    def test_what_does_not_fit_half_precision_is_refused(self, shelf, tmp_path) -> None:
        shutil.copytree(shelf / "sd", tmp_path / "sd")
        file = tmp_path / "sd/unet/diffusion_pytorch_model.safetensors"
        with file.open("r+b") as opened:
            opened.seek(read_header(file).data_begin)
            opened.write(struct.pack("<f", 1e9))
        with pytest.raises(InvalidRequest, match="too large for fp16"):
            convert(get(tmp_path, "sd"), "file", tmp_path / "a.safetensors", configs=CONFIGS,
                    dtype="F16")  # fmt: skip
        assert [path.name for path in tmp_path.iterdir()] == ["sd"]

    def test_nothing_is_replaced_unasked(self, shelf, tmp_path) -> None:
        target = tmp_path / "a.safetensors"
        target.write_bytes(b"dear")
        with pytest.raises(InvalidRequest, match="there already"):
            convert(get(shelf, "sd"), "file", target, configs=CONFIGS)
        assert target.read_bytes() == b"dear"
        convert(get(shelf, "sd"), "file", target, configs=CONFIGS, force=True)
        assert get(tmp_path, "a").family == "sd15"
        convert(get(tmp_path, "a"), "folder", tmp_path / "b", configs=CONFIGS)
        convert(get(tmp_path, "a"), "folder", tmp_path / "b", configs=CONFIGS, force=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "a.pochade.json",
            "a.safetensors",
            "b",
        ]

    def test_what_a_killed_process_has_left_is_gone_with_the_next_one(
        self, shelf, tmp_path, monkeypatch
    ) -> None:
        dead, alive, fresh = (
            tmp_path / f".tmp-{pid}-{name}"
            for pid, name in ((2**22 + 1, "b"), (os.getpid(), "c"), (2**22 + 1, "d"))
        )
        for folder in (dead, alive):
            (folder / "unet").mkdir(parents=True)
            os.utime(folder / "unet", (0, 0))
            os.utime(folder, (0, 0))
        fresh.write_bytes(b"another machine is writing this")
        convert(get(shelf, "sd"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        assert (dead.exists(), alive.exists(), fresh.exists()) == (False, True, True)

    def test_what_a_killed_process_was_about_to_replace_is_not_lost(
        self, tmp_path, monkeypatch
    ) -> None:
        """Between two renames a folder has neither its old content nor its new one."""
        target = tmp_path / "b"
        target.mkdir()
        (target / "dear").touch()
        replace = Path.replace

        def killed(path: Path, to: Path) -> Path:
            if to == target:
                raise KeyboardInterrupt
            return replace(path, to)

        monkeypatch.setattr(Path, "replace", killed)
        monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)
        with pytest.raises(KeyboardInterrupt), streams.replacing(target, force=True) as fresh:
            fresh.mkdir()
        monkeypatch.undo()
        assert not target.exists()
        monkeypatch.setattr(streams, "ABANDONED_S", 0.0)
        with (
            pytest.raises(InvalidRequest, match="there already"),
            streams.replacing(target, force=False),
        ):
            pass
        assert list(tmp_path.rglob("*")) == [target, target / "dear"]

    def test_a_full_disk_is_seen_before_anything_is_written(
        self, shelf, tmp_path, monkeypatch
    ) -> None:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(StorageFailed, match="not enough room"):
            convert(get(shelf, "sd"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        assert list(tmp_path.iterdir()) == []

    def test_the_small_one_of_stable_diffusion_2_stays_what_it_is(self, shelf, tmp_path) -> None:
        """It predicts noise, which a file says by how long it was trained, and is for other sizes."""
        shutil.copytree(shelf / "two", tmp_path / "base")
        config = tmp_path / "base" / "scheduler" / "scheduler_config.json"
        config.write_text(config.read_text().replace("v_prediction", "epsilon"))
        convert(get(tmp_path, "base"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        steps = content(tmp_path / "a.safetensors")["global_step"]
        assert (steps[0], int.from_bytes(steps[2], "little")) == ("I64", 875_000)
        assert get(tmp_path, "a").native_px == get(tmp_path, "base").native_px == 64
        made = convert(get(tmp_path, "a"), "folder", tmp_path / "b", configs=CONFIGS)
        assert made.left_out == ()
        back = json.loads((tmp_path / "b" / "scheduler" / "scheduler_config.json").read_text())
        assert back["prediction_type"] == "epsilon"
        convert(get(shelf, "two"), "file", tmp_path / "v.safetensors", configs=CONFIGS)
        assert not {"v_pred", "global_step"} & content(tmp_path / "v.safetensors").keys()

    def test_layers_that_nothing_reads_are_left_out(self, shelf, tmp_path) -> None:
        """Files of Stable Diffusion 2 have a last layer of the text encoder that is not read."""
        convert(get(shelf, "two"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        tensors = load_file(tmp_path / "a.safetensors")
        last = "cond_stage_model.model.transformer.resblocks.2."
        more = {name.replace(".2.", ".23."): one for name, one in tensors.items() if last in name}
        more["cond_stage_model.model.text_projection"] = np.eye(4, dtype=np.float32)
        assert len(more) > 5
        more |= tensors
        told = dict(read_header(tmp_path / "a.safetensors").metadata)
        save_file(
            {name: one.copy() for name, one in more.items()}, tmp_path / "b.safetensors", told
        )
        convert(get(tmp_path, "b"), "folder", tmp_path / "c", configs=CONFIGS)
        assert parts(tmp_path / "c") == parts(shelf / "two")

    def test_networks_of_another_size_stay_a_file(self, shelf, tmp_path) -> None:
        from safetensors.numpy import load_file, save_file

        convert(get(shelf, "sd"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        save_file(load_file(tmp_path / "a.safetensors"), tmp_path / "bare.safetensors")
        with pytest.raises(InvalidRequest, match="no configs for networks of this size"):
            convert(get(tmp_path, "bare"), "folder", tmp_path / "b", configs=CONFIGS)

    def test_configs_inside_a_file_cannot_lead_out(self, shelf, tmp_path) -> None:
        convert(get(shelf, "sd"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        tensors = {k: streams.as_is(t) for k, t in tensors_of(tmp_path / "a.safetensors").items()}
        inside = json.loads(read_header(tmp_path / "a.safetensors").metadata["pochade.configs"])
        inside |= {"../evil.json": "{}", "/tmp/evil": "{}", "unet/../../evil": "{}", "a/b/c": ""}
        evil = {"pochade.configs": json.dumps(inside)}
        streams.write(tmp_path / "evil.safetensors", tensors, evil, lambda _: None)
        convert(get(tmp_path, "evil"), "folder", tmp_path / "out" / "b", configs=CONFIGS)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]
        assert not list(tmp_path.rglob("evil.json"))


def test_files_are_written_in_pieces_that_large_pages_are_made_of() -> None:
    class Recorder(io.BytesIO):
        def write(self, data: Any) -> int:
            written.append((self.tell(), len(data)))
            return super().write(data)

    written: list[tuple[int, int]] = []
    out, piece = Recorder(), streams.PIECE
    large = streams.LargePages(out)
    parts = [b"head", b"a" * (piece - 1), b"", b"b" * 3 * piece, b"c" * 5]
    for part in parts:
        large.write(part)
    large.flush()
    assert out.getvalue() == b"".join(parts)
    assert written == [(n * piece, piece) for n in range(4)] + [(4 * piece, 8)]


def big(path: Path, seed: int, count: int = 24) -> Path:
    """A file of `count` tensors of 1 MiB under the names of nothing that is known."""
    random = np.random.default_rng(seed)
    size = 1 << 20
    header = {
        f"t{n:02}": tensor(n * size, (n + 1) * size, "F16", [size // 2]) for n in range(count)
    }
    data = random.standard_normal(count * size // 2).astype("<f2").tobytes()
    return safetensors(path, header, data)


class TestMerge:
    merge = staticmethod(partial(merge, to="file", configs=CONFIGS))

    def mixed(self, shelf: Path, tmp_path: Path, *which: str, **options) -> dict:
        entries = tuple(get(shelf, name) for name in which)
        self.merge(entries, target=tmp_path / "m.safetensors", **options)
        return content(tmp_path / "m.safetensors")

    def test_the_weights_are_what_the_formula_says(self, shelf, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(merging, "NUMBERS", 97)  # so that blocks and pieces never agree
        for name in ("sd", "other", "v"):
            convert(get(shelf, name), "file", tmp_path / f"{name}.safetensors", configs=CONFIGS)
        a, b, c = (content(tmp_path / f"{n}.safetensors") for n in ("sd", "other", "v"))
        half = self.mixed(shelf, tmp_path, "sd", "other", method="weighted", alpha=0.25)
        assert half.keys() == a.keys()
        for key, (_, _, data) in half.items():
            x, y = (np.frombuffer(found[key][2], "<f4") for found in (a, b))
            assert np.array_equal(
                np.frombuffer(data, "<f4"), x * np.float32(0.75) + y * np.float32(0.25)
            )
        (tmp_path / "m.safetensors").unlink()
        added = self.mixed(shelf, tmp_path, "sd", "other", "v", method="add-difference", alpha=1.5)
        for key, (_, _, data) in added.items():
            x, y, z = (np.frombuffer(found[key][2], "<f4") for found in (a, b, c))
            assert np.array_equal(np.frombuffer(data, "<f4"), x + (y - z) * np.float32(1.5))

    def test_nothing_of_the_other_is_the_first_to_the_byte(self, shelf, tmp_path) -> None:
        convert(
            get(shelf, "sd"), "file", tmp_path / "sd.safetensors", configs=CONFIGS, dtype="BF16"
        )
        entries = (get(tmp_path, "sd"), get(shelf, "other"))
        self.merge(entries, "weighted", 0.0, tmp_path / "m.safetensors")
        assert content(tmp_path / "m.safetensors") == content(tmp_path / "sd.safetensors")

    def test_keys_that_differ_are_said(self, shelf, tmp_path) -> None:
        found = self.merge(
            (get(shelf, "sd"), get(shelf, "v")), "weighted", 0.5, tmp_path / "m.safetensors"
        )
        assert found.only_first == found.not_taken == ()
        convert(get(shelf, "sd"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        tensors = {k: streams.as_is(t) for k, t in tensors_of(tmp_path / "a.safetensors").items()}
        extra = tensors.pop("first_stage_model.quant_conv.bias")
        tensors["odd.key"] = extra
        streams.write(tmp_path / "b.safetensors", tensors, {}, lambda _: None)
        pair = (get(tmp_path, "a"), get(tmp_path, "b"))
        found = self.merge(pair, "weighted", 0.5, tmp_path / "n.safetensors")
        assert found.only_first == ("first_stage_model.quant_conv.bias",)
        assert found.not_taken == ("odd.key",)

    def test_what_only_the_folder_says_comes_along(self, shelf, tmp_path) -> None:
        self.merge((get(shelf, "v"), get(shelf, "sd")), "weighted", 0.5, tmp_path / "m.safetensors")
        assert "v_pred" in read_header(tmp_path / "m.safetensors").shapes

    def test_what_has_no_form_as_a_file_is_merged_as_a_folder(self, tmp_path) -> None:
        for seed, name in enumerate(("a", "b")):
            save_tiny_sd(tmp_path / name, seed=seed, tiny_vae=True)
        a, b = get(tmp_path, "a"), get(tmp_path, "b")
        assert not fits_a_file(a)
        with pytest.raises(InvalidRequest, match="no name for"):
            self.merge((a, b), "weighted", 0.5, tmp_path / "m.safetensors")
        found = self.merge((a, b), "weighted", 0.25, tmp_path / "m", to="folder")
        assert found.only_first == found.not_taken == ()
        made, first, second = (parts(tmp_path / name) for name in "mab")
        assert {n: t.keys() for n, t in made.items()} == {n: t.keys() for n, t in first.items()}
        for name, tensors in made.items():
            for key, (_, _, data) in tensors.items():
                x, y = (np.frombuffer(one[name][key][2], "<f4") for one in (first, second))
                mixed = x * np.float32(0.75) + y * np.float32(0.25)
                assert np.array_equal(np.frombuffer(data, "<f4"), mixed)
        assert not get(tmp_path, "m").problem

    @pytest.mark.parametrize("to", ["file", "folder"])
    def test_the_first_one_alone_is_no_merge(self, shelf, tmp_path, to) -> None:
        sparse(tmp_path / "full" / "full.safetensors", "sd15-file")
        pair = (get(shelf, "sd"), get(tmp_path / "full", "full"))
        with pytest.raises(InvalidRequest, match="nothing would be merged"):
            self.merge(pair, "weighted", 0.5, tmp_path / "m", to=to)
        assert not (tmp_path / "m").exists()

    @pytest.mark.parametrize(
        ("which", "method", "alpha", "said"),
        [
            (("sd",), "weighted", 0.5, "takes two checkpoints"),
            (("sd", "other"), "add-difference", 0.5, "takes three checkpoints"),
            (("sd", "other"), "weighted", 1.5, "Alpha must be between 0 and 1"),
            (("sd", "other"), "weighted", float("nan"), "Alpha must be"),
            (("sd", "xl"), "weighted", 0.5, "of different kinds"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, shelf, tmp_path, which, method, alpha, said
    ) -> None:
        with pytest.raises(InvalidRequest, match=said):
            self.mixed(shelf, tmp_path, *which, method=method, alpha=alpha)
        assert list(tmp_path.iterdir()) == []


class TestMemory:
    """A file much larger than what it takes to work on it."""

    def peak(self, work) -> int:
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    def test_converting_and_verifying_hold_a_block(self, tmp_path) -> None:
        file = big(tmp_path / "a.safetensors", 0)
        tensors = {name: streams.recast(t, "BF16") for name, t in tensors_of(file).items()}

        def work() -> None:
            streams.write(tmp_path / "b.safetensors", tensors, {}, lambda _: None)

        assert self.peak(work) < 16 << 20 < file.stat().st_size

    def test_merging_holds_a_block_of_each(self, tmp_path, monkeypatch) -> None:
        files = [big(tmp_path / f"{n}.safetensors", n) for n in range(3)]
        entries = tuple(_of_no_family(file) for file in files)

        def work() -> None:
            TestMerge.merge(entries, "add-difference", 0.5, tmp_path / "m.safetensors")

        assert self.peak(work) < 16 << 20 < files[0].stat().st_size


def _of_no_family(file: Path) -> Checkpoint:
    [found] = [one for one in Catalog((file.parent,)).all() if one.path == file]
    return found


class TestNumbers:
    def test_every_half_and_bfloat_is_read_as_torch_does(self) -> None:
        import torch

        data = np.arange(1 << 16, dtype="<u2").tobytes()
        for dtype, kind in (("F16", torch.float16), ("BF16", torch.bfloat16)):
            theirs = torch.frombuffer(bytearray(data), dtype=kind).float().numpy()
            assert np.array_equal(numbers.read(data, dtype), theirs, equal_nan=True)
        data = bytes(range(256))
        for dtype, kind in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
            theirs = torch.frombuffer(bytearray(data), dtype=kind).float().numpy()
            assert np.array_equal(numbers.read(data, dtype), theirs, equal_nan=True)

    def test_bfloat_rounds_to_even_and_keeps_nan(self) -> None:
        import torch

        odd = np.array([1.00390625, 1.01171875, 3.4e38, np.inf, -np.inf, np.nan, -0.0], "<f4")
        ours = np.frombuffer(numbers.write(odd, "BF16"), "<u2")
        theirs = torch.from_numpy(odd).to(torch.bfloat16).view(torch.int16).numpy().view("<u2")
        assert np.array_equal(ours[:5], theirs[:5]) and ours[6] == theirs[6]
        assert np.isnan(numbers.read(ours.tobytes(), "BF16")[5])


class TestVerify:
    def file(self, shelf: Path, tmp_path: Path) -> Checkpoint:
        convert(get(shelf, "sd"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        return get(tmp_path, "a")

    def test_what_is_sound_is_and_stays_so(self, shelf, tmp_path) -> None:
        hashes = Hashes(tmp_path / "cache")
        for entry in (self.file(shelf, tmp_path), get(shelf, "xl")):
            first, second = (verify(entry, hashes, {}) for _ in range(2))
            assert first.problems == second.problems == second.notes == ()
            assert "never read before" in first.notes[0]

    def test_a_flipped_bit_is_seen(self, shelf, tmp_path) -> None:
        entry, hashes = self.file(shelf, tmp_path), Hashes(tmp_path / "cache")
        verify(entry, hashes, {})
        data = bytearray(entry.path.read_bytes())
        data[-1000] ^= 1
        entry.path.write_bytes(data)
        [problem] = verify(get(tmp_path, "a"), Hashes(tmp_path / "cache"), {}).problems
        assert "not what they were" in problem
        [problem] = verify(entry, Hashes(None), {entry.path: "0" * 64}).problems
        assert "not that of the file that was installed" in problem

    def test_numbers_that_are_none_are_seen(self, shelf, tmp_path) -> None:
        entry = self.file(shelf, tmp_path)
        with entry.path.open("r+b") as file:
            file.seek(read_header(entry.path).data_begin + 400)
            file.write(struct.pack("<f", float("nan")))
        [problem] = verify(entry, Hashes(None), {}).problems
        assert "no finite numbers" in problem

    def test_a_cut_file_is_seen(self, shelf, tmp_path) -> None:
        entry = self.file(shelf, tmp_path)
        entry.path.write_bytes(entry.path.read_bytes()[:-10])
        assert "damaged" in verify(get_any(tmp_path), Hashes(None), {}).problems[0]


def get_any(folder: Path) -> Checkpoint:
    [found] = Catalog((folder,)).all()
    return found


class TestInspect:
    def test_parts_numbers_and_hashes(self, shelf, tmp_path) -> None:
        convert(get(shelf, "xl"), "file", tmp_path / "a.safetensors", configs=CONFIGS, dtype="F16")
        found = facts(get(tmp_path, "a"), Hashes(None))
        whole = facts(get(shelf, "xl"), Hashes(None))
        assert {p.name: p.parameters for p in found.parts} == {
            p.name: p.parameters for p in whole.parts
        }
        assert {dtype for p in found.parts for dtype in p.dtypes} == {"F16"}
        data = (tmp_path / "a.safetensors").read_bytes()
        sums = found.sums["a.safetensors"]
        assert sums.sha256 == hashlib.sha256(data).hexdigest() and sums.autov2 == sums.sha256[:10]
        begin = 8 + int.from_bytes(data[:8], "little")
        assert sums.autov3 == hashlib.sha256(data[begin:]).hexdigest()[:12]
        assert sums.autov1 == hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]

    def test_hashes_are_not_computed_twice(self, shelf, tmp_path, monkeypatch) -> None:
        from studio.checkpoints import hashes as module

        convert(get(shelf, "sd"), "file", tmp_path / "a.safetensors", configs=CONFIGS)
        first = Hashes(tmp_path / "cache").sums(tmp_path / "a.safetensors")
        monkeypatch.setattr(module, "_digests", lambda *_: pytest.fail("read again"))
        assert Hashes(tmp_path / "cache").sums(tmp_path / "a.safetensors") == first
