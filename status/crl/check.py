"""What the vault signed is looked at once more, as a stranger would, before it becomes public.

The entries were compared with the register when they were encoded (entries.py), and the vault returns what
stands before and after them.  Here that frame is read, its lengths must be those of the blocks between, and
the signature must be over all these octets, which go to the publisher as they are.  So a million entries cost
the time of hashing them, and not the two seconds that reading them takes (docs/adr/0035).

Must never: let a CRL pass that is not the one asked for.

RFC 5280 sections 5.1, 5.2.3, 5.2.5; BR 7.2 (extensions), 7.2.2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from core.errors import Refused
from core.unreadable import UNREADABLE
from signer.api import CrlRequest, SignedCrl
from status.crl.parts import Parts, taken_apart
from status.crl.scopes import Scope

MAX_OCTETS = 128 * 1024 * 1024
"""No CRL is longer: three million entries.  Long before, `status.crl_size` calls for more shards."""


def number_of(parts: Parts) -> int:
    """The CRLNumber of a CRL.  Raises what is `UNREADABLE`."""
    return _number(parts.frame())


def distribution_point(parts: Parts) -> tuple[bool, bytes] | None:
    """The issuingDistributionPoint of a CRL, as `Scope.distribution_point` has it.  Raises alike."""
    return _distribution_point(parts.frame())


def check(
    signed: SignedCrl, request: CrlRequest, scope: Scope, base_url: str, blocks: Sequence[bytes] = ()
) -> bytes:
    """Check that a signed CRL is the one asked for, and of the scope under whose URL it will stand.

    `blocks` are the octets of its entries.  Returns its SHA-256.  Raises: `Refused` with the first difference
    found; nothing may be published then.
    """
    try:
        octets = sum(map(len, blocks))
        if len(signed.before) + octets + len(signed.after) > MAX_OCTETS:
            raise ValueError(f"it has more than {MAX_OCTETS} octets: raise status.crl_shards")
        parts = taken_apart(signed.before, octets, signed.after)
        crl = parts.frame()
        issuer = x509.load_der_x509_certificate(scope.issuer_certificate)
        if crl.signature_hash_algorithm is None:
            raise ValueError("its signature is over no digest")
        tbs, whole = hashes.Hash(crl.signature_hash_algorithm), hashlib.sha256(signed.before)
        tbs.update(parts.begin)
        for block in blocks:
            tbs.update(block)
            whole.update(block)
        tbs.update(parts.rest)
        whole.update(signed.after)
        found: dict[str, tuple[object, object]] = {
            "issuer": (crl.issuer, issuer.subject),
            "signature": (_is_signed(tbs.finalize(), crl, issuer), True),
            "number": (_number(crl), request.number),
            "scope": (_distribution_point(crl), scope.distribution_point(base_url)),
            "extensions": (
                {each.oid for each in crl.extensions} - {x509.IssuingDistributionPoint.oid},
                {x509.AuthorityKeyIdentifier.oid, x509.CRLNumber.oid},
            ),
            "thisUpdate": (int(crl.last_update_utc.timestamp()), request.this_update),
            "nextUpdate": (
                None if crl.next_update_utc is None else int(crl.next_update_utc.timestamp()),
                request.next_update,
            ),
            "entries": (len(parts.entries), 0),
        }
    except UNREADABLE as error:
        raise _mismatch(request, f"it cannot be read: {error}") from error
    for what, (said, wanted) in found.items():
        if said != wanted:
            raise _mismatch(request, f"{what}: {said!r} instead of {wanted!r}")
    return whole.digest()


def _mismatch(request: CrlRequest, what: str) -> Refused:
    return Refused("status.crl-mismatch", f"{request.issuer_id}-{request.shard} CRL, {what}")


def _is_signed(digest: bytes, crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key, algorithm = issuer.public_key(), crl.signature_hash_algorithm
    assert algorithm is not None  # it made the digest
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(crl.signature, digest, padding.PKCS1v15(), Prehashed(algorithm))
            return True
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(crl.signature, digest, ec.ECDSA(Prehashed(algorithm)))
            return True
    except InvalidSignature:
        pass
    return False


def _distribution_point(crl: x509.CertificateRevocationList) -> tuple[bool, bytes] | None:
    """Whether the issuingDistributionPoint is critical, and its DER; None when the CRL has none."""
    try:
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    except x509.ExtensionNotFound:
        return None
    return point.critical, point.value.public_bytes()


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
