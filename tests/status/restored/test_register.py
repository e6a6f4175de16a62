"""status/restored: a register that was restored gets back what it had forgotten, or the CA stays closed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from core import blocked_keys, certificates, gaps, revocations
from core.certificates import State
from core.clock import FakeClock
from core.errors import Refused
from core.gaps import RegisterBehind
from core.settings import Status
from repo_static import publisher
from repo_static.manifest.updater import ManifestUpdater
from repo_static.store import Store
from tests.support.database import NOW
from tests.support.keeper import Kept
from tests.support.restores import STATUS, Alive, alive, back_up, restore
from tests.support.software_vault import SoftwareVault

NAME = "crl/ec1-0.crl"
pytestmark = pytest.mark.clause("CPS 5.7.4")


class Place:
    """A data directory, a backup of it, and what stays outside of both."""

    def __init__(self, house_class: Any, directory: Path) -> None:
        self.house_class = house_class
        self.directory = directory / "data"
        self.directory.mkdir()
        self.backup = directory / "backup"
        self.clock = FakeClock(NOW)
        self.vault = SoftwareVault()

    def start(self, status: Status = STATUS) -> Any:
        return alive(self.house_class, self.directory, self.clock, self.vault, status)

    async def lived(self) -> tuple[list[bytes], bytes]:
        """Three certificates before the backup and one after it; two revoked after it; the newest CRL."""
        async with self.start() as ca:
            serials = [await ca.house.issue() for _ in range(3)]
            await ca.house.updater().update()
        back_up(self.directory, self.backup)
        self.clock.at += 3600
        async with self.start() as ca:
            serials.append(await ca.house.issue())
            await ca.house.revoke(serials[0], 4)
            self.clock.at += 60
            await ca.house.revoke(serials[3], 1)
            await ca.database.write(lambda tx: blocked_keys.block(tx, b"k" * 32, "a test"))
            await ca.house.updater().update()
            public = Store(ca.house.data.repository).read(NAME)
            assert public is not None
        self.clock.at += 600
        return serials, public


@pytest.fixture
def place(house_class: Any, tmp_path: Path) -> Place:
    return Place(house_class, tmp_path)


def manifests(ca: Alive) -> ManifestUpdater:
    house = ca.house
    store = Store(house.data.repository)
    publisher.publish(store, house.vault.description(), house.settings)
    return ManifestUpdater(house.data.database, house.vault, house.settings, store, house.clock)


def listed(content: bytes | None) -> dict[int, x509.RevokedCertificate]:
    assert content is not None
    return {entry.serial_number: entry for entry in x509.load_der_x509_crl(content)}


def revoked(ca: Alive, serials: Iterable[bytes]) -> list[tuple[int, int] | None]:
    rows = [revocations.of(ca.database.reader, serial) for serial in serials]
    return [None if row is None else (row.reason, row.revoked_at) for row in rows]


async def test_an_older_database_alone_is_reconciled_by_the_copy_of_the_audit_log(place: Place) -> None:
    serials, public = await place.lived()
    restore(place.backup, place.directory, "database")
    async with place.start() as ca:
        assert ca.missing == []
        assert revoked(ca, serials) == [(4, NOW + 3600), None, None, (1, NOW + 3660)]
        assert blocked_keys.is_blocked(ca.database.reader, b"k" * 32)
        await ca.house.updater().update()
        after = Store(ca.house.data.repository).read(NAME)
        assert listed(after).keys() == listed(public).keys()
        assert number(after) > number(public)
    async with place.start() as ca:
        assert ca.missing == []


@pytest.mark.clause("BR 7.2")
async def test_without_the_public_tree_too_no_number_and_no_revocation_is_lost(place: Place) -> None:
    _, public = await place.lived()
    restore(place.backup, place.directory, "database", "repository")
    async with place.start() as ca:
        assert ca.missing == []
        await ca.house.updater().update()
        after = Store(ca.house.data.repository).read(NAME)
        assert number(after) > number(public)
        assert listed(after).keys() == listed(public).keys()


async def test_a_version_of_a_document_in_the_copy_is_no_revocation_version(place: Place) -> None:
    serials, _ = await place.lived()
    async with place.start() as ca:
        said = {"document": "cp-cps", "version": "1.1"}
        await ca.database.write(lambda tx: tx.audit("document.approved", "operator ann", said))
    restore(place.backup, place.directory, "database")
    async with place.start() as ca:
        assert ca.missing == []
        assert revoked(ca, serials) == [(4, NOW + 3600), None, None, (1, NOW + 3660)]


@pytest.mark.clause("RFC 5280 section 5.2.5")
async def test_a_full_crl_of_before_there_were_shards_is_put_back(place: Place) -> None:
    serials, _ = await place.lived()
    restore(place.backup, place.directory, "database", "audit")
    async with place.start(Status(crl_shards=4)) as ca:
        assert ca.missing == ["revocations"]
        assert revoked(ca, serials) == [(4, NOW + 3600), None, None, (1, NOW + 3660)]


@pytest.mark.clause("BR 4.9.10")
async def test_the_index_of_answers_tells_of_a_revocation_that_all_else_has_forgotten(place: Place) -> None:
    async with place.start() as ca:
        serials = [await ca.house.issue() for _ in range(2)]
        await ca.house.updater().update()
    back_up(place.directory, place.backup)
    async with place.start() as ca:
        await ca.house.revoke(serials[0], 1)
        kept = Kept(ca.house)
        await kept.work()
        kept.stop()
    async with place.start() as ca:
        assert ca.missing == []
    restore(place.backup, place.directory, "database", "audit", "repository")
    async with place.start() as ca:
        assert revoked(ca, serials) == [(1, NOW), None]
        assert ca.missing == ["revocations"]
        await ca.register.accept("the mirrors have nothing newer", "operator ann")
        kept = Kept(ca.house)
        await kept.work()
        kept.stop()
    async with place.start() as ca:
        assert ca.missing == []


async def test_the_revocation_version_goes_on_above_all_that_was_made(place: Place) -> None:
    serials, _ = await place.lived()
    async with place.start() as ca:
        before = revocations.version(ca.database.reader)
    restore(place.backup, place.directory, "database", "repository")
    async with place.start() as ca:
        row = revocations.of(ca.database.reader, serials[0])
        assert row is not None
        assert row.version > before


async def test_without_the_copy_the_public_crl_is_put_back_and_the_ca_stays_closed(place: Place) -> None:
    serials, _ = await place.lived()
    restore(place.backup, place.directory, "database", "audit")
    async with place.start() as ca:
        assert ca.missing == ["revocations"]
        assert revoked(ca, serials) == [(4, NOW + 3600), None, None, (1, NOW + 3660)]
        public = Store(ca.house.data.repository).read(NAME)
        with pytest.raises(RegisterBehind, match="acme-server reconcile"):
            await ca.house.updater().update(force=True)
        assert Store(ca.house.data.repository).read(NAME) == public
    async with place.start() as ca:  # a restart opens nothing
        assert ca.missing == ["revocations"]


@pytest.mark.clause("BR 4.9.10")
async def test_a_closed_ca_says_revoked_of_what_is_and_signs_nothing_else(place: Place) -> None:
    serials, _ = await place.lived()
    restore(place.backup, place.directory, "database", "audit")
    async with place.start() as ca:
        assert (await ca.house.ask(serials[0])).certificate_status is ocsp.OCSPCertStatus.REVOKED
        later = ocsp.OCSPResponseStatus.TRY_LATER
        assert (await ca.house.ask(serials[1])).response_status is later
        assert (await ca.house.ask(b"\x11" * 16)).response_status is later
        await ca.register.accept("nothing else was revoked that hour", "operator a test")
        assert (await ca.house.ask(serials[1])).certificate_status is ocsp.OCSPCertStatus.GOOD


async def test_a_persons_word_opens_the_ca_and_is_in_the_audit_log(place: Place) -> None:
    _, public = await place.lived()
    restore(place.backup, place.directory, "database", "audit")
    async with place.start() as ca:
        await ca.register.accept("the mirrors have nothing newer", "operator ann")
        assert ca.missing == []
        (row,) = ca.database.reader.all("SELECT * FROM audit WHERE kind = 'register-gap-closed'")
        assert row["subject"] == "operator ann"
        assert "the mirrors have nothing newer" in row["content"]
        await ca.house.updater().update(force=True)
        after = Store(ca.house.data.repository).read(NAME)
        assert number(after) > number(public) + gaps.MARGIN - 1
        assert listed(after).keys() == listed(public).keys()
    async with place.start() as ca:
        assert ca.missing == []


async def test_what_was_restored_together_lacks_what_was_noted_beside_it(place: Place) -> None:
    await place.lived()
    restore(place.backup, place.directory, "database", "audit", "repository")
    for _ in range(2):
        async with place.start() as ca:
            assert ca.missing == ["revocations"]
    async with place.start() as ca:
        await ca.register.accept("nothing else was to be had", "operator ann")
    async with place.start() as ca:
        assert ca.missing == []


async def test_when_all_was_restored_a_person_says_so_and_brings_the_crl_of_a_mirror(place: Place) -> None:
    serials, public = await place.lived()
    restore(place.backup, place.directory, "database", "audit", "repository", "run")
    (place.directory / "audit" / "restored").touch()
    async with place.start() as ca:
        assert ca.missing == ["restored"]
        taken = await ca.register.brought.crl(public)
        assert (taken.revocations, taken.numbers) == (2, 1)
        assert revoked(ca, serials) == [(4, NOW + 3600), None, None, (1, NOW + 3660)]
        # The last was issued after the backup, and no journal knows it: issued, as far as known, and revoked.
        row = certificates.by_serial(ca.database.reader, serials[3])
        assert row is not None
        assert row.state is State.LOST
        assert ca.missing == ["restored"]
        await ca.register.accept("all mirrors were asked", "operator ann")
        await ca.house.updater().update()
        after = Store(ca.house.data.repository).read(NAME)
        assert listed(after).keys() == listed(public).keys()
        assert number(after) > number(public)


async def test_a_public_manifest_tells_that_the_register_is_older(place: Place) -> None:
    async with place.start() as ca:
        await ca.house.issue()
    back_up(place.directory, place.backup)
    async with place.start() as ca:
        await ca.house.issue()
        await ca.database.write(lambda tx: gaps.raise_version(tx, 70))
        await manifests(ca).update(force=True)
        signed = Store(ca.house.data.repository).read("manifest.jws")
    async with place.start() as ca:
        assert ca.missing == []
    restore(place.backup, place.directory, "database", "audit")
    async with place.start() as ca:
        assert ca.missing == ["revocations"]
        assert revocations.version(ca.database.reader) >= 70
        assert Store(ca.house.data.repository).read("manifest.jws") == signed


async def test_the_manifest_of_before_closes_nothing_once_the_register_is_reconciled(place: Place) -> None:
    async with place.start() as ca:
        await ca.house.issue()
    back_up(place.directory, place.backup)
    async with place.start() as ca:
        await ca.house.revoke(await ca.house.issue())
        await manifests(ca).update(force=True)
    restore(place.backup, place.directory, "database")
    for _ in range(2):  # killed before it has published another
        async with place.start() as ca:
            assert ca.missing == []


async def test_a_brought_manifest_names_the_crls_to_look_for(place: Place) -> None:
    async with place.start() as ca:
        await manifests(ca).update(force=True)
    back_up(place.directory, place.backup)
    async with place.start() as ca:
        await ca.house.revoke(await ca.house.issue())
        await ca.house.updater().update()
        await manifests(ca).update(force=True)
        store = Store(ca.house.data.repository)
        signed, public = store.read("manifest.jws") or b"", store.read(NAME) or b""
    restore(place.backup, place.directory, "database", "audit", "repository")
    async with place.start() as ca:
        await ca.register.begin("a test", NOW)
        assert (await ca.register.brought.manifest(signed)).numbers == 3
        assert "crl ec1-0" in ca.missing
        await ca.register.brought.crl(public)
        assert "crl ec1-0" not in ca.missing
        with pytest.raises(Refused, match="no signed manifest"):
            await ca.register.brought.manifest(signed[:-9])


async def test_a_crl_of_somebody_else_puts_nothing_back(place: Place) -> None:
    await place.lived()
    foreign = SoftwareVault()
    foreign_key = ec.generate_private_key(ec.SECP256R1())
    async with place.start() as ca:
        issuer = next(each for each in foreign.description().issuers if each.id == "ec1")
        subject = x509.load_der_x509_certificate(issuer.certificate).subject
        at = datetime.fromtimestamp(NOW, UTC)
        entry = x509.RevokedCertificateBuilder().serial_number(77).revocation_date(at).build()
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(subject)
            .last_update(at)
            .next_update(at + timedelta(days=1))
            .add_revoked_certificate(entry)
            .add_extension(x509.CRLNumber(99), critical=False)
            .sign(foreign_key, hashes.SHA256())
        )
        before = revocations.version(ca.database.reader)
        with pytest.raises(Refused, match="signed by no issuing CA"):
            await ca.register.brought.crl(made.public_bytes(Encoding.DER))
        with pytest.raises(Refused, match="no CRL"):
            await ca.register.brought.crl(b"nonsense")
        assert revocations.version(ca.database.reader) == before


async def test_a_signed_ocsp_answer_puts_a_revocation_back(place: Place) -> None:
    async with place.start() as ca:
        serials = [await ca.house.issue() for _ in range(2)]
    back_up(place.directory, place.backup)
    async with place.start() as ca:
        late = await ca.house.issue()
        await ca.house.revoke(serials[0], 5)
        kept = [(await ca.house.responder.answer(ca.house.request(each))).der for each in (*serials, late)]
    restore(place.backup, place.directory, "database", "audit", "repository")
    async with place.start() as ca:
        await ca.register.begin("a test", NOW)
        taken = [(await ca.register.brought.answer(each)).revocations for each in kept]
        assert taken == [1, 0, 1]
        reader = ca.database.reader
        assert revocations.of(reader, serials[0]).reason == 5  # type: ignore[union-attr]
        assert revocations.of(reader, serials[1]) is None
        # "good" proves that it was issued, and nobody knows any more for whom and on what evidence.
        assert revocations.of(reader, late) is not None
        broken = bytearray(kept[0])
        broken[len(broken) // 2] ^= 1
        with pytest.raises(Refused):
            await ca.register.brought.answer(bytes(broken))


async def test_a_damaged_copy_is_used_as_far_as_it_holds_and_leaves_the_ca_closed(place: Place) -> None:
    serials, _ = await place.lived()
    restore(place.backup, place.directory, "database", "repository")
    file = max((place.directory / "audit").iterdir())
    content = file.read_bytes()
    at = content.rfind(b'"reason\\":1')
    assert at > 0
    file.write_bytes(content[:at] + b'"reason\\":5' + content[at + 11 :])
    async with place.start() as ca:
        assert revoked(ca, serials)[0] == (4, NOW + 3600)
        assert revoked(ca, serials)[3] is None
        assert ca.missing == ["revocations"]


async def test_a_copy_that_is_older_than_the_public_crl_leaves_the_ca_closed(place: Place) -> None:
    serials, _ = await place.lived()
    shutil.copytree(place.directory / "audit", place.directory / "older")
    place.clock.at += 3600
    async with place.start() as ca:
        await ca.house.revoke(serials[1], 0)
        await ca.house.updater().update()
    restore(place.backup, place.directory, "database")
    shutil.rmtree(place.directory / "audit")
    (place.directory / "older").rename(place.directory / "audit")
    async with place.start() as ca:
        assert [each is not None for each in revoked(ca, serials)] == [True, True, False, True]
        assert ca.missing == ["revocations"]


async def test_an_unbroken_ca_has_no_gap_after_any_stop(place: Place) -> None:
    await place.lived()
    for _ in range(3):
        async with place.start() as ca:
            assert ca.missing == []
            await ca.house.updater().update(force=True)
    shutil.rmtree(place.directory / "audit")  # the copy alone is lost: it is made anew
    async with place.start() as ca:
        assert ca.missing == []
    restore(place.backup, place.directory, "repository")  # older public files alone
    async with place.start() as ca:
        assert ca.missing == []
        assert await ca.house.updater().update()
        crl = Store(ca.house.data.repository).read(NAME)
        assert len(listed(crl)) == 2


def number(content: bytes | None) -> int:
    assert content is not None
    crl = x509.load_der_x509_crl(content)
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
