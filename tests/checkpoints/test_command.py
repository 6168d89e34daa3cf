"""The command `checkpoints`, as a person or a script calls it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from studio.cli import main
from studio.commands.exit_codes import BAD_INPUT, DAMAGED, OK, STOPPED
from tests.checkpoints.files import sparse
from tests.engine.gguf_files import q8_0, save_gguf


@pytest.fixture
def call(tmp_path, checkpoints, capsys, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))

    def run(*arguments: str) -> tuple[int, dict]:
        code = main(
            ["checkpoints", *arguments, "--json", "--data-dir", str(tmp_path / "data"),
             "--checkpoints", str(checkpoints)]
        )  # fmt: skip
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_checkpoint_goes_all_the_way_round(call, tmp_path: Path, capsys) -> None:
    code, told = call("convert", "tiny", "--to", "file", "--out", "single")
    assert code == OK and told["path"] == str(tmp_path / "data/checkpoints/single.safetensors")
    code, told = call("list")
    assert {"builtin", "tiny", "single"} <= {entry["id"] for entry in told["checkpoints"]}
    assert call()[1] == told
    code, told = call("inspect", "single")
    assert code == OK and told["family"] == "sd15" and told["parameters"] > 10_000
    assert len(told["hashes"]["single.safetensors"]["autov2"]) == 10
    code, told = call("merge", "single", "tiny", "--alpha", "0.5", "--out", "both")
    assert code == OK and told["only_first"] == []
    code, told = call("verify", "both")
    assert code == OK and told["checkpoints"][0]["sound"]
    assert main(["checkpoints", "--data-dir", str(tmp_path / "data"), "inspect", "both"]) == OK
    assert "AutoV3" in capsys.readouterr().out
    file = tmp_path / "data/checkpoints/both.safetensors"
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    code, told = call("verify", "both")
    assert code == DAMAGED and "not what they were" in told["checkpoints"][0]["problems"][0]


def test_what_is_there_is_only_replaced_where_it_is_said(call, tmp_path: Path) -> None:
    there = tmp_path / "data/checkpoints/mine.safetensors"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"mine")
    asked = ("convert", "tiny", "--to", "file", "--out", "mine")
    code, told = call(*asked)
    assert code == BAD_INPUT and told["error"] == {
        "message": "A file 'mine.safetensors' is there already.",
        "hint": "Choose another name with --out, or have it replaced with --force.",
        "field": "out",
    }
    assert there.read_bytes() == b"mine"
    assert call(*asked, "--force")[0] == OK


def test_a_denoiser_alone_is_unpacked(call, tmp_path: Path) -> None:
    """Without what it would paint with, which is only needed for a folder."""
    rows = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    data, values = q8_0(rows)
    tensors = {
        name: ("F32", shape, np.ones(shape, np.float32).tobytes()) for name, shape in FLUX.items()
    }
    tensors["img_in.weight"] = ("Q8_0", (64, 64), data)
    (tmp_path / "data/checkpoints").mkdir(parents=True)
    save_gguf(tensors, tmp_path / "data/checkpoints/small.gguf")
    code, told = call("convert", "small", "--to", "folder", "--dtype", "fp32")
    assert code == BAD_INPUT and "without ae.safetensors" in told["error"]["message"]
    code, told = call("convert", "small", "--to", "file", "--dtype", "fp32", "--out", "plain")
    assert code == OK
    assert np.array_equal(load_file(told["path"])["img_in.weight"], values)


FLUX = {
    "img_in.weight": (64, 64),
    "txt_in.weight": (64, 32),
    "vector_in.in_layer.weight": (64, 32),
    "guidance_in.in_layer.weight": (64, 32),
    "final_layer.linear.weight": (64, 64),
    "double_blocks.0.img_attn.norm.query_norm.scale": (16,),
}
"""As much of a denoiser as tells what it is."""


def test_damage_has_an_exit_code_of_its_own(call, tmp_path) -> None:
    shelf = tmp_path / "data/checkpoints"
    shelf.mkdir(parents=True)
    (shelf / "broken.safetensors").write_bytes((100).to_bytes(8, "little") + b"{" * 20)
    for arguments in (
        ("convert", "broken", "--to", "folder"),
        ("merge", "tiny", "broken", "--alpha", "0.5", "--out", "x"),
    ):
        code, told = call(*arguments)
        assert code == DAMAGED and "is damaged" in told["error"]["message"]
    assert call("inspect", "broken")[0] == DAMAGED


@pytest.mark.skipif(os.name != "posix", reason="there are no signals")
def test_a_process_that_is_asked_to_end_leaves_nothing_half_written(tmp_path) -> None:
    shelf = tmp_path / "checkpoints"
    sparse(shelf / "large.safetensors", "sd15-file", dtype="F16")
    line = "import sys; from studio.cli import main; sys.exit(main(sys.argv[1:]))"
    asked = ("convert", "large", "--to", "folder", "--out", "new", "--data-dir", str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", line, "checkpoints", *asked])
    end = time.monotonic() + 60
    while not list(shelf.glob(".tmp-*")) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == STOPPED
    assert [path.name for path in shelf.iterdir()] == ["large.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("inspect", "../../etc/passwd"), "There is no checkpoint"),
        (("convert", "tiny", "--to", "folder"), "is a folder already"),
        (("convert", "tiny", "--to", "file", "--out", ".."), "is no name for a checkpoint"),
        (("merge", "tiny", "--alpha", "0.5", "--out", "x"), "takes two checkpoints"),
        (("merge", "tiny", "tiny", "--alpha", "7", "--out", "x"), "Alpha must be"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(call, arguments, said) -> None:
    code, told = call(*arguments)
    assert code == BAD_INPUT
    assert said in told["error"]["message"]
