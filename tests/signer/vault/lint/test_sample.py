"""signer/vault/lint/sample.py: what was signed is judged once more, whole and by pkilint alone."""

from __future__ import annotations

import asyncio

import pytest
from cryptography import x509

from core import der
from core.errors import Refused
from core.randomness import SystemRandomness
from signer.api import LintRecord
from signer.vault.lint.pool import Kind, LintPool
from signer.vault.lint.sample import CRL_ENTRIES, Sampler
from tests.signer.vault.lint.test_pool import crl_der


class Chance:
    """Octets of a number that goes up."""

    def __init__(self) -> None:
        self.number = -1

    def octets(self, count: int) -> bytes:
        self.number += 1
        return self.number.to_bytes(count, "big")


class Pool(LintPool):
    """Finds what it is told to find."""

    running = True  # type: ignore[assignment]

    def __init__(self) -> None:
        self.refusal: Refused | None = None
        self.seen: list[tuple[Kind, bytes, bool]] = []

    async def lint(
        self, octets: bytes, kind: Kind, *, at: int | None = None, plain: bool = False
    ) -> LintRecord:
        self.seen.append((kind, octets, plain))
        if self.refusal is not None:
            raise self.refusal
        return LintRecord((), ())


class Told(list[str]):
    async def __call__(self, why: str) -> None:
        self.append(why)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.clause("BR 8.7")
async def test_one_in_so_many_is_judged_by_pkilint_alone() -> None:
    pool, told = Pool(), Told()
    sampler = Sampler(pool, 3, Chance(), told)
    for number in range(9):
        sampler.offer(Kind.LEAF, bytes([number]))
        await settled()
    assert pool.seen == [(Kind.LEAF, bytes([number]), True) for number in (0, 3, 6)]
    assert (sampler.judged, told) == (3, [])


async def test_none_is_judged_when_told_so() -> None:
    pool = Pool()
    sampler = Sampler(pool, 0, Chance(), Told())
    sampler.offer(Kind.LEAF, b"")
    await settled()
    assert pool.seen == []


async def test_a_finding_is_told_with_its_code() -> None:
    pool, told = Pool(), Told()
    pool.refusal = Refused("lint.some_code", "pkilint says error")
    Sampler(pool, 1, Chance(), told).offer(Kind.OCSP, b"answer")
    await settled()
    assert len(told) == 1
    assert "lint.some_code" in told[0]


async def test_what_comes_while_one_is_judged_is_let_go() -> None:
    pool = Pool()
    sampler = Sampler(pool, 1, Chance(), Told())
    for _ in range(3):
        sampler.offer(Kind.LEAF, b"")
    await settled()
    assert len(pool.seen) == 1


async def test_a_long_crl_is_judged_by_entries_drawn_at_random() -> None:
    pool = Pool()
    long, short = crl_der(CRL_ENTRIES + 500), crl_der(CRL_ENTRIES)
    for octets in (short, long):
        sampler = Sampler(pool, 1, SystemRandomness(), Told())
        sampler._one_in = 1
        sampler.offer(Kind.CRL, octets)
        assert sampler._at_work is not None
        await sampler._at_work
    assert pool.seen[0][1] == short
    drawn = x509.load_der_x509_crl(pool.seen[1][1])
    whole = x509.load_der_x509_crl(long)
    numbers = {entry.serial_number for entry in drawn}
    assert len(drawn) == CRL_ENTRIES
    assert numbers <= {entry.serial_number for entry in whole}
    assert max(numbers) > CRL_ENTRIES
    assert (drawn.issuer, list(drawn.extensions), drawn.signature) == (
        whole.issuer,
        list(whole.extensions),
        whole.signature,
    )
    assert der.only(pool.seen[1][1], der.SEQUENCE)
