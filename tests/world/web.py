"""The world's web and TLS servers: each misbehaves in the way that the first label of the asked host says.

A label that is not in the table is an honest host: it answers `/.well-known/acme-challenge/TOKEN` with the
key authorization of whoever the applicant is (`thumbprint`).  Behaviours are those of tests/support/web.py.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import cache

from tests.support import web
from tests.support.web import Behaviour
from tests.world import tls
from tests.world.addresses import ATTACKER_WEB
from tests.world.hostile import INSIDE_V4, INSIDE_V6, ODD_LITERALS
from tests.world.net import INTERNET, Net
from tests.world.threads import LoopThread

HOME = "http://www.hostile.com"
LONG = "x" * 2000

REDIRECTS = {
    **{f"redirect-{code}": (f"{code} Elsewhere", HOME + "{path}") for code in (300, 301, 302, 303, 307, 308)},
    "redirect-relative": ("302 Found", "{path}?again"),
    "redirect-https": ("302 Found", "https://www.hostile.com{path}"),
    "redirect-80": ("302 Found", HOME + ":80{path}"),
    "redirect-443": ("302 Found", "https://www.hostile.com:443{path}"),
    "redirect-tls11": ("302 Found", "https://tls11.hostile.com{path}"),
    "redirect-no-tls": ("302 Found", "https://alpn-plain-http.hostile.com{path}"),
    "redirect-22": ("302 Found", HOME + ":22{path}"),
    "redirect-6379": ("302 Found", HOME + ":6379{path}"),
    "redirect-8080": ("302 Found", HOME + ":8080{path}"),
    "redirect-ftp": ("302 Found", "ftp://www.hostile.com{path}"),
    "redirect-file": ("302 Found", "file:///etc/passwd"),
    "redirect-gopher": ("302 Found", "gopher://www.hostile.com/_GET"),
    "redirect-userinfo": ("302 Found", "http://user:word@www.hostile.com{path}"),
    "redirect-well-known": ("302 Found", HOME + ".well-known/acme-challenge/x"),
    "redirect-unknown-tld": ("302 Found", "http://www.hostile.notatld{path}"),
    "redirect-empty": ("302 Found", ""),
    "redirect-long": ("302 Found", HOME + "/" + LONG),
    "redirect-control": ("302 Found", HOME + "/\x1b[31m\x08forged"),
    "redirect-loop": ("302 Found", "http://redirect-loop.hostile.com{path}"),
    "redirect-ping": ("302 Found", "http://redirect-pong.hostile.com{path}"),
    "redirect-pong": ("302 Found", "http://redirect-ping.hostile.com{path}"),
    "turn": ("302 Found", "http://turn.rebind-example.com{path}?again"),
    **{f"to-{label}": ("302 Found", f"http://{address}{{path}}") for label, address in INSIDE_V4.items()},
    **{f"to-{label}": ("302 Found", f"http://[{address}]{{path}}") for label, address in INSIDE_V6.items()},
    **{f"tls-to-{label}": ("307 No", f"https://{address}{{path}}") for label, address in INSIDE_V4.items()},
    **{
        f"to-name-{label}": ("301 Moved", f"http://{label}.internal-example.com{{path}}")
        for label in (*INSIDE_V4, *INSIDE_V6)
    },
    **{f"odd-{label}": ("308 Permanent", f"http://{host}{{path}}") for label, host in ODD_LITERALS.items()},
}
"""Status and Location by label; `{path}` is that of the request."""


@cache
def bomb() -> bytes:
    """50 MB of zeros, which are 50 kB by gzip."""
    return gzip.compress(bytes(50_000_000), 9)


MISBEHAVIOURS: dict[str, Callable[[], Behaviour]] = {
    "redirect-no-location": lambda: web.octets(web.head("302 Found", "Content-Length: 0")),
    "meta-refresh": lambda: web.response(f'<meta http-equiv="refresh" content="0;url={HOME}">'.encode()),
    "javascript": lambda: web.response(f'<script>location="{HOME}"</script>'.encode()),
    "not-found": lambda: web.response(b"no", "404 Not Found"),
    "error": lambda: web.response(b"no", "500 Internal Server Error"),
    "forbidden": lambda: web.response(b"no", "403 Forbidden"),
    "wrong-body": lambda: web.response(b"not what you look for"),
    "empty-body": lambda: web.response(b""),
    "long-body": lambda: web.response(b"a" * 129),
    "huge": lambda: web.response(bytes(50_000_000)),
    "gzip-bomb": lambda: web.response(bomb(), "200 OK", "Content-Encoding: gzip"),
    "escape": lambda: web.response(b"\x1b[31mred\r\n2026-01-01 INFO forged: all is well"),
    "endless": lambda: web.endless,
    "drip": lambda: web.drip_body,
    "slow-headers": lambda: web.drip,
    "silence": lambda: web.silence,
    "reset": lambda: web.reset,
    "hang-up": lambda: web.octets(b""),
    "many-headers": lambda: web.response(b"x", "200 OK", *(f"X-{number}: y" for number in range(500))),
    "big-header": lambda: web.response(b"x", "200 OK", "X: " + "y" * 20_000),
    "http-09": lambda: web.octets(b"<html>no head at all</html>"),
    "http2-preface": lambda: web.octets(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    "not-http": lambda: web.octets(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
}
"""What else a host does, by label."""


class WebServers:
    """All of them at `place`, while the context is open.

    `asked` counts requests by host, `most_at_once` how many were being answered at one time.
    """

    def __init__(
        self, net: Net, thumbprint: str, place: str = INTERNET, turn: Callable[[], None] = lambda: None
    ) -> None:
        """`turn` is called when the host `turn` has answered: its name is to mean another address."""
        self.thumbprint = thumbprint
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self._net = net
        self._place = place
        self._turn = turn
        self._loop = LoopThread()
        self._open: list[asyncio.Server] = []

    def __enter__(self) -> WebServers:
        self._loop.start()
        here = self._net.addresses
        http, https = self._net.http_port, self._net.tls_port
        self._listen(here.web, http)
        self._listen(here.web, https, tls.by_name(self.thumbprint))
        if self._place != INTERNET:
            self._listen(ATTACKER_WEB, http)
        if self._place == INTERNET:
            self._listen(here.web6, http)
            self._listen(here.web6, https, tls.by_name(self.thumbprint))
            self._listen(here.plain, http)
            self._listen(here.plain, https)
            self._listen(here.tls11, http)
            self._listen(here.tls11, https, tls.old())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.stop(self._open)

    def _listen(self, address: str, port: int, context: ssl.SSLContext | None = None) -> None:
        def bound() -> socket.socket:
            made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            return made

        sock = self._net.inside(self._place, bound)
        self._open.append(self._loop.run(asyncio.start_server(self._serve, sock=sock, ssl=context)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (first := await reader.readexactly(1)) == b"\x16":  # a ClientHello, where plain HTTP is spoken
                writer.write(web.head("400 Bad Request"))
                return
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            host = next((line[6:] for line in head.split("\r\n") if line.lower().startswith("host: ")), "")
            self.asked[host] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await self._behaviour(host.partition(".")[0], head)(head, reader, writer)
            finally:
                self.at_once -= 1
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, OSError):
            pass
        finally:
            writer.close()

    def _behaviour(self, label: str, head: str) -> Behaviour:
        path = head.split(" ")[1]
        if self._place != INTERNET:
            label = "honest"  # the attacker's own purpose is served by answering as a host should
        if label in REDIRECTS and not path.endswith("?again"):
            status, location = REDIRECTS[label]
            if label == "turn":
                self._turn()
            return _redirect(status, location.format(path=path))
        if label.startswith("countdown-") and label != "countdown-0":
            left = int(label.removeprefix("countdown-")) - 1
            return _redirect("302 Found", f"http://countdown-{left}.hostile.com{path}")
        if label in MISBEHAVIOURS:
            return MISBEHAVIOURS[label]()
        if label.startswith("crowd"):
            return _crowd
        if label == "echo":
            return web.response(path.encode())
        if label == "echo-all":
            return web.response(head.encode("latin-1")[:120])
        token = path.partition("?")[0].rpartition("/")[2]
        answer = f"{token}.{self.thumbprint}".encode()
        if label == "gzip":
            return web.response(gzip.compress(answer), "200 OK", "Content-Encoding: gzip")
        return web.response(answer + (b" \r\n" if label == "white-space" else b""))


async def _crowd(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes a moment, so that the others can be seen beside it."""
    await asyncio.sleep(0.1)
    writer.write(web.head("404 Not Found"))


def _redirect(status: str, location: str) -> Behaviour:
    field = f"HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return web.octets(field.encode())
