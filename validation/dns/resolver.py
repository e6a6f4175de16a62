"""The stub resolver: asks the configured recursive resolvers and trusts nothing but a whole answer.

Messages are read by `dns_message`, carried by `stub`, and judged here.  The resolver at the other end
validates DNSSEC; we only read its AD flag, and only over loopback does that mean anything.  NOERROR and
NXDOMAIN are answers; SERVFAIL, REFUSED, silence, a truncated answer without TCP and an unparsable message are
failures, and a failure is never permission.

dnspython reads /etc/resolv.conf here, and no message (docs/adr/0005-dns-stub.md).

RFC 1035, RFC 4035 section 4.9; BR 3.2.2.4, 3.2.2.8.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Protocol

import dns.resolver

from core.errors import ConfigurationError, TransientError
from core.identifiers import is_local
from core.randomness import Randomness
from core.settings import Rules
from validation.addresses import LOOPBACK
from validation.dns import dns_message
from validation.dns.dns_message import Malformed, Message
from validation.dns.stub import Exchange
from validation.verdict import CheckFailed, printable

QUERY_SECONDS = 3.0
"""One try. A delegation that takes longer is served from the resolver's cache at the second one."""

TRIES = 2

RECORDS_LIMIT = 1000
DNS_PORT = 53

DESCRIBED = 4
"""Addresses that a trace line names."""


class Type(StrEnum):
    """The record types that validation asks for."""

    A = "A"
    AAAA = "AAAA"
    CAA = "CAA"
    TXT = "TXT"


_CODES = {
    Type.A: dns_message.A,
    Type.AAAA: dns_message.AAAA,
    Type.CAA: dns_message.CAA,
    Type.TXT: dns_message.TXT,
}

_ALIVE = dns_message.question("localhost", dns_message.A)


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
        """One trace line (BR 5.4.1), with the addresses: one of them is what will be connected to."""
        seen = f"{len(self.records)} records" if self.exists else "NXDOMAIN"
        if self.records and self.type in (Type.A, Type.AAAA):
            seen = " ".join(map(dns_message.address_text, self.records[:DESCRIBED]))
            seen += " ..." if len(self.records) > DESCRIBED else ""
        via = "".join(f" CNAME {name}" for name in self.chain)
        return f"dns {self.name} {self.type}{via}: {seen} AD={int(self.authenticated)} from {self.resolver}"


class Fault(StrEnum):
    """Why there is no answer, as far as the resolver tells us."""

    BOGUS = "DNSSEC validation failed"
    LAME = "the zone's name servers give no usable answer"
    SILENT = "the zone's name servers do not answer in time"
    BROKEN = "not an answer that can be used"


BOGUS_CODES = frozenset({1, 2, *range(5, 13), 27})
"""Extended errors (RFC 8914 section 4) that say that the chain of trust is broken or cannot be built."""


class LookupFailure(CheckFailed):
    """No answer: problem `dns`.  Never to be taken for an empty answer, whatever the `fault`."""

    def __init__(self, name: str, type: Type, reason: str, fault: Fault = Fault.BROKEN) -> None:
        super().__init__("dns", f"looking up {type} for {name}: {reason}")
        self.fault = fault


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
            if not 0 < number <= 65535:
                raise ValueError(number)
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
    """Asks one upstream after the other."""

    def __init__(
        self, upstreams: Sequence[Upstream], randomness: Randomness, seconds: float = QUERY_SECONDS
    ) -> None:
        self._upstreams = [
            (str(upstream), Exchange(upstream.host, upstream.port, randomness, seconds))
            for upstream in upstreams
        ]

    async def lookup(self, name: str, type: Type) -> Answer:
        if not self._upstreams:
            raise TransientError("no DNS resolver is configured: set validation.resolvers")
        try:
            asked = dns_message.question(name, _CODES[type])
        except Malformed as error:
            raise LookupFailure(name, type, f"not a name that can be asked for ({error})") from error
        silent = 0
        alive: asyncio.Task[bool] | None = None
        try:
            for attempt in range(max(TRIES, len(self._upstreams))):
                upstream, exchange = self._upstreams[attempt % len(self._upstreams)]
                try:
                    reply = await exchange.ask(asked)
                    return _judge(dns_message.read(reply, asked), asked, name, type, upstream)
                except TimeoutError:
                    silent += 1
                    if silent == TRIES:
                        break
                    alive = asyncio.create_task(self.alive())
                except OSError:
                    # Nobody listens there (by UDP or TCP), or we have no socket: our fault, not the name's.
                    continue
                except Malformed as error:
                    raise LookupFailure(name, type, f"unusable answer ({error})") from error
            if silent < TRIES or alive is None or not await alive:
                raise TransientError(
                    f"no DNS resolver answers at {self}: start it, or set validation.resolvers"
                )
        finally:
            if alive is not None:
                alive.cancel()
        raise LookupFailure(name, type, f"timeout ({Fault.SILENT})", Fault.SILENT)

    async def alive(self) -> bool:
        """Whether a resolver answers anything at all: it knows `localhost` by itself (RFC 6761 section 6.3).

        Tells a dead or hanging resolver, which is our own fault, from a zone whose servers are silent.
        """
        for _, exchange in self._upstreams:
            try:
                await exchange.ask(_ALIVE)
            except (OSError, TimeoutError):
                continue
            except Malformed:
                pass
            return True
        return False

    def __str__(self) -> str:
        return ", ".join(upstream for upstream, _ in self._upstreams) or "none"


def _judge(reply: Message, asked: bytes, name: str, type: Type, upstream: str) -> Answer:
    """The answer in `reply`.  Raises `LookupFailure`, `Malformed`."""
    if reply.rcode not in (dns_message.NOERROR, dns_message.NXDOMAIN):
        bogus = any(code in BOGUS_CODES for code, _ in reply.errors)
        fault = Fault.BOGUS if bogus else Fault.LAME
        told = f"{dns_message.rcode_text(reply.rcode)}{_extended(reply)}: {fault}"
        raise LookupFailure(name, type, told, fault)
    if reply.flags & dns_message.TC:
        raise LookupFailure(name, type, "the answer is truncated")
    chain = dns_message.follow(reply.answer, asked)
    if len(chain.records) > RECORDS_LIMIT:
        raise LookupFailure(name, type, f"more than {RECORDS_LIMIT} records")
    exists = reply.rcode == dns_message.NOERROR
    ttl = chain.ttl
    if not chain.records:
        if not reply.flags & dns_message.RA and (chain.names or _is_referral(reply)):
            # An authoritative server stops where its zone does; to us that would look like "no records".
            raise LookupFailure(
                name, type, "what answers is not a recursive resolver, and did not finish the answer"
            )
        ttl = min(ttl, dns_message.negative_ttl(reply.authority))
    elif not exists:
        raise Malformed("records of a name that does not exist")
    return Answer(
        name=name,
        type=type,
        exists=exists,
        records=chain.records,
        ttl=ttl,
        authenticated=bool(reply.flags & dns_message.AD),
        chain=tuple(map(dns_message.text, chain.names)),
        resolver=upstream,
    )


def _is_referral(reply: Message) -> bool:
    types = {record.type for record in reply.authority}
    return dns_message.NS in types and dns_message.SOA not in types


def _extended(reply: Message) -> str:
    """The resolver's own words for a failure (RFC 8914), which name the DNSSEC fault."""
    errors = [f"EDE {code} {text.decode(errors='replace')}".strip() for code, text in reply.errors]
    return f" ({printable('; '.join(errors), 160)})" if errors else ""
