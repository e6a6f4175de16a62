"""Precertificate and certificate: the same but for poison and SCTs, one of each, and no key use otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
from cryptography import x509

from core import der
from core.errors import HaltIssuance, Refused, TransientError
from core.requirements import DAY
from core.settings import Ca, Profile, Rules, Settings
from signer import api
from signer.ct import sct, tbs
from signer.vault.lint import linter
from signer.vault.lint.pool import Kind
from signer.vault.service import PREPARED_LIFETIME
from signer.vault.templates import leaf, precertificates
from signer.vault.templates.precertificates import FINAL_WITHIN
from tests.signer.vault.test_service import World, _world, request
from tests.support.ct_log import CtLog, Fault, three, write_list
from tests.support.software_ca import NOW, leaf_request, profile, sign, software_ca

pytestmark = pytest.mark.clause("RFC 6962 section 3.1")

RULES = Settings(ca=Ca(rules=Rules.PUBLIC))
CA = software_ca()
CHAIN = (CA.certificate, CA.root)


@dataclass
class Logged(World):
    """A vault with CT, and the logs of its list."""

    logs: list[CtLog]

    def scts(self, id: str, count: int = 3) -> tuple[bytes, ...]:
        """What the logs say of the issuance's precertificate, at the logs' time."""
        signed = self.journal.precertificate(id)
        assert signed is not None
        return tuple(log.sct((signed.certificate, *CHAIN)) for log in self.logs[:count])


def _logged(directory: Path, settings: Settings = RULES, age: int | None = 0) -> Logged:
    """`age` of the log list in seconds, None for a list whose signature is missing."""
    logs = three()
    for log in logs:
        log.url, log.now = "https://log.example.com", lambda: NOW
    ct = write_list(directory, logs, NOW - (age or 0))
    if age is None:
        Path(ct.log_list_signature).unlink()
    made = _world(directory, replace(settings, ct=ct))
    return Logged(**{each.name: getattr(made, each.name) for each in fields(made)}, logs=logs)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Logged]:
    made = _logged(tmp_path)
    yield made
    made.journal.close()


def fake_scts(count: int = 3) -> tuple[bytes, ...]:
    return tuple(
        sct.encode(sct.Sct(bytes([log]) * 32, NOW * 1000, b"", 4, 3, b"signature %d" % log))
        for log in range(count)
    )


async def precertificate(world: Logged, wanted: api.LeafRequest) -> bytes:
    prepared = await world.service.prepare(wanted)
    assert prepared.precertificate
    return (await world.service.issue(api.IssueRequest(prepared.token))).certificate


async def final(world: Logged, id: str, timestamps: tuple[bytes, ...]) -> bytes:
    prepared = await world.service.prepare_final(api.FinalRequest(id, timestamps))
    assert not prepared.precertificate
    return (await world.service.issue(api.IssueRequest(prepared.token))).certificate


def kinds(world: Logged) -> list[str]:
    return [entry.kind for entry in world.journal.page(0, 100)]


@pytest.mark.clause("BR 7.1.2.9")
async def test_cryptography_finds_the_precertificate_in_the_certificate(world: Logged) -> None:
    wanted = request()
    poisoned = await precertificate(world, wanted)
    first = x509.load_der_x509_certificate(poisoned)
    poison = first.extensions.get_extension_for_class(x509.PrecertPoison)
    assert poison.critical
    assert poison.value.public_bytes() == b"\x05\x00"
    second = x509.load_der_x509_certificate(
        await final(world, wanted.issuance_id, world.scts(wanted.issuance_id))
    )
    assert second.serial_number == first.serial_number
    assert second.tbs_precertificate_bytes == tbs.unpoisoned(first.tbs_certificate_bytes)
    found = second.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    assert not found.critical
    assert [each.log_id for each in found.value] == [log.id for log in world.logs]
    assert kinds(world) == ["precertificate-intent", "precertificate", "intent", "result"]
    for certificate in (first, second):
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(CA.certificate))


@pytest.mark.parametrize("rules", Rules)
@pytest.mark.clause("BR 4.3.1.2")
def test_pkilint_passes_both_and_neither_for_the_other(rules: Rules) -> None:
    poisoned = leaf.build_tbs(CA.issuer, replace(profile(rules), ct=True), leaf_request())
    signed = leaf.assemble(poisoned, CA.issuer.algorithm.identifier, sign(CA.key, poisoned))
    followed = precertificates.final_tbs(signed, fake_scts())

    def errors(octets: bytes, kind: Kind) -> list[str]:
        found = linter.lint(rules, kind, leaf.dummy_signed(octets, CA.issuer))
        return [one.code for one in found if one.severity in ("error", "fatal")]

    assert errors(poisoned, Kind.PRECERTIFICATE) == errors(followed, Kind.LEAF) == []
    if rules is Rules.PUBLIC:
        assert errors(poisoned, Kind.LEAF) != []
        assert errors(followed, Kind.PRECERTIFICATE) != []


async def test_of_a_precertificate_one_certificate_is_begun_at_most(world: Logged) -> None:
    wanted = request()
    await precertificate(world, wanted)
    one = await world.service.prepare_final(
        api.FinalRequest(wanted.issuance_id, world.scts(wanted.issuance_id))
    )
    other = await world.service.prepare_final(
        api.FinalRequest(wanted.issuance_id, world.scts(wanted.issuance_id, 2))
    )
    await world.service.issue(api.IssueRequest(one.token))
    before = kinds(world)
    with pytest.raises(Refused, match=r"issuance\.used"):
        await world.service.issue(api.IssueRequest(other.token))
    with pytest.raises(Refused, match=r"issuance\.used"):
        await world.service.prepare_final(
            api.FinalRequest(wanted.issuance_id, world.scts(wanted.issuance_id))
        )
    with pytest.raises(Refused, match=r"issuance\.used"):
        await world.service.prepare(replace(wanted, serial=request().serial))
    with pytest.raises(Refused, match=r"serial\.used"):
        await world.service.prepare(replace(wanted, issuance_id="another"))
    assert kinds(world) == before


async def test_no_certificate_without_a_precertificate(world: Logged) -> None:
    wanted = request()
    await world.service.prepare(wanted)
    with pytest.raises(Refused, match=r"precertificate\.missing"):
        await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, fake_scts()))
    assert kinds(world) == []


def _of(world: Logged, id: str, what: str) -> tuple[bytes, ...]:
    """SCTs that do not count."""
    first, second, third = world.scts(id)
    if what in list(Fault):
        for log in world.logs[1:]:
            log.fault = Fault(what)
        return world.scts(id)
    return {
        "none": (),
        "one": (first,),
        "one twice": (first, first),
        "too many": (first, second, third) * 3,
        "octets behind": (first, second + b"!"),
        "nothing in it": (first, b""),
        "unknown logs": fake_scts(),
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        *("none", "one", "one twice", "too many", "octets behind", "nothing in it", "unknown logs"),
        *(
            Fault.WRONG_SIGNATURE,
            Fault.FUTURE,
            Fault.PAST,
            Fault.ANOTHER,
            Fault.WRONG_ID,
            Fault.NO_LEAF_INDEX,
        ),
    ],
)
@pytest.mark.clause("Chrome CT policy")
async def test_the_vault_itself_counts_only_scts_that_verify(world: Logged, what: str) -> None:
    wanted = request()
    await precertificate(world, wanted)
    with pytest.raises(Refused, match=r"scts\."):
        await world.service.prepare_final(
            api.FinalRequest(wanted.issuance_id, _of(world, wanted.issuance_id, what))
        )
    assert kinds(world) == ["precertificate-intent", "precertificate"]
    for log in world.logs:
        log.fault = None
    await final(world, wanted.issuance_id, world.scts(wanted.issuance_id, 2))


async def test_scts_of_another_precertificate_do_not_count(world: Logged) -> None:
    one, other = request(issuance_id="one"), request(issuance_id="other")
    await precertificate(world, one)
    await precertificate(world, other)
    with pytest.raises(Refused, match=r"scts\.untrue"):
        await world.service.prepare_final(api.FinalRequest("one", world.scts("other")))
    assert kinds(world) == ["precertificate-intent", "precertificate"] * 2


@pytest.mark.clause("requirements.md 2.90")
@pytest.mark.parametrize("age", [70 * DAY + 1, None])
async def test_without_a_log_list_in_force_the_vault_signs_no_certificate(
    tmp_path: Path, age: int | None
) -> None:
    world = _logged(tmp_path, age=age)
    wanted = request()
    await precertificate(world, wanted)
    scts = world.scts(wanted.issuance_id)
    with pytest.raises(TransientError, match="log list"):
        await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, scts))
    assert kinds(world) == ["precertificate-intent", "precertificate"]
    write_list(tmp_path, world.logs, NOW)
    world.clock.at += 60
    await final(world, wanted.issuance_id, scts)
    world.journal.close()


@pytest.mark.clause("Chrome CT policy")
@pytest.mark.parametrize(("seconds", "needed"), [(180 * DAY, 2), (180 * DAY + 1, 3)])
async def test_above_180_days_a_third_sct_is_needed(tmp_path: Path, seconds: int, needed: int) -> None:
    world = _logged(tmp_path, replace(RULES, profiles={"tlsserver": Profile(validity=199 * DAY)}))
    wanted = request(not_after=NOW + seconds - 1)
    await precertificate(world, wanted)
    with pytest.raises(Refused, match=r"scts\.number"):
        await world.service.prepare_final(
            api.FinalRequest(wanted.issuance_id, world.scts(wanted.issuance_id, needed - 1))
        )
    await final(world, wanted.issuance_id, world.scts(wanted.issuance_id, needed))
    world.journal.close()


async def test_a_certificate_follows_soon_or_not_at_all(world: Logged) -> None:
    early, late = request(issuance_id="early"), request(issuance_id="late")
    await precertificate(world, early)
    await precertificate(world, late)
    world.clock.at += FINAL_WITHIN
    prepared = await world.service.prepare_final(api.FinalRequest("early", world.scts("early")))
    world.clock.at += 1
    with pytest.raises(Refused, match=r"precertificate\.too-old"):
        await world.service.prepare_final(api.FinalRequest("late", world.scts("late")))
    with pytest.raises(Refused, match=r"token\.unknown"):
        await world.service.issue(api.IssueRequest(prepared.token))
    assert kinds(world) == ["precertificate-intent", "precertificate"] * 2


@pytest.mark.clause("BR 6.3.2")
async def test_the_dated_limit_is_that_of_the_last_moment_to_sign(tmp_path: Path) -> None:
    world = _logged(tmp_path, replace(RULES, profiles={"tlsserver": Profile(validity=200 * DAY)}))
    falls = 1805068800  # 2027-03-15T00:00:00Z: 200 days become 100
    world.clock.at = falls - FINAL_WITHIN - PREPARED_LIFETIME
    long = request(not_before=falls - 3600, not_after=falls - 3600 + 200 * DAY - 1)
    world.clock.at -= 1
    await world.service.prepare(long)
    world.clock.at += 1
    with pytest.raises(Refused, match=r"profile\.validity"):
        await world.service.prepare(long)
    assert kinds(world) == []
    world.journal.close()


async def test_recall_tells_how_far_it_came(world: Logged) -> None:
    wanted = request()
    poisoned = await precertificate(world, wanted)
    recalled = await world.service.recall(api.RecallRequest(wanted.issuance_id))
    assert (recalled.precertificate, recalled.certificate, recalled.followed) == (poisoned, None, False)
    prepared = await world.service.prepare_final(
        api.FinalRequest(wanted.issuance_id, world.scts(wanted.issuance_id))
    )
    world.token.error = TransientError("the token is gone")
    with pytest.raises(TransientError):
        await world.service.issue(api.IssueRequest(prepared.token))
    recalled = await world.service.recall(api.RecallRequest(wanted.issuance_id))
    assert (recalled.precertificate, recalled.certificate, recalled.followed) == (poisoned, None, True)


async def test_after_recall_a_prepared_certificate_is_not_signed(world: Logged) -> None:
    wanted = request()
    await precertificate(world, wanted)
    prepared = await world.service.prepare_final(
        api.FinalRequest(wanted.issuance_id, world.scts(wanted.issuance_id))
    )
    await world.service.recall(api.RecallRequest(wanted.issuance_id))
    with pytest.raises(Refused, match=r"token\.unknown"):
        await world.service.issue(api.IssueRequest(prepared.token))
    assert kinds(world) == ["precertificate-intent", "precertificate"]
    await final(world, wanted.issuance_id, world.scts(wanted.issuance_id))


async def test_a_refusing_linter_leaves_the_precertificate_alone(world: Logged) -> None:
    wanted = request()
    await precertificate(world, wanted)
    world.lint.refusal = Refused("lint.odd", "pkilint says so")
    with pytest.raises(Refused, match=r"lint\.odd"):
        await world.service.prepare_final(
            api.FinalRequest(wanted.issuance_id, world.scts(wanted.issuance_id))
        )
    assert kinds(world) == ["precertificate-intent", "precertificate"]


@pytest.mark.clause("BR 7.1.2.9")
def test_every_octet_that_differs_is_seen() -> None:
    poisoned = leaf.build_tbs(CA.issuer, replace(profile(), ct=True), leaf_request())
    signed = leaf.assemble(poisoned, CA.issuer.algorithm.identifier, sign(CA.key, poisoned))
    followed = precertificates.final_tbs(signed, fake_scts())
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
    head, extensions = tbs.split(precertificates.final_tbs(signed, fake_scts()))
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


@pytest.mark.clause("BR 4.3.1.2")
@pytest.mark.parametrize("part", range(8))
async def test_a_fault_in_the_making_of_a_certificate_never_reaches_the_key(
    world: Logged, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    wanted = request()
    await precertificate(world, wanted)
    timestamps = world.scts(wanted.issuance_id)
    made = precertificates.final_tbs(world.journal.page(1, 1)[0].certificate, timestamps)
    list_at = made.index(der.oid(sct.SCT_LIST))
    at = part * list_at // 8

    joined = tbs.joined

    def wrong(head: bytes, extensions: list[bytes]) -> bytes:
        if not any(der.oid(sct.SCT_LIST) in each for each in extensions):
            return joined(head, extensions)
        monkeypatch.undo()  # the check that follows is whole
        octets = bytearray(made)
        octets[at] ^= 1
        return bytes(octets)

    monkeypatch.setattr("signer.vault.templates.precertificates.tbs.joined", wrong)
    uses = world.token.uses
    with pytest.raises(HaltIssuance, match="correspond"):
        await world.service.prepare_final(api.FinalRequest(wanted.issuance_id, timestamps))
    assert world.token.uses == uses
    assert kinds(world) == ["precertificate-intent", "precertificate"]


async def test_of_an_orders_precertificates_one_is_followed_by_a_certificate(world: Logged) -> None:
    """One that was given up is no certificate; two that are followed would be."""
    asked = request()
    another = replace(asked, issuance_id="issuance-2", serial=request().serial)
    for each in (asked, another):
        await precertificate(world, each)
    kept = await world.service.prepare_final(
        api.FinalRequest(asked.issuance_id, world.scts(asked.issuance_id))
    )
    await final(world, "issuance-2", world.scts("issuance-2"))
    before = kinds(world)
    with pytest.raises(Refused, match=r"applicant\.used"):
        await world.service.issue(api.IssueRequest(kept.token))
    with pytest.raises(Refused, match=r"applicant\.used"):
        await final(world, asked.issuance_id, world.scts(asked.issuance_id))
    assert kinds(world) == before
