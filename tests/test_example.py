"""The example site: what a newcomer sees first."""

from __future__ import annotations

import pytest

from .support.browser import Tab
from .support.servers import Live
from .support.waiting import eventually

APP = "example_app:create_app()"
PAGES = [
    ("/", 2),
    ("/sliders", 1),
    ("/penguins", 1),
    ("/sea", 1),
    ("/weather", 1),
    ("/bokeh/weather", 1),
]


@pytest.mark.parametrize("server", ["werkzeug", "gunicorn-gthread"])
def test_every_page_is_clean(live: Live, tab: Tab, server: str) -> None:
    """Each page shows its plots, with nothing to complain of in console and log."""
    site = live(server, APP)
    for path, plots in PAGES:
        tab.open(site.url + path, plots)
    assert not any("could not be made" in message for message in tab.messages)
    assert tab.page.get_by_role("alert").count() == 0


def test_users_have_their_own(live: Live, tab: Tab) -> None:
    """Choosing a person changes the sliders by the view's edit, and the penguins by the hook."""
    site = live("werkzeug", APP)
    tab.open(f"{site.url}/sliders")
    assert tab.title() == "A wave"
    tab.page.get_by_role("button", name="Bob").click()
    tab.until_title("Bob's wave")
    model = "Bokeh.documents[0].get_model_by_name"
    assert tab.page.evaluate(f"{model}('frequency').value") == 3
    tab.page.evaluate(f"{model}('title').value = 'changed'")
    tab.until_title("changed")
    tab.open(f"{site.url}/penguins")
    assert "<b>146</b> of 333" in tab.page.evaluate(f"{model}('summary').text")
    tab.page.evaluate(f"{model}('penguins').selected.indices = [0, 1]")
    tab.page.wait_for_function(f"{model}('summary').text.startsWith('<b>2</b> of 333')")


def test_the_sea_streams(live: Live, tab: Tab) -> None:
    """The streaming plot gets new rows, and its session ends after the visitor has gone."""
    site = live("werkzeug", APP)
    tab.open(f"{site.url}/sea")
    length = "Bokeh.documents[0].get_model_by_name('sea').data.time.length"
    before = tab.page.evaluate(length)
    eventually(lambda: tab.page.evaluate(length) > before + 24, "more rows")


def test_the_directory_has_its_own_look(live: Live, tab: Tab) -> None:
    """The directory application's page has its own template, theme and style sheet."""
    site = live("werkzeug", APP)
    tab.open(f"{site.url}/bokeh/weather")
    assert tab.page.locator("main h1").inner_text() == "Weather"
    colour = "getComputedStyle(document.body).backgroundColor"
    assert tab.page.evaluate(colour) == "rgb(251, 250, 247)"
    back = tab.page.get_by_role("link", name="Back to the site")
    back.click()
    tab.page.wait_for_url(f"{site.url}/weather")
