"""The command `checkpoints`, as a person or a script calls it."""

import json
from pathlib import Path

import pytest

from studio.cli import main
from studio.commands.exit_codes import BAD_INPUT, DAMAGED, OK


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
