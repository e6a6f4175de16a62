"""core/renewal_checks.py: which settings of ARI make no sense."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core import checks
from core.errors import ConfigurationError
from core.settings import Renewal, Settings


def check(**changed: int) -> None:
    checks.undated(replace(Settings(), renewal=replace(Renewal(), **changed)))


@pytest.mark.clause("RFC 9773 section 4.2")
@pytest.mark.clause("RFC 9773 section 4.3.2")
@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"earliest": 72}, "renewal.latest"),
        ({"latest": 96}, "renewal.latest"),
        ({"short_earliest": 60}, "renewal.short_latest"),
        ({"retry_after": 59, "retry_after_incident": 59, "max_age": 1}, "renewal.retry_after"),
        ({"retry_after": 86401}, "renewal.retry_after"),
        ({"retry_after_incident": 30, "max_age": 10}, "renewal.retry_after_incident"),
        ({"retry_after_incident": 21601}, "renewal.retry_after_incident"),
        ({"max_age": 3601}, "renewal.max_age"),
        ({"earliest": 0}, "renewal.earliest"),
    ],
)
def test_settings_of_renewal_that_make_no_sense_are_refused(changed: dict[str, int], key: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{key} = "):
        check(**changed)


def test_other_windows_can_be_chosen() -> None:
    check(earliest=50, latest=80, retry_after=86400, retry_after_incident=60, max_age=60)
