"""Answer on every host that the site's pages have: with Flask's host matching or subdomains, a rule
answers on one host only unless it says otherwise.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, abort, current_app, has_request_context, request

__all__ = ("follow_hosts", "rule_options")

_HOST = "flask_bokeh_host"
_INVALID = "<invalid>"
"""Werkzeug's subdomain of a host that is not under ``SERVER_NAME``."""


def rule_options(app: Flask) -> tuple[dict[str, Any], ...]:
    """Return the options to add each rule with, once for every item, so that all hosts have it."""
    if app.url_map.host_matching:
        return ({"host": f"<{_HOST}>"},)
    if app.subdomain_matching:
        return ({"subdomain": ""}, {"subdomain": f"<{_HOST}>"})
    return ({},)


def follow_hosts(blueprint: Blueprint) -> None:
    """Keep the host out of the views' arguments, and put the request's own into URLs."""
    blueprint.url_value_preprocessor(_take_out)
    blueprint.url_defaults(_put_in)


def _take_out(endpoint: str | None, values: dict[str, Any] | None) -> None:
    if values is not None and values.pop(_HOST, None) == _INVALID:
        abort(404)


def _put_in(endpoint: str, values: dict[str, Any]) -> None:
    if not has_request_context():
        return
    if current_app.url_map.host_matching:
        values.setdefault(_HOST, request.host)
    elif current_app.subdomain_matching:
        host = request.host.partition(":")[0].lower()
        name = (current_app.config["SERVER_NAME"] or "").partition(":")[0].lower()
        if host.endswith(f".{name}"):
            values.setdefault(_HOST, host.removesuffix(f".{name}"))
