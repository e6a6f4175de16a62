"""The vault's judgement over time, with a clock that is turned by hand and software keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509

from core.blocklist import Blocklist
from core.clock import ClockSteppedBack, FakeClock
from core.errors import HaltIssuance, Refused, TransientError
from core.randomness import SystemRandomness
from core.settings import Ca, Deployment, Profile, Rules, Settings
from signer import serials
from signer.api import CrlRequest, IssueRequest, KeyUse, LeafRequest, LintRecord, RecallRequest
from signer.vault import service as service_module
from signer.vault.judgement.blocked import RefusedKeys
from signer.vault.judgement.evidence import Verifier
from signer.vault.lint.pool import Kind, LintPool
from signer.vault.record.journal import Journal
from signer.vault.sealed.seal import Hierarchy
from signer.vault.service import PREPARED_LIFETIME, Service
from signer.vault.signing import IssuingKey, Signer
from signer.vault.status.responders import Responders
from signer.vault.templates import leaf
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.message import Data
from signer.vault.tokens.token import TokenThreads
from tests.support.software_ca import DAY, NOW, leaf_request, sign, software_ca


class SoftwareToken(TokenThreads):
    """Signs with software keys; can be told to fail or to err."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.wrong = False
        self.gate: asyncio.Event | None = None
        self.uses = 0

    def hang(self) -> None:
        self._serial, self._timeout, self._hanging = "0123", 10, True

    async def sign_all(self, key: Key, data: Sequence[bytes]) -> list[bytes]:
        return [await self.sign(key, one) for one in data]

    async def sign(self, key: Key, data: Data) -> bytes:
        self.uses += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return sign(software_ca("ec-p256").key, bytes(data) + b"!" if self.wrong else bytes(data))


class Lint(LintPool):
    """Finds what it is told to find."""

    def __init__(self) -> None:
        self.linters = ("lint 1", "profile 1")
        self._running = True
        self.refusal: Refused | None = None
        self.seen: list[bytes] = []

    async def lint(
        self, octets: bytes, kind: Kind, *, at: int | None = None, plain: bool = False
    ) -> LintRecord:
        self.seen.append(octets)
        if self.refusal is not None:
            raise self.refusal
        return LintRecord(self.linters, ())


class Believing(Verifier):
    """Evidence is another file's subject."""

    def __init__(self) -> None:
        pass

    def verify(self, request: LeafRequest, now: int, until: int | None = None) -> None:
        pass


@dataclass
class World:
    """A service and all that it stands on."""

    service: Service
    clock: FakeClock
    journal: Journal
    token: SoftwareToken
    lint: Lint
    signer: Signer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = _world(tmp_path, Settings(ca=Ca(rules=Rules.PUBLIC)))
    yield made
    made.journal.close()


def _world(directory: Path, settings: Settings, at: int = NOW) -> World:
    ca = software_ca("ec-p256")
    issuer = replace(ca.issuer, not_before=min(at, ca.issuer.not_before))
    clock = FakeClock(at)
    journal = Journal(directory / "journal", clock)
    token, lint = SoftwareToken(), Lint()
    signer = Signer(token, journal)
    key = Key("ec-p256", KeyAlgorithm.EC_P256, ca.key.public_key())
    service = Service(
        settings,
        Hierarchy(1, NOW, settings.ca.rules, ca.root, b"", (), ()),
        {"ec-p256": IssuingKey(issuer, key, KeyUse.ISSUING)},
        RefusedKeys(frozenset(), journal, Blocklist()),
        signer,
        Responders.__new__(Responders),
        journal,
        lint,
        Believing(),
        clock,
        SystemRandomness(),
    )
    return World(service, clock, journal, token, lint, signer)


def request(**changes: object) -> LeafRequest:
    return replace(leaf_request(serial=serials.draw(SystemRandomness())), **changes)  # type: ignore[arg-type]


async def test_what_is_linted_is_what_is_signed(world: World) -> None:
    prepared = await world.service.prepare(request())
    issued = await world.service.issue(IssueRequest(prepared.token))
    linted = x509.load_der_x509_certificate(world.lint.seen[0])
    signed = x509.load_der_x509_certificate(issued.certificate)
    assert linted.tbs_certificate_bytes == signed.tbs_certificate_bytes
    assert linted.signature != signed.signature


@pytest.mark.clause("BR 4.3.1.2")
async def test_nothing_is_kept_of_what_the_linter_refused(world: World) -> None:
    world.lint.refusal = Refused("lint.pkix.fault", "a fault")
    with pytest.raises(Refused, match=r"lint\.pkix\.fault"):
        await world.service.prepare(request())
    assert world.journal.sequence == 0
    assert not world.service._prepared


@pytest.mark.clause("BR 4.3.1.2")
async def test_a_lint_worker_that_finds_nothing_gets_nothing_signed_that_our_own_lint_refuses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = leaf.build_tbs
    monkeypatch.setattr(
        leaf, "build_tbs", lambda *given: template(*given).replace(b"www.acme-shop.com", b"www.evil-shop.com")
    )
    with pytest.raises(Refused, match=r"profile\.extension"):
        await world.service.prepare(request())
    assert world.lint.seen == []
    assert world.journal.sequence == 0
    assert not world.service._prepared


@pytest.mark.clause("BR 8.7")
async def test_when_what_was_signed_is_found_wrong_nothing_more_is_issued(world: World) -> None:
    world.service.sampler._one_in = 1
    prepared = await world.service.prepare(request())
    kept = await world.service.prepare(request(issuance_id="issuance-2"))
    world.lint.refusal = Refused("lint.pkix.fault", "a fault")
    await world.service.issue(IssueRequest(prepared.token))
    assert world.service.sampler._at_work is not None
    await world.service.sampler._at_work
    used = world.journal.sequence
    for attempt in (world.service.prepare(request()), world.service.issue(IssueRequest(kept.token))):
        with pytest.raises(HaltIssuance, match=r"lint\.pkix\.fault"):
            await attempt
    assert world.journal.sequence == used
    assert world.journal.halt is not None  # and so it stays after a restart


async def test_what_was_prepared_expires(world: World) -> None:
    prepared = await world.service.prepare(request())
    world.clock.at += PREPARED_LIFETIME + 1
    with pytest.raises(Refused, match=r"token\.unknown"):
        await world.service.issue(IssueRequest(prepared.token))
    assert world.journal.sequence == 0


async def test_what_expired_makes_room_and_a_full_vault_asks_to_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "MAX_PREPARED", 2)
    for number in range(2):
        await world.service.prepare(request(issuance_id=f"issuance-{number}"))
    with pytest.raises(TransientError, match="too many prepared"):
        await world.service.prepare(request(issuance_id="issuance-2"))
    world.clock.at += PREPARED_LIFETIME + 1
    await world.service.prepare(request(issuance_id="issuance-3"))
    assert len(world.service._prepared) == 1


@pytest.mark.clause("BR 6.3.2")
@pytest.mark.parametrize(("at", "days"), [(NOW, 200), (1805068799, 200), (1805068800, 100)])
async def test_the_validity_is_limited_by_the_rule_of_the_day(tmp_path: Path, at: int, days: int) -> None:
    settings = Settings(ca=Ca(rules=Rules.PUBLIC), profiles={"tlsserver": Profile(validity=300 * DAY)})
    world = _world(tmp_path, settings)
    world.clock.at = at
    await world.service.prepare(request(not_before=at, not_after=at + days * DAY - 1))
    with pytest.raises(Refused, match=r"profile\.validity"):
        await world.service.prepare(request(not_before=at, not_after=at + days * DAY))
    world.journal.close()


async def test_a_token_that_fails_leaves_an_intent_without_result(world: World) -> None:
    prepared = await world.service.prepare(request())
    world.token.error = TransientError("device error")
    with pytest.raises(TransientError):
        await world.service.issue(IssueRequest(prepared.token))
    recalled = await world.service.recall(RecallRequest("issuance-1"))
    assert recalled.intent
    assert recalled.certificate is None


@pytest.mark.clause("house: the crash rule")
async def test_a_token_that_goes_on_failing_costs_one_serial_number_and_not_one_for_each_try(
    world: World,
) -> None:
    prepared = await world.service.prepare(request())
    world.token.error = TransientError("device error")
    with pytest.raises(TransientError):
        await world.service.issue(IssueRequest(prepared.token))
    intents = world.journal.sequence
    for number in range(3):
        with pytest.raises(TransientError, match="device error"):
            await world.service.prepare(request(issuance_id=f"again-{number}"))
    assert world.journal.sequence == intents
    world.token.error = None
    prepared = await world.service.prepare(request(issuance_id="issuance-2"))
    await world.service.issue(IssueRequest(prepared.token))


@pytest.mark.clause("house: the crash rule")
async def test_an_order_whose_signing_failed_goes_on_and_one_that_has_its_certificate_does_not(
    world: World, tmp_path: Path
) -> None:
    """By what its account signed: the same words under another serial number, after a restart, too."""
    asked = request()

    def again(id: str) -> LeafRequest:
        return replace(asked, issuance_id=id, serial=serials.draw(SystemRandomness()))

    failing = await world.service.prepare(asked)
    world.token.error = TransientError("device error")
    with pytest.raises(TransientError):
        await world.service.issue(IssueRequest(failing.token))
    world.token.error = None
    kept = await world.service.prepare(again("issuance-2"))
    second = await world.service.prepare(again("issuance-3"))
    await world.service.issue(IssueRequest(second.token))
    intents = world.journal.sequence
    with pytest.raises(Refused, match=r"applicant\.used"):
        await world.service.issue(IssueRequest(kept.token))
    assert world.journal.sequence == intents
    world.journal.close()
    restarted = _world(tmp_path, Settings(ca=Ca(rules=Rules.PUBLIC)))
    with pytest.raises(Refused, match=r"applicant\.used"):
        await restarted.service.prepare(again("issuance-4"))
    restarted.journal.close()
    world.journal = Journal(tmp_path / "other", world.clock)  # for the fixture to close


@pytest.mark.clause("house: the crash rule")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_recall_waits_for_what_is_being_signed(world: World, fails: bool) -> None:
    prepared = await world.service.prepare(request())
    world.token.gate = asyncio.Event()
    world.token.error = TransientError("device error") if fails else None
    issuing = asyncio.ensure_future(world.service.issue(IssueRequest(prepared.token)))
    while not world.journal.sequence:
        await asyncio.sleep(0)
    recalling = asyncio.ensure_future(world.service.recall(RecallRequest("issuance-1")))
    done, _ = await asyncio.wait([recalling], timeout=0.05)
    assert not done
    world.token.gate.set()
    recalled = await recalling
    assert recalled.intent
    if fails:
        assert isinstance(issuing.exception(), TransientError)
        assert recalled.certificate is None
    else:
        assert recalled.certificate == (await issuing).certificate


async def test_a_token_that_errs_halts_and_its_certificate_never_leaves(world: World) -> None:
    prepared = await world.service.prepare(request())
    world.token.wrong = True
    with pytest.raises(HaltIssuance, match="take it out of use"):
        await world.service.issue(IssueRequest(prepared.token))
    recalled = await world.service.recall(RecallRequest("issuance-1"))
    assert recalled.certificate is None


async def test_after_a_wrong_signature_nothing_more_is_signed(world: World) -> None:
    tokens = [
        (await world.service.prepare(request(issuance_id=f"issuance-{number}"))).token for number in range(2)
    ]
    world.token.wrong = True
    with pytest.raises(HaltIssuance):
        await world.service.issue(IssueRequest(tokens[0]))
    world.token.wrong = False
    before = world.journal.sequence
    with pytest.raises(HaltIssuance, match="since this happened"):
        await world.service.issue(IssueRequest(tokens[1]))
    assert world.journal.sequence == before


async def test_a_clock_that_stepped_back_halts_before_the_key_is_used(world: World) -> None:
    prepared = await world.service.prepare(request())
    world.clock.at -= 3600
    with pytest.raises(ClockSteppedBack):
        await world.service.issue(IssueRequest(prepared.token))
    with pytest.raises(ClockSteppedBack):
        await world.service.prepare(request(issuance_id="issuance-2"))
    assert world.journal.sequence == 0


@pytest.mark.clause("BR 4.10.2")
async def test_a_clock_that_stepped_back_leaves_crls_to_be_signed(world: World) -> None:
    latest = world.clock.now()
    world.clock.at -= 3600
    wanted = CrlRequest("ec-p256", 0, 1, latest, latest + DAY, ())
    crl = x509.load_der_x509_crl((await world.service.status.sign_crl(wanted)).whole([]))
    assert int(crl.last_update_utc.timestamp()) == latest


@pytest.mark.clause("house: production gates")
async def test_in_production_a_clock_that_is_no_longer_synchronised_halts_issuance(tmp_path: Path) -> None:
    world = _world(tmp_path, Settings(deployment=Deployment(production=True)))
    prepared = await world.service.prepare(request())
    world.clock._synchronised = False
    with pytest.raises(HaltIssuance, match="no time service"):
        await world.service.issue(IssueRequest(prepared.token))
    with pytest.raises(HaltIssuance, match="no time service"):
        await world.service.prepare(request(issuance_id="issuance-2"))
    assert world.journal.sequence == 0
    world.clock._synchronised = True
    prepared = await world.service.prepare(request(issuance_id="issuance-3"))
    await world.service.issue(IssueRequest(prepared.token))
    world.journal.close()


async def test_outside_of_production_an_unsynchronised_clock_is_no_obstacle(world: World) -> None:
    world.clock._synchronised = False
    prepared = await world.service.prepare(request())
    await world.service.issue(IssueRequest(prepared.token))


async def test_a_clock_that_caught_up_lets_the_vault_sign_again(world: World) -> None:
    tokens = [
        (await world.service.prepare(request(issuance_id=f"issuance-{number}"))).token for number in range(2)
    ]
    await world.service.issue(IssueRequest(tokens[0]))
    world.clock.at -= 10
    with pytest.raises(ClockSteppedBack):
        await world.service.issue(IssueRequest(tokens[1]))
    world.clock.at += 20
    prepared = await world.service.prepare(
        request(issuance_id="issuance-2", serial=serials.draw(SystemRandomness()))
    )
    await world.service.issue(IssueRequest(prepared.token))


async def test_a_stopping_vault_begins_nothing(world: World) -> None:
    prepared = await world.service.prepare(request())
    await world.signer.close()
    with pytest.raises(TransientError, match="stopping"):
        await world.service.issue(IssueRequest(prepared.token))
    assert world.journal.sequence == 0


async def test_nothing_is_begun_while_the_token_hangs(world: World) -> None:
    world.token.hang()
    prepared = await world.service.prepare(request())
    with pytest.raises(TransientError, match=r"has not answered .* raise vault\.token_timeout"):
        await world.service.issue(IssueRequest(prepared.token))
    assert world.journal.sequence == 0


async def test_one_failure_of_a_key_loses_one_serial_number_and_not_all_that_are_prepared(
    world: World,
) -> None:
    prepared = [await world.service.prepare(request(issuance_id=f"{number}")) for number in range(3)]
    world.token.error = TransientError("the token did not sign")
    for each in prepared:
        with pytest.raises(TransientError):
            await world.service.issue(IssueRequest(each.token))
    assert world.journal.sequence == 1  # one intent
    world.token.error = None
    await world.service.issue(IssueRequest((await world.service.prepare(request())).token))
