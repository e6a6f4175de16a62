"""A load client for any RFC 8555 server: as many accounts as clients, each doing one flow after another.

It is the same code for our CA and for its peers, so that what is compared is the server.  It keeps to the
protocol's bare path: newOrder, authorization, http-01 challenge, finalize, certificate.  Key pairs and CSRs
are made beforehand, outside the measured time.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

STEPS = ("newOrder", "authorization", "http-01", "finalize", "download", "whole flow")
"""The measured steps; http-01 and finalize last from the POST until a poll shows the end state."""

POLL_FIRST, POLL_FACTOR, POLL_LAST = 0.02, 1.3, 0.25
"""Seconds. A patient schedule, the same for every server (Retry-After is for clients in less of a hurry)."""

NONCE_TRIES = 5


class FlowFailed(Exception):
    """The server did not do what a flow needs; the message holds its answer."""


@dataclass(slots=True)
class Samples:
    """Seconds per step, and what went wrong."""

    steps: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})
    failures: list[str] = field(default_factory=list)


class ChallengeServer:
    """Answers http-01 for every account: token -> key authorization."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self._runner: web.AppRunner | None = None

    async def start(self, address: str, port: int) -> None:
        """Listen on `address`:`port`."""
        app = web.Application()
        app.router.add_get("/.well-known/acme-challenge/{token}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, backlog=1024).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        answer = self.answers.get(request.match_info["token"])
        return web.Response(text=answer) if answer else web.Response(status=404)


class AcmeClient:
    """One account on one server."""

    def __init__(self, session: aiohttp.ClientSession, directory: dict[str, str]) -> None:
        self._session = session
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        self._jwk = {
            "crv": "P-256",
            "kty": "EC",
            "x": _b64(numbers.x.to_bytes(32, "big")),
            "y": _b64(numbers.y.to_bytes(32, "big")),
        }
        canonical = json.dumps(self._jwk, sort_keys=True, separators=(",", ":")).encode()
        self.thumbprint = _b64(hashlib.sha256(canonical).digest())
        self._account_url = ""
        self._nonces: list[str] = []

    @classmethod
    async def register(cls, session: aiohttp.ClientSession, directory_url: str) -> AcmeClient:
        """A client with a new account."""
        async with session.get(directory_url) as response:
            directory = await response.json()
        client = cls(session, directory)
        headers, _ = await client.post(directory["newAccount"], {"termsOfServiceAgreed": True})
        client._account_url = headers["Location"]
        return client

    async def post(self, url: str, payload: dict[str, Any] | None) -> tuple[Any, bytes]:
        """POST, or POST-as-GET when `payload` is None: headers and body.  Raises FlowFailed."""
        for _ in range(NONCE_TRIES):
            nonce = self._nonces.pop() if self._nonces else await self._new_nonce()
            async with self._session.post(
                url, data=self._sign(url, nonce, payload), headers={"Content-Type": "application/jose+json"}
            ) as response:
                body = await response.read()
                if "Replay-Nonce" in response.headers:
                    self._nonces.append(response.headers["Replay-Nonce"])
                if response.status < 400:
                    return response.headers, body
                if b"badNonce" not in body:
                    raise FlowFailed(f"{response.status} from {url}: {body[:500].decode(errors='replace')}")
        raise FlowFailed(f"{url}: a fresh nonce was refused {NONCE_TRIES} times")

    async def flow(self, name: str, csr: bytes, answers: dict[str, str], samples: Samples) -> bytes:
        """One certificate chain (PEM) for `name`; the time of each step goes to `samples`."""
        watch = _Watch(samples)
        headers, body = await self.post(
            self.directory["newOrder"], {"identifiers": [{"type": "dns", "value": name}]}
        )
        order_url, order = headers["Location"], json.loads(body)
        watch.lap("newOrder")
        authorization_url = order["authorizations"][0]
        authorization = json.loads((await self.post(authorization_url, None))[1])
        challenge = next(c for c in authorization["challenges"] if c["type"] == "http-01")
        watch.lap("authorization")
        answers[challenge["token"]] = f"{challenge['token']}.{self.thumbprint}"
        await self.post(challenge["url"], {})
        await self._until(authorization_url, "valid", ("pending",))
        del answers[challenge["token"]]
        watch.lap("http-01")
        body = (await self.post(order["finalize"], {"csr": _b64(csr)}))[1]
        order = json.loads(body)
        if order["status"] != "valid":
            order = await self._until(order_url, "valid", ("ready", "processing"))
        watch.lap("finalize")
        chain = (await self.post(order["certificate"], None))[1]
        watch.lap("download")
        watch.end()
        return chain

    async def _until(self, url: str, wanted: str, waiting: tuple[str, ...]) -> dict[str, Any]:
        pause = POLL_FIRST
        while True:
            found: dict[str, Any] = json.loads((await self.post(url, None))[1])
            if found["status"] == wanted:
                return found
            if found["status"] not in waiting:
                raise FlowFailed(f"{url} became {found['status']}: {json.dumps(found)[:800]}")
            await asyncio.sleep(pause)
            pause = min(pause * POLL_FACTOR, POLL_LAST)

    async def _new_nonce(self) -> str:
        async with self._session.head(self.directory["newNonce"]) as response:
            return response.headers["Replay-Nonce"]

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The account key."""
        return self._key

    def _sign(self, url: str, nonce: str, payload: dict[str, Any] | None) -> bytes:
        head: dict[str, Any] = {"alg": "ES256", "nonce": nonce, "url": url}
        head |= {"kid": self._account_url} if self._account_url else {"jwk": self._jwk}
        protected = _b64(json.dumps(head).encode())
        content = "" if payload is None else _b64(json.dumps(payload).encode())
        signature = self._key.sign(f"{protected}.{content}".encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        raw = _b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return json.dumps({"protected": protected, "payload": content, "signature": raw}).encode()


class _Watch:
    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._started = self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        at = time.perf_counter()
        self._samples.steps[step].append(at - self._last)
        self._last = at

    def end(self) -> None:
        self._samples.steps["whole flow"].append(self._last - self._started)


def make_csr(name: str) -> bytes:
    """A CSR (DER) for `name` with a new P-256 key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if len(name) <= 64 else [])
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        serialization.Encoding.DER
    )


def open_session(trust_anchor: str, connections: int) -> aiohttp.ClientSession:
    """A session that trusts only `trust_anchor` (PEM file) and keeps `connections` open."""
    context = ssl.create_default_context(cafile=trust_anchor)
    connector = aiohttp.TCPConnector(ssl=context, limit=connections, keepalive_timeout=60)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60))


async def run_clients(
    clients: list[AcmeClient],
    work: list[tuple[str, bytes]],
    answers: dict[str, str],
    seconds: float,
    each: Callable[[bytes], Awaitable[None]] | None = None,
) -> tuple[Samples, float]:
    """Let `clients` share `work` (name, CSR) until it or the `seconds` are used up.

    Returns the samples and the seconds that it took; a flow under way at the end is finished.
    """
    samples = Samples()
    queue = list(reversed(work))
    started = time.perf_counter()

    async def one(client: AcmeClient) -> None:
        while queue and time.perf_counter() - started < seconds:
            name, csr = queue.pop()
            try:
                chain = await client.flow(name, csr, answers, samples)
            except (FlowFailed, aiohttp.ClientError, TimeoutError) as error:
                samples.failures.append(f"{name}: {error!r}")
                continue
            if each is not None:
                await each(chain)

    await asyncio.gather(*(one(client) for client in clients))
    return samples, time.perf_counter() - started


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
