"""`transport/README.md` is true: its tables say what the code says."""

import re
from pathlib import Path
from typing import Any

import msgspec

from callboard.actors.events import FIELDS
from callboard.transport import protocol
from callboard.transport.config import SETTINGS
from callboard.transport.protocol import CloseCode
from callboard.transport.protocol.messages import ClientMessage, ServerMessage

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "transport" / "README.md").read_text(encoding="utf-8")
KEPT_FREE = {CloseCode.FORBIDDEN, CloseCode.SESSION_GONE}


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    lines = TEXT.partition(f"{heading}\n")[2].splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def keys_of(message: Any) -> dict[str, bool]:
    """Each key of a message as the wire has it, and whether it has to be there."""
    return {field.encode_name: field.required for field in msgspec.structs.fields(message)}


def test_every_message_stands_there_with_its_keys() -> None:
    """Each `t`, who says it, and each key with `?` if it may be left out."""
    told = {}
    for name, keys, _ in table("### Every message"):
        t, direction = name.replace("`", "").split()
        told[t, direction] = {key: optional == "" for key, optional in re.findall(r"`(\w+)`(\??)", keys)}
    told["result", "<"] |= {"ok": False, "error": False}  # one of the two
    told["events", "<"].pop("seq", None)
    there = {(kind.__struct_config__.tag, ">"): keys_of(kind) for kind in ClientMessage.__args__}
    there |= {(kind.__struct_config__.tag, "<"): keys_of(kind) for kind in ServerMessage.__args__}
    assert told == there
    record = re.search(r"`events`: `\{(.*?)\}`", TEXT)
    assert record is not None
    shown = {key: optional == "" for key, optional in re.findall(r"(\w+)(\??)", record[1])}
    assert shown == keys_of(protocol.WireRecord)


def test_the_limits_of_welcome_are_named() -> None:
    """All that a client is told."""
    row = next(keys for name, _, keys in table("### Every message") if "welcome" in name)
    assert re.findall(r"`(\w+)`", row.partition("`limits`:")[2]) == list(protocol.messages.Limits.__struct_fields__)


def test_every_close_code_that_is_sent_is_explained() -> None:
    """And none that is not."""
    told = {int(code) for row in table("## Close codes") for code in re.findall(r"\b4\d{3}\b", row[2])}
    assert told == set(CloseCode) - KEPT_FREE


def test_the_events_of_a_run_are_those_that_are_checked() -> None:
    """Each type with the fields that it has to carry."""
    told = {row[0].strip("`"): re.findall(r"`(\w+)`", row[1].partition(";")[0]) for row in table("### Events of a run")}
    del told["x.…"]
    assert told == {type: list(fields) for type, fields in FIELDS.items()}


def test_every_setting_stands_in_the_example() -> None:
    """All that `callboard.toml` may say, but for `dev`, which is no setting to be left in a file."""
    block = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)[0].partition("[limits]")[0]
    assert set(re.findall(r"^(\w+) = ", block, flags=re.MULTILINE)) == set(SETTINGS) - {"dev"}


def test_every_code_of_a_refusal_is_one_that_is_written() -> None:
    """In the session or at the connection."""
    told = {code for row in table("### Why a command is refused") for code in re.findall(r"`(\w+)`", row[0])}
    layers = (path for layer in ("actors", "transport") for path in (ROOT / layer).rglob("*.py"))
    source = "".join(path.read_text(encoding="utf-8") for path in layers if "verify" not in path.parts)
    written = set(re.findall(r"CommandRefused\(\s*\"(\w+)\"", source))
    written |= set(re.findall(r"_refuse\(message, \"(\w+)\"", source))
    written |= set(re.findall(r"(?:error_code|CommandError\(code)=\"(\w+)\"", source))
    assert told == written
