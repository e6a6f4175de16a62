"""Signed requests of an ACME client: directory, nonces, account, and what is asked of the server.

Our own, because the library that exists for Python waits in threads, reads answers of any size, and can ask
for neither a notAfter nor a replacement (docs/adr/0040); keys and signatures are josepy's.

Must never: believe an answer larger than `MAX_OCTETS`, follow a redirect, or show a key.

RFC 8555 sections 6, 7.1 to 7.6; RFC 9773.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from josepy import b64
from josepy.jwa import ES256, HS256
from josepy.jwk import JWKEC, JWKOct
from multidict import CIMultiDictProxy

from core.errors import CaError, TransientError

MAX_OCTETS = 1 << 20
"""Of one answer: a chain of three certificates has some 6 KiB."""

TIMEOUT = 60.0
"""Seconds for one request: servers hold polls for a few."""

NONCE_TRIES = 3
"""RFC 8555 section 6.5: badNonce is tried again with the nonce that came with it."""

_TYPE = "urn:ietf:params:acme:error:"


class AcmeRefused(CaError):
    """The server answered with a problem document (RFC 8555 section 6.7); `word` is its bare type."""

    def __init__(self, what: str, status: int, word: str, detail: str, retry_after: int | None) -> None:
        super().__init__(f"{what}: {word or status}: {detail}")
        self.status = status
        self.word = word
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    octets: bytes = field(repr=False)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object.  Raises `TransientError` for anything else."""
        try:
            found = json.loads(self.octets)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise TransientError("the ACME server's answer is no JSON object")
        return found


class AcmeClient:
    """One account at one server.  `key` is on P-256; `kid` the account's URL once it is known."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        directory_url: str,
        key: ec.EllipticCurvePrivateKey,
        kid: str = "",
    ) -> None:
        self._http = http
        self._directory_url = directory_url
        self._jwk = JWKEC(key=key)
        self._directory: dict[str, Any] = {}
        self._nonce = ""
        self.kid = kid

    @property
    def thumbprint(self) -> str:
        """Of the account key (RFC 7638)."""
        return b64.b64encode(self._jwk.thumbprint()).decode()

    async def directory(self) -> dict[str, Any]:
        """The directory (section 7.1.1), asked once.  Raises `AcmeRefused`, `TransientError`."""
        if not self._directory:
            self._directory = (await self._ask("GET", self._directory_url, "the directory")).body
        return self._directory

    async def register(self, binding: tuple[str, str] | None = None) -> str:
        """newAccount (section 7.3): the account's URL; the same one again for a known key.

        `binding` is the key id and HMAC key (base64url) of an external account (section 7.3.4).
        """
        payload: dict[str, Any] = {"termsOfServiceAgreed": True}
        url = await self._url("newAccount")
        if binding is not None:
            payload["externalAccountBinding"] = self._bound(url, *binding)
        self.kid = ""
        reply = await self.post(url, payload, "newAccount")
        self.kid = reply.headers.get("Location", "")
        if not self.kid:
            raise TransientError("newAccount: the answer names no account URL")
        return self.kid

    async def new_order(self, payload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """newOrder (section 7.4): the order's URL and the order."""
        reply = await self.post(await self._url("newOrder"), payload, "newOrder")
        return reply.headers.get("Location", ""), reply.body

    async def revoke(self, certificate: x509.Certificate, reason: int) -> None:
        """revokeCert (section 7.6); a certificate that is revoked already is as it should be."""
        der = certificate.public_bytes(Encoding.DER)
        payload = {"certificate": b64.b64encode(der).decode(), "reason": reason}
        try:
            await self.post(await self._url("revokeCert"), payload, "revokeCert")
        except AcmeRefused as error:
            if error.word != "alreadyRevoked":
                raise

    async def renewal_info(self, certificate: x509.Certificate) -> Reply | None:
        """renewalInfo (RFC 9773 section 4), None where the server has none."""
        base = (await self.directory()).get("renewalInfo")
        if not isinstance(base, str):
            return None
        return await self._ask("GET", f"{base}/{cert_id(certificate)}", "renewalInfo")

    async def post(self, url: str, payload: Mapping[str, Any] | None, what: str) -> Reply:
        """A signed request; a `payload` of None is a POST-as-GET.  Raises `AcmeRefused`, `TransientError`."""
        octets = b"" if payload is None else json.dumps(payload).encode()
        for _ in range(NONCE_TRIES - 1):
            try:
                return await self._send(url, octets, what)
            except AcmeRefused as error:
                if error.word != "badNonce":
                    raise
        return await self._send(url, octets, what)

    async def nonce(self) -> str:
        """newNonce (section 7.2).  Raises `TransientError` when the answer has none."""
        reply = await self._ask("HEAD", await self._url("newNonce"), "newNonce")
        found = reply.headers.get("Replay-Nonce", "")
        self._nonce = ""
        if not found:
            raise TransientError("newNonce: the answer has no Replay-Nonce")
        return found

    async def _send(self, url: str, payload: bytes, what: str) -> Reply:
        nonce, self._nonce = self._nonce, ""
        protected: dict[str, Any] = {"alg": "ES256", "nonce": nonce or await self.nonce(), "url": url}
        if self.kid:
            protected["kid"] = self.kid
        else:
            protected["jwk"] = self._jwk.public_key().to_json()
        body = self._signed(protected, payload)
        return await self._ask("POST", url, what, json.dumps(body).encode())

    async def _ask(self, method: str, url: str, what: str, body: bytes | None = None) -> Reply:
        headers = {"Content-Type": "application/jose+json"} if body is not None else {}
        try:
            async with self._http.request(
                method,
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            ) as response:
                octets = await _bounded(response)
                reply = Reply(response.status, response.headers, octets)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransientError(f"{what}: {url}: {type(error).__name__}: {error}") from error
        self._nonce = reply.headers.get("Replay-Nonce", "")
        if not 200 <= reply.status < 300:
            raise _refusal(what, reply)
        return reply

    async def _url(self, resource: str) -> str:
        found = (await self.directory()).get(resource)
        if not isinstance(found, str):
            raise TransientError(f"the directory at {self._directory_url} has no {resource}")
        return found

    def _signed(self, protected: Mapping[str, Any], payload: bytes) -> dict[str, str]:
        head, body = _b64(json.dumps(protected).encode()), _b64(payload)
        signature = ES256.sign(self._jwk.key, f"{head}.{body}".encode())
        return {"protected": head, "payload": body, "signature": _b64(signature)}

    def _bound(self, url: str, kid: str, hmac_key: str) -> dict[str, str]:
        secret = JWKOct(key=b64.b64decode(hmac_key))
        head = _b64(json.dumps({"alg": "HS256", "kid": kid, "url": url}).encode())
        body = _b64(json.dumps(self._jwk.public_key().to_json()).encode())
        signature = HS256.sign(secret.key, f"{head}.{body}".encode())
        return {"protected": head, "payload": body, "signature": _b64(signature)}


def cert_id(certificate: x509.Certificate) -> str:
    """The unique identifier of RFC 9773 section 4.1.  Raises `x509.ExtensionNotFound`."""
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    serial = certificate.serial_number
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{_b64(authority.key_identifier or b'')}.{_b64(number)}"


def retry_after(reply_headers: Mapping[str, str], otherwise: int, most: int) -> int:
    """Seconds that a Retry-After asks for, between 1 and `most`; `otherwise` where it is no number."""
    text = reply_headers.get("Retry-After", "")
    return min(max(int(text), 1), most) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    octets = b""
    async for chunk in response.content.iter_chunked(65536):
        octets += chunk
        if len(octets) > MAX_OCTETS:
            raise ValueError(f"the answer has more than {MAX_OCTETS} octets")
    return octets


def _refusal(what: str, reply: Reply) -> CaError:
    try:
        problem = reply.body
    except TransientError:
        problem = {}
    word = str(problem.get("type", "")).removeprefix(_TYPE)[:60]
    detail = str(problem.get("detail", f"HTTP status {reply.status}"))[:500]
    if word == "" and reply.status >= 500:
        return TransientError(f"{what}: HTTP status {reply.status}")
    return AcmeRefused(what, reply.status, word, detail, retry_after(reply.headers, 0, 86400) or None)


def _b64(octets: bytes) -> str:
    return b64.b64encode(octets).decode()
