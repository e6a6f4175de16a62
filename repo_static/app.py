"""Serves the public tree by HTTP: GET and HEAD of plain files, nothing else.

nginx serves the same tree just as well (deploy/nginx.conf): all that is public is a file.

Must never: run anything, list a directory, follow a symbolic link, or show a hidden file.

RFC 9110; RFC 2585 (media types of certificates and CRLs); RFC 8555 section 9.1 (chains); CP/CPS 2.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from aiohttp import web

from repo_static import conditions
from repo_static.opened import NotPublic, Opened, Tags, open_file
from repo_static.store import PACKED, VARIANT

_DAY = 86400
_SOON = 300
# Seconds. A page, and above all a CRL, may change at any moment: caches ask again after five minutes.

MEDIA_TYPES: dict[str, tuple[str, int]] = {
    ".crt": ("application/pkix-cert", _DAY),
    ".pem": ("application/pem-certificate-chain", _DAY),
    ".crl": ("application/pkix-crl", _SOON),
    ".html": ("text/html; charset=utf-8", _SOON),
    ".css": ("text/css; charset=utf-8", _SOON),
    ".js": ("text/javascript; charset=utf-8", _SOON),
    ".svg": ("image/svg+xml", _SOON),
    ".md": ("text/markdown; charset=utf-8", _SOON),
    ".pdf": ("application/pdf", _SOON),
    ".json": ("application/json", _SOON),
    ".jsonl": ("application/jsonl", _SOON),
    ".jws": ("application/jose+json", _SOON),
    ".txt": ("text/plain; charset=utf-8", _SOON),
    ".gz": ("application/gzip", _SOON),
}
"""Suffix -> media type, seconds a cache may keep it. A file of another kind is not public."""

IMMUTABLE = frozenset({".crt", ".pem"})
"""Other content has another name (`Store.add`): a cache that still has it need not ask (RFC 8246)."""

MOVED = {"repository.json": "/manifest.json", "roster.json": "/manifest.json"}
"""Names that were public once, and what took their place."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",
    # One style sheet and one script, both our own files; forms go to our own pages.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
}
"""On every answer."""

_CHUNK = 1 << 18
"""Octets that are read and sent at a time; a file that has no more is answered in one piece."""


def handler(root: Path) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler of GET and HEAD for the route "/{path:.*}", serving the tree below `root`."""
    tags = Tags()

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"))
        name = _name(request.raw_path.partition("?")[0])
        suffix = PurePosixPath(name).suffix
        media_type, seconds = MEDIA_TYPES.get(suffix, ("", 0))
        opened = _opened(root, name)
        headers = {"Content-Type": media_type, "Cache-Control": f"public, max-age={seconds}"}
        if suffix in IMMUTABLE:
            headers["Cache-Control"] += ", immutable"
        if suffix in PACKED:
            headers["Vary"] = "Accept-Encoding"
            if accepts_gzip(request.headers.get("Accept-Encoding", "")):
                opened, packed = _variant(root, name, opened)
                if packed:
                    headers["Content-Encoding"] = "gzip"
        try:
            return await _answer(request, opened, tags, headers)
        finally:
            opened.close()

    return serve


def accepts_gzip(header: str) -> bool:
    """Whether Accept-Encoding asks for it: named, or "*", with a quality above zero (RFC 9110 12.5.3)."""
    found: dict[str, bool] = {}
    for each in header.lower().split(","):
        coding, _, weight = each.partition(";")
        quality = weight.replace(" ", "").removeprefix("q=")
        found[coding.strip()] = not quality or quality.strip("0.") != ""
    return found.get("gzip", found.get("*", False))


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "acme-server"  # the versions of our libraries are nobody's business


async def _answer(
    request: web.Request, opened: Opened, tags: Tags, headers: dict[str, str]
) -> web.StreamResponse:
    etag = tags.known(opened)
    if etag is None:
        etag = tags.of(opened) if opened.size <= _CHUNK else await asyncio.to_thread(tags.of, opened)
    wanted = conditions.judge(
        request.headers,
        head=request.method == "HEAD",
        etag=etag,
        modified=opened.modified,
        size=opened.size,
    )
    headers |= {
        "ETag": f'"{etag}"',
        "Last-Modified": formatdate(opened.modified, usegmt=True),
        "Accept-Ranges": "bytes",
    }
    if wanted.status == 304:
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
    if wanted.status == 412:
        raise web.HTTPPreconditionFailed
    if wanted.status == 416:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{opened.size}"})
    if wanted.status == 206:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.end - 1}/{opened.size}"
    length = wanted.end - wanted.start
    if length <= _CHUNK and request.method == "GET":
        return web.Response(status=wanted.status, headers=headers, body=opened.read(wanted.start, wanted.end))
    response = web.StreamResponse(status=wanted.status, headers=headers | {"Content-Length": str(length)})
    await response.prepare(request)
    if request.method == "GET":
        for start in range(wanted.start, wanted.end, _CHUNK):
            await response.write(opened.read(start, min(wanted.end, start + _CHUNK)))
        await response.write_eof()
    return response


def _name(raw_path: str) -> str:
    """The name meant by a request's path.  Raises 404, or 301 for what has another name now."""
    try:
        name = unquote(raw_path, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        raise web.HTTPNotFound from None
    if name in MOVED:
        raise web.HTTPMovedPermanently(MOVED[name])
    return name + "index.html" if name == "" or name.endswith("/") else name


def _opened(root: Path, name: str) -> Opened:
    """Raises 404, or 301 for a directory without its slash."""
    try:
        opened = open_file(root, name)
    except NotPublic:
        raise web.HTTPNotFound from None
    except IsADirectoryError:
        if (root / name / "index.html").is_file():
            raise web.HTTPMovedPermanently(f"/{name}/") from None
        raise web.HTTPNotFound from None
    if PurePosixPath(name).suffix not in MEDIA_TYPES:
        opened.close()
        raise web.HTTPNotFound
    return opened


def _variant(root: Path, name: str, plain: Opened) -> tuple[Opened, bool]:
    """The packed variant in the place of the file, where there is one."""
    try:
        packed = open_file(root, f"{name}{VARIANT}")
    except (NotPublic, IsADirectoryError):
        return plain, False
    plain.close()
    return packed, True
