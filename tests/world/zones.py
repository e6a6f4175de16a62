"""The zones of the world, as text: a root, a TLD and leaves with every CAA and DNSSEC case the tests need.

All leaf hosts live on loopback, where the tests' own web servers answer.  TTLs are one second, so that a
record changed by a test is seen soon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.world.addresses import LEAF, ROOT, TLD

OURS = "ca.example"
"""The CAA identity of the CA under test (`ca.caa_identities`)."""


class Signing(StrEnum):
    """How a zone stands to its parent's DS record."""

    SECURE = "secure"
    INSECURE = "insecure"
    """Unsigned, and the parent proves that there is no DS."""
    TAMPERED = "tampered"
    """Signed, then changed: the signatures do not match."""
    EXPIRED = "expired"
    """Signed correctly, but the signatures are out of date."""
    STRIPPED = "stripped"
    """The parent has a DS, yet the zone is unsigned."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone: its apex without trailing dot ("" for the root), its server and the records below the apex."""

    name: str
    address: str
    records: Sequence[str] = ()
    signing: Signing = Signing.SECURE
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def parent(self) -> str | None:
        """The parent zone's name, None for the root."""
        if not self.name:
            return None
        return self.name.partition(".")[2]


EXAMPLE_COM = (
    "@ A 127.0.0.1",
    "* A 127.0.0.1",
    "www A 127.0.0.1",
    "host A 127.0.0.1",
    "pki A 127.0.0.1",
    "refused A 127.0.0.9",
    "six AAAA ::1",
    "alias CNAME www",
    f'caa-ours CAA 0 issue "{OURS}"',
    "caa-ours A 127.0.0.1",
    'caa-deny CAA 0 issue ";"',
    "caa-deny A 127.0.0.1",
    'caa-other CAA 0 issue "another-ca.example"',
    "caa-other A 127.0.0.1",
    f'caa-issuewild-deny CAA 0 issue "{OURS}"',
    'caa-issuewild-deny CAA 0 issuewild ";"',
    "caa-issuewild-deny A 127.0.0.1",
    "*.caa-issuewild-deny A 127.0.0.1",
    'caa-issuewild-ours CAA 0 issue ";"',
    f'caa-issuewild-ours CAA 0 issuewild "{OURS}"',
    "caa-issuewild-ours A 127.0.0.1",
    'caa-critical CAA 128 tbs "unknown"',
    "caa-critical A 127.0.0.1",
    f'caa-dns-only CAA 0 issue "{OURS}; validationmethods=dns-01"',
    "caa-dns-only A 127.0.0.1",
    f'caa-http-only CAA 0 issue "{OURS}; validationmethods=http-01"',
    "caa-http-only A 127.0.0.1",
    f'caa-foreign-account CAA 0 issue "{OURS}; accounturi=https://elsewhere.example/acme/account/1"',
    "caa-foreign-account A 127.0.0.1",
    "caa-inherited.caa-deny A 127.0.0.1",
)

PLAIN = ("@ A 127.0.0.1", "* A 127.0.0.1", "www A 127.0.0.1")

ZONES = (
    Zone("", ROOT),
    Zone("com", TLD),
    Zone("example.com", LEAF, EXAMPLE_COM),
    # Any number of registered domains: each label below it is one (bench/).
    Zone("many", TLD, PLAIN),
    Zone("insecure-example.com", LEAF, PLAIN, Signing.INSECURE),
    Zone("tampered-example.com", LEAF, PLAIN, Signing.TAMPERED),
    Zone("expired-example.com", LEAF, PLAIN, Signing.EXPIRED),
    Zone("stripped-example.com", LEAF, PLAIN, Signing.STRIPPED),
)


def text(zone: Zone, serial: int, delegations: Sequence[str], changing: Mapping[str, Sequence[str]]) -> str:
    """The zone file: apex, own records, `delegations` (NS, glue and DS lines) and the `changing` record sets.

    `changing` maps an owner name (absolute, without trailing dot) and type, as "name TYPE", to record data.
    """
    origin = f"{zone.name}." if zone.name else "."
    server = f"ns.{origin}" if zone.name else "ns.root."
    lines = [
        f"$ORIGIN {origin}",
        "$TTL 1",
        f"@ SOA {server} hostmaster.example.com. {serial} 3600 600 86400 1",
        f"@ NS {server}",
        f"{server} A {zone.address}",
        *zone.records,
        *delegations,
    ]
    for key, values in changing.items():
        name, kind = key.split(" ")
        lines += [f"{name}. {kind} {value}" for value in values]
    return "\n".join(lines) + "\n"
