"""Real relying parties find what the register says: good, revoked, expired, and never issued."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.relying_parties.parties import PARTIES, Party
from tests.relying_parties.site import Site

pytestmark = pytest.mark.long

ASKED = [
    pytest.param(party, state, id=f"{party.name}, {party.how}: {state}")
    for party in PARTIES
    for state in ("good", "revoked", "expired", "unknown")
    if state not in party.lacks
]


@pytest.mark.clause("BR 4.9.7")
@pytest.mark.clause("BR 4.9.9")
@pytest.mark.clause("RFC 6960 section 2.2")
@pytest.mark.parametrize(("party", "state"), ASKED)
def test_a_relying_party_finds_what_the_register_says(
    sites: dict[str, Site], party: Party, state: str, tmp_path: Path
) -> None:
    assert party.ask(sites[state], tmp_path) == state
