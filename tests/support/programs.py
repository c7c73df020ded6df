"""Find Chromium and nginx, or install them: ``python -m tests.support.programs``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SBIN = "/usr/sbin:/usr/local/sbin"


def find_browser() -> str | None:
    """Return the path of a Chromium, or None."""
    if system := next(filter(None, map(shutil.which, _BROWSERS)), None):
        return system
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if os.path.exists(own) else None


def find_nginx() -> str | None:
    """Return the path of nginx, or None."""
    return shutil.which("nginx") or shutil.which("nginx", path=_SBIN)


def install_browser() -> None:
    """Install Playwright's Chromium, or else Debian's."""
    playwright = [sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"]
    done = subprocess.run(playwright, capture_output=True, timeout=600, check=False)
    if done.returncode != 0:
        install_package("chromium")


def install_package(name: str) -> bool:
    """Install a Debian package; return True on success."""
    if not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    for command in (["update"], ["install", "-y", "--no-install-recommends", name]):
        done = subprocess.run(
            [*sudo, "apt-get", "-qq", *command], timeout=600, capture_output=True, check=False
        )
    return done.returncode == 0


if __name__ == "__main__":
    if find_browser() is None:
        sys.stderr.write("No Chromium here: getting one for the browser tests.\n")
        install_browser()
    if find_browser() is None:
        sys.exit("Chromium could not be installed. Install it, then run the tests again.")
    if find_nginx() is None:
        sys.stderr.write("No nginx here: getting it for the tests behind a proxy.\n")
        if not install_package("nginx-light"):
            sys.stderr.write("It could not be installed: those tests will be skipped.\n")
