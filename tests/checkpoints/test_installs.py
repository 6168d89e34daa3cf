"""Installing, from a real server on this machine with the faults of the internet."""

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.checkpoints import fetch as fetching
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.facts import verify
from studio.checkpoints.fetch import Manners, Remote, Stopped, fetch, look
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.header import readable
from studio.checkpoints.install import File, Plan, plan, safe_name
from studio.checkpoints.installs import Install, Installs
from studio.checkpoints.streams import MARGIN
from studio.cli import main
from studio.commands import checkpoints as command
from studio.commands.exit_codes import BAD_INPUT, OK
from studio.core.errors import (
    Busy,
    InvalidRequest,
    Refused,
    StorageFailed,
    StudioError,
    Unavailable,
)
from studio.core.layouts import Kind
from studio.families._published import CLIP_L, FLUX_VAE, T5_XXL
from tests.checkpoints.files import denoiser_alone, sparse, sparse_of, tensor
from tests.checkpoints.files import safetensors as written
from tests.checkpoints.web import Web, serving
from tests.engine.gguf_files import save_gguf

HASTY = Manners(stall_s=0.3, tries=3, pause_s=0.01)


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web()) as found:
        yield found


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A safetensors file of 3 MB that is nothing in particular."""
    size = 3_000_000
    file = tmp_path_factory.mktemp("weights") / "a.safetensors"
    data = bytes(range(256)) * (size // 256 + 1)
    return written(file, {"x": tensor(0, size)}, data[:size]).read_bytes()


@pytest.fixture(scope="session")
def tiny(checkpoints: Path) -> bytes:
    """A checkpoint as a single file."""
    from studio.checkpoints.convert import convert
    from studio.paths import CONFIGS

    file = checkpoints.parent / "tiny.safetensors"
    if not file.exists():
        convert(Catalog((checkpoints,)).get("tiny"), "file", file, configs=CONFIGS)
    return file.read_bytes()


@pytest.fixture
def hub(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", web.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return web


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class TestFetch:
    def get(self, web: Web, part: Path, **options) -> str:
        return fetch(look(f"{web.url}/a.safetensors"), part, manners=HASTY, **options)

    def test_it_arrives_whole_and_tells_its_hash(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"], seen = weights, []
        assert self.get(web, tmp_path / "p", progress=seen.append) == sha(weights)
        assert (tmp_path / "p").read_bytes() == weights
        assert seen == sorted(seen) and seen[-1] == len(weights)

    def test_a_broken_connection_goes_on_where_it_broke(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"], web.cut_after = weights, 1_500_000
        assert self.get(web, tmp_path / "p") == sha(weights)
        ranges = [asked for _, asked in web.answers[1:]]
        assert ranges[0] == "" and all(asked.startswith("bytes=1") for asked in ranges[1:2])

    def test_a_stall_is_noticed(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"] = weights
        remote = look(f"{web.url}/a.safetensors")
        web.stall_after = 1_200_000
        assert fetch(remote, tmp_path / "p", manners=HASTY) == sha(weights)

    def test_a_drip_is_no_progress(self, web, weights, tmp_path) -> None:
        """By a clock on which ten seconds pass with every byte."""
        data = weights[:3_000]
        web.files["a.safetensors"] = data
        remote, clock = look(f"{web.url}/a.safetensors"), itertools.count(0, 10)
        web.drips = 1_000
        manners = replace(HASTY, stall_s=30, clock=lambda: next(clock))
        with pytest.raises(Unavailable, match="sends next to nothing after") as caught:
            fetch(remote, tmp_path / "p", manners=manners)
        assert "kept" in caught.value.hint and len(web.answers) == 1 + HASTY.tries
        kept = (tmp_path / "p").stat().st_size
        assert 0 < kept < len(data)
        web.drips = 0
        assert fetch(remote, tmp_path / "p", manners=HASTY) == sha(data)
        assert web.answers[-1][1] == f"bytes={kept}-"

    def test_headers_without_end_are_not_followed(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"] = weights
        remote = look(f"{web.url}/a.safetensors")
        web.endless_head, short = True, replace(HASTY, answer_s=0.2)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="cannot be reached"):
            look(f"{web.url}/a.safetensors", manners=short)
        with pytest.raises(Unavailable, match="sends next to nothing after 0 bytes"):
            fetch(remote, tmp_path / "p", manners=short)
        assert time.monotonic() - began < 20
        web.endless_head = False
        assert fetch(remote, tmp_path / "p", manners=HASTY) == sha(weights)
        assert len(web.answers) == 2 + HASTY.tries + 1

    def test_slow_is_not_dripping(self) -> None:
        now = [0.0]
        pace = fetching._Pace(replace(HASTY, stall_s=30, least_bytes=100, clock=lambda: now[0]))
        for now[0] in range(0, 290, 29):
            pace.more(100)
        for now[0] in (270, 280, 290):
            pace.more(30)
        now[0] = 291
        with pytest.raises(fetching._Drips):
            pace.more(9)

    def test_connections_that_all_break_at_once_are_no_progress(
        self, web, weights, tmp_path
    ) -> None:
        web.files["a.safetensors"] = weights[:400]
        remote = look(f"{web.url}/a.safetensors")
        web.cut_after = 10
        with pytest.raises(Unavailable, match="connection broke after 30 bytes"):
            fetch(remote, tmp_path / "p", manners=HASTY)
        assert len(web.answers) == 1 + HASTY.tries

    def test_stopping_keeps_what_has_arrived(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"], done = weights, []
        with pytest.raises(Stopped):
            self.get(web, tmp_path / "p", progress=done.append, stopped=lambda: len(done) > 0)
        kept = (tmp_path / "p").stat().st_size
        assert 0 < kept < len(weights)
        assert self.get(web, tmp_path / "p") == sha(weights)
        assert web.answers[-1][1] == f"bytes={kept}-"

    def test_a_server_without_ranges_begins_again(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"], web.ranges, done = weights, False, []
        with pytest.raises(Stopped):
            self.get(web, tmp_path / "p", progress=done.append, stopped=lambda: len(done) > 0)
        assert self.get(web, tmp_path / "p") == sha(weights)
        assert (tmp_path / "p").read_bytes() == weights
        web.cut_after = 1_000_000
        with pytest.raises(Unavailable, match="connection broke"):
            self.get(web, tmp_path / "q")

    def test_another_file_under_the_name_is_not_mixed_in(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"], done = weights, []
        remote = look(f"{web.url}/a.safetensors")
        with pytest.raises(Stopped):
            fetch(remote, tmp_path / "p", progress=done.append, stopped=lambda: len(done) > 0)
        web.files["a.safetensors"] = weights[:-1] + b"!"
        with pytest.raises(InvalidRequest, match="is another one than it was"):
            fetch(remote, tmp_path / "p", manners=HASTY)
        assert list(tmp_path.iterdir()) == []
        assert self.get(web, tmp_path / "p") == sha(weights[:-1] + b"!")

    def test_a_wrong_hash_leaves_nothing(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"] = weights
        with pytest.raises(InvalidRequest, match="checksum does not match"):
            self.get(web, tmp_path / "p", sha256="0" * 64)
        assert list(tmp_path.iterdir()) == []

    def test_a_wrong_length_is_no_file(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"], web.announce, web.ranges = weights, 100, False
        with pytest.raises(Unavailable, match="connection broke"):
            self.get(web, tmp_path / "p")
        web.announce = 0
        remote = look(f"{web.url}/a.safetensors")
        short = Remote(url=remote.url, size_bytes=len(weights) - 5, name="a", tag=remote.tag)
        with pytest.raises(InvalidRequest, match="another one than it was"):
            fetch(short, tmp_path / "q", manners=HASTY)
        assert not (tmp_path / "q").exists()

    def test_what_is_no_safetensors_file_is_refused_at_once(self, web, tmp_path) -> None:
        web.files["a.safetensors"] = b"<html>" * 1_000_000
        with pytest.raises(InvalidRequest, match="no safetensors file"):
            self.get(web, tmp_path / "a.safetensors.part")
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_is_seen_before(self, web, weights, tmp_path, monkeypatch) -> None:
        web.files["a.safetensors"] = weights
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
        with pytest.raises(StorageFailed, match="not enough room"):
            self.get(web, tmp_path / "p")
        assert list(tmp_path.iterdir()) == []


class TestWhere:
    def test_redirects_are_followed_a_few_times(self, web, weights, tmp_path) -> None:
        web.files["a.safetensors"] = weights
        web.redirects = {"one": "/two", "two": f"{web.url}/a.safetensors"}
        remote = look(f"{web.url}/one")
        assert fetch(remote, tmp_path / "p", manners=HASTY) == sha(weights)

    def test_a_circle_of_them_ends(self, web) -> None:
        web.redirects = {"one": "/two", "two": "/one"}
        with pytest.raises(Unavailable, match="without end"):
            look(f"{web.url}/one")
        assert len(web.answers) == fetching.REDIRECTS + 1

    @pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", "gopher://x", ""])
    def test_they_lead_to_nothing_but_http(self, web, target) -> None:
        web.redirects = {"one": target} if target else {"one": "javascript:x"}
        with pytest.raises(InvalidRequest, match="no address"):
            look(f"{web.url}/one")

    def test_the_internet_does_not_lead_into_the_house(self, web, monkeypatch) -> None:
        """A name that is on the internet when the address is looked at, and here after it."""
        web.redirects = {"one": f"{web.url}/two"}
        web.files["two"] = b"secret"
        answers = iter([False, True])
        monkeypatch.setattr(fetching, "is_private", lambda host: next(answers))
        with pytest.raises(Refused, match="cannot be used"):
            look(f"{web.url}/one")
        assert [path for path, _ in web.answers] == ["one"]

    def test_the_address_that_was_looked_at_is_the_one_that_is_asked(
        self, web, weights, tmp_path, monkeypatch
    ) -> None:
        """A name that leads here when it is looked at, and elsewhere right after."""
        web.files["a.safetensors"] = weights
        real, looked = socket.getaddrinfo, list[str]()

        def once(host: str, *rest: object, **more: object) -> object:
            if host == "localhost":
                looked.append(host)
                assert len(looked) % 2, "the name was asked for again"
                return real("127.0.0.1", *rest, **more)
            assert host == "127.0.0.1", host
            return real(host, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", once)
        url = f"{web.url.replace('127.0.0.1', 'localhost')}/a.safetensors"
        remote = look(url)
        assert len(looked) == 1 and remote.size_bytes == len(weights)
        looked.clear()
        assert fetch(remote, tmp_path / "p", manners=HASTY) == sha(weights)

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254", "10.0.0.8",
         "192.168.1.1", "2130706433", "0x7f000001", "[fe80::1]", "[::ffff:127.0.0.1]"],
    )  # fmt: skip
    def test_who_is_not_at_this_machine_reaches_nothing_in_it(self, host) -> None:
        guest = Manners(private=False, stall_s=0.5, tries=1)
        with pytest.raises(Refused, match="cannot be used"):
            look(f"https://{host}/a.safetensors", manners=guest)

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("http://example.org/a.safetensors", "only fetched over https"),
            ("file:///etc/passwd", "no address"),
            ("https://user:pass@example.org/a.safetensors", "no address"),
            ("https:///a", "no address"),
            ("https://[bad/a", "no address"),
        ],
    )
    def test_other_addresses_are_refused(self, url, said) -> None:
        with pytest.raises(InvalidRequest, match=said):
            look(url)

    @pytest.mark.parametrize(("code", "said"), [(404, "no such file"), (403, "whom it knows")])
    def test_what_the_server_refuses_is_said(self, web, code, said, monkeypatch) -> None:
        from tests.checkpoints import web as served

        monkeypatch.setattr(
            served, "answer", lambda to, _: served.head(to, code, {"Content-Length": "0"})
        )
        with pytest.raises(InvalidRequest, match=said):
            look(f"{web.url}/a.safetensors")

    def test_a_size_that_is_not_told_is_a_sentence(self, web, weights) -> None:
        web.files["a.safetensors"], web.silent_size = weights, True
        with pytest.raises(InvalidRequest, match="does not say how large"):
            look(f"{web.url}/a.safetensors")

    def test_no_network_is_one_sentence(self) -> None:
        with pytest.raises(Unavailable, match="cannot be reached"):
            look("http://127.0.0.1:9/a.safetensors", manners=HASTY)


class TestPlan:
    def test_of_an_address(self, web, weights) -> None:
        web.files["x/My Model (v2).safetensors"] = weights
        found = plan(f"{web.url}/x/My%20Model%20(v2).safetensors")
        assert (found.name, found.size_bytes) == ("My Model _v2", len(weights))

    @pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.bin", "a.pth", "a.zip"])
    def test_pickles_are_refused(self, web, name) -> None:
        web.files[name] = b"x" * 100
        with pytest.raises(InvalidRequest, match=r"Only \.safetensors"):
            plan(f"{web.url}/{name}")

    def test_of_a_repository_in_diffusers_layout(self, hub, checkpoints) -> None:
        files = {
            file.relative_to(checkpoints / "tiny").as_posix(): file.read_bytes()
            for file in (checkpoints / "tiny").rglob("*")
            if file.is_file()
        }
        half = {
            name.replace(".safetensors", ".fp16.safetensors"): data
            for name, data in files.items() if name.startswith("unet/") and "safe" in name
        }  # fmt: skip
        extra = {"unet/evil.py": b"x", "unet/old.bin": b"x", "README.md": b"x",
                 "elsewhere/diffusion_pytorch_model.safetensors": b"x" * 99,
                 "whole.safetensors": b"x" * 99}  # fmt: skip
        hub.repos["ann/fox"] = {**files, **half, **extra}
        found = plan("ann/fox")
        assert found.is_folder and found.name == "fox" and found.licence == "apache-2.0"
        named = {file.path for file in found.files}
        assert "unet/diffusion_pytorch_model.fp16.safetensors" in named
        assert not named & (extra.keys() | {"unet/diffusion_pytorch_model.safetensors"})
        assert all(file.sha256 for file in found.files if file.path.endswith(".safetensors"))
        for other in (f"{hub.url}/ann/fox", f"{hub.url}/ann/fox/tree/main"):
            assert plan(other).files == found.files

    def test_a_kind_that_is_not_known_is_refused_before_anything_large(self, hub) -> None:
        hub.repos["ann/video"] = {"model_index.json": b'{"_class_name": "VideoPipeline", "x": []}'}
        with pytest.raises(InvalidRequest, match=r"does not know \(VideoPipeline\)"):
            plan("ann/video")

    def test_of_a_repository_of_files(self, hub, weights) -> None:
        hub.repos["bob/w"] = {"a.safetensors": weights, "b.safetensors": weights, "c.ckpt": b"x"}
        with pytest.raises(InvalidRequest, match=r"2 files to choose from: a\.safetensors, b\."):
            plan("bob/w")
        assert plan("bob/w/b.safetensors").name == "b"
        assert plan(f"{hub.url}/bob/w/blob/main/b.safetensors").files == (
            plan("bob/w/b.safetensors").files
        )
        with pytest.raises(InvalidRequest, match=r"Only \.safetensors"):
            plan("bob/w/c.ckpt")
        hub.repos["bob/p"] = {"pytorch_model.bin": b"x"}
        with pytest.raises(InvalidRequest, match=r"has no \.safetensors"):
            plan("bob/p")

    @pytest.mark.parametrize("source", ["", "x", "../..", "a/../b", "a b/c", "/etc/passwd", "a//b"])
    def test_what_names_nothing_is_a_sentence(self, source) -> None:
        with pytest.raises(InvalidRequest, match="neither an address nor"):
            plan(source)

    def test_a_repository_that_is_not_there(self, hub) -> None:
        with pytest.raises(InvalidRequest, match="no repository 'no/thing'"):
            plan("no/thing")

    def test_without_a_network(self, monkeypatch) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1 cannot be reached"):
            plan("ann/fox")

    @pytest.mark.parametrize(
        ("given", "made"),
        [
            ("../../etc/passwd", "passwd"),
            ("..\\..\\evil", "evil"),
            ("a\0b<c>", "a_b_c"),
            ("CON", "CON_"),
            ("aux.tar.safetensors", "aux_.tar"),
            ("com¹", "com¹_"),
            ("e\u0301", "é"),
            ("模" * 200, "模" * 53),
            ("𠀀" * 90, "𠀀" * 40),
            (".hidden", "hidden"),
            ("x" * 300, "x" * 80),
            ("a/b/c.safetensors", "c"),
            ("Ölbild 3", "Ölbild 3"),
        ],
    )
    def test_names_are_no_paths(self, given, made) -> None:
        assert safe_name(given) == made

    @pytest.mark.parametrize("given", ["..", "...", "/", "", " ", "---", "../"])
    def test_a_name_of_nothing_is_refused(self, given) -> None:
        with pytest.raises(InvalidRequest, match="no name"):
            safe_name(given)


class Crowded:
    """A file on a disk that has so much room left, and then none."""

    def __init__(self, file: Any, room: list[int]) -> None:
        self._file, self._room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "Crowded":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        fits = data[: self._room[0]]
        self._room[0] -= len(fits)
        self._file.write(fits)
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(fits)


class TestInstalls:
    def until(self, installs: Installs, install_id: str, state: str) -> Install:
        end = time.monotonic() + 60
        while (found := installs.get(install_id)).state != state:
            assert time.monotonic() < end and found.state in {"waiting", "running"}, found
            time.sleep(0.01)
        return found

    def test_a_file_becomes_a_checkpoint(self, web, tiny, tmp_path) -> None:
        web.files["fox.safetensors"], told = tiny, []
        installs = Installs(tmp_path, lambda: told.append(1), HASTY)
        entry = installs.add(f"{web.url}/fox.safetensors", sha256=sha(tiny))
        installs.start(entry.id)
        done = self.until(installs, entry.id, "done")
        assert told and done.path == "checkpoints/fox.safetensors"
        [found] = Catalog((tmp_path / "checkpoints",)).all()
        assert (found.id, found.family, found.problem) == ("fox", "sd15", "")
        assert installs.sums() == {tmp_path / "checkpoints/fox.safetensors": sha(tiny)}
        assert installs.look(f"{web.url}/fox.safetensors", "Reineke")["there"] == done.path
        again = installs.add(f"{web.url}/fox.safetensors")
        installs.start(again.id)
        assert self.until(installs, again.id, "done").path == "checkpoints/fox-2.safetensors"
        web.files["fox.safetensors"] = tiny[:-1] + b"!"
        assert installs.look(f"{web.url}/fox.safetensors")["there"] == ""
        web.files["fox.safetensors"] = tiny
        for file in (tmp_path / "checkpoints").glob("*.safetensors"):
            file.rename(tmp_path / file.name)
        assert installs.look(f"{web.url}/fox.safetensors")["there"] == ""
        for file in tmp_path.glob("*.safetensors"):
            file.rename(tmp_path / "checkpoints" / file.name)
        installs.remove(entry.id)
        assert [one.id for one in installs.all()] == [again.id]
        assert (tmp_path / "checkpoints/fox.safetensors").exists()
        installs.close()

    def test_a_text_encoder_in_gguf_goes_where_checkpoints_borrow_it(self, web, tmp_path) -> None:
        square = ("F32", (4, 4), bytes(64))
        names = ("enc.blk.0.attn_q.weight", "enc.blk.0.ffn_gate.weight", "token_embd.weight")
        made = save_gguf(dict.fromkeys(names, square), tmp_path / "made.gguf", "t5encoder")
        web.files["t5-Q8_0.gguf"] = made.read_bytes()
        installs = Installs(tmp_path / "data", manners=HASTY)
        entry = installs.add(f"{web.url}/t5-Q8_0.gguf")
        assert entry.plan.name == "t5-Q8_0"
        installs.start(entry.id)
        done = self.until(installs, entry.id, "done")
        assert done.path == "text_encoders/t5-Q8_0.gguf"
        web.files["t5.gguf"] = b"<html>" * 1_000
        entry = installs.add(f"{web.url}/t5.gguf")
        installs.start(entry.id)
        assert "no GGUF file" in str(self.until(installs, entry.id, "failed"))
        installs.close()

    def test_a_repository_becomes_a_folder(self, hub, checkpoints, tmp_path) -> None:
        hub.repos["ann/fox"] = {
            file.relative_to(checkpoints / "tiny").as_posix(): file.read_bytes()
            for file in (checkpoints / "tiny").rglob("*")
            if file.is_file()
        }
        installs = Installs(tmp_path, manners=HASTY)
        entry = installs.add("ann/fox", name="My fox")
        installs.start(entry.id)
        self.until(installs, entry.id, "done")
        [found] = Catalog((tmp_path / "checkpoints",)).all()
        assert (found.id, found.family, found.problem) == ("My fox", "sd15", "")
        assert len(installs.sums()) == len(entry.plan.files)
        installs.close()

    def test_a_repository_in_shards_becomes_a_folder_too(self, hub, checkpoints, tmp_path) -> None:
        files = {
            file.relative_to(checkpoints / "tiny").as_posix(): file.read_bytes()
            for file in (checkpoints / "tiny").rglob("*")
            if file.is_file()
        }
        weights = files.pop("unet/diffusion_pytorch_model.safetensors")
        shard = "diffusion_pytorch_model-00001-of-00001.safetensors"
        names = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
        index = {"weight_map": dict.fromkeys(names.keys() - {"__metadata__"}, shard)}
        files[f"unet/{shard}"] = weights
        files["unet/diffusion_pytorch_model.safetensors.index.json"] = json.dumps(index).encode()
        hub.repos["ann/fox"] = files
        installs = Installs(tmp_path, manners=HASTY)
        entry = installs.add("ann/fox")
        installs.start(entry.id)
        self.until(installs, entry.id, "done")
        [found] = Catalog((tmp_path / "checkpoints",)).all()
        assert (found.family, found.problem) == ("sd15", "")
        installs.close()

    def test_what_a_preprocessor_wants_goes_beside_what_is_there(self, hub, tmp_path) -> None:
        """Two want files of one repository; none of them is a checkpoint."""
        hub.repos["ann/otators"] = {"hed.pth": b"h" * 50, "in/line.pth": b"l" * 70, "a.bin": b""}
        place = tmp_path / "annotators/otators"
        place.mkdir(parents=True)
        (place / "hed.pth").write_bytes(b"mine")
        installs = Installs(tmp_path, manners=HASTY)
        for names in (("hed.pth", "in/line.pth"), ("in/line.pth",)):
            entry = installs.add_files("ann/otators", names, "annotators/otators", "HED")
            assert (entry.plan.name, entry.plan.licence) == ("HED", "apache-2.0")
            installs.start(entry.id)
            assert self.until(installs, entry.id, "done").shown()["kind"] == "annotators"
        assert (place / "hed.pth").read_bytes() == b"mine"
        assert (place / "in/line.pth").read_bytes() == b"l" * 70
        with pytest.raises(InvalidRequest, match="no file 'gone"):
            installs.add_files("ann/otators", ("gone.pth",), "annotators/otators", "Gone")
        installs.close()

    def test_what_no_family_knows_is_not_listed(self, web, weights, tmp_path) -> None:
        web.files["x.safetensors"] = weights
        installs = Installs(tmp_path, manners=HASTY)
        entry = installs.add(f"{web.url}/x.safetensors")
        # a single tensor is taken for an embedding; two are nothing
        from tests.checkpoints.files import safetensors

        two = safetensors(tmp_path / "two", {"a": tensor(0, 1), "b": tensor(1, 2)}, b"xy")
        web.files["y.safetensors"] = two.read_bytes()
        odd = installs.add(f"{web.url}/y.safetensors")
        installs.start(odd.id)
        failed = self.until(installs, odd.id, "failed")
        assert failed.error and "is no checkpoint of a kind" in failed.error["message"]
        assert list((tmp_path / "checkpoints").glob("*.safetensors")) == []
        assert not list((tmp_path / "checkpoints/.installs").rglob("*.safetensors*"))
        installs.remove(entry.id)
        installs.close()

    def test_other_kinds_go_where_they_belong(self, web, tmp_path) -> None:
        from studio.checkpoints.header import read_header
        from studio.checkpoints.install import kind_of

        kohya = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
        peft = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2"
        text = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer"
        down, up, vector = (4, 768), (320, 4), (320,)
        cases: tuple[tuple[Kind, dict[str, tuple[int, ...]]], ...] = (
            (Kind.LORAS, {f"{kohya}.lora_down.weight": down, f"{kohya}.lora_up.weight": up}),
            (Kind.LORAS, {f"{kohya}.lokr_w1": (4, 4), f"{kohya}.lokr_w2": (80, 192)}),
            (Kind.LORAS, {f"{kohya}.weight": vector, f"{kohya}.on_input": ()}),
            (Kind.LORAS, {f"{kohya}.diff": (320, 768)}),
            (Kind.LORAS, {f"{kohya}.oft_blocks": (4, 80, 80)}),
            (Kind.LORAS, {f"{peft}.to_k.lora_A.weight": down, f"{peft}.to_k.lora_B.weight": up}),
            (
                Kind.LORAS,
                {f"{peft}.to_k.lora.down.weight": down, f"{peft}.to_k.lora.up.weight": up},
            ),
            (
                Kind.LORAS,
                {
                    f"{peft}.processor.to_k_lora.down.weight": down,
                    f"{peft}.processor.to_k_lora.up.weight": up,
                },
            ),
            (Kind.LORAS, {f"{text}.down.weight": down, f"{text}.up.weight": up}),
            (Kind.EMBEDDINGS, {"emb_params": (2, 768)}),
            (Kind.EMBEDDINGS, {"<fox>": (768,)}),
            (Kind.VAE, {"decoder.conv_in.weight": (8, 4, 3, 3), "encoder.conv_in.weight": (8,)}),
            (Kind.VAE, {"decoder.layers.0.weight": (8, 4, 3, 3), "encoder.layers.0.weight": (8,)}),
            (
                Kind.IPADAPTER,
                {
                    "image_proj.proj.weight": (3072, 1024),
                    "ip_adapter.1.to_k_ip.weight": (320, 768),
                },
            ),
            (Kind.UPSCALERS, {"conv_first.weight": (8, 3, 3, 3), "conv_last.weight": (3, 8, 3, 3)}),
            (  # of a family that is not known here, with its own autoencoder
                Kind.CHECKPOINTS,
                {"model.diffusion_model.a": (8,), "vae.decoder.conv_in.weight": (8, 4, 3, 3)},
            ),
        )
        for kind, shapes in cases:
            file = sparse_of(tmp_path / "x.safetensors", shapes)
            assert kind_of(read_header(file), file) is kind, shapes
        file = sparse(tmp_path / "y.safetensors", "sd15-file")
        assert kind_of(read_header(file), file) is Kind.CHECKPOINTS

    def test_stopped_it_goes_on_after_a_restart(self, web, tiny, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(fetching, "BLOCK", 20_000)
        web.files["fox.safetensors"] = tiny
        installs = Installs(tmp_path, manners=HASTY)
        entry = installs.add(f"{web.url}/fox.safetensors")
        done: list[int] = []
        with pytest.raises(Stopped):
            installs.run(entry.id, done.append, lambda: len(done) > 3)
        again = Installs(tmp_path, manners=HASTY)
        [kept] = again.all()
        assert (kept.state, kept.id) == ("stopped", entry.id)
        assert 0 < kept.done_bytes < len(tiny) + 1000
        assert again.add(f"{web.url}/fox.safetensors").id == entry.id
        again.start(entry.id)
        self.until(again, entry.id, "done")
        assert any(asked.startswith("bytes=") for _, asked in web.answers)
        again.close()

    def stopped_early(self, web: Web, data: bytes, installs: Installs) -> Install:
        """An install of which a part has arrived."""
        web.files["fox.safetensors"], done = data, list[int]()
        entry = installs.add(f"{web.url}/fox.safetensors")
        with pytest.raises(Stopped):
            installs.run(entry.id, done.append, lambda: len(done) > 3)
        return entry

    @pytest.mark.parametrize("etags", [True, False], ids=["another-tag", "another-length"])
    def test_a_file_that_changed_meanwhile_is_begun_anew(
        self, web, tiny, tmp_path, monkeypatch, etags
    ) -> None:
        monkeypatch.setattr(fetching, "BLOCK", 20_000)
        web.etags = etags
        installs = Installs(tmp_path, manners=HASTY)
        entry = self.stopped_early(
            web, b"\0" * 8 + tiny[8:] if etags else tiny + b"\0" * 9, installs
        )
        web.files["fox.safetensors"] = tiny
        done = installs.run(entry.id, lambda _: None, lambda: False)
        assert done.state == "done" and done.sums == {"": sha(tiny)}
        assert done.shown()["size_bytes"] == done.done_bytes == len(tiny)
        assert "had changed" in done.note and done.shown()["note"] == done.note

    def test_the_room_for_all_of_it_is_looked_at_again_once_a_file_changed(
        self, web, tiny, tmp_path, monkeypatch
    ) -> None:
        web.files = {"one.bin": tiny, "two.bin": tiny}
        told = {name: look(f"{web.url}/{name}") for name in web.files}
        files = tuple(
            File(path=name, url=one.url, size_bytes=one.size_bytes, tag=one.tag)
            for name, one in told.items()
        )
        pair = Plan(source=web.url, name="pair", files=files, place="upscalers")
        usage = shutil.disk_usage(tmp_path)._replace(free=MARGIN + 2 * len(tiny))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        installs = Installs(tmp_path, manners=HASTY)
        entry = installs._added(pair)
        web.files["one.bin"] = tiny + b"\0"
        asked = len(web.answers)
        with pytest.raises(StorageFailed, match="not enough room"):
            installs.run(entry.id, lambda _: None, lambda: False)
        assert {name for name, _ in web.answers[asked:]} == {"one.bin"}

    def test_one_that_changes_again_and_again_is_not_followed(
        self, web, tiny, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr(fetching, "BLOCK", 20_000)
        installs = Installs(tmp_path, manners=HASTY)
        entry = self.stopped_early(web, tiny, installs)
        versions = itertools.count()
        monkeypatch.setattr(fetching, "_tag", lambda _: f'"{next(versions)}"')
        with pytest.raises(fetching.Changed, match="another one than it was"):
            installs.run(entry.id, lambda _: None, lambda: False)
        assert next(versions) < 10

    def test_asked_for_again_a_changed_file_takes_the_place_of_what_had_arrived(
        self, web, tiny, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr(fetching, "BLOCK", 20_000)
        entry = self.stopped_early(web, tiny[:-1] + b"!", Installs(tmp_path, manners=HASTY))
        web.files["fox.safetensors"] = tiny
        installs = Installs(tmp_path, manners=HASTY)
        again = installs.add(f"{web.url}/fox.safetensors", sha256=sha(tiny))
        assert again.id == entry.id and "had changed" in again.note
        done = installs.run(again.id, lambda _: None, lambda: False)
        assert done.sums == {"": sha(tiny)} and done.note == again.note
        assert len(installs.all()) == 1

    def test_a_repository_that_changed_meanwhile_keeps_what_is_still_of_it(
        self, hub, checkpoints, tmp_path, monkeypatch
    ) -> None:
        files = {
            file.relative_to(checkpoints / "tiny").as_posix(): file.read_bytes()
            for file in (checkpoints / "tiny").rglob("*")
            if file.is_file()
        }
        hub.repos["ann/fox"] = {**files, "unet/old.json": b"{}"}
        installs, done = Installs(tmp_path, manners=HASTY), list[int]()
        entry = installs.add("ann/fox")
        most = sum(map(len, files.values()))
        with pytest.raises(Stopped):
            installs.run(entry.id, done.append, lambda: bool(done) and done[-1] > most * 0.9)
        hub.repos["ann/fox"] = files
        again = Installs(tmp_path, manners=HASTY)
        assert again.add("ann/fox").id == entry.id
        asked = len(hub.answers)
        path = tmp_path / again.run(entry.id, lambda _: None, lambda: False).path
        assert not (path / "unet/old.json").exists()
        assert not any("text_encoder/model" in one for one, _ in hub.answers[asked:])

    def test_one_that_ran_when_the_studio_ended_goes_on_by_itself(
        self, web, tiny, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr(fetching, "BLOCK", 20_000)
        web.files["fox.safetensors"], web.stall_after = tiny, None
        installs = Installs(tmp_path, manners=Manners(stall_s=5, tries=3, pause_s=0.01))
        entry = installs.add(f"{web.url}/fox.safetensors")
        web.stall_after = 60_000
        installs.start(entry.id)
        end = time.monotonic() + 20
        while not list(tmp_path.rglob("*.part")) and time.monotonic() < end:
            time.sleep(0.01)
        installs.close()
        assert json.loads(next(tmp_path.rglob("install.json")).read_text())["state"] == "running"
        again = Installs(tmp_path, manners=HASTY)
        again.begin()
        self.until(again, entry.id, "done")
        again.close()

    def test_a_disk_that_fills_up_keeps_what_has_arrived(
        self, web, tiny, tmp_path, monkeypatch
    ) -> None:
        """The system itself refuses the write; with room again it goes on from there."""
        monkeypatch.setattr(fetching, "BLOCK", 20_000)
        web.files["fox.safetensors"] = tiny
        room, opening = [100_000], Path.open

        def crowded(self: Path, mode: str = "r", *rest: object, **more: object) -> object:
            opened = opening(self, mode, *rest, **more)
            return Crowded(opened, room) if self.suffix == ".part" and "a" in mode else opened

        monkeypatch.setattr(Path, "open", crowded)
        installs = Installs(tmp_path, manners=HASTY)
        entry = installs.start(installs.add(f"{web.url}/fox.safetensors").id)
        failed = self.ended(installs, entry.id)
        assert failed.state == "failed" and failed.error
        assert "cannot be written" in failed.error["message"] and failed.error["hint"]
        assert 0 < failed.done_bytes <= 100_000
        assert Installs(tmp_path).get(entry.id).state == "failed"  # its book is whole
        room[0] = 1 << 40
        installs.start(entry.id)
        done = self.ended(installs, entry.id)
        assert done.state == "done" and done.sums[""] == sha(tiny)
        assert any(asked.startswith("bytes=") for _, asked in web.answers)
        installs.close()

    def ended(self, installs: Installs, install_id: str) -> Install:
        end = time.monotonic() + 60
        while not (found := installs.get(install_id)).over:
            assert time.monotonic() < end
            time.sleep(0.01)
        return found

    def test_page_and_command_line_are_not_at_one_install_at_once(
        self, web, tiny, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr(fetching, "BLOCK", 20_000)
        web.files["fox.safetensors"] = tiny
        page = Installs(tmp_path, manners=HASTY)
        entry = page.add(f"{web.url}/fox.safetensors")
        command = Installs(tmp_path, manners=HASTY)
        assert command.add(f"{web.url}/fox.safetensors").id == entry.id
        refused: list[StudioError] = []

        def meanwhile(done: int) -> None:
            if not refused:
                with pytest.raises(Busy, match="already") as caught:
                    command.run(entry.id, lambda _: None, lambda: False)
                refused.append(caught.value)

        done = page.run(entry.id, meanwhile, lambda: False)
        assert refused and refused[0].hint
        asked = len(web.answers)
        again = command.run(entry.id, lambda _: None, lambda: False)
        assert (again.state, again.path) == ("done", done.path) and len(web.answers) == asked

    def test_one_that_failed_is_begun_again_under_another_name(self, web, tiny, tmp_path) -> None:
        web.files["fox.safetensors"], web.cut_after = tiny, 0
        installs = Installs(tmp_path, manners=HASTY)
        entry = installs.add(f"{web.url}/fox.safetensors")
        with pytest.raises(Unavailable, match="connection broke"):
            installs.run(entry.id, lambda _: None, lambda: False)
        web.cut_after = None
        again = installs.add(f"{web.url}/fox.safetensors", "Reineke")
        assert again.id == entry.id
        done = installs.run(again.id, lambda _: None, lambda: False)
        assert done.path == "checkpoints/Reineke.safetensors"

    def test_names_that_differ_in_capitals_alone_are_kept_apart(self, web, tiny, tmp_path) -> None:
        web.files["fox.safetensors"] = tiny
        installs = Installs(tmp_path, manners=HASTY)
        for name in ("Fox", "fox"):
            entry = installs.add(f"{web.url}/fox.safetensors", name)
            installs.run(entry.id, lambda _: None, lambda: False)
        found = {one.name for one in (tmp_path / "checkpoints").glob("*.safetensors")}
        assert found == {"Fox.safetensors", "fox-2.safetensors"}

    def test_a_folder_that_takes_nothing_is_one_sentence_and_nothing_is_lost(
        self, web, tiny, tmp_path, monkeypatch
    ) -> None:
        """The folder of its kind lies on another disk, which is full."""
        web.files["fox.safetensors"] = tiny
        installs, replace = Installs(tmp_path, manners=HASTY), Path.replace
        entry = installs.add(f"{web.url}/fox.safetensors")

        def far(self: Path, target: Path) -> Path:
            if target.parent.name == "checkpoints" and ".installs" in self.parts:
                raise OSError(errno.EXDEV, "another disk")
            return replace(self, target)

        def full(source: Path, target: Path) -> None:
            target.write_bytes(source.read_bytes()[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", far)
            patched.setattr(shutil, "copyfile", full)
            with pytest.raises(StorageFailed, match="No space left") as caught:
                installs.run(entry.id, lambda _: None, lambda: False)
        assert "'fox.safetensors' cannot be written" in caught.value.message
        assert caught.value.hint and not list((tmp_path / "checkpoints").glob("*tmp*"))
        asked = len(web.answers)
        assert installs.run(entry.id, lambda _: None, lambda: False).state == "done"
        assert len(web.answers) == asked  # nothing was fetched twice

    @pytest.mark.skipif(os.name != "posix", reason="links need rights there")
    def test_what_was_installed_is_compared_with_its_hash_also_behind_a_link(
        self, web, tiny, tmp_path
    ) -> None:
        (tmp_path / "real").mkdir()
        data = tmp_path / "link"
        data.symlink_to(tmp_path / "real")
        web.files["fox.safetensors"] = tiny
        installs = Installs(data, manners=HASTY)
        entry = installs.add(f"{web.url}/fox.safetensors")
        installs.run(entry.id, lambda _: None, lambda: False)
        file = data / "checkpoints" / "fox.safetensors"
        file.write_bytes(tiny[:-100] + bytes([tiny[-100] ^ 1]) + tiny[-99:])
        found = Catalog((data / "checkpoints",)).get("fox")
        verdict = verify(found, Hashes(None), Installs(data).sums())
        assert verdict.problems == (
            "fox.safetensors: its SHA-256 is not that of the file that was installed.",
        )

    def test_stop_and_remove_leave_nothing(self, web, tiny, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(fetching, "BLOCK", 20_000)
        web.files["fox.safetensors"] = tiny
        installs = Installs(tmp_path, manners=HASTY)
        entry = installs.add(f"{web.url}/fox.safetensors")
        web.stall_after = 60_000
        installs.start(entry.id)
        assert installs.stop(entry.id).state == "stopped"
        installs.remove(entry.id)
        installs.close()
        with pytest.raises(StudioError, match="no such install"):
            installs.get(entry.id)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class TestCommand:
    def test_install_from_the_command_line(self, web, tiny, tmp_path, capsys, monkeypatch) -> None:
        from studio.cli import main

        monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
        web.files["fox.safetensors"] = tiny
        where = ("--data-dir", str(tmp_path / "data"), "--json")
        address = f"{web.url}/fox.safetensors"
        code = main(["checkpoints", "install", address, "--name", "Red fox", *where])
        told = json.loads(capsys.readouterr().out)
        assert code == 0 and told["path"].endswith("/data/checkpoints/Red fox.safetensors")
        assert main(["checkpoints", "install", address, "--sha256", "0" * 64, *where]) == 2
        assert "checksum" in json.loads(capsys.readouterr().out)["error"]["message"]
        assert [one.state for one in Installs(tmp_path / "data").all()] == ["done"]
        file = Path(told["path"])
        data = bytearray(file.read_bytes())
        data[-7] ^= 1
        file.write_bytes(data)
        assert main(["checkpoints", "verify", "Red fox", *where]) == 5
        assert "file that was installed" in capsys.readouterr().out

    def test_one_refused_file_of_a_repository_costs_none_of_the_others(
        self, hub: Web, checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hub.repos["ann/fox"] = {
            file.relative_to(checkpoints / "tiny").as_posix(): file.read_bytes()
            for file in (checkpoints / "tiny").rglob("*")
            if file.is_file()
        }
        *arrived, last = (file.path for file in plan("ann/fox").files)
        gone = f"ann/fox/resolve/abc/{last}"
        hub.redirects[gone] = f"{hub.url}/nowhere"
        asked = ["checkpoints", "install", "ann/fox", "--data-dir", str(tmp_path), "--json"]
        assert main(asked) == BAD_INPUT
        assert "no such file" in json.loads(capsys.readouterr().out)["error"]["message"]
        del hub.redirects[gone]
        before = len(hub.answers)
        assert main(asked) == OK
        fetched = [path for path, _ in hub.answers[before:]]
        assert gone in fetched
        assert not any(
            f"ann/fox/resolve/abc/{path}" in fetched for path in arrived if "model." in path
        )
        assert [one.state for one in Installs(tmp_path).all()] == ["done"]


class TestLacking:
    """A file that holds a denoiser alone, and what is published for it."""

    def shelf(self, data: Path, hub: Web) -> Catalog:
        denoiser_alone(data / "checkpoints" / "alone.safetensors")
        published = {
            CLIP_L: {"text_model.embeddings.token_embedding.weight": (8, 768)},
            T5_XXL: {
                "shared.weight": (8, 4096),
                "encoder.block.0.layer.0.SelfAttention.q.weight": (8, 4096),
                "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": (8, 4096),
            },
            FLUX_VAE: {
                "decoder.conv_in.weight": (8, 16, 3, 3),
                "encoder.conv_in.weight": (8, 3, 3, 3),
            },
        }
        for one, tensors in published.items():
            owner, name, path = one.source.split("/", 2)
            made = sparse_of(data.parent / "made" / one.label, tensors)
            hub.repos.setdefault(f"{owner}/{name}", {})[path] = made.read_bytes()
        beside = (data / "text_encoders", data / "vae")
        return Catalog((data / "checkpoints",), beside=beside)

    def test_one_command_fetches_it_and_the_checkpoint_is_whole(
        self, hub: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = tmp_path / "data"
        catalog = self.shelf(data, hub)
        [lacking] = catalog.all()
        assert lacking.lacks == (FLUX_VAE, CLIP_L, T5_XXL)
        assert 'install --for="alone"' in lacking.advice
        assert readable(sum(one.size_bytes for one in lacking.lacks)) in lacking.advice
        asked = ["checkpoints", "install", "--for", "alone", "--data-dir", str(data)]
        assert main(asked) == OK
        assert [path.name for path in sorted((data / "vae").iterdir())] == ["ae.safetensors"]
        assert sorted(path.name for path in (data / "text_encoders").iterdir()) == [
            "clip_l.safetensors",
            "t5xxl_fp16.safetensors",
        ]
        [whole] = catalog.all()
        assert (whole.problem, whole.lacks) == ("", ())
        capsys.readouterr()
        assert main(asked) == BAD_INPUT
        assert "lacks nothing" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["FLUX dev Q4", "-fast", "it's", 'a "$HOME" of `one`!'])
    def test_the_command_that_it_advises_is_one(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        denoiser_alone(tmp_path / "data" / "checkpoints" / f"{name}.safetensors")
        [lacking] = Catalog((tmp_path / "data" / "checkpoints",)).all()
        advised = re.search(r"'(python3 launch\.py .+)', or put", lacking.advice)
        assert advised
        told = subprocess.run(
            ["bash", "-c", advised[1].replace("python3 launch.py", "printf '%s\\n'", 1)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        fetched: list[str] = []
        monkeypatch.setattr(command, "_fetched", lambda desk, source, *_: fetched.append(source))
        asked = [*told.stdout.splitlines(), "--data-dir", str(tmp_path / "data")]
        assert main(asked) == OK
        assert fetched == [one.source for one in lacking.lacks]

    def test_one_that_is_not_given_keeps_none_of_the_others_away(
        self, hub: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = tmp_path / "data"
        catalog = self.shelf(data, hub)
        for one in (FLUX_VAE, CLIP_L):
            hub.repos["/".join(one.source.split("/", 2)[:2])].pop(one.source.split("/", 2)[2])
        asked = ["checkpoints", "install", "--for", "alone", "--data-dir", str(data)]
        assert main(asked) == BAD_INPUT
        told = capsys.readouterr().err
        assert "ae.safetensors was not installed" in told
        assert "clip_l.safetensors was not installed" in told
        [left] = catalog.all()
        assert left.lacks == (FLUX_VAE, CLIP_L)

    def test_without_a_network_it_says_so(
        self,
        hub: Web,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from huggingface_hub import constants

        self.shelf(tmp_path / "data", hub)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        asked = ["checkpoints", "install", "--for", "alone", "--data-dir", str(tmp_path / "data")]
        assert main(asked) != OK
        told = capsys.readouterr().err
        assert "ae.safetensors" in told and "text_encoders" in told, told
