"""What lies in a folder is listed for what it is, and nothing else is ever opened."""

import json
import os
import pickle
import sys
from pathlib import Path

import pytest

from studio.checkpoints.catalog import Catalog, Checkpoint
from studio.core.errors import InvalidRequest, Unavailable
from tests.checkpoints.files import edit, folder, name_in_database, safetensors, sparse, tensor
from tests.engine.tiny import save_tiny_sd, save_tiny_sdxl


def only(root: Path) -> Checkpoint:
    [found] = Catalog((root,)).all()
    return found


def test_layouts_and_families(tmp_path: Path) -> None:
    sparse(tmp_path / "a.safetensors", "sd15-file")
    sparse(tmp_path / "deep" / "er" / "b.SAFETENSORS", "sdxl-file")
    folder(tmp_path / "c", "sdxl-folder")
    found = {one.id: one for one in Catalog((tmp_path,)).all()}
    assert list(found) == ["a", "c", "deep/er/b"]
    seen = {name: (one.family, one.layout, one.native_px) for name, one in found.items()}
    assert seen == {
        "a": ("sd15", "file", 512),
        "c": ("sdxl", "folder", 1024),
        "deep/er/b": ("sdxl", "file", 1024),
    }
    assert not any(one.problem for one in found.values())
    assert found["deep/er/b"].label == "b"
    assert found["c"].size_bytes > 3_000_000_000


def test_folders_as_diffusers_writes_them(tmp_path: Path) -> None:
    save_tiny_sd(tmp_path / "tiny")
    save_tiny_sd(tmp_path / "as-the-builtin", tiny_vae=True, prediction="v_prediction")
    save_tiny_sdxl(tmp_path / "xl")
    found = {one.id: one for one in Catalog((tmp_path,)).all()}
    assert {name: one.family for name, one in found.items()} == {
        "as-the-builtin": "sd15",
        "tiny": "sd15",
        "xl": "sdxl",
    }
    assert {(one.problem, one.native_px, one.multiple_px) for one in found.values()} == {
        ("", 64, 8)
    }


PICKLES = ["x.ckpt", "x.pt", "x.pth", "x.bin"]


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_are_listed_and_never_opened(tmp_path: Path, name: str) -> None:
    """S01: a pickle that would run code on load stays what it is."""
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return os.mkdir, (str(marker),)

    (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    catalog = Catalog((tmp_path,))
    [found] = catalog.all()
    assert found.problem == f"Only .safetensors models can be used ({name} was not loaded)."
    assert "convert" in found.advice
    for called in (found.id, name):
        with pytest.raises(InvalidRequest, match="was not loaded") as caught:
            catalog.get(called)
        assert caught.value.field == "checkpoint" and not marker.exists()


def test_a_pickle_under_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(pickle.dumps(list(range(5000))))  # S02
    found = only(tmp_path)
    assert "not a valid safetensors file" in found.problem and found.family == ""


def test_broken_and_unknown_are_two_things(tmp_path: Path) -> None:
    whole = sparse(tmp_path / "broken.safetensors", "sd15-file")
    with whole.open("r+b") as file:
        file.truncate(whole.stat().st_size - 1000)
    sparse(tmp_path / "lora.safetensors", "none-lora-file")
    broken, lora = Catalog((tmp_path,)).all()
    assert broken.problem.startswith("The model file is damaged (size ")
    assert lora.problem == "'lora' is no checkpoint of a kind that the studio knows."
    assert "Stable Diffusion XL" in lora.advice


CODE = {
    "class of a module beside it (S04)": ("model_index.json", {"unet": ["my", "Evil"]}),
    "pipeline of its own (S04)": ("model_index.json", {"_class_name": ["pipeline", "Mine"]}),
    "scheduler of its own": ("model_index.json", {"scheduler": ["my_scheduler", "Mine"]}),
    "class that is a path": ("model_index.json", {"unet": ["diffusers", "../../x"]}),
    "auto_map (S05)": ("text_encoder/config.json", {"auto_map": {"AutoModel": "x.Evil"}}),
    "foreign attention (S05)": (
        "text_encoder/config.json",
        {"_attn_implementation": "evil/kernel"},
    ),
    "hidden attention (S05)": (
        "text_encoder/config.json",
        {"_attn_implementation_internal": "evil/kernel"},
    ),
    "nested auto_map (S05)": (
        "text_encoder/config.json",
        {"text_config": {"deep": [{"auto_map": {"AutoModel": "x.Evil"}}]}},
    ),
    "tokenizer auto_map (S05)": ("tokenizer/tokenizer_config.json", {"auto_map": {"A": ["x.B"]}}),
}


@pytest.mark.parametrize(("file", "entries"), CODE.values(), ids=CODE.keys())
def test_code_in_a_folder_is_refused(tmp_path: Path, file: str, entries: dict[str, object]) -> None:
    edit(folder(tmp_path / "x") / file, **entries)
    found = only(tmp_path)
    assert "contains custom code" in found.problem and "runs no code" in found.advice


@pytest.mark.parametrize("name", ["my.py", "unet/my.py", "unet/native.so"])
def test_code_files_are_refused(tmp_path: Path, name: str) -> None:
    (folder(tmp_path / "x") / name).write_text("raise SystemExit")
    assert "contains custom code" in only(tmp_path).problem


def test_parts_only_as_pickles_are_refused(tmp_path: Path) -> None:
    made = folder(tmp_path / "x")
    weights = made / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert only(tmp_path).problem == (
        "Only .safetensors models can be used (diffusion_pytorch_model.bin was not loaded)."
    )


INCOMPLETE = {
    "no config": lambda made: (made / "unet/config.json").unlink(),
    "no weights": lambda made: (made / "vae/diffusion_pytorch_model.safetensors").unlink(),
    "no scheduler": lambda made: (made / "scheduler/scheduler_config.json").unlink(),
    "index is a list": lambda made: (made / "model_index.json").write_text("[]"),
    "index is no JSON": lambda made: (made / "model_index.json").write_text("{"),
    "config is huge": lambda made: (made / "unet/config.json").write_text(" " * (2 << 20)),
    "no tokenizer": lambda made: edit(made / "model_index.json", tokenizer=[None, None]),
    "unknown class": lambda made: edit(made / "model_index.json", vae=["diffusers", "VQModel"]),
    "entry of three": lambda made: edit(made / "model_index.json", unet=["diffusers", "A", "B"]),
    "name is a path": lambda made: edit(made / "model_index.json", **{"../x": ["diffusers", "A"]}),
}


@pytest.mark.parametrize("breaks", INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_incomplete_folders_have_a_problem(tmp_path: Path, breaks: object) -> None:
    made = folder(tmp_path / "x")
    breaks(made)  # type: ignore[operator]
    found = only(tmp_path)
    assert found.problem.endswith(".") and found.advice and str(tmp_path) not in found.problem


def test_variants_and_shards_are_found(tmp_path: Path) -> None:
    made = folder(tmp_path / "x")
    vae = made / "vae" / "diffusion_pytorch_model.safetensors"
    vae.rename(vae.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert only(tmp_path).problem == ""
    unet = made / "unet" / "diffusion_pytorch_model.safetensors"
    unet.rename(unet.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"))
    assert "1 files are missing" in only(tmp_path).problem


def test_links_that_leave_the_folder_do_not_exist(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    sparse(outside / "secret.safetensors", "sd15-file")
    sparse(inside / "a.safetensors", "sd15-file")
    (inside / "b.safetensors").symlink_to(outside / "secret.safetensors")
    (inside / "c").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "same.safetensors").symlink_to(inside / "a.safetensors")
    assert [one.id for one in Catalog((inside,)).all()] == ["a", "same"]


NAMES = [
    "../x",
    "/etc/passwd",
    "..\\x",
    "%2e%2e%2f",
    "a\0b",
    "C:\\x",
    "\\\\srv\\s",
    "CON",
    "x" * 300,
    "a/../a",
    "./a",
    "A",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_an_asked_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    """S11, S15: the answer is the same, and no file is looked at for the name's sake."""
    sparse(tmp_path / "a.safetensors", "sd15-file")
    catalog = Catalog((tmp_path,))
    catalog.all()
    touched: list[str] = []
    listening = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event in {"open", "os.listdir", "os.scandir"}:
            touched.append(str(arguments[0]))

    sys.addaudithook(hook)
    with pytest.raises(InvalidRequest, match="There is no checkpoint") as caught:
        catalog.get(name)
    listening = False
    assert set(touched) <= {str(tmp_path)}
    assert caught.value.hint == "Choose one of a." and len(caught.value.message) < 120


def test_the_builtin_comes_first_and_is_the_default(tmp_path: Path) -> None:
    folder(tmp_path / "assets")
    sparse(tmp_path / "mine" / "a.safetensors", "sd15-file")
    catalog = Catalog((tmp_path / "mine", tmp_path / "missing"), builtin=tmp_path / "assets")
    assert [one.id for one in catalog.all()] == ["builtin", "a"]
    assert catalog.get(None).id == "builtin" and catalog.get("a").family == "sd15"
    assert Catalog((tmp_path / "mine",), builtin=tmp_path / "nothing").get(None).id == "a"


def test_without_any_the_answer_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"")
    with pytest.raises(Unavailable, match="no checkpoint that can be used") as caught:
        Catalog((tmp_path, tmp_path / "missing")).get(None)
    assert "checkpoint folder" in caught.value.hint


def test_of_what_invokeai_keeps_by_key_only_checkpoints_are_listed(tmp_path: Path) -> None:
    keys = [f"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f{digit}" for digit in range(3)]
    for key in keys:
        (tmp_path / key).mkdir()
    sparse(tmp_path / keys[0] / "a.safetensors", "sd15-file")
    sparse(tmp_path / keys[1] / "lora.safetensors", "none-lora-file")
    (tmp_path / keys[2]).rmdir()
    folder(tmp_path / keys[2], "sdxl-folder")
    found = Catalog((tmp_path,)).all()
    assert {one.id: one.family for one in found} == {"a": "sd15", keys[2]: "sdxl"}


def test_folders_that_invokeai_keeps_go_by_the_names_in_its_database(tmp_path: Path) -> None:
    models = tmp_path / "models"
    keys = [f"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f{digit}" for digit in range(3)]
    folder(models / keys[0], "sdxl-folder")
    folder(models / keys[1], "sdxl-folder")
    sparse(models / keys[2] / "diffusion_pytorch_model.safetensors", "sd15-file")
    names = {keys[0]: "Dream / XL", keys[1]: "", keys[2]: "Small"}
    database = name_in_database(tmp_path, names)
    before = sorted(database.parent.iterdir())
    found = {one.id for one in Catalog((models,)).all()}
    assert found == {"Dream _ XL", keys[1], "Small/diffusion_pytorch_model"}
    assert sorted(database.parent.iterdir()) == before
    database.write_bytes(b"no database")
    assert {one.id for one in Catalog((models,)).all()} >= {keys[0], keys[1]}


def test_two_that_invokeai_keeps_under_one_name_are_both_listed(tmp_path: Path) -> None:
    keys = [f"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f{digit}" for digit in range(2)]
    for key in keys:
        (tmp_path / key).mkdir()
        sparse(tmp_path / key / "a.safetensors", "sd15-file")
    assert [one.id for one in Catalog((tmp_path,)).all()] == [f"{keys[1]}/a", "a"]


def test_a_key_among_other_folders_hides_none(tmp_path: Path) -> None:
    (tmp_path / "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0").mkdir()
    (tmp_path / "mine").mkdir()
    sparse(tmp_path / "mine" / "a.safetensors", "sd15-file")
    assert [one.id for one in Catalog((tmp_path,)).all()] == ["mine/a"]


def test_ids_are_unique(tmp_path: Path) -> None:
    for name in ("x.ckpt", "x.pt"):
        (tmp_path / name).write_bytes(b"")
    sparse(tmp_path / "x.safetensors", "sd15-file")
    sparse(tmp_path / "second" / "x.safetensors", "sdxl-file")
    found = Catalog((tmp_path, tmp_path / "second")).all()
    assert {one.id: one.family for one in found} == {
        "second/x": "sdxl",
        "x": "sd15",
        "x.ckpt": "",
        "x.pt": "",
    }


def test_those_of_one_name_in_several_folders_are_all_listed_and_told_apart(tmp_path: Path) -> None:
    folders = tuple(tmp_path / name for name in ("mine", "comfy", "a1111"))
    for place in folders:
        sparse(place / "x.safetensors", "sd15-file")
        folder(place / "y")
    (folders[2] / "y" / "pochade.json").write_text(json.dumps({"label": "x"}))
    catalog = Catalog(folders)
    assert [(one.id, one.label) for one in catalog.all()] == [
        ("x", "x"),
        ("y", "y"),
        ("comfy/x", "comfy/x"),
        ("comfy/y", "comfy/y"),
        ("a1111/x", "a1111/x"),
        ("a1111/y", "x (a1111/y)"),
    ]
    assert catalog.get("x.safetensors").path.parent == folders[0]
    assert catalog.get("comfy/x").path.parent == folders[1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_what_is_no_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    assert Catalog((tmp_path,)).all() == ()


def test_changes_are_noticed_and_nothing_else_is_read_again(tmp_path: Path) -> None:
    file = sparse(tmp_path / "a.safetensors", "sd15-file")
    catalog = Catalog((tmp_path,))
    first = catalog.get("a")
    assert catalog.get("a") is catalog.get("a.safetensors") is first
    sparse(file, "sdxl-file")
    assert catalog.get("a").family == "sdxl"
    file.unlink()
    assert catalog.all() == ()


def test_asking_again_reads_no_contents(tmp_path: Path, monkeypatch) -> None:
    for number in range(200):
        safetensors(
            tmp_path / f"d{number % 10}" / f"{number}.safetensors", {"a": tensor(0, 1)}, b"x"
        )
    catalog = Catalog((tmp_path,))
    first = catalog.all()
    assert len(first) == 200
    monkeypatch.setattr("studio.checkpoints.catalog.inspect", None)
    assert all(again is known for again, known in zip(catalog.all(), first, strict=True))


def test_a_sidecar_changes_what_is_not_asked(tmp_path: Path) -> None:
    sparse(tmp_path / "a.safetensors", "sd15-file")
    noted = {"label": "Ink", "native_px": 768, "steps": 9, "guidance": 3, "sampler": "Euler a"}
    (tmp_path / "a.pochade.json").write_text(json.dumps(noted))
    found = only(tmp_path)
    assert (found.label, found.native_px, found.problem) == ("Ink", 768, "")
    assert (found.defaults.steps, found.defaults.guidance) == (9, 3.0)
    assert found.defaults.sampler == "euler_a"
    made = folder(tmp_path / "b")
    (made / "pochade.json").write_text('{"steps": 4}')
    assert Catalog((tmp_path,)).get("b").defaults.steps == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"steps": 10000}',
        '{"steps": "9"}',
        '{"guidance": NaN}',
        '{"sampler": "none such"}',
        '{"label": ""}',
        '{"path": "/etc/passwd"}',
        "{" + " " * 70_000 + "}",
    ],
)
def test_a_broken_sidecar_is_ignored(tmp_path: Path, text: str) -> None:
    sparse(tmp_path / "a.safetensors", "sd15-file")
    plain = only(tmp_path)
    (tmp_path / "a.pochade.json").write_text(text)
    assert only(tmp_path) == plain


class TestHubCache:
    """Hugging Face's cache: links into `blobs`, and things of every kind."""

    def cache(self, tmp_path: Path) -> Path:
        hub = tmp_path / "hub"
        made = folder(hub / "models--ann--fox" / "snapshots" / "abc")
        for number, file in enumerate(sorted(made.rglob("*.safetensors"))):
            blob = hub / "models--ann--fox" / "blobs" / str(number)
            blob.parent.mkdir(exist_ok=True)
            file.replace(blob)
            file.symlink_to(blob)
        single = sparse(tmp_path / "x.safetensors", "sdxl-file")
        place = hub / "models--bob--wolf" / "snapshots" / "def"
        place.mkdir(parents=True)
        single.replace(place / "wolf.safetensors")
        other = hub / "models--bob--wolf" / "snapshots" / "older"
        other.mkdir()
        (hub / "models--bob--wolf" / "refs").mkdir()
        (hub / "models--bob--wolf" / "refs" / "main").write_text("def")
        (hub / "models--eve--bert" / "snapshots" / "ghi").mkdir(parents=True)
        (hub / "models--eve--bert" / "snapshots" / "ghi" / "pytorch_model.bin").write_bytes(b"x")
        return hub

    def test_what_is_a_checkpoint_is_listed_by_its_repository(self, tmp_path: Path) -> None:
        found = Catalog((self.cache(tmp_path),)).all()
        assert [(entry.id, entry.family) for entry in found] == [
            ("ann/fox", "sd15"),
            ("bob/wolf/wolf", "sdxl"),
        ]

    def test_a_link_out_of_its_repository_is_no_part_of_it(self, tmp_path: Path) -> None:
        hub = self.cache(tmp_path)
        link = next(hub.rglob("unet/*.safetensors"))
        outside = link.resolve().rename(tmp_path / "outside")
        link.unlink()
        link.symlink_to(outside)
        assert [entry.id for entry in Catalog((hub,)).all()] == ["bob/wolf/wolf"]
