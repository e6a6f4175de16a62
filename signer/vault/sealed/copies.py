"""Copies of a token's directory, for modules that keep their token in one: what is in each, file by file.

A copy is as encrypted as the token: it opens with the same PIN, so with the same people.  Its manifest names
every file with its digest and every CA key with its public half; the seal holds the manifest's own digest.

Must never: write into a place that is not empty; take a copy for whole that its manifest does not describe.

BR 6.2.4 (private key backup), 6.2.6; CPS 5.1.8, 6.2.4; FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.durable import sync_directory
from core.errors import ConfigurationError, Refused
from signer.vault.record import chain
from signer.vault.sealed.seal import CopiedKey as CopiedKey
from signer.vault.sealed.seal import SealedCopy as SealedCopy
from signer.vault.sealed.seal import SealedToken

MANIFEST, TOKEN = "manifest.json", "token"
"""What a copy's directory holds: its description, and beside it the token's files."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`files` maps a path below TOKEN to the SHA-256 of its content, in hexadecimal."""

    copy: str
    token: str
    serial: str
    made_at: int
    keys: tuple[CopiedKey, ...]
    files: dict[str, str]


def must_be_free(place: Path) -> None:
    """That nothing lies there.  Raises `ConfigurationError`."""
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigurationError(f"{place} is not empty: name an empty place for the copy")


def describe(
    place: Path,
    id: str,
    token: str,
    serial: str,
    made_at: int,
    keys: tuple[CopiedKey, ...],
    second: SealedToken | None = None,
) -> SealedCopy:
    """Write the manifest of the copy in `place`, over any earlier one."""
    manifest = Manifest(id, token, serial, made_at, keys, dict(_files(place / TOKEN)))
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    aside = place / (MANIFEST + ".new")
    aside.unlink(missing_ok=True)
    _write(aside, content)
    aside.rename(place / MANIFEST)
    sync_directory(place)
    return SealedCopy(id, token, serial, str(place), made_at, keys, hashlib.sha256(content).digest(), second)


def check(place: Path, sealed: SealedCopy) -> Manifest:
    """The manifest, when the copy in `place` is the sealed one to the last octet.  Raises `Refused`."""
    try:
        content = (place / MANIFEST).read_bytes()
    except OSError as error:
        raise Refused(
            "copy.missing",
            f"copy {sealed.id!r} is not in {place} ({error.strerror}): bring its medium, or say where it is",
        ) from error
    if hashlib.sha256(content).digest() != sealed.manifest:
        raise Refused("copy.manifest", f"{place} holds another copy than {sealed.id!r}, or an altered one")
    manifest = msgspec.json.decode(content, type=Manifest)
    found = dict(_files(place / TOKEN))
    wrong = sorted(name for name in {*found, *manifest.files} if found.get(name) != manifest.files.get(name))
    if wrong:
        raise Refused(
            "copy.files", f"copy {sealed.id!r} is not whole ({', '.join(wrong)}): take another copy"
        )
    return manifest


def _files(directory: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path.relative_to(directory).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        chain.write_fully(file, content)
        os.fsync(file)
    finally:
        os.close(file)
