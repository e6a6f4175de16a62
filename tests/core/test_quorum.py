from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import quorum
from core.errors import Refused
from core.settings import Rules

TODAY = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp())
FIVE = int(datetime(2026, 12, 15, tzinfo=UTC).timestamp())
SIX = [("a", "ARIN"), ("b", "ARIN"), ("c", "RIPE NCC"), ("d", "APNIC"), ("e", "LACNIC"), ("f", "AFRINIC")]


def met(remotes: list[tuple[str, str]], agreeing: str, at: int = TODAY, rules: Rules = Rules.PUBLIC) -> str:
    """The refusal's code, or "met"."""
    try:
        quorum.check(rules, "p", remotes, set(agreeing), at)
    except Refused as refused:
        return refused.code
    return "met"


@pytest.mark.row("mpic.numbers-by-date")
@pytest.mark.row("mpic.quorum")
@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.parametrize(
    ("used", "agreeing", "at", "outcome"),
    [
        (3, "abc", TODAY, "quorum.too-few"),
        (4, "abcd", TODAY, "met"),
        (4, "bcd", TODAY, "met"),
        (4, "cd", TODAY, "quorum.not-met"),
        (4, "abcd", FIVE - 1, "met"),
        (4, "abcd", FIVE, "quorum.too-few"),
        (5, "abcde", FIVE, "met"),
        (5, "bcde", FIVE, "met"),
        (5, "cde", FIVE, "quorum.not-met"),
        (6, "cdef", FIVE, "met"),
        (6, "def", FIVE, "quorum.not-met"),
        (6, "", FIVE, "quorum.not-met"),
    ],
)
def test_the_table_of_the_baseline_requirements(used: int, agreeing: str, at: int, outcome: str) -> None:
    assert met(SIX[:used], agreeing, at) == outcome


@pytest.mark.row("mpic.quorum")
@pytest.mark.clause("BR 3.2.2.9")
def test_corroboration_from_one_region_is_not_enough() -> None:
    one = [("a", "ARIN"), ("b", "ARIN"), ("c", "ARIN"), ("d", "ARIN")]
    assert met(one, "abcd") == "quorum.regions"
    assert met([*one, ("e", "APNIC")], "abcd") == "quorum.regions"
    assert met([*one, ("e", "APNIC")], "abce") == "met"


@pytest.mark.clause("BR 3.2.2.9")
def test_a_perspective_counts_once_and_the_primary_is_no_remote() -> None:
    assert met([*SIX[:3], SIX[0]], "abc") == "quorum.duplicate"
    assert met([*SIX[:3], ("p", "APNIC")], "abcp") == "quorum.duplicate"


def test_one_that_was_not_used_cannot_corroborate() -> None:
    assert met(SIX[:4], "abce") == "quorum.stranger"
    assert met(SIX[:4], "abcp") == "met"  # the primary's own pass may be in the set


def test_a_region_that_is_no_registry_is_refused() -> None:
    assert met([("a", "ARIN"), ("b", "RIPE"), ("c", "APNIC"), ("d", "APNIC")], "abcd") == "quorum.region"


@pytest.mark.parametrize(
    ("agreeing", "outcome"), [("abc", "met"), ("ab", "quorum.not-met"), ("", "quorum.not-met")]
)
def test_private_rules_want_every_listed_perspective(agreeing: str, outcome: str) -> None:
    assert met([("a", ""), ("b", ""), ("c", "")], agreeing, rules=Rules.PRIVATE) == outcome


def test_private_rules_are_met_by_the_primary_alone() -> None:
    assert met([], "", rules=Rules.PRIVATE) == "met"
    assert met([], "", rules=Rules.PUBLIC) == "quorum.too-few"


remote_lists = st.lists(st.sampled_from(sorted(quorum.REGIONS)), max_size=10).map(
    lambda regions: [(chr(ord("a") + index), region) for index, region in enumerate(regions)]
)


@given(remote_lists, st.data())
def test_one_more_voice_never_breaks_a_quorum(remotes: list[tuple[str, str]], data: st.DataObject) -> None:
    codes = [code for code, _ in remotes]
    agreeing = data.draw(st.sets(st.sampled_from(codes)) if codes else st.just(set()))
    if met(remotes, "".join(agreeing)) == "met":
        for code in codes:
            assert met(remotes, "".join(agreeing | {code})) == "met"


@pytest.mark.row("mpic.quorum")
@given(remote_lists, st.data())
def test_a_quorum_is_what_the_table_says(remotes: list[tuple[str, str]], data: st.DataObject) -> None:
    codes = [code for code, _ in remotes]
    agreeing = data.draw(st.sets(st.sampled_from(codes)) if codes else st.just(set()))
    failures = len(codes) - len(agreeing)
    expected = (
        len(codes) >= 5
        and failures <= (1 if len(codes) <= 5 else 2)
        and len({region for code, region in remotes if code in agreeing}) >= 2
    )
    assert (met(remotes, "".join(agreeing), FIVE) == "met") == expected
