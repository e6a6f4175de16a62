"""signer/vault/status/lint.py: pkilint sees each shape, our own lint sees everything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core import requirements
from core.errors import Refused
from signer.api import CrlEntry
from signer.vault.lint import crl_check
from signer.vault.lint.pool import Kind
from signer.vault.status.lint import StatusLint
from signer.vault.status.responders import Responder
from signer.vault.templates import crl, ocsp
from signer.vault.tokens import algorithms
from signer.vault.tokens.keys import Key, KeyAlgorithm
from tests.signer.vault.lint.test_crl_check import built, wanted
from tests.signer.vault.lint.test_sample import Pool
from tests.signer.vault.templates.test_ocsp import NOT_AFTER, REQUEST, key_hash, responder
from tests.support.software_ca import DAY, NOW, software_ca

CA = software_ca()
KEY, CERTIFICATE = responder("ec-p256")
RESPONDER = Responder(
    Key("ocsp", KeyAlgorithm.EC_P256, KEY.public_key()),
    algorithms.for_key(KEY.public_key()),
    key_hash(CERTIFICATE),
    CERTIFICATE,
    NOT_AFTER,
)


def linting() -> tuple[StatusLint, Pool]:
    pool = Pool()
    pool.linters = ("lint 1",)
    return StatusLint(pool), pool


@pytest.mark.clause("BR 4.3.1.2")
async def test_pkilint_sees_one_answer_of_each_shape() -> None:
    lint, pool = linting()
    revoked = replace(REQUEST, revoked_at=NOW, reason=1)
    shapes = [
        REQUEST,
        replace(REQUEST, hash_name="sha256"),
        revoked,
        replace(revoked, reason=None),
        replace(revoked, reason=4),
        replace(REQUEST, serial=b"\x01"),
    ]
    for number, shape in enumerate([*shapes, *shapes]):
        serial = shape.serial[:-1] + bytes([number + 1])
        other = replace(shape, next_update=shape.next_update - number, serial=serial)
        await lint.ocsp(CA.issuer, RESPONDER, (other,), NOW)
    assert len(pool.seen) == len(shapes)
    assert {kind for kind, _, _ in pool.seen} == {Kind.OCSP}


async def test_a_shape_is_asked_about_again_by_another_linter_and_under_new_rules() -> None:
    lint, pool = linting()
    await lint.ocsp(CA.issuer, RESPONDER, (REQUEST,), NOW)
    pool.linters = ("lint 2",)
    await lint.ocsp(CA.issuer, RESPONDER, (REQUEST,), NOW)
    assert len(pool.seen) == 2
    _, row = requirements.changes(NOW)[0]
    for now in (row.since - 1, row.since):
        later = replace(REQUEST, this_update=now, next_update=now + DAY)
        await lint.ocsp(CA.issuer, replace(RESPONDER, not_after=now + 2 * DAY), (later,), now)
    assert len(pool.seen) == 3


async def test_a_shape_that_pkilint_refused_is_not_remembered() -> None:
    lint, pool = linting()
    pool.refusal = Refused("lint.code", "")
    for _ in range(2):
        with pytest.raises(Refused, match=r"lint\.code"):
            await lint.ocsp(CA.issuer, RESPONDER, (REQUEST,), NOW)
    assert len(pool.seen) == 2


@pytest.mark.parametrize("count", [0, 3])
async def test_pkilint_sees_a_specimen_of_each_crl(count: int) -> None:
    lint, pool = linting()
    asked = wanted(*(CrlEntry((1 << 64 | number).to_bytes(9, "big"), NOW, 1) for number in range(count)))
    for _ in range(2):
        assert await lint.crl(asked, NOW) == crl_check.check(built(asked), asked)
    specimen = crl.dummy_signed(crl_check.check(built(asked), asked), CA.issuer)
    assert pool.seen == [(Kind.CRL, specimen, False)] * 2
    assert len(specimen) < 400


async def test_what_our_own_lint_refuses_is_refused_though_the_workers_find_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lint, pool = linting()
    template, answer = crl.build_tbs, ocsp.build_tbs
    monkeypatch.setattr(crl, "build_tbs", lambda *args, **named: template(*args, **named) + b"\x05\x00")
    monkeypatch.setattr(
        ocsp, "build_tbs", lambda issuer, *rest: answer(issuer, *rest).replace(REQUEST.serial, b"\x02" * 16)
    )
    with pytest.raises(Refused, match=r"crl-lint\."):
        await lint.crl(wanted(), NOW)
    with pytest.raises(Refused, match=r"ocsp-lint\.serial"):
        await lint.ocsp(CA.issuer, RESPONDER, (REQUEST,), NOW)
    assert pool.seen == []
