"""The redirect policy of http-01, pure: where a redirect may lead.

A redirect is an instruction from a stranger to make us connect somewhere.  It may name http or https on the
two web ports, a host name by the rules that identifiers keep, or an address in its one canonical form;
whoever parses more generously than this parses differently from the code that connects.

RFC 8555 section 8.3; BR 3.2.2.4.19; RFC 3986.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.errors import Problem
from validation.addresses import parse_address
from validation.verdict import CheckFailed, printable

STATUSES: Final = frozenset({301, 302, 307, 308})
"""BR 3.2.2.4.19 names these; 303 turns a GET into something else, and pages redirect by no other way here."""

LIMIT = 10
"""Redirects of one check (BR leaves the number to us; browsers follow 20)."""

LOCATION_OCTETS = 2000

_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_REFERENCE = re.compile(
    r"(?:(?P<scheme>[^:/?#]+):)?(?://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?"
)
"""RFC 3986 appendix B."""

_AUTHORITY = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\]|(?P<host>[A-Za-z0-9.\-]+))(?::(?P<port>[0-9]{1,5}))?"
)

HostRule = Callable[[str], str]
"""A host name in, its normal form out; raises `Problem` for a name that no certificate could carry either."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What stands for ports 80 and 443 (`validation.http_port`, `https_port`), the latter of which
    tls-alpn-01 may be given on a port of its own (`tls_alpn_port`)."""

    http: int = 80
    https: int = 443
    tls_alpn: int = 443

    def dialled(self, port: int) -> int:
        """The port to connect to when a URL says `port`."""
        return {80: self.http, 443: self.https}.get(port, port)

    def allowed(self, port: int) -> bool:
        """Whether a URL may name `port`."""
        return port in (80, 443, self.http, self.https)


@dataclass(frozen=True, slots=True)
class Hop:
    """One GET: `host` a normal name or a canonical address, `port` as in the URL, `target` path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The Host field (RFC 9110 section 7.2): without the port that the scheme implies."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.target}"


_DEFAULT: Final = {"http": 80, "https": 443}


def follow(hop: Hop, location: str | None, ports: Ports, host_rule: HostRule) -> Hop:
    """Where the Location field of the answer to `hop` leads.  Raises `CheckFailed` ("connection")."""
    if not location:
        raise _refused("without a Location field", "")
    if len(location) > LOCATION_OCTETS:
        raise _refused(f"of more than {LOCATION_OCTETS} octets", location)
    if not _URI.fullmatch(location):
        raise _refused("with characters that no URI has", location)
    parts = _REFERENCE.fullmatch(location)
    assert parts is not None
    if parts["authority"] == "" or (parts["scheme"] and not parts["authority"]):
        # Parsers differ on "http:path", "http:///path" and "1:path"; nobody needs them.
        raise _refused("that is neither a URL with a host nor a path", location)
    scheme = (parts["scheme"] or hop.scheme).lower()
    if scheme not in _DEFAULT:
        raise _refused("to another scheme than http and https", location)
    if not parts["authority"]:
        return Hop(scheme, hop.host, hop.port, _target(hop.target, parts["path"], parts["query"]))
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise _refused("whose host is not a plain name or address", location)
    port = int(authority["port"]) if authority["port"] else _DEFAULT[scheme]
    if not ports.allowed(port):
        raise _refused("to another port than 80 and 443", location)
    host = _host(authority["v6"] or authority["host"], location, host_rule)
    return Hop(scheme, host, port, _target("/", parts["path"], parts["query"]))


def _target(base: str, path: str, query: str | None) -> str:
    """Path and query of a reference, seen from the target `base` (RFC 3986 section 5.2.2)."""
    at, _, queried = base.partition("?")
    if path:
        at = _path(at, path)
    if path or query is not None:
        queried = query or ""
    return f"{at}?{queried}" if queried else at


def _path(base: str, path: str) -> str:
    """`path` where `base` stands, its dot segments taken out (RFC 3986 sections 5.2.3 and 5.2.4)."""
    if not path.startswith("/"):
        path = base[: base.rindex("/") + 1] + path
    kept: list[str] = []
    *others, last = path.split("/")[1:]
    for segment in (*others, last):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join([*kept, ""] if last in (".", "..") else kept)


def _host(host: str, location: str, host_rule: HostRule) -> str:
    host = host.lower()
    if parse_address(host) is not None:
        return host
    last = host.rpartition(".")[2]
    if ":" in host or last.isdigit() or last.startswith("0x"):
        raise _refused("to an address that is not in its canonical form", location)
    if host.endswith(".well-known"):
        # "Redirect / http://example.com" without its slash: the commonest slip of server configuration.
        raise _refused(
            "to a host that ends in .well-known: a slash is missing in the server's rule", location
        )
    try:
        return host_rule(host)
    except Problem as error:
        raise _refused(f"to a host that is not acceptable ({error.detail})", location) from error


def _refused(what: str, location: str) -> CheckFailed:
    shown = f": {printable(location, 100)}" if location else ""
    return CheckFailed("connection", f"a redirect {what} is not followed{shown}")
