"""Documents that cannot be serialized."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from flask_bokeh import FlaskBokeh

from ..support.browser import Tab
from ..support.reloads import requests_of
from ..support.servers import Live

APP = "tests.live_apps.reloads:create_app()"


DECIMAL = "can't serialize <class 'decimal.Decimal'>"


PAGES = ["/show/decimal", "/bokeh/decimal", "/second-root", "/pull/direct", "/show/js"]


@pytest.mark.parametrize("path", [*PAGES, "/show/title"])
def test_a_document_that_cannot_be_serialized(live: Live, tab: Tab, path: str) -> None:
    """It is the box of a failed application, with a reference that the log has, once."""
    site = live(app=APP, clean=False)
    tab.page.goto(site.url + path)
    box = tab.page.get_by_role("alert")
    box.wait_for(timeout=60_000)
    assert "This plot could not be made." in box.inner_text()
    assert "Decimal" not in box.inner_text()
    reference = box.locator("code").inner_text()
    site.until_logged(f"[reference {reference}]")
    assert site.log.count("[reference ") == 1
    assert "error handling message" not in site.log
    if not path.startswith("/bokeh/"):
        assert requests_of(site)[f"GET {path}"] == 1
    else:
        assert site.log.count("GET /bokeh/decimal HTTP") == 1
        tab.forgive("404")  # no icon


def test_the_model_is_named(live: Live, tab: Tab) -> None:
    """The log, and in debug mode the box, name model, property, column and type."""
    site = live(app=APP, args=["--debug", "--no-reload"], clean=False)
    tab.page.goto(f"{site.url}/show/decimal")
    box = tab.page.get_by_role("alert")
    box.wait_for(timeout=60_000)
    told = r"ColumnDataSource\(id='p\d+', name='sales'\)\.data\['price'\]: " + re.escape(DECIMAL)
    assert re.search(told, box.inner_text())
    site.until_logged("[reference ")
    assert re.search(told, site.log)


def test_a_client_pulls_it(live: Live) -> None:
    """With transport='client', the view that pulls the session gets the error."""
    site = live(app=APP, clean=False)
    with pytest.raises(OSError, match="500"):
        site.get("/pull/client")
    site.until_logged(f"name='sales').data['price']: {DECIMAL}")


def test_a_callback_sets_it(live: Live, tab: Tab) -> None:
    """The page says so and stays; the log has the reason; who connects again gets the box."""
    site = live(app=APP, clean=False)
    tab.open(f"{site.url}/show/callback")
    tab.page.get_by_role("button", name="break").click()
    site.until_logged(DECIMAL)
    alert = tab.page.get_by_role("alert")
    alert.get_by_text("Something went wrong here.").wait_for(timeout=60_000)
    site.post("/cut")
    box = alert.filter(has_text="This plot could not be made.")
    box.wait_for(timeout=60_000)
    site.until_logged(f"[reference {box.locator('code').inner_text()}]")
    assert re.search(r"Button\(id='p\d+', name='button'\)\.tags: ", site.log)
    assert requests_of(site)["GET /show/callback"] == 1
    tab.forgive_the_network()
    tab.forgive("Unhandled ERROR reply")


def test_check_serializable(app: Flask, bokeh: FlaskBokeh) -> None:
    """flask bokeh check names what can't be sent, and fails."""
    from ..live_apps.reloads import decimal, plot

    bokeh.add_application("/plot", plot)
    bokeh.add_application("/decimal", decimal)
    bokeh.init_app(app)
    result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert re.search(
        r"PROBLEM +/decimal: .*\.data\['price'\]: " + re.escape(DECIMAL), result.output
    )
    assert re.search(r"ok +/plot: ", result.output)
