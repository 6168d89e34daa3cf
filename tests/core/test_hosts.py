"""Whether a host is this machine's alone."""

import pytest

from studio.core.hosts import is_loopback


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("127.8.8.8", True),
        ("0.0.0.0", False),
        ("192.168.0.2", False),
        ("::", False),
        ("studio", False),
        ("example.org", False),
        ("", False),
        ("LOCALHOST.", True),
    ],
)
def test_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) is own
