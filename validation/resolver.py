"""The stub resolver: asks the configured recursive resolvers and trusts nothing but a whole answer.

The only file that imports dnspython.  The resolver at the other end validates DNSSEC; we only read its AD
flag, and only over loopback does that mean anything.  NOERROR and NXDOMAIN are answers; SERVFAIL, REFUSED,
silence, a truncated answer without TCP and an unparsable message are failures, and a failure is never
permission.

RFC 1035, RFC 4035 section 4.9, RFC 6840 section 5.7 (AD in queries), RFC 6891, RFC 8914 (extended errors);
BR 3.2.2.4, 3.2.2.8.1.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Protocol

import dns.asyncquery
import dns.edns
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.asyncbackend import get_backend

from core.errors import ConfigurationError, TransientError
from core.identifiers import is_local
from core.randomness import Randomness
from core.settings import Rules
from validation.addresses import LOOPBACK
from validation.verdict import CheckFailed, printable

QUERY_SECONDS = 3.0
"""One try. A delegation that takes longer is served from the resolver's cache at the second one."""

TRIES = 2
UDP_PAYLOAD = 1232
"""Octets (DNS Flag Day 2020): no fragments, hence no fragment spoofing; longer answers come over TCP."""

RECORDS_LIMIT = 1000
DNS_PORT = 53


class Type(StrEnum):
    """The record types that validation asks for."""

    A = "A"
    AAAA = "AAAA"
    CAA = "CAA"
    TXT = "TXT"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, after its CNAMEs.

    `records` are RDATA octets in wire form, without compression; `exists` is False for NXDOMAIN; `ttl` in
    seconds is the least of the chain; `authenticated` the AD flag; `chain` the names that CNAMEs led through,
    the last of which owns the records; `resolver` the one that answered, or "local".
    """

    name: str
    type: Type
    exists: bool
    records: tuple[bytes, ...]
    ttl: int
    authenticated: bool
    chain: tuple[str, ...]
    resolver: str

    def describe(self) -> str:
        """One trace line."""
        seen = f"{len(self.records)} records" if self.exists else "NXDOMAIN"
        via = "".join(f" CNAME {name}" for name in self.chain)
        return f"dns {self.name} {self.type}{via}: {seen} AD={int(self.authenticated)} from {self.resolver}"


class LookupFailure(CheckFailed):
    """No answer: problem `dns`.  Never to be taken for an empty answer."""

    def __init__(self, name: str, type: Type, reason: str) -> None:
        super().__init__("dns", f"looking up {type} for {name}: {reason}")


class _Unusable(Exception):
    """An answer that is none."""


class Resolver(Protocol):
    """What the checks need of the DNS."""

    async def lookup(self, name: str, type: Type) -> Answer:
        """The answer for `name`, an A-label name without trailing dot.

        Raises: `LookupFailure` when the DNS gives none; `TransientError` when our own resolver is away.
        """


class LocalNames:
    """Answers address look-ups of local names without DNS (RFC 6761 section 6.3), and asks on for others."""

    def __init__(self, resolver: Resolver, patterns: Sequence[str]) -> None:
        self._resolver = resolver
        self._patterns = tuple(patterns)

    async def lookup(self, name: str, type: Type) -> Answer:
        if type in (Type.A, Type.AAAA) and is_local(name, self._patterns):
            address = LOOPBACK[0] if type == Type.A else LOOPBACK[1]
            return Answer(name, type, True, (address.packed,), 0, False, (), "local")
        return await self._resolver.lookup(name, type)


@dataclass(frozen=True, slots=True)
class Upstream:
    """The address of one recursive resolver."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Upstream:
        """From "127.0.0.1:53", "[::1]:53" or an address alone.  Raises `ConfigurationError`."""
        host, port = text, str(DNS_PORT)
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = rest[1:] if rest.startswith(":") else port if text.endswith("]") else rest
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        try:
            ip_address(host)
            number = int(port)
        except ValueError as error:
            raise ConfigurationError(
                f"validation.resolvers: {text!r} is not an address; write 127.0.0.1:53 or [::1]:53"
            ) from error
        return cls(host, number)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def upstreams(configured: Sequence[str], rules: Rules) -> tuple[Upstream, ...]:
    """The resolvers to ask: the configured ones, or, under private rules alone, those of /etc/resolv.conf.

    Raises `ConfigurationError` when public rules meet none, or one whose AD flag could be forged on the way.
    """
    parsed = tuple(Upstream.parse(text) for text in configured)
    if rules == Rules.PUBLIC:
        if not parsed:
            raise ConfigurationError(
                "validation.resolvers is empty: public rules need a validating resolver on loopback; name it"
            )
        for upstream in parsed:
            if not ip_address(upstream.host).is_loopback:
                raise ConfigurationError(
                    f"validation.resolvers: {upstream} is not on loopback, so its AD flag proves nothing (BR "
                    "3.2.2.8.1); run a validating resolver on this machine and name that"
                )
    if parsed:
        return parsed
    try:
        system = dns.resolver.Resolver(configure=True)
    except dns.resolver.NoResolverConfiguration:
        return ()
    return tuple(Upstream(str(server), DNS_PORT) for server in system.nameservers)


class StubResolver:
    """Asks one upstream after the other, each try over a socket of its own with a random port and id."""

    def __init__(
        self, upstreams: Sequence[Upstream], randomness: Randomness, seconds: float = QUERY_SECONDS
    ) -> None:
        self._upstreams = tuple(upstreams)
        self._randomness = randomness
        self._seconds = seconds

    async def lookup(self, name: str, type: Type) -> Answer:
        if not self._upstreams:
            raise TransientError("no DNS resolver is configured: set validation.resolvers")
        silent: list[Upstream] = []
        away = 0
        for attempt in range(max(TRIES, len(self._upstreams))):
            upstream = self._upstreams[attempt % len(self._upstreams)]
            try:
                reply = await self._exchange(self._query(name, type), upstream)
                return _read(reply, name, type, upstream)
            except dns.exception.Timeout:
                silent.append(upstream)
            except OSError:
                # Nobody listens there (ICMP port unreachable): that is our resolver's fault, not the name's.
                away += 1
            except (_Unusable, dns.exception.DNSException) as error:
                raise LookupFailure(name, type, f"unusable answer ({_reason(error)})") from error
        if away and not silent:
            raise TransientError(f"no DNS resolver answers at {', '.join(map(str, self._upstreams))}")
        raise LookupFailure(name, type, "timeout")

    def _query(self, name: str, type: Type) -> dns.message.QueryMessage:
        try:
            query = dns.message.make_query(
                dns.name.from_text(name), str(type), use_edns=0, payload=UDP_PAYLOAD
            )
        except dns.exception.DNSException as error:
            raise LookupFailure(name, type, f"not a name that can be asked for ({_reason(error)})") from error
        query.flags |= dns.flags.AD
        query.id = int.from_bytes(self._randomness.octets(2), "big")
        return query

    async def _exchange(self, query: dns.message.QueryMessage, upstream: Upstream) -> dns.message.Message:
        family = dns.inet.af_for_address(upstream.host)
        destination = dns.inet.low_level_address_tuple((upstream.host, upstream.port), family)
        # A connected socket: the kernel drops what other addresses send, and reports a dead resolver at once.
        backend: Any = get_backend("asyncio")
        opened = await backend.make_socket(family, socket.SOCK_DGRAM, 0, None, destination)
        async with opened as connected:
            try:
                reply = await dns.asyncquery.udp(
                    query,
                    upstream.host,
                    timeout=self._seconds,
                    port=upstream.port,
                    sock=connected,
                    ignore_unexpected=True,
                    raise_on_truncation=True,
                )
            except dns.message.Truncated:
                # A part of a set is no set: a CAA record that forbids us may be in the other part.
                try:
                    reply = await dns.asyncquery.tcp(
                        query, upstream.host, timeout=self._seconds, port=upstream.port
                    )
                except (OSError, EOFError, dns.exception.Timeout) as error:
                    raise _Unusable("truncated, and not to be had over TCP") from error
        if [rrset.name.labels for rrset in reply.question] != [rrset.name.labels for rrset in query.question]:
            raise _Unusable("the question came back changed")
        return reply


def _read(reply: dns.message.Message, name: str, type: Type, upstream: Upstream) -> Answer:
    """The answer in `reply`.  Raises `LookupFailure` or dnspython's errors."""
    rcode = reply.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise LookupFailure(name, type, dns.rcode.to_text(rcode) + _extended(reply))
    if reply.flags & dns.flags.TC:
        raise LookupFailure(name, type, "the answer is truncated")
    if not isinstance(reply, dns.message.QueryMessage):
        raise LookupFailure(name, type, "the answer is not one to a query")
    result = reply.resolve_chaining()
    records = tuple(rdata.to_wire() or b"" for rdata in result.answer) if result.answer is not None else ()
    if len(records) > RECORDS_LIMIT:
        raise LookupFailure(name, type, f"more than {RECORDS_LIMIT} records")
    if not records and not reply.flags & dns.flags.RA and (result.cnames or _is_referral(reply)):
        # An authoritative server stops where its zone does; to us that would look like "no records".
        raise LookupFailure(
            name, type, f"{upstream} is not a recursive resolver and did not finish the answer"
        )
    chain = tuple(_text(rdata.target) for rrset in result.cnames for rdata in rrset)
    return Answer(
        name=name,
        type=type,
        exists=rcode == dns.rcode.NOERROR,
        records=records,
        ttl=result.minimum_ttl,
        authenticated=bool(reply.flags & dns.flags.AD),
        chain=chain,
        resolver=str(upstream),
    )


def _is_referral(reply: dns.message.Message) -> bool:
    types = {rrset.rdtype for rrset in reply.authority}
    return dns.rdatatype.NS in types and dns.rdatatype.SOA not in types


def _extended(reply: dns.message.Message) -> str:
    """The resolver's own words for a failure (RFC 8914), which name the DNSSEC fault."""
    errors = [f"EDE {int(error.code)} {error.text or ''}".strip() for error in reply.extended_errors()]
    return f" ({printable('; '.join(errors), 160)})" if errors else ""


def _reason(error: Exception) -> str:
    return printable(str(error) or error.__class__.__name__, 120)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
