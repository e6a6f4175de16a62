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
    `thumbprints` are those of the account's keys, the current one first: a record that stays names one.
    """

    name: str
    wildcard: bool
    account_url: str
    token: str
    key_authorization: str
    digest: bytes
    at: int = 0
    thumbprints: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        wildcard: bool,
        account_url: str,
        token: str,
        thumbprint: str,
        older: tuple[str, ...] = (),
    ) -> Challenge:
        """The challenge of an account whose key has `thumbprint` (RFC 8555 section 8.1).

        `older` are those of its earlier keys, the newest first.
        """
        key_authorization = f"{token}.{thumbprint}"
        digest = hashlib.sha256(key_authorization.encode()).digest()
        thumbprints = (thumbprint, *older)
        return cls(name, wildcard, account_url, token, key_authorization, digest, thumbprints=thumbprints)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a method looks with.

    `local_names` are those of `ca.local_names`, none under public rules; `identities` our issuer domain names
    in lower case.  `persist_plain`: whether a record that stays may name the account by its URL alone.
    """

    resolver: Resolver
    dialer: GuardedDialer
    policy: AddressPolicy
    ports: Ports
    host_rule: HostRule
    local_names: tuple[str, ...] = ()
    identities: frozenset[str] = frozenset()
    persist_plain: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """Control is shown; the rest is of a record that may be used again, and empty where none may.

    `ttl` in seconds; `account_hash` the URI by which it names account and key, "" when it names the account
    alone; `thumbprint` that of the key; `good_until` POSIX seconds after which it grants nothing, 0 for
    never.
    """

    ttl: int = 0
    account_hash: str = ""
    thumbprint: str = ""
    good_until: int = 0


Check = Callable[[Challenge, Tools, Trace], Awaitable[Shown]]
"""Returns when control is shown.

Raises `CheckFailed`, or `TransientError` for a fault of ours.
"""
