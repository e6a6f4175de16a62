"""The vault's part of a CRL (signer/vault/status/service.py): what it holds, judges, signs and refuses."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from core.errors import ConfigurationError, Refused
from core.settings import Settings, Status
from signer import api
from signer.api import CrlBlocks, CrlRequest
from signer.vault.record.journal import Kind, crl_issuance_id
from signer.vault.status.service import StatusService
from status.crl.entries import encoded
from tests.signer.vault.test_service import World, _world
from tests.support.software_ca import DAY, NOW, software_ca

BLOCKS = (
    encoded([(bytes([number]), NOW - 9, 1) for number in range(1, 5)]),
    encoded([(b"\x11" * 16, NOW, 0), (b"\x12" * 16, NOW - DAY, 4)]),
)
DIGESTS = tuple(hashlib.sha256(block).digest() for block in BLOCKS)
ASKED = CrlRequest("ec-p256", 0, 1, NOW, NOW + 7 * DAY, DIGESTS)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = _world(tmp_path, Settings(status=Status(issuer_crl_shards={"ec-p256": 3})))
    await made.service.status.hold_crl_blocks(CrlBlocks("ec-p256", 0, BLOCKS))
    yield made
    made.journal.close()


def serials(content: bytes) -> list[int]:
    return [entry.serial_number for entry in x509.load_der_x509_crl(content)]


@pytest.mark.clause("RFC 5280 section 5")
@pytest.mark.clause("BR 7.2.2.1")
async def test_a_crl_is_its_frame_around_the_blocks_signed_and_in_the_journal(world: World) -> None:
    signed = await world.service.status.sign_crl(ASKED)
    content = signed.whole(BLOCKS)
    crl = x509.load_der_x509_crl(content)
    assert crl.is_signature_valid(software_ca("ec-p256").key.public_key())
    assert serials(content) == [1, 2, 3, 4, int.from_bytes(b"\x11" * 16), int.from_bytes(b"\x12" * 16)]
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert point.critical
    assert point.value.full_name[0].value == software_ca("ec-p256").issuer.crl_url(0)  # type: ignore[index]
    (intent,) = (each for each in world.journal.page(0, 100) if each.kind == Kind.CRL_INTENT)
    (result,) = (each for each in world.journal.page(0, 100) if each.kind == Kind.CRL)
    assert intent.issuance_id == crl_issuance_id("ec-p256", 0, 1)
    assert intent.tbs == hashlib.sha256(crl.tbs_certlist_bytes).digest()
    assert result.certificate == hashlib.sha256(content).digest()


async def test_the_next_crl_names_blocks_that_were_sent_before(world: World) -> None:
    await world.service.status.sign_crl(ASKED)
    new = encoded([(b"\x13" * 16, NOW, 9)])
    await world.service.status.hold_crl_blocks(CrlBlocks("ec-p256", 0, (new,)))
    digest = hashlib.sha256(new).digest()
    signed = await world.service.status.sign_crl(replace(ASKED, number=2, blocks=(*DIGESTS, digest)))
    assert len(serials(signed.whole([*BLOCKS, new]))) == 7


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("crl.block-unknown", replace(ASKED, blocks=(bytes(32),))),
        ("crl-lint.serial", replace(ASKED, blocks=(DIGESTS[0], DIGESTS[0]))),
        ("crl-lint.serial", replace(ASKED, blocks=DIGESTS[::-1])),
        ("crl.block-unknown", replace(ASKED, shard=1)),  # held for another scope
        ("crl.shard", replace(ASKED, shard=3)),
        ("crl.revoked-at", replace(ASKED, this_update=NOW - 1, next_update=NOW + DAY)),
        ("crl.number", replace(ASKED, number=0)),
        ("crl.number", replace(ASKED, number=1 << 159)),
        ("crl.validity", replace(ASKED, next_update=NOW + 10 * DAY + 1)),
    ],
)
async def test_what_is_refused_uses_no_key_and_no_number(world: World, code: str, asked: CrlRequest) -> None:
    sequence = world.journal.sequence
    with pytest.raises(Refused) as refusal:
        await world.service.status.sign_crl(asked)
    assert refusal.value.code == code
    assert world.journal.sequence == sequence
    await world.service.status.sign_crl(ASKED)


@pytest.mark.clause("RFC 5280 section 5.2.3")
async def test_of_two_that_ask_for_one_number_at_once_one_is_refused(world: World) -> None:
    asked = [world.service.status.sign_crl(each) for each in (ASKED, replace(ASKED, this_update=NOW + 1))]
    done = await asyncio.gather(*asked, return_exceptions=True)
    (refusal,) = (each for each in done if isinstance(each, Refused))
    assert refusal.code == "crl.number"
    assert len([each for each in world.journal.page(0, 100) if each.kind == Kind.CRL]) == 1


async def test_blocks_of_no_issuer_or_shard_are_not_held(world: World) -> None:
    for request in (CrlBlocks("nobody", 0, BLOCKS), CrlBlocks("ec-p256", 3, BLOCKS)):
        with pytest.raises(Refused):
            await world.service.status.hold_crl_blocks(request)


@pytest.mark.clause("BR 4.9.7")
@pytest.mark.clause("requirements 2.63")
async def test_the_number_of_shards_never_falls_below_what_the_journal_knows(
    world: World, tmp_path: Path
) -> None:
    await world.service.status.hold_crl_blocks(CrlBlocks("ec-p256", 2, BLOCKS))
    await world.service.status.sign_crl(replace(ASKED, shard=2))
    world.journal.close()
    with pytest.raises(ConfigurationError, match="may rise but never fall"):
        _world(tmp_path, Settings(status=Status(crl_shards=2)))
    again = _world(tmp_path, Settings(status=Status(crl_shards=4)))
    assert isinstance(again.service.status, StatusService)
    again.journal.close()


async def test_a_leaf_of_another_issuers_shard_is_refused(world: World) -> None:
    from tests.signer.vault.test_service import request

    with pytest.raises(Refused, match=r"profile\.crl-shard"):
        await world.service.prepare(request(crl_shard=3))
    assert isinstance(await world.service.prepare(request(crl_shard=2)), api.Prepared)
