"""core/facts.py: bounded, and read only when it can be."""

from __future__ import annotations

import msgspec

from core import facts
from core.evidence import Result
from core.facts import OCTETS, Dnssec, Facts, Fetch, Lookup
from core.outcome import Seen, View

LOOKUP = Lookup("www.example.com", "A", 3, Dnssec.SECURE, True, 1, 60, ("a.example",), ("192.0.2.1",))
FETCH = Fetch("http://www.example.com/" + "x" * 200, "192.0.2.1", 80, 9, 200, 87, "l" * 200)


def test_facts_come_back_as_they_were() -> None:
    given = Facts((LOOKUP,), (LOOKUP, LOOKUP), (FETCH,))
    assert facts.decode(facts.encode(given)) == given


def test_too_many_are_cut_and_say_so() -> None:
    given = Facts((LOOKUP,) * 24, (LOOKUP,) * 10, (FETCH,) * 24)
    encoded = facts.encode(given)
    assert len(encoded) <= OCTETS
    read = facts.decode(encoded)
    assert read is not None
    assert read.cut
    assert read.fetches == (FETCH,) * 12
    huge = Facts((msgspec.structs.replace(LOOKUP, failure="f" * 2 * OCTETS),))
    assert facts.decode(facts.encode(huge)) == Facts(cut=True)


def test_what_is_no_facts_or_too_much_is_none() -> None:
    for octets in (b"", b"\xff", b"\x90" * 3, msgspec.msgpack.encode({"a": 1}), bytes(OCTETS + 1)):
        assert facts.decode(octets) is None


def test_a_view_that_was_written_before_there_were_facts_can_be_read() -> None:
    old = {"perspective": "tokyo", "control": {"result": "fail", "problem": "dns", "detail": "no"}, "took": 3}
    read = msgspec.convert(old, View)
    assert read == View("tokyo", Seen(Result.FAIL, "dns", "no"), took=3)
    assert read.facts == b""
