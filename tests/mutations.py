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
TOKENS, LIMITS = "flask_bokeh/security/tokens.py", "flask_bokeh/security/limits.py"
VIEWS, PAGES = "flask_bokeh/web/blueprint.py", "flask_bokeh/web/pages.py"
HEADERS = "flask_bokeh/web/response_headers.py"
ORIGIN, WIRING = "flask_bokeh/web/origin.py", "flask_bokeh/web/setup.py"
PAGE_JS = "templates/flask_bokeh/page.js"
SOCKETS, HANDOFF = "flask_bokeh/bokeh_api/v3/websocket.py", "flask_bokeh/hijack/upgrade_server.py"
LOGS, PATCHES = "flask_bokeh/log_text.py", "flask_bokeh/bokeh_api/v3/patches.py"
SERVERS, AFFINITY = "flask_bokeh/hijack/adapters.py", "flask_bokeh/workers/sender.py"
MESSAGES = "flask_bokeh/bokeh_api/v3/message_limits.py"
FILES = [
    *(f"tests/{name}" for name in ("attacks", "bokeh_api", "browser", "hijack", "security", "web")),
    *("tests/workers", "tests/server/test_closing.py", "tests/runtime/test_fairness.py"),
    *("tests/test_csp.py", "tests/test_fuzz.py", "tests/test_templating.py"),
]

# What is taken away, where, the code, what is there instead, the tests.
MUTATIONS = [
    ("the Origin", ORIGIN, "    if parsed is None:\n        return False", "    return True", "origins"),
    ("a missing Origin", ORIGIN, "return allow_missing", "return True", "origins"),
    ("the Origin's scheme", ORIGIN, "return scheme, host, str(", "return '', host, str(", "origins or hosts"),
    ("the Origin's port", ORIGIN, "str(int(port or _DEFAULT_PORT[scheme]))", "''", "origins"),
    ("the whole Origin", ORIGIN, "_ORIGIN.fullmatch(", "_ORIGIN.match(", "origins"),
    ("the list's scheme", ORIGIN, 'if "://" in entry:', "if False:", "list_of_origins"),
    ("Sec-WebSocket-Protocol's form", VIEWS, 'if len(protocols) != 2 or protocols[0] != "bokeh":', "if len(protocols) < 2:", "subprotocols"),
    ("the signature", TOKENS, "return check_token_signature(text, secret_key=key, signed=True)", "return True", "bad_tokens"),
    ("the application of a token", STATE, "if token.visit.path != path:", "if False:", "of_another_application"),
    ("the user of a token", STATE, "if not self.tokens.belongs_to(token, principal):", "if False:", "of_another or login"),
    ("the short life", STATE, "if token.subject is None and self.tokens.expired(token)", "if False", "short_lived"),
    ("the long life", TOKENS, "if not time.time() - token.issued_at <= self.max_age:", "if False:", "bad_tokens"),
    ("a time that is none", TOKENS, "if not time.time() - token.issued_at <= self.max_age:", "if time.time() - token.issued_at > self.max_age:", "bad_tokens"),
    ("a cut zlib stream", TOKENS, ", zlib.error)", ")", "bad_tokens"),
    ("the guard of an upgrade", STATE, "        self.site.check(token.visit)\n        return token\n\n    def end_tokens", "        return token\n\n    def end_tokens", "guard or role"),
    ("the guard of a page", STATE, "        self.site.check(token.visit)\n        return token\n\n    def admit", "        return token\n\n    def admit", "guard or role"),
    ("the guard of metadata", PAGES, "        self._check(registration)\n        metadata", "        metadata", "guarded_page"),
    ("the guard of files", PAGES, "        self._check(registration)\n        folder", "        folder", "test_paths"),
    ("no shared cache for guarded files", PAGES, "public=not self._state.guards.for_path(registration.path)", "public=True", "files_have_its_guard"),
    ("what a template escapes", "flask_bokeh/bokeh_api/v3/page_templates.py", "environment.overlay(autoescape=True)", "environment.overlay(autoescape=False)", "of_a_directory"),
    ("the title of a page", "flask_bokeh/bokeh_api/v3/page_templates.py", 'escape(context["title"])', 'context["title"]', "escapes_nothing"),
    ("the true hash of a file", PAGES, "version == content_version(path)", "True", "cached_for_ever or file_that_changes"),
    ("a session that a client chooses", PAGES, "if any(name in request.args for name in _CHOICES)", "if False", "token_in_the_address"),
    ("a cookie's signature", ACCESS, "signer.unsign(value).decode()", "value.split('.')[0]", "forged_cookie"),
    ("all cookies of the name", ACCESS, "reversed(request.cookies.getlist(name))", "request.cookies.getlist(name)[:1]", "more_than_one_cookie"),
    ("HttpOnly", ACCESS, "httponly=True", "httponly=False", "of_another_browser"),
    ("SameSite", ACCESS, 'samesite=current_app.config["SESSION_COOKIE_SAMESITE"] or "Lax",', "", "of_another_browser"),
    ("Secure", ACCESS, 'secure=request.is_secure or current_app.config["SESSION_COOKIE_SECURE"],', "", "of_another_browser"),
    ("no-store for pages", WIRING, 'response.headers["Cache-Control"] = "no-store"', "pass", "headers_of_our_own"),
    ("no-store for streamed pages", WIRING, " or (streams and html)", "", "streamed"),
    ("no-store with our cookie", ACCESS, 'response.headers["Cache-Control"] = "no-store"', "pass", "brings_a_cookie"),
    ("no token in a stream that may be stored", "flask_bokeh/web/markup.py", "if request.environ.get(SENT) is False:", "if False:", "may_be_stored"),
    ("no-store for states", VIEWS, 'headers={"Cache-Control": "no-store"}', "", "headers_of_our_own"),
    ("nosniff", HEADERS, 'response.headers.setdefault("X-Content-Type-Options", "nosniff")', "", "headers_of_our_own"),
    ("Referrer-Policy", HEADERS, 'response.headers.setdefault("Referrer-Policy", "same-origin")', "", "headers_of_our_own"),
    ("frame-ancestors", PAGES, "allow_frames(settings.allow_ws_origin)", "", "headers_of_our_own"),
    ("the site's own frame-ancestors", HEADERS, "if said or ", "if ", "own_policy"),
    ("a site that denies frames", HEADERS, 'response.headers.get("X-Frame-Options", "").strip().lower() == "deny"', "False", "own_policy"),
    ("other sites' frames", PAGES, "if shown in _FRAMES and not self._state.settings.allow_ws_origin:", "if False:", "fetched_for"),
    ("pages fetched ahead", PAGES, 'if any("prefetch" in headers.get(name, "") for name in _PURPOSES):', "if False:", "fetched_for"),
    ("what the inner port leaves out", "flask_bokeh/bokeh_api/v3/server.py", "    open_sockets_only(server.tornado, limits, tokens, MessageInspector(allowed))\n", "", "the_port_inside"),
    ("paths that are no patterns", SOCKETS, "re.escape(path.rstrip(\"/\"))", "path.rstrip(\"/\")", "the_port_inside"),
    ("limits on the inner port", SOCKETS, "        limits.reserve(token, Principal(address=address))\n", "", "own_port"),
    ("the size of a whole message", SOCKETS, 'self._size > self.application.settings["websocket_max_message_size"]', "False", "many_frames"),
    ("what a log line holds", SOCKETS, "    async def on_message(self, message", "    async def _on_message(self, message", "not_logged_whole"),
    ("the text of an exception", SOCKETS, "text = detail or", "text = describe(error) or", "callback_that_raises"),
    ("the values of a message", LOGS, "hidden = None if not content else _values(content)", "hidden = None", "typed_is_not_logged"),
    ("a copy of a column", PATCHES, "column = _copy(self[name])", "column = self[name]", "of_one_visitor"),
    ("a copy of an item", PATCHES, "copies[index[0]] = item.copy()", "copies[index[0]] = item", "of_one_visitor"),
    ("a look between two events", PATCHES, 'make_columns_private([event.get("model")])', "pass", "callback_shares"),
    ("what clients are told", VIEWS, "text = str(error) if current_app.debug else error.public", "text = str(error)", "is_judged"),
    ("the number of values of a message", SOCKETS, "                check_text(fragment, self._inspector.limits)\n", "                pass\n", "costly_messages"),
    ("what a message asks for", "flask_bokeh/bokeh_api/v3/message_inspector.py", "content = inspect_content(kind, message.content, buffers, size, self.limits, is_known)", "content = Content(frozenset())", "costly_messages"),
    ("the length of what is compressed", MESSAGES, "if self._inline > _MAX_INLINE:", "if False:", "length_of_what"),
    ("copies of a buffer", MESSAGES, "if self._bytes_left < 0:", "if False:", "again_and_again"),
    ("the types of arrays", MESSAGES, "or dtype not in _ITEM_SIZES", "", "data_types"),
    ("the shape of arrays", MESSAGES, "math.prod(shape) != count or", "", "shapes"),
    ("the shape of empty arrays", MESSAGES, "math.prod(n or 1 for n in shape) > max(count, 1000)", "False", "empty_arrays"),
    ("numbers that are hashed", MESSAGES, "if self._hashed > _MAX_HASHED:", "if False:", "hashed"),
    ("the depth of a message", MESSAGES, "if depth > _MAX_DEPTH:", "if False:", "deep"),
    ("the events of a message", MESSAGES, "if len(events) > limits.events:", "if False:", "events"),
    ("the form of events", MESSAGES, ' and "type" not in event', "", "events"),
    ("the models of a message", MESSAGES, "if len(self.models) > self._limits.new_models:", "if False:", "models"),
    ("the models of many messages", "flask_bokeh/bokeh_api/v3/message_inspector.py", "            self._count_added(content.new_models, session)", "            pass", "many_small"),
    ("one look at all models", "flask_bokeh/bokeh_api/v3/message_inspector.py", "with doc.models.freeze():", "if True:", "looked_at_once"),
    ("long strings in columns", MESSAGES, "if count > 20 and", "if False and", "long_strings"),
    ("streams that widen a column", "flask_bokeh/bokeh_api/v3/message_inspector.py", "if 4 * width * len(column) >", "if False and 4 * width * len(column) >", "widen"),
    ("a client that was refused", SOCKETS, "if self.ws_connection is None:", "if False:", "not_heard"),
    ("a visitor's share of the threads", "flask_bokeh/runtime/gevent.py", "if running >= (1 if owner.heavy else self.share):", "if False:", "share_of"),
    ("messages that are not kept", SOCKETS, "            vars(self.receiver).clear()  # it refers to itself\n", "", "not_kept"),
    ("a visitor's large frames", "flask_bokeh/bokeh_api/v3/websocket_reads.py", "            await lock.acquire()\n            self._lock = lock\n", "", "large_frames"),
    ("what a visitor's sockets hold", "flask_bokeh/bokeh_api/v3/websocket_reads.py", "            await self._reads.begin(n)\n", "            pass\n", "frames_of_many"),
    ("a visitor's turns", "flask_bokeh/bokeh_api/v3/turns.py", "if since < self._shared_until:", "if False:", "turns_of"),
    ("the sockets of a session", HANDOFF, "streams[:-MAX_SOCKETS]", "[]", "sockets_of_a_session"),
    ("the descriptors that are left", SERVERS, "if not is_below_fd_reserve(number):", "if False:", "descriptors_are_left"),
    ("control characters in a head", HANDOFF, "or _FORBIDDEN.search(value)", "", "head or line"),
    ("the form of a target", HANDOFF, "if not _TARGET.fullmatch(target):", "if False:", "target or head"),
    ("one upgrade for a connection", HANDOFF, "if stream.requests > 1:", "if False:", "carries_one_upgrade"),
    ("bytes before the 101", SERVERS, "if taken.pending() or adapter.has_buffered_input(environ):", "if False:", "early"),
    ("no body with an upgrade", SERVERS, 'if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:', "if False:", "smuggle"),
    ("no HEAD for an upgrade", SERVERS, 'if environ.get("REQUEST_METHOD", "GET") != "GET":', "if False:", "plain_get and HEAD"),
    ("HTTP/1.1 for an upgrade", SERVERS, 'if environ.get("SERVER_PROTOCOL") not in ("HTTP/1.1", None):', "if False:", "plain_get and HTTP"),
    ("the room for bodies", "flask_bokeh/hijack/request_bodies.py", "if self._bytes + size > self._max_bytes:", "if False:", "unfinished_bodies"),
    ("the private folder", "flask_bokeh/workers/runtime_dir.py", "if not (wrong := _what_is_wrong(found)):", "if True:", "folder_that_was_taken"),
    ("who knocks", "flask_bokeh/workers/listener.py", "                check_peer_uid(sender)\n", "", "another_user"),
    ("who is knocked at", AFFINITY, "        check_peer_uid(connection)\n        connection.sendall(f", "        connection.sendall(f", "another_user"),
    ("a worker's name", AFFINITY, "if folder is None or not _NAME.fullmatch(name):", "if folder is None:", "name_is_no_path"),
    ("other sites' scripts", PAGES, 'request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")', "False", "other_sites"),
    ("other sites' pictures", PAGES, 'if shown not in ("document", *_FRAMES):', "if False:", "fetched_for"),
    ("the length of a token", TOKENS, "if len(text) > MAX_TOKEN_LENGTH:\n            raise TokenError", "if False:\n            raise TokenError", "too_long"),
    ("the size of arguments", TOKENS, "if size > self.max_arguments_size:", "if False:", "arguments or limit"),
    ("loopback", "flask_bokeh/bokeh_api/v3/server.py", '"address": "127.0.0.1"', '"address": "0.0.0.0"', "the_port_inside"),
    ("the limit of sessions", LIMITS, '"max_sessions", len(reservations)', '"max_sessions", 0', "race_for and limits0"),
    ("the limit per user", LIMITS, "sum(reservation.subject == bound for reservation in reservations)", "0", "race_for and limits1"),
    ("the limit per address", LIMITS, "sum(reservation.network == network for reservation in reservations)", "0", "race_for and limits2"),
    ("networks of IPv6", LIMITS, "return str(IPv6Network((int(parsed) >> 64 << 64, 64)))", "return address", "counts_as_one"),
    ("clients without an address", ACCESS, "    return address\n", "    return address or None\n", "unix_socket"),
    ("the rate", LIMITS, "        if left < 1:\n            return False\n", "", "race_for and limits3"),
    ("places taken before the session is there", VIEWS, "new = self._open(token, principal)", "new = self._open(token, principal, only_ask=True)", "race_for"),
    ("the limit of pulled sessions", STATE, "server.limits.reserve(token, principal)", "", "race_for"),
    ("the limit of pages", PAGES, "server.limits.reserve(token, principal)", "", "race_for"),
    ("the place of a refused upgrade", VIEWS, "server.limits.release(token.visit.session_id)", "pass", "places_come_back"),
    ("the place of an ended session", "flask_bokeh/applications/hosted.py", "self._limits.release(str(session_context.id), session_context)", "pass", "places_come_back"),
    ("the end in other workers", "flask_bokeh/server/closing.py", "elsewhere, failed = broadcast_close(folder, own, subject_digests, then)", "elsewhere = 0", "logout_ends"),
    ("the end in this worker", "flask_bokeh/server/local_closing.py", 'disconnect(session, 1008, "the session has been ended")', "pass", "logout_ends"),
    ("the end of sessions pulled for a user", LIMITS, "of = set() if reservation.user is None else set(self._digests(reservation.user))", "of = set()", "logout_ends"),
    ("the logout", WIRING, "    access.follow_logouts(app)\n", "", "logout_ends"),
    ("the end of what is filled for long", "flask_bokeh/applications/hosted.py", "            self._check_lives(doc)\n", "", "takes_long_to_fill"),
    ("the end of what others could not tell", "flask_bokeh/workers/listener.py", "        self._found_again()\n", "", "lost_while"),
    ("the end of tokens of before", "flask_bokeh/security/revocation.py", "self._since(digest) >= issued", "False", "before_and_after_login"),
    ("the end in workers to come", "flask_bokeh/security/revocation.py", "then = max(then, (self._marks(folder, when) / digest).stat().st_mtime)", "pass", "before_any_plot"),
    ("the end of what was opened before", LIMITS, "reservation.issued_at <= then and ", "", "ended_session"),
    ("users whose loader reads the session", ACCESS, " or (user is not None and user.get_id())", "", "reads_the_session"),
    ("a word about the limit", PAGE_JS, "if (answer?.status === 503) return say(element, (await answer.text()).trim());", "", "limit_in"),
    ("a redirect to the login", PAGE_JS, ' || answer.type === "opaqueredirect"', "", "sends_elsewhere"),
    ("no reload of what was posted", PAGE_JS, "if (!gets || ", "if (", "answer_to_a_post"),
    ("no reload of what was typed", PAGE_JS, " || typed || filled()", "", "what_was_typed"),
    ("the query of the page", PAGE_JS, " + location.search", "", "with_the_query"),
    ("the nonce of a plot", "templates/flask_bokeh/embed.html", "<script{{ attributes }}>", "<script>", "strict_policy"),
    ("the nonce of BokehJS", "templates/flask_bokeh/resources.html", "<script{{ attributes }} src", "<script src", "strict_policy and server"),
    ("the nonce of a page", "flask_bokeh/bokeh_api/v3/embed.py", "<script{attribute}>", "<script>", "strict_policy and page"),
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
            ignored = shutil.ignore_patterns(".*", "__pycache__")
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
