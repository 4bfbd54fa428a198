"""Who may talk to the browser server: this computer, the browser that was given the first address, and no other page.

trame's own default key is public and it serves its page to anyone, so a middleware stands in front of everything: the
Host header (against DNS rebinding), the Origin header (against other pages in the same browser) and a cookie that only
the first address sets. The websocket needs the same random key once more, handed to trame in a file, not in argv.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from aiohttp import web

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Locks:
    """The key of one server run and the middleware that asks for it."""

    def __init__(self) -> None:
        self._key = secrets.token_urlsafe(32)
        self._ticket = ""
        self._port = 0

    def install(self, wslinkServer) -> None:
        """Put the middleware in front of trame's server (its ``on_server_bind``); refuses any other interface."""
        if wslinkServer.host != HOST:
            raise RuntimeError(f"the browser face serves {HOST} alone, not {wslinkServer.host}")
        wslinkServer.app.middlewares.insert(0, self._middleware())

    def opened(self, port: int) -> str:
        """Tell the locks which port was taken; returns the first address, to be opened once in the browser."""
        self._port = port
        return f"http://{HOST}:{port}/?key={self._key}"

    def ticket(self) -> str:
        """An address that opens the page once: a browser that is started with it shows it to all users' ``ps``."""
        self._ticket = secrets.token_urlsafe(32)
        return f"http://{HOST}:{self._port}/?key={self._ticket}"

    def writeKeyFile(self, folder: Path) -> Path:
        """The key in a file of ``folder`` (this user's only) for ``--authKeyFile``; delete it after the start."""
        path = folder / "key"
        path.write_text(self._key)
        return path

    def _middleware(self):
        @web.middleware
        async def middleware(request: web.Request, handler):
            response = self._answer(request)
            if response is None:
                response = await handler(request)
            if not response.prepared:
                response.headers.update(_HEADERS)
            return response

        return middleware

    def _answer(self, request: web.Request) -> web.StreamResponse | None:
        """A refusal or a redirect; None lets the request through."""
        if request.host not in {f"{name}:{self._port}" for name in _NAMES}:
            return web.Response(status=403, text="Refused: this server answers to its own address only.")
        origin = request.headers.get("Origin")
        isSocket = request.headers.get("Upgrade", "").lower() == "websocket"
        if (isSocket or origin is not None) and origin != f"http://{request.host}":
            return web.Response(status=403, text="Refused: the request comes from another page.")
        isPage = request.path in ("/", "/index.html")
        given = request.query.get("key", "")
        if isPage and (self._isKey(given) or self._takesTicket(given)):
            response = self._page()
            response.set_cookie(self._cookie, self._key, httponly=True, samesite="Strict", path="/")
            return response
        if not self._isKey(request.cookies.get(self._cookie, "")):
            return web.Response(status=403, text="Refused: open the address that cnsifusion printed when it started.")
        if isPage and "secret" not in request.query:
            return self._page()
        return None

    def _page(self) -> web.Response:
        # trame's client reads the websocket's key from the address and takes it out of the address bar.
        return web.Response(status=302, headers={"Location": f"/index.html?secret={self._key}"})

    @property
    def _cookie(self) -> str:
        return f"cnsifusion-{self._port}"  # cookies are shared by all ports of a host

    def _isKey(self, candidate: str) -> bool:
        return _same(candidate, self._key)

    def _takesTicket(self, candidate: str) -> bool:
        valid = bool(self._ticket) and _same(candidate, self._ticket)
        self._ticket = "" if valid else self._ticket
        return valid


def _same(candidate: str, secret: str) -> bool:
    return hmac.compare_digest(candidate.encode(errors="surrogateescape"), secret.encode())
