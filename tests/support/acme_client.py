"""A small ACME client that signs by itself, so that a test can bend every part of a request."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from aiohttp import ClientResponse, ClientSession
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from core.identifiers import is_address

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
JOSE = {"Content-Type": "application/jose+json"}

_CURVES = {
    "secp256r1": ("P-256", "ES256", hashes.SHA256(), 32),
    "secp384r1": ("P-384", "ES384", hashes.SHA384(), 48),
    "secp521r1": ("P-521", "ES512", hashes.SHA512(), 66),
}


def b64(octets: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """A new key on P-256 or another curve."""
    return ec.generate_private_key(curve or ec.SECP256R1())


def jwk(key: PrivateKey) -> dict[str, str]:
    """The public JWK."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": _uint(numbers.n), "e": _uint(numbers.e)}
    name, _, _, size = _CURVES[key.curve.name]
    point = key.public_key().public_numbers()
    return {
        "kty": "EC",
        "crv": name,
        "x": b64(point.x.to_bytes(size, "big")),
        "y": b64(point.y.to_bytes(size, "big")),
    }


def thumbprint(key: PrivateKey) -> str:
    """RFC 7638."""
    text = json.dumps(jwk(key), sort_keys=True, separators=(",", ":"))
    return b64(hashlib.sha256(text.encode()).digest())


def algorithm(key: PrivateKey) -> str:
    """The JWS algorithm of the key."""
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else _CURVES[key.curve.name][1]


def signature(key: PrivateKey, octets: bytes) -> bytes:
    """The raw JWS signature."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    _, _, hash_, size = _CURVES[key.curve.name]
    r, s = decode_dss_signature(key.sign(octets, ec.ECDSA(hash_)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def sign(key: PrivateKey, protected: dict[str, Any], payload: bytes) -> dict[str, Any]:
    """A flattened JWS."""
    head, body = b64(json.dumps(protected).encode()), b64(payload)
    return {
        "protected": head,
        "payload": body,
        "signature": b64(signature(key, f"{head}.{body}".encode())),
    }


def csr(
    key: PrivateKey,
    names: Iterable[str],
    *,
    common_name: str | None = None,
    extensions: Iterable[x509.ExtensionType] = (),
) -> bytes:
    """A CSR in DER with `names` in its SAN."""
    subject = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    names = list(names)
    if names:
        general = x509.SubjectAlternativeName([general_name(name) for name in names])
        builder = builder.add_extension(general, critical=False)
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def cert_id(certificate: x509.Certificate) -> str:
    """RFC 9773 section 4.1, by `cryptography` alone."""
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier is not None
    serial = certificate.serial_number
    return b64(authority.key_identifier) + "." + b64(serial.to_bytes(serial.bit_length() // 8 + 1, "big"))


def general_name(name: str) -> x509.GeneralName:
    """A name or an address as a subjectAltName holds it."""
    return x509.IPAddress(ip_address(name)) if is_address(name) else x509.DNSName(name)


@dataclass(slots=True)
class Answer:
    """A reply, read to its end; `body` is the JSON, None when there is none."""

    status: int
    headers: Any
    octets: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.octets) if self.octets else None

    @property
    def problem(self) -> str:
        """The error word of a problem document, "" for another answer."""
        if self.headers.get("Content-Type") != "application/problem+json":
            return ""
        return str(self.body["type"]).removeprefix("urn:ietf:params:acme:error:")

    def links(self, relation: str) -> list[str]:
        """The targets of the Link headers with that relation."""
        found = [each.partition(";") for each in self.headers.getall("Link", [])]
        return [url.strip("<>") for url, _, parameters in found if parameters == f'rel="{relation}"']


class AcmeClient:
    """Speaks to the CA at `base_url`, which is really to be found `at` another address when that is given."""

    def __init__(
        self, http: ClientSession, base_url: str, key: PrivateKey | None = None, *, at: str = ""
    ) -> None:
        self.http = http
        self.base = base_url
        self.at = at or base_url
        self.key: PrivateKey = key or ec_key()
        self.kid: str | None = None
        self._nonce: str | None = None

    async def get(self, path: str, method: str = "GET") -> Answer:
        """An unsigned request."""
        async with self.http.request(method, self._target(path)) as response:
            return await self._read(response)

    async def nonce(self) -> str:
        """A nonce for the next request: from the last answer, or a new one."""
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            answer = await self.get("/acme/new-nonce", "HEAD")
            nonce = answer.headers["Replay-Nonce"]
            self._nonce = None
        assert nonce is not None
        return nonce

    async def protected(self, url: str, /, **changes: Any) -> dict[str, Any]:
        """The protected header of a correct request; a change of None leaves a member out."""
        header: dict[str, Any] = {
            "alg": algorithm(self.key),
            "nonce": await self.nonce(),
            "url": self.url(url),
        }
        header |= {"jwk": jwk(self.key)} if self.kid is None else {"kid": self.kid}
        header |= changes
        return {name: value for name, value in header.items() if value is not None}

    async def post(self, url: str, payload: Any = None, /, **changes: Any) -> Answer:
        """A signed request; `payload` None is a POST-as-GET; `changes` bend the protected header."""
        octets = b"" if payload is None else json.dumps(payload).encode()
        return await self.send(url, sign(self.key, await self.protected(url, **changes), octets))

    async def send(self, url: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        """Send a body as it is."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        stream = io.BytesIO(data)  # aiohttp warns of large bodies given as bytes
        async with self.http.post(self._target(url), data=stream, headers=headers or JOSE) as response:
            return await self._read(response)

    async def register(self, **members: Any) -> Answer:
        """newAccount; from now on requests are signed with its kid."""
        answer = await self.post("/acme/new-account", {"termsOfServiceAgreed": True} | members)
        if answer.status in (200, 201):
            self.kid = answer.headers["Location"]
        return answer

    async def order(self, *names: str, **members: Any) -> Answer:
        """newOrder."""
        identifiers = [{"type": "ip" if is_address(name) else "dns", "value": name} for name in names]
        return await self.post("/acme/new-order", {"identifiers": identifiers} | members)

    async def change_key(self, new_key: PrivateKey, **bent: Any) -> Answer:
        """keyChange to `new_key`; `bent` replaces members of the inner header or payload."""
        header = {"alg": algorithm(new_key), "jwk": jwk(new_key), "url": self.url("/acme/key-change")}
        payload = {"account": self.kid, "oldKey": jwk(self.key)}
        for name, value in bent.items():
            (payload if name in payload else header)[name] = value
        return await self.post("/acme/key-change", sign(new_key, header, json.dumps(payload).encode()))

    def url(self, path: str) -> str:
        """The absolute URL of a path."""
        return path if path.startswith("http") else self.base + path

    def _target(self, url: str) -> str:
        """Where the request is sent to."""
        return self.at + self.url(url).removeprefix(self.base)

    async def _read(self, response: ClientResponse) -> Answer:
        if "Replay-Nonce" in response.headers:
            self._nonce = response.headers["Replay-Nonce"]
        return Answer(response.status, response.headers, await response.read())


def _uint(number: int) -> str:
    return b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))
