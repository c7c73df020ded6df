"""Keys that sign session tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
import hashlib
import hmac
import logging
import secrets
from collections.abc import Sequence

__all__ = ("derive_key", "token_keys")

logger = logging.getLogger("flask_bokeh")


def token_keys(own: tuple[bytes, ...], site: Sequence[str | bytes]) -> tuple[bytes, ...]:
    """The keys of a site's tokens: the first signs.

    :param own: ``BOKEH_SECRET_KEY``.
    :param site: the site's ``SECRET_KEY`` and older ones, which count if there are no own.
    """
    if own:
        return own
    if site:
        return tuple(map(derive_key, site))
    logger.warning(
        "Neither BOKEH_SECRET_KEY nor SECRET_KEY is set: plots are signed with a random key. "
        "They stop when this process ends, and do not work with several workers."
    )
    return (secrets.token_bytes(32),)


def derive_key(site_secret: str | bytes) -> bytes:
    """A key for tokens from the site's ``SECRET_KEY``, useless for anything else."""
    raw = site_secret.encode() if isinstance(site_secret, str) else site_secret
    return hmac.new(raw, b"flask_bokeh session tokens", hashlib.sha256).digest()
