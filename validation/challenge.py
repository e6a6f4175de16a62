"""What a challenge method is given: the challenge and the tools to look with.  RFC 8555 section 8."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from validation.addresses import AddressPolicy
from validation.dns.resolver import Resolver
from validation.hosts.dialer import GuardedDialer
from validation.hosts.redirects import HostRule, Ports
from validation.verdict import Trace


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge for one name.  `name` is without "*."; `wildcard` says whether the order had it.

    `digest` is SHA-256 of the key authorization (32 octets).  Who asks by Open MPIC sends either of them.
    `at` is when the look begins (POSIX seconds): what a record says about time is judged by it.
    """

    name: str
    wildcard: bool
    account_url: str
    token: str
    key_authorization: str
    digest: bytes
    at: int = 0

    @classmethod
    def of(cls, name: str, wildcard: bool, account_url: str, token: str, thumbprint: str) -> Challenge:
        """The challenge of an account whose key has `thumbprint` (RFC 8555 section 8.1)."""
        key_authorization = f"{token}.{thumbprint}"
        digest = hashlib.sha256(key_authorization.encode()).digest()
        return cls(name, wildcard, account_url, token, key_authorization, digest)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a method looks with.

    `local_names` are those of `ca.local_names`, none under public rules; `identities` our issuer domain names
    in lower case.
    """

    resolver: Resolver
    dialer: GuardedDialer
    policy: AddressPolicy
    ports: Ports
    host_rule: HostRule
    local_names: tuple[str, ...] = ()
    identities: frozenset[str] = frozenset()


Check = Callable[[Challenge, Tools, Trace], Awaitable[int]]
"""Returns when control is shown: the TTL (seconds) of a record that may be used again, 0 where none may.

Raises `CheckFailed`, or `TransientError` for a fault of ours.
"""
