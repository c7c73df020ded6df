"""Take each check of security away, and see its test fail: ``python -m tests.mutations``.

Works on a copy of the checkout. Each line of the table is one change of the code, and the tests
that must fail with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
ACCESS, STATE = "flask_bokeh/web/auth.py", "flask_bokeh/state.py"
AUTHORIZER, COOKIE = "flask_bokeh/security/authorizer.py", "flask_bokeh/web/browser_cookie.py"
TOKENS, LIMITS = "flask_bokeh/security/tokens.py", "flask_bokeh/security/limits.py"
WEBSOCKET, PAGES = "flask_bokeh/web/websocket.py", "flask_bokeh/web/pages.py"
STATIC = "flask_bokeh/web/static.py"
HEADERS = "flask_bokeh/web/response_headers.py"
ORIGIN, WIRING = "flask_bokeh/web/origin.py", "flask_bokeh/web/setup.py"
JS = "js/src"
SOCKETS, HANDOFF = "flask_bokeh/bokeh_api/v3/websocket.py", "flask_bokeh/hijack/upgrade_request.py"
LOGS, PATCHES = "flask_bokeh/log_redaction.py", "flask_bokeh/bokeh_api/v3/patches.py"
QUIET = "flask_bokeh/bokeh_api/v3/redacting_handler.py"
SERVERS, AFFINITY = "flask_bokeh/hijack/adapters.py", "flask_bokeh/workers/sender.py"
MESSAGES = "flask_bokeh/bokeh_api/v3/message_limits.py"
COSTS = "flask_bokeh/bokeh_api/v3/message_costs.py"
FILES = [
    *(f"tests/{name}" for name in ("attacks", "bokeh_api", "browser", "hijack", "security", "web")),
    *("tests/workers", "tests/server/test_closing.py", "tests/runtime/test_fairness.py"),
    *(f"tests/test_{name}.py" for name in ("csp", "fuzz", "js", "templating")),
]

# What is taken away, where, the code, what is there instead, the tests.
MUTATIONS = [
    ("the Origin", ORIGIN, "    if parsed is None:\n        return False", "    return True", "origins"),
    ("a missing Origin", ORIGIN, "return allow_missing", "return True", "origins"),
    ("the Origin's scheme", ORIGIN, "return scheme, host, str(", "return '', host, str(", "origins or hosts"),
    ("the Origin's port", ORIGIN, "str(int(port or _DEFAULT_PORT[scheme]))", "''", "origins"),
    ("the whole Origin", ORIGIN, "_ORIGIN.fullmatch(", "_ORIGIN.match(", "origins"),
    ("the list's scheme", ORIGIN, 'if "://" in entry:', "if False:", "list_of_origins"),
    ("Sec-WebSocket-Protocol's form", WEBSOCKET, 'if len(protocols) != 2 or protocols[0] != "bokeh":', "if len(protocols) < 2:", "subprotocols"),
    ("the signature", TOKENS, "return check_token_signature(encoded, secret_key=key, signed=True)", "return True", "bad_tokens"),
    ("the application of a token", AUTHORIZER, "if token.visit.path != path:", "if False:", "of_another_application"),
    ("the user of a token", AUTHORIZER, "if not self.tokens.belongs_to(token, principal):", "if False:", "of_another or login"),
    ("the short life", AUTHORIZER, "if token.subject is None and self.tokens.is_expired(token)", "if False", "short_lived"),
    ("the long life", TOKENS, "if not time.time() - token.issued_at <= self.max_age:", "if False:", "bad_tokens"),
    ("a time that is none", TOKENS, "if not time.time() - token.issued_at <= self.max_age:", "if time.time() - token.issued_at > self.max_age:", "bad_tokens"),
    ("a cut zlib stream", TOKENS, ", zlib.error)", ")", "bad_tokens"),
    ("the guard of an upgrade", AUTHORIZER, "        self._integration.check_access(token.visit)\n        return token\n\n    def revoke_tokens", "        return token\n\n    def revoke_tokens", "guard or role"),
    ("the guard of a page", AUTHORIZER, "            self._integration.check_access(token.visit)\n        return token\n\n    def authorize", "            pass\n        return token\n\n    def authorize", "guard or role"),
    ("the guard of metadata", PAGES, "        check_access(self._state, registration)\n        metadata", "        metadata", "guarded_page"),
    ("the guard of files", STATIC, "        check_access(self._state, registration)\n        folder", "        folder", "test_paths"),
    ("no shared cache for guarded files", STATIC, "public=not is_guarded", "public=True", "files_have_its_guard"),
    ("what a template escapes", "flask_bokeh/bokeh_api/v3/page_templates.py", "environment.overlay(autoescape=True)", "environment.overlay(autoescape=False)", "of_a_directory"),
    ("the title of a page", "flask_bokeh/bokeh_api/v3/page_templates.py", 'escape(context["title"])', 'context["title"]', "escapes_nothing"),
    ("the true hash of a file", STATIC, "version == content_version(path)", "True", "cached_for_ever or file_that_changes"),
    ("a session that a client chooses", "flask_bokeh/web/requested_application.py", "if any(one in request.args for one in _PARAMETERS)", "if False", "token_in_the_address"),
    ("a cookie's signature", COOKIE, "signer.unsign(value).decode()", "value.split('.')[0]", "forged_cookie"),
    ("all cookies of the name", COOKIE, "reversed(request.cookies.getlist(_cookie_name(key)))", "request.cookies.getlist(_cookie_name(key))[:1]", "more_than_one_cookie"),
    ("HttpOnly", COOKIE, "httponly=True", "httponly=False", "of_another_browser"),
    ("SameSite", COOKIE, 'samesite=current_app.config["SESSION_COOKIE_SAMESITE"] or "Lax",', "", "of_another_browser"),
    ("Secure", COOKIE, 'secure=request.is_secure or current_app.config["SESSION_COOKIE_SECURE"],', "", "of_another_browser"),
    ("no-store for pages", WIRING, "        forbid_storing(response)", "        pass", "headers_of_our_own"),
    ("no-store for streamed pages", WIRING, " or (is_stream and is_html)", "", "streamed"),
    ("no-store with our cookie", COOKIE, "forbid_storing(response)  #", "pass  #", "sets_a_cookie"),
    ("no token in a stream that may be stored", "flask_bokeh/web/markup.py", "if state.headers_sent and not state.sent_no_store:", "if False:", "may_be_stored"),
    ("no-store for states", "flask_bokeh/web/session_status.py", "return forbid_storing(Response(status=204))", "return Response(status=204)", "headers_of_our_own"),
    ("nosniff", HEADERS, 'response.headers.setdefault("X-Content-Type-Options", "nosniff")', "", "headers_of_our_own"),
    ("Referrer-Policy", HEADERS, 'response.headers.setdefault("Referrer-Policy", "same-origin")', "", "headers_of_our_own"),
    ("frame-ancestors", PAGES, "allow_frames(state.settings.allow_ws_origin)", "", "headers_of_our_own"),
    ("the site's own frame-ancestors", HEADERS, "if has_ancestors or ", "if ", "own_policy"),
    ("a site that denies frames", HEADERS, 'response.headers.get("X-Frame-Options", "").strip().lower() == "deny"', "False", "own_policy"),
    ("other sites' frames", PAGES, "if destination in _FRAMES and not self._state.settings.allow_ws_origin:", "if False:", "fetched_for"),
    ("pages fetched ahead", PAGES, 'if any("prefetch" in headers.get(name, "") for name in _PURPOSES):', "if False:", "fetched_for"),
    ("what the inner port leaves out", "flask_bokeh/bokeh_api/v3/server.py", "    serve_websockets_only(server._tornado, authorize, _inspector(settings))\n", "", "the_port_inside"),
    ("paths that are no patterns", SOCKETS, "re.escape(path.rstrip(\"/\"))", "path.rstrip(\"/\")", "the_port_inside"),
    ("limits on the inner port", "flask_bokeh/server/port_access.py", "        self._limits.reserve(token, Principal(address=address))\n", "", "own_port"),
    ("the size of a whole message", SOCKETS, 'self._size > self.application.settings["websocket_max_message_size"]', "False", "many_frames"),
    ("what a log line holds", QUIET, "    async def on_message(self, message", "    async def _on_message(self, message", "not_logged_whole"),
    ("the text of an exception", QUIET, "text = detail or", "text = describe(error) or", "callback_that_raises"),
    ("the values of a message", LOGS, "hidden = None if not content else _values(content)", "hidden = None", "typed_is_not_logged"),
    ("a copy of a column", PATCHES, "column = _copy(self[name])", "column = self[name]", "of_one_visitor"),
    ("a copy of an item", PATCHES, "copies[index[0]] = item.copy()", "copies[index[0]] = item", "of_one_visitor"),
    ("a look between two events", PATCHES, 'make_columns_private([event.get("model")])', "pass", "callback_shares"),
    ("what clients are told", "flask_bokeh/web/refusals.py", "text = str(error) if current_app.debug else error.public", "text = str(error)", "explained_in_the_log"),
    ("the number of values of a message", SOCKETS, "                check_text(fragment, self._inspector.limits)\n", "                pass\n", "costly_messages"),
    ("what a message asks for", "flask_bokeh/bokeh_api/v3/message_inspector.py", "content = inspect_content(kind, message.content, buffers, size, self.limits, is_known)", "content = Content(frozenset())", "costly_messages"),
    ("the length of what is compressed", COSTS, "if self._inline > _MAX_INLINE:", "if False:", "long_compressed"),
    ("copies of a buffer", COSTS, "if self._bytes_left < 0:", "if False:", "again_and_again"),
    ("the types of arrays", COSTS, "or dtype not in _ITEM_SIZES", "", "data_types"),
    ("the shape of arrays", COSTS, "math.prod(shape) != count or", "", "shapes"),
    ("the shape of empty arrays", COSTS, "math.prod(n or 1 for n in shape) > max(count, 1000)", "False", "empty_arrays"),
    ("numbers that are hashed", COSTS, "if self._hashed > _MAX_HASHED:", "if False:", "hashed"),
    ("the depth of a message", COSTS, "if depth > _MAX_DEPTH:", "if False:", "deep"),
    ("the events of a message", MESSAGES, "if len(events) > limits.events:", "if False:", "events"),
    ("the form of events", MESSAGES, ' and "type" not in event', "", "events"),
    ("the models of a message", COSTS, "if len(self.models) > self._limits.new_models:", "if False:", "models"),
    ("the models of many messages", "flask_bokeh/bokeh_api/v3/message_inspector.py", "            self._count_added(content.new_models, session)", "            pass", "many_small"),
    ("one look at all models", "flask_bokeh/bokeh_api/v3/message_inspector.py", "with doc.models.freeze():", "if True:", "recomputed_once"),
    ("long strings in columns", MESSAGES, "if count > 20 and", "if False and", "long_strings"),
    ("streams that widen a column", "flask_bokeh/bokeh_api/v3/message_inspector.py", "if 4 * width * len(column) >", "if False and 4 * width * len(column) >", "widen"),
    ("a client that was refused", SOCKETS, "if self.ws_connection is None:", "if False:", "not_heard"),
    ("a visitor's share of the threads", "flask_bokeh/runtime/executor.py", "if running >= (1 if owner.heavy else self.share):", "if False:", "share_of"),
    ("messages that are not kept", SOCKETS, "            vars(self.receiver).clear()  # it refers to itself\n", "", "not_kept"),
    ("a visitor's large frames", "flask_bokeh/bokeh_api/v3/websocket_reads.py", "            await lock.acquire()\n            self._lock = lock\n", "", "large_frames"),
    ("what a visitor's sockets hold", "flask_bokeh/bokeh_api/v3/websocket_reads.py", "            await self._reads.begin(n)\n", "            pass\n", "frames_of_many"),
    ("a visitor's turns", "flask_bokeh/bokeh_api/v3/message_turns.py", "if since < self._shared_until:", "if False:", "turns_of"),
    ("the sockets of a session", "flask_bokeh/hijack/upgrade_server.py", "streams[:-MAX_SOCKETS]", "[]", "sockets_of_a_session"),
    ("the descriptors that are left", SERVERS, "if not is_below_fd_reserve(number):", "if False:", "descriptors_are_left"),
    ("control characters in a head", HANDOFF, "or _FORBIDDEN.search(value)", "", "head or line"),
    ("the form of a target", HANDOFF, "if not _TARGET.fullmatch(target):", "if False:", "target or head"),
    ("one upgrade for a connection", "flask_bokeh/hijack/upgrade_server.py", "if stream.requests > 1:", "if False:", "carries_one_upgrade"),
    ("bytes before the 101", SERVERS, "if socket_hijack.has_pending_data() or adapter.has_buffered_input(environ):", "if False:", "early"),
    ("no body with an upgrade", SERVERS, 'if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:', "if False:", "smuggle"),
    ("no HEAD for an upgrade", SERVERS, 'if environ.get("REQUEST_METHOD", "GET") != "GET":', "if False:", "plain_get and HEAD"),
    ("HTTP/1.1 for an upgrade", SERVERS, 'if environ.get("SERVER_PROTOCOL") not in ("HTTP/1.1", None):', "if False:", "plain_get and HTTP"),
    ("the room for bodies", "flask_bokeh/hijack/request_bodies.py", "if self._bytes + size > self._max_bytes:", "if False:", "unfinished_bodies"),
    ("the private folder", "flask_bokeh/workers/runtime_dir.py", "if not (wrong := _what_is_wrong(found)):", "if True:", "folder_that_was_taken"),
    ("who knocks", "flask_bokeh/workers/receiver.py", "            check_peer_uid(sender)\n", "", "another_user"),
    ("who is knocked at", AFFINITY, "        check_peer_uid(connection)\n", "", "another_user"),
    ("a worker's name", AFFINITY, "if directory is None or not NAME.fullmatch(name):", "if directory is None:", "name_is_no_path"),
    ("other sites' scripts", "flask_bokeh/web/autoload.py", 'request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")', "True", "other_sites"),
    ("other sites' pictures", PAGES, 'if destination not in ("document", *_FRAMES):', "if False:", "fetched_for"),
    ("the length of a token", TOKENS, "if len(encoded) > MAX_TOKEN_LENGTH:\n            raise TokenError", "if False:\n            raise TokenError", "too_long"),
    ("the size of arguments", TOKENS, "if size > self.max_arguments_size:", "if False:", "arguments or limit"),
    ("loopback", "flask_bokeh/bokeh_api/v3/server.py", '"address": "127.0.0.1"', '"address": "0.0.0.0"', "the_port_inside"),
    ("the limit of sessions", LIMITS, '"max_sessions", len(reservations)', '"max_sessions", 0', "race_for and limits0"),
    ("the limit per user", LIMITS, "sum(reservation.subject == subject for reservation in reservations)", "0", "race_for and limits1"),
    ("the limit per address", LIMITS, "sum(reservation.network == network for reservation in reservations)", "0", "race_for and limits2"),
    ("networks of IPv6", "flask_bokeh/security/client_network.py", "return str(IPv6Network((int(parsed) >> 64 << 64, 64)))", "return address", "count_as_one"),
    ("clients without an address", ACCESS, "    return address\n", "    return address or None\n", "unix_socket"),
    ("the rate", "flask_bokeh/security/rate_limit.py", "self._refilled(key, self._per_minute) >= 1", "True", "race_for and limits3"),
    ("places taken before the session is there", WEBSOCKET, "if server.reserve(token, principal):", "if server.check(token, principal):", "race_for"),
    ("the limit of pulled sessions", "flask_bokeh/server/pull.py", "server.reserve(token, principal)", "", "race_for"),
    ("the limit of pages", PAGES, "server.reserve(token, principal)", "", "race_for"),
    ("the place of a refused upgrade", WEBSOCKET, "undo.callback(server.release, upgrade.session_id)", "pass", "places_come_back"),
    ("the place of an ended session", "flask_bokeh/applications/hosted.py", "self._limits.release(str(session_context.id), session_context)", "pass", "places_come_back"),
    ("the end in other workers", "flask_bokeh/server/closing.py", "return broadcast_close(folder, own_id, digests, revoked_at)", "return 0, []", "logout_ends"),
    ("the end in this worker", "flask_bokeh/server/local_closing.py", 'close_websockets(session, POLICY_VIOLATION, "the session has been ended")', "pass", "logout_ends"),
    ("the end of sessions pulled for a user", LIMITS, "subjects = set() if user is None else set(self._subject_digests(user))", "subjects = set()", "logout_ends"),
    ("the logout", WIRING, "    follow_logouts(app)\n", "", "logout_ends"),
    ("the end of what is filled for long", "flask_bokeh/applications/hosted.py", "            self._check_not_closed(doc)\n", "", "takes_long_to_fill"),
    ("the end of what others could not tell", "flask_bokeh/workers/listener.py", "            self._target.close_missed_sessions()\n", "            pass\n", "lost_while"),
    ("the end of tokens of before", "flask_bokeh/security/revocation.py", "self._revoked_at(digest) >= issued_at", "False", "before_and_after_login"),
    ("the end in workers to come", "flask_bokeh/security/revocation.py", "latest = max(latest, record.stat().st_mtime)", "pass", "before_any_plot"),
    ("the end of what was opened before", LIMITS, "reservation.issued_at <= revoked_at\n                and ", "", "ended_session"),
    ("users whose loader reads the session", "flask_bokeh/web/logout.py", " or (user is not None and user.get_id())", "", "reads_the_session"),
    ("a word about the limit", f"{JS}/show.js", "if (status.status === 503) return showMessage(plot.element, (await status.text()).trim());", "", "limit_in"),
    ("a redirect to the login", f"{JS}/session_status.js", ' || status.type === "opaqueredirect"', "", "sends_elsewhere"),
    ("no reload of what was posted", f"{JS}/reload.js", "if (!pageAnswersGet() || ", "if (", "answer_to_a_post"),
    ("no reload of what was typed", f"{JS}/reload.js", " || visitorHasTyped()", "", "what_was_typed"),
    ("the query of the page", f"{JS}/session_status.js", "  url.search = location.search;", "", "with_the_query"),
    ("the host of a smuggled plot", f"{JS}/show.js", "if (!isSameHost(origin))", "if (false)", "another_host"),
    ("the nonce of BokehJS", "templates/flask_bokeh/resources.html", '<script{{ attributes }} src="{{ url', '<script src="{{ url', "strict_policy and server"),
    ("the nonce of our script", "templates/flask_bokeh/resources.html", '<script{{ attributes }} src="{{ script_url', '<script src="{{ script_url', "strict_policy and page"),
    ("the same id under a new key", TOKENS, "session_id = _sign_again(session_id, self.key)", "pass", "keys_are_changed"),
    ("a digest in place of the user", TOKENS, "return _base64(hmac.new(key, b\"principal \" + identity.encode(), hashlib.sha256).digest()[:16])", "return identity", "belongs_to"),
]  # fmt: skip


def main() -> None:
    missed, tried = [], 0
    only = sys.argv[1:]
    for what, name, old, new, tests in MUTATIONS:
        if only and not any(word in what for word in only):
            continue
        tried += 1
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "checkout")
            ignored = shutil.ignore_patterns(".*", "__pycache__", "node_modules")
            shutil.copytree(ROOT, copy, ignore=ignored)
            file = copy / name
            text = file.read_text()
            if text.count(old) < 1:
                raise SystemExit(f"{name} does not hold {old!r} any more.")
            file.write_text(text.replace(old, new))
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
            done = subprocess.run(
                [*command, *FILES, "-k", tests],
                cwd=copy,
                env={**os.environ, "PYTHONPATH": str(copy)},
                capture_output=True,
                text=True,
                check=False,
            )
        failed = done.returncode == 1
        sys.stdout.write(f"{'fails' if failed else 'MISSED':7} without {what}\n")
        sys.stdout.flush()
        if not failed:
            missed.append(what)
    sys.stdout.write(f"{tried - len(missed)} of {tried} are seen to fail\n")
    raise SystemExit(bool(missed))


if __name__ == "__main__":
    main()
