"""The mutual TLS between coordinator and perspectives: TLS 1.3 under a private root, renewed while it runs.

An identity is a directory: `identity.pem` (encrypted key, certificate), `passphrase`, `root.pem`.  The name
in the other end's certificate is who it is: a perspective is CODE.zone, the coordinator coordinator.zone, and
the root signs for nobody else (operations/mpic_pki.py makes all of it).

Must never: take an older TLS, resume a session of an earlier certificate, or ask the system's trust store.

BR 3.2.2.9; RFC 8446; RFC 6125.
"""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from core import private_files
from core.errors import ConfigurationError

IDENTITY, ROOT, PASSPHRASE = "identity.pem", "root.pem", "passphrase"
COORDINATOR = "coordinator"

DAY = 86400
RENEWAL = 10 * DAY
"""Before its end a certificate is warned of: a third of the 30 days that it lives at most."""

REMEDY = (
    "acme-server mpic request, certificate and install make it (docs/operations.md, Perspectives elsewhere)"
)

_log = logging.getLogger(__name__)


def host_name(code: str, zone: str) -> str:
    """The name in the certificate of perspective `code`, or of the coordinator."""
    return f"{code}.{zone}"


class Identity:
    """One end's certificate and whom it trusts, as an SSL context for handshakes to come.

    `ends` is the certificate's notAfter in POSIX seconds, `names` its DNS names.
    """

    def __init__(self, directory: Path, *, server: bool) -> None:
        """Raises `ConfigurationError` when the identity cannot be used."""
        self._directory = directory
        self.ends = 0
        self.names: frozenset[str] = frozenset()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.verify_mode = ssl.CERT_REQUIRED
        if server:
            # A resumed session would outlive the client's certificate.
            self.context.num_tickets = 0
        self._files = self._state()
        self._load()

    def refresh(self) -> bool:
        """Take renewed files, if there are any; whether there were.

        Files that cannot be used are reported and the old ones stay in use.  A root that is gone is trusted
        until the process ends.
        """
        try:
            found = self._state()
            if found == self._files:
                return False
            self._files = found
            self._load()
        except ConfigurationError as error:
            _log.error("the renewed identity of the MPIC channel is not taken: %s", error)
            return False
        _log.info("a new identity of the MPIC channel is in use (%s)", ", ".join(sorted(self.names)))
        return True

    def must_name(self, name: str) -> None:
        """Raises `ConfigurationError` when the certificate is somebody else's."""
        if name not in self.names:
            raise ConfigurationError(
                f"{self._directory / IDENTITY} is for {', '.join(sorted(self.names)) or 'nobody'}, not for "
                f"{name}; see mpic.zone, or {REMEDY}"
            )

    def warning(self, now: int) -> str:
        """What is to be said about the certificate's end at `now` (POSIX seconds); "" while it is far."""
        left = self.ends - now
        if left > RENEWAL:
            return ""
        when = f"ends in {left // DAY} days" if left > 0 else "HAS ENDED"
        return f"the certificate {self._directory / IDENTITY} {when}: renew it ({REMEDY})"

    def _state(self) -> tuple[tuple[int, int], ...]:
        try:
            found = [(self._directory / name).stat() for name in (IDENTITY, ROOT, PASSPHRASE)]
        except OSError as error:
            raise ConfigurationError(
                f"no identity for the MPIC channel: {error.filename}: {error.strerror}; {REMEDY}"
            ) from error
        return tuple((each.st_ino, each.st_mtime_ns) for each in found)

    def _load(self) -> None:
        passphrase = private_files.read(self._directory / PASSPHRASE, REMEDY).strip()
        path = self._directory / IDENTITY
        pem = private_files.read(path, REMEDY)
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
            assert isinstance(names, x509.SubjectAlternativeName)
            self.context.load_cert_chain(os.fspath(path), password=passphrase)
            self.context.load_verify_locations(os.fspath(self._directory / ROOT))
        except (ValueError, ssl.SSLError, x509.ExtensionNotFound) as error:
            raise ConfigurationError(f"{path} or its root cannot be used ({error}); {REMEDY}") from error
        self.names = frozenset(names.get_values_for_type(x509.DNSName))
        self.ends = int(certificate.not_valid_after_utc.timestamp())
