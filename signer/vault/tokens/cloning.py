"""A SoftHSM2 token's directory, copied: the only backup that a key of `sealed` custody has there.

The directory holds the keys encrypted under the token's PIN, so that a copy is worth what its PIN is worth:
whoever backs it up needs no PIN, whoever opens the copy does.  A copy counts as a backup only after it was
opened and every key in it made a signature that verifies with the public key in the CA's certificate.

Hardware has the vendor's own cloning instead, which no standard describes.

Must never: overwrite a token.

BR 6.2.4, 6.2.5; CPS 6.2.4.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from core.errors import ConfigurationError, HaltIssuance
from signer.vault.tokens import algorithms
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.keys import Key
from signer.vault.tokens.modules import Module
from signer.vault.tokens.session import Session

_PROOF = b"acme-server: this copy of the token works"


def clone(tokens: Path, copy: Path) -> None:
    """Copy a token directory, durably, for its owner's eyes only.  No vault may have it open meanwhile.

    Raises `ConfigurationError` when `copy` exists; what a copy that failed half-way leaves is no backup.
    """
    try:
        copy.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise ConfigurationError(f"{copy} exists: a backup goes into a new directory") from error
    shutil.copytree(tokens, copy, dirs_exist_ok=True)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        _sync(path)
    _sync(copy.parent)


def must_work(module: Module, serial: str, pin: str, keys: Iterable[Key], custody: Custody) -> None:
    """Open a copied token and have every key prove itself.

    The module must not be open in this process.  Raises `ConfigurationError` (no such token, wrong PIN) and
    `HaltIssuance` (a key is missing, of another custody, or another key).
    """
    cryptoki = Cryptoki(module)
    try:
        session = Session(cryptoki.open(serial, pin), cryptoki)
        for key in keys:
            found = session.find(key.label, custody)
            if found.spki != key.spki:
                raise HaltIssuance(
                    f"the copy's key {key.label!r} is another one: it is no backup of this token"
                )
            algorithms.verify(key.public_key, session.sign(key, _PROOF), _PROOF)
        session.close()
    finally:
        cryptoki.close()


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
