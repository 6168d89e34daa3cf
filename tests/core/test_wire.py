"""Frames survive any cut of the stream, and nothing else passes for one."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.wire import MAX_HEADER_BYTES, read_frame, write_frame


class Trickle(io.RawIOBase):
    """A stream that never gives more than three bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 3))


@given(
    st.dictionaries(st.text().filter(lambda key: key != "blob"), st.integers() | st.text()),
    st.binary(max_size=200),
)
def test_what_is_written_is_read(header: dict[str, object], blob: bytes) -> None:
    stream = io.BytesIO()
    # Lone surrogates cannot be sent as UTF-8; they arrive replaced, never as an exception.
    header = json.loads(json.dumps(header, ensure_ascii=False).encode("utf-8", "replace"))
    write_frame(stream, header, blob)
    assert read_frame(Trickle(stream.getvalue())) == (header, blob)  # type: ignore[arg-type]


def test_frames_follow_each_other_and_end_cleanly() -> None:
    stream = io.BytesIO()
    write_frame(stream, {"op": "a"}, b"1")
    write_frame(stream, {"op": "b"})
    stream.seek(0)
    assert [read_frame(stream) for _ in range(3)] == [({"op": "a"}, b"1"), ({"op": "b"}, b""), None]


@pytest.mark.parametrize("kept", [1, 3, 5, -1])
def test_an_end_inside_a_frame_is_told(kept: int) -> None:
    stream = io.BytesIO()
    write_frame(stream, {"op": "picture"}, b"pixels")
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(stream.getvalue()[:kept]))


@pytest.mark.parametrize(
    "data",
    [
        (MAX_HEADER_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\2[]",
        b"\0\0\0\4nope",
        b'\0\0\0\x0b{"blob":-1}',
        b'\0\0\0\x0e{"blob": 1e99}',
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"frame's|Expecting"):
        read_frame(io.BytesIO(data))
