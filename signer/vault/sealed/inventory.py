"""Where each CA key is: in its token, and in which copies.  What the seal says, so what people proved.

Must never: leave out a key that was ever sealed; a destroyed one stands here with no place.

CPS 6.2.4, 6.2.10; BR 6.2.4, 6.2.10.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from signer.api import IssuerState
from signer.vault.sealed import hierarchy as hierarchies
from signer.vault.sealed.seal import Hierarchy, SealedToken, TokenRole
from signer.vault.tokens.custody import Custody


@dataclass(frozen=True, slots=True)
class Entry:
    """A key by its label.  `places` in words, none once it is destroyed; `ends` is POSIX seconds."""

    label: str
    issuer: str
    state: IssuerState
    custody: Custody
    spki_sha256: bytes
    ends: int
    places: tuple[str, ...]


def entries(hierarchy: Hierarchy) -> tuple[Entry, ...]:
    """Every CA key, the root's first."""
    root, issuing = hierarchy.token(TokenRole.ROOT), hierarchy.token(TokenRole.ISSUING)
    found = [
        _entry(
            hierarchy,
            hierarchies.ROOT_ID,
            hierarchies.ROOT_ID,
            IssuerState.ACTIVE,
            hierarchy.root_custody,
            hierarchy.root,
            root,
        )
    ]
    found += [
        _entry(hierarchy, each.label, each.id, each.state, each.custody, each.certificate, issuing)
        for each in hierarchy.issuers
    ]
    return tuple(found)


def _entry(
    hierarchy: Hierarchy,
    label: str,
    issuer: str,
    state: IssuerState,
    custody: Custody,
    certificate: bytes,
    token: SealedToken,
) -> Entry:
    parsed = x509.load_der_x509_certificate(certificate)
    spki = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    places = [f"token {token.label} ({token.serial})"] if state is not IssuerState.DESTROYED else []
    places += [
        f"copy {each.id} ({each.place})"
        for each in hierarchy.copies
        if each.token == token.label and each.holds(label)
    ]
    ends = int(parsed.not_valid_after_utc.timestamp())
    return Entry(label, issuer, state, custody, hashlib.sha256(spki).digest(), ends, tuple(places))
