"""A subscriber who signs finalize requests, for tests of what the vault makes of them."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy import jwa
from josepy.jwk import JWKEC, JWKRSA

from core import der
from signer.api import Applicant
from tests.support.acme_client import general_name

_orders = itertools.count(1)

BASE = "https://ca.acme-ca.com"


@dataclass(frozen=True)
class AccountKey:
    """An account's key pair and how it signs."""

    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def jwk(self) -> dict[str, Any]:
        public = self.private.public_key()
        made = JWKRSA(key=public) if isinstance(public, rsa.RSAPublicKey) else JWKEC(key=public)
        members: dict[str, Any] = made.to_json()
        return members

    @property
    def thumbprint(self) -> str:
        public = self.private.public_key()
        made = JWKRSA(key=public) if isinstance(public, rsa.RSAPublicKey) else JWKEC(key=public)
        return b64(made.thumbprint())

    def sign(self, header: dict[str, Any], payload: bytes) -> bytes:
        """A JWS in flattened JSON."""
        algorithm = jwa.RS256
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            algorithm = {256: jwa.ES256, 384: jwa.ES384, 521: jwa.ES512}[self.private.curve.key_size]
        protected = b64(json.dumps({"alg": algorithm.name} | header).encode())
        text = f"{protected}.{b64(payload)}".encode()
        members = {
            "protected": protected,
            "payload": b64(payload),
            "signature": b64(algorithm.sign(self.private, text)),
        }
        return json.dumps(members).encode()


ACCOUNT_KEY = AccountKey(ec.generate_private_key(ec.SECP256R1()))
"""The key of the account that the tests' requests name, unless they say otherwise."""


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def csr(names: Sequence[str], public_key: bytes) -> bytes:
    """A PKCS#10 request for a key whose private half is not needed: the vault leaves its signature aside."""
    san = x509.SubjectAlternativeName([general_name(name) for name in names]).public_bytes()
    extensions = der.sequence(der.extension("2.5.29.17", san))
    attribute = der.sequence(der.oid("1.2.840.113549.1.9.14"), der.set_of(extensions))
    info = der.sequence(der.integer(0), der.sequence(), public_key, der.explicit(0, attribute))
    return der.sequence(info, der.algorithm("1.2.840.10045.4.3.2"), der.bit_string(bytes(8)))


def applicant(
    names: Sequence[str],
    public_key: bytes,
    account_url: str,
    key: AccountKey = ACCOUNT_KEY,
    key_changes: tuple[bytes, ...] = (),
    **header: Any,
) -> Applicant:
    """The account asks for a certificate for `public_key` and `names`, in a new order if `url` names none."""
    base = account_url.partition("/acme/")[0] or BASE
    url = f"{base}/acme/order/{next(_orders)}/finalize"
    head = {"kid": account_url, "nonce": "n", "url": url} | header
    payload = json.dumps({"csr": b64(csr(names, public_key))}).encode()
    return Applicant(json.dumps(key.jwk).encode(), key.sign(head, payload), key_changes)


def key_change(old: AccountKey, new: AccountKey, account_url: str, **payload: Any) -> bytes:
    """RFC 8555 section 7.3.5: signed by the old key around what the new key signed."""
    url = account_url.partition("/acme/")[0] + "/acme/key-change"
    said = {"account": account_url, "oldKey": old.jwk} | payload
    inner = new.sign({"jwk": new.jwk, "url": url}, json.dumps(said).encode())
    return old.sign({"kid": account_url, "nonce": "n", "url": url}, inner)
