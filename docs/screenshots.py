"""Takes the pictures of the demo that stand in the README, from `callboard demo` itself, with the system's chromium.

.venv/bin/python docs/screenshots.py
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

HERE = Path(__file__).parent


def ask(page: Page, question: str, number: int) -> None:
    """Ask, and wait until the `number`-th answer is complete."""
    page.get_by_test_id("composer").fill(question)
    page.get_by_test_id("send").click()
    expect(page.get_by_test_id("answer").nth(number - 1)).to_have_attribute("data-state", "completed", timeout=60_000)


def desktop(browser: Browser, url: str) -> None:
    """One answer with its steps, at 1280 by 800."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{url}/?user=ada")
    ask(page, "How do I run another program and read its output?", 1)
    ask(page, "What does textwrap.shorten do?", 2)
    page.screenshot(path=HERE / "demo-desktop.png")


def phone(browser: Browser, url: str) -> None:
    """The same on a phone, dark."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, device_scale_factor=2, is_mobile=True, color_scheme="dark"
    )
    page = context.new_page()
    page.goto(f"{url}/?user=grace")
    ask(page, "What does json.dumps do?", 1)
    ask(page, "And its second argument?", 2)
    page.screenshot(path=HERE / "demo-phone.png")


def split(browser: Browser, url: str) -> None:
    """Two users side by side."""
    page = browser.new_page(viewport={"width": 1440, "height": 860})
    page.goto(f"{url}/?split=lin,mary")
    for pane, question in ((1, "What does bisect.insort do?"), (2, "Which module parses csv files?")):
        frame = page.frame_locator(f"[data-testid=pane-{pane}]")
        frame.get_by_test_id("composer").fill(question)
        frame.get_by_test_id("send").click()
        expect(frame.get_by_test_id("answer")).to_have_attribute("data-state", "completed", timeout=60_000)
    page.screenshot(path=HERE / "demo-split.png")


def main() -> None:
    """Start the demo, take the pictures, stop it."""
    command = [sys.executable, "-m", "callboard", "demo", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo, sync_playwright() as playwright:
        assert demo.stdout is not None
        found = next(filter(None, (re.search(r"Open (http://\S+)", line) for line in demo.stdout)))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for picture in (desktop, phone, split):
            picture(browser, found[1])
        browser.close()
        demo.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
