"""Only files that are exactly what they say pass, and refusing costs no memory."""

import json
import pickle
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.checkpoints.header import (
    MAX_HEADER_BYTES,
    BadFile,
    Damaged,
    NotSafetensors,
    Unread,
    as_named,
    read_header,
    readable,
)
from tests.checkpoints.files import safetensors, tensor


def test_a_healthy_file_is_read(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {
        "a": torch.zeros(2, 3),
        "b": torch.zeros(4, dtype=torch.bfloat16),
        "c": torch.ones(()),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    header = read_header(tmp_path / "x.safetensors")
    assert header.shapes == {"a": (2, 3), "b": (4,), "c": ()}
    assert header.metadata == {"format": "pt"}
    assert header.size_bytes - header.data_begin == 24 + 8 + 4


NOT_ONE = {
    "empty": b"",
    "short": b"\x08\0\0",
    "pickle (S02)": pickle.dumps({"weights": list(range(1000))}),
    "zip, as .ckpt are (S02)": b"PK\x03\x04" + b"\0" * 200,
    "text": b"<!DOCTYPE html><html>access denied</html>",
    "header of 2^40 bytes (S06)": (2**40).to_bytes(8, "little") + b"{}" * 50,
    "header of 2^64-1 bytes (S06)": b"\xff" * 8 + b"{}" * 50,
}


@pytest.mark.parametrize("data", NOT_ONE.values(), ids=NOT_ONE.keys())
def test_other_files_are_not_safetensors(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(data)
    with pytest.raises(NotSafetensors, match="not a valid safetensors file"):
        read_header(file)


DAMAGED = {
    "gap at the start": ({"a": tensor(4, 8)}, 8),
    "overlap": ({"a": tensor(0, 8), "b": tensor(4, 12)}, 12),
    "same range twice": ({"a": tensor(0, 8), "b": tensor(0, 8)}, 8),
    "gap between": ({"a": tensor(0, 4), "b": tensor(6, 8)}, 8),
    "data missing": ({"a": tensor(0, 800)}, 700),
    "data left over": ({"a": tensor(0, 8)}, 9),
    "end before begin": ({"a": tensor(8, 0, shape=[8])}, 8),
    "negative": ({"a": tensor(-8, 0, shape=[8])}, 8),
    "shape overflows 64 bits": ({"a": tensor(0, 8, shape=[2**62, 2**62])}, 8),
    "shape is not the size": ({"a": tensor(0, 8, "F32", [3])}, 8),
    "negative shape": ({"a": tensor(0, 8, shape=[-2, -4])}, 8),
    "shape of floats": ({"a": tensor(0, 8, shape=[8.0])}, 8),
    "shape of booleans": ({"a": tensor(0, 1, shape=[True])}, 1),
    "shape of text": ({"a": tensor(0, 8, shape="8")}, 8),
    "unknown dtype": ({"a": tensor(0, 8, "Q8")}, 8),
    "dtype is a list": ({"a": {**tensor(0, 8), "dtype": []}}, 8),
    "no offsets": ({"a": {"dtype": "U8", "shape": [8]}}, 8),
    "three offsets": ({"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 4, 8]}}, 8),
    "tensor is null": ({"a": None}, 8),
    "metadata is a list": ({"__metadata__": [], "a": tensor(0, 8)}, 8),
    "repeated name": (b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{}}', 8),
    "not JSON": (b'{"a": ', 8),
    "nested without end": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 8),
    "number of 10,000 digits": (b'{"a":{"dtype":"U8","shape":[' + b"9" * 10_000 + b"]}}", 8),
    "not UTF-8": (b'{"\xff\xfe": 1}', 8),
}


@pytest.mark.parametrize(("header", "size"), DAMAGED.values(), ids=DAMAGED.keys())
def test_contradictions_are_damage(tmp_path: Path, header: bytes, size: int) -> None:
    """S07: overlap, overflow and truncation are refused before anything is loaded."""
    file = safetensors(tmp_path / "x.safetensors", header, b"\0" * size)
    with pytest.raises(Damaged, match="The model file is damaged"):
        read_header(file)


def test_truncation_tells_both_sizes(tmp_path: Path) -> None:
    file = safetensors(tmp_path / "x.safetensors", {"a": tensor(0, 3_000_000)}, b"\0" * 1_000_000)
    with pytest.raises(Damaged, match=r"\(size 1 MB of 3 MB\)"):
        read_header(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:30])
    with pytest.raises(Damaged, match=r"\(size 30 bytes of \d+ bytes\)"):
        read_header(file)


def test_a_huge_header_is_refused_without_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    with file.open("wb") as out:
        out.write((1 << 30).to_bytes(8, "little") + b"{")
        out.truncate(2 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NotSafetensors):
        read_header(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert MAX_HEADER_BYTES == 16 << 20


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_any_change_is_read_or_refused(tmp_path: Path, cut: int, at: int, byte: int) -> None:
    """F05: no mutation of a file raises anything but the two answers."""
    header = {"a": tensor(0, 64, "F32", [4, 4]), "b": tensor(64, 96, "F16", [16])}
    whole = bytearray(safetensors(tmp_path / "x.safetensors", header, b"\0" * 96).read_bytes())
    whole[at % len(whole)] = byte
    changed = tmp_path / "y.safetensors"
    changed.write_bytes(bytes(whole[: len(whole) - cut % 3]))
    try:
        read_header(changed)
    except BadFile as refusal:
        assert str(refusal).endswith((".", "…")) and str(tmp_path) not in str(refusal)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (12_500, "12.5 kB"), (3_970_000_000, "3.97 GB")],
)
def test_sizes_read_well(size: int, text: str) -> None:
    assert readable(size) == text


@pytest.mark.parametrize(
    ("careless", "kind"),
    [
        (lambda: (1, 2)[len("abc")], Damaged),
        (lambda: [a for a, b in [(1, 2, 3)]], Damaged),
        (lambda: 1 / 0, Damaged),
        (b"\xff".decode, Unread),
        (lambda: json.loads("{"), Unread),
    ],
)
def test_a_mistake_in_looking_is_not_taken_for_damage_and_the_log_has_it(
    careless: Callable[[], object], kind: type[BadFile], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(kind), as_named(Path("of/somebody.safetensors")):
        careless()
    [record] = caplog.records
    assert "somebody.safetensors" in record.message and record.exc_info
    with pytest.raises(AttributeError), as_named(Path("x")):
        None.shape  # type: ignore[attr-defined]  # noqa: B018
