"""pkilint, set up for each kind of thing that the vault signs.  Runs in the lint workers only (lint.py).

Under the public rules the validators and finding filters are those of pkilint's own TLS BR command line, no
filter added.  Under private rules they are its RFC 5280 ones, less two findings: pkilint takes RFC 5280's
"preferred name syntax" to forbid wildcards and single labels ("localhost"), which RFC 9525 section 6.3 and
private networks use (its BR set drops that finding too), and its URI check refuses such hosts.  profiles.py
judges the syntax of names in its place; the URIs are the operator's settings.

BR 4.3.1.2 (linting of to-be-signed content), 7.1, 7.2; RFC 5280; RFC 6960.  docs/adr/0004.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any

from pkilint import finding_filter, loader, pkix, validation
from pkilint.cabf import cabf_crl, serverauth
from pkilint.cabf.serverauth import serverauth_finding_filter
from pkilint.cabf.serverauth.serverauth_constants import CertificateType
from pkilint.pkix import certificate, crl, extension, general_name, name, ocsp

from core.settings import Rules
from signer.vault.lint.fast import ProfileLinter, filtered, indexed
from signer.vault.lint.worker import Finding, Kind

_TLS_TYPES = {
    Kind.LEAF: CertificateType.DV_FINAL_CERTIFICATE,
    Kind.PRECERTIFICATE: CertificateType.DV_PRE_CERTIFICATE,
    Kind.ROOT: CertificateType.ROOT_CA,
    Kind.ISSUING: CertificateType.INTERNAL_UNCONSTRAINED_TLS_CA,
    Kind.CROSS: CertificateType.INTERNAL_CROSS_CA,
    Kind.OCSP_RESPONDER: CertificateType.OCSP_RESPONDER,
}
"""The local service is not among them: its certificates are no subscriber's, and docs/adr/0004 says what that
means for an operator under the public rules."""

_CRL_TYPES = {
    Kind.CRL: crl.CertificateRevocationListType.CRL,
    Kind.ROOT_CRL: crl.CertificateRevocationListType.ARL,
}

certificate_loader = loader.RFC5280CertificateDocumentLoader()

# pkilint logs the traceback of a crashed validator; the finding that it makes of it refuses, and is enough.
logging.getLogger("pkilint").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Linter:
    """How to read a document, what to ask of it, and which findings pkilint itself holds superseded."""

    load: Callable[[bytes], Any]
    validator: Any
    filters: list[Any]
    plain: Any
    """pkilint's own container, without our index."""
    by_profile: ProfileLinter | None = None
    """Finds the same, faster; for certificates of which many are alike."""

    def without_profile(self, validator: Any) -> Linter:
        """The same, but every document is judged by `validator` as a whole."""
        return replace(self, validator=validator, by_profile=None)

    def results(self, octets: bytes) -> list[Any]:
        """pkilint's results that have findings.  Raises ValueError for what cannot be decoded."""
        if self.by_profile is not None:
            return self.by_profile.results(octets)
        return filtered(self.filters, self.validator.validate(self.load(octets).root))


def lint(rules: Rules, kind: Kind, octets: bytes, *, plain: bool = False) -> list[Finding]:
    """Lint as the rules demand; `plain` by pkilint alone.  What cannot be decoded is a finding, too."""
    linter = _linter(rules, kind)
    return run(linter.without_profile(linter.plain) if plain else linter, octets)


def run(linter: Linter, octets: bytes) -> list[Finding]:
    """All findings of one linter but the merely informative."""
    try:
        results = linter.results(octets)
    except ValueError as error:
        return [Finding("fatal", "base.undecodable", str(error))]
    return [
        Finding(found.finding.severity.name.lower(), found.finding.code, found.message or "")
        for result in results
        for found in result.finding_descriptions
        if found.finding.severity <= validation.ValidationFindingSeverity.NOTICE
    ]


def warm(rules: Rules) -> None:
    """Build the validators that the hot path needs (0.2 s each)."""
    precertificates = [Kind.PRECERTIFICATE] if rules is Rules.PUBLIC else []
    for kind in (Kind.LEAF, *precertificates, Kind.OCSP, Kind.CRL):
        _linter(rules, kind)


@cache
def _linter(rules: Rules, kind: Kind) -> Linter:
    if kind is Kind.OCSP:
        return _ocsp()
    if kind in _CRL_TYPES:
        return _crl(rules, _CRL_TYPES[kind])
    linter = _tls(_TLS_TYPES[kind]) if rules is Rules.PUBLIC and kind in _TLS_TYPES else _pkix()
    if kind in (Kind.LEAF, Kind.PRECERTIFICATE):
        fast = ProfileLinter(linter.validator, linter.filters, edition=(version("pkilint"), rules, kind))
        return replace(linter, by_profile=fast)
    return linter


def _tls(kind: CertificateType) -> Linter:
    validator = certificate.create_pkix_certificate_validator_container(
        serverauth.create_decoding_validators(), serverauth.create_validators(kind)
    )
    filters = serverauth.create_serverauth_finding_filters(kind)
    return Linter(certificate_loader.load_der_document, indexed(validator), filters, validator)


def _pkix() -> Linter:
    validator = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    filters = [serverauth_finding_filter.DnsNameGeneralNamePreferredNameSyntaxFilter(), _any_host()]
    return Linter(certificate_loader.load_der_document, indexed(validator), filters, validator)


def _crl(rules: Rules, kind: crl.CertificateRevocationListType) -> Linter:
    validity, whole = [], []
    if rules is Rules.PUBLIC:
        validity.append(cabf_crl.create_validity_period_validator(kind))
        whole.append(cabf_crl.CabfCrlReasonCodeAllowlistValidator(kind))
    validator = crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container(validity),
            crl.create_extensions_validator_container([]),
            *whole,
        ],
    )
    # A shard's URL is the one in its certificates, byte for byte: what is passed there is passed here.
    filters = [] if rules is Rules.PUBLIC else [_any_host()]
    load = loader.RFC5280CertificateListDocumentLoader().load_der_document
    return Linter(load, validator, filters, validator)


def _any_host() -> Any:
    return finding_filter.ValidationFindingFilter(
        general_name.GeneralNameUriSyntaxValidator.VALIDATION_INVALID_URI_SYNTAX
    )


def _ocsp() -> Linter:
    validator = ocsp.create_pkix_ocsp_response_validator_container(
        [
            ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )
    return Linter(loader.RFC6960OCSPResponseDocumentLoader().load_der_document, validator, [], validator)
