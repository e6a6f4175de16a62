"""status/restored/brought.py: what people bring puts back what it tells of, and nobody else's word counts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from core import certificates, gaps, revocations
from core.certificates import State
from core.errors import Refused
from core.settings import Settings, Status
from repo_static.manifest import signature
from repo_static.store import Store
from status.restored.brought import Brought
from tests.status.restored.test_register import Place, manifests
from tests.support.restores import Alive, back_up, restore
from tests.support.software_vault import CREATED, DAY, at

pytestmark = pytest.mark.clause("CPS 5.7.4")


@dataclass
class Mirror:
    """What a mirror has kept of the public tree; the serials issued before and after the backup."""

    files: dict[str, bytes]
    before: list[bytes]
    after: list[bytes]

    async def bring(self, ca: Alive) -> tuple[int, int]:
        """The manifest and all lists that it leads to: revocations and certificates entered."""
        taken = await ca.register.brought.manifest(self.files["manifest.jws"])
        wanted, revocations, count = list(taken.wanted), 0, 0
        while wanted:
            name = wanted.pop(0)
            taken = await ca.register.brought.list(name, self.files[name])
            wanted = [*taken.wanted, *wanted]
            revocations, count = revocations + taken.revocations, count + taken.certificates
        return revocations, count


@pytest.fixture
async def mirror(house_class: Any, tmp_path: Path) -> tuple[Place, Mirror]:
    """A CA of which all is restored; a mirror has what came after the backup, on two days."""
    place = Place(house_class, tmp_path)
    async with place.start() as ca:
        before = [await ca.house.issue() for _ in range(3)]
        await ca.house.updater().update()
        await manifests(ca).update(force=True)
    back_up(place.directory, place.backup)
    place.clock.at += 3600
    async with place.start() as ca:
        after = [await ca.house.issue() for _ in range(2)]
        await ca.house.revoke(before[0], 4)
        place.clock.at += DAY
        await ca.house.revoke(after[0], 1)
        await manifests(ca).update(force=True)
        files = files_of(place.directory / "repository")
    place.clock.at += 60
    restore(place.backup, place.directory, "database", "audit", "repository", "run")
    return place, Mirror(files, before, after)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def test_the_lists_of_a_manifest_put_back_revocations_and_what_was_issued(
    mirror: tuple[Place, Mirror],
) -> None:
    place, kept = mirror
    async with place.start() as ca:
        await ca.register.begin("a test", place.clock.at)
        assert await kept.bring(ca) == (2, 2)
        reader = ca.database.reader
        found = [revocations.of(reader, each) for each in (*kept.before, *kept.after)]
        assert [each and each.reason for each in found] == [4, None, None, 1, None]
        row = certificates.by_serial(reader, kept.after[1])
        assert row is not None
        assert row.state is State.LOST  # nobody knows for whom; a person has it revoked
        assert "certificates" in ca.missing
        assert await kept.bring(ca) == (0, 0)
        _, revoked = await ca.register.accept("nothing newer is to be had", "operator ann")
        assert revoked == 1
        assert revocations.of(reader, kept.after[1]) is not None


async def test_a_list_that_is_not_the_manifests_puts_nothing_back(mirror: tuple[Place, Mirror]) -> None:
    place, kept = mirror
    async with place.start() as ca:
        await ca.register.begin("a test", place.clock.at)
        before = revocations.version(ca.database.reader)
        name = next(each for each in kept.files if each.startswith("revoked/") and each.endswith("jsonl"))
        with pytest.raises(Refused, match="bring the manifest first"):
            await ca.register.brought.list(name, kept.files[name])
        await ca.register.brought.manifest(kept.files["manifest.jws"])
        history = kept.files["history.jsonl"]
        for forged in (b"", history[:-1], history.replace(b"2026", b"2025"), b"x" * 10_000_000):
            with pytest.raises(Refused, match="is not what the manifest says"):
                await ca.register.brought.list("history.jsonl", forged)
        await ca.register.brought.list("history.jsonl", history + b"whatever follows is nobody's word")
        assert revocations.version(ca.database.reader) == before
        assert "certificates" not in ca.missing


async def test_a_manifest_by_another_key_is_refused_and_a_pinned_key_is_enough(
    mirror: tuple[Place, Mirror],
) -> None:
    place, kept = mirror
    async with place.start() as ca:
        jws = kept.files["manifest.jws"]
        with pytest.raises(Refused, match="and not by"):
            await ca.register.brought.manifest(jws, key="another")
        (place.directory / "repository" / "manifest.jws").unlink()
        with pytest.raises(Refused, match="--manifest-key"):
            await ca.register.brought.manifest(jws)
        key = signature.read(jws).thumbprints[0]
        assert (await ca.register.brought.manifest(jws, key=key)).wanted
        pinned = Brought(ca.database, Store(ca.house.data.repository), (key,))
        assert (await pinned.manifest(jws)).wanted
        with pytest.raises(Refused, match="and not by"):
            await Brought(ca.database, Store(ca.house.data.repository), ("x" * 43,)).manifest(jws)
        signed = json.loads(jws)
        signed["payload"] = signed["payload"][:-8] + "AAAAAAAA"
        with pytest.raises(Refused, match="no signed manifest"):
            await ca.register.brought.manifest(json.dumps(signed).encode(), key=key)


async def test_the_certificate_itself_tells_in_which_shard_its_revocation_is_looked_for(
    house_class: Any, tmp_path: Path
) -> None:
    place = Place(house_class, tmp_path)
    place.vault.shard_base = Settings().repository.base_url
    status = Status(crl_shards=4)
    async with place.start(status) as ca:
        pass
    back_up(place.directory, place.backup)
    async with place.start(status) as ca:
        serial = await ca.house.issue("ec1", 3)
        issuer = place.vault.issuers["ec1"]
        der = leaf(serial, issuer.certificate, issuer.key)
        await ca.house.revoke(serial, 1)
        answer = (await ca.house.responder.answer(ca.house.request(serial))).der
    restore(place.backup, place.directory, "database", "audit", "repository", "run")
    async with place.start(status) as ca:
        await ca.register.begin("a test", place.clock.at)
        await ca.register.brought.answer(answer)
        row = revocations.of(ca.database.reader, serial)
        assert row is not None
        assert row.crl_shard == 0
        await ca.register.accept("a test", "operator ann")
        assert "crl/ec1-0.crl" in await ca.house.updater().update()
        assert (await ca.register.brought.certificate(der)).certificates == 1
        moved = revocations.of(ca.database.reader, serial)
        assert moved is not None
        assert (moved.crl_shard, moved.reason, moved.revoked_at) == (3, row.reason, row.revoked_at)
        assert moved.version > row.version
        assert (await ca.register.brought.certificate(der)).certificates == 0
        assert await ca.house.updater().update() == ["crl/ec1-3.crl"]
        content = Store(ca.house.data.repository).read("crl/ec1-3.crl")
        assert content is not None
        crl = x509.load_der_x509_crl(content)
        assert crl.get_revoked_certificate_by_serial_number(int.from_bytes(serial)) is not None


async def test_a_certificate_of_somebody_else_is_refused(house_class: Any, tmp_path: Path) -> None:
    place = Place(house_class, tmp_path)
    issuer = place.vault.issuers["ec1"]
    foreign = leaf(b"\x01", issuer.certificate, ec.generate_private_key(ec.SECP256R1()))
    async with place.start() as ca:
        for der in (foreign, b"nonsense"):
            with pytest.raises(Refused, match="certificate"):
                await ca.register.brought.certificate(der)
        assert ca.missing == []
        assert gaps.are_open(ca.database.reader) == []


def leaf(serial: bytes, issuer: x509.Certificate, key: Any, shard: int = 3) -> bytes:
    """A certificate in DER that names its CRL."""
    named = x509.UniformResourceIdentifier(f"http://ca.example/crl/ec1-{shard}.crl")
    point = x509.DistributionPoint([named], None, None, None)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(int.from_bytes(serial))
        .not_valid_before(at(CREATED))
        .not_valid_after(at(CREATED + 90 * DAY))
        .add_extension(x509.CRLDistributionPoints([point]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.DER)
