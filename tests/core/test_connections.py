"""core/connections.py"""

from __future__ import annotations

from core.connections import Connections
from core.settings import Limits


def test_a_block_and_all_together_have_their_bounds() -> None:
    counted = Connections(Limits(connections=4, connections_address=2))
    assert [counted.came("192.0.2.1") for _ in range(3)] == [False, False, True]
    assert [counted.came("192.0.2.2"), counted.came("192.0.2.3")] == [False, True]
    assert len(counted) == 5


def test_who_is_gone_counts_no_more() -> None:
    counted = Connections(Limits(connections=4, connections_address=1))
    counted.came("192.0.2.1")
    counted.went("192.0.2.1")
    assert not counted.came("192.0.2.1")
    assert len(counted) == 1


def test_a_peer_without_a_block_counts_for_all_only() -> None:
    counted = Connections(Limits(connections=3, connections_address=1))
    assert [counted.came(None) for _ in range(4)] == [False, False, False, True]
    counted.went(None)
    assert len(counted) == 3


def test_nothing_is_remembered_of_blocks_that_are_gone() -> None:
    counted = Connections(Limits())
    for number in range(100):
        counted.came(f"192.0.2.{number}")
        counted.went(f"192.0.2.{number}")
    assert not counted._by_block
