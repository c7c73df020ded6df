"""The data, read once in each process and shared by all sessions, so nothing may change them.

They come with the package bokeh_sampledata.
"""

from __future__ import annotations

from functools import cache

import pandas as pd
from bokeh_sampledata import package_path

__all__ = ("lincoln_weather", "penguins", "sea_temperature")


@cache
def penguins() -> pd.DataFrame:
    """Return penguins of the Palmer Archipelago."""
    return pd.read_csv(package_path("penguins.csv")).dropna().reset_index(drop=True)


@cache
def sea_temperature() -> pd.DataFrame:
    """Return the temperature of the sea, every half hour for a year."""
    table = pd.read_csv(
        package_path("sea_surface_temperature.csv.gz"),
        parse_dates=[0],
        names=["time", "celsius"],
        header=0,
    )
    table["time"] = table["time"].dt.tz_localize(None)
    return table


@cache
def lincoln_weather() -> pd.DataFrame:
    """Return the daily temperatures of Lincoln, Nebraska, in 2016."""
    return pd.read_csv(package_path("lincoln_weather.csv"), parse_dates=["DATE"])
