"""Runtime folders of workers, and two workers in one process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support.workers import two_sites


@pytest.fixture
def short() -> Iterator[Path]:
    # tmp_path may be too long for the name of a unix socket.
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def two(short: Path) -> Iterator[list[Any]]:
    sites = two_sites(short)
    yield sites
    for app, bokeh in sites:
        with app.app_context():
            bokeh.stop()


@pytest.fixture
def config() -> Iterator[dict[str, str]]:
    # tmp_path may be too long for the name of a unix socket.
    with tempfile.TemporaryDirectory() as folder:
        yield {"BOKEH_RUNTIME_DIR": folder}
