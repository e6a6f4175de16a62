"""A perspective's own key: made at the set-up, read at the start.

The private key lies as encrypted PKCS#8; the passphrase is a file of its own, which an operator may keep on
another volume (`validation.key_passphrase_file`).  The public half is pinned in the vault at the ceremony.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core import private_files
from core.errors import ConfigurationError
from core.evidence import PerspectiveKey
from core.randomness import Randomness, token

KEY_FILE = "key.pem"
PASSPHRASE_FILE = "passphrase"
PUBLIC_FILE = "public.pem"
PASSPHRASE_OCTETS = 32


def generate_key(directory: Path, randomness: Randomness, passphrase_file: Path | None = None) -> bytes:
    """Makes the key of the perspective whose private directory is `directory`; returns its SPKI (DER).

    The passphrase is taken from `passphrase_file`, or drawn and left in the directory when that is None.
    Raises `ConfigurationError` when a key is already there: replacing it would orphan the pinned one.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_file = directory / KEY_FILE
    if key_file.exists():
        raise ConfigurationError(f"{key_file} exists: move it away to make a new perspective key")
    if passphrase_file is None and not (directory / PASSPHRASE_FILE).exists():
        private_files.write(directory / PASSPHRASE_FILE, token(randomness, PASSPHRASE_OCTETS).encode())
    # The key itself comes from OpenSSL's generator: a scalar drawn by hand would be own cryptography.
    private_key = ec.generate_private_key(ec.SECP256R1())
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(_passphrase(directory, passphrase_file)),
    )
    private_files.write(key_file, pem)
    return public_key_octets(private_key)


def load_key(directory: Path, passphrase_file: Path | None = None) -> PerspectiveKey:
    """The signing key in `directory`.  Raises `ConfigurationError` when it cannot be used."""
    return PerspectiveKey(load_private_key(directory, passphrase_file))


def load_private_key(directory: Path, passphrase_file: Path | None = None) -> ec.EllipticCurvePrivateKey:
    """The private key in `directory`.  Raises `ConfigurationError` when it cannot be used."""
    key_file = directory / KEY_FILE
    pem = private_files.read(
        key_file,
        f"acme-server perspective-key {directory.name} makes it, or the set-up on the CA's own machine",
    )
    try:
        private_key = serialization.load_pem_private_key(pem, _passphrase(directory, passphrase_file))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{key_file} does not open with its passphrase; restore the pair") from error
    if not isinstance(private_key, ec.EllipticCurvePrivateKey) or private_key.curve.name != "secp256r1":
        raise ConfigurationError(
            f"{key_file} is no P-256 key; move it away, and acme-server perspective-key {directory.name} "
            "makes one, to be pinned at a ceremony"
        )
    return private_key


def public_key_octets(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """The SubjectPublicKeyInfo in DER."""
    return private_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def read_public_key(path: Path) -> bytes:
    """The SubjectPublicKeyInfo in a PEM file.  Raises `ConfigurationError`."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{path} holds no public key ({error}): acme-server perspective-key"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ConfigurationError(f"{path} is no P-256 key: acme-server perspective-key prints the right one")
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _passphrase(directory: Path, passphrase_file: Path | None) -> bytes:
    path = passphrase_file or directory / PASSPHRASE_FILE
    passphrase = private_files.read(path, "name the file in validation.key_passphrase_file").strip()
    if not passphrase:
        raise ConfigurationError(f"{path} is empty: it must hold the passphrase of the perspective's key")
    return passphrase
