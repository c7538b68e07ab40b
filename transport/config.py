"""Settings of a served node: one frozen `Config`, read in one place from flags, environment and `callboard.toml`.

A flag beats the environment, which beats the file, which beats the default. What is not known is refused by name, so a
misspelt limit is no limit silently left at its default.
"""

from __future__ import annotations

import math
import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from ..actors import Durability, Limits
from .errors import ConfigError
from .forwarded import TrustedProxies
from .hosts import PublicUrl, is_loopback
from .keys import FileKeys
from .tls import FileCertificate

__all__ = ["Config", "dev_key", "journal_path", "load_config"]

PREFIX = "CALLBOARD_"
KEY_BYTES = 32


@attrs.frozen(kw_only=True)
class Config:
    """How `serve` runs.

    `key` is the HS256 secret, or the file that the keys come from; `journal` is as `journal_path` takes it; `folder` is
    where `callboard.toml` was found, if it was.
    """

    app: str
    host: str = "127.0.0.1"
    port: int = 8765
    key: bytes | FileKeys | None = attrs.field(default=None, repr=False)
    origins: tuple[str, ...] = ()
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    tls: FileCertificate | None = None
    dev: bool = False
    journal: str | None = None
    durability: Durability = "process"
    limits: Limits = attrs.field(factory=Limits)
    folder: Path | None = None

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}; allowed are 0 to 65535")
        if self.public_url is not None:
            PublicUrl.parse(self.public_url)
        TrustedProxies(self.trusted_proxies)
        if self.dev and not is_loopback(self.host):
            raise ConfigError(f"host is {self.host!r}; with --dev the node listens on loopback only, as 127.0.0.1")


MEMORY = ":memory:"
SETTINGS = (
    "app",
    "host",
    "port",
    "key_file",
    "origins",
    "public_url",
    "trusted_proxies",
    "tls_cert",
    "tls_key",
    "dev",
    "journal",
    "durability",
)
# Paths in the settings file are relative to it.
FILES = ("key_file", "tls_cert", "tls_key")
LISTS = ("origins", "trusted_proxies")


def load_config(flags: Mapping[str, Any], environ: Mapping[str, str], path: Path | None) -> Config:
    """Read the settings.

    Args:
        flags: what the command line gave; None means not given.
        environ: the environment: ``CALLBOARD_PORT`` and so on, limits as ``CALLBOARD_LIMITS_RUNS``.
        path: the file; None looks for `callboard.toml` in the current folder.

    Raises:
        ConfigError: a setting is unknown, missing or not allowed; the message names it and where it came from.
    """
    file = path if path is not None else Path("callboard.toml")
    values: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    folder: Path | None = None
    if path is not None or file.exists():
        folder = file.resolve().parent
        values, limits = _read_file(file)
        if values.get("journal", MEMORY) != MEMORY:
            values["journal"] = folder / str(values["journal"])
        values.update({name: folder / str(values[name]) for name in FILES if name in values})
    _read_environment(environ, values, limits)
    values.update({name: value for name, value in flags.items() if value not in (None, ())})
    key = _key(values.pop("key_file", None), environ.get(f"{PREFIX}KEY"))
    if not values.get("app"):
        raise ConfigError("no app is given: use --app MODULE:NAME, CALLBOARD_APP, or `app` in callboard.toml")
    dev = _flag("dev", values.get("dev", False))
    if dev:
        # On loopback all clients have one address.
        limits.setdefault("connections_per_address", limits.get("connections", Limits().connections))
    public_url = values.get("public_url")
    try:
        return Config(
            app=str(values["app"]),
            host=str(values.get("host", "127.0.0.1")),
            port=_whole("port", values.get("port", 8765)),
            key=key,
            journal=None if values.get("journal") is None else str(values["journal"]),
            durability=_durability(values.get("durability", "process")),
            origins=_texts("origins", values.get("origins", ()), "https://app.example.org"),
            public_url=None if public_url is None else str(public_url),
            trusted_proxies=_texts("trusted_proxies", values.get("trusted_proxies", ()), "10.0.0.0/8"),
            tls=_tls(values.get("tls_cert"), values.get("tls_key")),
            dev=dev,
            limits=_limits(limits),
            folder=folder,
        )
    except TypeError as error:
        raise ConfigError(str(error)) from None


def dev_key(folder: Path, random_bytes: Callable[[int], bytes]) -> tuple[bytes, Path, bool]:
    """The development key of a folder, minted at first use: the key, its file, and whether it was minted now.

    Raises:
        ConfigError: others than the owner may read the file, or it holds no key.
    """
    path = folder / "callboard-dev.key"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read_key(path), path, False
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            key = random_bytes(KEY_BYTES)
            file.write(key.hex() + "\n")
        return key, path, True
    except OSError as error:
        raise ConfigError(f"the development key {path} cannot be used: {error.strerror}") from None


def _read_key(path: Path) -> bytes:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(f"{path} may be read by others (mode {mode:04o}); it has to be 0600: chmod 600 {path}")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        raise ConfigError(f"{path} holds no key: hex digits are expected") from None
    if len(key) < KEY_BYTES:
        raise ConfigError(f"{path} holds a key of {len(key)} bytes; {KEY_BYTES} at least are needed")
    return key


def _key(key_file: object, in_environment: str | None) -> bytes | FileKeys | None:
    if in_environment:
        try:
            key = bytes.fromhex(in_environment.strip())
        except ValueError:
            raise ConfigError("CALLBOARD_KEY has to be hex digits, as `openssl rand -hex 32` prints them") from None
        if len(key) < KEY_BYTES:
            raise ConfigError(f"CALLBOARD_KEY has {len(key)} bytes; {KEY_BYTES} at least are needed")
        return key
    if key_file is None:
        return None
    return FileKeys(Path(str(key_file)))


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        # Not only TOMLDecodeError: text that is no UTF-8, and integers of more digits than Python reads.
        raise ConfigError(f"{path} is no TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deep") from None
    limits = content.pop("limits", {})
    if not isinstance(limits, dict):
        raise ConfigError(f"`limits` in {path} has to be a table")
    for name in content:
        if name not in SETTINGS:
            raise ConfigError(f"{path} has the unknown setting {name!r}; there are {', '.join(SETTINGS)} and [limits]")
        if "\0" in str(content[name]):
            # Nothing can be called so, and the system's calls do not raise OSError for it.
            raise ConfigError(f"{name} in {path} is {content[name]!r:.80}; a NUL cannot be part of it")
    return content, limits


def _read_environment(environ: Mapping[str, str], values: dict[str, Any], limits: dict[str, Any]) -> None:
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable == f"{PREFIX}KEY":
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name.startswith("limits_"):
            limits[name.removeprefix("limits_")] = value
        elif name in SETTINGS:
            values[name] = [part.strip() for part in value.split(",") if part.strip()] if name in LISTS else value
        else:
            known = ", ".join(PREFIX + setting.upper() for setting in (*SETTINGS, "key", "limits_*"))
            raise ConfigError(f"{variable} is no setting; there are {known}")


def _limits(given: Mapping[str, Any]) -> Limits:
    fields = {field.name: field for field in attrs.fields(Limits)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in fields:
            raise ConfigError(f"limit {name!r} is unknown; there are {', '.join(fields)}")
        whole = isinstance(fields[name].default, int)
        values[name] = _whole(name, value) if whole else _number(name, value)
    try:
        return Limits(**values)
    except ValueError as error:
        raise ConfigError(f"a limit is not allowed: {error.args[0]}") from None


def _whole(name: str, value: object) -> int:
    try:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError
        return int(value)
    except ValueError:
        raise ConfigError(f"{name} is {value!r}; a whole number is needed") from None


def _number(name: str, value: object) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number
    except (ValueError, OverflowError):
        raise ConfigError(f"{name} is {value!r}; a number is needed") from None


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    spelled = str(value).strip().lower()
    if spelled in ("1", "true", "yes", "on"):
        return True
    if spelled in ("", "0", "false", "no", "off"):
        return False
    raise ConfigError(f"{name} is {value!r}; allowed are true and false")


def journal_path(given: str | None, folder: Path, name: str) -> Path | None:
    """The file of a node's journal: what was given, None for `:memory:`; else `name` in this folder, which is made.

    Raises:
        ConfigError: what was given is empty, or the folder cannot be made.
    """
    if given == MEMORY:
        return None
    if given == "":
        raise ConfigError(f"journal is ''; it has to be a path, or {MEMORY}")
    if given is not None:
        return Path(given).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the journal's folder {folder} cannot be made: {error.strerror}") from None
    return folder / name


def _durability(value: object) -> Durability:
    if value == "process" or value == "power":
        return "power" if value == "power" else "process"
    raise ConfigError(f"durability is {value!r}; allowed are process and power")


def _texts(name: str, value: object, example: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise ConfigError(f'{name} is {value!r}; a list of texts is needed, as ["{example}"]')
    return tuple(value)


def _tls(certificate: object, key: object) -> FileCertificate | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, missing = ("tls_cert", "tls_key") if key is None else ("tls_key", "tls_cert")
        raise ConfigError(f"{given} is given without {missing}; TLS needs both")
    return FileCertificate(Path(str(certificate)), Path(str(key)))
