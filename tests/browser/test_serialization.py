"""Documents that cannot be serialized."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from flask_bokeh import FlaskBokeh

from ..support.browser import Tab
from ..support.reloads import RequestCounts
from ..support.servers import Live, LiveServer
from ..support.waiting import eventually

APP = "tests.live_apps.reloads:create_app()"


DECIMAL = "can't serialize <class 'decimal.Decimal'>"


@pytest.fixture
def site(module_live: Live) -> LiveServer:
    return module_live(app=APP, clean=False)


PAGES = ["/show/decimal", "/bokeh/decimal", "/second-root", "/pull/direct", "/show/js"]


@pytest.mark.parametrize("path", [*PAGES, "/show/title"])
def test_document_that_cannot_be_serialized_is_an_error_box(
    site: LiveServer, requests: RequestCounts, tab: Tab, path: str
) -> None:
    """The page shows the box of a failed application, with a reference that the log has, once."""
    logged = len(site.log)
    tab.page.goto(site.url + path)
    box = tab.page.get_by_role("alert")
    box.wait_for()
    assert "This plot could not be made." in box.inner_text()
    assert "Decimal" not in box.inner_text()
    reference = box.locator("code").inner_text()
    site.until_logged(f"[reference {reference}]")
    log = site.log[logged:]
    assert log.count("[reference ") == 1
    assert "error handling message" not in log
    if not path.startswith("/bokeh/"):
        assert requests[f"GET {path}"] == 1
    else:
        assert log.count("GET /bokeh/decimal HTTP") == 1
        tab.forgive("404")  # no icon


def test_log_and_debug_box_name_the_value(live: Live, tab: Tab) -> None:
    """The log, and in debug mode the box, name model, property, column and type."""
    site = live(app=APP, args=["--debug", "--no-reload"], clean=False)
    tab.page.goto(f"{site.url}/show/decimal")
    box = tab.page.get_by_role("alert")
    box.wait_for()
    named = r"ColumnDataSource\(id='p\d+', name='sales'\)\.data\['price'\]: " + re.escape(DECIMAL)
    assert re.search(named, box.inner_text())
    site.until_logged("[reference ")
    assert re.search(named, site.log)


def test_view_that_pulls_by_client_gets_the_error(site: LiveServer) -> None:
    """With transport='client', the view that pulls the session gets the error."""
    logged = len(site.log)
    with pytest.raises(OSError, match="500"):
        site.get("/pull/client")
    reason = f"name='sales').data['price']: {DECIMAL}"
    eventually(lambda: reason in site.log[logged:], "the reason in the log")


def test_value_set_by_a_callback_is_a_message_in_the_page(
    site: LiveServer, requests: RequestCounts, tab: Tab
) -> None:
    """The page stays and shows a message, the log has the reason, and a reconnect the box."""
    logged = len(site.log)
    tab.open(f"{site.url}/show/callback")
    tab.page.get_by_role("button", name="break").click()
    eventually(lambda: DECIMAL in site.log[logged:], "the reason in the log")
    alert = tab.page.get_by_role("alert")
    alert.get_by_text("Something went wrong here.").wait_for()
    site.post("/cut")
    box = alert.filter(has_text="This plot could not be made.")
    box.wait_for()
    site.until_logged(f"[reference {box.locator('code').inner_text()}]")
    assert re.search(r"Button\(id='p\d+', name='button'\)\.tags: ", site.log)
    assert requests["GET /show/callback"] == 1
    tab.forgive_the_network()
    tab.forgive("Unhandled ERROR reply")


def test_check_names_values_that_cannot_be_serialized(app: Flask, bokeh: FlaskBokeh) -> None:
    """``flask bokeh check`` fails and names model, property, column and type."""
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
