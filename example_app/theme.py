"""One look for all plots: that of the site."""

from __future__ import annotations

from bokeh.themes import Theme

INK, MUTED, GRID = "#1f2a37", "#64748b", "#e6eaf0"
BLUE, ORANGE, GREEN = "#2563eb", "#e07a2f", "#0f9d7a"

SITE = Theme(
    json={
        "attrs": {
            "Plot": {
                "background_fill_color": "#ffffff",
                "border_fill_color": "#ffffff",
                "outline_line_color": None,
                "toolbar_location": "right",
            },
            "Title": {
                "text_color": INK,
                "text_font": "system-ui, sans-serif",
                "text_font_size": "15px",
            },
            "Axis": {
                "axis_line_color": GRID,
                "major_tick_line_color": GRID,
                "minor_tick_line_color": None,
                "axis_label_text_color": MUTED,
                "axis_label_text_font": "system-ui, sans-serif",
                "axis_label_text_font_style": "normal",
                "major_label_text_color": MUTED,
                "major_label_text_font": "system-ui, sans-serif",
            },
            "Grid": {"grid_line_color": GRID},
            "Legend": {
                "border_line_color": None,
                "background_fill_alpha": 0.8,
                "label_text_color": INK,
                "label_text_font": "system-ui, sans-serif",
            },
            "Toolbar": {"logo": None},
        }
    }
)
