"""What holds for every request of the explorer: plain ASGI, around all of its pages.

(1) it was sent to this very address, so no other name leads here (DNS rebinding);
(2) it reads: nothing is changed by a request, so no other method is known; but for the places that
    an application names, where a form of these very pages is sent, said so by the browser twice;
(3) it comes from these pages or from the address bar, and its browser was let in; static files
    alone are for everybody;
(4) its answer is kept by nobody, framed by nobody, and runs no script but ours;
(5) what nobody expected is a page with a fixed text; its own text, which may name persons, goes
    nowhere.
"""

import logging
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.explorer import links
from broker.explorer.admission import Admission
from broker.explorer.pages import Pages, Trouble
from broker.explorer.question import Unclear, parse_fields

_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    b" connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none';"
    b" require-trusted-types-for 'script'; trusted-types 'none'"
)
Headers = tuple[tuple[bytes, bytes], ...]
HEADERS: Final[Headers] = (
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        _POLICY,
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
# Who refers to nothing sends forms with ``Origin: null``, which says nothing.
_FORM_HEADERS: Final = tuple(
    (name, b"same-origin" if name == b"referrer-policy" else value) for name, value in HEADERS
)
_OURS: Final = frozenset({b"same-origin", b"none"})  # Sec-Fetch-Site; old browsers send none
_log = logging.getLogger(__name__)

_NOT_HERE: Final = Trouble(
    421, "Another address", "This page is not served under the name that was asked for."
)
_METHOD: Final = Trouble(405, "Not here", "These pages are read, and nothing else.")
_FORM: Final = b"application/x-www-form-urlencoded"
_ELSEWHERE: Final = Trouble(403, "From elsewhere", "Other pages may not read these.")
MISSING: Final = Trouble(404, "Not here", "There is no such page.")
_AGAIN: Final = "Press Enter where the explorer runs: it prints a new link."
_CLOSED: Final = Trouble(403, "Open the link that was printed", "This browser was not let in.")
_USED: Final = Trouble(
    403, "This link does not open anything", "It was used already, or it is too old.", _AGAIN
)
_OUR_FAULT: Final = Trouble(500, "Something went wrong", "This is a fault of the explorer itself.")


class Gate:
    """An ASGI application around the pages."""

    def __init__(
        self,
        app: ASGIApp,
        admission: Admission,
        pages: Pages,
        address: str,
        *,
        forms: frozenset[str] = frozenset(),
    ) -> None:
        """``address``: host and port, as browsers send them; ``forms``: paths that take POST."""
        self._app = app
        self._admission = admission
        self._pages = pages
        self._address = address.encode()
        self._forms = forms
        self._headers = _FORM_HEADERS if forms else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # nothing else is offered
            return
        answer = _Answer(send, self._headers)
        response = self._refusal(scope)
        if response is not None:
            await response(scope, receive, answer)
            return
        try:
            await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 — (5): the one place where it ends
            _log.error("a page failed: %s", _place(error))
            if not answer.started:
                await self._pages.trouble(_OUR_FAULT)(scope, receive, answer)
            # Else the answer stays without its end, and the listener cuts the connection: whoever
            # reads it sees that it is not whole.

    def _refusal(self, scope: Scope) -> Response | None:
        """Return what a request is answered with that does not come through."""
        headers = dict(scope["headers"])  # the listener has seen that there is one Host
        stray = self._find_stray(scope, headers)
        if stray is not None:
            return self._outside(stray)
        path = scope["path"]
        if path.startswith(links.STATIC):
            found = self._pages.file(path.removeprefix(links.STATIC))
            return found or self._outside(MISSING)
        if path == links.OPEN:
            return self._open(scope, headers)
        # Whatever comes from another page is without a session, also where a cookie came along:
        # to browsers all ports of this machine are one site.
        inside = headers.get(b"sec-fetch-site", b"none") in _OURS
        return None if inside and self._admits(headers) else self._closed(scope)

    def _find_stray(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Trouble | None:
        if headers.get(b"host") != self._address:  # see (1)
            return _NOT_HERE
        if scope["method"] == "POST" and scope["path"] in self._forms:
            return None if self._is_own_form(headers) else _ELSEWHERE
        if scope["method"] != "GET":  # see (2)
            return _METHOD
        foreign = headers.get(b"sec-fetch-site", b"none") not in _OURS  # see (3)
        navigates = headers.get(b"sec-fetch-mode") == b"navigate"
        return _ELSEWHERE if foreign and not navigates else None

    def _is_own_form(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a page of ours sends it: no page can forge either, and its cookie is Strict."""
        return (
            headers.get(b"origin") == b"http://" + self._address
            and headers.get(b"sec-fetch-site", b"same-origin") == b"same-origin"
            and headers.get(b"content-type", b"").partition(b";")[0].strip() == _FORM
        )

    def _open(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Response:
        try:
            token = parse_fields(scope["query_string"], ("link",)).get("link", "")
        except Unclear:
            return self._outside(_USED)
        # What a browser fetches ahead nobody has seen yet; it would use the link up.
        ahead = b"prefetch" in headers.get(b"sec-purpose", b"")
        cookie = None if ahead else self._admission.redeem(token)
        if cookie is None:
            return self._outside(_USED)
        response = Response(status_code=303, headers={"location": links.SEARCH})
        response.set_cookie(
            self._admission.cookie, cookie, path="/", httponly=True, samesite="strict"
        )
        return response

    def _closed(self, scope: Scope) -> Response:
        # Whoever follows a link of a colleague's has no cookie with it (SameSite), until they go on
        # from here.
        query = scope["query_string"].decode("ascii", "replace")
        here = scope["raw_path"].decode("ascii", "replace") + (f"?{query}" if query else "")
        onward = here if here.startswith("/") and not here.startswith("//") else links.SEARCH
        return self._pages.page(
            "closed.html", status=403, trouble=_CLOSED, then=_AGAIN, onward=onward, inside=False
        )

    def _outside(self, trouble: Trouble) -> Response:
        response = self._pages.trouble(trouble, inside=False)
        if trouble is _METHOD:
            response.headers["allow"] = "GET"
        return response

    def _admits(self, headers: Mapping[bytes, bytes]) -> bool:
        try:
            found = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
        except CookieError:
            return False
        morsel = found.get(self._admission.cookie)
        return morsel is not None and self._admission.admits(morsel.value)


class _Answer:
    """Adds to an answer what every answer has."""

    __slots__ = ("_headers", "_send", "started")

    def __init__(self, send: Send, headers: Headers) -> None:
        self._send = send
        self._headers = headers
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message.get("headers", ()), *self._headers]
        await self._send(message)


def _place(error: BaseException) -> str:
    """Return what kind of error it is, and where; not its text."""
    at, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        at, trace = f" in {code.co_name} ({code.co_filename}:{trace.tb_lineno})", trace.tb_next
    return f"{type(error).__name__}{at}"
