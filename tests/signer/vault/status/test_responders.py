"""The delegated OCSP responders renew themselves in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from core.clock import FakeClock
from core.errors import ConfigurationError, Refused
from core.randomness import SystemRandomness
from core.settings import ResponderMaker, Settings
from core.settings import Vault as VaultSettings
from signer.api import KeyUse, LintRecord
from signer.vault.lint.pool import Kind, LintPool
from signer.vault.record.journal import Journal
from signer.vault.signing import IssuingKey, Signer
from signer.vault.status.responders import Responders
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.session import Session
from signer.vault.tokens.token import TokenThreads
from tests.support.software_ca import DAY, NOW, private_key, sign, software_ca

RENEWAL = Settings().vault.responder_renewal


class SoftwareKeeper(Session):
    """Finds and makes keys in memory."""

    def __init__(self) -> None:
        self.made: dict[str, Key] = {}

    def has(self, label: str) -> bool:
        return label in self.made

    def find(self, label: str) -> Key:
        return self.made[label]

    def generate(self, label: str, algorithm: KeyAlgorithm) -> Key:
        number = 100 + len(self.made)
        self.made[label] = Key(label, algorithm, private_key("ec-p256", number).public_key())
        return self.made[label]


class SoftwareToken(TokenThreads):
    """Signs with the software CA's key."""

    def __init__(self) -> None:
        self._login = SoftwareKeeper()

    async def sign_all(self, key: Key, data: Sequence[bytes]) -> list[bytes]:
        return [await self.sign(key, one) for one in data]

    async def sign(self, key: Key, data: bytes) -> bytes:
        return sign(software_ca("ec-p256").key, data)


class Lint(LintPool):
    """Finds what it is told to find."""

    def __init__(self) -> None:
        self.refusal: Refused | None = None

    async def lint(
        self, octets: bytes, kind: Kind, *, at: int | None = None, plain: bool = False
    ) -> LintRecord:
        assert kind is Kind.OCSP_RESPONDER
        if self.refusal is not None:
            raise self.refusal
        return LintRecord((), ())


class World:
    """Responders of one issuer, started again on the same journal and token as a test likes."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock(NOW)
        self.token = SoftwareToken()
        self.lint = Lint()
        self.journal = Journal(directory / "journal", self.clock)

    def started(self, settings: Settings | None = None) -> Responders:
        ca = software_ca("ec-p256")
        key = Key("ec-p256", KeyAlgorithm.EC_P256, ca.key.public_key())
        responders = Responders(
            settings or Settings(),
            {
                "ec-p256": IssuingKey(ca.issuer, key, KeyUse.ISSUING),
                "local": IssuingKey(replace(ca.issuer, id="local"), key, KeyUse.LOCAL_SERVICE),
            },
            Signer(self.token, self.journal),
            self.journal,
            self.lint,
            self.clock,
            SystemRandomness(),
        )
        responders.take(self.token.keeper)
        return responders


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    made.journal.close()


@pytest.mark.clause("BR 7.1.2.8")
async def test_a_responder_is_made_at_the_first_start_and_lives_30_days_at_most(world: World) -> None:
    responders = world.started()
    await responders.renew()
    certificate = x509.load_der_x509_certificate(responders.current("ec-p256").certificate)
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() < 30 * DAY
    assert [entry.kind for entry in world.journal.page(0, 9)] == ["ocsp-responder-intent", "ocsp-responder"]


async def test_the_next_start_finds_it_again(world: World) -> None:
    first = world.started()
    await first.renew()
    second = world.started()
    await second.renew()
    assert second.current("ec-p256") == first.current("ec-p256")
    assert world.journal.sequence == 2


async def test_it_is_renewed_when_it_has_less_left_than_the_setting_says(world: World) -> None:
    responders = world.started()
    await responders.renew()
    first = responders.current("ec-p256")
    world.clock.at = first.not_after - RENEWAL
    await responders.renew()
    assert responders.current("ec-p256") == first
    world.clock.at += 1
    await responders.renew()
    second = responders.current("ec-p256")
    assert second.key == first.key
    assert second.not_after > first.not_after


async def test_a_renewal_that_fails_leaves_the_old_one_in_use(world: World) -> None:
    responders = world.started()
    await responders.renew()
    first = responders.current("ec-p256")
    world.clock.at = first.not_after - DAY
    world.lint.refusal = Refused("lint.fault", "a fault")
    with pytest.raises(Refused):
        await responders.renew()
    assert responders.current("ec-p256") == first
    assert world.journal.sequence == 2


async def test_an_issuer_without_ocsp_has_no_responder(world: World) -> None:
    responders = world.started()
    await responders.renew()
    with pytest.raises(Refused, match=r"ocsp\.issuer"):
        responders.current("local")
    assert len(responders.keys) == 1


@pytest.mark.parametrize(("lifetime", "renewal"), [(31 * DAY, DAY), (7 * DAY, 7 * DAY), (DAY, 0)])
async def test_a_lifetime_that_cannot_be_kept_is_refused(world: World, lifetime: int, renewal: int) -> None:
    vault = VaultSettings(responder_lifetime=lifetime, responder_renewal=renewal)
    with pytest.raises(ConfigurationError, match=r"vault\.responder_lifetime is"):
        world.started(Settings(vault=vault))
    assert world.journal.sequence == 0
    assert not world.token.keeper.made  # type: ignore[attr-defined]


@pytest.mark.clause("BR 4.9.9")
async def test_a_responder_is_replaced_every_week_without_a_person(world: World) -> None:
    responders = world.started()
    await responders.renew()
    weeks = 0
    for _ in range(8 * 7):
        before = responders.current("ec-p256")
        world.clock.at += DAY
        await responders.renew()
        weeks += responders.current("ec-p256") != before
    assert weeks == 8


@pytest.mark.clause("CPS 6.3.2")
async def test_the_last_responder_ends_with_its_issuer_and_is_not_renewed(world: World) -> None:
    ends = software_ca("ec-p256").issuer.not_after
    world.clock.at = ends - 3 * DAY
    responders = world.started()
    await responders.renew()
    last = responders.current("ec-p256")
    assert last.not_after == ends
    world.clock.at = ends
    await responders.renew()
    assert responders.current("ec-p256") == last
    sequence = world.journal.sequence
    world.clock.at = ends + 1
    await responders.renew()
    assert responders.all() == []
    assert world.journal.sequence == sequence


async def test_a_restored_token_with_another_responder_key_gets_a_certificate_for_that_one(
    world: World,
) -> None:
    first = world.started()
    await first.renew()
    world.token = SoftwareToken()
    world.token.keeper.made["another"] = world.token.keeper.generate("another", KeyAlgorithm.EC_P256)  # type: ignore[attr-defined]
    second = world.started()
    await second.renew()
    new = second.current("ec-p256")
    assert new.key.spki != first.current("ec-p256").key.spki
    certified = x509.load_der_x509_certificate(new.certificate).public_key()
    assert certified == new.key.public_key


BY_PEOPLE = replace(Settings(), vault=VaultSettings(responders=ResponderMaker.CEREMONY))


async def test_where_people_make_the_responders_the_vault_makes_none(world: World) -> None:
    with pytest.raises(ConfigurationError, match="hold a ceremony with a step responder-certificate"):
        await world.started(BY_PEOPLE).renew()
    assert world.journal.sequence == 0


async def test_a_responder_made_by_people_is_used_and_its_end_is_told_in_time(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.started().renew()
    made = world.journal.sequence
    responders = world.started(BY_PEOPLE)
    await responders.renew()
    assert not caplog.records
    world.clock.at = responders.current("ec-p256").not_after - DAY
    await responders.renew()
    assert "ends in 24 hours: hold a ceremony" in caplog.text
    assert world.journal.sequence == made
    world.clock.at += 2 * DAY
    with pytest.raises(ConfigurationError, match="there is no OCSP responder of ec-p256"):
        await responders.renew()
