"""A7, the deciding part: pure functions against a model that counts by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import Backoff, ChildSpec, Exit, ExitKind, Plan, Restart, Strategy, Supervision, decide

ALONE = {"a": Restart.PERMANENT}
FAILED = Exit("a", ExitKind.ABNORMAL)

times = st.lists(st.integers(0, 100), max_size=30).map(sorted)


# A7
@given(
    ends=times,
    intensity=st.integers(0, 5),
    period=st.integers(1, 40),
    strategy=st.sampled_from(Strategy),
)
def test_intensity_counts_restarts_in_a_sliding_window(
    ends: list[int], intensity: int, period: int, strategy: Strategy
) -> None:
    """A restart is allowed while fewer than `intensity` of all restarts ever lie within the last period."""
    supervision = Supervision(strategy, intensity, period)
    restarted: list[int] = []
    history: tuple[float, ...] = ()
    for now in ends:
        plan = decide(supervision, ALONE, FAILED, history, now)
        within = sum(1 for at in restarted if at > now - period)
        assert (plan.restart, plan.give_up) == (within < intensity, within >= intensity)
        if plan.restart:
            restarted.append(now)
        history = plan.history
        assert list(history) == [at for at in restarted if at > now - period]
        assert len(history) <= intensity


# A7
@given(
    restart=st.sampled_from(Restart), exit_kind=st.sampled_from(ExitKind), intensity=st.integers(0, 2), history=times
)
def test_the_kind_of_restart_decides_whether_an_end_is_repaired(
    restart: Restart, exit_kind: ExitKind, intensity: int, history: list[int]
) -> None:
    """OTP's table; what is not to be restarted neither uses up the window nor gives up."""
    wanted = {
        (Restart.PERMANENT, ExitKind.NORMAL): True,
        (Restart.PERMANENT, ExitKind.ABNORMAL): True,
        (Restart.TRANSIENT, ExitKind.NORMAL): False,
        (Restart.TRANSIENT, ExitKind.ABNORMAL): True,
        (Restart.TEMPORARY, ExitKind.NORMAL): False,
        (Restart.TEMPORARY, ExitKind.ABNORMAL): False,
    }[restart, exit_kind]
    supervision = Supervision(intensity=intensity, period_seconds=1_000)
    plan = decide(supervision, {"a": restart}, Exit("a", exit_kind), history, 100)
    if not wanted:
        assert plan == Plan(give_up=False, history=tuple(history))
        assert not plan.restart
    else:
        assert plan.restart == (len(history) < intensity)
        assert plan.give_up == (not plan.restart)


def test_the_edge_of_the_window() -> None:
    """A restart exactly one period ago no longer counts."""
    supervision = Supervision(intensity=1, period_seconds=5)
    assert decide(supervision, ALONE, FAILED, (10.0,), 14.999).give_up
    assert decide(supervision, ALONE, FAILED, (10.0,), 15.0) == Plan(
        give_up=False, history=(15.0,), start=("a",), failures=1
    )


@pytest.mark.parametrize("intensity, period_seconds", [(-1, 5.0), (1, 0.0), (1, -math.inf)])
def test_a_policy_that_makes_no_sense_is_refused(intensity: int, period_seconds: float) -> None:
    """The message shows the value."""
    with pytest.raises(ValueError, match=str(min(intensity, period_seconds))):
        Supervision(intensity=intensity, period_seconds=period_seconds)


def test_a_specification_that_makes_no_sense_is_refused() -> None:
    """A child needs an id, and no time that is negative."""
    with pytest.raises(ValueError, match="id"):
        ChildSpec("", lambda: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="-1"):
        ChildSpec("a", lambda: None, stop_seconds=-1)  # type: ignore[arg-type, return-value]


# A7
@given(
    restarts=st.lists(st.sampled_from(Restart), min_size=1, max_size=6),
    ended=st.integers(0, 5),
    strategy=st.sampled_from(Strategy),
)
def test_the_strategy_says_who_is_restarted_with_it(restarts: list[Restart], ended: int, strategy: Strategy) -> None:
    """OTP's: nobody else, all, or those started after it; temporary siblings stop and do not come back."""
    children = {str(n): restart for n, restart in enumerate(restarts)}
    id = str(ended % len(restarts))
    plan = decide(Supervision(strategy), children, Exit(id, ExitKind.ABNORMAL), (), 0)
    if children[id] is Restart.TEMPORARY:
        assert not plan.restart
        assert plan.stop == ()
        return
    with_it = {
        Strategy.ONE_FOR_ONE: [],
        Strategy.DYNAMIC: [],
        Strategy.ONE_FOR_ALL: [other for other in children if other != id],
        Strategy.REST_FOR_ONE: [other for other in children if int(other) > int(id)],
    }[strategy]
    assert list(plan.stop) == with_it[::-1]
    back = {id, *(other for other in with_it if children[other] is not Restart.TEMPORARY)}
    assert list(plan.start) == sorted(back)


# A7
@given(
    ran=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    first=st.integers(1, 4),
    factor=st.integers(1, 3),
    cap=st.integers(1, 50),
    jitter=st.sampled_from([0.0, 0.5, 1.0]),
    chance=st.sampled_from([0.0, 0.25, 1.0]),
)
def test_a_back_off_grows_until_the_child_has_run_for_a_period(
    ran: list[int], first: int, factor: int, cap: int, jitter: float, chance: float
) -> None:
    """Each failure in a row waits `factor` times as long, up to the cap; chance only shortens it, by its share."""
    supervision = Supervision(intensity=100, period_seconds=10, backoff=Backoff(first, factor, cap, jitter))
    now, failures = 0.0, 0
    history: tuple[float, ...] = ()
    expected = first
    for seconds in ran:
        now += seconds
        expected = first if seconds >= 10 or failures == 0 else expected * factor
        plan = decide(supervision, ALONE, Exit("a", ExitKind.ABNORMAL, failures, seconds), history, now, chance)
        assert plan.delay_seconds == pytest.approx(min(expected, cap) * (1 - jitter * chance))
        assert plan.history[-1] == now + plan.delay_seconds
        now, failures, history = plan.history[-1], plan.failures, plan.history


def test_a_back_off_of_many_failures_is_the_cap() -> None:
    """Where the power is no number any more, the cap still is."""
    assert Backoff(cap_seconds=30, jitter=0).delay_seconds(10**6, 0.5) == 30


@pytest.mark.parametrize(
    "name, value", [("first_seconds", 0.0), ("factor", 0.5), ("cap_seconds", 0.0), ("jitter", 1.5), ("jitter", -0.1)]
)
def test_a_back_off_that_makes_no_sense_is_refused(name: str, value: float) -> None:
    """The message shows the field and the value."""
    with pytest.raises(ValueError, match=f"'{name}'.*{value}"):
        Backoff(**{name: value})


@given(restart=st.sampled_from(Restart), history=times)
def test_an_echo_uses_up_nothing(restart: Restart, history: list[int]) -> None:
    """What was counted at a sibling is repaired here too, whatever the window says, if it is to be repaired at all."""
    supervision = Supervision(intensity=len(history) // 2, period_seconds=1_000)
    plan = decide(supervision, {"a": restart}, Exit("a", ExitKind.ABNORMAL, echo=True), history, 100)
    assert plan.restart == (restart is not Restart.TEMPORARY)
    assert not plan.give_up
    assert plan.history == tuple(history)
