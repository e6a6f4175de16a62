from __future__ import annotations

import pytest

from core.configuration import load
from core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("repository.manifest_validity=2592001", "30 days"),
        ("repository.manifest_refresh=9", "10 seconds"),
        ("repository.manifest_refresh=86400", "less than repository.manifest_validity"),
        ("vault.manifest_keys=[]", "name one key"),
        ('vault.manifest_keys=["manifest-1", "manifest-1"]', "name one key"),
        ('vault.manifest_keys=["manifest-1", "manifest-2", "manifest-3"]', "two while the first is replaced"),
        ("repository.maintenance=tomorrow", "FROM/UNTIL"),
        ("repository.maintenance=2026-12-05T01:00Z", "FROM/UNTIL"),
        ("repository.maintenance=2026-12-05T02:00Z/2026-12-05T01:00Z", "FROM/UNTIL"),
        ("repository.maintenance=2026-12-05T01:00+09:00/2026-12-05T02:00+09:00", "in UTC"),
        ('vault.manifest_keys=["ec-1"]', 'begins with "manifest-"'),
    ],
)
def test_settings_of_the_manifest_that_cannot_work_are_refused_with_the_remedy(
    override: str, remedy: str
) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        load(None, [override])


def test_a_key_and_its_successor_may_stand_side_by_side() -> None:
    settings = load(None, ['vault.manifest_keys=["manifest-1", "manifest-2"]'])
    assert settings.vault.manifest_keys == ("manifest-1", "manifest-2")
