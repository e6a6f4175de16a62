"""The table in docs/relying-parties.md: `python -m tests.relying_parties.table` writes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.relying_parties.parties import PARTIES

STATES = ("good", "revoked", "expired", "unknown")
DOCUMENT = Path(__file__).parents[2] / "docs" / "relying-parties.md"
BEGIN, END = (
    "<!-- from tests/relying_parties/parties.py: begin -->\n",
    "<!-- end of the relying parties -->\n",
)


def lines() -> Iterator[str]:
    """A line for each relying party, and below them why a state cannot be asked of some."""
    yield f"| Relying party | How it asks | {' | '.join(STATES)} |"
    yield "|---|---|" + ":-:|" * len(STATES)
    notes: list[str] = []
    for party in PARTIES:
        cells = []
        for state in STATES:
            why = party.lacks.get(state)
            if why is not None and why not in notes:
                notes.append(why)
            cells.append("✓" if why is None else f"({notes.index(why) + 1})")
        yield f"| {party.name} | {party.how} | {' | '.join(cells)} |"
    yield ""
    yield from (f"({number}) {why}.  " for number, why in enumerate(notes, 1))


def drawn(document: str) -> str:
    """The document with the table as it is now.  Raises ValueError when it has no place for it."""
    before, _, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{DOCUMENT} has no lines {BEGIN.strip()!r} and {END.strip()!r}")
    return before + BEGIN + "".join(f"{line.rstrip()}\n" for line in lines()) + END + after


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
