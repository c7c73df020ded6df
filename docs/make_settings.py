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

The `BOKEH_*` keys of `app.config`, which `init_app` reads once. `init_app` raises a `ConfigError`
that lists all wrong keys and values, with the accepted values.

An argument of `FlaskBokeh(...)` with the same name in lower case and without `BOKEH_`, such as
`FlaskBokeh(max_sessions=50)`, has priority over the key. Keys marked *environment* are environment
variables of Bokeh, too; the key has priority over the environment. The other `BOKEH_*` variables of
Bokeh apply to the whole process and stay in the environment.
"""

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
    """Return the page as Markdown."""
    text, described, infos = HEAD, descriptions(), setting_infos()
    for field in fields(Settings):
        info = infos[field.name]
        if info.section:
            text += f"\n## {info.section}\n"
        default = field.default if field.default is not MISSING else {}
        environment = ", *environment*" if info.environment else ""
        meaning = " ".join(described[field.name].replace("``", "`").split())
        text += (
            f"\n### `{key_of(field.name)}`\n\nDefault: `{default!r}`{environment}\n\n{meaning}\n"
        )
    text += OPTIONS
    text += "".join(f"- `{name}`\n" for name in sorted(ACCEPTED))
    text += "\nThese are refused, with a reason:\n\n"
    text += "".join(f"- `{name}`: {reason}\n" for name, reason in sorted(REFUSED.items()))
    return text + PORT


if __name__ == "__main__":
    (Path(__file__).parent / "settings.md").write_text(page())
