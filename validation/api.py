"""What a perspective can be asked.

A perspective is a process of its own, with its own key, behind a Unix socket (core/rpc.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.evidence import CaaSeen, SignedStatement
from core.outcome import Seen
from core.rpc import Method

OLDER_KEYS = 20
"""At most: whatever an older key has shown, the vault follows so many changes to the current one."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """One check of one name.

    `name` is an A-label dNSName in lower case, with "*." for a wildcard.  `method` is the ACME challenge type
    ("http-01", "dns-01"), or "" for a CAA recheck alone, when `caa_method` names the method that was used at
    validation (RFC 8657 binds the recheck to it).  `token` is the challenge's and `thumbprint` that of the
    account key, which make the key authorization (RFC 8555 section 8.1).  `older` are the thumbprints of its
    earlier keys, the newest first, for a method whose record stays.  `attempt` is unguessable and unique for
    this fan-out.
    """

    name: str
    account_url: str
    attempt: str
    method: str
    caa_method: str
    token: str = ""
    thumbprint: str = ""
    older: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """The answer: the signed statement and, unsigned beside it, the facts (core/facts.py, encoded)."""

    signed: SignedStatement
    facts: bytes = b""


@dataclass(frozen=True, slots=True)
class PreflightRequest:
    """What would a check of `name` by each of `methods` meet?

    `name` and `account_url` as in `CheckRequest`.  `token` is a random one that nobody published: what
    lies at its URL is no matter, that something answers there is.  `thumbprints` are those of the account's
    keys, the current one first: a record that stays names one of them.
    """

    name: str
    account_url: str
    methods: tuple[str, ...]
    token: str
    thumbprints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prospect:
    """Whether `method` could show control, as far as it is up to the network; `facts` as in `Looked`."""

    method: str
    seen: Seen
    facts: bytes = b""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a perspective met: unsigned, of no attempt, evidence of nothing.

    `caa` was judged for the first of the methods; `climb` are its facts.  `took` in milliseconds.
    """

    perspective: str
    prospects: tuple[Prospect, ...]
    caa: CaaSeen
    climb: bytes = b""
    took: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """A perspective's account of itself; `public_key` is its SubjectPublicKeyInfo.

    `region` is the RIR's.  `ends` is when the certificate of its channel ends (POSIX seconds), 0 where it is
    asked on this machine; `gateway` the stock Open MPIC service that looks in its place, "" when it does so.
    `trouble` says why it reaches no verdicts now, "" when it does.
    """

    code: str
    public_key: bytes
    resolvers: tuple[str, ...]
    region: str = ""
    ends: int = 0
    gateway: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class HealthRequest:
    """Who are you?"""


CHECK = Method("check", CheckRequest, Looked)
PREFLIGHT = Method("preflight", PreflightRequest, Preview)
HEALTH = Method("health", HealthRequest, Health)
