"""A hierarchy in real tokens, and the perspective keys that are pinned in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, SignedStatement, Statement
from core.randomness import SystemRandomness
from core.settings import Settings
from signer.vault.ceremony import embedded
from tests.support.applicant import ACCOUNT_KEY

LOCAL_KEY = ec.generate_private_key(ec.SECP256R1())
"""The key of the perspective "local", for tests that play it."""


def perspective() -> PerspectiveKey:
    """What signs the statements of the perspective "local"."""
    return PerspectiveKey(LOCAL_KEY)


def evidence(names: Sequence[str], account_url: str, at: int) -> tuple[SignedStatement, ...]:
    """What "local" would have signed after a good http-01 validation of every name at `at`."""
    control = "http-01"
    return tuple(
        perspective().sign(
            Statement(
                perspective="local",
                name=name,
                account_url=account_url,
                attempt=f"attempt for {name} at {at}",
                checked_at=at,
                control=ControlSeen(control, name, Result.PASS, thumbprint=ACCOUNT_KEY.thumbprint),
                caa=CaaSeen(Result.PASS, method=control),
            )
        )
        for name in names
    )


def settings(**sections: object) -> Settings:
    """The default settings, with other sections where given."""
    return replace(Settings(), **sections)  # type: ignore[arg-type]


def made(directory: Path, chosen: Settings | None = None) -> DataDirectory:
    """Hold the ceremony in `directory`; about two seconds."""
    data = DataDirectory(directory)
    perspectives = {"local": local_spki()}
    embedded.create(data, chosen or settings(), SystemClock(), SystemRandomness(), perspectives)
    return data


def local_spki() -> bytes:
    """The public half of LOCAL_KEY."""
    return LOCAL_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
