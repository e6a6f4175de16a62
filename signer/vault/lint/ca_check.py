"""Our own lint of the hierarchy's certificates: every field of root, CAs and responders against a table.

A table of BR 7.1.2 by kind: which extensions there must be and which there may be, with their criticality and
what may stand in them; whatever is not in it is refused.  It is asked wherever pkilint is (lint.py), in the
process that holds the key and before it, so that a lint worker which says what it is told to say cannot get a
CA certificate signed that is none of ours.  Lifetimes are judged in lifetimes.py.

Must never: share code with what builds these certificates (ca_certificates.py).

BR 7.1.2.1 (root), 7.1.2.2 (cross-certified), 7.1.2.6 (TLS subordinate CA), 7.1.2.8 (OCSP responder), 7.1.3,
7.1.4; RFC 5280 section 4; docs/adr/0011.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from core import der
from core.errors import Refused
from core.settings import Rules
from signer.vault.lint.worker import Kind

CAS = frozenset({Kind.ROOT, Kind.ISSUING, Kind.CROSS, Kind.LOCAL_SERVICE_ISSUER})
KINDS = CAS | {Kind.OCSP_RESPONDER}
"""What this file judges."""

_SIGNATURES = frozenset(
    bytes.fromhex(octets)
    for octets in (
        "300d06092a864886f70d01010b0500",  # sha256WithRSAEncryption
        "300a06082a8648ce3d040302",  # ecdsa-with-SHA256
        "300a06082a8648ce3d040303",
        "300a06082a8648ce3d040304",
    )
)
"""BR 7.1.3.2: exactly these octets; SHA-1 not at all, from 2026-09-15 by the rules, and never by us."""

_KEYS = frozenset(
    bytes.fromhex(octets)
    for octets in (
        "300d06092a864886f70d0101010500",  # rsaEncryption
        "301306072a8648ce3d020106082a8648ce3d030107",  # P-256
        "301006072a8648ce3d020106052b81040022",
        "301006072a8648ce3d020106052b81040023",
    )
)
"""BR 7.1.3.1: exactly these octets."""

_SERIAL_OCTETS = range(8, 21)
_RESPONDER_LIFETIME = 30 * 86400
"""Seconds; id-pkix-ocsp-nocheck makes it irrevocable."""

_RESERVED_DV, _ANY_POLICY = der.oid("2.23.140.1.2.1"), der.oid("2.5.29.32.0")
_HTTP = re.compile(rb"http://[!-~]+")
_CA_ISSUERS = der.oid("1.3.6.1.5.5.7.48.2")
_SERVER_AUTH = bytes.fromhex("300a06082b06010505070301")
_SERVER_AND_CLIENT_AUTH = bytes.fromhex("301406082b0601050507030106082b06010505070302")
_PRINTABLE, _UTF8 = 0x13, 0x0C

Judge = Callable[[bytes, Rules], bool]
"""Whether an extnValue's content may stand there under these rules."""


@dataclass(frozen=True, slots=True)
class _Extension:
    """An extension of a profile."""

    critical: bool
    judge: Judge
    required: bool = True


def _one_of(*values: str) -> Judge:
    octets = frozenset(bytes.fromhex(value) for value in values)
    return lambda value, rules: value in octets


def _key_id(value: bytes, rules: Rules) -> bool:
    return len(der.only(value, der.OCTET_STRING).content) == hashlib.sha1(usedforsecurity=False).digest_size


def _authority_key_id(value: bytes, rules: Rules) -> bool:
    """BR 7.1.2.11.1: keyIdentifier alone."""
    [only] = der.elements(der.only(value, der.SEQUENCE).content)
    return only.tag == 0x80 and len(only.content) == hashlib.sha1(usedforsecurity=False).digest_size


def _information_access(value: bytes, rules: Rules) -> bool:
    """BR 7.1.2.10.3: caIssuers by HTTP, and nothing else."""
    access = [[*der.elements(each.content)] for each in der.elements(der.only(value, der.SEQUENCE).content)]
    return bool(access) and all(
        len(parts) == 2
        and parts[0].encoding == _CA_ISSUERS
        and parts[1].tag == 0x86
        and _HTTP.fullmatch(parts[1].content) is not None
        for parts in access
    )


def _distribution_points(value: bytes, rules: Rules) -> bool:
    """BR 7.1.2.11.2: one DistributionPoint with one fullName by HTTP, no reasons, no cRLIssuer."""
    [point] = der.elements(der.only(value, der.SEQUENCE).content)
    name = der.only(der.only(point.content, 0xA0).content, 0xA0)
    return _HTTP.fullmatch(der.only(name.content, 0x86).content) is not None


def _policies(value: bytes, rules: Rules) -> bool:
    """BR 7.1.2.10.5: the reserved DV policy first under the public rules; no anyPolicy, no qualifiers."""
    information = der.elements(der.only(value, der.SEQUENCE).content)
    listed = [der.only(each.content, der.OID).encoding for each in information]
    reserved = listed[:1] == [_RESERVED_DV] if rules is Rules.PUBLIC else _RESERVED_DV not in listed
    return bool(listed) and reserved and _ANY_POLICY not in listed and len(set(listed)) == len(listed)


def _uses(value: bytes, rules: Rules) -> bool:
    """BR 7.1.2.10.6: serverAuth alone; under private rules clientAuth after it, or not."""
    return value == _SERVER_AUTH or (rules is Rules.PRIVATE and value == _SERVER_AND_CLIENT_AUTH)


def _any(value: bytes, rules: Rules) -> bool:
    return True


_SKI, _AKI = "2.5.29.14", "2.5.29.35"
_OF_ALL_CAS = {
    "2.5.29.15": _Extension(True, _one_of("03020106")),  # keyUsage: keyCertSign, cRLSign
    _SKI: _Extension(False, _key_id),
    _AKI: _Extension(False, _authority_key_id),
}
_OF_SUBORDINATES = _OF_ALL_CAS | {
    "2.5.29.19": _Extension(True, _one_of("30060101ff020100")),  # cA TRUE, pathLenConstraint 0
    "2.5.29.37": _Extension(False, _uses),
    "1.3.6.1.5.5.7.1.1": _Extension(False, _information_access),
    "2.5.29.31": _Extension(False, _distribution_points),
}
_POLICIES = "2.5.29.32"

PROFILES: dict[Kind, dict[str, _Extension]] = {
    Kind.ROOT: _OF_ALL_CAS | {"2.5.29.19": _Extension(True, _one_of("30030101ff"))},
    Kind.ISSUING: _OF_SUBORDINATES | {_POLICIES: _Extension(False, _policies, required=False)},
    Kind.CROSS: _OF_SUBORDINATES
    | {
        "2.5.29.19": _Extension(True, _one_of("30030101ff", "30060101ff020100", "30060101ff020101")),
        _POLICIES: _Extension(False, _policies, required=False),
    },
    # pkilint judges the names; that there is a constraint, and that it binds, is judged here.
    Kind.LOCAL_SERVICE_ISSUER: _OF_SUBORDINATES
    | {"2.5.29.30": _Extension(True, _any), "2.5.29.37": _Extension(False, _one_of(_SERVER_AUTH.hex()))},
    Kind.OCSP_RESPONDER: {
        "2.5.29.15": _Extension(True, _one_of("03020780")),  # keyUsage: digitalSignature
        "2.5.29.37": _Extension(False, _one_of("300a06082b06010505070309")),  # OCSPSigning
        "1.3.6.1.5.5.7.48.1.5": _Extension(False, _one_of("0500")),  # id-pkix-ocsp-nocheck
        _SKI: _Extension(False, _key_id),
        _AKI: _Extension(False, _authority_key_id),
    },
}
"""By kind: the extensions by OID.  What is not listed must not be there."""


def check(certificate: bytes, kind: Kind, rules: Rules) -> None:
    """Require that a DER certificate is of this kind's profile.  Raises `Refused("profile.ca-<field>")`."""
    try:
        tbs, signature, _ = der.elements(der.only(certificate, der.SEQUENCE).content)
        _must(tbs.tag == der.SEQUENCE, "encoding", "it is no certificate")
        version, serial, algorithm, issuer, validity, subject, key, *rest = der.elements(tbs.content)
        _must(version.encoding == bytes.fromhex("a003020102"), "version", "the version is 3")
        _must_be_a_serial(serial)
        _must(algorithm.encoding == signature.encoding, "signature", "two signature algorithms differ")
        _must(algorithm.encoding in _SIGNATURES, "signature", "BR 7.1.3.2 gives the octets")
        _must_be_valid(validity.content, kind)
        _must_be_names(issuer.encoding, subject.encoding, kind)
        key_algorithm, bits = der.elements(key.content)
        _must(key_algorithm.encoding in _KEYS, "key", "BR 7.1.3.1 gives the octets")
        _must(len(rest) == 1, "fields", "extensions and no unique identifier follow the key")
        found = _must_be_extensions(rest[0], PROFILES[kind], rules)
        identifier = der.only(found[_SKI], der.OCTET_STRING).content
        made_from_key = hashlib.sha1(bits.content[1:], usedforsecurity=False).digest()
        _must(kind is Kind.CROSS or identifier == made_from_key, "key-id", "RFC 5280 section 4.2.1.2, (1)")
        above = found[_AKI][-len(identifier) :]
        _must(kind is not Kind.ROOT or above == identifier, "key-id", "a root's AKI is its own SKI")
    except ValueError as error:
        raise Refused("profile.ca-encoding", f"the certificate is not what it must be: {error}") from error


def _must_be_a_serial(serial: der.Element) -> None:
    octets = serial.content
    minimal = 0 < octets[0] < 0x80 or (octets[0] == 0 and octets[1] >= 0x80) if len(octets) > 1 else False
    _must(
        serial.tag == der.INTEGER and len(octets) in _SERIAL_OCTETS and minimal,
        "serial",
        "a serial number is positive, below 2^159 and holds 64 random bits (BR 7.1.2)",
    )


def _must_be_valid(validity: bytes, kind: Kind) -> None:
    begins, ends = (_seconds(each) for each in der.elements(validity))
    _must(begins < ends, "validity", "notAfter is after notBefore")
    _must(
        kind is not Kind.OCSP_RESPONDER or ends - begins < _RESPONDER_LIFETIME,
        "validity",
        "a responder that cannot be revoked lives 30 days at most",
    )


def _seconds(moment: der.Element) -> int:
    """POSIX seconds; the encoding must be the one that RFC 5280 section 4.1.2.5 gives."""
    text = moment.content.decode("ascii")
    if moment.tag == der.UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    found = int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())
    _must(der.time(found) == moment.encoding, "validity", "a Time is not encoded as RFC 5280 demands")
    return found


def _must_be_names(issuer: bytes, subject: bytes, kind: Kind) -> None:
    _must(kind is not Kind.ROOT or issuer == subject, "issuer", "a root is its own issuer")
    _must_be_a_name(issuer, "issuer")
    if kind is not Kind.CROSS:  # whose subject another CA has chosen
        _must_be_a_name(subject, "subject")


def _must_be_a_name(name: bytes, field: str) -> None:
    """C, O and CN, one in each RDN, in this order and in these string types (BR 7.1.4.2, 7.1.2.10.2)."""
    found = []
    for rdn in der.elements(der.only(name, der.SEQUENCE).content):
        [pair] = der.elements(rdn.content)
        oid, value = der.elements(pair.content)
        found.append((oid.encoding, value.tag))
    wanted = [(der.oid("2.5.4.6"), _PRINTABLE), (der.oid("2.5.4.10"), _UTF8), (der.oid("2.5.4.3"), _UTF8)]
    _must(found == wanted, field, "the name has C, O and CN, and nothing else")


def _must_be_extensions(field: der.Element, profile: dict[str, _Extension], rules: Rules) -> dict[str, bytes]:
    """The extnValues' contents by OID."""
    _must(field.tag == 0xA3, "fields", "the last field is [3] extensions")
    names = {der.oid(dotted): dotted for dotted in profile}
    found: dict[str, bytes] = {}
    for each in der.elements(der.only(field.content, der.SEQUENCE).content):
        oid, *critical, value = der.elements(each.content)
        _must(oid.encoding in names, "extension", f"extension {oid.content.hex()} is not in the profile")
        dotted = names[oid.encoding]
        allowed = profile[dotted]
        _must(dotted not in found, "extension", f"extension {dotted} occurs twice")
        marks = [mark.encoding for mark in critical]
        _must(marks == ([der.TRUE] if allowed.critical else []), "extension", f"criticality of {dotted}")
        content = der.only(value.encoding, der.OCTET_STRING).content
        _must(allowed.judge(content, rules), "extension", f"what stands in extension {dotted}")
        found[dotted] = content
    missing = [dotted for dotted, each in profile.items() if each.required and dotted not in found]
    _must(not missing, "extension", f"extensions are missing: {', '.join(missing)}")
    policies_missing = rules is Rules.PUBLIC and _POLICIES in profile and _POLICIES not in found
    _must(not policies_missing, "extension", "under the public rules a CA names its policies (BR 7.1.2.10.5)")
    return found


def _must(holds: bool, field: str, detail: str) -> None:
    if not holds:
        raise Refused(f"profile.ca-{field}", f"nothing was signed: {detail}")
