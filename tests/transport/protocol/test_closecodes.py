"""The catalogue of close codes, number by number, and what a client makes of each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.protocol import MAX_REASON_BYTES, CloseCode, Verdict, clip_reason, verdict

CATALOGUE = {
    "VERSION": 4000,
    "BAD_FRAME": 4001,
    "HELLO": 4002,
    "FORBIDDEN": 4003,
    "SESSION_GONE": 4004,
    "ORIGIN": 4005,
    "REVOKED": 4006,
    "TOO_BIG": 4007,
    "SUPERSEDED": 4008,
    "INTERNAL": 4100,
    "OVERLOADED": 4101,
    "RATE": 4102,
    "TOO_MANY_CONNECTIONS": 4103,
    "STORE_UNAVAILABLE": 4104,
    "HELLO_LATE": 4105,
    "DRAINING": 4200,
    "HEARTBEAT_LOST": 4201,
    "WRITE_STALLED": 4202,
    "EXPIRED": 4300,
    "USED": 4301,
    "INVALID": 4302,
    "FOREIGN": 4303,
}


def test_numbers_never_change() -> None:
    """Clients in the field know them."""
    assert {code.name: int(code) for code in CloseCode} == CATALOGUE


def test_each_reason_is_its_own_and_fits_a_close_frame() -> None:
    """A reason tells the codes apart in a browser's console."""
    assert len({code.reason for code in CloseCode}) == len(CATALOGUE)
    assert all(0 < len(code.reason.encode()) <= MAX_REASON_BYTES for code in CloseCode)


@pytest.mark.parametrize(
    "first, last, expected",
    [
        (4000, 4099, Verdict.DO_NOT_RETRY),
        (4100, 4199, Verdict.BACK_OFF),
        (4200, 4299, Verdict.RESUME_NOW),
        (4300, 4399, Verdict.NEW_TICKET),
    ],
)
def test_a_range_carries_the_verdict(first: int, last: int, expected: Verdict) -> None:
    """Codes that were added later are handled by clients that never heard of them."""
    assert {verdict(code) for code in range(first, last + 1)} == {expected}


@pytest.mark.parametrize(
    "code, expected",
    [
        (1001, Verdict.RESUME_WITH_JITTER),
        (1012, Verdict.RESUME_WITH_JITTER),
        (1005, Verdict.RESUME_WITH_JITTER),
        (1006, Verdict.RESUME_WITH_JITTER),
        (1013, Verdict.BACK_OFF),
        (1002, Verdict.DO_NOT_RETRY),
        (1007, Verdict.DO_NOT_RETRY),
        (1009, Verdict.DO_NOT_RETRY),
    ],
)
def test_registered_codes_have_their_verdict(code: int, expected: Verdict) -> None:
    """Codes that a WebSocket library or a proxy sends."""
    assert verdict(code) is expected


@pytest.mark.parametrize("code", [0, 999, 1000, 1003, 1008, 1011, 1014, 3000, 3999, 4400, 4999, 5000, 65535])
def test_any_other_code_means_back_off(code: int) -> None:
    """Neither storm the node nor give the session up."""
    assert verdict(code) is Verdict.BACK_OFF


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_clipped_reason_is_the_longest_prefix_that_fits(text: str) -> None:
    """It is cut between characters, never inside one."""
    clipped = clip_reason(text)
    assert text.startswith(clipped)
    assert len(clipped.encode()) <= MAX_REASON_BYTES
    assert clipped == text or len(text[: len(clipped) + 1].encode()) > MAX_REASON_BYTES


def test_a_lone_surrogate_in_a_reason_does_no_harm() -> None:
    """Text of a peer may come in here."""
    assert clip_reason("a\ud800b") == "a?b"
