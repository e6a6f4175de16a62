"""The ceremonies of a data directory so far: where their transcripts lie, and what the last one left open.

Must never: change anything.
"""

from __future__ import annotations

from pathlib import Path

from core.data_directory import DataDirectory
from signer.vault.ceremony.draft import Draft
from signer.vault.ceremony.step import ROOT
from signer.vault.ceremony.transcript import Begin, Burnt, Event, Intent, read, whole
from signer.vault.sealed.seal import Hierarchy

TRANSCRIPT = "transcript"
"""The file's name in a ceremony's directory."""


def directory_of(data: DataDirectory) -> Path:
    """Where the ceremonies of a data directory lie, by number."""
    return data.vault / "ceremonies"


def transcripts(data: DataDirectory) -> list[Path]:
    """All transcripts, the oldest first."""
    return sorted(directory_of(data).glob(f"[0-9]*/{TRANSCRIPT}"))


def came_into_force(path: Path) -> bool:
    """Whether a transcript is that of a hierarchy that counted."""
    return any(line.event is Event.IN_FORCE for line in read(whole(path.read_bytes())))


def interrupted(data: DataDirectory) -> bool:
    """Whether the last ceremony did not come to its end."""
    return where(data)[1] is not None


def where(data: DataDirectory) -> tuple[Path, Begin | None]:
    """The directory of the ceremony to hold, and its agenda when it was interrupted."""
    found = transcripts(data)
    if not found:
        return directory_of(data) / "0001", None
    last = found[-1]
    lines = [*read(whole(last.read_bytes()))]
    if not lines:
        return last.parent, None
    if lines[-1].event in (Event.IN_FORCE, Event.ABANDONED):
        return directory_of(data) / f"{int(last.parent.name) + 1:04d}", None
    return last.parent, lines[0].read(Begin)


def abandoned(data: DataDirectory, base: Hierarchy | None) -> tuple[tuple[Burnt, ...], int]:
    """What ceremonies that were given up since `base` may have signed with its root key, and the CRL numbers.

    A certificate that was made and never sealed is as unwanted as one that only may have been made.
    """
    burnt: dict[bytes, Burnt] = {}
    crl_number = 0
    listed = Draft.of(base).revoked
    for path in transcripts(data):
        lines = [*read(whole(path.read_bytes()))]
        # Where there was no hierarchy yet, the root key itself is destroyed.
        if base is None or not lines[0].read(Begin).base or lines[-1].event is not Event.ABANDONED:
            continue
        for line in lines:
            if line.event is Event.INTENT:
                intent = line.read(Intent)
                crl_number = max(crl_number, intent.number)
                if intent.by == ROOT and intent.serial and intent.serial not in listed:
                    burnt[intent.serial] = Burnt(intent.serial, line.at)
    return tuple(burnt.values()), crl_number
