"""Precertificate and certificate: the same but for poison and SCTs, one of each, and no key use otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from core import der
from core.errors import HaltIssuance, Refused, TransientError
from core.requirements import DAY
from core.settings import Ca, Ct, CtMode, Profile, Rules, Settings
from signer import api
from signer.ct import sct, tbs
from signer.vault import leaf, linter, precertificates
from signer.vault.lint import Kind
from signer.vault.precertificates import FINAL_WITHIN
from tests.signer.vault.test_service import World, _world, request
from tests.support.software_ca import NOW, leaf_request, profile, sign, software_ca

pytestmark = pytest.mark.clause("RFC 6962 section 3.1")

SETTINGS = Settings(ca=Ca(rules=Rules.PUBLIC), ct=Ct(mode=CtMode.ON))
CA = software_ca()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = _world(tmp_path, SETTINGS)
    yield made
    made.journal.close()


def scts(count: int = 3, at: int = NOW) -> tuple[bytes, ...]:
    return tuple(
        sct.encode(sct.Sct(bytes([log]) * 32, at * 1000, b"", 4, 3, b"signature %d" % log))
        for log in range(count)
    )


async def precertificate(world: World, wanted: api.LeafRequest) -> bytes:
    prepared = await world.service.prepare(wanted)
    assert prepared.precertificate
    return (await world.service.issue(api.IssueRequest(prepared.token))).certificate


async def final(world: World, id: str, timestamps: tuple[bytes, ...]) -> bytes:
    prepared = await world.service.prepare_final(api.FinalRequest(id, timestamps))
    assert not prepared.precertificate
    return (await world.service.issue(api.IssueRequest(prepared.token))).certificate


def kinds(world: World) -> list[str]:
    return [entry.kind for entry in world.journal.page(0, 100)]


@pytest.mark.clause("BR 7.1.2.9")
async def test_cryptography_finds_the_precertificate_in_the_certificate(world: World) -> None:
    wanted = request()
    poisoned = await precertificate(world, wanted)
    first = x509.load_der_x509_certificate(poisoned)
    poison = first.extensions.get_extension_for_class(x509.PrecertPoison)
    assert poison.critical
    assert poison.value.public_bytes() == b"\x05\x00"
    second = x509.load_der_x509_certificate(await final(world, wanted.issuance_id, scts()))
    assert second.serial_number == first.serial_number
    assert second.tbs_precertificate_bytes == tbs.unpoisoned(first.tbs_certificate_bytes)
    found = second.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    assert not found.critical
    assert [each.log_id[0] for each in found.value] == [0, 1, 2]
    assert kinds(world) == ["precertificate-intent", "precertificate", "intent", "result"]
    for certificate in (first, second):
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(CA.certificate))


@pytest.mark.parametrize("rules", Rules)
@pytest.mark.clause("BR 4.3.1.2")
def test_pkilint_passes_both_and_neither_for_the_other(rules: Rules) -> None:
    poisoned = leaf.build_tbs(CA.issuer, replace(profile(rules), ct=True), leaf_request())
    signed = leaf.assemble(poisoned, CA.issuer.algorithm.identifier, sign(CA.key, poisoned))
    followed = precertificates.final_tbs(signed, NOW, scts(), NOW)

    def errors(octets: bytes, kind: Kind) -> list[str]:
        found = linter.lint(rules, kind, leaf.dummy_signed(octets, CA.issuer))
        return [one.code for one in found if one.severity in ("error", "fatal")]

    assert errors(poisoned, Kind.PRECERTIFICATE) == errors(followed, Kind.LEAF) == []
    if rules is Rules.PUBLIC:
        assert errors(poisoned, Kind.LEAF) != []
        assert errors(followed, Kind.PRECERTIFICATE) != []


async def test_of_a_precertificate_one_certificate_is_begun_at_most(world: World) -> None:
    wanted = request()
    await precertificate(world, wanted)
    one = await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, scts()))
    other = await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, scts(2)))
    await world.service.issue(api.IssueRequest(one.token))
    before = kinds(world)
    with pytest.raises(Refused, match=r"issuance\.used"):
        await world.service.issue(api.IssueRequest(other.token))
    with pytest.raises(Refused, match=r"issuance\.used"):
        await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, scts()))
    with pytest.raises(Refused, match=r"issuance\.used"):
        await world.service.prepare(replace(wanted, serial=request().serial))
    with pytest.raises(Refused, match=r"serial\.used"):
        await world.service.prepare(replace(wanted, issuance_id="another"))
    assert kinds(world) == before


async def test_no_certificate_without_a_precertificate(world: World) -> None:
    wanted = request()
    await world.service.prepare(wanted)
    with pytest.raises(Refused, match=r"precertificate\.missing"):
        await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, scts()))
    assert kinds(world) == []


@pytest.mark.parametrize(
    ("timestamps", "code"),
    [
        ((), "scts.number"),
        (scts(1), "scts.number"),
        (scts(9), "scts.number"),
        ((scts(1)[0], scts(1)[0]), "scts.logs"),
        ((b"", b""), "scts.encoding"),
        ((scts(1)[0], scts(2)[1] + b"!"), "scts.encoding"),
        (scts(2, NOW + 60), "scts.time"),
        (scts(2, NOW - 60), "scts.time"),
    ],
)
async def test_scts_that_cannot_be_right_are_refused(
    world: World, timestamps: tuple[bytes, ...], code: str
) -> None:
    wanted = request()
    await precertificate(world, wanted)
    with pytest.raises(Refused, match=code.replace(".", r"\.")):
        await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, timestamps))
    assert kinds(world) == ["precertificate-intent", "precertificate"]
    await final(world, wanted.issuance_id, scts(2))


@pytest.mark.clause("Chrome CT policy")
@pytest.mark.parametrize(("seconds", "needed"), [(180 * DAY, 2), (180 * DAY + 1, 3)])
async def test_above_180_days_a_third_sct_is_needed(tmp_path: Path, seconds: int, needed: int) -> None:
    world = _world(tmp_path, replace(SETTINGS, profiles={"tlsserver": Profile(validity=199 * DAY)}))
    wanted = request(not_after=NOW + seconds - 1)
    await precertificate(world, wanted)
    with pytest.raises(Refused, match=r"scts\.number"):
        await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, scts(needed - 1)))
    await final(world, wanted.issuance_id, scts(needed))
    world.journal.close()


async def test_a_certificate_follows_soon_or_not_at_all(world: World) -> None:
    early, late = request(issuance_id="early"), request(issuance_id="late")
    await precertificate(world, early)
    await precertificate(world, late)
    world.clock.at += FINAL_WITHIN
    prepared = await world.service.prepare_final(api.FinalRequest("early", scts()))
    world.clock.at += 1
    with pytest.raises(Refused, match=r"precertificate\.too-old"):
        await world.service.prepare_final(api.FinalRequest("late", scts()))
    with pytest.raises(Refused, match=r"token\.unknown"):
        await world.service.issue(api.IssueRequest(prepared.token))
    assert kinds(world) == ["precertificate-intent", "precertificate"] * 2


@pytest.mark.clause("BR 6.3.2")
async def test_the_dated_limit_is_that_of_the_last_moment_to_sign(tmp_path: Path) -> None:
    world = _world(tmp_path, replace(SETTINGS, profiles={"tlsserver": Profile(validity=200 * DAY)}))
    falls = 1805068800  # 2027-03-15T00:00:00Z: 200 days become 100
    world.clock.at = falls - FINAL_WITHIN
    long = request(not_before=falls - 3600, not_after=falls - 3600 + 200 * DAY - 1)
    with pytest.raises(Refused, match=r"profile\.validity"):
        await world.service.prepare(long)
    assert kinds(world) == []
    world.journal.close()


async def test_recall_tells_how_far_it_came(world: World) -> None:
    wanted = request()
    poisoned = await precertificate(world, wanted)
    recalled = await world.service.recall(api.RecallRequest(wanted.issuance_id))
    assert (recalled.precertificate, recalled.certificate, recalled.followed) == (poisoned, None, False)
    prepared = await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, scts()))
    world.token.error = TransientError("the token is gone")
    with pytest.raises(TransientError):
        await world.service.issue(api.IssueRequest(prepared.token))
    recalled = await world.service.recall(api.RecallRequest(wanted.issuance_id))
    assert (recalled.precertificate, recalled.certificate, recalled.followed) == (poisoned, None, True)


async def test_after_recall_a_prepared_certificate_is_not_signed(world: World) -> None:
    wanted = request()
    await precertificate(world, wanted)
    prepared = await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, scts()))
    await world.service.recall(api.RecallRequest(wanted.issuance_id))
    with pytest.raises(Refused, match=r"token\.unknown"):
        await world.service.issue(api.IssueRequest(prepared.token))
    assert kinds(world) == ["precertificate-intent", "precertificate"]
    await final(world, wanted.issuance_id, scts())


async def test_a_refusing_linter_leaves_the_precertificate_alone(world: World) -> None:
    wanted = request()
    await precertificate(world, wanted)
    world.lint.refusal = Refused("lint.odd", "pkilint says so")
    with pytest.raises(Refused, match=r"lint\.odd"):
        await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, scts()))
    assert kinds(world) == ["precertificate-intent", "precertificate"]


@pytest.mark.clause("BR 7.1.2.9")
def test_every_octet_that_differs_is_seen() -> None:
    poisoned = leaf.build_tbs(CA.issuer, replace(profile(), ct=True), leaf_request())
    signed = leaf.assemble(poisoned, CA.issuer.algorithm.identifier, sign(CA.key, poisoned))
    followed = precertificates.final_tbs(signed, NOW, scts(), NOW)
    precertificates.must_correspond(poisoned, followed)
    scts_at = followed.index(der.oid(sct.SCT_LIST))
    inside = range(scts_at + len(der.oid(sct.SCT_LIST)), len(followed))
    for at in range(len(followed)):
        if at in inside:
            continue  # the value of the SCT list itself
        mutant = bytearray(followed)
        mutant[at] ^= 1
        with pytest.raises(HaltIssuance, match="correspond"):
            precertificates.must_correspond(poisoned, bytes(mutant))


@pytest.mark.clause("BR 7.1.2.9")
def test_extensions_moved_doubled_or_left_out_do_not_correspond() -> None:
    poisoned = leaf.build_tbs(CA.issuer, replace(profile(), ct=True), leaf_request())
    signed = leaf.assemble(poisoned, CA.issuer.algorithm.identifier, sign(CA.key, poisoned))
    head, extensions = tbs.split(precertificates.final_tbs(signed, NOW, scts(), NOW))
    *others, list_ = extensions
    for wrong in (
        [list_, *others][::-1],
        [*others],
        [*others, list_, list_],
        [*others[1:], list_],
        [*others, others[0], list_],
        [*others, precertificates.POISON],
        [*others, list_, precertificates.POISON],
    ):
        with pytest.raises(HaltIssuance, match="correspond"):
            precertificates.must_correspond(poisoned, tbs.joined(head, wrong))
    # The list's own place among the extensions is not part of what a log signs.
    precertificates.must_correspond(poisoned, tbs.joined(head, [list_, *others]))
