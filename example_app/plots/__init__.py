"""The plots: each file registers one application, by its decorator or below."""

from __future__ import annotations

from ..extensions import bokeh
from . import budget, penguins, sea, sliders

__all__ = ("budget", "penguins", "sea", "sliders")

# A directory, relative to the site; it also gets a page of its own.
bokeh.add_application("/weather", "weather", page=True)
