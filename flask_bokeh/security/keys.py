"""Keys that sign session tokens and the browser cookie."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Sequence

__all__ = ("derive_key", "token_keys")

logger = logging.getLogger("flask_bokeh")


def token_keys(own: tuple[bytes, ...], site: Sequence[str | bytes]) -> tuple[bytes, ...]:
    """Return the keys of a site's tokens, newest first: the first signs, all of them verify.

    :param own: the keys in ``BOKEH_SECRET_KEY``.
    :param site: the site's ``SECRET_KEY`` and older ones, used if there are no own keys.
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
    """Derive a key for tokens from the site's ``SECRET_KEY``; it does not reveal that key."""
    raw = site_secret.encode() if isinstance(site_secret, str) else site_secret
    return hmac.new(raw, b"flask_bokeh session tokens", hashlib.sha256).digest()
