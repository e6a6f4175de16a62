"""What a visitor of a test site sees: one static page that says which status the certificate demonstrates.

Must never: set HSTS, which would keep a browser from ever showing the expired and the revoked one; load
anything; read more of a request than its head.

RFC 9112; RFC 6797 section 12.1.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from markupsafe import Markup

from core.settings import Settings
from core.sites import Site
from operations import templates
from operations.sites.shelf import Held

CONTENT = Path(__file__).parent / "content"

STYLE = (
    ":root{color-scheme:light dark}body{background:Canvas;color:CanvasText;"
    "font:1rem/1.65 system-ui,sans-serif;margin:0 auto;max-width:46rem;"
    "padding:1.5rem 1.25rem}h1,h2{line-height:1.25}dl{display:grid;gap:.25rem 1rem;"
    "grid-template-columns:minmax(7rem,max-content) 1fr}dd{margin:0;overflow-wrap:anywhere}"
    "pre{overflow-x:auto;font-size:.8rem}"
)

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = (
    "Content-Type: text/html; charset=utf-8",
    "Cache-Control: no-store",
    "Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; "
    f"frame-ancestors 'none'; style-src 'sha256-{_STYLE_HASH}'",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: no-referrer",
    "Server: acme-server",
    "Connection: close",
)
_METHODS = (b"GET", b"HEAD")


def page(site: Site, held: Held, settings: Settings) -> bytes:
    """The page (HTML, UTF-8) of a site that shows `held`."""
    leaf = held.leaf
    return (
        templates.environment(CONTENT)
        .get_template("page.html.j2")
        .render(
            site=site,
            organization=settings.ca.organization,
            repository=settings.repository.base_url,
            serial=f"{leaf.serial_number:x}",
            begins=f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC",
            ends=f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC",
            chain=[each.issuer.rfc4514_string() for each in held.chain],
            pem=leaf.public_bytes(Encoding.PEM).decode(),
            style=Markup(STYLE),
            words=templates.words(CONTENT),
        )
        .encode()
    )


async def answer(content: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request, one answer; nothing is said to one whose head does not end, or is too long."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method not in _METHODS:
        status, content = "405 Method Not Allowed\r\nAllow: GET, HEAD", b""
    elif path != b"/":
        status, content = "404 Not Found", b""
    else:
        status = "200 OK"
    lines = (f"HTTP/1.1 {status}", *_HEADERS, f"Content-Length: {len(content)}", "", "")
    writer.write("\r\n".join(lines).encode() + (b"" if method == b"HEAD" else content))
    await writer.drain()
