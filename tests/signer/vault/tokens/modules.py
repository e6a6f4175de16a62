"""The PKCS#11 modules that the conformance suite runs on, and what their mechanisms allow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.settings import ModuleKind, Settings
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.keys import KeyAlgorithm
from signer.vault.tokens.modules import Module, module

IN_ITS_WORLD = "ACME_SERVER_TEST_OPENCRYPTOKI"
"""Set where pkcsslotd runs over an empty token store of its own (opencryptoki_world.sh)."""

EC = (KeyAlgorithm.EC_P256, KeyAlgorithm.EC_P384)
RSA = (KeyAlgorithm.RSA_2048,)


@dataclass(frozen=True)
class Kind:
    """A module under test: `locks_at` is the wrong PIN that locks it (0: it never does)."""

    kind: ModuleKind
    library: str
    algorithms: tuple[KeyAlgorithm, ...] = (*RSA, *EC)
    pin: str = "correct horse battery"
    so_pin: str = "so pin of the test"
    locks_at: int = 0
    one_token_a_machine: bool = False


KINDS = (
    Kind(ModuleKind.SOFTHSM2, Settings().vault.module),
    Kind(ModuleKind.NSS, "libsoftokn3.so"),
    # RSA alone, a PIN of eight octets, a token store of the whole machine.
    Kind(
        ModuleKind.OPENCRYPTOKI,
        "opencryptoki/libopencryptoki.so.0",
        RSA,
        pin="battery1",
        so_pin="officer1",
        locks_at=3,
        one_token_a_machine=True,
    ),
)


@contextmanager
def opened(kind: Kind, directory: Path) -> Iterator[Cryptoki]:
    """The module on a token store in `directory`; skips the test where it is not installed."""
    cryptoki = Cryptoki(found(kind, directory))
    try:
        yield cryptoki
    finally:
        cryptoki.close()


def found(kind: Kind, directory: Path) -> Module:
    """The module of this kind.  Skips the test where it is not installed or would use a foreign token."""
    if kind.kind is ModuleKind.OPENCRYPTOKI and IN_ITS_WORLD not in os.environ:
        pytest.skip(
            "openCryptoki has one token store a machine: test_opencryptoki.py gives it one of its own"
        )
    for folder in ("", "/usr/lib/x86_64-linux-gnu/", "/usr/lib/aarch64-linux-gnu/", "/usr/lib64/"):
        path = Path(folder + kind.library)
        if path.is_absolute() and path.exists():
            return module(kind.kind, path, directory / "tokens", directory / "module.conf")
    pytest.skip(f"{kind.library} is not installed: scripts/system-packages test")
