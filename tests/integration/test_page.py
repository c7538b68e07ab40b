"""The demo's page in a real browser: a question and its answer, through reloads, cuts, closed tabs and stops."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .steered import SteeredNode, steered_node

QUESTION = "Tell me."


@pytest.fixture(scope="module")
def browser(chromium_path: Path) -> Iterator[Browser]:
    """One browser for all tests; each opens contexts of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def node() -> Iterator[SteeredNode]:
    """A node whose agent the test steers."""
    with steered_node() as node:
        yield node


def open_page(browser: Browser, url: str, *, width: int = 1280, height: int = 800) -> Page:
    """A page in a context of its own: another browser, as far as storage goes. A page's error fails the test."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: pytest.fail(f"the page raised {error}"))
    page.goto(url)
    return page


def live(page: Page) -> None:
    """Wait until the page is connected."""
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live", timeout=20_000)


def ask(page: Page, question: str) -> None:
    """Type a question and send it."""
    page.get_by_test_id("composer").fill(question)
    page.get_by_test_id("send").click()


def answer_text(page: Page) -> str:
    """The text of the only answer, as shown."""
    return page.get_by_test_id("answer").inner_text()


def test_reload_in_mid_answer(browser: Browser, node: SteeredNode) -> None:
    """An answer goes on where it was after a reload, and nothing of it is there twice."""  # S4
    page = open_page(browser, f"{node.url}/?user=ada")
    live(page)
    ask(page, QUESTION)
    node.wait_run()
    node.say("ada", "first half, ")
    expect(page.get_by_test_id("answer")).to_contain_text("first half,")
    page.reload()
    node.say("ada", "second half.")
    node.finish("ada")
    answer = page.get_by_test_id("answer")
    expect(answer).to_have_attribute("data-state", "completed")
    assert len(re.findall("first half, second half.", answer_text(page))) == 1
    expect(page.get_by_test_id("message-user")).to_have_count(1)
    expect(page.get_by_test_id("message-user")).to_contain_text(QUESTION)


def test_cut_connection(browser: Browser, node: SteeredNode) -> None:
    """What was said while the connection was cut arrives once, after it is back."""  # S4 S9
    page = open_page(browser, f"{node.url}/?user=ada")
    live(page)
    ask(page, QUESTION)
    node.wait_run()
    node.say("ada", "before, ")
    expect(page.get_by_test_id("answer")).to_contain_text("before,")
    page.get_by_test_id("cut").click()
    expect(page.get_by_test_id("connection")).not_to_have_attribute("data-state", "live")
    node.say("ada", "meanwhile, ")
    live(page)
    node.say("ada", "after.")
    node.finish("ada")
    expect(page.get_by_test_id("answer")).to_have_attribute("data-state", "completed")
    assert len(re.findall("before, meanwhile, after.", answer_text(page))) == 1
    assert not node.cancelled.is_set()


def test_closed_tab(browser: Browser, node: SteeredNode) -> None:
    """A closed tab cancels nothing; the answer is there for the next one."""  # S9
    page = open_page(browser, f"{node.url}/?user=ada")
    live(page)
    ask(page, QUESTION)
    node.wait_run()
    page.close()
    node.say("ada", "said to nobody.")
    node.finish("ada")
    again = open_page(browser, f"{node.url}/?user=ada")
    expect(again.get_by_test_id("answer")).to_have_attribute("data-state", "completed")
    assert "said to nobody." in answer_text(again)
    assert not node.cancelled.is_set()


def test_stop(browser: Browser, node: SteeredNode) -> None:
    """The stop button ends the run and its agent, and says so."""  # S9
    page = open_page(browser, f"{node.url}/?user=ada")
    live(page)
    ask(page, QUESTION)
    node.wait_run()
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("answer")).to_have_attribute("data-state", "cancelled")
    assert node.cancelled.wait(20)
    assert node.report()["runs"] == {"open": 0, "started": 1, "agent_cancelled": 1}


def test_two_users(browser: Browser, node: SteeredNode) -> None:
    """Side by side, each user sees their own question and answer, and nothing of the other's."""  # S1
    page = open_page(browser, f"{node.url}/?split=ada,grace")
    panes = {name: page.frame_locator(f"[data-testid=pane-{index}]") for index, name in enumerate(("ada", "grace"), 1)}
    for name, pane in panes.items():
        expect(pane.get_by_test_id("connection")).to_have_attribute("data-state", "live", timeout=20_000)
        pane.get_by_test_id("composer").fill(f"{name} asks")
        pane.get_by_test_id("send").click()
        node.wait_run()
        node.say(name, f"for {name} only")
    for name in panes:
        node.finish(name)
    for name, pane in panes.items():
        other = "grace" if name == "ada" else "ada"
        expect(pane.get_by_test_id("answer")).to_have_attribute("data-state", "completed")
        expect(pane.get_by_test_id("answer")).to_contain_text(f"for {name} only")
        expect(pane.locator("body")).not_to_contain_text(f"{other} asks")
        expect(pane.locator("body")).not_to_contain_text(f"for {other} only")


def test_new_conversation(browser: Browser, node: SteeredNode) -> None:
    """A new conversation is empty, the old one stays in the list, and its answer is still there."""
    page = open_page(browser, f"{node.url}/?user=ada")
    live(page)
    ask(page, QUESTION)
    node.wait_run()
    node.say("ada", "of the first conversation")
    node.finish("ada")
    expect(page.get_by_test_id("answer")).to_have_attribute("data-state", "completed")
    page.get_by_test_id("new-conversation").click()
    expect(page.get_by_test_id("answer")).to_have_count(0)
    live(page)
    ask(page, "And now?")
    node.wait_run()
    node.finish("ada")
    expect(page.get_by_test_id("answer")).to_have_attribute("data-state", "completed")
    entries = page.get_by_test_id("conversations").get_by_role("listitem")
    expect(entries).to_have_count(2)
    page.get_by_test_id("conversations").get_by_text("Main").click()
    expect(page.get_by_test_id("answer")).to_contain_text("of the first conversation")


def test_phone(browser: Browser, node: SteeredNode) -> None:
    """At 360 pixels nothing sticks out to the side, before, during and after an answer."""
    page = open_page(browser, f"{node.url}/?user=ada", width=360, height=740)
    live(page)
    assert overhang(page) == 0
    ask(page, QUESTION)
    node.wait_run()
    node.say("ada", "a_very_long_name_" * 20 + "\n\n```\n" + "code " * 60 + "\n```\n")
    expect(page.get_by_test_id("answer")).to_contain_text("code")
    assert overhang(page) == 0
    node.finish("ada")
    expect(page.get_by_test_id("answer")).to_have_attribute("data-state", "completed")
    assert overhang(page) == 0


def overhang(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    wide: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return max(0, wide)


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of `callboard demo`, a process of its own, stopped by Ctrl-C at the end."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))  # here its key and its journal lie
    command = [sys.executable, "-m", "callboard", "demo", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            found = re.search(r"Open (http://127\.0\.0\.1:\d+)", line)
            if found:
                yield found[1]
                break
        process.send_signal(signal.SIGINT)
        process.wait(20)
        errors = process.stderr.read()
        process.stdout.read()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_the_other_commands_come_to_the_demo_without_more_ado(demo: str) -> None:
    """With the development key: what its first lines and the README say to try next has to work."""
    command = [sys.executable, "-m", "callboard", "ticket", "--user", "ada", "--url", demo]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert asked.returncode == 0, asked.stderr
    assert '"ticket"' in asked.stdout


def test_librarian(browser: Browser, demo: str) -> None:
    """The golden path: log in, ask, see it think and use its tools, read the answer, reload, and it is still there."""
    page = open_page(browser, demo)
    page.get_by_test_id("login-user").fill("ada")
    page.get_by_test_id("login-go").click()
    live(page)
    ask(page, "What does textwrap.shorten do?")
    answer = page.get_by_test_id("answer")
    expect(answer).to_have_attribute("data-state", "completed", timeout=60_000)
    text = answer_text(page)
    assert "Collapse and truncate the given text to fit in the given width." in text
    assert "textwrap.py" in text
    assert page.get_by_test_id("thinking").count() >= 1
    tools = page.get_by_test_id("tool")
    assert tools.count() >= 1
    for index in range(tools.count()):
        expect(tools.nth(index)).to_have_attribute("data-state", "ok")
    page.reload()
    expect(answer).to_have_attribute("data-state", "completed")
    assert answer_text(page).splitlines()[-3:] == text.splitlines()[-3:]
    ask(page, "And its second argument?")
    expect(page.get_by_test_id("answer")).to_have_count(2)
    expect(page.get_by_test_id("answer").nth(1)).to_have_attribute("data-state", "completed")
    expect(page.get_by_test_id("answer").nth(1)).to_contain_text("width")
