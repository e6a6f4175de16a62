"""A CA of a few keys on loopback that publishes what a test tells it to: for the watch, which must notice.

Right until a test bends it: `files` replaces what a path serves, the other members what is signed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from josepy import b64
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from tests.support import tls

DAY = 86400
HOUR = 3600


CPS = b"# CP/CPS"


def iso(seconds: float) -> str:
    return at(seconds).isoformat().replace("+00:00", "Z")


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


@dataclass(slots=True)
class Page:
    """What a path serves; `wait` seconds before the answer."""

    octets: bytes
    content_type: str = "application/octet-stream"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0


@dataclass(slots=True)
class Revoked:
    at: int
    reason: x509.ReasonFlags = x509.ReasonFlags.superseded


class Authority:
    """A CA's key and certificate."""

    def __init__(self, name: str, by: Authority | None, now: int, days: int = 1000) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = by or self
        self.certificate = (
            x509.CertificateBuilder(
                signer.name, self.name, self.key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(at(now - DAY))
            .not_valid_after(at(now + days * DAY))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False
            )
            .add_extension(_usage(certificates=True), critical=True)
            .sign(signer.key, hashes.SHA256())
        )

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def leaf(
        self, name: str, begins: int, ends: int, key: ec.EllipticCurvePrivateKey, *, responder: bool = False
    ) -> x509.Certificate:
        use = ExtendedKeyUsageOID.OCSP_SIGNING if responder else ExtendedKeyUsageOID.SERVER_AUTH
        return (
            x509.CertificateBuilder(self.name, x509.Name([]), key.public_key(), x509.random_serial_number())
            .not_valid_before(at(begins))
            .not_valid_after(at(ends))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )


class PaperCa:
    """Members may be changed before a look, and between two."""

    def __init__(self, directory: Path) -> None:
        self.now = int(time.time())
        self.directory = directory
        self.root = Authority("Paper Root", None, self.now, 3000)
        self.issuer = Authority("Paper Issuing CA", self.root, self.now)
        self.stranger = Authority("Paper Issuing CA", None, self.now)
        self.files: dict[str, Page] = {}
        self.issued: set[int] = set()
        self.revoked: dict[int, Revoked] = {}
        # CRL
        self.crl_number = 7
        self.crl_this, self.crl_next = self.now - HOUR, self.now + 7 * DAY - HOUR
        self.crl_signer = self.issuer
        self.crl_headers = {"Cache-Control": "public, max-age=300"}
        self.crl_leaves_out: set[int] = set()
        self.root_crl_next = self.now + 300 * DAY
        # OCSP
        self.ocsp_this, self.ocsp_next = self.now - HOUR, self.now + 4 * DAY - HOUR
        self.responder_ends = self.now + 14 * DAY
        self.ocsp_says: dict[int, str] = {}
        self.ocsp_get_says: dict[int, str] = {}
        self.ocsp_blind = False
        self.ocsp_mixes_up = False
        self.ocsp_signer: Authority | None = None
        self.ocsp_headers: dict[str, str] = {}
        # Manifest
        self.manifest_key = ec.generate_private_key(ec.SECP256R1())
        self.manifest_typ = "acme-server-repository-manifest+json"
        self.manifest_number = 100
        self.register: dict[str, Any] = {
            "revocation_version": 70,
            "audit": {"sequence": 900, "hash": "aa"},
        }
        self.manifest_this, self.manifest_next = self.now - HOUR, self.now + 2 * DAY
        self.listed: dict[str, set[int]] = {"issued": set(), "revoked": set()}
        self.bend: Callable[[dict[str, Any]], None] = lambda said: None
        self._crl: tuple[str, bytes] = "", b""
        self._root: tuple[int, bytes] = 0, b""
        # ACME
        self.nonces = [f"nonce-{number}" for number in range(1000)]
        self.sites: dict[str, asyncio.Server] = {}
        self._urls: dict[str, str] = {}

    async def start(self) -> PaperCa:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        for _ in range(3):
            self.listed["revoked"].add(self.revoke(self.issue()))
        self.listed["issued"] = set(self.issued)
        await self.site("valid", self.now - DAY, self.now + 60 * DAY)
        await self.site("revoked", self.now - DAY, self.now + 60 * DAY)
        await self.site("expired", self.now - 3 * DAY, self.now - 2 * DAY)
        return self

    async def stop(self) -> None:
        for each in self.sites.values():
            each.close()
        await self._runner.cleanup()

    def issue(self) -> int:
        serial = x509.random_serial_number()
        self.issued.add(serial)
        return serial

    def revoke(self, serial: int) -> int:
        self.revoked[serial] = Revoked(self.now - 2 * HOUR)
        return serial

    async def site(
        self, status: str, begins: int, ends: int, *, by: Authority | None = None, name: str = ""
    ) -> int:
        """(Re)place the site of `status`; its certificate's serial."""
        key = ec.generate_private_key(ec.SECP256R1())
        host = f"{status}-ec.test.localhost"
        leaf = (by or self.issuer).leaf(name or host, begins, ends, key)
        self.issued.add(leaf.serial_number)
        if status == "revoked":
            self.revoke(leaf.serial_number)
        file = self.directory / f"{status}.pem"
        file.write_bytes(tls.pem(leaf.public_bytes(Encoding.DER), key) + self.issuer.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        if status in self.sites:
            self.sites.pop(status).close()

        async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await reader.read()
            writer.close()

        server = await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=context)
        self.sites[status] = server
        self._urls[status] = f"https://{host}:{server.sockets[0].getsockname()[1]}/"
        return leaf.serial_number

    # What is published.

    def manifest(self) -> dict[str, Any]:
        """What the manifest says; a test may bend it by `bend`."""
        crl = self._kept_crl()
        said: dict[str, Any] = {
            "sequence": self.manifest_number,
            "this_update": iso(self.manifest_this),
            "next_update": iso(self.manifest_next),
            "trust_anchor": {
                "certificate": self._file("/trust-anchor.crt", self.root.der),
                "crls": [f"{self.url}/crl/root-0.crl"],
            },
            "issuers": [
                {
                    "id": "ec-1",
                    "certificate": self._file("/issuers/ec-1.crt", self.issuer.der),
                    "crls": [f"{self.url}/crl/ec-1-0.crl"],
                    "ocsp": f"{self.url}/ocsp",
                }
            ],
            "crls": [
                {**self._file("/crl/ec-1-0.crl", crl), "number": self.crl_number},
                {**self._file("/crl/root-0.crl", self._root_crl), "number": 1},
            ],
            "documents": [self._file("/cps/cp-cps-1.0.en.md", CPS)],
            "register": self.register,
            "days": {
                "history": self._file("/history.jsonl", b""),
                "open": {
                    "date": "2026-11-30",
                    **{
                        kind: {"list": self._file(f"/{kind}.jsonl", self._list(kind))}
                        for kind in ("issued", "revoked")
                    },
                },
            },
            "ocsp": f"{self.url}/ocsp",
            "terms": {"url": f"{self.url}/cps/"},
            "acme_directory": f"{self.url}/acme/directory",
            "test_sites": [
                {"status": status, "family": "ec", "url": url} for status, url in self._urls.items()
            ],
        }
        self.bend(said)
        return said

    def jws(self, payload: bytes) -> bytes:
        """As the vault signs it."""
        key = JWKEC(key=self.manifest_key)
        header = {"alg": "ES256", "typ": self.manifest_typ, "jwk": key.public_key().to_json()}
        protected, body = (_b64(each) for each in (json.dumps(header).encode(), payload))
        signature = _b64(ES256.sign(key.key, f"{protected}.{body}".encode()))
        return json.dumps(
            {"payload": body, "signatures": [{"protected": protected, "signature": signature}]}
        ).encode()

    def _file(self, path: str, octets: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(octets).hexdigest()
        return {"url": f"{self.url}{path}", "size": len(octets), "sha256": digest}

    def _list(self, kind: str) -> bytes:
        ends = iso(self.now + 60 * DAY)
        lines = [
            {"at": iso(self.now - 2 * HOUR), "issuer": "ec-1", "serial": f"{serial:x}"}
            | ({"not_after": ends} if kind == "issued" else {})
            for serial in self.listed[kind]
        ]
        return b"".join(json.dumps(each).encode() + b"\n" for each in lines)

    def _kept_crl(self) -> bytes:
        """The CRL, signed anew when anything of it changed."""
        state = repr((self.crl_number, self.crl_this, self.crl_next, id(self.crl_signer), self.revoked))
        state += repr(sorted(self.crl_leaves_out))
        if self._crl[0] != state:
            self._crl = state, self.crl()
        return self._crl[1]

    def crl(self, signer: Authority | None = None) -> bytes:
        signer = signer or self.crl_signer
        builder = (
            x509.CertificateRevocationListBuilder(self.issuer.name)
            .last_update(at(self.crl_this))
            .next_update(at(self.crl_next))
            .add_extension(x509.CRLNumber(self.crl_number), critical=False)
        )
        for serial, each in self.revoked.items():
            if serial not in self.crl_leaves_out:
                entry = x509.RevokedCertificateBuilder(serial, at(each.at))
                builder = builder.add_revoked_certificate(
                    entry.add_extension(x509.CRLReason(each.reason), critical=False).build()
                )
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)

    @property
    def _root_crl(self) -> bytes:
        if self._root[0] != self.root_crl_next:
            builder = x509.CertificateRevocationListBuilder(self.root.name)
            builder = builder.last_update(at(self.now - 30 * DAY)).next_update(at(self.root_crl_next))
            signed = builder.add_extension(x509.CRLNumber(1), critical=False).sign(
                self.root.key, hashes.SHA256()
            )
            self._root = self.root_crl_next, signed.public_bytes(Encoding.DER)
        return self._root[1]

    def _pages(self, path: str) -> Page | None:
        if path in self.files:
            return self.files[path]
        window = {"start": at(self.now + 20 * DAY).isoformat(), "end": at(self.now + 25 * DAY).isoformat()}
        if path.startswith("/acme/ari/"):
            serial = int.from_bytes(base64.urlsafe_b64decode(path.rpartition(".")[2] + "=="))
            if serial in self.revoked:
                window = {"start": at(self.now - 2 * DAY).isoformat(), "end": at(self.now - DAY).isoformat()}
            return _json({"suggestedWindow": window}, {"Retry-After": "21600"})
        if path == "/acme/nonce":
            return Page(b"", headers={"Replay-Nonce": self.nonces.pop(), "Cache-Control": "no-store"})
        payload = json.dumps(self.manifest()).encode()
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
        known = {
            "/": Page(b"<p>home</p>", "text/html"),
            "/cps/": Page(b"<p>cps</p>", "text/html"),
            "/history.jsonl": Page(b"", "application/jsonl"),
            "/manifest.json": Page(payload, "application/json"),
            "/manifest.jws": Page(self.jws(payload), "application/jose+json"),
            "/cps/cp-cps-1.0.en.md": Page(CPS),
            "/issued.jsonl": Page(self._list("issued")),
            "/revoked.jsonl": Page(self._list("revoked")),
            "/trust-anchor.crt": Page(self.root.der),
            "/issuers/ec-1.crt": Page(self.issuer.der),
            "/issuers/ec-1-chain.pem": Page(self.issuer.pem + self.root.pem),
            "/crl/ec-1-0.crl": Page(self._kept_crl(), headers=self.crl_headers),
            "/crl/root-0.crl": Page(self._root_crl, headers=self.crl_headers),
            "/acme/directory": _json(
                {name: f"{self.url}/acme/{name}" for name in names}
                | {"newNonce": f"{self.url}/acme/nonce", "renewalInfo": f"{self.url}/acme/ari"}
            ),
        }
        return known.get(path)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path
        if path.startswith("/ocsp") and "/ocsp" not in self.files:
            return self._ocsp(request.method, path, await request.read())
        page = self._pages("/ocsp" if path.startswith("/ocsp") else path)
        if page is None:
            raise web.HTTPNotFound
        if request.method not in ("GET", "HEAD") and page is not self.files.get("/ocsp"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"))
        await asyncio.sleep(page.wait)
        headers = {"Content-Type": page.content_type, **page.headers}
        return web.Response(body=page.octets, status=page.status, headers=headers)

    def _ocsp(self, method: str, path: str, body: bytes) -> web.Response:
        der = body if method == "POST" else base64.b64decode(unquote(path.removeprefix("/ocsp/")))
        asked = ocsp.load_der_ocsp_request(der)
        serial = asked.serial_number
        said = "revoked" if serial in self.revoked else "good" if serial in self.issued else ""
        if self.ocsp_blind:
            said = said or "good"
        said = self.ocsp_says.get(serial, said)
        if method == "GET":
            said = self.ocsp_get_says.get(serial, said)
        octets = self._signed(asked, serial, said)
        headers = {"Content-Type": "application/ocsp-response", "Cache-Control": "max-age=3600"}
        return web.Response(body=octets, headers=headers | self.ocsp_headers)

    def _signed(self, asked: ocsp.OCSPRequest, serial: int, said: str) -> bytes:
        if not said:
            status = ocsp.OCSPResponseStatus.UNAUTHORIZED
            return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
        signer = self.ocsp_signer or self.issuer
        key = ec.generate_private_key(ec.SECP256R1())
        responder = signer.leaf("ocsp", self.now - DAY, self.responder_ends, key, responder=True)
        revoked = self.revoked.get(serial, Revoked(self.now - HOUR)) if said == "revoked" else None
        answer = ocsp.OCSPResponseBuilder().add_response_by_hash(
            asked.issuer_name_hash,
            asked.issuer_key_hash,
            serial + self.ocsp_mixes_up,
            asked.hash_algorithm,
            ocsp.OCSPCertStatus[said.upper()],
            at(self.ocsp_this),
            at(self.ocsp_next),
            None if revoked is None else at(revoked.at),
            None if revoked is None else revoked.reason,
        )
        answer = answer.responder_id(ocsp.OCSPResponderEncoding.HASH, responder).certificates([responder])
        return answer.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _b64(octets: bytes) -> str:
    return b64.b64encode(octets).decode()


def _json(content: object, headers: dict[str, str] | None = None) -> Page:
    return Page(json.dumps(content).encode(), "application/json", headers=headers or {})


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
