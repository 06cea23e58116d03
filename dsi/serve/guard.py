"""Whom a server answers: a layer around the application that refuses what should not reach it.

A web page of another site could ask a server on its reader's own machine. Its requests have an origin of their own, or,
where its name was made to point to this machine, ask for a host of that name; both are refused. With a token every
request for data must bring it.
"""

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from dsi.serve.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/", "/health", "/docs", "/openapi.json"})
"""What everybody may read: nothing of it is of the documents."""
OPEN_BELOW = ("/page/", "/static-offline-docs/")
"""Folders of files of the same kind."""
BODY_SECONDS = 10.0
"""How long a client may take to send a body."""
SAYS_WHO = frozenset({b"host", b"origin", b"sec-fetch-site", b"authorization"})
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?")
"""A name or an address, and perhaps a port."""
OTHER_SITE = "requests of other sites' pages are refused"
LAST = {"Connection": "close"}
"""The header of an answer after which the rest of a request is not read."""
CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""What the page may load (Content-Security-Policy): nothing from elsewhere, no script but its own."""
CONTENT_OF_DOCS = CONTENT.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'").replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)


class Refusal(Exception):
    """A request that is refused."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.detail, self.headers = status, detail, headers


class Guard:
    """Answers the requests that may be answered with `application`, and refuses the others."""

    def __init__(self, application: Application, settings: Settings) -> None:
        self._application, self._settings = application, settings
        self._token = settings.token.encode() if settings.token is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        path, send = scope["path"], _careful(send, scope["path"])
        try:
            self._check(path, _single(scope["headers"]))
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}  # uvicorn, which still has the other one, leaves the body out
            elif scope["method"] != "GET":
                receive = await self._body(dict(scope["headers"]), receive)
        except Refusal as refusal:
            await JSONResponse({"detail": refusal.detail}, refusal.status, refusal.headers)(scope, receive, send)
            return
        await self._application(scope, receive, send)

    def _check(self, path: str, headers: Mapping[bytes, str]) -> None:
        host = headers.get(b"host", "").lower()
        name = HOST.fullmatch(host)
        if name is None or not self._settings.answers_to(name[1].strip("[]")):
            raise Refusal(421, "this server does not answer by that name; --allow-host NAME lets it")
        origin = headers.get(b"origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise Refusal(403, OTHER_SITE)
        if path in OPEN or path.startswith(OPEN_BELOW):
            return
        if headers.get(b"sec-fetch-site") in ("cross-site", "same-site"):  # e.g. an image, which has no origin
            raise Refusal(403, OTHER_SITE)
        if self._token is None:
            return
        scheme, _, token = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode("latin-1"), self._token):
            raise Refusal(401, "this needs the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        """The whole body, as what the application receives; however slow the client, it holds up no other."""
        limits, parts, size = self._settings.limits, list[bytes](), 0
        too_large = Refusal(413, f"the body is larger than {limits.body:,} bytes", LAST)
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limits.body:
            raise too_large
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, "the client has gone")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limits.body:
                        raise too_large
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise Refusal(408, f"the body took longer than {BODY_SECONDS:g} s", LAST) from None
        body: Message | None = {"type": "http.request", "body": b"".join(parts), "more_body": False}

        async def received() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message, body = body, None
            return message

        return received


def _single(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """The headers that say who asks, and of whom; one that is given twice could be read in two ways."""
    found = dict[bytes, str]()
    for name, value in headers:
        if name in SAYS_WHO:
            if name in found:
                raise Refusal(400, f"the header {name.decode()} is given twice", LAST)
            found[name] = value.decode("latin-1")
    return found


def _careful(send: Send, path: str) -> Send:
    """What adds to each answer that a browser should take it for nothing else, keep nothing and load nothing."""
    policy = CONTENT_OF_DOCS if path == "/docs" else CONTENT
    added = [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    ]

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *added]
        await send(message)

    return sent
