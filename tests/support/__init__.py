"""Helpers that tests share: servers, a browser, clients, certificates.

Third-party packages are imported where they are used, so that unit tests run without them.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
"""The checkout."""
