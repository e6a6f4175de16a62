"""A leaf's TBSCertificate from a DER template.

The parts that are the same for all certificates of an issuer and a profile are encoded once; the rest is
joined to them.  The test oracle is `cryptography`'s builder: byte equality (docs/adr/0003).

Must never: decide whether a certificate may be issued (evidence.py, profiles.py, lint.py do), or sign.

RFC 5280 section 4.1; BR 7.1.2.7.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from core import der
from signer.api import LeafRequest
from signer.vault.templates.authority import Issuer
from signer.vault.templates.precertificates import POISON
from signer.vault.templates.profiles import LeafProfile
from signer.vault.tokens import algorithms

__all__ = ["Issuer", "assemble", "build_tbs", "dummy_signed"]

_VERSION_3 = der.explicit(0, der.integer(2))
_EMPTY_NAME = der.sequence()
"""BR 7.1.2.7.2 lets a DV certificate have an empty subject; the names live in the SAN alone."""

_RSA_KEY = der.algorithm("1.2.840.113549.1.1.1", der.NULL)
_DIGITAL_SIGNATURE, _KEY_ENCIPHERMENT = 0, 2

_SERVER_AUTH, _CLIENT_AUTH = der.oid("1.3.6.1.5.5.7.3.1"), der.oid("1.3.6.1.5.5.7.3.2")
_NOT_A_CA = der.extension("2.5.29.19", der.sequence(), critical=True)
_SAN_HEAD = der.oid("2.5.29.17") + der.TRUE
_ADDRESS_CHARACTERS = frozenset("0123456789abcdef.:")


def build_tbs(issuer: Issuer, profile: LeafProfile, request: LeafRequest) -> bytes:
    """The TBSCertificate in DER: with CT a precertificate's.  `request` has been admitted."""
    san = b"".join([_general_name(name) for name in request.names])
    extensions = _constant_extensions(
        issuer, profile, _RSA_KEY in request.public_key[:24], request.crl_shard
    ) + der.sequence(_SAN_HEAD, der.octet_string(der.sequence(san)))
    if profile.ct:
        extensions += POISON  # precertificates.py makes the final certificate of it
    return der.sequence(
        _VERSION_3,
        der.tlv(der.INTEGER, request.serial),
        issuer.algorithm.identifier,
        issuer.name,
        der.sequence(der.time(request.not_before), der.time(request.not_after)),
        _EMPTY_NAME,
        request.public_key,
        der.explicit(3, der.sequence(extensions)),
    )


def assemble(tbs: bytes, signature_algorithm: bytes, signature: bytes) -> bytes:
    """The Certificate: `signature_algorithm` is a DER AlgorithmIdentifier, `signature` its bare octets."""
    return der.sequence(tbs, signature_algorithm, der.bit_string(signature))


def dummy_signed(tbs: bytes, issuer: Issuer) -> bytes:
    """The certificate with a signature that is none, for the linter."""
    return assemble(tbs, issuer.algorithm.identifier, algorithms.dummy_signature(issuer.public_key))


@lru_cache(maxsize=4096)
def _constant_extensions(issuer: Issuer, profile: LeafProfile, rsa: bool, shard: int) -> bytes:
    bits = [_DIGITAL_SIGNATURE]
    if rsa and profile.key_encipherment:
        bits.append(_KEY_ENCIPHERMENT)
    uses = [_SERVER_AUTH, _CLIENT_AUTH] if profile.client_auth else [_SERVER_AUTH]
    parts = [
        der.extension("2.5.29.15", der.named_bits(*bits), critical=True),
        der.extension("2.5.29.37", der.sequence(*uses)),
        _NOT_A_CA,
        der.extension("2.5.29.35", der.sequence(der.implicit(0, issuer.key_id))),
        _authority_information_access(issuer, profile),
    ]
    if profile.crl:
        parts.append(der.extension("2.5.29.31", crl_distribution_points(issuer.crl_url(shard))))
    if profile.policies:
        policies = (der.sequence(der.oid(policy)) for policy in profile.policies)
        parts.append(der.extension("2.5.29.32", der.sequence(*policies)))
    return b"".join(parts)


def _authority_information_access(issuer: Issuer, profile: LeafProfile) -> bytes:
    descriptions = []
    if profile.ocsp:
        descriptions.append(der.sequence(der.oid("1.3.6.1.5.5.7.48.1"), _uri(issuer.ocsp_url)))
    descriptions.append(der.sequence(der.oid("1.3.6.1.5.5.7.48.2"), _uri(issuer.ca_issuers_url)))
    return der.extension("1.3.6.1.5.5.7.1.1", der.sequence(*descriptions))


def crl_distribution_points(url: str) -> bytes:
    """One DistributionPoint with one fullName URI: all that BR 7.1.2.11.2 allows."""
    return der.sequence(der.sequence(der.explicit(0, der.explicit(0, _uri(url)))))


def _uri(url: str) -> bytes:
    return der.implicit(6, url.encode("ascii"))


def _general_name(name: str) -> bytes:
    if _ADDRESS_CHARACTERS.issuperset(name):
        try:
            return der.implicit(7, ipaddress.ip_address(name).packed)
        except ValueError:
            pass
    return der.implicit(2, name.encode("ascii"))
