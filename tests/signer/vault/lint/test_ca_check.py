"""signer/vault/lint/ca_check.py: the hierarchy's certificates pass, and no other CA certificate does."""

from __future__ import annotations

import random
from functools import cache

import pytest

from core import der
from core.errors import Refused
from core.settings import Rules
from signer.vault.lint.ca_check import KINDS, PROFILES, check
from signer.vault.lint.worker import Kind
from signer.vault.templates import ca_certificates
from signer.vault.templates.ca_certificates import Subject
from tests.signer.vault.lint.test_pool import leaf_der, local_issuer, responder
from tests.support.mutants import mutated
from tests.support.software_ca import DAY, NOW, SERIAL, URLS, private_key, software_ca


@cache
def made(kind: Kind, rules: Rules) -> bytes:
    ca = software_ca("ec-p256", rules)
    match kind:
        case Kind.ROOT:
            return ca.root
        case Kind.ISSUING:
            return ca.certificate
        case Kind.LOCAL_SERVICE_ISSUER:
            return local_issuer()
        case Kind.OCSP_RESPONDER:
            return responder()
    policies = ("2.23.140.1.2.1",) if rules is Rules.PUBLIC else ()
    other_key = private_key("rsa-2048", 9)
    other = ca_certificates.root(other_key, Subject("FR", "Other", "Other Root"), SERIAL, NOW - DAY)
    return ca_certificates.cross(ca.root, ca.root_key, other, SERIAL, NOW, URLS, policies=policies)


every = pytest.mark.parametrize("kind", sorted(KINDS))
both = pytest.mark.parametrize("rules", Rules)


@every
@both
def test_what_we_make_passes(kind: Kind, rules: Rules) -> None:
    check(made(kind, rules), kind, rules)


@pytest.mark.clause("BR 7.1.2.10.6")
@pytest.mark.parametrize("kind", [Kind.ISSUING, Kind.CROSS])
def test_a_private_ca_may_certify_clients_and_a_public_one_never(kind: Kind) -> None:
    def both_uses(rules: Rules) -> bytes:
        found = extensions(made(kind, rules))
        at = next(place for place, each in enumerate(found) if der.oid("2.5.29.37") in each)
        return with_extensions(made(kind, rules), [*found[:at], STRANGE["clientAuth, too"], *found[at + 1 :]])

    check(both_uses(Rules.PRIVATE), kind, Rules.PRIVATE)
    with pytest.raises(Refused, match=r"profile\.ca-"):
        check(both_uses(Rules.PUBLIC), kind, Rules.PUBLIC)


@every
@both
def test_a_certificate_of_another_kind_is_refused(kind: Kind, rules: Rules) -> None:
    for other in KINDS - {kind}:
        # A cross-certificate of one of our own issuers would be like an issuing CA's.
        if (kind, other) != (Kind.CROSS, Kind.ISSUING):
            with pytest.raises(Refused, match=r"profile\.ca-"):
                check(made(other, rules), kind, rules)
    with pytest.raises(Refused, match=r"profile\.ca-"):
        check(leaf_der(rules), kind, rules)


def fields(certificate: bytes) -> tuple[list[bytes], list[bytes]]:
    tbs, *rest = [part.encoding for part in der.elements(der.only(certificate, der.SEQUENCE).content)]
    return [part.encoding for part in der.elements(der.only(tbs, der.SEQUENCE).content)], rest


def with_fields(certificate: bytes, **changed: bytes) -> bytes:
    names = ["version", "serial", "signature", "issuer", "validity", "subject", "key", "extensions"]
    parts, rest = fields(certificate)
    made_of = dict(zip(names, parts, strict=True)) | changed
    return der.sequence(der.sequence(*made_of.values()), *rest)


def name(*pairs: tuple[str, int, str]) -> bytes:
    return der.sequence(
        *(der.set_of(der.sequence(der.oid(oid), der.tlv(tag, text.encode()))) for oid, tag, text in pairs)
    )


COUNTRY, ORG, CN = ("2.5.4.6", 0x13, "JP"), ("2.5.4.10", 0x0C, "Acme"), ("2.5.4.3", 0x0C, "CA")
OU = ("2.5.4.11", 0x0C, "Unit")
P256 = "301306072a8648ce3d020106082a8648ce3d030107"
KEY = der.sequence(bytes.fromhex(P256), der.bit_string(b"x"))


@pytest.mark.clause("BR 7.1.2")
@every
@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("version", {"version": b""}),
        ("version", {"version": der.explicit(0, der.integer(1))}),
        ("serial", {"serial": der.integer(5)}),
        ("serial", {"serial": der.tlv(der.INTEGER, b"\x00" * 8)}),
        ("serial", {"serial": der.tlv(der.INTEGER, b"\x80" * 16)}),
        ("serial", {"serial": der.tlv(der.INTEGER, b"\x01" * 21)}),
        ("signature", {"signature": der.algorithm("1.2.840.113549.1.1.5", der.NULL)}),
        ("signature", {"signature": der.algorithm("1.2.840.113549.1.1.11")}),
        ("issuer", {"issuer": name(COUNTRY, ORG, OU, CN)}),
        ("issuer", {"issuer": name(ORG, COUNTRY, CN)}),
        ("issuer", {"issuer": name(COUNTRY, ORG)}),
        ("issuer", {"issuer": name(COUNTRY, ("2.5.4.10", 0x13, "Acme"), CN)}),
        ("subject", {"subject": name(COUNTRY, ORG, OU, CN)}),
        ("subject", {"subject": name()}),
        ("validity", {"validity": der.sequence(der.time(NOW), der.time(NOW))}),
        ("validity", {"validity": der.sequence(der.time(NOW), der.generalized_time(NOW + DAY))}),
        ("validity", {"validity": der.sequence(der.time(NOW))}),
        ("key", {"key": der.sequence(der.algorithm("1.2.840.113549.1.1.1"), der.bit_string(b"x"))}),
        ("key-id", {"key": der.sequence(bytes.fromhex(P256), der.bit_string(b"\x04" + b"x" * 64))}),
        ("fields", {"extensions": b""}),
        (
            "fields",
            {"key": der.sequence(bytes.fromhex(P256), der.bit_string(b"x")) + der.implicit(1, b"\x00x")},
        ),
    ],
)
def test_a_field_that_is_not_of_the_profile_is_refused(
    kind: Kind, field: str, changed: dict[str, bytes]
) -> None:
    if kind is Kind.CROSS and field in ("subject", "key-id"):
        pytest.skip("another CA has chosen it")
    with pytest.raises(Refused) as refusal:
        check(with_fields(made(kind, Rules.PUBLIC), **changed), kind, Rules.PUBLIC)
    codes = {f"profile.ca-{field}", "profile.ca-encoding"}
    # A root's subject is its issuer, and one of the two is named.
    assert refusal.value.code in codes | ({"profile.ca-issuer"} if kind is Kind.ROOT else set())


def extensions(certificate: bytes) -> list[bytes]:
    outer = der.only(der.only(fields(certificate)[0][-1], 0xA3).content, der.SEQUENCE)
    return [extension.encoding for extension in der.elements(outer.content)]


def with_extensions(certificate: bytes, listed: list[bytes]) -> bytes:
    return with_fields(certificate, extensions=der.explicit(3, der.sequence(*listed)))


STRANGE = {
    "anyExtendedKeyUsage": der.extension("2.5.29.37", der.sequence(der.oid("2.5.29.37.0"))),
    "clientAuth, too": der.extension(
        "2.5.29.37", der.sequence(der.oid("1.3.6.1.5.5.7.3.1"), der.oid("1.3.6.1.5.5.7.3.2"))
    ),
    "anyPolicy": der.extension("2.5.29.32", der.sequence(der.sequence(der.oid("2.5.29.32.0")))),
    "a policy qualifier": der.extension(
        "2.5.29.32", der.sequence(der.sequence(der.oid("2.23.140.1.2.1"), der.sequence()))
    ),
    "all key usages": der.extension("2.5.29.15", der.named_bits(0, 5, 6), critical=True),
    "no CA": der.extension("2.5.29.19", der.sequence(), critical=True),
    "pathLenConstraint 3": der.extension("2.5.29.19", der.sequence(der.TRUE, der.integer(3)), critical=True),
    "HTTPS in AIA": der.extension(
        "1.3.6.1.5.5.7.1.1",
        der.sequence(der.sequence(der.oid("1.3.6.1.5.5.7.48.2"), der.implicit(6, b"https://a.com/x"))),
    ),
    "two distribution points": der.extension("2.5.29.31", der.sequence(der.sequence(), der.sequence())),
    "a SAN": der.extension("2.5.29.17", der.sequence(der.implicit(2, b"a.com"))),
    "an AKI with serial number": der.extension(
        "2.5.29.35", der.sequence(der.implicit(0, bytes(20)), der.implicit(2, b"\x01"))
    ),
    "an SKI that is too short": der.extension("2.5.29.14", der.octet_string(b"x")),
    "an extension of ours": der.extension("1.2.3.4", b""),
}


@pytest.mark.clause("BR 7.1.2")
@every
@both
@pytest.mark.parametrize("what", STRANGE)
def test_an_extension_that_is_not_of_the_profile_is_refused(kind: Kind, rules: Rules, what: str) -> None:
    if (what, rules) == ("clientAuth, too", Rules.PRIVATE) and kind in (Kind.ISSUING, Kind.CROSS):
        pytest.skip("it may stand there")
    certificate, strange = made(kind, rules), STRANGE[what]
    oid = next(der.elements(der.only(strange, der.SEQUENCE).content)).encoding
    others = [each for each in extensions(certificate) if oid not in each[:16]]
    with pytest.raises(Refused, match=r"profile\.ca-"):
        check(with_extensions(certificate, [*others, strange]), kind, rules)


@every
@both
def test_an_extension_left_out_doubled_or_of_other_criticality_is_refused(kind: Kind, rules: Rules) -> None:
    certificate = made(kind, rules)
    listed = extensions(certificate)
    optional = {der.oid(dotted) for dotted, each in PROFILES[kind].items() if not each.required}
    for number, extension in enumerate(listed):
        oid, *critical, value = [part.encoding for part in der.elements(der.only(extension, 0x30).content)]
        others = [*listed[:number], *listed[number + 1 :]]
        other = der.sequence(oid, b"" if critical else der.TRUE, value)
        changes = [
            [*listed, extension],
            [*others, other],
            [*others, der.sequence(oid, b"\x01\x01\x00", value)],
        ]
        if oid not in optional or rules is Rules.PUBLIC:
            changes.append(others)
        for changed in changes:
            with pytest.raises(Refused, match=r"profile\.ca-"):
                check(with_extensions(certificate, changed), kind, rules)


def test_a_responder_that_lives_a_second_too_long_is_refused() -> None:
    certificate = made(Kind.OCSP_RESPONDER, Rules.PUBLIC)
    for seconds, passes in ((30 * DAY - 1, True), (30 * DAY, False)):
        validity = der.sequence(der.time(NOW), der.time(NOW + seconds))
        changed = with_fields(certificate, validity=validity)
        if passes:
            check(changed, Kind.OCSP_RESPONDER, Rules.PUBLIC)
        else:
            with pytest.raises(Refused, match=r"profile\.ca-validity"):
                check(changed, Kind.OCSP_RESPONDER, Rules.PUBLIC)


def test_under_private_rules_the_reserved_policy_is_refused_and_under_public_ones_its_absence() -> None:
    for rules, others in ((Rules.PRIVATE, Rules.PUBLIC), (Rules.PUBLIC, Rules.PRIVATE)):
        with pytest.raises(Refused, match=r"profile\.ca-extension"):
            check(made(Kind.ISSUING, others), Kind.ISSUING, rules)


@every
def test_random_changes_are_refused_or_leave_a_certificate_of_the_profile(kind: Kind) -> None:
    chance = random.Random(kind)
    good, codes = made(kind, Rules.PUBLIC), []
    for _ in range(300):
        try:
            check(mutated(good, chance), kind, Rules.PUBLIC)
        except Refused as refusal:
            codes.append(refusal.code)
    assert len(codes) > 150
    assert all(code.startswith("profile.ca-") for code in codes)
