"""signer/vault/lint/fast/profile.py: what is judged once for many is what pkilint finds in each.

The mutants must be linted again with every new pkilint before it is used.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from pkilint import validation
from pkilint.cabf import serverauth
from pkilint.cabf.serverauth.serverauth_constants import CertificateType
from pkilint.pkix import certificate

from core import der
from core.settings import Rules
from signer.vault.lint import linter
from signer.vault.lint.fast import profile as fastlint_profile
from signer.vault.lint.fast.index import indexed
from signer.vault.lint.fast.profile import ProfileLinter, filtered, signature
from signer.vault.templates import leaf
from tests.signer.vault.lint.fast.test_index import validators
from tests.support.mutants import mutated, sct_list, with_other_fields
from tests.support.software_ca import NOW, leaf_request, private_key, profile, software_ca, spki

CA = software_ca()
KINDS = [CertificateType.DV_FINAL_CERTIFICATE, CertificateType.DV_PRE_CERTIFICATE, None]
POISON = der.extension("1.3.6.1.4.1.11129.2.4.3", der.NULL, critical=True)


def filters_of(kind: CertificateType | None) -> list[Any]:
    return linter._pkix().filters if kind is None else serverauth.create_serverauth_finding_filters(kind)


def certificates(kind: CertificateType | None) -> list[bytes]:
    """Certificates that we make, and some that have what other CAs put into theirs."""
    rules = Rules.PRIVATE if kind is None else Rules.PUBLIC
    ours = [
        leaf.build_tbs(
            CA.issuer, profile(rules), leaf_request(public_key=spki(private_key(key)), names=names)
        )
        for key, names in (
            ("ec-p256", ("www.acme-shop.com",)),
            ("rsa-2048", tuple(f"*.shop{number}.acme-shop.com" for number in range(10))),
            ("ec-p384", ("10.1.2.3", "localhost", "www.acme-shop.com")),
        )
    ]
    if rules is Rules.PRIVATE:
        ours.append(leaf.build_tbs(CA.issuer, profile(rules, client_auth=True), leaf_request()))
    extra = {
        CertificateType.DV_FINAL_CERTIFICATE: der.extension(
            "1.3.6.1.4.1.11129.2.4.2", sct_list(random.Random(1))
        ),
        CertificateType.DV_PRE_CERTIFICATE: POISON,
        None: der.extension("2.5.29.14", der.octet_string(bytes(20))),
    }[kind]
    named = der.sequence(der.set_of(der.sequence(der.oid("2.5.4.3"), der.tlv(0x0C, b"www.acme-shop.com"))))
    return [
        leaf.dummy_signed(tbs, CA.issuer)
        for tbs in [
            *ours,
            *(with_parts(tbs, extra) for tbs in ours),
            with_parts(ours[0], extra, subject=named),
        ]
    ]


def with_parts(tbs: bytes, extension: bytes, subject: bytes | None = None) -> bytes:
    fields = [field.encoding for field in der.elements(der.only(tbs, der.SEQUENCE).content)]
    extensions = der.only(der.only(fields[-1], 0xA3).content, der.SEQUENCE).content
    fields[-1] = der.explicit(3, der.sequence(extension, extensions))
    fields[5] = subject or fields[5]
    return der.sequence(*fields)


def outcome(results: Any, octets: bytes) -> Counter[Any] | str:
    try:
        return signature(results(octets))
    except ValueError as error:
        return str(error)


class Comparison:
    """pkilint as it is, and a profile linter whose profiles stay warm from mutant to mutant."""

    def __init__(self, kind: CertificateType | None) -> None:
        plain, fast = validators(kind)
        filters = filters_of(kind)
        self.linter = ProfileLinter(fast, filters)
        self.codes: set[str] = set()
        self._plain = lambda octets: filtered(
            filters, plain.validate(linter.certificate_loader.load_der_document(octets).root)
        )

    def differs(self, octets: bytes) -> bool:
        expected = outcome(self._plain, octets)
        if isinstance(expected, Counter):
            self.codes.update(finding.code for _, _, finding, _ in expected)
        return outcome(self.linter.results, octets) != expected

    def run(self, seeds: list[bytes], count: int, seed: int) -> int:
        """Lint about `count` mutants, several of each profile; how many were found differently."""
        chance = random.Random(seed)
        different = 0
        for _ in range(count // 10):
            common = chance.choice(seeds)
            if chance.random() < 0.7:
                common = mutated(common, chance)
            for _ in range(10):
                octets = common
                try:
                    octets = with_other_fields(common, chance)
                    if chance.random() < 0.1:
                        octets = mutated(octets, chance)
                except (ValueError, IndexError, StopIteration):
                    pass
                different += self.differs(octets)
        return different


@pytest.mark.clause("BR 4.3.1.2")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name if kind else "RFC 5280")
def test_the_findings_are_those_of_pkilint(kind: CertificateType | None) -> None:
    comparison = Comparison(kind)
    assert comparison.run(certificates(kind), 300, seed=1) == 0
    assert comparison.linter.answered > 80
    assert len(comparison.codes) > 12


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name if kind else "RFC 5280")
def test_the_findings_are_those_of_pkilint_in_four_thousand_mutants(kind: CertificateType | None) -> None:
    comparison = Comparison(kind)
    assert comparison.run(certificates(kind), 4000, seed=2) == 0
    assert comparison.linter.answered > 1300
    assert len(comparison.codes) > 25


@pytest.mark.parametrize("dropped", ["_Step", "_Visit"])
def test_the_comparison_notices_when_the_program_is_not_run(
    monkeypatch: pytest.MonkeyPatch, dropped: str
) -> None:
    monkeypatch.setattr(getattr(fastlint_profile, dropped), "run", lambda step, results: None)
    monkeypatch.setattr(fastlint_profile, "_same", lambda found, results: True)
    kind = CertificateType.DV_FINAL_CERTIFICATE
    assert Comparison(kind).run(certificates(kind), 300, seed=3) > 0


def leaf_der(**changes: object) -> bytes:
    return leaf.dummy_signed(leaf.build_tbs(CA.issuer, profile(), leaf_request(**changes)), CA.issuer)


def linter_with(*more: Any) -> tuple[ProfileLinter, Any]:
    container = certificate.create_pkix_certificate_validator_container(
        serverauth.create_decoding_validators(),
        [*serverauth.create_validators(CertificateType.DV_FINAL_CERTIFICATE), *more],
    )
    return ProfileLinter(indexed(container), filters_of(CertificateType.DV_FINAL_CERTIFICATE)), container


def codes(results: Any) -> list[str]:
    return sorted(found.finding.code for result in results for found in result.finding_descriptions)


def test_a_profile_is_made_for_what_comes_twice_and_then_answers() -> None:
    fast, _ = linter_with()
    for number in range(5):
        fast.results(leaf_der(names=(f"shop{number}.acme-shop.com",)))
    assert fast.answered == 3


def test_a_profile_tells_good_names_from_bad_ones_and_from_other_lifetimes() -> None:
    fast, _ = linter_with()
    for _ in range(3):
        assert codes(fast.results(leaf_der())) == []
    assert codes(fast.results(leaf_der(names=("www.acme-shop.com", "localhost")))) == [
        "cabf.internal_domain_name"
    ]
    assert codes(fast.results(leaf_der(not_after=NOW + 300 * 86400))) == [
        "cabf.serverauth.certificate_validity_period_exceeds_200_days"
    ]
    assert codes(fast.results(leaf_der())) == []
    assert fast.answered == 4


def test_profiles_are_bounded_and_the_one_not_used_for_longest_goes() -> None:
    container = indexed(validators(CertificateType.DV_FINAL_CERTIFICATE)[0])
    fast = ProfileLinter(container, [], profiles=2)
    keys = [spki(private_key(key)) for key in ("ec-p256", "ec-p384", "rsa-2048")]
    for key in (0, 0, 1, 1, 0, 2, 2):
        fast.results(leaf_der(public_key=keys[key]))
    assert fast.answered == 1
    fast.results(leaf_der(public_key=keys[0]))
    assert fast.answered == 2
    fast.results(leaf_der(public_key=keys[1]))
    assert fast.answered == 2


class Validator(validation.Validator):  # type: ignore[misc]
    """Finds what `find` says of a node."""

    FINDING = validation.ValidationFinding(validation.ValidationFindingSeverity.ERROR, "test.found")

    def __init__(self, find: Any, path: str = "certificate") -> None:
        super().__init__(path=path, validations=[self.FINDING])
        self.find = find

    def validate(self, node: Any) -> None:
        if message := self.find(node):
            raise validation.ValidationFindingEncountered(self.FINDING, message)


def serial(node: Any) -> int:
    return int(node.navigate(":certificate.tbsCertificate.serialNumber").pdu)


READERS = {
    "another field": lambda node: str(serial(node)),
    "the value of a structure": lambda node: str(node.pdu["tbsCertificate"]["serialNumber"]),
    "the number of its parts": lambda node: str(len(node.pdu)),
    "the octets": lambda node: node.document.substrate.hex(),
    "the octets, parsed": lambda node: str(node.document.cryptography_object.serial_number),
    "a time": lambda node: str(node.document.not_before),
    "swallowing what goes wrong": lambda node: _or_else(lambda: str(serial(node))),
    "all names": lambda node: ",".join(
        str(found.pdu) for found in node.document.get_san_general_names_by_type("dNSName")
    ),
    "the names' own structure": lambda node: node.navigate(
        ":certificate.tbsCertificate.extensions.7.extnValue.subjectAltName"
    ).pdu.prettyPrint(),
}


def _or_else(read: Any) -> str:
    try:
        return str(read())
    except Exception:
        return "nothing"


@pytest.mark.parametrize("reader", READERS)
def test_what_a_validator_reads_from_afar_is_never_that_of_another_certificate(reader: str) -> None:
    fast, plain = linter_with(Validator(READERS[reader]))
    for number in range(6):
        octets = leaf_der(
            serial=bytes([1 + number]) * 16, names=(f"a{number}.acme-shop.com",), not_before=NOW + number
        )
        expected = plain.validate(linter.certificate_loader.load_der_document(octets).root)
        assert signature(fast.results(octets)) == signature(filtered(fast._filters, expected))
        assert "test.found" in codes(expected)


def test_a_validator_that_crashes_over_a_field_is_asked_again_by_pkilint_alone_and_is_fatal() -> None:
    fast, _ = linter_with(Validator(lambda node: 1 // (serial(node) - 1)))
    for _ in range(3):
        assert "test.found" not in codes(fast.results(leaf_der(serial=b"\x01")))
        assert codes(fast.results(leaf_der(serial=b"\x01"))) == ["base.unhandled_exception"]


def test_once_in_a_while_pkilint_judges_too_and_a_difference_is_fatal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fastlint_profile, "CHECKED", 3)
    fickle: list[str] = []
    fast, _ = linter_with(Validator(lambda node: ",".join(fickle)))
    for _ in range(4):
        assert codes(fast.results(leaf_der())) == []
    fickle.append("the world has changed")
    assert codes(fast.results(leaf_der())) == ["base.profile_differs", "test.found"]
    assert codes(fast.results(leaf_der())) == ["test.found"]


def test_what_cannot_be_decoded_raises_as_it_does_without_profiles() -> None:
    fast, _ = linter_with()
    for octets in (b"", b"\x30\x03\x02\x01\x01", leaf_der()[:-1]):
        with pytest.raises(ValueError):
            fast.results(octets)
