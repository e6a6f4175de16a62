"""What a perspective says of itself, against the settings and the pinned key; with real channels to it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import FakeClock, SystemClock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError, TransientError
from core.settings import Perspective, Rules, Settings
from operations.alarms import perspectives
from operations.alarms.perspectives import PerspectiveWatch, contradiction, own_warning
from tests.support.elsewhere import Honest, Pki, coordinator_settings
from validation.api import CheckRequest, Health
from validation.keys import public_key_octets
from validation.mpic.channel import channels
from validation.mpic.mutual_tls import Identity

FAR = Perspective("far", "APNIC", url="https://127.0.0.1:1")
HEALTH = Health("far", b"spki", (), "APNIC", 2_000_000_000)

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "root")


@pytest.fixture
def data(tmp_path: Path, pki: Pki) -> DataDirectory:
    made = DataDirectory(tmp_path / "ca")
    pki.coordinator(made)
    return made


@pytest.fixture
async def far(pki: Pki, tmp_path: Path) -> AsyncIterator[Honest]:
    made = Honest("far", Identity(pki.give(tmp_path / "far", "far"), server=True))
    async with made.serving():
        yield made


def settings(far: Honest, rules: Rules = Rules.PRIVATE, region: str = "APNIC") -> Settings:
    return coordinator_settings(Perspective("far", region, url=far.url), rules=rules)


@pytest.mark.row("mpic.start")
@pytest.mark.parametrize(
    ("health", "pinned", "said"),
    [
        (HEALTH, b"spki", ""),
        (HEALTH, None, ""),
        (replace(HEALTH, code="other"), b"spki", "calls itself 'other'"),
        (replace(HEALTH, region="ARIN"), b"spki", "region 'ARIN', not 'APNIC'"),
        (replace(HEALTH, public_key=b"another"), b"spki", "not the one that the ceremony pinned"),
        (replace(HEALTH, ends=1_000), b"spki", "has ended"),
    ],
)
def test_code_region_key_and_certificate_must_agree(health: Health, pinned: bytes | None, said: str) -> None:
    found = contradiction(FAR, health, pinned, 1_800_000_000)
    assert said in found
    assert bool(said) is bool(found)


@pytest.mark.row("mpic.start", "attacks.rogue-perspective")
@pytest.mark.clause("BR 3.2.2.9")
async def test_under_public_rules_a_ca_does_not_start_with_one_that_contradicts(
    data: DataDirectory, far: Honest
) -> None:
    configured = settings(far, Rules.PUBLIC, region="ARIN")
    to = channels(data, configured, 5)
    watch = PerspectiveWatch(to, configured, data, {"far": far.spki}, SystemClock())
    with pytest.raises(ConfigurationError, match="region 'APNIC', not 'ARIN'"):
        await watch.start()
    await to["far"].close()


@pytest.mark.row("attacks.rogue-perspective")
async def test_one_that_contradicts_is_not_asked_until_it_agrees_again(
    data: DataDirectory, far: Honest, caplog: pytest.LogCaptureFixture
) -> None:
    to = channels(data, settings(far), 5)
    pinned = {"far": public_key_octets(ec.generate_private_key(ec.SECP256R1()))}
    watch = PerspectiveWatch(to, settings(far), data, pinned, SystemClock())
    await watch.start()
    await watch.look()
    request = CheckRequest("a.example.com", "https://ca/a/1", "x", "", "dns-01")
    with pytest.raises(TransientError, match="not the one that the ceremony pinned"):
        await to["far"].check(request)
    assert far.resolver.asked == []
    loud = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(loud) == 1  # and not once a minute
    pinned["far"] = far.spki
    to["far"].pin(far.spki)
    await watch.look()
    await to["far"].check(request)
    await to["far"].close()


async def test_one_that_is_away_is_waited_for_and_does_not_hinder_the_start(
    data: DataDirectory, far: Honest
) -> None:
    configured = coordinator_settings(replace(FAR, url="https://127.0.0.1:1"), rules=Rules.PUBLIC)
    to = channels(data, configured, 5)
    watch = PerspectiveWatch(to, configured, data, {}, SystemClock())
    await watch.start()
    (state,) = await watch.look()
    assert state.away
    assert not state.wrong
    await to["far"].close()


async def test_the_end_of_a_certificate_is_told_ten_days_before(
    data: DataDirectory, far: Honest, caplog: pytest.LogCaptureFixture
) -> None:
    to = channels(data, settings(far), 5)
    clock = FakeClock(SystemClock().now() + 25 * 86400)
    watch = PerspectiveWatch(to, settings(far), data, {}, clock)
    for _ in range(2):
        await watch.look()
    await to["far"].close()
    # Once, and not with every look.
    assert caplog.text.count("far: its channel's certificate ends in 4 days") == 1
    assert "mpic/identity.pem ends in 4 days: renew it" in caplog.text


def test_a_ca_without_perspectives_elsewhere_needs_no_identity(tmp_path: Path) -> None:
    bare = DataDirectory(tmp_path / "bare")
    assert own_warning((Perspective(),), bare, 0) == ""
    assert "acme-server mpic request" in own_warning((FAR,), bare, 0)


async def test_a_fault_of_ours_while_looking_is_no_word_about_the_perspective(
    data: DataDirectory, far: Honest, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = channels(data, settings(far), 5)

    async def broken() -> Health:
        raise RuntimeError("a bug")

    monkeypatch.setattr(to["far"], "health", broken)
    (state,) = await perspectives.look(to, settings(far).validation.perspectives, {}, 0)
    assert (state.wrong, state.away) == ("", "a fault of ours; the log says more")
