"""Reads a signed manifest: is it whole, and by which keys?

Must never: say who the key's holder is; that is what pinning its thumbprint is for.

RFC 7515 (general JSON serialization), RFC 7518 section 3.4, RFC 7638.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from core.errors import CaError

TYP = "acme-server-repository-manifest+json"
"""What the vault writes into each protected header (signer/vault/status/manifests.py)."""


class NotSigned(CaError):
    """It is no signed manifest, or a signature in it is wrong."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The octets that are signed, and the RFC 7638 thumbprints of the keys that signed them."""

    payload: bytes
    thumbprints: tuple[str, ...]


def read(jws: bytes) -> Signed:
    """Check every signature in it.  Raises `NotSigned`."""
    try:
        document = json.loads(jws)
        payload, signatures = document["payload"], document["signatures"]
        thumbprints = tuple(_check(payload, each) for each in signatures)
        content = _octets(payload)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature, Base64Error) as error:
        raise NotSigned(f"no signed manifest: {type(error).__name__} {error}") from error
    if not thumbprints:
        raise NotSigned("no signed manifest: nobody signed it")
    return Signed(content, thumbprints)


def unsigned(pins: Sequence[str], thumbprints: Sequence[str]) -> str:
    """What is wrong where not every key that the CP/CPS states has signed; "" when all have."""
    missing = [each for each in pins if each not in thumbprints]
    if not missing:
        return ""
    return (
        f"the CP/CPS states the manifest key {', '.join(missing)} (repository.manifest_pins), which does not "
        f"sign: {', '.join(thumbprints) or 'no key'} does. Bring that key back into the token, or state "
        "what signs in a new version and have it approved"
    )


def _check(payload: str, signature: dict[str, Any]) -> str:
    header = json.loads(_octets(signature["protected"]))
    if header["alg"] != "ES256" or header["typ"] != TYP:
        raise ValueError(f"alg {header['alg']}, typ {header['typ']}")
    jwk = {name: header["jwk"][name] for name in ("crv", "kty", "x", "y")}
    if (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
        raise ValueError("another key than one on P-256")
    x, y = (int.from_bytes(_octets(jwk[name])) for name in ("x", "y"))
    octets = _octets(signature["signature"])
    if len(octets) != 64:
        raise ValueError("a signature of another length")
    der = encode_dss_signature(int.from_bytes(octets[:32]), int.from_bytes(octets[32:]))
    signed = f"{signature['protected']}.{payload}".encode()
    ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key().verify(der, signed, ec.ECDSA(SHA256()))
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    return urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()


def _octets(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
