"""Session ids and keys."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Ids, SessionKey, session_id

names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)


# S1
@settings(max_examples=200)
@given(names, names, names, names)
def test_no_two_keys_share_an_id(user: str, name: str, other_user: str, other_name: str) -> None:
    """S1. Red if the parts are joined so that a border can move: ("ab", "c") and ("a", "bc")."""
    same = (user, name) == (other_user, other_name)
    assert (session_id(user, name) == session_id(other_user, other_name)) is same


@given(names, st.data())
def test_the_border_between_user_and_name_counts(text: str, data: st.DataObject) -> None:
    """S1. The same letters, cut at two places."""
    letters = text + "xyz"
    cut = data.draw(st.integers(1, len(letters) - 2))
    assert session_id(letters[:cut], letters[cut:]) != session_id(letters[: cut + 1], letters[cut + 1 :])


def test_an_id_is_found_again_by_any_process() -> None:
    """Red if the derivation changes: every journal on disk would lose its sessions."""
    assert SessionKey("ada").id == session_id("ada", "main") == "b72e6287ffbeffbefc1e9764814852e6"


@pytest.mark.parametrize("wrong", ["", "a" * 201, "tab\t", "line\n", "\ud800", "\x00", None, 5, b"ada", "a\u200bb"])
def test_names_that_nobody_should_have_are_refused(wrong: object) -> None:
    """S12. Red if a user or a session can have a name that logs and headers cannot carry."""
    with pytest.raises(ValueError, match="printable characters"):
        SessionKey(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="printable characters"):
        SessionKey("ada", wrong)  # type: ignore[arg-type]


def test_ids_are_as_long_as_the_design_says() -> None:
    """S12. Red if a ticket has fewer than 256 random bits, or a run fewer than 128."""
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    ids = Ids(random_bytes)
    assert [len(ids.run()), len(ids.connection()), len(ids.epoch()), len(ids.ticket())] == [32, 16, 16, 64]
    assert asked == [16, 8, 8, 32]
