"""signer/vault/status/held.py: only judged blocks are handed out, in their scope, in ascending order."""

from __future__ import annotations

import hashlib

import pytest

from core.errors import Refused
from signer.vault.status.held import HeldBlocks
from status.crl.entries import encoded
from tests.support.software_ca import NOW


def block(*serials: int) -> bytes:
    return encoded([(bytes([serial]), NOW, 0) for serial in serials])


def digest(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


LOW, HIGH = block(1, 2), block(3)


def test_blocks_are_found_by_their_digest_in_their_own_scope() -> None:
    held = HeldBlocks()
    held.hold("ec1", 0, [LOW, HIGH])
    assert [each.octets for each in held.found("ec1", 0, [digest(LOW), digest(HIGH)])] == [LOW, HIGH]
    for scope in (("ec1", 1), ("rsa1", 0)):
        with pytest.raises(Refused, match=r"crl\.block-unknown"):
            held.found(*scope, [digest(LOW)])


@pytest.mark.clause("BR 7.2")
@pytest.mark.parametrize("blocks", [(HIGH, LOW), (LOW, LOW), (LOW, block(2, 3)), (block(1, 3), block(2))])
def test_no_serial_number_occurs_twice_over_all_blocks(blocks: tuple[bytes, bytes]) -> None:
    held = HeldBlocks()
    held.hold("ec1", 0, blocks)
    with pytest.raises(Refused, match=r"crl-lint\.serial"):
        held.found("ec1", 0, [digest(each) for each in blocks])


def test_a_block_that_the_lint_refuses_is_not_held() -> None:
    held = HeldBlocks()
    bad = LOW[:-1]
    with pytest.raises(Refused, match=r"crl-lint\.entry"):
        held.hold("ec1", 0, [bad])
    assert held.octets == 0
    with pytest.raises(Refused, match=r"crl\.block-unknown"):
        held.found("ec1", 0, [digest(bad)])


def test_what_the_newest_crl_does_not_have_is_forgotten() -> None:
    held = HeldBlocks()
    held.hold("ec1", 0, [LOW, HIGH])
    held.hold("ec1", 1, [LOW])
    held.keep_only("ec1", 0, [digest(HIGH)])
    assert held.octets == len(HIGH) + len(LOW)
    assert held.found("ec1", 0, [digest(HIGH)])
    assert held.found("ec1", 1, [digest(LOW)])
    with pytest.raises(Refused, match=r"crl\.block-unknown"):
        held.found("ec1", 0, [digest(LOW)])


def test_the_memory_has_an_end() -> None:
    held = HeldBlocks(most=len(LOW))
    held.hold("ec1", 0, [LOW, LOW])
    with pytest.raises(Refused, match=r"crl\.memory"):
        held.hold("rsa1", 0, [HIGH])
    held.keep_only("ec1", 0, [])
    held.hold("rsa1", 0, [HIGH])
