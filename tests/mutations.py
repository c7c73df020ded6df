"""Remove each security check, and verify that its test fails: ``python -m tests.mutations``.

It works on a copy of the checkout. Each row of the table is one change of the code, with the tests
that must fail after it.
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

# Description, file, code, replacement, tests (an expression for -k).
MUTATIONS = [
    ("the Origin check", ORIGIN, "    if parsed is None:\n        return False", "    return True", "origins"),
    ("the refusal of a missing Origin", ORIGIN, "return allow_missing", "return True", "origins"),
    ("the comparison of the Origin's scheme", ORIGIN, "return scheme, host, str(", "return '', host, str(", "origins or hosts"),
    ("the comparison of the Origin's port", ORIGIN, "str(int(port or _DEFAULT_PORT[scheme]))", "''", "origins"),
    ("the match of the whole Origin", ORIGIN, "_ORIGIN.fullmatch(", "_ORIGIN.match(", "origins"),
    ("the schemes of allowed origins", ORIGIN, 'if "://" in entry:', "if False:", "list_of_origins"),
    ("the check of Sec-WebSocket-Protocol", WEBSOCKET, 'if len(protocols) != 2 or protocols[0] != "bokeh":', "if len(protocols) < 2:", "subprotocols"),
    ("the check of the token's signature", TOKENS, "return check_token_signature(encoded, secret_key=key, signed=True)", "return True", "bad_tokens"),
    ("the check of the token's application", AUTHORIZER, "if token.visit.path != path:", "if False:", "of_another_application"),
    ("the check of the token's user", AUTHORIZER, "if not self.tokens.belongs_to(token, principal):", "if False:", "of_another or login"),
    ("the short lifetime of a token that is bound to nobody", AUTHORIZER, "if token.subject is None and self.tokens.is_expired(token)", "if False", "short_lived"),
    ("the maximum age of a token", TOKENS, "if not time.time() - token.issued_at <= self.max_age:", "if False:", "bad_tokens"),
    ("the refusal of a time that is not a number", TOKENS, "if not time.time() - token.issued_at <= self.max_age:", "if time.time() - token.issued_at > self.max_age:", "bad_tokens"),
    ("the refusal of a truncated zlib stream", TOKENS, ", zlib.error)", ")", "bad_tokens"),
    ("the guards of an upgrade", AUTHORIZER, "        self._integration.check_access(token.visit)\n        return token\n\n    def revoke_tokens", "        return token\n\n    def revoke_tokens", "guard or role"),
    ("the guards of a page", AUTHORIZER, "            self._integration.check_access(token.visit)\n        return token\n\n    def authorize", "            pass\n        return token\n\n    def authorize", "guard or role"),
    ("the guards of metadata", PAGES, "        check_access(self._state, registration)\n        metadata", "        metadata", "guarded_page"),
    ("the guards of files", STATIC, "        check_access(self._state, registration)\n        folder", "        folder", "test_paths"),
    ("Cache-Control: private for guarded files", STATIC, "public=not is_guarded", "public=True", "files_have_the_guard"),
    ("autoescaping in templates of directories", "flask_bokeh/bokeh_api/v3/page_templates.py", "environment.overlay(autoescape=True)", "environment.overlay(autoescape=False)", "of_a_directory"),
    ("the escaping of a page's title", "flask_bokeh/bokeh_api/v3/page_templates.py", 'escape(context["title"])', 'context["title"]', "escapes_nothing"),
    ("the check of a file's hash", STATIC, "version == content_version(path)", "True", "cached_for_ever or file_that_changes"),
    ("the refusal of session IDs in the query", "flask_bokeh/web/requested_application.py", "if any(one in request.args for one in _PARAMETERS)", "if False", "token_in_the_address"),
    ("the check of the cookie's signature", COOKIE, "signer.unsign(value).decode()", "value.split('.')[0]", "forged_cookie"),
    ("the search through all cookies with our name", COOKIE, "reversed(request.cookies.getlist(_cookie_name(key)))", "request.cookies.getlist(_cookie_name(key))[:1]", "extra_cookies"),
    ("HttpOnly", COOKIE, "httponly=True", "httponly=False", "of_another_browser"),
    ("SameSite", COOKIE, 'samesite=current_app.config["SESSION_COOKIE_SAMESITE"] or "Lax",', "", "of_another_browser"),
    ("Secure", COOKIE, 'secure=request.is_secure or current_app.config["SESSION_COOKIE_SECURE"],', "", "of_another_browser"),
    ("no-store for pages", WIRING, "        forbid_storing(response)", "        pass", "security_headers"),
    ("no-store for streamed pages", WIRING, " or (is_stream and is_html)", "", "streamed"),
    ("no-store with our cookie", COOKIE, "forbid_storing(response)  #", "pass  #", "sets_a_cookie"),
    ("no token in a stream that may be stored", "flask_bokeh/web/markup.py", "if state.headers_sent and not state.sent_no_store:", "if False:", "may_be_stored"),
    ("no-store for session status responses", "flask_bokeh/web/session_status.py", "return forbid_storing(Response(status=204))", "return Response(status=204)", "security_headers"),
    ("nosniff", HEADERS, 'response.headers.setdefault("X-Content-Type-Options", "nosniff")', "", "security_headers"),
    ("Referrer-Policy", HEADERS, 'response.headers.setdefault("Referrer-Policy", "same-origin")', "", "security_headers"),
    ("frame-ancestors", PAGES, "allow_frames(state.settings.allow_ws_origin)", "", "security_headers"),
    ("the priority of the site's frame-ancestors", HEADERS, "if has_ancestors or ", "if ", "keep_the_sites_policy"),
    ("the respect for X-Frame-Options: DENY", HEADERS, 'response.headers.get("X-Frame-Options", "").strip().lower() == "deny"', "False", "keep_the_sites_policy"),
    ("the refusal of pages in other sites' frames", PAGES, "if destination in _FRAMES and not self._state.settings.allow_ws_origin:", "if False:", "refused_to_scripts"),
    ("the refusal of prefetched pages", PAGES, 'if any("prefetch" in headers.get(name, "") for name in _PURPOSES):', "if False:", "refused_to_scripts"),
    ("the removal of pages from the inner port", "flask_bokeh/bokeh_api/v3/server.py", "    serve_websockets_only(server._tornado, authorize, _inspector(settings))\n", "", "inner_port_accepts"),
    ("the escaping of paths in URL patterns", SOCKETS, "re.escape(path.rstrip(\"/\"))", "path.rstrip(\"/\")", "inner_port_accepts"),
    ("limits on the inner port", "flask_bokeh/server/port_access.py", "        self._limits.reserve(token, Principal(address=address))\n", "", "limits_apply_on_the_inner_port or own_port"),
    ("the size limit of a message of many frames", SOCKETS, 'self._size > self.application.settings["websocket_max_message_size"]', "False", "all_of_its_frames"),
    ("the redaction of messages in the log", QUIET, "    async def on_message(self, message", "    async def _on_message(self, message", "truncated_in_the_log"),
    ("the redaction of an exception's text", QUIET, "text = detail or", "text = describe(error) or", "only_a_reference"),
    ("the redaction of a message's values in the log", LOGS, "hidden = None if not content else _values(content)", "hidden = None", "typed_values_are_not_logged"),
    ("the copy of a column before it is patched", PATCHES, "column = _copy(self[name])", "column = self[name]", "of_one_visitor"),
    ("the copy of an item before it is patched", PATCHES, "copies[index[0]] = item.copy()", "copies[index[0]] = item", "of_one_visitor"),
    ("the copy of columns between two events", PATCHES, 'make_columns_private([event.get("model")])', "pass", "callback_shares"),
    ("the public text of a refusal", "flask_bokeh/web/refusals.py", "text = str(error) if current_app.debug else error.public", "text = str(error)", "explained_in_the_log"),
    ("the limit of values in a message", SOCKETS, "                check_text(fragment, self._inspector.limits)\n", "                pass\n", "costly_messages"),
    ("the inspection of messages", "flask_bokeh/bokeh_api/v3/message_inspector.py", "content = inspect_content(kind, message.content, buffers, size, self.limits, is_known)", "content = Content(frozenset())", "costly_messages"),
    ("the limit of inline compressed data", COSTS, "if self._inline > _MAX_INLINE:", "if False:", "long_compressed"),
    ("the limit of references to a buffer", COSTS, "if self._bytes_left < 0:", "if False:", "again_and_again"),
    ("the check of array types", COSTS, "or dtype not in _ITEM_SIZES", "", "data_types"),
    ("the check of array shapes", COSTS, "math.prod(shape) != count or", "", "shapes"),
    ("the check of empty arrays' shapes", COSTS, "math.prod(n or 1 for n in shape) > max(count, 1000)", "False", "empty_arrays"),
    ("the limit of hashed members", COSTS, "if self._hashed > _MAX_HASHED:", "if False:", "hashed"),
    ("the depth limit of a message", COSTS, "if depth > _MAX_DEPTH:", "if False:", "deep"),
    ("the limit of events in a message", MESSAGES, "if len(events) > limits.events:", "if False:", "events"),
    ("the check of the form of events", MESSAGES, ' and "type" not in event', "", "events"),
    ("the limit of models in a message", COSTS, "if len(self.models) > self._limits.new_models:", "if False:", "models"),
    ("the limit of models in many messages", "flask_bokeh/bokeh_api/v3/message_inspector.py", "            self._count_added(content.new_models, session)", "            pass", "across_messages"),
    ("the single update of the document's models", "flask_bokeh/bokeh_api/v3/message_inspector.py", "with doc.models.freeze():", "if True:", "recomputed_once"),
    ("the limit of long strings in columns", MESSAGES, "if count > 20 and", "if False and", "long_strings"),
    ("the limit of streams that widen a column", "flask_bokeh/bokeh_api/v3/message_inspector.py", "if 4 * width * len(column) >", "if False and 4 * width * len(column) >", "widen"),
    ("the refusal of messages after a refused one", SOCKETS, "if self.ws_connection is None:", "if False:", "after_a_refused_one"),
    ("the limit of threads for each visitor", "flask_bokeh/runtime/executor.py", "if running >= (1 if owner.heavy else self.share):", "if False:", "share_of"),
    ("the release of handled messages", SOCKETS, "            vars(self.receiver).clear()  # it refers to itself\n", "", "freed_from_memory"),
    ("the lock for a visitor's large frames", "flask_bokeh/bokeh_api/v3/websocket_reads.py", "            await lock.acquire()\n            self._lock = lock\n", "", "large_frames"),
    ("the limit of bytes that a visitor's sockets buffer", "flask_bokeh/bokeh_api/v3/websocket_reads.py", "            await self._reads.begin(n)\n", "            pass\n", "frames_are_bounded"),
    ("the pause after the turn of a busy visitor", "flask_bokeh/bokeh_api/v3/message_turns.py", "if since < self._shared_until:", "if False:", "turns_of"),
    ("the limit of sockets for each session", "flask_bokeh/hijack/upgrade_server.py", "streams[:-MAX_SOCKETS]", "[]", "newest_four_sockets"),
    ("the reserve of file descriptors", SERVERS, "if not is_below_fd_reserve(number):", "if False:", "leave_descriptors"),
    ("the refusal of control characters in a head", HANDOFF, "or _FORBIDDEN.search(value)", "", "head or line"),
    ("the check of the request target", HANDOFF, "if not _TARGET.fullmatch(target):", "if False:", "target or head"),
    ("the limit of one upgrade for each connection", "flask_bokeh/hijack/upgrade_server.py", "if stream.requests > 1:", "if False:", "carries_one_upgrade"),
    ("the refusal of bytes before the 101", SERVERS, "if socket_hijack.has_pending_data() or adapter.has_buffered_input(environ):", "if False:", "early"),
    ("the refusal of an upgrade with a body", SERVERS, 'if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:', "if False:", "smuggle"),
    ("the refusal of HEAD for an upgrade", SERVERS, 'if environ.get("REQUEST_METHOD", "GET") != "GET":', "if False:", "plain_get and HEAD"),
    ("the refusal of HTTP/1.0 for an upgrade", SERVERS, 'if environ.get("SERVER_PROTOCOL") not in ("HTTP/1.1", None):', "if False:", "plain_get and HTTP"),
    ("the limit of buffered request bodies", "flask_bokeh/hijack/request_bodies.py", "if self._bytes + size > self._max_bytes:", "if False:", "unfinished_bodies"),
    ("the checks of the runtime directory", "flask_bokeh/workers/runtime_dir.py", "if not (wrong := _what_is_wrong(found)):", "if True:", "folder_that_was_taken"),
    ("the check of the sending worker's user ID", "flask_bokeh/workers/receiver.py", "            check_peer_uid(sender)\n", "", "another_user"),
    ("the check of the receiving worker's user ID", AFFINITY, "        check_peer_uid(connection)\n", "", "another_user"),
    ("the check of a worker's name", AFFINITY, "if directory is None or not NAME.fullmatch(name):", "if directory is None:", "cannot_leave_the_folder"),
    ("the refusal of autoload.js for other sites", "flask_bokeh/web/autoload.py", 'request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")', "True", "unlisted_sites or other_sites"),
    ("the refusal of pages that are fetched as pictures", PAGES, 'if destination not in ("document", *_FRAMES):', "if False:", "refused_to_scripts"),
    ("the limit of a token's length", TOKENS, "if len(encoded) > MAX_TOKEN_LENGTH:\n            raise TokenError", "if False:\n            raise TokenError", "too_long"),
    ("the limit of the arguments' size", TOKENS, "if size > self.max_arguments_size:", "if False:", "arguments or limit"),
    ("the loopback address of the inner port", "flask_bokeh/bokeh_api/v3/server.py", '"address": "127.0.0.1"', '"address": "0.0.0.0"', "inner_port_accepts"),
    ("the limit of sessions for each process", LIMITS, '"max_sessions", len(reservations)', '"max_sessions", 0', "cannot_exceed and limits0"),
    ("the limit per user", LIMITS, "sum(reservation.subject == subject for reservation in reservations)", "0", "cannot_exceed and limits1"),
    ("the limit per address", LIMITS, "sum(reservation.network == network for reservation in reservations)", "0", "cannot_exceed and limits2"),
    ("the common limit of an IPv6 network", "flask_bokeh/security/client_network.py", "return str(IPv6Network((int(parsed) >> 64 << 64, 64)))", "return address", "count_as_one"),
    ("the limit of clients without an address", ACCESS, "    return address\n", "    return address or None\n", "unix_socket"),
    ("the rate limit", "flask_bokeh/security/rate_limit.py", "self._refilled(key, self._per_minute) >= 1", "True", "cannot_exceed and limits3"),
    ("the reservation before a session is created", WEBSOCKET, "if server.reserve(token, principal):", "if server.check(token, principal):", "cannot_exceed"),
    ("the reservation of pulled sessions", "flask_bokeh/server/pull.py", "server.reserve(token, principal)", "", "cannot_exceed"),
    ("the reservation of pages", PAGES, "server.reserve(token, principal)", "", "cannot_exceed"),
    ("the release of a refused upgrade's reservation", WEBSOCKET, "undo.callback(server.release, upgrade.session_id)", "pass", "is_released_after"),
    ("the release of a destroyed session's reservation", "flask_bokeh/applications/hosted.py", "self._limits.release(str(session_context.id), session_context)", "pass", "is_released_after"),
    ("the closing of sessions in other workers", "flask_bokeh/server/closing.py", "return broadcast_close(folder, own_id, digests, revoked_at)", "return 0, []", "logout_ends"),
    ("the closing of sessions in this worker", "flask_bokeh/server/local_closing.py", 'close_websockets(session, POLICY_VIOLATION, "the session has been ended")', "pass", "logout_ends"),
    ("the closing of sessions that were pulled for a user", LIMITS, "subjects = set() if user is None else set(self._subject_digests(user))", "subjects = set()", "logout_ends"),
    ("the closing of sessions after a logout", WIRING, "    follow_logouts(app)\n", "", "logout_ends"),
    ("the closing of a session while its document is filled", "flask_bokeh/applications/hosted.py", "            self._check_not_closed(doc)\n", "", "takes_long_to_fill"),
    ("the closing of sessions whose close request was lost", "flask_bokeh/workers/listener.py", "            self._target.close_missed_sessions()\n", "            pass\n", "whose_folder_is_lost"),
    ("the revocation of tokens", "flask_bokeh/security/revocation.py", "self._revoked_at(digest) >= issued_at", "False", "invalidate_earlier_tokens"),
    ("the revocation in workers that start later", "flask_bokeh/security/revocation.py", "latest = max(latest, record.stat().st_mtime)", "pass", "in_workers_without_a_server"),
    ("the condition that only older sessions are closed", LIMITS, "reservation.issued_at <= revoked_at\n                and ", "", "ended_session"),
    ("the logout of users whose loader reads the session", "flask_bokeh/web/logout.py", " or (user is not None and user.get_id())", "", "reads_the_session"),
    ("the message about a limit", f"{JS}/show.js", "if (status.status === 503) return showMessage(plot.element, (await status.text()).trim());", "", "limit_is_shown"),
    ("the reload after a redirect to the login", f"{JS}/session_status.js", ' || status.type === "opaqueredirect"', "", "guard_that_redirects"),
    ("the refusal to reload the answer to a POST", f"{JS}/reload.js", "if (!pageAnswersGet() || ", "if (", "answer_to_a_post"),
    ("the refusal to reload a page with typed text", f"{JS}/reload.js", " || visitorHasTyped()", "", "was_typed"),
    ("the page's query in a status request", f"{JS}/session_status.js", "  url.search = location.search;", "", "with_the_query"),
    ("the check of a plot's host", f"{JS}/show.js", "if (!isSameHost(origin))", "if (false)", "another_host"),
    ("the nonce of BokehJS", "templates/flask_bokeh/resources.html", '<script{{ attributes }} src="{{ url', '<script src="{{ url', "strict_policy and server"),
    ("the nonce of the extension's script", "templates/flask_bokeh/resources.html", '<script{{ attributes }} src="{{ script_url', '<script src="{{ script_url', "strict_policy and server"),
    ("the new signature of a session ID after a change of keys", TOKENS, "session_id = _sign_again(session_id, self.key)", "pass", "keys_are_changed"),
    ("the digest in place of the user", TOKENS, "return _base64(hmac.new(key, b\"principal \" + identity.encode(), hashlib.sha256).digest()[:16])", "return identity", "belongs_to"),
]  # fmt: skip


def main() -> None:
    missed, tried = [], 0
    only = sys.argv[1:]
    for description, name, old, new, tests in MUTATIONS:
        if only and not any(word in description for word in only):
            continue
        tried += 1
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "checkout")
            ignored = shutil.ignore_patterns(".*", "__pycache__", "node_modules")
            shutil.copytree(ROOT, copy, ignore=ignored)
            file = copy / name
            text = file.read_text()
            if text.count(old) < 1:
                raise SystemExit(f"{name} does not contain {old!r}.")
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
        sys.stdout.write(f"{'fails' if failed else 'MISSED':7} without {description}\n")
        sys.stdout.flush()
        if not failed:
            missed.append(description)
    sys.stdout.write(f"{tried - len(missed)} of {tried} make a test fail\n")
    raise SystemExit(bool(missed))


if __name__ == "__main__":
    main()
