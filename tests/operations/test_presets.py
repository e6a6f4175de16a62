from __future__ import annotations

from pathlib import Path

import pytest

from core.configuration import load
from core.settings import Rules
from operations import children

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize("preset", sorted(DEPLOY.glob("*.toml")), ids=lambda path: path.name)
def test_a_preset_can_be_used_as_it_is(preset: Path) -> None:
    load(preset)


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


def test_every_perspective_is_a_process() -> None:
    settings = load(DEPLOY / "public-loopback.toml")
    codes = {child.code for child in children.of(settings) if child.role == "perspective"}
    assert codes == {perspective.code for perspective in settings.validation.perspectives}
