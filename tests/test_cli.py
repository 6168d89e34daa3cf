"""The command line: what it accepts, what it prints, and what it ends with."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from PIL import Image

from studio.app import compose
from studio.cli import main, parser
from studio.client import Inside
from studio.commands import generate
from studio.commands.exit_codes import (
    BAD_INPUT,
    DAMAGED,
    DATA_DIR_UNUSABLE,
    NOT_PAINTED,
    exit_code,
)
from studio.commands.generate import (
    named_files,
    request_fields,
    save,
    set_fields,
    size,
    with_refs,
)
from studio.commands.serve import Addresses, Keys, listening, network_addresses, welcome
from studio.core.errors import InvalidRequest, StudioError
from studio.datadir import announce, claim
from studio.settings import Settings
from tests.serving import ROOT, Server

TINY = ("--size", "64x64", "--steps", "2", "--checkpoint", "tiny")


def run(*arguments: str, before=(), **options) -> subprocess.CompletedProcess[str]:
    """`before` are flags of Python's own."""
    command = [sys.executable, *before, "-P", "-m", "studio.cli", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, env=env, check=False, timeout=120, **options
    )


def options(*arguments: str) -> dict:
    return vars(parser().parse_args(["generate", *arguments]))


class TestArguments:
    def test_help_loads_nothing_slow_and_tells_the_exit_codes(self) -> None:
        told = run("--help", before=("-X", "importtime"))
        assert told.returncode == 0
        assert "130  stopped with Ctrl+C" in told.stdout
        loaded = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
        assert "argparse" in loaded
        assert not loaded & {"torch", "gradio", "fastapi", "pydantic", "numpy", "PIL.Image"}

    def test_flags_become_the_fields_of_a_request(self) -> None:
        given = options(
            "a fox", "--count", "4", "--seed", "-1", "--size", "512x768", "--steps", "20",
            "--guidance", "7.5", "--sampler", "Euler a", "--negative", "rain",
        )  # fmt: skip
        assert request_fields(given) == {
            "prompt": "a fox",
            "count": 4,
            "seed": -1,
            "width": 512,
            "height": 768,
            "steps": 20,
            "guidance": 7.5,
            "sampler": "Euler a",
            "negative_prompt": "rain",
        }
        assert request_fields(options("a fox")) == {"prompt": "a fox"}

    def test_any_field_can_be_set_and_files_become_refs(self) -> None:
        given = options(
            "--task", "control", "--set", "strength=0.5", "--set", "image=@a.png", "--set",
            'units=[{"kind": "pose", "map": "@b.png"}, {"image": "@a.png"}]', "--set", "sampler=Euler a",
        )  # fmt: skip
        assert request_fields(given) == {}
        fields = set_fields(given)
        assert (fields["strength"], fields["sampler"]) == (0.5, "Euler a")
        assert sorted(named_files(fields)) == ["a.png", "a.png", "b.png"]
        found = with_refs(fields, {"a.png": "A", "b.png": "B"})
        assert found["image"] == "A"
        assert found["units"] == [{"kind": "pose", "map": "B"}, {"image": "A"}]

    def test_what_is_set_of_a_text_is_text(self) -> None:
        said = ("checkpoint=1234", "negative_prompt=true", "prompt=[fog]", 'sampler="Euler a"',
                "vae=null", "steps=7", "loras=[]")  # fmt: skip
        given = options("--task", "img2img", *(one for text in said for one in ("--set", text)))
        assert set_fields(given) == {
            "checkpoint": "1234",
            "negative_prompt": "true",
            "prompt": "[fog]",
            "sampler": "Euler a",
            "vae": None,
            "steps": 7,
            "loras": [],
        }
        assert set_fields(options("--task", "none", "--set", "prompt=7")) == {"prompt": 7}

    def test_words_that_begin_with_an_at_sign_are_no_file(self, tmp_path, monkeypatch) -> None:
        asked: list[dict] = []
        monkeypatch.setattr(generate, "door", lambda settings: nullcontext(None))
        monkeypatch.setattr(
            generate._Run, "paint", lambda run, task, fields: asked.append(fields) or 0
        )
        given = ("generate", "--data-dir", str(tmp_path), "--out", str(tmp_path))
        assert main([*given, "@noon, a fox", "--negative", "@"]) == 0
        assert main([*given, "--set", "prompt=a fox"]) == 0
        assert asked == [{"prompt": "@noon, a fox", "negative_prompt": "@"}, {"prompt": "a fox"}]

    @pytest.mark.parametrize("text", ["256x256", "256X256", "256×256"])
    def test_a_size_can_be_written_in_several_ways(self, text: str) -> None:
        assert size(text) == (256, 256)

    @pytest.mark.parametrize("text", ["256", "x", "256x", "1x2x3", "axb", ""])
    def test_a_wrong_size_is_a_sentence(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match="Size must be width and height"):
            size(text)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["generate"], "required: prompt"),
            (["generate", "x", "--nonsense"], "Unrecognized arguments: --nonsense"),
            (["nonsense"], "invalid choice"),
            (["--port", "0"], "--port must be a whole number between 1 and 65535"),
            (["generate", "x", "--count", "many"], "Count must be a whole number (got 'many')"),
            (["generate", "x", "--guidance", "high"], "Guidance must be a number"),
            (["generate", "x", "--size", "big"], "Size must be width and height"),
            (["generate", "x", "--set", "strength"], "--set must be of the form name=value"),
            (["generate", "x", "--set", "image=@none.png"], "'none.png' cannot be read"),
            (["generate", "x", "--set", "image=@~nouser/x"], "no home folder for '~nouser'"),
            (["generate", "x", "--out", "~nouser/x"], "no home folder for '~nouser'"),
            (["generate", "x", "--set", "task=upscale"], "The task is no field of a request"),
            (["serve", "--auth", "nobody"], "--auth must be of the form name:password"),
            (["bench", "nonsense"], "no measurement called 'nonsense'"),
        ],
    )
    def test_a_wrong_one_is_two_lines_and_exit_code_2(
        self, tmp_path, monkeypatch, capsys, arguments, said
    ) -> None:
        monkeypatch.chdir(tmp_path)
        try:
            code = main(arguments)
        except SystemExit as ended:  # as argparse does
            code = ended.code
        told = capsys.readouterr()
        assert code == BAD_INPUT, told.err
        assert said in told.err
        assert len(told.err.strip().splitlines()) == 2
        assert told.out == ""

    def test_a_process_ends_with_that_code(self, tmp_path) -> None:
        done = run("generate", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (BAD_INPUT, "")
        assert len(done.stderr.strip().splitlines()) == 2

    def test_every_error_has_its_exit_code(self) -> None:
        def kinds(kind: type[StudioError]):
            yield kind
            for below in kind.__subclasses__():
                yield from kinds(below)

        codes = {kind.__name__: exit_code(kind.status) for kind in kinds(StudioError)}
        assert codes["InvalidRequest"] == codes["TooLarge"] == BAD_INPUT
        assert codes["StorageFailed"] == codes["DataDirInUse"] == DATA_DIR_UNUSABLE
        assert codes["Unavailable"] == codes["Busy"] == NOT_PAINTED
        assert codes["Unusable"] == DAMAGED
        assert set(codes.values()) == {BAD_INPUT, DATA_DIR_UNUSABLE, NOT_PAINTED, DAMAGED}

    def test_a_damaged_checkpoint_is_exit_code_5(self, tmp_path, monkeypatch, capsys) -> None:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints/torn.safetensors").write_bytes(b"\x40" + bytes(7) + b'{"a"')
        studio = compose(Settings(data_dir=tmp_path, device="cpu")).studio
        monkeypatch.setattr(generate, "door", lambda settings: nullcontext(Inside(studio)))
        given = ["generate", "a fox", "--out", str(tmp_path), "--checkpoint"]
        assert main([*given, "torn"]) == DAMAGED
        told = capsys.readouterr().err
        assert "damaged" in told and len(told.strip().splitlines()) == 2
        assert main([*given, "gone"]) == BAD_INPUT


class TestSaving:
    def test_a_file_is_there_as_a_whole(self, tmp_path: Path) -> None:
        assert save(tmp_path, "a.png", b"all of it").read_bytes() == b"all of it"
        assert [file.name for file in tmp_path.iterdir()] == ["a.png"]

    def test_a_full_disk_leaves_nothing_half(self, tmp_path: Path) -> None:
        script = (
            "import resource, signal, sys; from pathlib import Path\n"
            "from studio.commands.generate import save\n"
            "from studio.core.errors import StorageFailed\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "try:\n    save(Path(sys.argv[1]), 'a.png', bytes(5000))\n"
            "except StorageFailed as failed:\n    print(failed.hint)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "safe in the gallery" in done.stdout
        assert list(tmp_path.iterdir()) == []


class TestServing:
    def settings(self, tmp_path: Path, **given) -> Settings:
        return Settings(data_dir=tmp_path, **given)

    def test_a_taken_port_is_said_and_the_next_one_used(self, tmp_path: Path, capsys) -> None:
        with listening(self.settings(tmp_path, port=42_000)) as first:
            port = first.getsockname()[1]
            with listening(self.settings(tmp_path, port=port)) as second:
                assert second.getsockname()[1] == port + 1
        assert f"Port {port} is taken; using {port + 1}." in capsys.readouterr().out

    @pytest.mark.parametrize("host", ["192.0.2.77", "no-such-host.invalid"])
    def test_an_address_that_is_not_ours_is_a_sentence(self, tmp_path: Path, host: str) -> None:
        opened = pytest.raises(InvalidRequest, match=f"cannot listen on {host}")
        with opened, listening(self.settings(tmp_path, host=host)):
            pass

    @pytest.mark.parametrize(
        ("given", "link", "said"),
        [
            ({}, False, "Pochade"),
            ({"listen": True}, True, "One-time link: http://10.0.0.7:7860/enter?token="),
            (
                {"listen": True, "auth": (("ann", "a long password"),)},
                False,
                "These may log in: ann.",
            ),
            ({"listen": True, "public": True}, False, "Anybody who can reach it may use it"),
        ],
    )
    def test_what_is_printed_at_the_start(self, tmp_path, given, link, said) -> None:
        settings = self.settings(tmp_path, **given)
        keys = Keys.for_(settings)
        addresses = Addresses("http://127.0.0.1:7860", ("http://10.0.0.7:7860",))
        told = welcome(addresses, settings, keys)
        assert said in told
        assert ("token=" in told) == link == bool(keys.own or keys.guests)
        assert keys.local not in told
        assert "a long password" not in told
        # the browser on this machine has a token of its own, so the printed one stays good
        assert not keys.opened or keys.opened not in told

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        settings = self.settings(tmp_path, models_dirs=(tmp_path / "a1111", tmp_path))
        told = welcome(Addresses("http://127.0.0.1:7860", ()), settings, Keys.for_(settings))
        assert f"There is no folder {tmp_path / 'a1111'} yet" in told
        assert told.count("There is no folder") == 1

    def test_no_two_starts_share_a_secret(self, tmp_path: Path) -> None:
        one, two = (Keys.for_(self.settings(tmp_path, listen=True)) for _ in range(2))
        assert len({one.local, one.printed, one.opened, two.local, two.printed, two.opened}) == 6

    def test_addresses_of_every_interface(self) -> None:
        assert Addresses.of("127.0.0.1", 1) == Addresses("http://127.0.0.1:1")
        assert Addresses.of("::1", 1) == Addresses("http://[::1]:1")
        assert Addresses.of("0.0.0.0", 1).here == "http://127.0.0.1:1"
        assert Addresses.of("10.1.2.3", 1).network == ("http://10.1.2.3:1",)
        assert "127.0.0.1" not in network_addresses()


@pytest.mark.slow
def test_S41_beyond_loopback_the_printed_link_lets_one_browser_in(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", flags=("--listen",))
    with server, server.client() as stranger, server.client() as guest:
        assert stranger.get("/api/jobs").status_code == 401
        printed = server.log.read_text()
        token = printed.partition("/enter?token=")[2].split()[0]
        entered = guest.post("/enter", data={"token": token})
        assert entered.status_code == 303, printed
        assert guest.get("/api/jobs").status_code == 200
        assert guest.get("/").status_code == 200
        assert stranger.get(f"/enter?token={token}").status_code == 410
        assert stranger.get("/api/jobs").status_code == 401
        wrong = {"X-Pochade-Local": "guessed"}
        assert stranger.get("/api/jobs", headers=wrong).status_code == 401
    assert server.process.returncode == 0
    assert server.log.read_text().endswith("Stopped.\n")
    assert not (server.data_dir / ".server.json").exists()


def test_a_data_folder_in_use_is_exit_code_3(tmp_path: Path) -> None:
    with claim(tmp_path, "serve"):
        done = run("serve", "--no-open", "--data-dir", str(tmp_path))
    assert done.returncode == DATA_DIR_UNUSABLE
    assert f"already used by process {os.getpid()}." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_used_is_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("serve", "--no-open", "--data-dir", str(tmp_path / "file"))
    assert done.returncode == DATA_DIR_UNUSABLE
    assert str(tmp_path) not in done.stderr


def test_a_server_that_does_not_answer_is_a_sentence(tmp_path: Path, capsys) -> None:
    with claim(tmp_path, "serve"):
        announce(tmp_path, "http://127.0.0.1:9", "secret")
        code = main(["generate", "a fox", "--data-dir", str(tmp_path), "--out", str(tmp_path)])
    assert code == NOT_PAINTED
    assert "does not answer" in capsys.readouterr().err


def test_checkpoints_are_listed(tmp_path: Path, checkpoints: Path) -> None:
    flags = ("--data-dir", str(tmp_path), "--checkpoints", str(checkpoints))
    listed = json.loads(run("checkpoints", "--json", *flags).stdout)["checkpoints"]
    assert "tiny" in {entry["id"] for entry in listed}
    assert "tiny" in run("checkpoints", *flags).stdout


class TestGenerate:
    """The real engine, in this process or in the server that already runs."""

    def test_it_makes_files_without_a_server(self, tmp_path: Path, checkpoints: Path) -> None:
        out = tmp_path / "out"
        done = run(
            "generate", "a fox", "--count", "2", "--seed", "7", "--json", *TINY,
            "--data-dir", str(tmp_path / "data"), "--checkpoints", str(checkpoints),
            "--out", str(out),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["state"] == "finished"
        assert [image["seed"] for image in told["images"]] == [7, 8]
        assert all(image["seconds"] > 0 for image in told["images"])
        files = {Path(image["file"]) for image in told["images"]}
        assert files == set(out.iterdir())
        kept = {file.name: file for file in (tmp_path / "data" / "pictures").rglob("*.png")}
        assert {file.name for file in files} == set(kept)
        assert all(file.read_bytes() == kept[file.name].read_bytes() for file in files)

    @pytest.mark.slow
    def test_it_makes_maps_too(self, tmp_path: Path) -> None:
        Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / "photo.png")
        done = run(
            "generate", "--task", "preprocess", "--set", "image=@photo.png", "--set",
            "preprocessor=xdog", "--data-dir", "data", "--out", "out", cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (file,) = (tmp_path / "out").iterdir()
        assert "seed" not in done.stdout
        with Image.open(file) as made:
            assert made.size == (64, 64) and '"xdog"' in made.info["pochade"]
        done = run(
            "generate", "--task", "preprocess", "--set", "image=@photo.png", "--set",
            "preprocessor=hed", "--data-dir", "data", "--out", "out", cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == BAD_INPUT and "weights of HED" in done.stderr

    @pytest.mark.slow
    def test_it_asks_the_server_that_runs(self, tmp_path: Path, checkpoints: Path) -> None:
        flags = ("--checkpoints", str(checkpoints), "--auth", "ann:secret")
        with Server(tmp_path / "data", flags=flags) as server:
            done = run(
                "generate", "a fox", "--seed", "3", *TINY,
                "--data-dir", str(server.data_dir), "--out", str(tmp_path / "out"),
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            (file,) = (tmp_path / "out").iterdir()
            assert f"{file}  seed 3" in done.stdout
            assert [kept.name for kept in server.data_dir.rglob("*.png")] == [file.name]
            wrong = run("generate", "a fox", "--steps", "0", "--data-dir", str(server.data_dir))
            assert wrong.returncode == BAD_INPUT
            assert "Steps must be a whole number between" in wrong.stderr
            with server.client(auth=("ann", "secret")) as ann:
                assert ann.get("/api/images").json()["images"] == []

    @pytest.mark.slow
    def test_ctrl_c_cancels_the_job_and_keeps_what_is_done(
        self, tmp_path: Path, checkpoints: Path
    ) -> None:
        out = tmp_path / "out"
        command = [
            sys.executable, "-P", "-m", "studio.cli", "generate", "a fox", "--count", "32",
            "--size", "64x64", "--steps", "100", "--checkpoint", "tiny", "--out", str(out),
            "--data-dir", str(tmp_path / "data"), "--checkpoints", str(checkpoints),
        ]  # fmt: skip
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert "seed" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 130, said
        assert "Stopped." in said
        assert "Traceback" not in said
        kept = {file.name for file in (tmp_path / "data" / "pictures").rglob("*.png")}
        assert {file.name for file in out.iterdir()} == kept
        assert 1 <= len(kept) < 32

    def test_a_wrong_request_is_said_and_nothing_is_made(
        self, tmp_path: Path, checkpoints: Path
    ) -> None:
        done = run(
            "generate", "a fox", "--steps", "0", "--json", "--out", str(tmp_path / "out"),
            "--data-dir", str(tmp_path / "data"), "--checkpoints", str(checkpoints),
        )  # fmt: skip
        assert done.returncode == BAD_INPUT
        assert json.loads(done.stdout)["error"]["field"] == "steps"
        assert list((tmp_path / "out").iterdir()) == []
