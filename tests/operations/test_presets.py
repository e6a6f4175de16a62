from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from core import checks
from core.clock import FakeClock
from core.configuration import load
from core.errors import ConfigurationError
from core.settings import Rules
from operations import children
from operations.supervisor import Invocation, run
from repo_static.documents import lint, practice
from repo_static.documents.kinds import Document
from repo_static.documents.text import drafts

NEXT_YEAR = 1_798_761_600
"""2027-01-01: five remote perspectives are the rule."""

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize("preset", sorted(DEPLOY.glob("*.toml")), ids=lambda path: path.name)
def test_a_preset_can_be_used_as_it_is(preset: Path) -> None:
    load(preset)


@pytest.mark.clause("requirements 1.10")
@pytest.mark.clause("requirements Z9")
@pytest.mark.parametrize("document", Document)
@pytest.mark.parametrize("preset", sorted(DEPLOY.glob("*.toml")), ids=lambda path: path.name)
def test_the_documents_of_a_preset_are_whole(preset: Path, document: Document) -> None:
    settings = load(preset)
    if settings.ca.practice:
        settings = replace(settings, ca=replace(settings.ca, practice=str(DEPLOY / "practice" / "jprs.toml")))
    assert lint.findings(document, drafts(document, settings)) == []


@pytest.mark.clause("CPS 1.2")
@pytest.mark.clause("CPS 1.5.2")
@pytest.mark.clause("CPS 5.2.1")
def test_the_seeds_preset_has_the_seeds_identifiers_contacts_and_roles() -> None:
    settings = load(DEPLOY / "jprs.toml")
    settings = replace(settings, ca=replace(settings.ca, practice=str(DEPLOY / "practice" / "jprs.toml")))
    english, japanese = (lint.sections(drafts(Document.CP_CPS, settings)[each]) for each in ("en", "ja"))
    for text in (english, japanese):
        assert "1.3.6.1.4.1.53827.1.1.4" in text["1.2"]
        assert "1.3.6.1.4.1.53827.1.2.4" in text["1.2"]
        assert "https://jprs.jp/pubcert/f_mail/" in text["1.5.2"]
        assert "info@jprs.jp" in text["1.5.2"]
        assert "`jprs.jp`" in text["4.2.2"]
    assert "サーバー証明書発行サービス運営会議" in japanese["1.5.3"]
    for role in ("サービス責任者", "サービス管理者", "ログ検査者"):
        assert f"「{role}」" in japanese["5.2.1"]
    for office in ("CA", "RA"):
        for rank in ("責任者", "管理者", "担当者"):
            assert f"「{office} 業務{rank}」" in japanese["5.2.1"]


def test_every_sentence_of_the_seeds_practice_is_its_own() -> None:
    assert set(tomllib.loads((DEPLOY / "practice" / "jprs.toml").read_text())["en"]) == set(
        practice.sections()
    )


@pytest.mark.clause("BR 3.2.2.9")
def test_the_public_rehearsal_has_a_primary_and_two_remotes_in_each_of_three_regions() -> None:
    settings = load(DEPLOY / "public-loopback.toml")
    assert settings.ca.rules is Rules.PUBLIC
    primary, *remotes = settings.validation.perspectives
    regions = [remote.region for remote in remotes]
    assert len(remotes) == 6
    assert {regions.count(region) for region in set(regions)} == {2}
    assert len(set(regions)) == 3
    assert primary.code not in {remote.code for remote in remotes}


@pytest.mark.row("mpic.numbers-by-date", "mpic.distance")
@pytest.mark.clause("BR 3.2.2.9")
def test_the_public_preset_has_six_remotes_elsewhere_that_the_rules_of_next_year_accept() -> None:
    settings = load(DEPLOY / "public.toml")
    primary, *remotes = settings.validation.perspectives
    regions = [remote.region for remote in remotes]
    assert {regions.count(region) for region in set(regions)} == {2}
    assert len(remotes) == 6
    assert primary.url == ""
    assert all(remote.url == f"https://{remote.code}.{settings.mpic.zone}:14043" for remote in remotes)
    checks.dated(settings, NEXT_YEAR)
    assert [child.code for child in children.of(settings) if child.role == "perspective"] == [primary.code]


def test_the_preset_of_a_perspectives_host_agrees_with_the_cas() -> None:
    ca, host = load(DEPLOY / "public.toml"), load(DEPLOY / "perspective.toml")
    (here,) = host.validation.perspectives
    there = {place.code: place for place in ca.validation.perspectives}[here.code]
    assert here == replace(there, url="")
    assert host.ca.caa_identities == ca.ca.caa_identities
    assert (host.mpic.zone, host.validation.methods) == (ca.mpic.zone, ca.validation.methods)
    assert host.mpic.listen[0].rpartition(":")[2] == there.url.rpartition(":")[2]


def test_a_perspectives_host_is_no_ca(tmp_path: Path) -> None:
    invocation = Invocation(DEPLOY / "perspective.toml", tmp_path / "data")
    with pytest.raises(ConfigurationError, match="acme-server perspective singapore"):
        run(invocation, print, FakeClock(NEXT_YEAR))
    assert not (tmp_path / "data").exists()


def test_every_perspective_is_a_process() -> None:
    settings = load(DEPLOY / "public-loopback.toml")
    codes = {child.code for child in children.of(settings) if child.role == "perspective"}
    assert codes == {perspective.code for perspective in settings.validation.perspectives}
