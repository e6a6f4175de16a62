"""What a perspective met on its way to a verdict: questions, connections, times.  For a person who asks why.

Facts travel beside the signed statement and are kept with the attempt's views.  They are no evidence: nothing
rests on them, nobody signs them, and who shows them escapes every word, since hosts and zones chose it.

Must never: hold a body, or an address of our own (a resolver's, a perspective's).  RFC 8555 section 8.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

OCTETS = 8192
"""Of one perspective's facts, encoded: a look at http-01 with a redirect takes some 700."""

SHORTENINGS = 8
"""Halvings after which anything fits: nothing is left of what was cut so often."""


class Dnssec(StrEnum):
    """What the resolver said of an answer (RFC 4035 section 4.3)."""

    SECURE = "secure"
    """Proven, from the root down (AD)."""
    INSECURE = "insecure"
    """No proof came with it: the zone is not signed, or its parent does not say so."""
    BOGUS = "bogus"
    """A proof should be there and does not hold."""
    UNKNOWN = "unknown"
    """There was no answer."""


class Lookup(msgspec.Struct, frozen=True, array_like=True):
    """A question to the DNS: `name` and `type`.

    `exists` is False for NXDOMAIN.  `aliases` are the names that CNAMEs led through; `records` the first few
    of `count`, in short (addresses, texts; none for CAA).  `failure` says why there is no answer, "" when
    there is one.  `took` in milliseconds, `ttl` in seconds.
    """

    name: str
    type: str
    took: int
    dnssec: Dnssec = Dnssec.UNKNOWN
    exists: bool = True
    count: int = 0
    ttl: int = 0
    aliases: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    failure: str = ""


class Fetch(msgspec.Struct, frozen=True, array_like=True):
    """A GET of `url` at one address (http-01).

    `status` is 0 when there was no answer, and `failure` says why.  `octets` are those of the body that were
    read, `location` is where a redirect pointed.  `took` in milliseconds.
    """

    url: str
    address: str
    port: int
    took: int
    status: int = 0
    octets: int = 0
    location: str = ""
    failure: str = ""


class Handshake(msgspec.Struct, frozen=True, array_like=True):
    """A TLS handshake at one address (tls-alpn-01), with `server_name` as SNI.

    `protocol` is what the server chose by ALPN; `certificate` the SHA-256 of what it showed, hex, and `names`
    the first few of its subjectAltName.  `failure` as in `Fetch`; `took` in milliseconds.
    """

    server_name: str
    address: str
    port: int
    took: int
    protocol: str = ""
    certificate: str = ""
    names: tuple[str, ...] = ()
    failure: str = ""


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """One perspective's: `lookups` for control and `caa` for CAA, as they were answered.

    `cut`: some were left out, because there were too many.
    """

    lookups: tuple[Lookup, ...] = ()
    caa: tuple[Lookup, ...] = ()
    fetches: tuple[Fetch, ...] = ()
    handshakes: tuple[Handshake, ...] = ()
    cut: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Facts)


def encode(facts: Facts) -> bytes:
    """At most `OCTETS` octets: the last of each kind are left out when all are too many."""
    octets = _encoder.encode(facts)
    for halvings in range(1, SHORTENINGS + 1):
        if len(octets) <= OCTETS:
            return octets
        octets = _encoder.encode(_shortened(facts, halvings))
    return octets if len(octets) <= OCTETS else _encoder.encode(Facts(cut=True))


def decode(octets: bytes) -> Facts | None:
    """The facts, or None where there are none that can be read: they came from elsewhere."""
    if not octets or len(octets) > OCTETS:
        return None
    try:
        return _decoder.decode(octets)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _shortened(facts: Facts, halvings: int) -> Facts:
    return Facts(
        facts.lookups[: len(facts.lookups) >> halvings],
        facts.caa[: len(facts.caa) >> halvings],
        facts.fetches[: len(facts.fetches) >> halvings],
        facts.handshakes[: len(facts.handshakes) >> halvings],
        cut=True,
    )
