"""Settings: priorities, checks and error messages."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
from bokeh.server.server import _ServerOpts
from bokeh.server.tornado import BokehTornado
from flask import Flask

from flask_bokeh import ConfigError, FlaskBokeh
from flask_bokeh.server_options import REFUSED
from flask_bokeh.settings import Settings, setting_infos


def load(**config: object) -> Settings:
    return Settings.load(config, {})


def test_settings_have_defaults() -> None:
    settings = load()
    assert settings.url_prefix == "/bokeh"
    assert settings.resources == "server"
    assert settings.unused_session_lifetime == 60
    assert settings.secret_key == ()


def test_arguments_override_config_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument has priority over app.config, which has priority over the environment."""
    monkeypatch.setenv("BOKEH_RESOURCES", "cdn")
    assert load().resources == "cdn"
    assert load(BOKEH_RESOURCES="inline").resources == "inline"
    assert Settings.load({"BOKEH_RESOURCES": "inline"}, {"resources": "server"}).resources == (
        "server"
    )


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("BOKEH_SECRET_KEY", "0123456789abcdef", "secret_key", (b"0123456789abcdef",)),
        ("BOKEH_ALLOW_WS_ORIGIN", "a.org,b.org:81", "allow_ws_origin", ("a.org", "b.org:81")),
        ("BOKEH_MINIFIED", "no", "minified", False),
        ("BOKEH_LOG_LEVEL", "error", "log_level", "error"),
        ("BOKEH_AUTH_MODULE", "auth.py", "auth_module", "auth.py"),
        ("BOKEH_COOKIE_SECRET", "secret", "cookie_secret", "secret"),
        ("BOKEH_SSL_CERTFILE", "c.pem", "ssl_certfile", "c.pem"),
        ("BOKEH_SSL_KEYFILE", "k.pem", "ssl_keyfile", "k.pem"),
        ("BOKEH_SSL_PASSWORD", "p", "ssl_password", "p"),
    ],
)
def test_environment_variables_of_bokeh_are_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    """The variables that ``bokeh serve`` reads from the environment set the same settings."""
    monkeypatch.setenv(variable, text)
    assert getattr(load(), field) == value


def test_a_bad_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad value in the environment is refused with the variable's name."""
    monkeypatch.setenv("BOKEH_MINIFIED", "maybe")
    with pytest.raises(ConfigError, match=r"BOKEH_MINIFIED is 'maybe'"):
        load()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("BOKEH_URL_PREFIX", "bokeh", "expected a path such as '/bokeh'"),
        ("BOKEH_URL_PREFIX", "/", "expected a path such as '/bokeh'"),
        ("BOKEH_TRANSPORT", "pigeon", "expected one of 'same-origin', 'port'"),
        ("BOKEH_SECRET_KEY", "short", "16 characters or more"),
        ("BOKEH_PULL_TIMEOUT", 0, "number of seconds greater than 0"),
        ("BOKEH_PULL_TIMEOUT", True, "number of seconds greater than 0"),
        ("BOKEH_PULL_TIMEOUT", "10", "number of seconds greater than 0"),
        ("BOKEH_MAX_MESSAGE_SIZE", 1.5, "whole number of bytes"),
        ("BOKEH_PULL_TRANSPORT", "fast", "expected one of 'direct', 'client'"),
        ("BOKEH_ALLOW_WS_ORIGIN", ["*"], "every site on the web"),
        ("BOKEH_ALLOW_WS_ORIGIN", 5, "list of origins"),
        ("BOKEH_ALLOW_MISSING_ORIGIN", "yes", "True or False"),
        ("BOKEH_RESOURCES", "ftp", "expected one of 'server'"),
        ("BOKEH_LOG_LEVEL", "loud", "expected one of 'trace'"),
        ("BOKEH_ICO_PATH", "x.ico", "has no effect, because the Bokeh server has no pages"),
        ("BOKEH_XSRF_COOKIES", True, "has no effect, because the Bokeh server accepts no forms"),
        ("BOKEH_APPLICATIONS", ["/x"], "a dict with strings as keys"),
        ("BOKEH_SERVER_OPTIONS", {"keepalive": 1}, "no option 'keepalive'"),
        ("BOKEH_SERVER_OPTIONS", {"keep_alive_millisecond": 1}, "keep_alive_milliseconds"),
        ("BOKEH_SERVER_OPTIONS", {"sign_sessions": False}, "always signs sessions"),
        ("BOKEH_SERVER_OPTIONS", {"prefix": "/x"}, "set BOKEH_URL_PREFIX instead"),
        ("BOKEH_PULL_TIMEOT", 5, "Did you mean BOKEH_PULL_TIMEOUT?"),
        ("BOKEH_SIMPLE_IDS", True, "set it in the environment"),
        ("BOKEH_SIGN_SESSIONS", False, "always signs sessions"),
    ],
)
def test_bad_values_are_refused(key: str, value: object, message: str) -> None:
    """The error has the key, the value and the accepted values."""
    with pytest.raises(ConfigError) as caught:
        load(**{key: value})
    assert key in str(caught.value)
    assert message in str(caught.value)


def test_error_lists_all_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        load(BOKEH_TRANSPORT="x", BOKEH_LOG_LEVEL="y", BOKEH_NONSENSE=1)
    assert len(caught.value.problems) == 3


def test_an_unknown_option_is_refused(app: Flask) -> None:
    """A misspelt argument of FlaskBokeh is refused by init_app."""
    with pytest.raises(ConfigError, match=r"no option 'urlprefix'.*Did you mean url_prefix"):
        FlaskBokeh(app, urlprefix="/x")


def test_secrets_are_not_shown() -> None:
    """Neither an error nor a repr shows a secret."""
    with pytest.raises(ConfigError) as caught:
        load(BOKEH_SECRET_KEY="hunter2")
    assert "hunter2" not in str(caught.value)
    shown = repr(load(BOKEH_SECRET_KEY="0123456789abcdef", BOKEH_COOKIE_SECRET="swordfish"))
    assert "0123456789abcdef" not in shown
    assert "swordfish" not in shown


def test_bokehs_variables_without_effect_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment may be meant for a `bokeh serve` beside the site."""
    monkeypatch.setenv("BOKEH_XSRF_COOKIES", "yes")
    monkeypatch.setenv("BOKEH_ICO_PATH", "none")
    assert load() == Settings()


def test_every_setting_is_documented_and_checked() -> None:
    """Each setting has a docstring, and a check that accepts its default."""
    source = inspect.getsource(Settings)
    for field in fields(Settings):
        default = getattr(Settings(), field.name)
        if field.name != "secret_key":  # there is no key by default
            assert setting_infos()[field.name].check(default) == default, field.name
        _, _, after = source.partition(f"    {field.name}: ")
        assert '"""' in after.partition("\n\n")[0], field.name


def test_every_option_of_bokehs_server_is_set_or_refused() -> None:
    """Each keyword of Server and of BokehTornado can be set, or is refused with a reason."""
    parameters = inspect.signature(BokehTornado.__init__).parameters.values()
    tornado = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    server = set(_ServerOpts({}).properties()) | {"http_server_kwargs", "io_loop"}
    for name in tornado | server:
        if name in REFUSED:
            with pytest.raises(ConfigError, match=name):
                load(BOKEH_SERVER_OPTIONS={name: None})
        else:
            assert load(BOKEH_SERVER_OPTIONS={name: None}).server_options == {name: None}
