"""acme_server/renewal_window.py: when a certificate should be renewed."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server import renewal_window
from acme_server.renewal_window import Window
from core.settings import Renewal

DAY = 86400
NOW = 1_795_392_000
SETTINGS = Renewal()
SERIALS = [hashlib.sha256(bytes([number % 256, number >> 8])).digest()[:16] for number in range(4000)]


def of_life(serial: bytes, days: float) -> Window:
    return renewal_window.of_life(serial, NOW, NOW + int(days * DAY) - 1, SETTINGS)


def evenly(starts: list[int], first: int, last: int) -> None:
    """Tenths of the span hold a tenth each, within five standard deviations."""
    tenths = [0] * 10
    for start in starts:
        assert first <= start < last
        tenths[(start - first) * 10 // (last - first)] += 1
    expected = len(starts) / 10
    assert max(abs(each - expected) for each in tenths) < 5 * (expected * 0.9) ** 0.5, tenths


@pytest.mark.clause("RFC 9773 section 4.2")
@pytest.mark.parametrize(("days", "first", "last"), [(90, 54, 64.8), (6, 2.4, 3.3), (47, 28.2, 33.84)])
def test_certificates_of_one_minute_are_renewed_evenly_over_the_span_for_their_life(
    days: float, first: float, last: float
) -> None:
    windows = [of_life(serial, days) for serial in SERIALS]
    width = windows[0].end - windows[0].start
    assert width == pytest.approx((last - first) * DAY / 4, abs=1)
    assert max(window.end for window in windows) <= NOW + last * DAY
    evenly([window.start for window in windows], NOW + int(first * DAY), NOW + int(last * DAY) - width + 1)


@pytest.mark.clause("RFC 9773 section 4.2")
def test_a_certificate_has_the_same_window_whenever_it_is_asked() -> None:
    for serial in SERIALS[:50]:
        assert of_life(serial, 90) == of_life(serial, 90)
    assert len({of_life(serial, 90) for serial in SERIALS}) > 3900


@pytest.mark.clause("RFC 9773 section 4.2")
def test_an_incident_spreads_its_certificates_evenly_and_leaves_time_for_a_second_try() -> None:
    windows = [renewal_window.of_incident(serial, "one", NOW, NOW + DAY) for serial in SERIALS]
    assert max(window.end for window in windows) <= NOW + DAY * 9 // 10 + 1
    evenly([window.start for window in windows], NOW, NOW + DAY - DAY // 10 - DAY // 8 + 1)


def test_another_incident_shuffles_anew() -> None:
    one = [renewal_window.of_incident(serial, "one", NOW, NOW + DAY) for serial in SERIALS[:100]]
    two = [renewal_window.of_incident(serial, "two", NOW, NOW + DAY) for serial in SERIALS[:100]]
    assert sum(a == b for a, b in zip(one, two, strict=True)) < 5


@pytest.mark.must("rfc9773.4.2.past")
@pytest.mark.clause("RFC 9773 section 4.2")
def test_the_window_of_a_revoked_certificate_is_in_the_past() -> None:
    assert renewal_window.of_revoked(NOW).end < NOW


@pytest.mark.must("rfc9773.4.2.end-after-start")
@pytest.mark.clause("RFC 9773 section 4.2")
@pytest.mark.must("rfc9773.4.2.end-after-start")
@given(st.binary(min_size=1, max_size=20), st.integers(1, 10**8), st.integers(-100, 10**8))
def test_no_window_ends_before_it_begins(serial: bytes, life: int, time: int) -> None:
    for window in (
        renewal_window.of_life(serial, NOW, NOW + life - 1, SETTINGS),
        renewal_window.of_incident(serial, "id", NOW, NOW + time),
        renewal_window.of_revoked(NOW),
    ):
        assert window.start < window.end
    by_life = renewal_window.of_life(serial, NOW, NOW + life - 1, SETTINGS)
    assert by_life.start >= NOW
    assert life < 10 or by_life.end <= NOW + life
