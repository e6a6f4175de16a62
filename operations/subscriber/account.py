"""The account of a client of ours, in two files of a directory: its key, and its URL once it exists.

Must never: leave half a file under its name, or a key that others can read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core import private_files
from core.durable import sync_directory
from core.errors import ConfigurationError


class Account:
    """`account.pem` and `account.url` below `root`."""

    def __init__(self, root: Path) -> None:
        self._key = root / "account.pem"
        self._url = root / "account.url"

    def key(self) -> ec.EllipticCurvePrivateKey:
        """The account key, made at the first call."""
        if not self._key.exists():
            write(self._key, pem(ec.generate_private_key(ec.SECP256R1())))
        key = serialization.load_pem_private_key(self._key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    @property
    def url(self) -> str:
        """ "" while there is no account."""
        return self._url.read_text().strip() if self._url.exists() else ""

    @url.setter
    def url(self, url: str) -> None:
        write(self._url, url.encode())


def binding(file: str, setting: str) -> tuple[str, str] | None:
    """An external account's key id and HMAC key, as `eab add --json` wrote them; None for no file.

    Raises `ConfigurationError`, which names the `setting`.
    """
    if not file:
        return None
    remedy = "write it with `acme-server eab add --label WHO --json`"
    try:
        found = json.loads(private_files.read(Path(file), remedy))
        return str(found["kid"]), str(found["hmac_key"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{setting} = {file}: {remedy}") from error


def pem(key: object) -> bytes:
    """A private key as its file holds it."""
    assert hasattr(key, "private_bytes")
    made: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made


def write(path: Path, content: bytes) -> None:
    """Durably and at once, for the owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    sync_directory(path.parent)
