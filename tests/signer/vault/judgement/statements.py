"""Perspectives and their signed statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core import account_hash
from core.errors import Refused
from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, SignedStatement, Statement
from core.settings import Rules
from signer.vault.judgement.evidence import METHODS, PinnedPerspective, Verifier
from tests.support.applicant import ACCOUNT_KEY
from tests.support.software_ca import leaf_request

NOW = 1795478400
"""2026-11-24: four remote perspectives are the rule; from 2026-12-15 five."""

HOUR, DAY = 3600, 86400
NAME, WILDCARD, OTHER = "www.acme-shop.com", "*.acme-shop.com", "other.acme-shop.com"
ACCOUNT = "https://ca.acme-ca.com/acme/account/1"
REGIONS = ("APNIC", "ARIN", "RIPE NCC", "LACNIC", "ARIN", "APNIC", "AFRINIC")
SECRETS = [ec.generate_private_key(ec.SECP256R1()) for _ in REGIONS]
KEYS = [PerspectiveKey(secret) for secret in SECRETS]
CODES = [f"p{number}" for number in range(len(REGIONS))]


def verifier(
    count: int = 5,
    rules: Rules = Rules.PUBLIC,
    local: Sequence[str] = ("localhost",),
    methods: Sequence[str] = tuple(METHODS),
    plain: bool = False,
) -> Verifier:
    """The first `count` perspectives pinned; p0 is the primary."""
    pinned = {
        key.key_id: PinnedPerspective(code, region, 0.0, 0.0, secret.public_key())
        for key, code, region, secret in list(zip(KEYS, CODES, REGIONS, SECRETS, strict=True))[:count]
    }
    return Verifier(pinned, rules, local, methods, persist_plain=plain)


def control_seen(method: str, base: str, thumbprint: str = ACCOUNT_KEY.thumbprint) -> ControlSeen:
    persistent = method == "dns-persist-01"
    uri = account_hash.uris(base, thumbprint, ACCOUNT)[0] if persistent else ""
    return ControlSeen(method, base, Result.PASS, thumbprint=thumbprint, account_hash=uri)


def statement(number: int = 0, name: str = NAME, method: str = "http-01", **changes: Any) -> Statement:
    base = name.removeprefix("*.")
    return replace(
        Statement(
            perspective=CODES[number],
            name=name,
            account_url=ACCOUNT,
            attempt="attempt-1",
            checked_at=NOW - 60,
            control=control_seen(method, base),
            caa=CaaSeen(Result.PASS, ('0 issue "ca.example"',), "acme-shop.com", 300, method=method),
        ),
        **changes,
    )


def recheck(number: int, at: int, result: Result = Result.PASS, method: str = "http-01") -> Statement:
    return statement(
        number, attempt="attempt-2", checked_at=at, control=None, caa=CaaSeen(result, method=method)
    )


def signed(statements: Sequence[Statement]) -> tuple[SignedStatement, ...]:
    return tuple(KEYS[CODES.index(each.perspective)].sign(each) for each in statements)


def attempt(count: int = 5, **changes: Any) -> list[Statement]:
    return [statement(number, **changes) for number in range(count)]


def verify(
    statements: Sequence[Statement],
    *,
    by: Verifier | None = None,
    names: tuple[str, ...] = (NAME,),
    now: int = NOW,
    account: str = ACCOUNT,
) -> None:
    request = leaf_request(names=names, account_url=account, evidence=signed(statements))
    (by or verifier()).verify(request, now)


def refused(code: str, act: Callable[[], None]) -> None:
    with pytest.raises(Refused) as refusal:
        act()
    assert refusal.value.code == code, refusal.value


def persistent(**changes: Any) -> list[Statement]:
    """An attempt by dns-persist-01 in which the perspectives saw something else."""
    seen = replace(control_seen("dns-persist-01", NAME), **changes)
    return [replace(each, control=seen) for each in attempt(method="dns-persist-01")]
