"""Certificates in words, for the eyes of a ceremony's people.

RFC 5280 section 4.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from signer.vault.ceremony.draft import serial_of

_INDENT = "    "


def certificate(der: bytes) -> list[str]:
    """Every field of a certificate, and the whole as PEM."""
    parsed = x509.load_der_x509_certificate(der)
    lines = [
        f"subject      {parsed.subject.rfc4514_string()}",
        f"issuer       {parsed.issuer.rfc4514_string()}",
        f"serial       {serial_of(der).hex()}",
        f"valid        {parsed.not_valid_before_utc:%Y-%m-%d %H:%M:%S} to "
        f"{parsed.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC",
        f"key          {_key(parsed.public_key())}",
        f"signature    {parsed.signature_algorithm_oid._name}",
        f"SHA-256      {hashlib.sha256(der).hexdigest()}",
    ]
    for extension in parsed.extensions:
        name = extension.oid._name + (" (critical)" if extension.critical else "")
        lines += [name, f"{_INDENT}{extension.value!r}"]
    return [*lines, *parsed.public_bytes(Encoding.PEM).decode().splitlines()]


def _key(key: object) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}, exponent {key.public_numbers().e}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__
