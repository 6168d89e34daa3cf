"""One frozen `Settings`: defaults < studio.toml < STUDIO_* < flags.

The only place that reads the environment. A wrong value is one sentence that names the setting as
the person wrote it, wherever it was written.
"""

import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from studio.core.errors import InvalidRequest, StorageFailed
from studio.core.hosts import is_loopback
from studio.core.layouts import IN_THE_HUB, Kind, folders_below
from studio.paths import BUILTIN_CONTROLS

FILE = "studio.toml"
PREFIX = "STUDIO_"
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How this studio runs. But for device and dtype, none of it changes what is painted."""

    data_dir: Path
    """Folder of everything the studio keeps: pictures, jobs, inputs, checkpoints."""
    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback people must log in, unless `public`."""
    port: int = 7860
    """Port to listen on, 1 to 65535; the next free one is taken, and said, when it is in use."""
    listen: bool = False
    """Listen on every address of this machine, so that the local network can reach the studio."""
    share: bool = False
    """Open a tunnel that gives the studio an address on the internet."""
    share_hours: int = 24
    """Hours after which sharing ends by itself; 1 to 168, as the tunnel lives no longer."""
    guest_jobs: int = 50
    """Jobs that each guest of the share link may ask for in 24 hours; 1 to 10000."""
    guest_pixels: int = 1_048_576
    """Width × height of the largest picture that a guest may ask for; 4096 to 2**26."""
    public: bool = False
    """Let anybody who can reach the studio use it without a login, each in a space of their own."""
    auth: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Names and passwords that may log in. Empty: beyond loopback a one-time link is printed."""
    allow_install: tuple[str, ...] = ()
    """Names among `auth` whose owners may install checkpoints, as the person at this machine may."""
    allowed_hosts: tuple[str, ...] = ()
    """More names the studio is reached under, such as that of a reverse proxy in front of it."""
    secure_cookies: bool = False
    """Keep cookies to https; for a reverse proxy that speaks it."""
    open_browser: bool = True
    """Open the page in a browser once the studio is up, where there is a screen to show it on."""
    checkpoint_dirs: tuple[Path, ...] = ()
    """More folders to look for checkpoints in, beside `checkpoints` in the data folder."""
    upscaler_dirs: tuple[Path, ...] = ()
    """More folders to look for upscalers in, beside `upscalers` in the data folder."""
    models_dirs: tuple[Path, ...] = ()
    """Folders of other programs with weights of every kind, read where they lie."""
    hub_cache: Path | None = None
    """Hugging Face's cache, whose weights are used where they lie; None leaves it alone."""
    device: str = "auto"
    """What paints: auto, cpu or cuda. auto takes the quickest there is."""
    dtype: str = "auto"
    """Number format of the weights: auto, float32, float16 or bfloat16. auto is float16 on a GPU; on a
    processor that multiplies bfloat16 itself, that for large checkpoints, and float32 else."""
    ram_budget: int = 0
    """Memory of this machine that weights may take, such as 8GB; auto is half of what there is."""
    vram_budget: int = 0
    """The same for the memory of a GPU; auto is 70 % of it."""
    converted_space: int | None = None
    """Disk that weights may take in the numbers that a processor computes with, such as 20GB, so that
    they need not be converted again; 0 keeps none, auto is a fifth of what is free."""
    max_waiting: int = 50
    """Jobs that one person may have waiting; 1 to 10000. One more is refused with 429."""
    max_waiting_local: int = 200
    """The same for the person at this machine, who shares it with nobody; 1 to 10000."""
    min_free_bytes: int = 500_000_000
    """No job starts with less free space than this on the data folder's disk."""
    input_quota_bytes: int = 2_000_000_000
    """Bytes of uploaded pictures that one person may keep."""
    engine_start_s: float = 180.0
    """Seconds a starting engine may take before its jobs fail; 5 to 3600."""
    engine_silence_s: float = 600.0
    """Seconds a running job may go without a sign of life before its engine is ended; 5-86400."""

    @property
    def bind_host(self) -> str:
        """The address to listen on. `listen` widens the default one, a given `host` stays."""
        return "0.0.0.0" if self.listen and is_loopback(self.host) else self.host

    @property
    def beyond_loopback(self) -> bool:
        """Whether anybody but this machine's own people can reach the studio."""
        return self.share or not is_loopback(self.bind_host)

    @property
    def needs_login(self) -> bool:
        """Whether a page is only shown to who has logged in."""
        return bool(self.auth) or (self.beyond_loopback and not self.public)

    @property
    def missing_dirs(self) -> tuple[Path, ...]:
        """Folders that were added and are not there. They are looked at again with every question."""
        added = (*self.checkpoint_dirs, *self.upscaler_dirs, *self.models_dirs)
        return tuple(folder for folder in added if not folder.is_dir())

    def all_dirs(self, kind: Kind) -> tuple[Path, ...]:
        """Where weights of a kind are looked for: what comes with the studio, the data folder's
        own, those that were added, other programs' folders, Hugging Face's cache. They need not
        exist."""
        added = {Kind.CHECKPOINTS: self.checkpoint_dirs, Kind.UPSCALERS: self.upscaler_dirs}
        others = [path for root in self.models_dirs for path in folders_below(root, kind)]
        hub = [self.hub_cache] if self.hub_cache and kind in IN_THE_HUB else []
        builtin = [BUILTIN_CONTROLS] if kind is Kind.CONTROLNET else []
        own = self.data_dir / kind.value
        return tuple(dict.fromkeys((*builtin, own, *added.get(kind, ()), *others, *hub)))


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """The settings that hold: `flags` (None = not given) win over STUDIO_* over studio.toml.

    studio.toml is read from `folder` (the current one) and from the data folder; where both name a
    setting, the current folder wins. Raises `InvalidRequest` for a wrong or unknown setting and
    `StorageFailed` where there is no home folder to keep the data in.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in flags.items() if value is not None}
    here = _from_file((folder or Path.cwd()) / FILE)
    from_environ = _from_environ(environ)
    chosen = {**here, **from_environ, **_checked(given, _flag)}
    data_dir = chosen.get("data_dir") or default_data_dir(environ)
    there = _from_file(data_dir / FILE)
    if "data_dir" in there and there["data_dir"] != data_dir:
        raise InvalidRequest(
            "The studio.toml in the data folder names another data folder.",
            "Remove data_dir there; choose the folder with --data-dir or STUDIO_DATA_DIR.",
            field="data_dir",
        )
    decided: dict[str, Any] = {"hub_cache": default_hub_cache(environ), **there, **chosen}
    decided["data_dir"] = data_dir
    settings = Settings(**decided)
    if settings.public and settings.auth:
        raise InvalidRequest(
            "--public and --auth contradict each other.",
            "Leave one of them out: --public lets everybody in, --auth asks for a password.",
            field="public",
        )
    known = {name for name, _ in settings.auth}
    if strangers := [name for name in settings.allow_install if name not in known]:
        raise InvalidRequest(
            f"--allow-install names '{strangers[0][:40]}', who cannot log in.",
            "Name somebody whom --auth lets in.",
            field="allow_install",
        )
    return settings


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """The folder this system keeps a person's application data in. Raises `StorageFailed`."""
    if found := environ.get("XDG_DATA_HOME"):
        return Path(found).absolute() / "pochade"
    try:
        home = Path.home()
    except RuntimeError:
        raise StorageFailed(
            "There is no home folder to keep pictures in.", "Name a folder with --data-dir."
        ) from None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "pochade"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "pochade"
    return home / ".local" / "share" / "pochade"


def default_hub_cache(environ: Mapping[str, str]) -> Path | None:
    """Where Hugging Face's libraries keep what they download."""
    if found := environ.get("HF_HUB_CACHE"):
        return Path(found).expanduser().absolute()
    if found := environ.get("HF_HOME"):
        return Path(found).expanduser().absolute() / "hub"
    try:
        cache = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(cache).absolute() / "huggingface" / "hub"


def has_screen() -> bool:
    """Whether a browser could be shown here."""
    if sys.platform in {"darwin", "win32"}:
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class _Wrong(Exception):
    """A value of the wrong kind; says what it must be."""


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False, "": False}
    if isinstance(value, str) and value.strip().lower() in known:
        return known[value.strip().lower()]
    raise _Wrong("true or false")


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        try:
            if isinstance(value, bool) or not isinstance(value, int | str):
                raise ValueError
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise _Wrong(f"a whole number between {low} and {high}")
        return number

    return read


_UNITS = (
    {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    | {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
    | {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
)


def _bytes(value: object) -> int:
    """Bytes of a size as people write it; 0 for auto."""
    text = "" if isinstance(value, bool) else str(value).strip().upper()
    if text == "AUTO":
        return 0
    found = re.fullmatch(r"(\d{1,15}(?:[.,]\d{1,3})?)\s*([KMGT]?I?B?)", text)
    size = 0
    if found and found[2] in _UNITS:
        size = int(float(found[1].replace(",", ".")) * _UNITS[found[2]])
    if not 2**20 <= size <= 2**50:
        raise _Wrong("a size such as 8GB or 512MB, or auto")
    return size


def _space(value: object) -> int | None:
    """Bytes of a size as people write it, or 0; None for auto."""
    return 0 if str(value).strip() == "0" else _bytes(value) or None


def _seconds(low: float, high: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError
            number = float(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise _Wrong(f"a number of seconds between {low:g} and {high:g}")
        return number

    return read


def _one_of(choices: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise _Wrong(f"one of {', '.join(choices)}")
        return str(value)

    return read


def _host(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or any(sign in text for sign in "/ \t@?#") or "://" in text:
        raise _Wrong("an address such as 127.0.0.1 or a host name")
    return text


def _folder(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise _Wrong("a folder")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise _Wrong("a folder that exists without a home folder") from None


def _several(value: object, separator: str | None) -> tuple[object, ...]:
    if isinstance(value, str):
        return tuple(part for part in value.split(separator) if part.strip())
    if isinstance(value, list | tuple):
        return tuple(value)
    raise _Wrong("a list")


def _folders(value: object) -> tuple[Path, ...]:
    return tuple(_folder(part) for part in _several(value, os.pathsep))


def _hosts(value: object) -> tuple[str, ...]:
    return tuple(_host(part) for part in _several(value, None))


def _logins(value: object) -> tuple[tuple[str, str], ...]:
    return tuple(_login(part) for part in _several(value, None))


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(part).strip() for part in _several(value, None))


def _login(value: object) -> tuple[str, str]:
    name, _, password = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not name.strip() or not password or not name.isprintable():
        raise _Wrong("of the form name:password")
    return name.strip(), password


_READERS: Mapping[str, Callable[[object], Any]] = {
    "data_dir": _folder,
    "host": _host,
    "port": _whole(1, 65535),
    "listen": _truth,
    "share": _truth,
    "share_hours": _whole(1, 168),
    "guest_jobs": _whole(1, 10_000),
    "guest_pixels": _whole(4096, 2**26),
    "public": _truth,
    "auth": _logins,
    "allow_install": _names,
    "allowed_hosts": _hosts,
    "secure_cookies": _truth,
    "open_browser": _truth,
    "checkpoint_dirs": _folders,
    "upscaler_dirs": _folders,
    "models_dirs": _folders,
    "hub_cache": _folder,
    "device": _one_of(DEVICES),
    "dtype": _one_of(DTYPES),
    "ram_budget": _bytes,
    "vram_budget": _bytes,
    "converted_space": _space,
    "max_waiting": _whole(1, 10_000),
    "max_waiting_local": _whole(1, 10_000),
    "min_free_bytes": _whole(0, 2**50),
    "input_quota_bytes": _whole(0, 2**50),
    "engine_start_s": _seconds(5, 3600),
    "engine_silence_s": _seconds(5, 86_400),
}

_FLAGS: Mapping[str, str] = {
    "auth": "--auth",
    "allowed_hosts": "--allow-host",
    "open_browser": "--open",
    "checkpoint_dirs": "--checkpoints",
    "upscaler_dirs": "--upscalers",
    "models_dirs": "--models-dir",
}
"""Flags whose name is not that of their setting."""


def _flag(name: str) -> str:
    return _FLAGS.get(name, "--" + name.replace("_", "-"))


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _checked(values: Mapping[str, Any], said_as: Callable[[str], str]) -> dict[str, Any]:
    """Every value read by its reader; an error names the setting as it was written down."""
    read: dict[str, Any] = {}
    for name, value in values.items():
        written = said_as(name)
        try:
            read[name] = _READERS[name](value)
        except KeyError:
            known = ", ".join(said_as(setting.name) for setting in fields(Settings))
            raise InvalidRequest(
                f"There is no setting called '{written[:60]}'.",
                f"Remove it; the settings are {known}.",
                field=name[:60],
            ) from None
        except _Wrong as wrong:
            # a password is not repeated, not even a wrong one
            got = "" if name == "auth" else f" (got {str(value)[:60]!r})"
            raise InvalidRequest(
                f"{written} must be {wrong}{got}.", "Change it and start again.", field=name
            ) from None
    return read


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    """STUDIO_* variables; other programs have some too, so those that name no setting are theirs.

    One that is nearly a setting's name is an error, so that a typo is seen.
    """
    found = {
        key.removeprefix(PREFIX).lower(): value
        for key, value in environ.items()
        if key.startswith(PREFIX)
    }
    meant = {
        name: value
        for name, value in found.items()
        if name in _READERS or get_close_matches(name, _READERS, cutoff=0.75)
    }
    return _checked(meant, _variable)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InvalidRequest(
            f"{FILE} cannot be read ({error.strerror}).", "Check its permissions."
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest(
            f"{FILE} is not valid TOML ({error}).", "Correct it or move it away."
        ) from None
    return _checked(data, lambda name: f"{name} in {FILE}")


def prepare_environment(settings: Settings) -> None:
    """What Gradio and the Hugging Face libraries only take from the environment.

    Called once, before either is imported; child processes inherit it.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(settings.data_dir / "cache" / "gradio")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
