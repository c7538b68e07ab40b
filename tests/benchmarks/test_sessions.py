"""The clients and the pace of the benchmarks of whole nodes: what they let pass, and what they do not."""

from typing import Any

import pytest

from benchmarks.delivery.load import Wrong
from benchmarks.machine import this_machine
from benchmarks.rounds import Result, Run
from benchmarks.samples import Sample
from benchmarks.sessions.clients import Device, Plain
from benchmarks.sessions.idle import CASE
from benchmarks.sessions.load import percentiles
from benchmarks.sessions.measure import BARE, OURS_IN_MEMORY
from benchmarks.sessions.pacing import Order
from benchmarks.sessions.verdict import say_target, warn_of_load
from benchmarks.trials import Scenario, Trial


def events(*records: tuple[int, str]) -> bytes:
    """A message of callboard with deltas of these numbers and texts."""
    joined = ",".join(f'{{"seq":{seq},"type":"agent_delta","data":{{"text":"{text}"}}}}' for seq, text in records)
    return f'{{"t":"events","events":[{joined}]}}'.encode()


def welcomed(start: dict[str, Any] | None = None, *, first: int = 1, head: int = 0) -> Device:
    """A device behind its welcome."""
    device = Device("u00001")
    device.start = start
    device.take(memoryview(b'{"t":"welcome","epoch":"e","from":%d,"head":%d}' % (first, head)), 0.0)
    return device


def test_lateness_counts_from_when_it_was_to_be_said() -> None:
    """Red if it counts from when the agent came to it: what was held up would look punctual."""
    device = welcomed()
    device.take(memoryview(events((1, "u00001 10.000000 x"), (2, "u00001 10.500000 x"), (3, "u00001 - x"))), 11.0)
    assert device.latencies == [1.0, 0.5]
    assert (device.got, device.applied) == (3, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        events((2, "u00001 - x")),
        events((1, "u00001 - x"), (1, "u00001 - x")),
        events((1, "u00002 - x")),
        b'{"t":"error","code":"rate"}',
        b'{"t":"result","id":1,"error":{"code":"busy"}}',
    ],
)
def test_a_device_takes_nothing_that_is_not_the_next_of_its_own(wrong: bytes) -> None:
    """Red if a gap, a repetition, another's event or an error passes."""
    with pytest.raises(Wrong):
        welcomed().take(memoryview(wrong), 0.0)


def test_a_resume_that_begins_elsewhere_is_wrong() -> None:
    """Red if a server may leave out, or send again, what is before the position."""
    assert welcomed({"epoch": "e", "seq": 7}, first=8, head=9).applied == 7
    with pytest.raises(Wrong):
        welcomed({"epoch": "e", "seq": 7}, first=1, head=9)


def test_a_plain_client_counts_from_one() -> None:
    """Red if the peer's events are checked less than ours."""
    client = Plain("u00001")
    with pytest.raises(Wrong):
        client.take(memoryview(b'{"seq":2,"type":"agent_delta","data":{"text":"u00001 - x"}}'), 0.0)


def test_percentiles_are_values_that_were_measured() -> None:
    """Red if one is made up between two, or off by one."""
    found = percentiles(number / 1_000 for number in range(1, 1_001))
    assert found == {"p50 ms": 500.0, "p99 ms": 990.0, "p99.9 ms": 999.0, "max ms": 1000.0}
    assert percentiles([0.25])["p50 ms"] == 250.0
    assert percentiles([]) == {}


def test_moments_are_fixed_and_spread() -> None:
    """Red if the rate is missed, or all sayers speak in the same moment."""
    first = Order("pace 10 5 100.0 0").moments()
    assert first == pytest.approx([100.0, 100.1, 100.2, 100.3, 100.4])
    assert Order("pace 10 1 100.0 7").moments() == pytest.approx([100.007])
    assert Order("pace 10 1 100.0 107").moments() == pytest.approx([100.007])


def seen(*values: float, load: float = 10.0) -> Run:
    """A run that measured these values of callboard's, idle."""
    trial = Trial(CASE, OURS_IN_MEMORY.contender, lambda: Sample(1, 1.0, 1.0))
    other = Trial(CASE, BARE.contender, lambda: Sample(1, 1.0, 1.0))
    run = Run(Scenario("idle", "Idle", [trial, other]), this_machine(), "cpu", False)
    for round, value in enumerate(values):
        sample = Sample(1, 1.0, 1.0, value, {"load CPU %": load})
        run.results += [Result(trial, round, sample, value, "KiB"), Result(other, round, sample, 0.0, "KiB")]
    return run


def test_a_target_is_judged_by_the_median(capsys: pytest.CaptureFixture[str]) -> None:
    """Red if a miss is called met, or the peer's values are judged."""
    say_target(seen(20.0, 25.0, 90.0), "idle", [20.0, 25.0, 90.0], 26)
    say_target(seen(20.0), "idle", [20.0, 27.0, 90.0], 26)
    say_target(seen(0.5), "ratio", [0.5], 0.7, at_most=False)
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines()] == ["met", "MISSED", "MISSED"]


def test_a_busy_load_generator_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Red if figures of the load generator pass as the server's."""
    warn_of_load(seen(1.0, load=89.0))
    assert capsys.readouterr().err == ""
    warn_of_load(seen(1.0, load=95.0))
    assert "took 95 % of its core" in capsys.readouterr().err
