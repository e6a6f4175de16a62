"""A vault with software keys behind the same three methods, built by `cryptography`'s builders.

It shares no code with signer/vault, so what status makes of its answers is judged independently.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core import der
from core.errors import Refused, TransientError
from signer.api import (
    ActivationState,
    CrlBlocks,
    CrlRequest,
    Description,
    IssuerInfo,
    KeyUse,
    OcspList,
    OcspRequest,
    ResponderInfo,
    Signed,
    SignedCrl,
)
from signer.ocsp_batch import OcspOutcome

DAY = 86400
CREATED = 1_795_392_000 - DAY
HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


@cache
def keys(algorithm: str, name: str) -> Any:
    """A private key for `name`, the same within one run."""
    del name
    if algorithm == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Private CA"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def certificate(
    name: str,
    issuer: Pair | None,
    algorithm: str,
    not_after: int,
    serial: int,
    *,
    ca: bool,
    ocsp_signing: bool,
) -> Pair:
    """A CA, responder or leaf certificate."""
    key = keys(algorithm, name)
    signing = issuer or Pair(None, key)  # type: ignore[arg-type]
    issuer_name = _name(name) if issuer is None else issuer.certificate.subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(at(CREATED))
        .not_valid_after(at(not_after))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(
            x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.key.public_key()), critical=False
        )
    )
    if ocsp_signing:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False
        ).add_extension(x509.OCSPNoCheck(), critical=False)
    return Pair(builder.sign(signing.key, hashes.SHA256()), key)


class SoftwareVault:
    """`describe`, `sign_ocsp` and `sign_crl` as `signer.client.Vault` has them, and ways to disturb them."""

    def __init__(self, responder_not_after: int = CREATED + 30 * DAY) -> None:
        root = certificate("Example Root", None, "ec", CREATED + 3650 * DAY, 1, ca=True, ocsp_signing=False)
        self.root = root
        self.issuers: dict[str, Pair] = {}
        self.responders: dict[str, Pair] = {}
        self.uses: dict[str, KeyUse] = {}
        for number, (issuer_id, algorithm, use) in enumerate(
            [
                ("ec1", "ec", KeyUse.ISSUING),
                ("rsa1", "rsa", KeyUse.ISSUING),
                ("local1", "ec", KeyUse.LOCAL_SERVICE),
            ],
            2,
        ):
            until = CREATED + 1095 * DAY
            issuer = certificate(
                f"Example {issuer_id}", root, algorithm, until, number, ca=True, ocsp_signing=False
            )
            self.issuers[issuer_id] = issuer
            self.uses[issuer_id] = use
        self.renew_responders(responder_not_after)
        self.root_crl = self.make_root_crl(1)
        self.away = False
        self.locked = False
        self.shard_base: str | None = None
        """The repository's URL when CRLs are sharded: then each CRL names its own."""
        self.manifest_sequence = 0
        self.manifest_keys = ["manifest-1"]
        self.ocsp_requests: list[OcspRequest] = []
        self.ocsp_lists: list[OcspList] = []
        self.refuses: set[bytes] = set()
        self.crl_requests: list[CrlRequest] = []
        self.held: dict[bytes, bytes] = {}
        """Blocks of CRL entries by their SHA-256; cleared, it is a vault that was started anew."""
        self.gate: asyncio.Event | None = None
        """When set, a signer waits for it after the request arrived: the moment between read and write."""
        self.waiting = asyncio.Event()

    def renew_responders(self, not_after: int) -> None:
        for issuer_id, issuer in self.issuers.items():
            self.responders[issuer_id] = certificate(
                f"Responder {issuer_id}", issuer, "ec", not_after, 77, ca=False, ocsp_signing=True
            )

    def leaf(self, issuer_id: str, serial: bytes) -> bytes:
        """A leaf certificate, PEM."""
        made = certificate(
            f"leaf {serial.hex()}",
            self.issuers[issuer_id],
            "ec",
            CREATED + 90 * DAY,
            int.from_bytes(serial, "big"),
            ca=False,
            ocsp_signing=False,
        )
        return made.certificate.public_bytes(Encoding.PEM)

    async def describe(self) -> Description:
        if self.away:
            raise TransientError("the vault is away")
        return self.description()

    def description(self) -> Description:
        return Description(
            rules="private",
            root=self.root.der,
            issuers=tuple(self._info(issuer_id) for issuer_id in self.issuers),
            responders=tuple(
                ResponderInfo(issuer_id, each.der, int(each.certificate.not_valid_after_utc.timestamp()))
                for issuer_id, each in self.responders.items()
            ),
            perspectives=("local",),
            linter="none",
            journal_sequence=0,
            root_crl=self.root_crl,
        )

    async def activation(self) -> ActivationState:
        return ActivationState("token", self.locked, 2, 3, CREATED, b"")

    async def sign_ocsp(self, request: OcspRequest) -> Signed:
        self.ocsp_requests.append(request)
        await self._work()
        return Signed(self._response(request).public_bytes(Encoding.DER))

    def _response(self, request: OcspRequest) -> ocsp.OCSPResponse:
        responder = self.responders[request.issuer_id]
        info = self._info(request.issuer_id)
        revoked = request.revoked_at is not None
        return (
            ocsp.OCSPResponseBuilder()
            .add_response_by_hash(
                getattr(info, f"name_{request.hash_name}"),
                getattr(info, f"key_{request.hash_name}"),
                int.from_bytes(request.serial, "big"),
                HASHES[request.hash_name],
                ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
                at(request.this_update),
                at(request.next_update),
                at(request.revoked_at) if request.revoked_at is not None else None,
                reason(request.reason),
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
            .certificates([responder.certificate])
            .sign(responder.key, hashes.SHA256())
        )

    async def sign_ocsp_list(self, request: OcspList) -> Signed:
        """`cryptography` builds no more than one SingleResponse: single ones, taken apart and joined."""
        self.ocsp_lists.append(request)
        await self._work()
        singles = [self._response(each).tbs_response_bytes for each in request.statuses]
        responder = self.responders[request.statuses[0].issuer_id]
        parts = [list(der.elements(der.only(each, der.SEQUENCE).content)) for each in singles]
        data = der.sequence(
            *(each.encoding for each in parts[0][:-1]),
            der.sequence(*(each[-1].content for each in parts)),
        )
        signature = responder.key.sign(data, ec.ECDSA(hashes.SHA256()))
        basic = der.sequence(
            data,
            der.algorithm("1.2.840.10045.4.3.2"),
            der.bit_string(signature),
            der.explicit(0, der.sequence(responder.der)),
        )
        typed = der.sequence(der.oid("1.3.6.1.5.5.7.48.1.1"), der.octet_string(basic))
        return Signed(der.sequence(der.enumerated(0), der.explicit(0, typed)))

    async def sign_ocsp_batch(self, requests: Sequence[OcspRequest]) -> tuple[OcspOutcome, ...]:
        """One after another; `refuses` are the serial numbers that are refused."""
        return tuple(
            [
                OcspOutcome(b"", "ocsp.unassigned: a test")
                if request.serial in self.refuses
                else OcspOutcome((await self.sign_ocsp(request)).der)
                for request in requests
            ]
        )

    async def hold_crl_blocks(self, request: CrlBlocks) -> None:
        self.held |= {hashlib.sha256(block).digest(): block for block in request.blocks}

    async def sign_crl(self, request: CrlRequest) -> SignedCrl:
        self.crl_requests.append(request)
        await self._work()
        if set(request.blocks) - set(self.held):
            raise Refused("crl.block-unknown", "a block is not here")
        return self.parted(self.crl(request), request)

    def parted(self, content: bytes, request: CrlRequest) -> SignedCrl:
        """A CRL without the octets of the entries that were asked for, where it has them."""
        entries = b"".join(self.held[each] for each in request.blocks)
        if not entries or entries not in content:
            return SignedCrl(content, b"")
        before, _, after = content.partition(entries)
        return SignedCrl(before, after)

    def entries(self, request: CrlRequest) -> Iterator[x509.RevokedCertificate]:
        """Of the blocks that were asked for, as `cryptography` reads them."""
        octets = b"".join(self.held[each] for each in request.blocks)
        if octets:
            # In the frame of another CRL, whose signature nobody looks at.
            tbs, *end = der.elements(der.only(self.root_crl, der.SEQUENCE).content)
            *head, tail = (field.encoding for field in der.elements(tbs.content))
            listed = der.sequence(*head, der.sequence(octets), tail)
            yield from x509.load_der_x509_crl(der.sequence(listed, *(each.encoding for each in end)))

    async def sign_manifest(self, payload: bytes) -> bytes:
        """A JWS over it, by software keys; judged for nothing but its number."""
        await self._work()
        sequence = json.loads(payload)["sequence"]
        if sequence <= self.manifest_sequence:
            raise Refused("manifest.sequence", f"manifest {sequence} follows {self.manifest_sequence}")
        self.manifest_sequence = sequence
        return signed_manifest(payload, *(keys("ec", each) for each in self.manifest_keys))

    def crl(self, request: CrlRequest, issuer_id: str | None = None) -> bytes:
        """The CRL asked for, signed by `issuer_id` or the issuer of the request."""
        issuer = self.issuers[issuer_id or request.issuer_id]
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(at(request.this_update))
            .next_update(at(request.next_update))
            .add_extension(x509.CRLNumber(request.number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
            )
        )
        if self.shard_base is not None:
            url = f"{self.shard_base}/crl/{request.issuer_id}-{request.shard}.crl"
            point = x509.IssuingDistributionPoint(
                [x509.UniformResourceIdentifier(url)], None, False, False, None, False, False
            )
            builder = builder.add_extension(point, critical=True)
        for entry in self.entries(request):
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def make_root_crl(self, number: int, revoked: int | None = None) -> bytes:
        """The root's CRL, empty but for the serial number `revoked`."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.root.certificate.subject)
            .last_update(at(CREATED))
            .next_update(at(CREATED + 180 * DAY))
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        if revoked is not None:
            entry = x509.RevokedCertificateBuilder().serial_number(revoked).revocation_date(at(CREATED))
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.ca_compromise), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.root.key, hashes.SHA256()).public_bytes(Encoding.DER)

    async def _work(self) -> None:
        if self.away:
            raise TransientError("the vault is away")
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()

    def _info(self, issuer_id: str) -> IssuerInfo:
        issuer = self.issuers[issuer_id]
        name = issuer.certificate.subject.public_bytes()
        spki = issuer.key.public_key()
        if isinstance(spki, rsa.RSAPublicKey):
            bits = spki.public_bytes(Encoding.DER, PublicFormat.PKCS1)
        else:
            bits = spki.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return IssuerInfo(
            id=issuer_id,
            use=self.uses[issuer_id],
            algorithm="rsa-2048" if isinstance(spki, rsa.RSAPublicKey) else "ec-p256",
            certificate=issuer.der,
            chain=(issuer.der, self.root.der),
            name_sha1=hashlib.sha1(name).digest(),
            key_sha1=hashlib.sha1(bits).digest(),
            name_sha256=hashlib.sha256(name).digest(),
            key_sha256=hashlib.sha256(bits).digest(),
        )


def signed_manifest(payload: bytes, *by: Any, typ: str = "acme-server-repository-manifest+json") -> bytes:
    """A JWS in general JSON serialization, each key in the header of its signature."""

    def base64(octets: bytes) -> str:
        return urlsafe_b64encode(octets).rstrip(b"=").decode()

    def signature(key: Any) -> dict[str, str]:
        numbers = key.public_key().public_numbers()
        x, y = (base64(each.to_bytes(32)) for each in (numbers.x, numbers.y))
        jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        header = base64(json.dumps({"alg": "ES256", "typ": typ, "jwk": jwk}).encode())
        signed = f"{header}.{base64(payload)}".encode()
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return {"protected": header, "signature": base64(r.to_bytes(32) + s.to_bytes(32))}

    return json.dumps({"payload": base64(payload), "signatures": [signature(key) for key in by]}).encode()


def reason(code: int | None) -> x509.ReasonFlags | None:
    """The RFC 5280 section 5.3.1 reason; None when absent."""
    table = {
        1: x509.ReasonFlags.key_compromise,
        3: x509.ReasonFlags.affiliation_changed,
        4: x509.ReasonFlags.superseded,
        5: x509.ReasonFlags.cessation_of_operation,
        9: x509.ReasonFlags.privilege_withdrawn,
    }
    return table.get(code or 0)
