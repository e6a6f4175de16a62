"""docs/ceremony.md names the steps that there are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from signer.vault.ceremony.kinds import KINDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "ceremony.md"


def test_every_kind_of_step_and_its_keys_stand_in_the_document() -> None:
    table = DOCUMENT.read_text().split("| `kind` |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| .*? \| (.*?) ?\|$", table, re.MULTILINE)
    documented = {kind: set(re.findall(r"`(\w+)`", keys)) for kind, keys in rows}
    assert documented == {
        kind: {field.name for field in fields(step)}  # type: ignore[arg-type]
        for kind, step in KINDS.items()
    }
