"""vault/lint/crl_check.py: no octet passes unseen, and a CRL that it passes, pkilint passes as a whole."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from core import der
from core.errors import Refused
from core.settings import Rules
from signer.api import CrlEntry
from signer.vault.lint import linter
from signer.vault.lint.crl_check import CA_REASONS, REASONS, Wanted, check
from signer.vault.lint.worker import Kind
from signer.vault.templates import crl
from tests.support.software_ca import DAY, NOW, software_ca

CA = software_ca()
URL = "http://pki.acme-ca.com/crl/ec-p256-7.crl"
YEAR_2050 = 2524608000
SERIALS = st.one_of(
    st.integers(1, (1 << 159) - 1), st.sampled_from([1, 127, 128, 255, 256, 1 << 158, (1 << 159) - 1])
).map(der.integer_content)


def entries(reasons: list[int], latest: int) -> st.SearchStrategy[tuple[CrlEntry, ...]]:
    entry = st.builds(
        CrlEntry,
        serial=SERIALS,
        revoked_at=st.one_of(st.integers(latest - 10**8, latest), st.integers(-631152000, latest)),
        reason=st.sampled_from([None, 0, *reasons]),
    )
    return st.lists(entry, max_size=30, unique_by=lambda each: each.serial).map(tuple)


def wanted(*listed: CrlEntry, **changes: object) -> Wanted:
    values = {"number": 7, "this_update": NOW, "next_update": NOW + 7 * DAY, "url": None}
    return Wanted(CA.issuer, entries=listed, **(values | changes))  # type: ignore[arg-type]


def built(asked: Wanted) -> bytes:
    return crl.build_tbs(
        asked.issuer,
        asked.number,
        asked.this_update,
        asked.next_update,
        asked.entries,
        asked.url,
        of_cas=asked.of_cas,
    )


def findings(rules: Rules, tbs: bytes, *, of_cas: bool = False) -> set[tuple[str, str]]:
    kind = Kind.ROOT_CRL if of_cas else Kind.CRL
    found = linter.lint(rules, kind, crl.dummy_signed(tbs, CA.issuer), plain=True)
    return {(finding.severity, finding.code) for finding in found}


def refuses(rules: Rules, tbs: bytes) -> bool:
    return any(severity in ("error", "fatal") for severity, _ in findings(rules, tbs))


@pytest.mark.clause("BR 4.3.1.2")
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_pkilint_finds_in_the_specimen_what_it_finds_in_the_whole(data: st.DataObject) -> None:
    of_cas = data.draw(st.booleans())
    this_update = data.draw(st.sampled_from([NOW, YEAR_2050 - 1, YEAR_2050, YEAR_2050 + DAY]))
    asked = wanted(
        *data.draw(entries(sorted(CA_REASONS if of_cas else REASONS), this_update)),
        this_update=this_update,
        next_update=this_update + 7 * DAY,
        number=data.draw(st.integers(0, (1 << 159) - 1)),
        url=data.draw(st.sampled_from([None, URL])),
        of_cas=of_cas,
    )
    tbs = built(asked)
    specimen = check(tbs, asked)
    for rules in Rules:
        assert findings(rules, specimen, of_cas=of_cas) == findings(rules, tbs, of_cas=of_cas)
    assert not any(refuses(rules, tbs) for rules in Rules if not of_cas)


def test_the_specimen_has_one_entry_of_each_shape() -> None:
    listed = [
        CrlEntry(bytes([1 + number]) * 16, NOW - number, (None, 0, 1, 9)[number % 4]) for number in range(60)
    ]
    listed.append(CrlEntry(b"\x01", NOW, None))
    asked = wanted(*listed)
    tbs = built(asked)
    found = x509.load_der_x509_crl(crl.dummy_signed(check(tbs, asked), CA.issuer))
    whole = x509.load_der_x509_crl(crl.dummy_signed(tbs, CA.issuer))
    assert len(found) == 4  # no reason, two reasons, and the short serial number
    assert list(found.extensions) == list(whole.extensions)
    assert (found.issuer, found.last_update_utc, found.next_update_utc) == (
        whole.issuer,
        whole.last_update_utc,
        whole.next_update_utc,
    )


SOME = [
    CrlEntry(b"\x01", NOW - 5, None),
    CrlEntry(b"\x00\x80", NOW, 1),
    CrlEntry(b"\x7f" * 20, NOW - 10**7, 9),
]


@pytest.mark.parametrize(
    "asked", [wanted(*SOME, url=URL), wanted(), wanted(*SOME)], ids=["shard", "empty", "full"]
)
def test_an_octet_changed_left_out_or_added_anywhere_is_refused(asked: Wanted) -> None:
    tbs = built(asked)
    check(tbs, asked)
    for position in range(len(tbs)):
        for changed in (
            tbs[:position] + bytes([tbs[position] ^ 1]) + tbs[position + 1 :],
            tbs[:position] + tbs[position + 1 :],
            tbs[:position] + b"\x00" + tbs[position:],
        ):
            if changed != tbs:
                with pytest.raises(Refused, match=r"crl-lint\."):
                    check(changed, asked)
    with pytest.raises(Refused, match=r"crl-lint\."):
        check(tbs + b"\x00", asked)


def mutant(tbs: bytes, chance: random.Random) -> bytes:
    """An entry or a field of the list changed, doubled, dropped, moved or made otherwise odd."""
    fields = [field.encoding for field in der.elements(der.only(tbs, der.SEQUENCE).content)]
    listed = [entry.encoding for entry in der.elements(der.only(fields[5], der.SEQUENCE).content)]
    at = chance.randrange(len(listed))
    serial, when, *_ = [part.encoding for part in der.elements(der.only(listed[at], der.SEQUENCE).content)]
    match chance.randrange(9):
        case 0:
            listed[at] = der.sequence(
                der.tlv(der.INTEGER, chance.choice([b"\x00", b"\xff", b"\x01" * 21])), when
            )
        case 1:
            listed[at] = der.sequence(serial, der.generalized_time(NOW))
        case 2:
            listed[at] = der.sequence(
                serial, der.tlv(der.UTC_TIME, chance.choice([b"261399000000Z", b"2611"]))
            )
        case 3:
            code = chance.choice([0, 2, 6, 8, 10, 11])
            reason = der.extension("2.5.29.21", der.enumerated(code))
            listed[at] = der.sequence(serial, when, der.sequence(reason))
        case 4:
            reason = der.extension("2.5.29.21", der.enumerated(1), critical=True)
            listed[at] = der.sequence(serial, when, der.sequence(reason))
        case 5:
            listed.append(listed[at])
        case 6:
            fields[chance.randrange(len(fields))] = b""
        case 7:
            fields[3], fields[4] = fields[4], fields[3]
        case 8:
            octets = bytearray(tbs)
            octets[chance.randrange(len(octets))] ^= chance.randrange(1, 256)
            return bytes(octets)
    fields[5] = der.sequence(*listed) if fields[5] else b""
    return der.sequence(*fields)


def compare(count: int, seed: int) -> int:
    """How many of so many mutants pkilint refuses; each of them is refused here, too."""
    chance = random.Random(seed)
    asked = wanted(*SOME)
    tbs, refused = built(asked), 0
    for _ in range(count):
        changed = mutant(tbs, chance)
        if any(refuses(rules, changed) for rules in Rules):
            refused += 1
            with pytest.raises(Refused, match=r"crl-lint\."):
                check(changed, asked)
    return refused


@pytest.mark.clause("BR 4.3.1.2")
def test_what_pkilint_refuses_in_a_mutant_is_refused() -> None:
    assert compare(200, seed=1) > 80


@pytest.mark.long
def test_what_pkilint_refuses_in_three_thousand_mutants_is_refused() -> None:
    assert compare(3000, seed=2) > 1200


@pytest.mark.clause("BR 7.2.2")
@pytest.mark.parametrize(
    ("code", "changes", "listed"),
    [
        ("serial", {}, [CrlEntry(b"", NOW, None)]),
        ("serial", {}, [CrlEntry(b"\x00", NOW, None)]),
        ("serial", {}, [CrlEntry(b"\x00\x7f", NOW, None)]),
        ("serial", {}, [CrlEntry(b"\x80", NOW, None)]),
        ("serial", {}, [CrlEntry(b"\x01" * 21, NOW, None)]),
        ("serial", {}, [CrlEntry(b"\x02", NOW, None), CrlEntry(b"\x01", NOW, 1), CrlEntry(b"\x02", NOW, 1)]),
        ("revoked-at", {}, [CrlEntry(b"\x01", NOW + 1, None)]),
        ("revoked-at", {}, [CrlEntry(b"\x01", -631152001, None)]),
        *(("reason", {}, [CrlEntry(b"\x01", NOW, reason)]) for reason in (2, 6, 7, 8, 10, 11)),
        ("number", {"number": 1 << 159}, []),
        ("number", {"number": -1}, []),
        ("validity", {"next_update": NOW}, []),
    ],
)
def test_what_the_rules_forbid_is_refused_whatever_the_template_wrote(
    code: str, changes: dict[str, int], listed: list[CrlEntry]
) -> None:
    asked = wanted(*listed, **changes)
    tbs = as_a_careless_template_would_write(asked)
    with pytest.raises(Refused) as refusal:
        check(tbs, asked)
    assert refusal.value.code == f"crl-lint.{code}"


def as_a_careless_template_would_write(asked: Wanted) -> bytes:
    good = replace(asked, number=7, next_update=NOW + DAY, entries=())
    fields = [field.encoding for field in der.elements(der.only(built(good), der.SEQUENCE).content)]
    fields[4] = der.time(asked.next_update)
    if asked.number != 7:
        octets = asked.number.to_bytes(21, "big", signed=True)
        number = der.extension("2.5.29.20", der.tlv(der.INTEGER, octets))
        fields[-1] = der.explicit(0, der.sequence(der.extension("2.5.29.35", b""), number))
    listed = [
        der.sequence(
            der.tlv(der.INTEGER, entry.serial),
            der.tlv(der.UTC_TIME, b"261124000000Z"),
            der.sequence(der.extension("2.5.29.21", der.enumerated(entry.reason))) if entry.reason else b"",
        )
        for entry in asked.entries
    ]
    return der.sequence(*fields[:5], der.sequence(*listed) if listed else b"", fields[-1])


def test_entries_in_another_order_or_of_another_request_are_refused() -> None:
    asked = wanted(*SOME)
    for listed in (
        SOME[::-1],
        SOME[:-1],
        [*SOME, CrlEntry(b"\x05", NOW, 1)],
        [replace(SOME[0], reason=4), *SOME[1:]],
    ):
        with pytest.raises(Refused, match=r"crl-lint\."):
            check(built(asked), replace(asked, entries=tuple(listed)))
