"""`acme-server keys`: which keys are never certified, and why one would be refused.

`check` judges a file as finalize and the vault would; `block` tells the running CA that a key is proven
compromised; `list-blocked` shows what it was told.  A private key that is shown as proof stays here: only the
hash of its public half leaves this process.

Must never: send or print a private key.

BR 4.9.12, 6.1.1.3, 6.1.5, 6.1.6.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from core import blocked_keys, public_keys
from core.blocklist import Blocklist
from core.data_directory import DataDirectory
from core.database import Reader, Rows
from core.errors import ConfigurationError, Refused
from core.public_keys import WeakKey
from core.settings import Settings

PROOF = "Proof of Key Compromise"
"""What the common name of a CSR begins with by which somebody shows that he has the key (BR 4.9.12)."""


@dataclass(frozen=True, slots=True)
class Found:
    """A public key in a file; `what` says what the file was, `proof` why it shows that the key is known."""

    what: str
    spki: bytes
    proof: str = ""

    @property
    def spki_sha256(self) -> bytes:
        return hashlib.sha256(self.spki).digest()


def read(path: Path) -> Found:
    """The key in a certificate, CSR, public or private key, PEM or DER.  Raises `ConfigurationError`."""
    octets = path.read_bytes()
    for what, load in _READERS.items():
        try:
            return load(what, octets)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    raise ConfigurationError(
        f"{path} holds no certificate, CSR, public key or unencrypted private key that can be read"
    )


def check(found: Found, settings: Settings, data: DataDirectory) -> list[str]:
    """Why the key would be refused; empty when it would be certified.

    Asks the register of the CA in `data` when there is one; the vault knows its own keys besides.
    """
    faults = []
    try:
        public_keys.check(found.spki, thoroughly=True)
    except WeakKey as weak:
        faults.append(str(weak))
    blocklist = Blocklist(settings.ca.blocklist)
    try:
        if blocklist.holds(found.spki):
            faults.append(f"it is on the list {settings.ca.blocklist}")
    except ValueError:
        pass  # of a kind that is refused anyway
    finally:
        blocklist.close()
    if data.database.exists():
        reader = Reader(data.database)
        try:
            faults += _known(reader, found.spki_sha256)
        finally:
            reader.close()
    return faults


def to_block(
    spki: str, certificate: Path | None, key_file: Path | None, proof: Path | None, reason: str
) -> tuple[bytes, str]:
    """The hash of the key to be blocked, and the cause for the record.

    Exactly one of the four names the key.  `proof` is a CSR signed with it whose common name says so.
    Raises `ConfigurationError`, and `Refused` for a proof that proves nothing.
    """
    if sum(map(bool, (spki, certificate, key_file, proof))) != 1:
        raise ConfigurationError("name the key by one of --spki, --certificate, --key-file and --proof")
    if spki:
        if not re.fullmatch("[0-9a-fA-F]{64}", spki.replace(":", "")):
            raise ConfigurationError("--spki: write the 64 hexadecimal digits of its SHA-256")
        return bytes.fromhex(spki.replace(":", "")), reason
    path = certificate or key_file or proof
    assert path is not None
    found = read(path)
    if proof is not None and found.proof != PROOF:
        raise Refused(
            "key.proof",
            f"{proof} proves nothing: it must be a CSR, signed with the key, whose common name begins with "
            f"{PROOF!r}",
        )
    shown = f" (shown: {found.proof or found.what})"
    return found.spki_sha256, reason + shown


def blocked(data: DataDirectory) -> list[tuple[bytes, str, int]]:
    """(hash, reason, POSIX seconds) of every blocked key.  Raises `ConfigurationError`."""
    if not data.database.exists():
        raise ConfigurationError(f"--data: {data.root} holds no CA yet; `run` makes one")
    reader = Reader(data.database)
    try:
        return blocked_keys.all_blocked(reader)
    finally:
        reader.close()


def _known(reader: Rows, spki_sha256: bytes) -> list[str]:
    row = reader.one("SELECT reason FROM blocked_keys WHERE spki_sha256 = ?", (spki_sha256,))
    faults = [] if row is None else [f"it is blocked for ever: {row['reason']}"]
    if reader.one("SELECT 1 FROM account_keys WHERE spki_sha256 = ? LIMIT 1", (spki_sha256,)):
        faults.append("it is, or was, an account's key (RFC 8555 section 11.1)")
    return faults


def _public(key: object) -> bytes:
    octets: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return octets


def _certificate(what: str, octets: bytes) -> Found:
    pem = b"-----BEGIN" in octets
    found = x509.load_pem_x509_certificate(octets) if pem else x509.load_der_x509_certificate(octets)
    return Found(what, _public(found.public_key()))


def _request(what: str, octets: bytes) -> Found:
    found = x509.load_pem_x509_csr(octets) if b"-----BEGIN" in octets else x509.load_der_x509_csr(octets)
    if not found.is_signature_valid:
        raise ValueError("its signature does not verify")
    names = [str(each.value) for each in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    proof = PROOF if any(name.startswith(PROOF) for name in names) else ""
    return Found(what, _public(found.public_key()), proof)


def _public_key(what: str, octets: bytes) -> Found:
    load = serialization.load_pem_public_key if b"-----BEGIN" in octets else serialization.load_der_public_key
    return Found(what, _public(load(octets)))


def _private_key(what: str, octets: bytes) -> Found:
    pem = b"-----BEGIN" in octets
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    return Found(what, _public(load(octets, None).public_key()), "the private key")


_READERS = {
    "certificate": _certificate,
    "CSR": _request,
    "public key": _public_key,
    "private key": _private_key,
}
