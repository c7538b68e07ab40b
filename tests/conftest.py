"""What every test shares: virtual time, an end to hung tests, Hypothesis profiles, chromium, no skips in CI.

Virtual time. Outside `tests/integration/` a coroutine test runs on a clock that jumps to the next deadline as
soon as every task waits: an hour's back-off takes no time, and its length is exact. pytest-trio looks for a
clock among the test's own arguments, so an autouse fixture would change nothing; each test is given its runner
here instead. For `@given` tests pytest-trio takes no runner at all and would use the real clock in silence:
their inner coroutine is wrapped here, before pytest-trio sees it.

Hung tests. Interrupting trio from a signal leaves it unusable for all later tests, so a deadline inside the run
ends a coroutine test in order and tells which task waits where. On virtual time the clock jumps right to that
deadline when nothing else is due: a deadlock shows at once. pytest-timeout is left for tests without trio.
(The clock sees no threads: it would jump while one works. Tests with threads belong to `tests/integration/`.)

CI (`CI=true`). There everything that a test may need is installed, so a skipped test is a missing installation:
it is reported as a failure.
"""

import contextvars
import functools
import os
import shutil
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing
from hypothesis import settings

IN_CI = os.environ.get("CI") == "true"
INTEGRATION = Path(__file__).parent / "integration"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")  # Debian's name, Ubuntu's, the vendor's

# Longer than anything that callboard waits for, short enough that a heartbeat's ticks fit in within seconds.
VIRTUAL_LIMIT_SECONDS = 7 * 24 * 3600
# Below the time-out of pytest-timeout in pyproject.toml, which would be the wrong way to end a coroutine test.
REAL_LIMIT_SECONDS = 90

# Their frames say nothing about a test.
TRIO_FOLDERS = tuple(f"{Path(trio.__file__).parent.parent / name}{os.sep}" for name in ("pytest_trio", "trio"))

ReportT = TypeVar("ReportT", pytest.TestReport, pytest.CollectReport)

# No deadline: it would measure the machine. In CI the same examples are drawn each time, so that no change is
# judged by luck; everywhere else new ones are drawn, and a failure prints what repeats it.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if IN_CI else "local")


def _tasks_below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _tasks_below(child)


def _where_tasks_wait(main: trio.lowlevel.Task) -> str:
    waits = []
    for task in _tasks_below(main):
        frames = traceback.StackSummary.extract(task.iter_await_frames())
        own = [frame for frame in frames if not frame.filename.startswith(TRIO_FOLDERS)]
        waits.append(f"task {task.name}\n{''.join(traceback.format_list(own))}")
    return "\n".join(waits)


async def _end_when_hung(
    async_fn: Callable[..., Awaitable[Any]], args: tuple[object, ...], limit_seconds: float
) -> Any:
    hung: list[str] = []
    main = trio.lowlevel.current_task()

    async def watch(scope: trio.CancelScope) -> None:
        await trio.sleep(limit_seconds)
        hung.append(_where_tasks_wait(main))
        scope.cancel()

    with trio.CancelScope() as scope:
        # A system task, not a nursery: it adds no level of exception groups, and ends with the main task.
        trio.lowlevel.spawn_system_task(watch, scope)
        try:
            return await async_fn(*args)
        finally:
            if hung:
                message = f"the test hung: {limit_seconds} s passed on its clock\n{hung[0]}"
                raise pytest.fail.Exception(message, pytrace=False) from None


def run_on_virtual_time(
    async_fn: Callable[..., Awaitable[Any]],
    *args: object,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> Any:
    """Run `async_fn` as trio's main task on `clock`, or on one that jumps whenever every task waits."""
    virtual = trio.testing.MockClock(autojump_threshold=0) if clock is None else clock
    return trio.run(_end_when_hung, async_fn, args, VIRTUAL_LIMIT_SECONDS, clock=virtual, instruments=instruments)


def run_on_real_time(
    async_fn: Callable[..., Awaitable[Any]],
    *args: object,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> Any:
    """Run `async_fn` as trio's main task on `clock`, or on the real one."""
    return trio.run(_end_when_hung, async_fn, args, REAL_LIMIT_SECONDS, clock=clock, instruments=instruments)


def _run_each_example(inner_test: Callable[..., Awaitable[Any]], run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner_test)
    def run_one_example(*args: object, **kwargs: object) -> Any:
        # In an empty context, as programs have: `trio.testing` and pytest-trio set variables in that of the tests.
        return contextvars.Context().run(run, functools.partial(inner_test, *args, **kwargs))

    return run_one_example


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every coroutine test its runner: real time under `tests/integration/`, virtual time elsewhere."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        run = run_on_real_time if INTEGRATION in item.path.parents else run_on_virtual_time
        by_hypothesis = getattr(item.obj, "hypothesis", None)
        if by_hypothesis is not None:
            # One handle serves all parameters of a test: only the first item finds it unwrapped.
            if iscoroutinefunction(by_hypothesis.inner_test):
                by_hypothesis.inner_test = _run_each_example(by_hypothesis.inner_test, run)
        elif iscoroutinefunction(item.obj):
            # In front of all other marks: pytest-trio takes the first `run` that it meets.
            item.add_marker(pytest.mark.trio(run=run), append=False)


def _skip_fails_in_ci(report: ReportT) -> ReportT:
    """Make a skip a failure in CI; an expected failure, which pytest calls skipped too, stays what it is."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"a skipped test is a failure in CI ({reason})"
    return report


# Outermost (tryfirst), so that pytest has already told expected failures apart.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge skips of single tests: marks, `pytest.skip()`, fixtures."""
    return _skip_fails_in_ci((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge skips of whole modules: `pytest.importorskip()`, `allow_module_level=True`."""
    return _skip_fails_in_ci((yield))


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """The system's chromium; a test that needs one is skipped where there is none."""
    for name in CHROMIUM_NAMES:
        if found := shutil.which(name):
            return Path(found)
    pytest.skip("chromium is missing; install it with: apt-get install chromium")
