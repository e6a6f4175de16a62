"""A hierarchy in real tokens, and the perspective keys that are pinned in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.evidence import PerspectiveKey
from core.randomness import SystemRandomness
from core.settings import Repository, Settings
from signer.vault import hierarchy

LOCAL_KEY = ec.generate_private_key(ec.SECP256R1())
"""The key of the perspective "local", for tests that play it."""


def perspective() -> PerspectiveKey:
    """What signs the statements of the perspective "local"."""
    return PerspectiveKey(LOCAL_KEY)


def settings(**sections: object) -> Settings:
    """The default settings with a repository address of the shape that linters accept."""
    base = Settings(repository=Repository(base_url="http://127.0.0.1:14080"))
    return replace(base, **sections)  # type: ignore[arg-type]


def made(directory: Path, chosen: Settings | None = None) -> DataDirectory:
    """Hold the ceremony in `directory`; about two seconds."""
    data = DataDirectory(directory)
    spki = LOCAL_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    hierarchy.create(data, chosen or settings(), SystemClock(), SystemRandomness(), {"local": spki})
    return data
