"""A tab of a real browser, with the messages of its console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .waiting import TIMEOUT, eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize

FLAGS = [
    *["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
    *["--disable-background-networking", "--disable-component-update"],
    "--process-per-site",  # the next page finds BokehJS compiled
]
"""Command line flags of Chromium."""


def new_profile(browser: Browser) -> BrowserContext:
    """Return a profile whose pages wait as long as a busy machine needs."""
    viewport: ViewportSize = {"width": 1000, "height": 900}
    profile = browser.new_context(viewport=viewport, ignore_https_errors=True)
    profile.set_default_timeout(TIMEOUT * 1000)
    return profile


class Tab:
    """A page of the browser, with the messages of its console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.messages: list[str] = []
        self.trouble: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.trouble.append(f"exception: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        self.messages.append(message.text)
        if message.type in ("error", "warning", "assert"):
            self.trouble.append(f"{message.type}: {message.text}")

    def open(self, url: str, plots: int = 1) -> Tab:
        """Open a page and wait until it shows a number of sessions."""
        self.page.goto(url)
        self.page.wait_for_function(
            "n => window.Bokeh && Bokeh.documents.length >= n && "
            "Bokeh.documents.every(d => d.is_idle)",
            arg=plots,
        )
        return self

    def forgive_the_network(self) -> None:
        """Remove messages that a browser writes when its server goes away."""
        self.forgive(
            *["WebSocket connection to", "Failed to connect", "Lost websocket", "websocket"],
            "Failed to load resource",
            "Still in CONNECTING state",  # BokehJS sends a change while it reconnects
            "already in CLOSING or CLOSED state",  # or before it knows
            "not connected so cannot send",  # or while it is not connected
        )

    def forgive(self, *parts: str) -> None:
        """Remove lines of trouble that the test expects."""
        self.trouble = [line for line in self.trouble if not any(part in line for part in parts)]

    def title(self) -> str:
        """Return the title of the plot on a page with one plot."""
        return str(self.page.evaluate("Bokeh.documents[0].get_model_by_name('plot').title.text"))

    def until_title(self, text: str, name: str = "plot") -> None:
        """Wait until a plot of the page has a title; its document may be any of the page."""
        self.page.wait_for_function(
            "([name, text]) => window.Bokeh?.documents.some("
            "document => document.get_model_by_name(name)?.title.text == text)",
            arg=[name, text],
        )

    def until_message(self, text: str) -> None:
        """Wait until the console has a message that contains a text."""

        def said() -> bool:
            self.page.wait_for_timeout(20)  # messages arrive while Playwright waits
            return any(text in message for message in self.messages)

        eventually(said, f"{text!r} in the console")

    def move_slider(self, presses: int = 1, nth: int = 0) -> None:
        """Move a slider with the keyboard."""
        handle = self.page.locator(".noUi-handle").nth(nth)
        handle.focus()
        for _ in range(presses):
            handle.press("ArrowRight")
