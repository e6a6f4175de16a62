"""Did the subscriber ask for this very certificate?  The vault's own answer, from the account's signature.

What the perspectives saw at a name is a key authorization, and that ends in the thumbprint of an account key
(RFC 8555 section 8.1).  So the holder of the name has named the key whose word counts; and the finalize
request, which carries the CSR, is signed with it.  The vault verifies that signature itself and certifies the
CSR's key and names, no others.  Whoever took over the front can therefore not have a key of his own certified
for a name that somebody else has validated (docs/adr/0012).

Must never: believe a caller about which key an account has, or ask a network or a database.

RFC 8555 sections 6.2, 7.3.5, 7.4, 8.1, 11.1; RFC 7515; RFC 7638.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from josepy import errors, jwa
from josepy.jwk import JWK, JWKEC, JWKRSA

from core.errors import Refused
from core.identifiers import is_address
from signer.api import Applicant, LeafRequest

MAX_KEY_CHANGES = 20
"""More keys than an account has within the longest time for which a validation is reused."""

MAX_REQUEST = 256 * 1024
"""Octets of a signed request; limits.body_octets is far below."""

KEYS_REMEMBERED = 1024
"""Parsed account keys; making one costs 30 microseconds, and an account comes again and again."""

_ALGORITHMS = {
    "ec-256": ("ES256", jwa.ES256),
    "ec-384": ("ES384", jwa.ES384),
    "ec-521": ("ES512", jwa.ES512),
    "rsa": ("RS256", jwa.RS256),
}
"""RFC 7518 section 3.4 binds each curve to one hash.  By kind of key: the name and who verifies."""


_ABSENT = msgspec.Raw(b"")
"""A header parameter that is not there."""


@dataclass(frozen=True, slots=True)
class _Key:
    """An account key: josepy's object, RFC 7638 thumbprint in base64url, SubjectPublicKeyInfo."""

    key: Any
    thumbprint: str
    spki: bytes
    kind: str


class _Jws(msgspec.Struct, forbid_unknown_fields=True):
    """RFC 7515 section 7.2.2: the flattened JSON serialization, without an unprotected header."""

    protected: str
    payload: str
    signature: str


class _Header(msgspec.Struct):
    """RFC 8555 section 6.2: what the protected header says."""

    alg: str
    url: str
    kid: str | None = None
    jwk: msgspec.Raw = _ABSENT
    crit: msgspec.Raw = _ABSENT
    b64: msgspec.Raw = _ABSENT


class _Finalize(msgspec.Struct):
    """RFC 8555 section 7.4."""

    csr: str


class _KeyChange(msgspec.Struct, rename="camel"):
    """RFC 8555 section 7.3.5."""

    account: str
    old_key: msgspec.Raw


def thumbprints(request: LeafRequest) -> frozenset[str]:
    """Require that the account asked for this key and these names; the thumbprints of its keys.

    The first is that of the key that signed the finalize request, the others are of older keys of which the
    account itself said that this one follows them.  Raises `Refused("applicant.*")`.
    """
    applicant = request.applicant
    if applicant is None:
        raise Refused("applicant.missing", "the subscriber's own finalize request is missing: send it along")
    try:
        key = _key(applicant.jwk)
        payload = _verified(applicant.finalize, key, request.account_url, "/finalize")
        requested = x509.load_der_x509_csr(_decoded(msgspec.json.decode(payload, type=_Finalize).csr))
        wanted = _public_key(requested), _names(requested)
    except (ValueError, TypeError, RecursionError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise Refused("applicant.request", f"the finalize request cannot be read: {error}") from error
    if wanted != (request.public_key, frozenset(request.names)):
        raise Refused(
            "applicant.csr", "the subscriber's CSR asks for another key or other names: certify what it says"
        )
    if request.public_key == key.spki:
        raise Refused("applicant.account-key", "RFC 8555 section 11.1: this is the account's own key")
    return frozenset({key.thumbprint} | _older(applicant, key, request.account_url))


def order_of(request: LeafRequest) -> bytes:
    """The SHA-256 of the finalize URL that the account signed, once `thumbprints` has believed it.

    An order's URL is its own, and so the name under which the journal keeps that it has its certificate.
    """
    assert request.applicant is not None
    jws = msgspec.json.decode(request.applicant.finalize, type=_Jws)
    url = msgspec.json.decode(_decoded(jws.protected), type=_Header).url
    return hashlib.sha256(url.encode()).digest()


def _older(applicant: Applicant, newest: _Key, account_url: str) -> set[str]:
    """The thumbprints of the keys that gave way, link by link, to `newest`."""
    if len(applicant.key_changes) > MAX_KEY_CHANGES:
        raise Refused("applicant.key-change", "more changes of key than any account needs: validate again")
    found: set[str] = set()
    for octets in applicant.key_changes:
        try:
            outer = msgspec.json.decode(octets, type=_Jws)
            inner_octets = _decoded(outer.payload)
            inner = msgspec.json.decode(inner_octets, type=_Jws)
            jwk = msgspec.json.decode(_decoded(inner.protected), type=_Header).jwk
            if _key(bytes(jwk)).thumbprint != newest.thumbprint:
                raise ValueError("it leads to another key than the one that it must")
            said = msgspec.json.decode(_verified(inner_octets, newest, None, "/key-change"), type=_KeyChange)
            if said.account != account_url:
                raise ValueError("it is another account's")
            older = _key(bytes(said.old_key))
            _verified(octets, older, account_url, "/key-change")
        except (ValueError, TypeError, RecursionError) as error:
            raise Refused("applicant.key-change", f"a change of the account's key: {error}") from error
        found.add(older.thumbprint)
        newest = older
    return found


def _verified(octets: bytes, key: _Key, account_url: str | None, path: str) -> bytes:
    """The payload of a request signed with `key`, for the resource `path`.  Raises ValueError.

    `account_url` is the kid that it must carry; None when it carries its key (jwk).
    """
    if len(octets) > MAX_REQUEST:
        raise ValueError("it is too long")
    jws = msgspec.json.decode(octets, type=_Jws)
    header = msgspec.json.decode(_decoded(jws.protected), type=_Header)
    name, algorithm = _ALGORITHMS[key.kind]
    if header.alg != name or bytes(header.crit) or bytes(header.b64):
        raise ValueError(f"alg must be {name}, without crit and b64")
    if header.kid != account_url or bool(bytes(header.jwk)) is not (account_url is None):
        raise ValueError("it is signed for another account")
    # The same origin as the account, and this resource: no other signed request can pass for it.
    if not header.url.endswith(path) or (account_url and _origin(header.url) != _origin(account_url)):
        raise ValueError(f"it was made for {header.url!r}")
    signed = f"{jws.protected}.{jws.payload}".encode("ascii")
    if not algorithm.verify(key.key, signed, _decoded(jws.signature)):
        raise ValueError("its signature does not verify")
    return _decoded(jws.payload)


@lru_cache(maxsize=KEYS_REMEMBERED)
def _key(jwk: bytes) -> _Key:
    """The key of a JWK in JSON.  Raises ValueError."""
    try:
        key = JWK.from_json(msgspec.json.decode(jwk, type=dict[str, Any]))
        if not isinstance(key, JWKRSA | JWKEC):
            raise ValueError("an account key is an RSA or an elliptic curve key")
        spki = key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kind = "rsa" if isinstance(key, JWKRSA) else f"ec-{key.key.curve.key_size}"
        thumbprint = base64.urlsafe_b64encode(key.thumbprint()).rstrip(b"=").decode("ascii")
    except (errors.Error, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError("the account's key cannot be read") from error
    if kind not in _ALGORITHMS:
        raise ValueError(f"{kind} is no kind of key that an account has")
    return _Key(key.key, thumbprint, spki, kind)


def _names(requested: x509.CertificateSigningRequest) -> frozenset[str]:
    """The CSR's names in lower case, from CN and SAN (RFC 8555 section 7.4).  Raises ValueError."""
    names = [str(each.value) for each in requested.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    for extension in requested.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names += [_text(name) for name in extension.value]
    return frozenset(name.lower() for name in names)


def _text(name: x509.GeneralName) -> str:
    if not isinstance(name, x509.IPAddress) and is_address(str(name.value)):
        raise ValueError(f"the address {name.value} stands there as another kind of name")
    return str(name.value)


def _public_key(requested: x509.CertificateSigningRequest) -> bytes:
    return requested.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _decoded(text: str) -> bytes:
    """RFC 7515 section 2.  Raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64url") from error
