"""When the server pings and when it gives a client up, at exact times."""

import math

from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.protocol.heartbeat import Beat, Heartbeat

HEARTBEAT, TIMEOUT = 25.0, 10.0
TIMES = st.lists(st.integers(min_value=0, max_value=2_000).map(float), max_size=60).map(sorted)


def new() -> Heartbeat:
    """A heartbeat begun at 0 with the default times."""
    return Heartbeat(HEARTBEAT, TIMEOUT, 0.0)


def test_an_idle_connection_is_pinged_after_a_heartbeat_of_silence() -> None:
    """Not a moment before, and once."""
    beat = new()
    assert beat.next_due() == 25.0
    assert beat.tick(24.999) is None
    assert beat.tick(25.0) is Beat.PING
    assert beat.tick(25.0) is None


def test_sending_puts_the_ping_off_no_further_than_hearing_does() -> None:
    """A client that watches a busy run says nothing of itself, so it must be asked all the same."""
    beat = new()
    beat.sent(24.0)
    assert beat.next_due() == 25.0
    beat.heard(20.0)
    assert beat.next_due() == 45.0


def test_nothing_heard_for_heartbeat_and_timeout_is_the_end() -> None:
    """Exactly then, also where a first ping went out early for want of something sent."""
    beat = new()
    beat.heard(20.0)
    assert beat.tick(25.0) is Beat.PING
    assert beat.tick(50.0) is Beat.PING
    assert beat.next_due() == 55.0
    assert beat.tick(54.999) is None
    assert beat.tick(55.0) is Beat.LOST
    assert beat.silent_for(55.0) == 35.0


def test_an_answer_in_time_starts_over() -> None:
    """The clock of silence begins with what was heard."""
    beat = new()
    assert beat.tick(25.0) is Beat.PING
    beat.heard(34.999)
    assert beat.tick(35.0) is None
    assert beat.next_due() == 50.0


def test_a_process_that_stood_still_asks_before_it_gives_up() -> None:
    """After a minute's sleep of the machine the client gets its whole time to answer."""
    beat = new()
    assert beat.tick(60.0) is Beat.PING
    assert beat.next_due() == 70.0
    assert beat.tick(69.9) is None
    assert beat.tick(70.0) is Beat.LOST


@given(TIMES, st.floats(min_value=0, max_value=9.99))
def test_a_healthy_client_that_only_answers_is_never_given_up(sends: list[float], latency: float) -> None:
    """Whenever the server sends something, and however late within the time-out the pong comes."""
    beat = new()
    pong_at = math.inf
    queue = [*sends, math.inf]
    while True:
        now = min(queue[0], beat.next_due(), pong_at)
        if now >= 2_000:
            break
        if now == pong_at:
            beat.heard(now)
            pong_at = math.inf
        elif now == queue[0]:
            beat.sent(queue.pop(0))
        else:
            assert beat.tick(now) is Beat.PING
            pong_at = min(pong_at, now + latency)


@given(TIMES, TIMES)
def test_a_silent_client_is_given_up_exactly_then(sends: list[float], sounds: list[float]) -> None:
    """Nothing that is sent puts the end off, and the client hears something in each heartbeat till then."""
    beat = new()
    last_sent = last_heard = 0.0
    actions = sorted([(time, "sent") for time in sends] + [(time, "heard") for time in sounds])
    while True:
        due = beat.next_due()
        if actions and actions[0][0] < due:
            time, action = actions.pop(0)
            if action == "sent":
                beat.sent(time)
                last_sent = time
            else:
                beat.heard(time)
                last_heard = time
            continue
        said = beat.tick(due)
        assert due - last_sent <= HEARTBEAT
        assert due - last_heard <= HEARTBEAT + TIMEOUT
        if said is Beat.LOST:
            assert due == last_heard + HEARTBEAT + TIMEOUT
            break
        assert said is Beat.PING
        last_sent = due
