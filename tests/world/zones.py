"""The zones of the world, as text: a root, TLDs and leaves with every CAA and DNSSEC case the tests need.

Records name addresses as `$web`, `$closed` … (addresses.py); on loopback `$web` is where the tests' own web
servers answer.  TTLs are one second, so that a record changed by a test is seen soon.  What servers do
themselves, beyond what a zone file can say, is in scripted.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from string import Template

from tests.world.addresses import Addresses

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
    ITERATED = "iterated"
    """Signed correctly, with NSEC3 iterations that cost a validator dearly (RFC 9276)."""
    KEYTRAP = "keytrap"
    """Many keys of one tag, many signatures that fit none: each pair is a verification (CVE-2023-50387)."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone: its apex without trailing dot ("" for the root), its server and the records below the apex.

    `server` is the name of an address.  A zone that is not `served` is delegated all the same.  `says` tells
    a person what is special.
    """

    name: str
    server: str
    records: Sequence[str] = ()
    signing: Signing = Signing.SECURE
    says: str = ""
    served: bool = True

    @property
    def parent(self) -> str | None:
        """The parent zone's name, None for the root."""
        if not self.name:
            return None
        return self.name.partition(".")[2]


def text(
    zone: Zone,
    addresses: Addresses,
    serial: int,
    delegations: Sequence[str] = (),
    changing: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The zone file: apex, own records, `delegations` (NS, glue and DS lines) and the `changing` record sets.

    `changing` maps an owner name (absolute, without trailing dot) and type, as "name TYPE", to record data.
    """
    origin = f"{zone.name}." if zone.name else "."
    server = f"ns.{origin}" if zone.name else "ns.root."
    here = asdict(addresses)
    lines = [
        f"$ORIGIN {origin}",
        "$TTL 1",
        f"@ SOA {server} hostmaster.example.com. {serial} 3600 600 86400 1",
        f"@ NS {server}",
        f"{server} A {here[zone.server]}",
        *(Template(record).substitute(here) for record in zone.records),
        *delegations,
    ]
    for key, values in (changing or {}).items():
        name, kind = key.split(" ")
        lines += [f"{name}. {kind} {value}" for value in values]
    return "\n".join(lines) + "\n"
