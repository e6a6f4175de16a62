"""Signs the world's zones with real keys: ECDSA P-256 and NSEC3 without iterations or salt (RFC 9276)."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.world.zones import Signing

ITERATIONS = 2000
"""Of NSEC3, in the zone that should cost a validator dearly; RFC 9276 wants none."""


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """A zone's one signing key: its files' base name, and its DNSKEY and DS records as text."""

    base: Path
    dnskey: str
    ds: str


def generate(directory: Path, zone: str) -> ZoneKey:
    """A new key for `zone` ("" for the root), its files in `directory`."""
    made = _run(
        ["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "-r", "/dev/urandom", zone or "."], cwd=directory
    )
    base = directory / made.strip()
    return ZoneKey(base, _read(base, ".key"), _read(base, ".ds"))


def sign(zone_file: Path, signed_file: Path, key: ZoneKey, how: Signing = Signing.SECURE) -> None:
    """Sign `zone_file` into `signed_file`: properly, EXPIRED (signatures that ended in 2020) or ITERATED."""
    dates = ["-i", "20200101000000", "-e", "20200201000000"] if how is Signing.EXPIRED else []
    iterations = str(ITERATIONS if how is Signing.ITERATED else 0)
    options = ["-n", "-t", iterations, *dates]
    _run(["ldns-signzone", *options, "-f", str(signed_file), str(zone_file), str(key.base)])


def _read(base: Path, suffix: str) -> str:
    text = base.with_name(base.name + suffix).read_text(encoding="ascii")
    return text.partition(";")[0].strip()


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
