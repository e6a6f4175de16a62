"""The hierarchy of a data directory: made in a ceremony, sealed by the root key, checked at every start.

The seal (`hierarchy.json`) fixes what must not change by editing a file: whose rules bind, which keys issue,
which perspectives are believed.  The package `ceremony` makes and changes it.

Must never: take an older seal for the newest one, or another root's.

BR 6.1.1.1 (CA key pair generation), 6.1.7 (the root key signs no leaf); CPS 6.1, 6.2.
"""

from __future__ import annotations

from pathlib import Path

from core.data_directory import DataDirectory
from core.errors import ConfigurationError, HaltIssuance
from core.settings import Settings
from signer.vault.record.journal import Journal, Kind
from signer.vault.sealed import seal as seals
from signer.vault.sealed.seal import Hierarchy, TokenRole, unseal
from signer.vault.templates.authority import Issuer

ROOT_ID = "root"
"""The root's id, and its key's label: there is one root in a data directory."""


def exists(data: DataDirectory) -> bool:
    """Whether the ceremony of this data directory is complete."""
    return data.hierarchy.exists()


def load(data: DataDirectory, settings: Settings) -> Hierarchy:
    """The hierarchy, its seal checked against the root certificate and trust-anchor.pem.

    Raises `ConfigurationError` when there is none or when `ca.rules` is not what was sealed; `HaltIssuance`
    when the file was changed.
    """
    try:
        content = data.hierarchy.read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{data.root} holds no hierarchy: hold the ceremony first (make run does), or change --data"
        ) from error
    try:
        hierarchy = unseal(content, data.trust_anchor.read_bytes())
    except (ValueError, OSError) as error:
        raise HaltIssuance(
            f"{data.hierarchy} is not what the root key sealed ({error}): restore it from a backup and find "
            "out who changed it"
        ) from error
    if hierarchy.rules != settings.ca.rules:
        raise ConfigurationError(
            f"ca.rules is {settings.ca.rules.value!r}, but {data.root} was made under {hierarchy.rules!r} "
            f"rules, which its certificates promise for ever: set ca.rules = {hierarchy.rules!r}, or make "
            "another CA in another --data directory"
        )
    return hierarchy


def must_have_people(settings: Settings, hierarchy: Hierarchy) -> None:
    """In production people share the PIN.  Raises `ConfigurationError`."""
    if settings.deployment.production and hierarchy.activation is None:
        raise ConfigurationError(
            "deployment.production: this CA's PIN lies in a file, and in production none lies on any disk "
            "(BR 6.2.8): hold a ceremony with people (acme-server ceremony) in another --data"
        )


async def must_not_be_older(journal: Journal, hierarchy: Hierarchy, path: Path) -> None:
    """That no older seal was put back in the place of a newer one; the newest is remembered.

    An old seal is a good signature still: it would bring back a revoked issuer or a perspective that is
    believed no more.  And another root's seal is good under another trust-anchor.pem, with whatever number
    and perspectives its maker chose, over the very keys in the token.  Raises `HaltIssuance`.
    """
    sequence, digest = journal.hierarchy
    found = seals.digest(hierarchy)
    if journal.root not in (b"", hierarchy.root):
        raise HaltIssuance(
            f"{path} is sealed by another root than that of number {sequence}, which the vault has used: "
            "restore it and trust-anchor.pem from a backup and find out who put these here"
        )
    if (hierarchy.sequence, found) == (sequence, digest):
        return
    if hierarchy.sequence <= sequence:
        what = "older than" if hierarchy.sequence < sequence else "another than"
        raise HaltIssuance(
            f"{path} is sealed as number {hierarchy.sequence}, {what} number {sequence}, which the vault has "
            "used: restore the newest one from a backup and find out who put this one here"
        )
    await journal.append(
        Kind.HIERARCHY, issuance_id=f"hierarchy:{hierarchy.sequence}", tbs=found, certificate=hierarchy.root
    )


def authority(settings: Settings, id: str, certificate: bytes) -> Issuer:
    """An issuer for the templates, with the URLs at which the repository publishes its things."""
    base = settings.repository.base_url
    return Issuer.from_certificate(
        id,
        certificate,
        ocsp_url=f"{base}/ocsp",
        ca_issuers_url=f"{base}/issuers/{id}.crt",
        crl_url_template=f"{base}/crl/{id}-{{shard}}.crl",
    )


def pin_file(settings: Settings, data: DataDirectory, role: TokenRole) -> Path:
    """Where the embedded set-up keeps the PIN of a token."""
    if role is TokenRole.ROOT:
        return data.vault / "root-pin"
    return Path(settings.vault.pin_file) if settings.vault.pin_file else data.pin


def read_pin(settings: Settings, data: DataDirectory, role: TokenRole = TokenRole.ISSUING) -> str:
    """A token's PIN from its file.  Raises `ConfigurationError` with the remedy."""
    path = pin_file(settings, data, role)
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(
            f"the PIN of the {role} token cannot be read from {path} ({error.strerror}): set vault.pin_file"
        ) from error
