"""The example site in a real browser. Its own tests are in example_app/tests."""

from __future__ import annotations

import secrets

import pytest

from .support.browser import Tab
from .support.servers import Live, LiveServer
from .support.waiting import eventually

APP = "example_app:create_app()"
PUBLIC_PAGES = [
    ("/", 2),
    ("/sliders", 1),
    ("/penguins", 1),
    ("/sea", 1),
    ("/weather", 1),
    ("/bokeh/weather", 1),
]
MODEL = "Bokeh.documents[0].get_model_by_name"


@pytest.fixture(scope="module")
def example(module_live: Live, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """Start the example site; each server has a database and a key of its own."""
    folder = tmp_path_factory.mktemp("databases")

    def start(server: str = "werkzeug", workers: int = 1) -> LiveServer:
        args = ["--workers", str(workers)] if workers > 1 else []
        with pytest.MonkeyPatch.context() as patch:
            database = folder / f"{server}-{workers}.db"
            patch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{database}")
            patch.setenv("FLASK_SECRET_KEY", secrets.token_hex())
            return module_live(server, APP, args=args)

    return start


def log_in(tab: Tab, url: str, name: str) -> None:
    """Log in with one click and wait for the budget."""
    from playwright.sync_api import expect

    tab.page.goto(f"{url}/budget")  # workers may still be starting
    tab.page.get_by_role("button", name=f"Log in as {name}").click()
    tab.page.wait_for_url(f"{url}/budget")
    expect(tab.page.get_by_role("button", name="Add a row")).to_be_visible()


def total(tab: Tab, text: str) -> None:
    """Wait for the total of the budget, which Python computes."""
    tab.page.wait_for_function(f"() => {MODEL}('total').text.includes({text!r})")


@pytest.mark.parametrize("server", ["werkzeug", "gunicorn-gthread"])
def test_every_page_shows_its_plots_without_errors(example: Live, tab: Tab, server: str) -> None:
    """Each page shows its plots with and without a login, under a strict policy, and neither
    console nor log has errors.
    """
    site = example(server)
    for path, plots in PUBLIC_PAGES:
        tab.open(site.url + path, plots)
    log_in(tab, site.url, "Ann")
    for path, plots in PUBLIC_PAGES:
        tab.open(site.url + path, plots)
    assert not any("could not be made" in message for message in tab.messages)
    assert tab.page.get_by_role("alert").count() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_edits_are_saved_for_their_user(example: Live, tab: Tab, workers: int) -> None:
    """Edits are there after a reload, and other users do not see them. All workers create the
    database when they start, at the same time.
    """
    from playwright.sync_api import expect

    site = example("gunicorn-gthread", workers)
    log_in(tab, site.url, "Ann")
    total(tab, "1,265.00")
    tab.page.locator(".slick-cell", has_text="310.00").dblclick()
    tab.page.locator(".slick-cell input").fill("400")
    tab.page.keyboard.press("Enter")
    total(tab, "1,355.00")
    tab.page.get_by_role("button", name="Add a row").click()
    expect(tab.page.locator(".slick-cell", has_text="Something new")).to_be_visible()
    tab.open(f"{site.url}/budget")
    total(tab, "1,355.00")
    expect(tab.page.locator(".slick-cell", has_text="Something new")).to_be_visible()
    tab.page.get_by_role("button", name="Log out").click()
    tab.page.wait_for_url(f"{site.url}/login")
    log_in(tab, site.url, "Bob")
    total(tab, "1,035.00")


@pytest.mark.parametrize("server", ["werkzeug", "gunicorn-gthread"])
def test_logout_in_another_tab_closes_the_plots(example: Live, tab: Tab, server: str) -> None:
    """A logout in another tab closes the plots of a page, which then asks for a login; public
    plots still open.
    """
    site = example(server)
    log_in(tab, site.url, "Ann")
    other_tab = tab.page.context.new_page()
    other_tab.goto(f"{site.url}/penguins")
    other_tab.get_by_role("button", name="Log out").click()
    tab.page.wait_for_url(f"{site.url}/login?next=%2Fbudget")
    tab.forgive_the_network()
    tab.open(f"{site.url}/penguins")


def test_users_see_their_own_wave_and_penguins(example: Live, tab: Tab) -> None:
    """The view loads the saved shape of the wave, and the hook selects the user's penguins."""
    site = example()
    tab.open(f"{site.url}/sliders")
    assert tab.title() == "A wave"
    log_in(tab, site.url, "Bob")
    tab.open(f"{site.url}/sliders")
    assert tab.title() == "Bob's wave"
    assert tab.page.evaluate(f"{MODEL}('frequency').value") == 3
    tab.move_slider(nth=3)
    moved = tab.page.evaluate(f"{MODEL}('frequency').value")
    assert moved > 3

    def saved() -> bool:
        tab.open(f"{site.url}/sliders")
        return bool(tab.page.evaluate(f"{MODEL}('frequency').value") == moved)

    eventually(saved, "the saved wave")
    tab.page.evaluate(f"{MODEL}('title').value = 'changed'")
    tab.until_title("changed")
    tab.open(f"{site.url}/penguins")
    assert "<b>146</b> of 333" in tab.page.evaluate(f"{MODEL}('summary').text")
    tab.page.evaluate(f"{MODEL}('penguins').selected.indices = [0, 1]")
    tab.page.wait_for_function(f"() => {MODEL}('summary').text.startsWith('<b>2</b> of 333')")


def test_sea_plot_gets_new_rows(example: Live, tab: Tab) -> None:
    site = example()
    tab.open(f"{site.url}/sea")
    length = f"{MODEL}('sea').data.time.length"
    before = tab.page.evaluate(length)
    eventually(lambda: tab.page.evaluate(length) > before + 24, "more rows")


def test_directory_application_has_its_own_template(example: Live, tab: Tab) -> None:
    """The page of the directory application has its own template and style sheet."""
    site = example()
    tab.open(f"{site.url}/bokeh/weather")
    assert tab.page.locator("main h1").inner_text() == "Weather"
    colour = "getComputedStyle(document.body).backgroundColor"
    assert tab.page.evaluate(colour) == "rgb(251, 250, 247)"
    back = tab.page.get_by_role("link", name="Back to the site")
    back.click()
    tab.page.wait_for_url(f"{site.url}/weather")
