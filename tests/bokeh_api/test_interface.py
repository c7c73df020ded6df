"""The interface of the adapter for Bokeh, and the versions of Bokeh that it accepts."""

from __future__ import annotations

import ast

import bokeh
import pytest

from flask_bokeh.bokeh_api.version import check_version

from ..support import ROOT


@pytest.mark.parametrize("version", ["3.9.0", "3.10.2", "3.11.0.dev1", "3.99", bokeh.__version__])
def test_supported_bokeh_version_is_accepted(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["2.4.3", "3.0.0", "3.8.9", "4.0.0", "4.0.0.dev3", "40.1", "x"])
def test_unsupported_bokeh_version_is_refused(version: str) -> None:
    """The error names the version and the command that installs a supported one."""
    with pytest.raises(ImportError, match="found Bokeh") as caught:
        check_version(version)
    assert version in str(caught.value)
    assert "pip install 'bokeh>=3.9,<4'" in str(caught.value)


def test_other_packages_import_the_interface_only() -> None:
    """No module outside bokeh_api imports an adapter for one major version."""
    package = ROOT / "flask_bokeh"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "bokeh_api" not in path.relative_to(package).parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and "bokeh_api." in f"{node.module}."
        if node.module != "bokeh_api"
    }
    assert found == set()
