"""Real servers and a real browser: pages, personal edits, live callbacks."""

from __future__ import annotations

import pytest

from .conftest import COMMANDS, Live, Tab

SERVERS = list(COMMANDS)


@pytest.mark.parametrize("server", SERVERS)
def test_plots_are_personal_and_live(live: Live, tab: Tab, server: str) -> None:
    """On every server the edit made for a user is there, and the application's callback answers."""
    site = live(server)
    tab.open(f"{site.url}/mine?user=ann")
    assert tab.title() == "made for ann"
    tab.move_slider(3)
    tab.until_title("made for ann k=4")
