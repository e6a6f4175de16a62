"""A zone that makes a validator work: many keys of one tag, and many signatures that fit none of them.

Each signature names the tag that all the keys have, so a validator may have to try every pair
(CVE-2023-50387).  The keys' own set is signed properly; what is asked of the zone is the trap.
"""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime

import dns.dnssec
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import rsa
from dns.dnssectypes import Algorithm
from dns.rdtypes.ANY.DNSKEY import DNSKEY

KEYS = 60
SIGNATURES = 60
_RSASHA256 = Algorithm.RSASHA256
_EXPONENT = b"\x03\x01\x00\x01"
_OCTETS = 256
_FROM, _UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)


def trap(zone: str) -> tuple[list[str], str]:
    """(lines for the zone file of `zone`, the DS line of its parent)."""
    apex = dns.name.from_text(zone)
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signer = dns.dnssec.make_dnskey(private.public_key(), _RSASHA256, flags=257)
    tag = dns.dnssec.key_id(signer)
    chance = random.Random(tag)
    keys = dns.rrset.from_rdata_list(apex, 1, [signer, *(_colliding(tag, chance) for _ in range(KEYS))])
    signature = dns.dnssec.sign(keys, private, apex, signer, inception=_FROM, expiration=_UNTIL)
    lines = [*keys.to_text().split("\n"), f"{apex} 1 IN RRSIG {signature.to_text()}"]
    for owner in (apex, dns.name.from_text("www", apex)):
        for kind in ("A", "CAA"):
            lines += [
                f"{owner} 1 IN RRSIG {kind} 8 {len(owner) - 1} 1 20370101000000 20200101000000 {tag} {apex} "
                + base64.b64encode(chance.randbytes(_OCTETS)).decode()
                for _ in range(SIGNATURES)
            ]
    return lines, f"{apex} DS {dns.dnssec.make_ds(apex, signer, 'SHA256').to_text()}"


def _colliding(tag: int, chance: random.Random) -> DNSKEY:
    """A key of nobody with the tag `tag`, which is a sum of its octets (RFC 4034 appendix B)."""
    while True:
        modulus = bytearray(chance.randbytes(_OCTETS))
        modulus[0] |= 0x80
        modulus[-1] |= 1
        modulus[2:4] = bytes(2)
        missing = (tag - dns.dnssec.key_id(_key(modulus))) % 0xFFFF
        modulus[2:4] = missing.to_bytes(2, "big")
        key = _key(modulus)
        if dns.dnssec.key_id(key) == tag:
            return key


def _key(modulus: bytes | bytearray) -> DNSKEY:
    return DNSKEY(dns.rdataclass.IN, dns.rdatatype.DNSKEY, 256, 3, _RSASHA256, _EXPONENT + bytes(modulus))
