"""Signed requests: octets in, a request out whose signature can be checked.  Pure; knows no account.

josepy does JWK, thumbprint and signature.  What it lets pass is refused in front of it: padding and
non-canonical base64url, members given twice, unprotected headers, more than one signature, `crit`, `b64`,
private keys, deep nesting.

Must never: accept a request in more than one spelling where the RFC has one.

RFC 8555 sections 6.1, 6.2, 6.4, 6.5; RFC 7515; RFC 7517; RFC 7518; RFC 7638.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from cryptography.hazmat.primitives import serialization
from josepy import errors, jwa
from josepy.jwk import JWK, JWKEC, JWKRSA

from acme_server.problems import ErrorType, malformed, refusal
from core.errors import Problem

ALGORITHMS = {each.name: each for each in (jwa.RS256, jwa.ES256, jwa.ES384, jwa.ES512)}
"""RFC 8555 section 6.2: no MAC, not `none`, ES256 is a MUST.  EdDSA (a SHOULD) is not in josepy:
docs/divergences.md."""

ALGORITHM_OF_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
"""RFC 7518 section 3.4 binds each curve to one hash."""

MAX_RSA_CHARACTERS = 1366
"""An RSA modulus of 8192 bits in base64url.  Verification takes time that grows with the square."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_PLAIN = str.maketrans("-_", "+/")
_LAST = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}
"""What the last character can be, by how many characters there are in the last quantum."""

_BRACKETS = re.compile(r"[\[{]")
_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A JWK that a client signs with.

    `thumbprint` is RFC 7638's, base64url; `spki` the SubjectPublicKeyInfo in DER; `algorithm` the only one
    that this key may be used with; `json` the required members in canonical form.
    """

    jwk: JWKRSA | JWKEC
    json: str
    thumbprint: str
    spki: bytes
    algorithm: str

    @property
    def spki_sha256(self) -> bytes:
        return hashlib.sha256(self.spki).digest()


@dataclass(frozen=True, slots=True)
class Jws:
    """A well-formed request, its signature NOT yet verified.  Exactly one of `jwk` and `kid` is None."""

    alg: str
    url: str
    nonce: str | None
    kid: str | None
    jwk: dict[str, Any] | None
    payload: bytes
    signature: bytes
    signing_input: bytes


def parse(body: bytes, depth: int) -> Jws:
    """The request in a flattened JSON serialization.

    `depth` bounds the nesting of JSON.  Raises `Problem` (malformed, badSignatureAlgorithm).
    """
    return of_members(parse_json(body, depth, "the request body"), depth, "the request body")


def of_members(members: Any, depth: int, what: str, algorithms: Collection[str] = tuple(ALGORITHMS)) -> Jws:
    """The same of a JWS that stands inside another one (keyChange, external account binding).

    `members` came out of `parse_json`; `algorithms` may sign it.  Raises `Problem` as `parse`.
    """
    if not isinstance(members, dict):
        raise malformed(f"{what} must be a JSON object (a JWS in flattened JSON serialization)")
    if "header" in members:
        raise malformed("a JWS Unprotected Header must not be used (RFC 8555 section 6.2)")
    if "signatures" in members:
        raise malformed("a JWS with several signatures must not be used (RFC 8555 section 6.2)")
    if members.keys() != {"protected", "payload", "signature"}:
        raise malformed(f"{what} has exactly the members protected, payload and signature")
    protected_text, payload_text, signature_text = (
        _text(members[name], name) for name in ("protected", "payload", "signature")
    )
    header = parse_json(decode_base64url(protected_text, "protected"), depth, "the protected header")
    if not isinstance(header, dict):
        raise malformed("the protected header must be a JSON object")
    kid, jwk = _key_reference(header)
    return Jws(
        alg=_algorithm(header, algorithms),
        url=_text(header.get("url"), "url"),
        nonce=_nonce(header),
        kid=kid,
        jwk=jwk,
        payload=decode_base64url(payload_text, "payload"),
        signature=decode_base64url(signature_text, "signature"),
        signing_input=f"{protected_text}.{payload_text}".encode("ascii"),
    )


def public_key(jwk: dict[str, Any]) -> PublicKey:
    """The key of a `jwk` header.  Raises `Problem` (malformed, badPublicKey).

    Says nothing about the key's strength: a weak key may still ask to revoke its own certificate.
    """
    if _PRIVATE & jwk.keys():
        raise malformed("the jwk holds private or symmetric key material: that key must now be replaced")
    if jwk.get("kty") == "RSA" and len(_text(jwk.get("n"), "n")) > MAX_RSA_CHARACTERS:
        raise _bad_key("an RSA modulus must not be longer than 8192 bits; use 2048, 3072 or 4096")
    try:
        key = cast(JWKRSA | JWKEC, JWK.from_json(jwk))
        required = {name: value for name, value in key.to_json().items() if name in key.required}
        spki = key.key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (errors.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise _bad_key("the jwk is not an RSA or P-256, P-384 or P-521 public key") from error
    # One spelling only: no padding, no leading zero octets, full-length coordinates (RFC 7518 section 6).
    if any(jwk.get(name) != value for name, value in required.items()):
        raise _bad_key("the members of the jwk are not in the canonical form of RFC 7518 section 6")
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(canonical.encode("ascii")).digest()
    algorithm = "RS256" if key.typ == "RSA" else ALGORITHM_OF_CURVE[key.key.curve.name]
    return PublicKey(key, canonical, encode_base64url(digest), spki, algorithm)


def verify(jws: Jws, key: PublicKey) -> None:
    """Check the signature.  Raises `Problem` (malformed) when it is not this key's."""
    if jws.alg != key.algorithm:
        raise malformed(f"alg {jws.alg} does not go with this key; use {key.algorithm}")
    if not ALGORITHMS[jws.alg].verify(key.jwk.key, jws.signing_input, jws.signature):
        raise malformed(
            "the signature of the JWS does not verify: sign with the key that the account has now (keyChange"
            " replaces it); ECDSA signatures are r and s, not DER"
        )


def parse_json(octets: bytes, depth: int, what: str) -> Any:
    """Strict JSON: UTF-8, no member twice, no NaN, no lone surrogates, at most `depth` levels."""
    try:
        text = octets.decode("utf-8")
        value = _decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except _DuplicateMember as error:
        raise malformed(f"{what} has a member twice: {error.args[0][:64]!r}") from None
    except (ValueError, RecursionError) as error:
        raise malformed(f"{what} is not valid JSON in UTF-8") from error
    # Most bodies have fewer brackets than the bound has levels and need no walk.
    if len(_BRACKETS.findall(text)) > depth and _depth(value) > depth:
        raise malformed(f"{what} is nested deeper than {depth} levels")
    return value


def decode_base64url(text: str, what: str) -> bytes:
    """RFC 7515 section 2: no padding, no bits that say nothing (RFC 4648 section 3.5).  Raises `Problem`."""
    left = len(text) % 4
    if _BASE64URL.fullmatch(text) and left != 1 and (not left or text[-1] in _LAST[left]):
        return binascii.a2b_base64(text.translate(_PLAIN) + "=" * (-left % 4))
    raise malformed(f"{what} is not base64url without padding (RFC 8555 section 6.1)")


def encode_base64url(octets: bytes) -> str:
    """RFC 7515 section 2."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


class _DuplicateMember(Exception):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise _DuplicateMember(name)
        members[name] = value
    return members


def _constant(name: str) -> Any:
    raise ValueError(name)


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant).decode
"""Made once: `json.loads` makes a decoder for every call that has a hook."""


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
            else:
                continue
        if any(isinstance(each, dict | list) for each in level):
            deepest += 1
        level = inner
    return deepest


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise malformed(f"{name} must be there and be a string")
    return value


def _algorithm(header: dict[str, Any], algorithms: Collection[str]) -> str:
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in algorithms:
        raise refusal(
            ErrorType.BAD_SIGNATURE_ALGORITHM,
            f"alg must be one of {', '.join(algorithms)}",
            extra={"algorithms": list(algorithms)},
        )
    return alg


def _key_reference(header: dict[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    for name in ("crit", "b64"):
        if name in header:
            raise malformed(f"the header parameter {name!r} is not supported (RFC 7515 section 4.1.11)")
    if ("jwk" in header) == ("kid" in header):
        raise malformed("the protected header must hold exactly one of jwk and kid (RFC 8555 section 6.2)")
    if "kid" in header:
        return _text(header["kid"], "kid"), None
    if not isinstance(header["jwk"], dict):
        raise malformed("jwk must be a JSON object")
    return None, header["jwk"]


def _nonce(header: dict[str, Any]) -> str | None:
    if "nonce" not in header:
        return None
    nonce = header["nonce"]
    if not isinstance(nonce, str) or not _BASE64URL.fullmatch(nonce):
        raise malformed("nonce must be a base64url string (RFC 8555 section 6.5.2)")
    return nonce


def _bad_key(detail: str) -> Problem:
    return refusal(ErrorType.BAD_PUBLIC_KEY, detail)
