"""What people type: serial numbers, keys, times and periods, each refused with the right way to write it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from core.errors import ConfigurationError

_IN_NAMES = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.:-")


def serials(words: list[str], file: str) -> list[bytes]:
    lines = list(words)
    if file:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"--serials: {file} cannot be read: {error}") from error
        lines += [line.partition("#")[0].strip() for line in text.splitlines()]
    named = dict.fromkeys(serial(line) for line in lines if line)
    if file and not named:
        raise ConfigurationError(f"--serials: {file} holds no serial number")
    return list(named)


def serial(text: str) -> bytes:
    digits = text.replace(":", "").strip()
    try:
        number = int(digits, 16)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no hexadecimal serial number; see `openssl x509 -noout -serial -in cert.pem`"
        ) from error
    if number <= 0:
        raise ConfigurationError(f"{text!r} is no serial number: they are positive")
    # The register keeps the content octets of the DER INTEGER.
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def spki(text: str) -> str:
    if not text:
        return ""
    digits = text.replace(":", "").lower()
    if len(digits) == 64 and set(digits) <= set("0123456789abcdef"):
        return digits
    from operations import keys

    path = Path(text)
    if not path.is_file():
        raise ConfigurationError(f"--key: {text!r} is no SHA-256 in hex, and there is no such file")
    return keys.read(path).spki_sha256.hex()


def name(text: str) -> str:
    """A name as it stands in certificates."""
    lower = text.lower()
    if not set(lower) <= _IN_NAMES or lower.startswith("."):
        raise ConfigurationError(
            f"--name: {text!r}: write a domain or address as it stands in certificates, without *."
        )
    return lower


def period(option: str, text: str) -> tuple[int | None, int | None]:
    if not text:
        return None, None
    start, dots, end = text.partition("..")
    if not dots or not (start or end):
        raise ConfigurationError(f"{option}: write FROM..UNTIL, like 2026-11-01..2026-11-08T12:00Z")
    from_, until = (time(option, each) if each else None for each in (start, end))
    if from_ is not None and until is not None and from_ >= until:
        raise ConfigurationError(f"{option}: {start} is not before {end}")
    return from_, until


def time(option: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{option}: {text!r} is no time like 2026-12-01 or 2026-12-01T09:30Z (ISO 8601)"
        ) from error
    return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp())
