"""The one secret from which the MAC keys of external accounts are derived: HKDF-SHA256 over it and the kid.

So no key is stored, and whoever reads the database can bind no account.  Links to the terms' page are made
with it, too (handlers/terms.py).

Must never: show a secret in a repr, or draw a new one in place of one that was lost.

RFC 8555 section 7.3.4; RFC 5869; RFC 7518 section 3.2.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core import private_files
from core.errors import ConfigurationError
from core.randomness import Randomness, token

FILE = "secret"
"""In the app's private directory."""

LEAST = 32
"""Octets of the secret: as strong as the strongest MAC that we need."""

KEY_OCTETS = 64
"""Of a derived key: RFC 7518 section 3.2 asks for as many as the hash has, and HS512 has 64."""

_KEY, _FINGERPRINT = b"acme external account key: ", b"acme external account fingerprint"


class BindingSecret:
    """Derives keys.  `fingerprint` tells two secrets apart and reveals neither."""

    def __init__(self, secret: bytes) -> None:
        """Raises `ConfigurationError` when it is too short to be one."""
        if len(secret) < LEAST:
            raise ConfigurationError(
                f"the secret of acme.binding_secret_file has {len(secret)} octets: {LEAST} are needed "
                "(openssl rand -base64 32)"
            )
        self._secret = secret
        self.fingerprint = self.derived(_FINGERPRINT, 8).hex()

    def key(self, kid: str) -> bytes:
        """The MAC key of `kid`, 64 octets."""
        return self.derived(_KEY + kid.encode(), KEY_OCTETS)

    def derived(self, info: bytes, octets: int) -> bytes:
        """A key for another purpose that must be alike on all hosts; `info` names it and nothing else."""
        return HKDF(hashes.SHA256(), octets, salt=None, info=info).derive(self._secret)


def load(named: str, directory: Path, randomness: Randomness) -> BindingSecret:
    """The secret in the file `named`; when that is "", of `directory`, where the first call draws it.

    Raises `ConfigurationError`.
    """
    path = Path(named) if named else directory / FILE
    if not named and not path.exists():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        private_files.write(path, token(randomness, LEAST).encode())
    return BindingSecret(private_files.read(path, "name the file in acme.binding_secret_file").strip())
