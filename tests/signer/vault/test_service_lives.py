"""The vault refuses a signature outside of an issuing key's life, and the journal stays as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Refused
from core.settings import Profile, Settings
from signer.api import CrlRequest, IssueRequest, IssuerState, LocalServiceRequest, OcspRequest
from signer.vault.sealed.lifetimes import ACTIVE, Life
from tests.signer.vault.test_service import World, _world, request
from tests.support.software_ca import DAY, NOW, private_key, software_ca, spki

ENDS = software_ca("ec-p256").issuer.not_after


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = _world(tmp_path, Settings())
    yield made
    made.journal.close()


def lives(world: World, life: Life) -> None:
    """Seal this life for the one issuing key."""
    issuers = world.service._issuers
    issuers["ec-p256"] = replace(issuers["ec-p256"], life=life)  # type: ignore[index]


def crl(at: int) -> CrlRequest:
    return CrlRequest("ec-p256", 0, 1, at, at + DAY, ())


def ocsp(at: int) -> OcspRequest:
    return OcspRequest("ec-p256", b"\x41" * 16, "sha256", at, at + DAY, None, None)


async def refused(world: World, code: str, asked: Callable[[], Awaitable[object]]) -> None:
    """The request is refused for `code`, nothing is linted, and no key is used."""
    sequence, linted = world.journal.sequence, len(world.lint.seen)
    with pytest.raises(Refused) as refusal:
        await asked()
    assert refusal.value.code == code
    assert (world.journal.sequence, len(world.lint.seen)) == (sequence, linted)


@pytest.mark.clause("CPS 6.3.2")
async def test_after_the_issuers_last_second_nothing_is_signed(world: World) -> None:
    world.clock.at = ENDS
    await world.service.status.sign_crl(crl(ENDS))
    world.clock.at = ENDS + 1
    brief = request(not_before=ENDS - DAY, not_after=ENDS)
    await refused(world, "issuer.ended", lambda: world.service.prepare(brief))
    later = replace(crl(ENDS + 1), number=2)
    await refused(world, "issuer.ended", lambda: world.service.status.sign_crl(later))
    await refused(world, "issuer.ended", lambda: world.service.status.sign_ocsp(ocsp(ENDS + 1)))


@pytest.mark.clause("BR 4.9.7")
async def test_a_retired_issuer_signs_crls_and_no_leaves(world: World) -> None:
    lives(world, Life(IssuerState.RETIRED))
    await refused(world, "issuer.state", lambda: world.service.prepare(request()))
    await world.service.status.sign_crl(crl(NOW))


async def test_a_destroyed_issuer_signs_nothing(world: World) -> None:
    lives(world, Life(IssuerState.DESTROYED))
    await refused(world, "issuer.destroyed", lambda: world.service.prepare(request()))
    await refused(world, "issuer.destroyed", lambda: world.service.status.sign_crl(crl(NOW)))
    await refused(world, "issuer.destroyed", lambda: world.service.status.sign_ocsp(ocsp(NOW)))


async def test_what_was_prepared_before_an_issuers_last_second_is_not_signed_after_it(world: World) -> None:
    lives(world, Life(until=NOW))
    prepared = await world.service.prepare(request())
    world.clock.at = NOW + 1
    await refused(world, "issuer.until", lambda: world.service.issue(IssueRequest(prepared.token)))
    lives(world, ACTIVE)
    await refused(world, "token.unknown", lambda: world.service.issue(IssueRequest(prepared.token)))


@pytest.mark.clause("BR 6.3.2")
async def test_no_leaf_outlives_its_issuer(world: World) -> None:
    world.clock.at = ENDS - 30 * DAY
    begins = world.clock.at
    sound = request(not_before=begins, not_after=ENDS)
    await refused(
        world, "profile.not-after", lambda: world.service.prepare(replace(sound, not_after=ENDS + 1))
    )
    await world.service.prepare(sound)


@pytest.mark.clause("BR 6.3.2")
async def test_no_leaf_is_older_than_its_issuer(world: World) -> None:
    issuers = world.service._issuers
    known = issuers["ec-p256"]
    issuers["ec-p256"] = replace(known, issuer=replace(known.issuer, not_before=NOW))  # type: ignore[index]
    early = request(not_before=NOW - 1, not_after=NOW + DAY)
    await refused(world, "profile.not-before", lambda: world.service.prepare(early))
    await world.service.prepare(replace(early, not_before=NOW))


async def test_the_vault_itself_holds_a_profile_to_its_issuers(tmp_path: Path) -> None:
    settings = replace(Settings(), profiles={"tlsserver": Profile(issuers=("ec-9",))})
    world = _world(tmp_path, settings)
    try:
        await refused(world, "profile.issuer", lambda: world.service.prepare(request()))
    finally:
        world.journal.close()


@pytest.mark.parametrize(
    ("profile", "code"),
    [
        (Profile(identifiers=("ip",)), "profile.identifiers"),
        (Profile(client_auth=True), "profile.client-auth"),
    ],
)
async def test_the_vault_itself_holds_a_profile_to_its_identifiers_and_its_issuer(
    tmp_path: Path, profile: Profile, code: str
) -> None:
    world = _world(tmp_path, replace(Settings(), profiles={"tlsserver": profile}))
    try:
        await refused(world, code, lambda: world.service.prepare(request()))
    finally:
        world.journal.close()


async def test_a_retired_local_service_issuer_certifies_no_server_of_ours(world: World) -> None:
    from signer.api import KeyUse

    issuers = world.service._issuers
    issuers["ec-p256"] = replace(  # type: ignore[index]
        issuers["ec-p256"], use=KeyUse.LOCAL_SERVICE, life=Life(IssuerState.RETIRED)
    )
    asked = LocalServiceRequest(b"\x41" * 16, spki(private_key("ec-p256", 5)))
    await refused(world, "issuer.state", lambda: world.service.local_service(asked))


@pytest.mark.clause("BR 4.9.10")
async def test_a_serial_number_that_the_journal_does_not_know_is_never_good(world: World) -> None:
    await refused(world, "ocsp.unassigned", lambda: world.service.status.sign_ocsp(ocsp(NOW)))
