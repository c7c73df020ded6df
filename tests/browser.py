"""Find Chromium, and get one where there is none: ``python -m tests.browser``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from playwright.sync_api import sync_playwright

FLAGS = [
    *["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
    *["--disable-background-networking", "--disable-component-update"],
]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """The path of a Chromium; None if there is none."""
    if system := next(filter(None, map(shutil.which, _NAMES)), None):
        return system
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if os.path.exists(own) else None


def install() -> None:
    """Get Playwright's Chromium, or else the one of Debian."""
    playwright = [sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"]
    done = subprocess.run(playwright, capture_output=True, timeout=600, check=False)
    if done.returncode == 0:
        return
    if shutil.which("apt-get"):
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(
                [*sudo, "apt-get", "-qq", *command], check=True, timeout=600, capture_output=True
            )


if __name__ == "__main__":
    if find() is None:
        sys.stderr.write("No Chromium here: getting one for the browser tests.\n")
        install()
    if find() is None:
        sys.exit("Chromium could not be installed. Install it, then run the tests again.")
