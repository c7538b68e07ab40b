"""Settings: a flag beats the environment, which beats the file, which beats the default; what is wrong is named."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

import callboard
from callboard.transport import ConfigError
from callboard.transport.config import Config, dev_key, journal_path, load_config

KEY = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(file: str | None = None, environ: Mapping[str, str] | None = None, **flags: Any) -> Config:
    """Read the settings, with a file of this content in the current folder."""
    if file is not None:
        Path("callboard.toml").write_text(file, encoding="utf-8")
    return load_config(flags, environ or {}, None)


def secret_of(config: Config) -> bytes | None:
    """The secret that a configuration leads to."""
    if config.key is None or isinstance(config.key, bytes):
        return config.key
    secret = config.key.ring().secret()
    return None if secret is None else secret.raw_value


def write_key(name: str = "key", content: str = KEY, mode: int = 0o600) -> Path:
    """A key file."""
    path = Path(name)
    path.write_text(content + "\n", encoding="ascii")
    path.chmod(mode)
    return path


def test_an_app_is_all_that_is_needed() -> None:
    """The rest has a default, and the default listens on loopback only, without a key."""
    config = load(app="a:b")
    assert config == Config(app="a:b")
    assert (config.host, config.port, config.key, config.dev, config.origins) == ("127.0.0.1", 8765, None, False, ())


def test_what_beats_what(here: Path) -> None:
    """Flag, environment, file, default, in this order, for each setting on its own."""
    config = load(
        'app = "file:a"\nhost = "127.0.0.3"\nport = 3\norigins = ["http://file"]\n[limits]\nruns = 3\nburst = 3\n',
        {
            "CALLBOARD_APP": "env:a",
            "CALLBOARD_PORT": "2",
            "CALLBOARD_LIMITS_RUNS": "2",
            "CALLBOARD_ORIGINS": "http://e, ",
        },
        app="flag:a",
    )
    assert (config.app, config.port, config.host) == ("flag:a", 2, "127.0.0.3")
    assert config.origins == ("http://e",)
    assert config.limits == callboard.Limits(runs=2, burst=3)
    assert config.folder == here


def test_a_flag_of_zero_counts() -> None:
    """Port 0 means any port; it is not the same as no port."""
    assert load("port = 3", app="a:b", port=0).port == 0


def test_where_a_node_stands_behind_proxies() -> None:
    """By flag, by environment, or by file, as the others."""
    config = load('public_url = "https://f"\ntrusted_proxies = ["10.0.0.1", "fd00::/8"]', app="a:b")
    assert (config.public_url, config.trusted_proxies) == ("https://f", ("10.0.0.1", "fd00::/8"))
    environ = {"CALLBOARD_PUBLIC_URL": "https://e", "CALLBOARD_TRUSTED_PROXIES": "10.0.0.2, 10.0.0.3"}
    config = load(None, environ, app="a:b")
    assert (config.public_url, config.trusted_proxies) == ("https://e", ("10.0.0.2", "10.0.0.3"))
    config = load(None, environ, app="a:b", public_url="https://g", trusted_proxies=("10.0.0.4",))
    assert (config.public_url, config.trusted_proxies) == ("https://g", ("10.0.0.4",))


def test_in_development_an_address_has_no_bound_of_its_own() -> None:
    """All clients are on one machine; a bound that is given is kept."""  # S13
    assert load(app="a:b").limits.connections_per_address == 1_024
    assert load(app="a:b", dev=True).limits.connections_per_address == 20_000
    assert load("[limits]\nconnections = 7", app="a:b", dev=True).limits.connections_per_address == 7
    environ = {"CALLBOARD_LIMITS_CONNECTIONS_PER_ADDRESS": "3"}
    assert load("", environ, app="a:b", dev=True).limits.connections_per_address == 3


def test_every_limit_can_be_set_by_file_and_environment() -> None:
    """By its name; whole numbers stay whole."""
    for field in attrs.fields(callboard.Limits):
        assert field.default is not None
        value = field.default * 2
        by_file = load(f"[limits]\n{field.name} = {value}\n", app="a:b").limits
        by_variable = load("", {f"CALLBOARD_LIMITS_{field.name.upper()}": str(value)}, app="a:b").limits
        assert by_file == by_variable == callboard.Limits(**{field.name: value}), field.name
        assert isinstance(getattr(by_variable, field.name), type(field.default))


def test_the_key_comes_from_a_file_or_the_environment(here: Path) -> None:
    """Hex digits; a file that the settings file names lies beside it."""
    write_key()
    (here / "elsewhere").mkdir()
    assert secret_of(load(app="a:b", key_file="key")) == bytes.fromhex(KEY)
    assert secret_of(load('key_file = "key"', app="a:b")) == bytes.fromhex(KEY)
    assert secret_of(load("", {"CALLBOARD_KEY": KEY}, app="a:b")) == bytes.fromhex(KEY)
    assert secret_of(load("", {"CALLBOARD_KEY_FILE": str(here / "key")}, app="a:b")) == bytes.fromhex(KEY)
    os.chdir(here / "elsewhere")
    assert load_config({"app": "a:b"}, {}, here / "callboard.toml").key is None
    (here / "callboard.toml").write_text('key_file = "key"', encoding="utf-8")
    assert secret_of(load_config({"app": "a:b"}, {}, here / "callboard.toml")) == bytes.fromhex(KEY)


def test_a_key_is_never_shown() -> None:
    """Not in a repr, hence in no log and no traceback."""
    assert KEY not in repr(load("", {"CALLBOARD_KEY": KEY}, app="a:b"))
    assert repr(bytes.fromhex(KEY)) not in repr(load("", {"CALLBOARD_KEY": KEY}, app="a:b"))


WRONG: list[tuple[str, str | None, dict[str, str], dict[str, Any], list[str]]] = [
    ("no app", None, {}, {"app": None}, ["--app", "CALLBOARD_APP"]),
    ("port too high", None, {}, {"port": 65_536}, ["65536", "0 to 65535"]),
    ("port in words", None, {"CALLBOARD_PORT": "http"}, {}, ["'http'", "whole number"]),
    ("port with a fraction", "port = 1.5", {}, {}, ["1.5", "whole number"]),
    ("port true", "port = true", {}, {}, ["True", "whole number"]),
    ("an unknown setting", "prot = 1", {}, {}, ["'prot'", "callboard.toml", "port"]),
    ("an unknown variable", None, {"CALLBOARD_PROT": "1"}, {}, ["CALLBOARD_PROT", "CALLBOARD_PORT"]),
    ("an unknown limit", "[limits]\nrun = 1", {}, {}, ["'run'", "runs"]),
    ("a limit of zero", "[limits]\nruns = 0", {}, {}, ["runs", "0"]),
    ("a negative limit", None, {"CALLBOARD_LIMITS_RUNS": "-1"}, {}, ["runs", "-1"]),
    ("a limit in words", "[limits]\nruns = 'many'", {}, {}, ["runs", "'many'"]),
    ("an endless limit", None, {"CALLBOARD_LIMITS_DRAIN_SECONDS": "inf"}, {}, ["drain_seconds", "'inf'"]),
    ("no number", None, {"CALLBOARD_LIMITS_DRAIN_SECONDS": "nan"}, {}, ["drain_seconds", "'nan'"]),
    ("limits no table", "limits = 1", {}, {}, ["`limits`", "table"]),
    ("no TOML", "app = ", {}, {}, ["callboard.toml", "TOML"]),
    ("origins a text", 'origins = "http://x"', {}, {}, ["'http://x'", "list"]),
    ("dev maybe", 'dev = "maybe"', {}, {}, ["'maybe'", "true and false"]),
    ("dev in public", None, {}, {"dev": True, "host": "0.0.0.0"}, ["'0.0.0.0'", "loopback"]),
    ("dev on a name", None, {}, {"dev": True, "host": "127.example.org"}, ["'127.example.org'", "loopback"]),
    ("a key that is no hex", None, {"CALLBOARD_KEY": "secret"}, {}, ["CALLBOARD_KEY", "hex"]),
    ("a short key", None, {"CALLBOARD_KEY": "00" * 31}, {}, ["31 bytes", "32"]),
    ("proxies a text", 'trusted_proxies = "10.0.0.1"', {}, {}, ["'10.0.0.1'", "list"]),
    ("a proxy's name", None, {"CALLBOARD_TRUSTED_PROXIES": "10.0.0.1, proxy"}, {}, ["'proxy'", "network"]),
    ("everybody a proxy", None, {}, {"trusted_proxies": ("0.0.0.0/0",)}, ["'0.0.0.0/0'", "everybody"]),
    ("a public url without scheme", 'public_url = "node.example"', {}, {}, ["'node.example'", "http(s)://"]),
    ("a certificate without key", None, {}, {"tls_cert": "c"}, ["tls_cert", "tls_key"]),
    ("a key without certificate", None, {"CALLBOARD_TLS_KEY": "k"}, {}, ["tls_key", "tls_cert"]),
    ("a certificate that is not there", None, {}, {"tls_cert": "c", "tls_key": "k"}, ["c cannot", "No such file"]),
    ("a key file that is not there", None, {}, {"key_file": "nope"}, ["nope", "No such file"]),
]


@pytest.mark.parametrize("what, file, environ, flags, said", WRONG, ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_named_with_what_is_allowed(
    what: str, file: str | None, environ: dict[str, str], flags: dict[str, Any], said: list[str]
) -> None:
    """One line, no guess, no default in its place."""  # S12
    with pytest.raises(ConfigError) as error:
        load(file, environ, **{"app": "a:b", **flags})
    message = str(error.value)
    assert all(part in message for part in said), message
    assert "\n" not in message or what == "no TOML"


def test_a_key_that_others_may_read_is_refused() -> None:
    """The message gives the mode and the command that mends it."""  # S12
    for mode in (0o644, 0o640, 0o604, 0o660):
        write_key(mode=mode)
        with pytest.raises(ConfigError, match=rf"{mode:04o}.*chmod 600"):
            load(app="a:b", key_file="key")
    write_key(content="not hex")
    with pytest.raises(ConfigError, match="hex"):
        load(app="a:b", key_file="key")


def test_a_settings_file_that_is_named_has_to_be_there(here: Path) -> None:
    """The one that is looked for need not."""
    with pytest.raises(ConfigError, match=r"nope\.toml cannot be read"):
        load_config({"app": "a:b"}, {}, here / "nope.toml")


def test_the_development_key_is_minted_once(here: Path) -> None:
    """Into a file that only its owner may read, in a folder made for it; after that it is the same."""  # S12
    folder = here / "new" / "callboard"
    previous = os.umask(0)
    try:
        key, path, minted = dev_key(folder, os.urandom)
    finally:
        os.umask(previous)
    assert minted
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert dev_key(folder, os.urandom) == (key, path, False)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="0640"):
        dev_key(folder, os.urandom)


def test_a_development_key_that_cannot_be_kept(here: Path) -> None:
    """Said in one line."""
    (here / "file").write_text("", encoding="ascii")
    with pytest.raises(ConfigError, match="cannot be used"):
        dev_key(here / "file", os.urandom)


def test_where_the_journal_is(here: Path) -> None:
    """Beside the settings file that names it, where a flag says, in memory, or else in the folder of the node's own."""
    home = here / "home"
    Path("elsewhere").mkdir()
    settings = Path("elsewhere/callboard.toml")
    settings.write_text('app = "a:b"\njournal = "data.db"\ndurability = "power"\n', encoding="utf-8")
    config = load_config({}, {}, settings)
    assert journal_path(config.journal, home, "callboard.db") == here / "elsewhere" / "data.db"
    assert config.durability == "power"
    config = load_config({"journal": "x.db"}, {"CALLBOARD_JOURNAL": "y.db"}, settings)
    assert journal_path(config.journal, home, "callboard.db") == here / "x.db"
    config = load_config({}, {"CALLBOARD_JOURNAL": ":memory:", "CALLBOARD_DURABILITY": "process"}, settings)
    assert (journal_path(config.journal, home, "callboard.db"), config.durability) == (None, "process")
    assert not home.exists()
    assert journal_path(load(app="a:b").journal, home, "callboard.db") == home / "callboard.db"
    assert home.is_dir()


def test_a_journal_that_is_no_place_is_refused(here: Path) -> None:
    """Each with the value and what is allowed."""
    with pytest.raises(ConfigError, match=r"durability is 'disk'; allowed are process and power"):
        load(app="a:b", durability="disk")
    with pytest.raises(ConfigError, match=r"journal is ''; it has to be a path, or :memory:"):
        journal_path("", here, "callboard.db")
    write_key("file")
    with pytest.raises(ConfigError, match="cannot be made"):
        journal_path(None, here / "file" / "home", "callboard.db")
