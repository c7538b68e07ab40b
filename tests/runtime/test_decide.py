"""A7, the deciding part: pure functions against a model that counts by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import ChildSpec, ExitKind, Plan, Restart, Strategy, Supervision, decide

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
        plan = decide(supervision, Restart.PERMANENT, ExitKind.ABNORMAL, history, now)
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
    plan = decide(Supervision(intensity=intensity, period_seconds=1_000), restart, exit_kind, history, 100)
    if not wanted:
        assert plan == Plan(restart=False, give_up=False, history=tuple(history))
    else:
        assert plan.restart == (len(history) < intensity)
        assert plan.give_up == (not plan.restart)


def test_the_edge_of_the_window() -> None:
    """A restart exactly one period ago no longer counts."""
    supervision = Supervision(intensity=1, period_seconds=5)
    assert decide(supervision, Restart.PERMANENT, ExitKind.ABNORMAL, (10.0,), 14.999).give_up
    assert decide(supervision, Restart.PERMANENT, ExitKind.ABNORMAL, (10.0,), 15.0) == Plan(
        restart=True, give_up=False, history=(15.0,)
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
