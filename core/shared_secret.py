"""A secret that the hosts of one CA share, in a private file: keys are derived from it, none is stored.

HKDF-SHA256 over the secret and a text that names the purpose.

Must never: show a secret in a repr, or draw a new one in place of one that was lost and that a setting names.

RFC 5869.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core import private_files
from core.errors import ConfigurationError
from core.randomness import Randomness, token

FILE = "secret"
"""In a private directory of the app."""

LEAST = 32
"""Octets of the secret: as strong as the strongest key that we need."""


class SharedSecret:
    """Derives keys.  `fingerprint` tells two secrets apart and reveals neither."""

    SETTING: ClassVar[str]
    """The setting that names the file."""

    FINGERPRINT: ClassVar[bytes]
    """The purpose of the fingerprint."""

    def __init__(self, secret: bytes) -> None:
        """Raises `ConfigurationError` when it is too short to be one."""
        if len(secret) < LEAST:
            raise ConfigurationError(
                f"the secret of {self.SETTING} has {len(secret)} octets: {LEAST} are needed "
                "(openssl rand -base64 32)"
            )
        self._secret = secret
        self.fingerprint = self.derived(self.FINGERPRINT, 8).hex()

    def derived(self, info: bytes, octets: int) -> bytes:
        """A key that is alike on all hosts; `info` names its purpose and nothing else."""
        return HKDF(hashes.SHA256(), octets, salt=None, info=info).derive(self._secret)

    @classmethod
    def load(cls, named: str, directory: Path, randomness: Randomness) -> Self:
        """The secret in the file `named`; when that is "", of `directory`, where the first call draws it.

        Raises `ConfigurationError`.
        """
        path = Path(named) if named else directory / FILE
        if not named and not path.exists():
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            private_files.write(path, token(randomness, LEAST).encode())
        return cls._read(path)

    @classmethod
    def existing(cls, named: str, directory: Path) -> Self | None:
        """The same for who only looks: None where none is named and none was drawn yet.

        Raises `ConfigurationError`.
        """
        path = Path(named) if named else directory / FILE
        try:
            there = bool(named) or path.exists()
        except PermissionError:
            there = True  # `_read` says what is wrong
        return cls._read(path) if there else None

    @classmethod
    def _read(cls, path: Path) -> Self:
        return cls(private_files.read(path, f"name the file in {cls.SETTING}").strip())
