"""The names in a ClientHello, read before the handshake begins: which host is meant, and in which protocol.

OpenSSL would tell the host in time, but not whether acme-tls/1 is asked for; and visitors of a site must not
meet a challenge's certificate while the CA looks.

Must never: believe a length; keep what it read.

RFC 8446 section 4.1.2; RFC 6066 section 3; RFC 7301 section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST = 16384
"""Octets: browsers send some 2 KiB, keys for the days of quantum computers included."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN = 0, 16


class NotTls(Exception):
    """These octets begin no TLS handshake."""


@dataclass(frozen=True, slots=True)
class Hello:
    """`host` in lower case, "" when there is none; `protocols` as ALPN lists them."""

    host: str
    protocols: tuple[str, ...]


def read(octets: bytes) -> Hello | None:
    """The hello at the start of a connection, None while it has not come whole.  Raises `NotTls`."""
    handshake, position = b"", 0
    while True:
        if len(octets) < position + 5:
            _must_go_on(octets, position)
            return None
        if octets[position] != _HANDSHAKE or octets[position + 1] != 3:
            raise NotTls("no handshake record")
        size = int.from_bytes(octets[position + 3 : position + 5])
        handshake += octets[position + 5 : position + 5 + size]
        position += 5 + size
        if len(handshake) >= 4:
            if handshake[0] != _CLIENT_HELLO:
                raise NotTls("no ClientHello")
            length = int.from_bytes(handshake[1:4])
            if length > MOST:
                raise NotTls("a ClientHello of more than 16 KiB")
            if len(handshake) >= 4 + length:
                return _hello(_Reader(handshake[4 : 4 + length]))
        if len(octets) < position:
            return None


def _must_go_on(octets: bytes, position: int) -> None:
    if len(octets) > MOST or (position < len(octets) and octets[position] != _HANDSHAKE):
        raise NotTls("no ClientHello within 16 KiB")


class _Reader:
    """Takes octets from the front; what is not there raises `NotTls`."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._octets[self._at : self._at + count]
        if len(taken) != count:
            raise NotTls("a ClientHello that ends too soon")
        self._at += count
        return taken

    def vector(self, size: int) -> bytes:
        """Octets after their length, which has `size` octets."""
        return self.take(int.from_bytes(self.take(size)))

    @property
    def more(self) -> bool:
        return self._at < len(self._octets)


def _hello(of: _Reader) -> Hello:
    of.take(2 + 32)  # version, random
    of.vector(1)  # session id
    of.vector(2)  # cipher suites
    of.vector(1)  # compression
    host = ""
    protocols: tuple[str, ...] = ()
    extensions = _Reader(of.vector(2) if of.more else b"")
    while extensions.more:
        kind, content = int.from_bytes(extensions.take(2)), extensions.vector(2)
        if kind == _SERVER_NAME:
            host = _host(_Reader(_Reader(content).vector(2)))
        elif kind == _ALPN:
            protocols = _protocols(_Reader(_Reader(content).vector(2)))
    return Hello(host, protocols)


def _host(names: _Reader) -> str:
    while names.more:
        kind, name = names.take(1), names.vector(2)
        if kind == b"\0":
            return name.decode("ascii", "replace").lower()
    return ""


def _protocols(of: _Reader) -> tuple[str, ...]:
    found = []
    while of.more:
        found.append(of.vector(1).decode("ascii", "replace"))
    return tuple(found)
