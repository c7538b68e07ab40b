"""Replies as pykka futures: what may be set, when, and what comes out."""

import queue

import pykka
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import AskTimeout, Reply


@given(endings=st.lists(st.sampled_from(["set", "set_exception", "offer", "offer_exception", "abandon"]), min_size=1))
def test_a_reply_ends_once(endings: list[str]) -> None:
    """The first ending counts; `set` after an answer is an error, after giving up it is dropped; `offer` tells."""
    reply: Reply[object] = Reply()
    ended: list[Reply[object]] = []
    abandoned: list[int] = []
    reply.on_done = ended.append
    reply.on_abandon = lambda: abandoned.append(1)
    for number, ending in enumerate(endings):
        error = ValueError(number)
        if ending == "abandon":
            reply.abandon()
        elif ending == "offer":
            assert reply.offer(number) == (number == 0)
        elif ending == "offer_exception":
            assert reply.offer_exception(error) == (number == 0)
        else:
            refused = number > 0 and not reply.abandoned
            try:
                reply.set(number) if ending == "set" else reply.set_exception(error)
            except queue.Full:
                assert refused
            else:
                assert not refused
    assert reply.done
    assert ended == [reply]
    assert abandoned == ([1] if endings[0] == "abandon" else [])
    if endings[0] in ("set", "offer"):
        assert (reply.get(), reply.error) == (0, None)
    else:
        with pytest.raises(AskTimeout if endings[0] == "abandon" else ValueError):
            reply.get()


def test_an_exception_is_given_in_every_form_of_pykka() -> None:
    """A triple, an exception, or the one being handled; anything else is refused and shown."""
    triple: Reply[object] = Reply()
    triple.set_exception((ValueError, ValueError("triple"), None))
    handled: Reply[object] = Reply()
    try:
        raise ValueError("handled")
    except ValueError:
        handled.set_exception()
    for reply, said in ((triple, "triple"), (handled, "handled")):
        with pytest.raises(ValueError, match=said):
            reply.get()
    with pytest.raises(TypeError, match="not 'text'"):
        Reply().set_exception("text")
    with pytest.raises(TypeError, match="not \\(None, None, None\\)"):
        Reply().set_exception()


def test_a_future_with_a_hook_cannot_be_set() -> None:
    """As in pykka 4.3 and later."""
    source: Reply[int] = Reply()
    mapped = source.map(str)
    with pytest.raises(queue.Full, match="answered already"):
        mapped.set("x")
    source.set(3)
    assert mapped.get() == "3"


def test_get_all_takes_them() -> None:
    """Pykka's helper works on replies that are there."""
    replies: list[Reply[int]] = [Reply() for _ in range(3)]
    for number, reply in enumerate(replies):
        reply.set(number)
    assert pykka.get_all(replies) == [0, 1, 2]


async def test_a_waiter_that_is_cancelled_and_one_that_is_answered_in_one_moment() -> None:
    """The answer wins where it came first; nobody is woken twice."""
    reply: Reply[int] = Reply()
    got: list[object] = []

    async def wait(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await reply)

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(wait, scope)
        await trio.testing.wait_all_tasks_blocked()
        reply.set(1)
        scopes[0].cancel()
    assert got == [1, 1, 1]


async def test_awaiting_is_a_checkpoint() -> None:
    """Also when the answer is there already."""
    reply: Reply[int] = Reply()
    reply.set(1)
    with trio.testing.assert_checkpoints():
        assert await reply == 1
