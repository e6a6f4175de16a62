"""The certificate signing request: what finalize takes from it, and what it refuses (RFC 8555 section 7.4).

Only the names and the public key are taken.  Any other content of the certificate comes from the profile:
extensions that a CSR asks for are left aside, but for those that ask for authority over others, and those
whose silent absence would surprise (docs/divergences.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from acme_server.problems import ErrorType, refusal
from core import public_keys
from core.blocklist import Blocklist
from core.errors import Problem
from core.identifiers import is_address

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for octets that it does not read."""


@dataclass(frozen=True, slots=True)
class Requested:
    """`names` in lower case, from SAN and CN; `public_key` a SubjectPublicKeyInfo in DER."""

    names: frozenset[str]
    public_key: bytes
    spki_sha256: bytes


def read(der: bytes, blocklist: Blocklist) -> Requested:
    """What the CSR asks for.  Raises `Problem` (badCSR); `TransientError` when the list cannot be read."""
    try:
        csr = x509.load_der_x509_csr(der)
        _check_signature(csr)
        _check_extensions(csr)
        names = _names(csr)
        public_key = public_key_of(csr)
        info = public_keys.check(public_key, thoroughly=True)
    except public_keys.WeakKey as weak:
        raise _bad(f"the key of the CSR cannot be certified: {weak}") from weak
    except _UNREADABLE as error:
        raise _bad("the CSR is not a well-formed PKCS#10 request in DER (not PEM)") from error
    if blocklist.holds(public_key):
        raise _bad("the key of the CSR is on a list of bad keys: make a new one with other software")
    return Requested(names, public_key, info.spki_sha256)


def must_match(requested: Requested, names: tuple[str, ...]) -> None:
    """Section 7.4: exactly the identifiers of the order.  Raises `Problem` (badCSR)."""
    ordered = frozenset(names)
    if requested.names == ordered:
        return
    missing, extra = sorted(ordered - requested.names), sorted(requested.names - ordered)
    parts = [f"it lacks {_some(missing)}"] if missing else []
    parts += [f"it has {_some(extra)}, not in the order"] if extra else []
    raise _bad(f"the CSR must name exactly the identifiers of the order: {' and '.join(parts)}")


def public_key_of(csr: x509.CertificateSigningRequest) -> bytes:
    """The SubjectPublicKeyInfo in DER."""
    return csr.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _check_signature(csr: x509.CertificateSigningRequest) -> None:
    if not isinstance(csr.signature_hash_algorithm, _HASHES):
        raise _bad("sign the CSR with SHA-256, SHA-384 or SHA-512")
    if not csr.is_signature_valid:
        raise _bad("the signature of the CSR does not verify: it must be made with the key that it carries")


def _check_extensions(csr: x509.CertificateSigningRequest) -> None:
    for extension in csr.extensions:
        refuse = _REFUSED.get(type(extension.value))
        if refuse is not None:
            refuse(extension.value)


def _basic_constraints(value: x509.ExtensionType) -> None:
    if isinstance(value, x509.BasicConstraints) and value.ca:
        raise _bad("the CSR asks for a CA certificate (basicConstraints CA:TRUE)")


def _key_usage(value: x509.ExtensionType) -> None:
    if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign):
        raise _bad("the CSR asks to sign certificates or CRLs (keyUsage)")


def _name_constraints(value: x509.ExtensionType) -> None:
    raise _bad("the CSR asks for name constraints, which only a CA certificate has")


def _tls_feature(value: x509.ExtensionType) -> None:
    # Leaving it out silently would change what the subscriber's clients are promised.
    raise _bad("the CSR asks for OCSP must-staple (TLS feature), which is not offered: ask without it")


_REFUSED: dict[type[x509.ExtensionType], Callable[[x509.ExtensionType], None]] = {
    x509.BasicConstraints: _basic_constraints,
    x509.KeyUsage: _key_usage,
    x509.NameConstraints: _name_constraints,
    x509.TLSFeature: _tls_feature,
}


def _names(csr: x509.CertificateSigningRequest) -> frozenset[str]:
    names: set[str] = set()
    for attribute in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        if not isinstance(attribute.value, str):
            raise _bad("the common name of the CSR must be text")
        names.add(attribute.value.lower())
    try:
        alternative = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset(names)
    for general_name in alternative:
        if isinstance(general_name, x509.IPAddress):
            names.add(str(general_name.value))
        elif not isinstance(general_name, x509.DNSName):
            raise _bad(
                f"the CSR has a {type(general_name).__name__} in its SAN: leave only what was ordered there"
            )
        elif is_address(general_name.value):
            raise _bad(f"the CSR has the address {general_name.value} as a dNSName: make it an iPAddress")
        else:
            names.add(general_name.value.lower())
    return frozenset(names)


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name[:253]) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _bad(detail: str) -> Problem:
    return refusal(ErrorType.BAD_CSR, detail)
