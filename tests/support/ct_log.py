"""Certificate Transparency logs that speak the real protocols over HTTP, with faults to be switched on.

They share no code with signer/ct: asn1crypto takes certificates apart here, `struct` writes what is signed.
An RFC 6962 log has all of section 4 but proofs of consistency, a tiled one (static-ct-api) the submissions.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiohttp import web
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import SystemClock
from core.settings import Ct, CtMode

POISON = "1.3.6.1.4.1.11129.2.4.3"
SCT_LIST = "1.3.6.1.4.1.11129.2.4.2"


class Fault(StrEnum):
    """What a log does instead of its duty."""

    SLOW = "never answers"
    DEEP = "nests without end"
    WRONG_SIGNATURE = "signs over something else"
    FUTURE = "a timestamp of tomorrow"
    PAST = "a timestamp of yesterday"
    BUSY = "429 with Retry-After"
    GARBAGE = "no JSON"
    CLOSES = "closes the connection"
    ANOTHER = "an SCT for another certificate"
    WRONG_ID = "another log's id"
    WRONG_VERSION = "version 2"
    HUGE = "an endless answer"
    REDIRECT = "sends elsewhere"
    NO_LEAF_INDEX = "no index in the extensions"


RETRY_AFTER = 30
ADD_FAULTS = [fault for fault in Fault if fault is not Fault.NO_LEAF_INDEX]


@dataclass
class CtLog:
    """One log.  `roots` are DER, any chain is taken without; `now` gives POSIX seconds."""

    name: str
    operator: str
    tiled: bool = False
    rsa: bool = False
    interval: tuple[int, int] | None = None
    state: str = "usable"
    since: int = 0
    fault: Fault | None = None
    roots: tuple[bytes, ...] = ()
    now: Callable[[], int] = field(default_factory=lambda: SystemClock().now)
    url: str = ""
    entries: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = _key(self.name, self.rsa)
        self.spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.id = hashlib.sha256(self.spki).digest()
        self._answers: dict[bytes, dict[str, Any]] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> CtLog:
        """Listen on a port of loopback."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/log/ct/v1/add-pre-chain", self._add_pre_chain),
                web.post("/log/ct/v1/add-chain", self._add_chain),
            ]
        )
        if not self.tiled:
            app.add_routes(
                [
                    web.get("/log/ct/v1/get-sth", self._get_sth),
                    web.get("/log/ct/v1/get-entries", self._get_entries),
                    web.get("/log/ct/v1/get-proof-by-hash", self._get_proof),
                    web.get("/log/ct/v1/get-roots", self._get_roots),
                ]
            )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/log"
        return self

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    def as_listed(self) -> dict[str, Any]:
        """Its entry in a log list."""
        entry: dict[str, Any] = {
            "description": self.name,
            "log_id": base64.b64encode(self.id).decode(),
            "key": base64.b64encode(self.spki).decode(),
            "mmd": 86400,
            "state": {self.state: {"timestamp": _date(self.since)}},
        }
        if self.tiled:
            entry |= {"submission_url": f"{self.url}/", "monitoring_url": f"{self.url}/monitor/"}
        else:
            entry |= {"url": f"{self.url}/"}
        if self.interval is not None:
            first, end = self.interval
            entry["temporal_interval"] = {"start_inclusive": _date(first), "end_exclusive": _date(end)}
        return entry

    def sct(self, chain: Sequence[bytes]) -> bytes:
        """The encoded SCT for a precertificate, as if it had been submitted with its chain."""
        answer = self._answer(*self._entry(chain, precertificate=True))
        octets = {name: base64.b64decode(answer[name]) for name in ("id", "extensions", "signature")}
        head = struct.pack(">B32sQH", 0, octets["id"], answer["timestamp"], len(octets["extensions"]))
        return head + octets["extensions"] + octets["signature"]

    async def _add_pre_chain(self, request: web.Request) -> web.StreamResponse:
        return await self._add(request, "add-pre-chain")

    async def _add_chain(self, request: web.Request) -> web.StreamResponse:
        return await self._add(request, "add-chain")

    async def _add(self, request: web.Request, word: str) -> web.StreamResponse:
        self.asked.append(word)
        try:
            chain = [base64.b64decode(each, validate=True) for each in (await request.json())["chain"]]
            entry_type, entry = self._entry(chain, precertificate=word == "add-pre-chain")
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        match self.fault:
            case Fault.SLOW:
                await asyncio.sleep(3600)
            case Fault.DEEP:
                return web.Response(body=b'{"x":' + b"[" * 20_000)
            case Fault.BUSY:
                return web.Response(status=429, headers={"Retry-After": str(RETRY_AFTER)})
            case Fault.GARBAGE:
                return web.Response(body=b"\x00<html>")
            case Fault.REDIRECT:
                return web.Response(status=307, headers={"Location": str(request.url)})
            case Fault.HUGE:
                return web.Response(body=b'{"id":"' + b"A" * (1 << 20))
            case Fault.CLOSES:
                assert request.transport is not None
                request.transport.close()
                return web.Response()
        return web.json_response(self._answer(entry_type, entry))

    def _entry(self, chain: Sequence[bytes], *, precertificate: bool) -> tuple[int, bytes]:
        """What is signed; ValueError when this log does not take it (RFC 6962 section 4.1)."""
        certificates = [x509.load_der_x509_certificate(each) for each in chain]
        for child, parent in pairwise(certificates):
            child.verify_directly_issued_by(parent)
        if self.roots and not any(self._ends_in(certificates[-1], root) for root in self.roots):
            raise ValueError("the chain ends in no root that this log accepts")
        not_after = int(certificates[0].not_valid_after_utc.timestamp())
        if self.interval is not None and not self.interval[0] <= not_after < self.interval[1]:
            raise ValueError("this shard takes other years")
        tbs = asn1.Certificate.load(chain[0])["tbs_certificate"]
        kept = [each for each in tbs["extensions"] if each["extn_id"].dotted != POISON]
        if precertificate is (len(kept) == len(tbs["extensions"])):
            raise ValueError("a precertificate goes to add-pre-chain, and nothing else does")
        if not precertificate:
            return 0, len(chain[0]).to_bytes(3) + chain[0]
        tbs["extensions"] = kept
        octets = tbs.dump(force=True)
        spki = certificates[1].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return 1, hashlib.sha256(spki).digest() + len(octets).to_bytes(3) + octets

    def _ends_in(self, last: x509.Certificate, root: bytes) -> bool:
        if last.public_bytes(Encoding.DER) == root:
            return True
        try:
            last.verify_directly_issued_by(x509.load_der_x509_certificate(root))
        except Exception:
            return False
        return True

    def _answer(self, entry_type: int, entry: bytes) -> dict[str, Any]:
        """The SCT; the same for what was submitted before (section 3)."""
        name = hashlib.sha256(entry).digest()
        if self.fault is None and name in self._answers:
            return self._answers[name]
        shift = {Fault.FUTURE: 86400, Fault.PAST: -86400}.get(self.fault, 0) if self.fault else 0
        timestamp = (self.now() + shift) * 1000 + 7
        extensions = b""
        if self.tiled and self.fault is not Fault.NO_LEAF_INDEX:
            extensions = b"\x00" + struct.pack(">H", 5) + len(self.entries).to_bytes(5)
        signed = entry
        if self.fault is Fault.WRONG_SIGNATURE:
            signed = entry[:-1] + bytes([entry[-1] ^ 1])
        if self.fault is Fault.ANOTHER:
            signed = bytes(32) + (2).to_bytes(3) + b"\x30\x00"
        head = struct.pack(">BBQH", 0, 0, timestamp, entry_type)
        octets = head + signed + struct.pack(">H", len(extensions)) + extensions
        answer = {
            "sct_version": 1 if self.fault is Fault.WRONG_VERSION else 0,
            "id": base64.b64encode(bytes(32) if self.fault is Fault.WRONG_ID else self.id).decode(),
            "timestamp": timestamp,
            "extensions": base64.b64encode(extensions).decode(),
            "signature": base64.b64encode(self._signed(octets)).decode(),
        }
        if self.fault is None:
            self._answers[name] = answer
            self.entries.append(b"\x00\x00" + octets[2:])  # MerkleTreeLeaf, section 3.4
        return answer

    def _signed(self, octets: bytes) -> bytes:
        """DigitallySigned of RFC 5246 section 4.7: SHA-256 with RSA or ECDSA."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            signature = self.key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
            return b"\x04\x01" + struct.pack(">H", len(signature)) + signature
        signature = self.key.sign(octets, ec.ECDSA(hashes.SHA256()))
        return b"\x04\x03" + struct.pack(">H", len(signature)) + signature

    async def _get_sth(self, request: web.Request) -> web.Response:
        timestamp, root = self.now() * 1000, tree_head(self.entries)
        signed = struct.pack(">BBQQ", 0, 1, timestamp, len(self.entries)) + root
        return web.json_response(
            {
                "tree_size": len(self.entries),
                "timestamp": timestamp,
                "sha256_root_hash": base64.b64encode(root).decode(),
                "tree_head_signature": base64.b64encode(self._signed(signed)).decode(),
            }
        )

    async def _get_entries(self, request: web.Request) -> web.Response:
        start, end = int(request.query["start"]), int(request.query["end"])
        found = self.entries[start : end + 1]
        return web.json_response({"entries": [{"leaf_input": base64.b64encode(e).decode()} for e in found]})

    async def _get_proof(self, request: web.Request) -> web.Response:
        wanted = base64.b64decode(request.query["hash"])
        leaves = self.entries[: int(request.query["tree_size"])]
        index = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves].index(wanted)
        path = [base64.b64encode(each).decode() for each in audit_path(index, leaves)]
        return web.json_response({"leaf_index": index, "audit_path": path})

    async def _get_roots(self, request: web.Request) -> web.Response:
        return web.json_response({"certificates": [base64.b64encode(each).decode() for each in self.roots]})


def tree_head(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_head(leaves[:split]) + tree_head(leaves[split:])).digest()


def audit_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    if len(leaves) <= 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*audit_path(index, leaves[:split]), tree_head(leaves[split:])]
    return [*audit_path(index - split, leaves[split:]), tree_head(leaves[:split])]


def log_list(logs: Iterable[CtLog], at: int) -> bytes:
    """The list of these logs, version 3, dated `at`."""
    operators: dict[str, dict[str, Any]] = {}
    for log in logs:
        operator = operators.setdefault(
            log.operator,
            {"name": log.operator, "email": ["logs@example.com"], "logs": [], "tiled_logs": []},
        )
        operator["tiled_logs" if log.tiled else "logs"].append(log.as_listed())
    return json.dumps(
        {
            "version": "62.1",
            "log_list_timestamp": _date(at),
            "operators": [*operators.values()],
        }
    ).encode()


LIST_KEY = rsa.generate_private_key(65537, 2048)
"""Signs log lists, as Chrome's key does."""


@functools.cache
def _key(name: str, rsa_key: bool) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    """A log keeps its key from test to test: one of RSA takes a third of a second to make."""
    return rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())


def write_list(directory: Path, logs: Iterable[CtLog], at: int, **settings: object) -> Ct:
    """List, signature and key as files in `directory`; the settings that name them."""
    octets = log_list(logs, at)
    signature = LIST_KEY.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    public = LIST_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    paths = [directory / name for name in ("log_list.json", "log_list.sig", "log_list_key.pem")]
    for path, content in zip(paths, (octets, signature, public), strict=True):
        path.write_bytes(content)
    values: dict[str, object] = {
        "mode": CtMode.ON,
        "log_list": str(paths[0]),
        "log_list_signature": str(paths[1]),
        "log_list_key": str(paths[2]),
    }
    return Ct(**(values | settings))  # type: ignore[arg-type]


def three() -> list[CtLog]:
    """Three logs of three operators: RFC 6962 with ECDSA and with RSA, and a tiled one."""
    return [
        CtLog("Acorn 2026", "Acorn"),
        CtLog("Birch 2026", "Birch", rsa=True),
        CtLog("Cedar 2026", "Cedar", tiled=True),
    ]


class RunningLogs:
    """Logs in a thread of their own, for the tests of whole processes; a context manager."""

    def __init__(self, directory: Path, logs: Sequence[CtLog] | None = None) -> None:
        self.logs = [*(logs or three())]
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> RunningLogs:
        self._thread.start()
        for log in self.logs:
            asyncio.run_coroutine_threadsafe(log.start(), self._loop).result(10)
        self._directory.mkdir(parents=True, exist_ok=True)
        self.settings = write_list(self._directory, self.logs, SystemClock().now())
        return self

    def __exit__(self, *_: object) -> None:
        for log in self.logs:
            asyncio.run_coroutine_threadsafe(log.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def overrides(self) -> dict[str, Any]:
        """For `--set`."""
        ct = self.settings
        return {
            "ct.mode": "on",
            "ct.log_list": ct.log_list,
            "ct.log_list_signature": ct.log_list_signature,
            "ct.log_list_key": ct.log_list_key,
        }


def _date(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
