"""One look for all plots: that of the site.

The colours here are for light pages. For dark ones ``static/site.css`` sets variables such as
``--bk-grid-line-color``, which BokehJS prefers. Widgets take theirs from the page in both.
"""

from __future__ import annotations

from pathlib import Path

from bokeh.themes import Theme

__all__ = ("BLUE", "FONT", "GREEN", "INK", "MUTED", "ORANGE", "SITE", "WIDGETS")

INK, MUTED, GRID = "#1f2a37", "#64748b", "#e6eaf0"
BLUE, ORANGE, GREEN = "#3b82f6", "#e07a2f", "#0f9d7a"
FONT = "system-ui, sans-serif"

# Widgets live in shadow roots, which the page's rules don't reach, but its variables do.
WIDGETS = (Path(__file__).parent / "static" / "widgets.css").read_text()

SITE = Theme(
    json={
        "attrs": {
            "Plot": {
                "background_fill_color": None,
                "border_fill_color": None,
                "outline_line_color": None,
                "toolbar_location": "right",
            },
            "Title": {"text_color": INK, "text_font": FONT, "text_font_size": "15px"},
            "Axis": {
                "axis_line_color": GRID,
                "major_tick_line_color": GRID,
                "minor_tick_line_color": None,
                "axis_label_text_color": MUTED,
                "axis_label_text_font": FONT,
                "axis_label_text_font_style": "normal",
                "major_label_text_color": MUTED,
                "major_label_text_font": FONT,
            },
            "Grid": {"grid_line_color": GRID},
            "Legend": {
                "border_line_color": None,
                "background_fill_color": None,
                "label_text_color": MUTED,
                "label_text_font": FONT,
            },
            "Toolbar": {"logo": None},
            "Slider": {"bar_color": BLUE},
            "Widget": {"stylesheets": [WIDGETS]},
        }
    }
)
