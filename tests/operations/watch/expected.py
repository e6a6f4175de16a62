"""What a test of the watch expects to be told."""

from __future__ import annotations

from operations.watch.finding import Finding, State

CRL = "/crl/ec-1-0.crl"


def one(found: list[Finding], check: str, words: str, state: State = State.FAIL) -> None:
    """There is this finding and no other that is not well; it says what to do."""
    assert [(each.check, each.state) for each in found] == [(check, state)], found
    assert words in found[0].seen
    assert found[0].remedy


def all_of(found: list[Finding], words: str, *checks: str, state: State = State.FAIL) -> None:
    """What is not well is in these checks, and says the same."""
    assert {each.check for each in found} == set(checks), found
    assert all(words in each.seen and each.state is state and each.remedy for each in found), found
