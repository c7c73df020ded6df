"""Write settings.md from the docstrings of Settings: ``python docs/make_settings.py``."""

from __future__ import annotations

import ast
import inspect
from dataclasses import MISSING, fields
from pathlib import Path

from flask_bokeh.server_options import ELSEWHERE
from flask_bokeh.settings import Settings, key_of

HEAD = """# Settings

<!-- Written by docs/make_settings.py; tests/test_docs.py holds it to the code. -->

Keys of `app.config`, read once by `init_app`. An argument of `FlaskBokeh(...)` with the same name
in lower case and without `BOKEH_` wins over the key; for those keys that Bokeh itself reads from
the environment (marked *), the key wins over the environment. Other `BOKEH_*` variables of Bokeh
hold for the whole process and stay in the environment. A wrong key or value is refused with a
message that says what is right.

| key | default | |
|---|---|---|
"""

TAIL = """
## BOKEH_SERVER_OPTIONS

Any keyword of Bokeh's `Server` and `BokehTornado`, such as `{"keep_alive_milliseconds": 20_000}`,
but for these, which are refused with a reason:

"""

PORT = """
## BOKEH_TRANSPORT

`same-origin` needs the client's socket, which most servers hand out ([Servers](servers.md)). With
`port` browsers connect to the Bokeh server's own port, on any WSGI server:

```python
app.config.update(
    BOKEH_TRANSPORT="port",
    BOKEH_SERVER_OPTIONS={"address": "0.0.0.0", "port": 5006},
    BOKEH_ALLOW_WS_ORIGIN=["https://example.org"],  # the origin of the site's pages
)
```

That port answers to signed tokens only, for as long as `BOKEH_TOKEN_EXPIRATION` says: it does not
renew them.
"""

FROM_ENVIRONMENT = {
    *("secret_key", "allow_ws_origin", "resources", "minified", "log_level", "auth_module"),
    *("cookie_secret", "xsrf_cookies", "ico_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
}


def sentences() -> dict[str, str]:
    """The sentence under each field."""
    (tree,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = str(ast.literal_eval(text.value))
    return found


def page() -> str:
    text = HEAD
    said = sentences()
    for field in fields(Settings):
        default = field.default if field.default is not MISSING else {}
        star = " *" if field.name in FROM_ENVIRONMENT else ""
        meaning = " ".join(said[field.name].replace("``", "`").split())
        text += f"| `{key_of(field.name)}`{star} | `{default!r}` | {meaning} |\n"
    text += TAIL
    for name, reason in sorted(ELSEWHERE.items()):
        text += f"- `{name}`: {reason}\n"
    return text + PORT


if __name__ == "__main__":
    (Path(__file__).parent / "settings.md").write_text(page())
