"""Where settings come from, which wins, and what a wrong one is told."""

import dataclasses
from pathlib import Path

import pytest

from studio.core.errors import StudioError
from studio.settings import _READERS, Settings, default_data_dir, load


def settings(tmp_path: Path, flags=None, environ=None, here="", there="") -> Settings:
    data_dir = tmp_path / "data"
    data_dir.mkdir(exist_ok=True)
    (tmp_path / "studio.toml").write_text(here)
    (data_dir / "studio.toml").write_text(there)
    environ = {"STUDIO_DATA_DIR": str(data_dir), **(environ or {})}
    return load(flags or {}, environ, tmp_path)


def test_later_sources_win(tmp_path: Path) -> None:
    assert settings(tmp_path).port == 7860
    assert settings(tmp_path, there="port = 1").port == 1
    assert settings(tmp_path, there="port = 1", here="port = 2").port == 2
    environ = {"STUDIO_PORT": "3"}
    assert settings(tmp_path, there="port = 1", here="port = 2", environ=environ).port == 3
    assert settings(tmp_path, {"port": "4"}, environ, here="port = 2").port == 4
    assert settings(tmp_path, {"port": None}, environ, here="port = 2").port == 3


def test_every_setting_can_be_read_from_each_source() -> None:
    assert set(_READERS) == {field.name for field in dataclasses.fields(Settings)}


def test_each_kind_of_value_reads_the_same_from_file_and_environment(tmp_path: Path) -> None:
    file = """
        listen = true
        auth = ["ann:a:b", "bob:c"]
        checkpoint_dirs = ["/one", "/two"]
        allowed_hosts = ["a.example", "b.example"]
        engine_start_s = 7.5
    """
    environ = {
        "STUDIO_LISTEN": "yes",
        "STUDIO_AUTH": "ann:a:b bob:c",
        "STUDIO_CHECKPOINT_DIRS": "/one:/two",
        "STUDIO_ALLOWED_HOSTS": "a.example b.example",
        "STUDIO_ENGINE_START_S": "7.5",
    }
    found = settings(tmp_path, environ=environ)
    assert found == settings(tmp_path, here=file)
    assert found.auth == (("ann", "a:b"), ("bob", "c"))
    assert found.checkpoint_dirs == (Path("/one"), Path("/two"))


@pytest.mark.parametrize(
    ("flags", "environ", "here", "named"),
    [
        ({"port": "0"}, {}, "", "--port"),
        ({"port": "70000"}, {}, "", "--port"),
        ({"port": "many"}, {}, "", "--port"),
        ({}, {"STUDIO_PORT": "1.5"}, "", "STUDIO_PORT"),
        ({}, {}, "port = true", "port in studio.toml"),
        ({}, {}, "prot = 1", "prot in studio.toml"),
        ({}, {"STUDIO_PROT": "1"}, "", "STUDIO_PROT"),
        ({}, {}, "port = ", "studio.toml is not valid TOML"),
        ({}, {"STUDIO_LISTEN": "perhaps"}, "", "STUDIO_LISTEN"),
        ({"device": "toaster"}, {}, "", "--device"),
        ({"host": "http://0.0.0.0"}, {}, "", "--host"),
        ({"auth": ["nopassword"]}, {}, "", "--auth"),
        ({"auth": [":secret"]}, {}, "", "--auth"),
        ({"data_dir": ""}, {}, "", "--data-dir"),
        ({"data_dir": "a\0b"}, {}, "", "--data-dir"),
        ({"public": True, "auth": ["a:b"]}, {}, "", "--public and --auth"),
    ],
)
def test_a_wrong_value_is_named_as_it_was_written(tmp_path, flags, environ, here, named) -> None:
    with pytest.raises(StudioError) as caught:
        settings(tmp_path, flags, environ, here)
    assert named in caught.value.message
    assert caught.value.message.endswith(".")
    assert caught.value.hint.endswith(".")


def test_a_password_is_never_repeated(tmp_path: Path) -> None:
    with pytest.raises(StudioError) as caught:
        settings(tmp_path, {"auth": ["just-the-secret"]})
    assert "just-the-secret" not in str(caught.value)
    assert "hunter2" not in repr(settings(tmp_path, {"auth": ["ann:hunter2"]}))


def test_the_data_folder_cannot_name_another(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="names another data folder"):
        settings(tmp_path, there='data_dir = "/elsewhere"')


def test_data_dir_follows_xdg() -> None:
    assert default_data_dir({"XDG_DATA_HOME": "/x"}) == Path("/x/pochade")


@pytest.mark.parametrize(
    ("flags", "beyond", "login"),
    [
        ({}, False, False),
        ({"host": "localhost"}, False, False),
        ({"host": "::1"}, False, False),
        ({"listen": True}, True, True),
        ({"host": "0.0.0.0"}, True, True),
        ({"host": "studio.example"}, True, True),
        ({"share": True}, True, True),
        ({"listen": True, "public": True}, True, False),
        ({"auth": ["a:b"]}, False, True),
    ],
)
def test_beyond_loopback_needs_a_login_unless_public(tmp_path, flags, beyond, login) -> None:
    found = settings(tmp_path, flags)
    assert (found.beyond_loopback, found.needs_login) == (beyond, login)


def test_listen_widens_only_a_loopback_host(tmp_path: Path) -> None:
    assert settings(tmp_path, {"listen": True}).bind_host == "0.0.0.0"
    assert settings(tmp_path, {"listen": True, "host": "192.168.1.5"}).bind_host == "192.168.1.5"


def test_only_who_can_log_in_may_be_allowed_to_install(tmp_path: Path) -> None:
    flags = {"auth": ["ann:a"], "allow_install": ["ann"]}
    assert settings(tmp_path, flags).allow_install == ("ann",)
    with pytest.raises(StudioError, match="'bob', who cannot log in"):
        settings(tmp_path, {**flags, "allow_install": ["bob"]})
