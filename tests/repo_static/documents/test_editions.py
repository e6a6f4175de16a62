"""repo_static/documents/editions.py and difference.py: versions, their change log and what changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.settings import Ca, Settings
from repo_static.documents import difference, editions
from repo_static.documents.kinds import Document
from repo_static.documents.text import draft_of
from repo_static.store import NotPublished, Store
from tests.support.editions import edition, two_versions

CPS = Document.CP_CPS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def text(store: Store, name: str) -> str:
    return (store.root / name).read_text(encoding="utf-8")


@pytest.mark.clause("CPS 2.3")
@pytest.mark.clause("requirements 1.08")
@pytest.mark.clause("Mozilla RSP 3.3")
def test_earlier_versions_stay_as_they_were(store: Store) -> None:
    first = edition(Settings())
    editions.publish(store, CPS, [first], Settings())
    before = store.read("cps/cp-cps-1.0.en.md")
    two_versions(store, Settings())
    assert store.read("cps/cp-cps-1.0.en.md") == before
    for language in ("en", "ja"):
        assert store.read(f"cps/cp-cps-2.0.{language}.md")
        assert store.read(f"cps/cp-cps-2.0.{language}.html")


@pytest.mark.clause("requirements 2.86")
@pytest.mark.clause("CPS 9.12.2")
def test_each_version_has_its_dates_and_the_change_log_of_all_before(store: Store) -> None:
    two_versions(store, Settings())
    first, second = text(store, "cps/cp-cps-1.0.en.md"), text(store, "cps/cp-cps-2.0.en.md")
    assert "Published on 2026-11-24; effective from 2026-11-30." in first
    assert "| 1.0 | 2026-11-30 | Change 0 & its reason. |" in first
    assert "Change 1" not in first
    assert second.index("| 2.0 | 2026-12-30 | Change 1") < second.index("| 1.0 | 2026-11-30 | Change 0")
    assert "| 2.0 | 2026-12-30 | 変更 1 とその理由。 |" in text(store, "cps/cp-cps-2.0.ja.md")


@pytest.mark.clause("CPS 9.12.2: the publication is the notice")
def test_the_list_tells_of_each_revision_and_marks_the_version_in_force(store: Store) -> None:
    two_versions(store, Settings())
    for name, language, change in (("cps/", "en", "Change 1 &amp;"), ("ja/cps/", "ja", "変更 1")):
        page = text(store, f"{name}index.html")
        assert f'<html lang="{language}">' in page
        assert change in page
        assert page.index("<td>2.0 ") < page.index("<td>1.0</td>")
        assert f"/cps/changes-1.0-2.0.{language}.html" in page
        assert "2026-12-24" in page


def test_the_newest_version_stands_under_a_name_that_stays(store: Store) -> None:
    two_versions(store, Settings())
    for language in ("en", "ja"):
        assert text(store, f"cps/latest.{language}.md") == text(store, f"cps/cp-cps-2.0.{language}.md")
        assert text(store, f"cps/latest.{language}.html") == text(store, f"cps/cp-cps-2.0.{language}.html")
    assert text(store, "cps/latest.html") == text(store, "cps/latest.en.html")
    assert store.read("terms/latest.html")


def test_what_changed_between_neighbours_is_shown_for_people_and_for_programs(store: Store) -> None:
    two_versions(store, Settings())
    page, unified = text(store, "cps/changes-1.0-2.0.en.html"), text(store, "cps/changes-1.0-2.0.en.txt")
    assert "<del>ca</del><ins>b</ins>.example" in page
    assert "4.2.2 Approval or rejection" in page
    assert "-CAA records" in unified
    assert "+CAA records" in unified
    assert unified.startswith("--- cps/cp-cps-1.0.en.md\n+++ cps/cp-cps-2.0.en.md\n")


def test_a_published_text_gives_its_draft_back(store: Store) -> None:
    made = edition(Settings())
    editions.publish(store, CPS, [made], Settings())
    for language in ("en", "ja"):
        assert draft_of(text(store, f"cps/cp-cps-1.0.{language}.md"), language) == made.drafts[language]


def test_a_version_that_is_public_with_another_text_is_refused_and_nothing_changes(store: Store) -> None:
    editions.publish(store, CPS, [edition(Settings())], Settings())
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    other = edition(replace(Settings(), ca=Ca(caa_identities=("b.example",))))
    with pytest.raises(NotPublished, match="new version"):
        editions.publish(store, CPS, [other], Settings())
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before


def test_a_restored_register_takes_no_newer_version_from_the_public(store: Store) -> None:
    two_versions(store, Settings())
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    with pytest.raises(NotPublished, match=r"cp-cps 2\.0 is public, but the register does not know"):
        editions.publish(store, CPS, [edition(Settings())], Settings())
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before
    third = edition(replace(Settings(), ca=Ca(cps_version="2.1")), 2)
    editions.publish(store, CPS, [edition(Settings()), third], Settings())
    assert text(store, "cps/latest.en.md") == text(store, "cps/cp-cps-2.1.en.md")
    assert "/cps/cp-cps-2.0.en.html" in text(store, "cps/index.html")


def test_a_second_run_changes_nothing(store: Store) -> None:
    made = [edition(Settings())]
    assert editions.publish(store, CPS, made, Settings())
    assert editions.publish(store, CPS, made, Settings()) == []


def test_words_that_came_and_went_are_marked_and_markup_in_them_is_text() -> None:
    (hunk,) = difference.hunks("## 1.1 A\n\none <b>two</b>", "## 1.1 A\n\none <b>three</b>")
    assert hunk.section == "1.1 A"
    assert hunk.html == "one &lt;b&gt;<del>two</del><ins>three</ins>&lt;/b&gt;"
    (gone,) = difference.hunks("# T\n\n## 1 A\n\nold\n", "# T\n\n## 1 A\n")
    assert (gone.section, gone.html) == ("1 A", "<del>old</del>")
    assert difference.hunks("same", "same") == []
    assert difference.unified("same", "same", "a", "b") == ""
