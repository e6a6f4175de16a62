"""Serves the public tree by HTTP: GET and HEAD of plain files, nothing else.

nginx serves the same tree just as well (deploy/nginx.conf): all that is public is a file.

Must never: run anything, list a directory, follow a symbolic link, or show a hidden file.

RFC 9110; RFC 2585 (media types of certificates and CRLs); RFC 8555 section 9.1 (chains); CP/CPS 2.4.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from repo_static.store import is_public_name

_DAY = 86400
_SOON = 300
# Seconds. A page, and above all a CRL, may change at any moment: caches ask again after five minutes.

MEDIA_TYPES: dict[str, tuple[str, int]] = {
    ".crt": ("application/pkix-cert", _DAY),
    ".pem": ("application/pem-certificate-chain", _DAY),
    ".crl": ("application/pkix-crl", _SOON),
    ".html": ("text/html; charset=utf-8", _SOON),
    ".css": ("text/css; charset=utf-8", _SOON),
    ".md": ("text/markdown; charset=utf-8", _SOON),
    ".json": ("application/json", _SOON),
    ".txt": ("text/plain; charset=utf-8", _SOON),
}
"""Suffix -> media type, seconds a cache may keep it. A file of another kind is not public."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",
    # The pages carry no script and load one style sheet of their own.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}
"""On every answer."""


def handler(root: Path) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler of GET and HEAD for the route "/{path:.*}", serving the tree below `root`."""

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"))
        path = _file(root, request.raw_path.partition("?")[0])
        media_type, seconds = MEDIA_TYPES[path.suffix]
        headers = {"Content-Type": media_type, "Cache-Control": f"public, max-age={seconds}"}
        return web.FileResponse(path, headers=headers)

    return serve


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "acme-server"  # the versions of our libraries are nobody's business


def _file(root: Path, raw_path: str) -> Path:
    """The regular file meant by a request's path.  Raises 404, or 301 for a directory without its slash."""
    try:
        name = unquote(raw_path, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        raise web.HTTPNotFound from None
    directory = name == "" or name.endswith("/")
    if directory:
        name += "index.html"
    if not is_public_name(name):
        raise web.HTTPNotFound
    path = root
    mode = 0
    for segment in name.split("/"):
        path = path / segment
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise web.HTTPNotFound from None
        if stat.S_ISLNK(mode):
            raise web.HTTPNotFound
    if stat.S_ISDIR(mode) and (path / "index.html").is_file():
        raise web.HTTPMovedPermanently(f"/{name}/")
    if not stat.S_ISREG(mode) or path.suffix not in MEDIA_TYPES:
        raise web.HTTPNotFound
    return path
