"""The hosts and subdomains on which our URLs work, and the check of ``TRUSTED_HOSTS``.

With Flask's host matching or subdomains, a URL rule works on one host only, unless it says
otherwise. Ours work on every host that the site's pages have.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, abort, current_app, has_request_context, request

__all__ = ("check_trusted_hosts", "follow_hosts", "rule_options")

_HOST = "flask_bokeh_host"
_INVALID = "<invalid>"
"""Werkzeug's subdomain of a host that is not under ``SERVER_NAME``."""


def rule_options(app: Flask) -> tuple[dict[str, Any], ...]:
    """Return the keyword arguments to add each URL rule with, once for each item."""
    if app.url_map.host_matching:
        return ({"host": f"<{_HOST}>"},)
    if app.subdomain_matching:
        return ({"subdomain": ""}, {"subdomain": f"<{_HOST}>"})
    return ({},)


def follow_hosts(blueprint: Blueprint) -> None:
    """Hide the host from the views, and use the request's host when URLs are built."""
    blueprint.url_value_preprocessor(_remove_host)
    blueprint.url_defaults(_add_host)


def check_trusted_hosts() -> None:
    """Abort with 400 if the request's host is not in ``TRUSTED_HOSTS``.

    Flask does this itself since 3.1.
    """
    if trusted := current_app.config.get("TRUSTED_HOSTS"):
        request.trusted_hosts = trusted
        _ = request.host  # raises SecurityError, a 400


def _remove_host(endpoint: str | None, values: dict[str, Any] | None) -> None:
    if values is not None and values.pop(_HOST, None) == _INVALID:
        abort(404)


def _add_host(endpoint: str, values: dict[str, Any]) -> None:
    if not has_request_context():
        return
    if current_app.url_map.host_matching:
        values.setdefault(_HOST, request.host)
    elif current_app.subdomain_matching:
        host = request.host.partition(":")[0].lower()
        name = (current_app.config["SERVER_NAME"] or "").partition(":")[0].lower()
        if host.endswith(f".{name}"):
            values.setdefault(_HOST, host.removesuffix(f".{name}"))
