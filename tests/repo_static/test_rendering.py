"""repo_static/rendering.py"""

from __future__ import annotations

import pytest

from repo_static import rendering


@pytest.mark.parametrize(
    ("seconds", "english", "japanese"),
    [
        (86400, "1 day", "1 日"),
        (96 * 3600, "4 days", "4 日"),
        (5400, "90 minutes", "90 分"),
        (10, "10 seconds", "10 秒"),
    ],
)
def test_a_duration_is_said_in_its_largest_unit(seconds: int, english: str, japanese: str) -> None:
    assert rendering.duration(seconds, "en") == english
    assert rendering.duration(seconds, "ja") == japanese


def test_every_word_exists_in_both_languages() -> None:
    words = rendering.words()
    assert words["en"].keys() == words["ja"].keys()
    assert words["en"]["use"].keys() == words["ja"]["use"].keys()
