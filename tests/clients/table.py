"""What each client does with this CA: clients.toml, and the table that docs/clients.md shows of it.

`python -m tests.clients.table` writes the table anew.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ABILITIES = {
    "http-01": "http-01",
    "dns-01": "dns-01",
    "tls-alpn-01": "tls-alpn-01",
    "ip": "addresses",
    "renew": "renew",
    "revoke": "revoke",
    "eab": "EAB",
    "ari": "ARI",
    "profiles": "profiles",
    "key-change": "keyChange",
}
"""Key in clients.toml and title of the column."""

SOURCE = Path(__file__).with_name("clients.toml")
DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"
BEGIN, END = "<!-- from tests/clients/clients.toml: begin -->\n", "<!-- end -->\n"


@dataclass(frozen=True, slots=True)
class Client:
    """A client, where it is from, and for each ability the reason why it lacks it ("" when it has it)."""

    key: str
    name: str
    version: str
    origin: str
    lacks: Mapping[str, str]


def clients() -> list[Client]:
    """All of clients.toml.  Raises KeyError, TypeError when an entry is not as it must be."""
    found = []
    for key, entry in tomllib.loads(SOURCE.read_text(encoding="utf-8")).items():
        lacks = {ability: _reason(entry.pop(ability)) for ability in ABILITIES}
        found.append(Client(key, entry.pop("name"), entry.pop("version"), entry.pop("origin"), lacks))
        if entry:
            raise KeyError(f"{key}: {', '.join(entry)}")
    return found


def lines() -> Iterator[str]:
    """The table, and below it what a client lacks and why."""
    yield f"| Client | Version | {' | '.join(ABILITIES.values())} |"
    yield "|---|---|" + ":-:|" * len(ABILITIES)
    for client in clients():
        cells = ("–" if client.lacks[ability] else "✓" for ability in ABILITIES)
        yield f"| {client.name} | {client.version} ({client.origin}) | {' | '.join(cells)} |"
    yield ""
    yield "What a client cannot, and why:"
    yield ""
    for client in clients():
        reasons: dict[str, list[str]] = {}
        for ability, reason in client.lacks.items():
            if reason:
                reasons.setdefault(reason, []).append(ABILITIES[ability])
        if reasons:
            told = "; ".join(f"{', '.join(of)}: {reason}" for reason, of in reasons.items())
            yield f"- **{client.name}** – {told}."


def written(document: str) -> str:
    """The document with the table in its place."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(lines()) + "\n\n" + END + after


def _reason(cell: object) -> str:
    if cell is True:
        return ""
    if isinstance(cell, str) and cell:
        return cell
    raise TypeError(f"a cell is true, or the reason why not: {cell!r}")


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
