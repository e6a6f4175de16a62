"""What a certificate may contain: the certificate profiles, and our own lint of the to-be-signed octets.

`admit` judges a request before anything is built.  `check` judges the TBSCertificate that leaf.py built: it
takes the octets apart by itself and compares every one of them with what the profile allows, written out anew
by `cryptography`.  Nothing unexpected can pass, because nothing is skipped.

Must never: share code with the template that it checks (leaf.py), or take a value from the caller's CSR.

BR 7.1.2.7 (subscriber DV), 6.3.2 (validity), 7.1.2.7.12 (SAN); RFC 5280 section 4; docs/adr/0004.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
    PublicKeyAlgorithmOID,
)

from core import der
from core.errors import Refused
from core.identifiers import DNS, IP, TYPES
from core.public_keys import WeakKey
from core.public_keys import check as check_key
from core.settings import CtMode, Rules, Settings
from signer.api import LeafRequest
from signer.vault.templates.authority import Issuer

RESERVED_DV_POLICY = "2.23.140.1.2.1"
"""CA/Browser Forum domain-validated (BR 7.1.6.1): MUST under the public rules, a false claim under others."""

VERSION = 5
"""Of the rules here and in ca_check.py, crl_check.py and ocsp_check.py; recorded with every issuance."""

LOCAL_SERVICE = "local-service"
"""The profile of our own directory's TLS certificate.  No ACME order can name it."""

LOCAL_SERVICE_VALIDITY = 30 * 86400
"""Seconds.  Renewed by the app long before; short, because nobody revokes it."""

NOT_BEFORE_WINDOW = 48 * 3600
"""Seconds: notBefore lies within 48 hours of the signing (BR 7.1.2.7)."""

MAX_NAMES = 100
"""The operator's limit may be lower (limits.identifiers_per_order); the vault draws the outer line."""

_LABEL = r"(?!(?!xn)..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*{_LABEL}")
_SERIAL_OCTETS = range(8, 21)


@dataclass(frozen=True, slots=True)
class LeafProfile:
    """A certificate profile, for leaves.

    `validity` is the longest validity in seconds, counted inclusive of both ends (BR 6.3.2: notAfter =
    notBefore + validity - 1).  `policies` are the certificatePolicies OIDs in order, none when the extension
    is absent.  `key_encipherment` concerns RSA keys only.  `identifiers` are the types of names that it may
    have; `client_auth` adds clientAuth to serverAuth.
    """

    name: str
    validity: int
    policies: tuple[str, ...]
    key_encipherment: bool
    ocsp: bool
    crl: bool
    identifiers: tuple[str, ...] = TYPES
    client_auth: bool = False
    ct: bool = False
    """First a precertificate, then the certificate with SCTs (RFC 6962 section 3.1)."""


def from_settings(settings: Settings) -> dict[str, LeafProfile]:
    """The profiles by name: those of `[profiles.*]` and the local-service profile.

    Under the public rules a leaf carries the reserved DV policy first, then our own OID if there is one;
    under private rules our own OID or, without one, no certificatePolicies: the reserved policy would claim
    adherence to rules that do not bind.
    """
    own = (settings.ca.policy_oid,) if settings.ca.policy_oid else ()
    reserved = (RESERVED_DV_POLICY,) if settings.ca.rules is Rules.PUBLIC else ()
    found = {
        name: LeafProfile(
            name=name,
            validity=profile.validity,
            policies=reserved + own,
            key_encipherment=profile.key_encipherment,
            ocsp=profile.ocsp,
            crl=profile.crl,
            identifiers=profile.identifiers,
            client_auth=profile.client_auth,
            ct=settings.ct.mode is CtMode.ON,
        )
        for name, profile in settings.profiles.items()
    }
    found[LOCAL_SERVICE] = LeafProfile(
        name=LOCAL_SERVICE,
        validity=LOCAL_SERVICE_VALIDITY,
        policies=(),
        key_encipherment=False,
        ocsp=False,
        crl=False,
    )
    return found


def admit(request: LeafRequest, profile: LeafProfile, issuer: Issuer, *, now: int, longest: int) -> None:
    """Judge what was asked for, before anything is built.

    `longest` is the dated limit of the day on the validity in seconds (BR 6.3.2).  Raises `Refused`.
    """
    _must(request.profile == profile.name, "profile.name", "the request names another profile")
    _must(request.issuer_id == issuer.id, "profile.issuer", "the request names another issuer")
    _must(
        len(request.serial) in _SERIAL_OCTETS and 0 < int.from_bytes(request.serial, "big") < 1 << 159,
        "profile.serial",
        "a serial number is positive, below 2^159 and holds 64 random bits (BR 7.1.2.7): draw another",
    )
    _must(
        der.integer_content(int.from_bytes(request.serial, "big")) == request.serial,
        "profile.serial",
        "the serial number is not the shortest encoding of a positive INTEGER: draw another",
    )
    seconds = request.not_after - request.not_before + 1
    _must(
        0 < seconds <= min(profile.validity, longest),
        "profile.validity",
        f"{seconds} s of validity: the profile allows {profile.validity} s and the rules {longest} s",
    )
    _must(
        abs(now - request.not_before) <= NOT_BEFORE_WINDOW,
        "profile.not-before",
        "notBefore is more than 48 hours from now (BR 7.1.2.7): ask for another",
    )
    _must(
        request.not_after <= issuer.not_after,
        "profile.not-after",
        "the certificate would outlive its issuer: ask for a shorter one, or make a new issuer in a ceremony",
    )
    _must(
        request.not_before >= issuer.not_before,
        "profile.not-before",
        "the certificate would be older than its issuer: ask for a later notBefore",
    )
    _must(request.crl_shard >= 0, "profile.crl-shard", "a CRL shard is a number from 0")
    _must(
        issuer.client_auth or not profile.client_auth,
        "profile.client-auth",
        f"{issuer.id} may not certify clients: a ceremony under private rules makes a CA that may",
    )
    _must_be_names(request.names, profile)
    try:
        check_key(request.public_key)
    except WeakKey as error:
        raise Refused("profile.key", str(error)) from error


def check(tbs: bytes, profile: LeafProfile, request: LeafRequest, issuer: Issuer) -> None:
    """Our own lint of a TBSCertificate: every field and octet is what the profile allows.

    Raises `Refused("profile.<field>")` for the first difference; nothing may be signed then.
    """
    expected = _expected_fields(request, issuer)
    wanted = _expected_extensions(profile, request, issuer)
    listed = [der.sequence(oid, *wanted[oid]) for oid in _ORDER if oid in wanted]
    whole = der.sequence(*expected.values(), der.explicit(3, der.sequence(*listed)))
    if tbs != whole:
        _must_have_fields(tbs, expected)
        _must_have_extensions(tbs, wanted)
        raise Refused("profile.encoding", "the TBSCertificate is not encoded as it must be")


def _expected_fields(request: LeafRequest, issuer: Issuer) -> dict[str, bytes]:
    """All but the extensions, in order."""
    return {
        "version": b"\xa0\x03\x02\x01\x02",
        "serial": bytes((0x02, len(request.serial))) + request.serial,
        "signature": issuer.algorithm.identifier,
        "issuer": issuer.name,
        "validity": der.sequence(der.time(request.not_before), der.time(request.not_after)),
        "subject": b"\x30\x00",
        "key": request.public_key,
    }


def _must_have_fields(tbs: bytes, expected: dict[str, bytes]) -> None:
    try:
        *fields, _ = der.elements(der.only(tbs, der.SEQUENCE).content)
    except ValueError as error:
        raise Refused("profile.encoding", f"the TBSCertificate is not DER: {error}") from error
    _must(len(fields) == len(expected), "profile.fields", "the TBSCertificate has other fields than expected")
    for (name, octets), field in zip(expected.items(), fields, strict=True):
        _must(field.encoding == octets, f"profile.{name}", f"{name} differs from what was asked for")


def _must_have_extensions(tbs: bytes, wanted: dict[bytes, tuple[bytes, bytes]]) -> None:
    try:
        found = _extensions(list(der.elements(der.only(tbs, der.SEQUENCE).content))[-1])
    except (ValueError, IndexError) as error:
        raise Refused("profile.encoding", f"the extensions are not DER: {error}") from error
    seen: set[bytes] = set()
    for oid, critical, value in found:
        dotted = oid.hex()
        _must(oid in wanted, "profile.extension", f"extension {dotted} is not in the profile")
        _must(oid not in seen, "profile.extension", f"extension {dotted} occurs twice")
        _must(wanted[oid] == (critical, value), "profile.extension", f"extension {dotted} differs in value")
        seen.add(oid)
    _must(seen == wanted.keys(), "profile.extension", "an extension of the profile is missing")
    order = [oid for oid in _ORDER if oid in wanted]
    _must([oid for oid, *_ in found] == order, "profile.extension", "the extensions are out of order")


_ORDER = tuple(
    der.oid(extension.dotted_string)
    for extension in (
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.PRECERT_POISON,
    )
)
"""Any order would be valid; but what was not built in ours was not built by us."""

_RSA = der.oid(PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5.dotted_string)


def _must(holds: bool, code: str, detail: str) -> None:
    if not holds:
        raise Refused(code, detail)


def _must_be_names(names: Sequence[str], profile: LeafProfile) -> None:
    _must(
        0 < len(names) <= MAX_NAMES and len(set(names)) == len(names),
        "profile.names",
        f"a certificate has 1 to {MAX_NAMES} different names",
    )
    for name in names:
        address = _address(name)
        kind = DNS if address is None else IP
        if address is not None:
            _must(str(address) == name, "profile.names", f"{name} is no address in its canonical form")
        else:
            # BR 7.1.2.7.12: LDH labels (of the reserved ones only xn--), a wildcard as the whole leftmost
            # label only; no all-numeric TLD, which some software takes for an IPv4 address.
            _must(
                len(name) <= 253
                and _DNS_NAME.fullmatch(name) is not None
                and not name.rsplit(".", 1)[-1].isdigit(),
                "profile.names",
                f"{name!r} is not a dNSName of lower-case LDH labels",
            )
        _must(kind in profile.identifiers, "profile.identifiers", f"the profile has no {kind} names: {name}")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    # An address ends in a digit (IPv4) or has a colon (IPv6): most names need no parser to tell.
    if ":" not in name and not name[-1:].isdigit():
        return None
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _extensions(field: der.Element) -> list[tuple[bytes, bytes, bytes]]:
    """(OID, criticality, extnValue) of each, encoded; ValueError when the octets are not DER."""
    if field.tag != 0xA3:
        raise ValueError("the last field is not [3] extensions")
    found = []
    for extension in der.elements(der.only(field.content, der.SEQUENCE).content):
        parts = list(der.elements(extension.content))
        critical = len(parts) == 3
        if extension.tag != der.SEQUENCE or len(parts) not in (2, 3):
            raise ValueError("an extension has two or three fields")
        if parts[0].tag != der.OID or parts[-1].tag != der.OCTET_STRING:
            raise ValueError("an extension is an OID and an OCTET STRING")
        if critical and parts[1].encoding != der.TRUE:
            raise ValueError("critical is TRUE or absent")
        found.append((parts[0].encoding, parts[1].encoding if critical else b"", parts[-1].encoding))
    return found


def _expected_extensions(
    profile: LeafProfile, request: LeafRequest, issuer: Issuer
) -> dict[bytes, tuple[bytes, bytes]]:
    """By OID: criticality and extnValue as they are encoded, by BR 7.1.2.7; the values by `cryptography`."""
    # AlgorithmIdentifier begins within the first octets of any SubjectPublicKeyInfo (BR 7.1.3.1.1).
    rsa = _RSA in request.public_key[:24]
    # Critical because the subject is empty (RFC 5280 section 4.2.1.6).
    san = x509.SubjectAlternativeName([_general_name(name) for name in request.names])
    return _encoded((True, san)) | _constant_extensions(profile, issuer, rsa, request.crl_shard)


@lru_cache(maxsize=4096)
def _constant_extensions(
    profile: LeafProfile, issuer: Issuer, rsa: bool, crl_shard: int
) -> dict[bytes, tuple[bytes, bytes]]:
    uri = x509.UniformResourceIdentifier
    uses = [ExtendedKeyUsageOID.SERVER_AUTH]
    if profile.client_auth:
        uses.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    wanted: list[tuple[bool, x509.ExtensionType]] = [
        (True, _key_usage(key_encipherment=rsa and profile.key_encipherment)),
        (False, x509.ExtendedKeyUsage(uses)),
        (True, x509.BasicConstraints(ca=False, path_length=None)),
        (False, x509.AuthorityKeyIdentifier(issuer.key_id, None, None)),
    ]
    access = [(AuthorityInformationAccessOID.OCSP, issuer.ocsp_url)] if profile.ocsp else []
    access.append((AuthorityInformationAccessOID.CA_ISSUERS, issuer.ca_issuers_url))
    descriptions = [x509.AccessDescription(method, uri(url)) for method, url in access]
    wanted.append((False, x509.AuthorityInformationAccess(descriptions)))
    if profile.crl:
        point = x509.DistributionPoint([uri(issuer.crl_url(crl_shard))], None, None, None)
        wanted.append((False, x509.CRLDistributionPoints([point])))
    if profile.policies:
        policies = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in profile.policies]
        wanted.append((False, x509.CertificatePolicies(policies)))
    if profile.ct:
        wanted.append((True, x509.PrecertPoison()))
    return _encoded(*wanted)


def _encoded(*extensions: tuple[bool, x509.ExtensionType]) -> dict[bytes, tuple[bytes, bytes]]:
    return {
        der.oid(value.oid.dotted_string): (
            der.TRUE if critical else b"",
            der.octet_string(value.public_bytes()),
        )
        for critical, value in extensions
    }


def _key_usage(*, key_encipherment: bool) -> x509.KeyUsage:
    """BR 7.1.2.7.11: digitalSignature; keyEncipherment only with an RSA key."""
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=key_encipherment,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    address = _address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)
