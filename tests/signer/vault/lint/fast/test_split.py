"""signer/vault/lint/fast/split.py: the same key means the same structure around the fields."""

from __future__ import annotations

import random

import pytest

from core import der
from signer.vault.lint.fast.split import VARYING, Unusual, split
from signer.vault.templates import leaf
from tests.support.mutants import with_other_fields
from tests.support.software_ca import DAY, NOW, SERIAL, leaf_request, profile, software_ca

CA = software_ca()


def leaf_der(**changes: object) -> bytes:
    return leaf.dummy_signed(leaf.build_tbs(CA.issuer, profile(), leaf_request(**changes)), CA.issuer)


def test_the_fields_are_a_certificates_own() -> None:
    _, fields = split(leaf_der(), VARYING)
    names = der.sequence(der.implicit(2, b"www.acme-shop.com"))
    assert fields[:3] == [der.tlv(der.INTEGER, SERIAL), der.time(NOW), der.time(NOW + 90 * DAY - 1)]
    assert [field[0] for field in fields[3:]] == [der.BIT_STRING, der.OCTET_STRING, der.BIT_STRING]
    assert fields[4] == der.octet_string(names)


def test_certificates_that_differ_in_their_own_fields_have_one_key() -> None:
    octets = leaf_der()
    key, fields = split(octets, VARYING)
    others = [
        split(leaf_der(serial=b"\x05" * 16), VARYING),
        split(leaf_der(names=("a.acme-shop.com", "b.acme-shop.com")), VARYING),
        split(leaf_der(names=tuple(f"w{number}.acme-shop.com" for number in range(200))), VARYING),
    ]
    assert all(other_key == key and other_fields != fields for other_key, other_fields in others)


@pytest.mark.parametrize("change", [{"crl_shard": 1}, {"not_after": 2524608000}])
def test_certificates_that_differ_otherwise_have_another_key(change: dict[str, int]) -> None:
    assert split(leaf_der(**change), VARYING)[0] != split(leaf_der(), VARYING)[0]


def test_a_changed_octet_changes_the_key_or_a_field_or_is_unusual() -> None:
    octets = leaf_der()
    taken = split(octets, VARYING)
    for position in range(len(octets)):
        changed = bytearray(octets)
        changed[position] ^= 1
        try:
            assert split(bytes(changed), VARYING) != taken
        except Unusual:
            continue


def test_no_two_certificates_share_key_and_fields() -> None:
    chance = random.Random(4)
    seen: dict[object, bytes] = {}
    for _ in range(500):
        octets = with_other_fields(leaf_der(), chance)
        key, fields = split(octets, VARYING)
        assert seen.setdefault((key, tuple(fields)), octets) == octets


def parts() -> tuple[list[bytes], list[bytes]]:
    tbs, *rest = [part.encoding for part in der.elements(der.only(leaf_der(), der.SEQUENCE).content)]
    return [part.encoding for part in der.elements(der.only(tbs, der.SEQUENCE).content)], rest


def unusual() -> dict[str, bytes]:
    fields, rest = parts()
    bits = der.bit_string(b"x")

    def made(*fields: bytes) -> bytes:
        return der.sequence(der.sequence(*fields), *rest)

    octets = leaf_der()
    return {
        "empty": b"",
        "octets after": octets + b"\x00",
        "cut off": octets[:-1],
        "only a header": octets[:4],
        "version 1": made(*fields[1:]),
        "version 2": made(der.explicit(0, der.integer(1)), *fields[1:]),
        "a unique id": made(*fields[:7], der.implicit(1, b"\x00x"), fields[7]),
        "no extensions": made(*fields[:7]),
        "a field too many": made(*fields, der.NULL),
        "a third time": made(*fields[:4], der.sequence(*[der.time(0)] * 3), *fields[5:]),
        "one time": made(*fields[:4], der.sequence(der.time(0)), *fields[5:]),
        "no time": made(*fields[:4], der.sequence(), *fields[5:]),
        "a third part of the key": made(*fields[:6], der.sequence(der.sequence(), bits, bits), fields[7]),
        "a second signature": octets[:4] + b"".join([der.sequence(*fields), *rest, bits]),
        "a long length": octets[:1] + b"\x83\x00" + octets[2:4] + octets[4:],
        "no definite length": octets[:1] + b"\x80" + octets[4:] + b"\x00\x00",
        "critical, but not DER": octets.replace(
            bytes.fromhex("0603551d110101ff"), bytes.fromhex("0603551d11010101")
        ),
        "critical FALSE": octets.replace(
            bytes.fromhex("0603551d110101ff"), bytes.fromhex("0603551d11010100")
        ),
    }


@pytest.mark.parametrize("what", unusual())
def test_what_is_unusual_is_left_to_pkilint(what: str) -> None:
    with pytest.raises(Unusual):
        split(unusual()[what], VARYING)
