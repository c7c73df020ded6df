"""Custom models that do not compile make only their application fail."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request

import pytest
from bokeh.util.compiler import nodejs_version

from ..support import ROOT
from ..support.browser import Tab
from ..support.servers import Live, LiveServer
from ..support.sockets import connect

APP = "tests.live_apps.custom_models:create_app()"
BOX = "This plot could not be made."


needs_node = pytest.mark.skipif(nodejs_version() is None, reason="needs Node.js")


@pytest.fixture
def compiled(module_live: Live) -> LiveServer:
    """A site that has compiled the custom models that it has imported."""
    site = module_live("gunicorn-sync", APP, args=["--timeout", "120"], clean=False)
    compile_models(site)
    return site


def compile_models(site: LiveServer) -> None:
    """Request a page, for which Node.js runs a few times, with a longer time-out than a browser."""
    urllib.request.urlopen(f"{site.url}/show/plain", timeout=90).close()


@needs_node
def test_one_broken_custom_model_fails_alone(compiled: LiveServer, tab: Tab) -> None:
    """Other models work, the worker survives, and the error is shown in the box and logged."""
    site = compiled
    worker = site.get("/pid")
    tab.open(f"{site.url}/show/plain,good,bad", plots=3)
    tab.page.locator("[title=compiled]").wait_for()
    tab.page.locator(".noUi-handle").wait_for()
    tab.page.get_by_text(BOX).wait_for()
    tab.open(f"{site.url}/bokeh/good", plots=1)
    tab.page.locator("[title=compiled]").wait_for()
    site.get("/bokeh/bad/autoload.js?bokeh-autoload-element=a")
    assert site.get("/pid") == worker
    site.until_logged("The custom model Bad can't be compiled:")
    site.until_logged("ScriptError: The custom model Bad can't be compiled [reference ")
    assert site.log.count("The custom model Bad can't be compiled:") == 1


@needs_node
def test_script_with_a_custom_model_fails_alone(compiled: LiveServer, tab: Tab) -> None:
    """The script's model exists only after its first session, and does not break later pages."""
    site = compiled
    with connect(site, "/script", site.token("/show/script")):
        pass
    compile_models(site)
    tab.open(f"{site.url}/show/plain,script,good", plots=3)
    tab.page.get_by_text(BOX).wait_for()
    tab.page.locator("[title=compiled]").wait_for()
    site.until_logged("ScriptError: The custom model InScript can't be compiled [reference ")


def test_only_custom_models_fail_without_nodejs(
    live: Live, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Node.js, applications with custom models show an error, and the others work."""
    monkeypatch.setenv("BOKEH_NODEJS_PATH", "/nowhere/node")
    site = live("gunicorn-sync", APP, clean=False)
    tab.open(f"{site.url}/show/plain,good", plots=2)
    tab.page.locator(".noUi-handle").wait_for()
    tab.page.get_by_text(BOX).wait_for()
    site.until_logged("The custom model Good can't be compiled: node.js v")


@pytest.mark.live
def test_check_names_applications_that_do_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """``flask bokeh check`` fails without Node.js, and names each affected application."""
    monkeypatch.setenv("BOKEH_NODEJS_PATH", "/nowhere/node")
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", APP, "bokeh", "check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "PROBLEM /good: The application /good raised ScriptError: The custom" in done.stdout
    assert "PROBLEM /script: " in done.stdout
    assert "ok      /plain" in done.stdout
