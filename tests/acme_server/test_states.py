"""acme_server/states.py: the tables of RFC 8555 section 7.1.6."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acme_server import states
from acme_server.states import Event, IllegalMove, Machine

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must(
    "rfc8555.7.1.6.order", "rfc8555.7.1.6.authorization", "rfc8555.7.1.6.challenge", "rfc8555.7.1.6.account"
)
@pytest.mark.parametrize("machine", states.MACHINES, ids=lambda machine: machine.name)
def test_every_move_that_is_not_in_the_table_is_refused(machine: Machine[Any]) -> None:
    for state in type(machine.initial):
        for event in Event:
            if (state, event) in machine.moves:
                assert machine.move(state, event) is machine.moves[state, event]
            else:
                with pytest.raises(IllegalMove, match=f"that is {state}"):
                    machine.move(state, event)


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.parametrize("machine", states.MACHINES, ids=lambda machine: machine.name)
def test_every_state_but_the_first_can_be_reached(machine: Machine[Any]) -> None:
    assert set(machine.moves.values()) | {machine.initial} == set(type(machine.initial))


@pytest.mark.clause("RFC 8555 section 7.1.6")
def test_a_decided_order_stays_as_it_is() -> None:
    for final in (states.OrderStatus.VALID, states.OrderStatus.INVALID):
        assert not any(states.ORDER.allows(final, event) for event in Event)


def test_the_page_of_diagrams_is_drawn_from_the_tables() -> None:
    assert (ROOT / "docs/states.md").read_text() == states.as_markdown()
