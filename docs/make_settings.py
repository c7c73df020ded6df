"""Write settings.md from the docstrings of Settings: ``python docs/make_settings.py``."""

from __future__ import annotations

import ast
import inspect
from dataclasses import MISSING, fields
from pathlib import Path

from flask_bokeh.server_options import ACCEPTED, REFUSED
from flask_bokeh.settings import Settings, key_of, setting_infos

HEAD = """# Settings

<!-- Written by docs/make_settings.py; tests/test_docs.py compares it with the code. -->

The `BOKEH_*` keys of `app.config`, which `init_app` reads once. A wrong key or value raises a
`ConfigError` that lists all of them, with what is accepted.

An argument of `FlaskBokeh(...)` with the same name in lower case and without `BOKEH_`, such as
`FlaskBokeh(max_sessions=50)`, has priority over the key. Keys that are marked *environment* are
environment variables of Bokeh, too; the key has priority. Other `BOKEH_*` variables of Bokeh apply
to the whole process, and stay in the environment.
"""

GROUPS = {
    "Applications": ("applications", "url_prefix", "transport", "server_options"),
    "Tokens and keys": (
        *("secret_key", "token_expiration", "token_max_age", "bind_browser"),
        *("allow_ws_origin", "allow_missing_origin", "csp_nonce"),
    ),
    "Sessions": (
        *("unused_session_lifetime", "max_arguments_size", "pull_transport", "pull_timeout"),
        "max_waiting_pages",
    ),
    "Limits": (
        *("max_sessions", "max_sessions_per_user", "max_sessions_per_address", "max_session_rate"),
        *("max_message_size", "max_message_values", "max_message_events", "max_new_models"),
    ),
    "BokehJS": ("resources", "minified", "log_level"),
    "The server of each process": (
        *("start_timeout", "stop_timeout", "slow_callback_duration", "runtime_dir"),
        *("ssl_certfile", "ssl_keyfile", "ssl_password", "auth_module", "cookie_secret"),
    ),
}
"""The sections of the page. Every setting is in one of them."""

OPTIONS = """
## Options of Bokeh's server

`BOKEH_SERVER_OPTIONS` is a dict with keywords of Bokeh's `Server` and `BokehTornado`, such as
`{"keep_alive_milliseconds": 20_000}`. These keywords are accepted:

"""

PORT = """
## A port of its own

`BOKEH_TRANSPORT = "same-origin"` needs a WSGI server from which the client's socket can be
hijacked, such as those in [Servers](servers.md). With `port`, browsers connect to the Bokeh
server's own port, and any WSGI server will do:

```python
app.config.update(
    BOKEH_TRANSPORT="port",
    BOKEH_SERVER_OPTIONS={"address": "0.0.0.0", "port": 5006},
    BOKEH_ALLOW_WS_ORIGIN=["https://example.org"],  # the origin of the site's pages
)
```

This port accepts only signed tokens. It does not renew them, so each is accepted for
`BOKEH_TOKEN_EXPIRATION` seconds.
"""


def descriptions() -> dict[str, str]:
    """Return the text below each field of Settings."""
    (tree,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = str(ast.literal_eval(text.value))
    return found


def page() -> str:
    """Return the page."""
    settings = {field.name: field for field in fields(Settings)}
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(settings), set(grouped) ^ set(settings)
    text, described, infos = HEAD, descriptions(), setting_infos()
    for title, names in GROUPS.items():
        text += f"\n## {title}\n"
        for name in names:
            field = settings[name]
            default = field.default if field.default is not MISSING else {}
            place = ", *environment*" if infos[name].environment else ""
            meaning = " ".join(described[name].replace("``", "`").split())
            text += f"\n### `{key_of(name)}`\n\nDefault: `{default!r}`{place}\n\n{meaning}\n"
    text += OPTIONS
    text += "".join(f"- `{name}`\n" for name in sorted(ACCEPTED))
    text += "\nThese are refused, with a reason:\n\n"
    text += "".join(f"- `{name}`: {reason}\n" for name, reason in sorted(REFUSED.items()))
    return text + PORT


if __name__ == "__main__":
    (Path(__file__).parent / "settings.md").write_text(page())
