"""signer/vault/templates/profiles.py: nothing but what the profile allows gets past our own lint."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import der
from core.errors import Refused
from core.settings import Ca, Rules, Settings
from signer.api import LeafRequest
from signer.vault.templates import leaf, profiles
from tests.support.software_ca import (
    DAY,
    NOW,
    SERIAL,
    leaf_request,
    private_key,
    profile,
    software_ca,
    spki,
)

LONGEST = 200 * DAY


def admit(request: LeafRequest, **changes: object) -> None:
    kind = replace(profile(), **changes)  # type: ignore[arg-type]
    profiles.admit(request, kind, software_ca().issuer, now=NOW, longest=LONGEST)


def check(tbs: bytes, request: LeafRequest | None = None) -> None:
    profiles.check(tbs, profile(), request or leaf_request(), software_ca().issuer)


def rebuilt(fields: list[bytes]) -> bytes:
    return der.sequence(*fields)


def fields_of(tbs: bytes) -> list[bytes]:
    return [element.encoding for element in der.elements(der.only(tbs, der.SEQUENCE).content)]


def with_extensions(tbs: bytes, extensions: list[bytes]) -> bytes:
    return rebuilt([*fields_of(tbs)[:-1], der.explicit(3, der.sequence(*extensions))])


def extensions_of(tbs: bytes) -> list[bytes]:
    outer = der.only(fields_of(tbs)[-1], 0xA3)
    return [e.encoding for e in der.elements(der.only(outer.content, der.SEQUENCE).content)]


TBS = leaf.build_tbs(software_ca().issuer, profile(), leaf_request())


@pytest.mark.clause("BR 7.1.6.1")
def test_public_leaves_carry_the_reserved_policy_first_and_private_ones_never() -> None:
    def policies(rules: Rules, oid: str) -> tuple[str, ...]:
        found = profiles.from_settings(Settings(ca=Ca(rules=rules, policy_oid=oid)))
        return found["tlsserver"].policies

    assert policies(Rules.PUBLIC, "") == ("2.23.140.1.2.1",)
    assert policies(Rules.PUBLIC, "1.3.6.1.4.1.99999.1") == ("2.23.140.1.2.1", "1.3.6.1.4.1.99999.1")
    assert policies(Rules.PRIVATE, "") == ()
    assert policies(Rules.PRIVATE, "1.3.6.1.4.1.99999.1") == ("1.3.6.1.4.1.99999.1",)


@pytest.mark.parametrize("subject", ["rsa-2048", "rsa-4096", "ec-p256", "ec-p384", "ec-p521"])
@pytest.mark.parametrize("rules", list(Rules))
def test_what_the_template_builds_is_admitted_and_passes(subject: str, rules: Rules) -> None:
    issuer, kind = software_ca().issuer, profile(rules)
    names = tuple(f"{star}a{number}.acme-shop.com" for number in range(50) for star in ("", "*."))
    request = leaf_request(public_key=spki(private_key(subject)), names=names, crl_shard=3)
    profiles.admit(request, kind, issuer, now=NOW, longest=LONGEST)
    profiles.check(leaf.build_tbs(issuer, kind, request), kind, request, issuer)


@pytest.mark.parametrize("subject", ["rsa-2048", "ec-p256"])
def test_a_clients_certificate_is_admitted_and_passes_under_an_issuer_that_may(subject: str) -> None:
    issuer, kind = software_ca(rules=Rules.PRIVATE).issuer, profile(Rules.PRIVATE, client_auth=True)
    request = leaf_request(public_key=spki(private_key(subject)))
    profiles.admit(request, kind, issuer, now=NOW, longest=LONGEST)
    tbs = leaf.build_tbs(issuer, kind, request)
    profiles.check(tbs, kind, request, issuer)
    # serverAuth, then clientAuth: one certificate for a host that calls others (RFC 5280 section 4.2.1.12).
    assert bytes.fromhex("301406082b0601050507030106082b06010505070302") in tbs
    with pytest.raises(Refused, match=r"profile\.extension"):
        profiles.check(tbs, profile(Rules.PRIVATE), request, issuer)


@pytest.mark.clause("BR 7.1.2.10.6")
def test_an_issuer_for_servers_only_certifies_no_client() -> None:
    assert not software_ca().issuer.client_auth
    with pytest.raises(Refused, match=r"profile\.client-auth.*ceremony"):
        admit(leaf_request(), client_auth=True)


@pytest.mark.parametrize(
    ("types", "names", "admitted"),
    [
        (("dns",), ("www.acme-shop.com", "*.acme-shop.com"), True),
        (("dns",), ("www.acme-shop.com", "9.9.9.9"), False),
        (("dns",), ("2620:fe::9",), False),
        (("ip",), ("9.9.9.9", "2620:fe::9"), True),
        (("ip",), ("9.9.9.9", "www.acme-shop.com"), False),
        (("dns", "ip"), ("9.9.9.9", "www.acme-shop.com"), True),
    ],
)
def test_names_of_a_type_that_the_profile_has_not_are_refused(
    types: tuple[str, ...], names: tuple[str, ...], admitted: bool
) -> None:
    request = replace(leaf_request(), names=names)
    if admitted:
        admit(request, identifiers=types)
    else:
        with pytest.raises(Refused, match=r"profile\.identifiers"):
            admit(request, identifiers=types)


def test_local_service_names_may_be_addresses() -> None:
    issuer, kind = software_ca().issuer, profile(name="local-service")
    request = leaf_request(
        profile="local-service", names=("localhost", "127.0.0.1", "::1"), not_after=NOW + DAY
    )
    profiles.admit(request, kind, issuer, now=NOW, longest=LONGEST)
    profiles.check(leaf.build_tbs(issuer, kind, request), kind, request, issuer)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("profile.name", {"profile": "another"}),
        ("profile.issuer", {"issuer_id": "another"}),
        ("profile.serial", {"serial": b""}),
        ("profile.serial", {"serial": bytes(16)}),
        ("profile.serial", {"serial": b"\x80" + bytes(15)}),
        ("profile.serial", {"serial": b"\x00" + SERIAL}),
        ("profile.serial", {"serial": bytes(20) + b"\x01"}),
        ("profile.serial", {"serial": b"\x01" * 7}),
        ("profile.serial", {"serial": b"\x01" * 21}),
        ("profile.validity", {"not_after": NOW + 90 * DAY}),
        ("profile.validity", {"not_after": NOW - 1}),
        ("profile.not-before", {"not_before": NOW - 48 * 3600 - 1, "not_after": NOW}),
        ("profile.not-before", {"not_before": NOW + 48 * 3600 + 1}),
        ("profile.crl-shard", {"crl_shard": -1}),
        ("profile.names", {"names": ()}),
        ("profile.names", {"names": ("a.acme-shop.com", "a.acme-shop.com")}),
        ("profile.names", {"names": tuple(f"a{number}.acme-shop.com" for number in range(101))}),
        ("profile.names", {"names": ("",)}),
        ("profile.names", {"names": ("9.9.9.09",)}),
        ("profile.names", {"names": ("2620:FE::9",)}),
        ("profile.names", {"names": ("2620:fe:0::9",)}),
        ("profile.names", {"names": ("*.9.9.9.9",)}),
        ("profile.names", {"names": ("a.1",)}),
        ("profile.names", {"names": ("WWW.acme-shop.com",)}),
        ("profile.names", {"names": ("www.acme-shop.com.",)}),
        ("profile.names", {"names": ("a_b.acme-shop.com",)}),
        ("profile.names", {"names": ("-a.acme-shop.com",)}),
        ("profile.names", {"names": ("a-.acme-shop.com",)}),
        ("profile.names", {"names": ("ab--c.acme-shop.com",)}),
        ("profile.names", {"names": ("a..acme-shop.com",)}),
        ("profile.names", {"names": ("a.*.acme-shop.com",)}),
        ("profile.names", {"names": ("a*.acme-shop.com",)}),
        ("profile.names", {"names": ("*.*.acme-shop.com",)}),
        ("profile.names", {"names": ("*",)}),
        ("profile.names", {"names": ("*.",)}),
        ("profile.names", {"names": ("www.acme-shop.com\n",)}),
        ("profile.names", {"names": ("www.acme-shop.com\x00",)}),
        ("profile.names", {"names": ("bücher.acme-shop.com",)}),
        ("profile.names", {"names": ("a" * 64 + ".com",)}),
        ("profile.names", {"names": (".".join(["a" * 62] * 4) + ".com",)}),
        ("profile.key", {"public_key": b""}),
        ("profile.key", {"public_key": spki(private_key("rsa-1024"))}),
    ],
)
def test_a_request_beyond_the_profile_is_refused(code: str, change: dict[str, object]) -> None:
    with pytest.raises(Refused) as refusal:
        admit(replace(leaf_request(), **change))  # type: ignore[arg-type]
    assert refusal.value.code == code


@pytest.mark.clause("BR 6.3.2")
def test_validity_is_counted_with_both_ends_against_the_profile_and_the_dated_limit() -> None:
    issuer, kind = software_ca().issuer, replace(profile(), validity=400 * DAY)
    whole = leaf_request(not_after=NOW + LONGEST - 1)
    profiles.admit(whole, kind, issuer, now=NOW, longest=LONGEST)
    with pytest.raises(Refused, match=r"profile\.validity"):
        profiles.admit(replace(whole, not_after=NOW + LONGEST), kind, issuer, now=NOW, longest=LONGEST)


def test_a_certificate_never_outlives_its_issuer() -> None:
    issuer = software_ca().issuer
    late = issuer.not_after - 10 * DAY
    with pytest.raises(Refused, match=r"profile\.not-after"):
        profiles.admit(
            leaf_request(not_before=late, not_after=issuer.not_after + 1),
            profile(),
            issuer,
            now=late,
            longest=LONGEST,
        )


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("profile.serial", {"serial": SERIAL[::-1]}),
        ("profile.validity", {"not_before": NOW + 1}),
        ("profile.validity", {"not_after": NOW + DAY}),
        ("profile.key", {"public_key": spki(private_key("ec-p256", 9))}),
        ("profile.extension", {"names": ("www.acme-shop.com", "evil.acme-shop.com")}),
        ("profile.extension", {"names": ("*.acme-shop.com",)}),
        ("profile.extension", {"crl_shard": 1}),
    ],
)
def test_octets_that_differ_from_the_request_are_refused(code: str, change: dict[str, object]) -> None:
    other = leaf.build_tbs(software_ca().issuer, profile(), replace(leaf_request(), **change))  # type: ignore[arg-type]
    with pytest.raises(Refused) as refusal:
        check(other)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "change",
    [{"key_encipherment": False}, {"ocsp": False}, {"crl": False}, {"policies": ()}, {"client_auth": True}],
)
def test_octets_built_by_another_profile_are_refused(change: dict[str, object]) -> None:
    request = leaf_request(public_key=spki(private_key("rsa-2048")))
    other = leaf.build_tbs(software_ca().issuer, replace(profile(), **change), request)  # type: ignore[arg-type]
    with pytest.raises(Refused, match=r"profile\.extension"):
        check(other, request)


def test_another_issuers_octets_are_refused() -> None:
    other = leaf.build_tbs(software_ca("rsa-2048").issuer, profile(), leaf_request())
    with pytest.raises(Refused, match=r"profile\.signature"):
        check(other)


@pytest.mark.parametrize(
    "extra",
    [
        der.extension("2.5.29.14", der.octet_string(bytes(20))),  # subjectKeyIdentifier: NOT RECOMMENDED
        der.extension("1.3.6.1.5.5.7.48.1.5", der.NULL),  # ocsp-nocheck
        der.extension("2.5.29.30", der.sequence(), critical=True),  # nameConstraints
        der.extension("1.2.3.4", b""),
    ],
)
def test_an_extension_that_is_not_in_the_profile_is_refused(extra: bytes) -> None:
    with pytest.raises(Refused, match=r"profile\.extension"):
        check(with_extensions(TBS, [*extensions_of(TBS), extra]))


def test_an_extension_twice_or_missing_is_refused() -> None:
    extensions = extensions_of(TBS)
    for position, extension in enumerate(extensions):
        with pytest.raises(Refused, match=r"profile\.extension"):
            check(with_extensions(TBS, [*extensions, extension]))
        with pytest.raises(Refused, match=r"profile\.extension"):
            check(with_extensions(TBS, extensions[:position] + extensions[position + 1 :]))


def test_a_subject_is_refused() -> None:
    fields = fields_of(TBS)
    common_name = der.sequence(der.oid("2.5.4.3"), der.tlv(der.UTF8_STRING, b"www.acme-shop.com"))
    fields[5] = der.sequence(der.set_of(common_name))
    with pytest.raises(Refused, match=r"profile\.subject"):
        check(rebuilt(fields))


@pytest.mark.parametrize("field", [der.implicit(1, b"\x00\x01"), der.implicit(2, b"\x00\x01")])
def test_a_unique_identifier_is_refused(field: bytes) -> None:
    fields = fields_of(TBS)
    with pytest.raises(Refused, match=r"profile\.fields"):
        check(rebuilt([*fields[:-1], field, fields[-1]]))


@settings(max_examples=1000, deadline=None)
@given(position=st.integers(0, len(TBS) - 1), value=st.integers(1, 255))
def test_a_change_of_any_octet_is_refused(position: int, value: int) -> None:
    changed = bytearray(TBS)
    changed[position] ^= value
    with pytest.raises(Refused):
        check(bytes(changed))


@settings(max_examples=300, deadline=None)
@given(octets=st.one_of(st.binary(max_size=60), st.integers(0, len(TBS) - 1).map(lambda end: TBS[:end])))
def test_anything_else_is_refused_without_a_crash(octets: bytes) -> None:
    with pytest.raises(Refused):
        check(octets)


def test_octets_after_the_end_are_refused() -> None:
    with pytest.raises(Refused, match=r"profile\.encoding"):
        check(TBS + b"\x00")
