"""TLS of the directory (CPS 6.1.3): TLS 1.2 or newer, a key of its own, renewed in time.

The certificate comes from the local-service issuer under the trust anchor, never from a subscriber profile;
the vault takes names and validity from its own settings.

Must never: leave the key on disk in the clear.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import Clock
from core.errors import CaError, HaltIssuance, TransientError
from core.randomness import Randomness, token
from signer import serials
from signer.api import Issued

RETRY = 300
"""Seconds until a renewal that failed is tried again; it begins with a third of the lifetime left."""

_IDENTITY, _PASSWORD = "identity.pem", "password"

_log = logging.getLogger(__name__)


class LocalService(Protocol):
    """What this room needs of signer.client.Vault."""

    async def local_service(self, serial: bytes, public_key: bytes) -> Issued:
        """A TLS certificate for our own directory."""


class DirectoryTls:
    """The `context` that the listeners use; a renewal changes it in place for the handshakes to come.

    Key and certificate outlast a restart in `directory`, so that the front is there when the vault is locked:
    subscribers revoke through it.
    """

    def __init__(
        self,
        vault: LocalService,
        chain_of: Callable[[bytes], bytes],
        directory: Path,
        names: Sequence[str],
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        """`chain_of` gives a certificate's chain in PEM, without the root: its issuer may be a new one."""
        self._vault = vault
        self._chain_of = chain_of
        self._directory = directory
        self._names = frozenset(names)
        self._clock = clock
        self._randomness = randomness
        self._renew_at = 0
        self._due = asyncio.Event()
        self.usable = asyncio.Event()
        """Set when there is a certificate to serve with."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self.context.set_alpn_protocols(["http/1.1"])

    async def start(self) -> None:
        """Take the certificate of the last run, or get one.

        While the vault is away there may be none; `usable` is set when there is.  Raises `CaError` for a
        fault that will not pass by itself.
        """
        if self._kept():
            return
        try:
            await self.renew()
        except (TransientError, HaltIssuance) as error:
            _log.critical("the directory is not served until the vault gives it a TLS certificate: %s", error)

    async def renew(self) -> None:
        """A new key and certificate, from now on."""
        key = ec.generate_private_key(ec.SECP256R1())
        public_key = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        issued = await self._vault.local_service(serials.draw(self._randomness), public_key)
        certificate = x509.load_der_x509_certificate(issued.certificate)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(self._password().encode()),
        )
        chain = certificate.public_bytes(serialization.Encoding.PEM) + self._chain_of(issued.certificate)
        _write(self._directory / _IDENTITY, pem + chain)
        self._use(certificate)

    def renew_if_due(self) -> None:
        """Try again now what failed before: the vault is there again."""
        self._due.set()

    async def keep_renewed(self) -> None:
        """Renew for ever; runs as a task."""
        while True:
            try:
                # The clock is asked in here, too: one that stepped back must not end the whole process.
                await self._pause(self._renew_at - self._clock.now())
                if self._clock.now() >= self._renew_at:
                    await self.renew()
            except CaError as error:
                _log.error("the directory's TLS certificate could not be renewed: %s", error)
                await self._pause(RETRY)

    async def _pause(self, seconds: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._due.wait()
        self._due.clear()

    def _kept(self) -> bool:
        """Use what the last run left, if it is for the names of today's settings."""
        try:
            certificate = x509.load_pem_x509_certificate((self._directory / _IDENTITY).read_bytes())
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            if not self._names <= {str(name.value) for name in found}:
                return False
            self._use(certificate)
        except (OSError, ValueError, x509.ExtensionNotFound):
            return False
        return True

    def _use(self, certificate: x509.Certificate) -> None:
        self.context.load_cert_chain(self._directory / _IDENTITY, password=self._password())
        begins, ends = (
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
        )
        self._renew_at = begins + (ends - begins) * 2 // 3
        self.usable.set()

    def _password(self) -> str:
        """Of the key's file, in a file beside it: what copies one of the two has nothing."""
        path = self._directory / _PASSWORD
        if not path.exists():
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(path, token(self._randomness, 32).encode())
        return path.read_text()


def _write(path: Path, content: bytes) -> None:
    """Durably and at once, for the owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_suffix(".new")
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    aside.rename(path)
