"""S41: reachable by others and nobody asked who they are."""

from pathlib import Path

import pytest

from studio.api.access import make_access
from studio.app import App
from studio.core.errors import Refused
from studio.settings import load
from tests.api.house import complaint, open_house


@pytest.mark.parametrize(
    "reach",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "192.168.1.5"},
        {"host": "studio.lan"},
        {"shared": True},
    ],
)
def test_the_studio_does_not_start_open_to_others_without_a_word(
    tmp_path: Path, reach: dict
) -> None:
    with pytest.raises(Refused) as refused:
        make_access(data_dir=tmp_path, **reach)
    assert "--auth" in refused.value.hint and "--public" in refused.value.hint
    assert make_access(data_dir=tmp_path, one_time_tokens=("x",), **reach).needs_login
    assert not make_access(data_dir=tmp_path, public=True, **reach).alone


@pytest.mark.parametrize("flags", [{"listen": True}, {"share": True}, {"host": "0.0.0.0"}])
def test_flags_that_let_others_in_ask_for_a_login(tmp_path: Path, flags: dict) -> None:
    settings = load({"data_dir": str(tmp_path), **flags}, environ={}, folder=tmp_path)
    assert settings.needs_login


def test_nobody_is_local_for_being_near(app: App, tmp_path: Path) -> None:
    """Through a tunnel or a proxy, everybody comes from 127.0.0.1."""
    with (
        open_house(app, tmp_path, host="0.0.0.0", one_time_tokens=("x" * 32,)) as house,
        house.client() as client,
    ):
        complaint(client.get("/api/live"), 401)
        complaint(client.get("/api/live", headers={"x-forwarded-for": "127.0.0.1"}), 401)
