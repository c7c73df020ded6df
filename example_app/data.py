"""The data, read once for all sessions. They come with the package bokeh_sampledata."""

from __future__ import annotations

from functools import cache

import pandas as pd
from bokeh_sampledata import package_path


@cache
def penguins() -> pd.DataFrame:
    """Penguins of the Palmer Archipelago."""
    return pd.read_csv(package_path("penguins.csv")).dropna().reset_index(drop=True)


@cache
def sea_temperature() -> pd.DataFrame:
    """The temperature of the sea, every half hour for a year."""
    table = pd.read_csv(
        package_path("sea_surface_temperature.csv.gz"),
        parse_dates=[0],
        names=["time", "celsius"],
        header=0,
    )
    table["time"] = table["time"].dt.tz_localize(None)
    return table
