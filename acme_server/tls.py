"""TLS of the directory (CPS 6.1.3): TLS 1.2 or newer, a key that lives in memory only, renewed in time.

The certificate comes from the local-service issuer under the trust anchor, never from a subscriber profile;
the vault takes names and validity from its own settings.

Must never: leave the key on disk in the clear.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import Clock
from core.errors import CaError
from core.randomness import Randomness, token
from signer import serials
from signer.api import Issued

RETRY = 300
"""Seconds until a renewal that failed is tried again; it begins with a third of the lifetime left."""

_log = logging.getLogger(__name__)


class LocalService(Protocol):
    """What this room needs of signer.client.Vault."""

    async def local_service(self, serial: bytes, public_key: bytes) -> Issued:
        """A TLS certificate for our own directory."""


class DirectoryTls:
    """The `context` that the listeners use; a renewal changes it in place for the handshakes to come."""

    def __init__(
        self, vault: LocalService, issuer_chain: bytes, clock: Clock, randomness: Randomness
    ) -> None:
        """`issuer_chain` is PEM: the local-service issuer's certificate, without the root."""
        self._vault = vault
        self._issuer_chain = issuer_chain
        self._clock = clock
        self._randomness = randomness
        self._renew_at = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self.context.set_alpn_protocols(["http/1.1"])

    async def renew(self) -> None:
        """A new key and certificate, from now on."""
        key = ec.generate_private_key(ec.SECP256R1())
        public_key = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        issued = await self._vault.local_service(serials.draw(self._randomness), public_key)
        certificate = x509.load_der_x509_certificate(issued.certificate)
        self._load(key, certificate)
        begins, ends = (
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
        )
        self._renew_at = begins + (ends - begins) * 2 // 3

    async def keep_renewed(self) -> None:
        """Renew for ever; runs as a task."""
        while True:
            try:
                # The clock is asked in here, too: one that stepped back must not end the whole process.
                await asyncio.sleep(max(self._renew_at - self._clock.now(), 0))
                await self.renew()
            except CaError as error:
                _log.error("the directory's TLS certificate could not be renewed: %s", error)
                await asyncio.sleep(RETRY)

    def _load(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        """ssl reads keys from files only: an encrypted one, whose password dies with this call."""
        password = token(self._randomness, 32)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()),
        )
        chain = certificate.public_bytes(serialization.Encoding.PEM) + self._issuer_chain
        with tempfile.TemporaryDirectory(prefix="acme-server-tls-") as directory:
            path = Path(directory) / "identity.pem"
            path.write_bytes(pem + chain)
            self.context.load_cert_chain(path, password=password)
