"""A real Chromium, without a window: `apt install chromium`; tests that need one are skipped where there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, of Playwright's kind."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed here (apt install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of the server in a tab; what the browser complains of is an error of the test.

    Attributes:
        page: of Playwright's kind.
        complaints: errors and warnings so far.
    """

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)
        self.page.goto(url)

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.context.close()
        assert kind is not None or not self.complaints, self.complaints

    def _heard(self, message: Any) -> None:
        # That a response was refused is said by the page; the browser says so too.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def choose(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def add(self, name: str, data: bytes) -> None:
        """Drop a document on the page, so to speak."""
        self.page.locator("#adding").wait_for()
        file = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
        self.page.locator("#file").set_input_files([file])

    def ask(self, question: str) -> Any:
        """Ask, and wait for all of the answer; its element."""
        before = self.page.locator("#talk > li").count()
        self.page.locator("#question").fill(question)
        self.page.get_by_role("button", name="Ask").click()
        turn = self.page.locator("#talk > li").nth(before)
        turn.locator("xpath=self::*[@aria-busy='false']").wait_for()
        return turn

    def marked(self) -> str:
        """The words that are marked on the page that is shown, without spaces."""
        self.page.locator("#viewer mark").first.wait_for()
        self.page.locator("#sheet[aria-busy=false]").wait_for()
        return "".join("".join(self.page.locator("#viewer mark").all_text_contents()).split())
