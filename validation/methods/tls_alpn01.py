"""The tls-alpn-01 challenge: a self-signed certificate that the host shows to who speaks acme-tls/1.

The handshake itself is the answer: nothing is sent after it.  That the certificate has expired, or that its
key is weak, is no matter; that it says exactly what it must is.

RFC 8737; RFC 8738 section 6; BR 3.2.2.4.20, 3.2.2.5.7.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import warnings
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from core.facts import Handshake
from validation.addresses import Address, parse_address
from validation.challenge import Challenge, Shown, Tools
from validation.hosts.dialer import ACME_TLS, Presented
from validation.methods import reach
from validation.verdict import CheckFailed, Trace, printable

ACME_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
"""id-pe-acmeIdentifier (RFC 8737 section 6.1)."""

_OCTET_STRING_OF_32: Final = b"\x04\x20"

SHOWN_CHARACTERS = 100
SHOWN_NAMES = 5


class _Fault(Exception):
    """What is wrong with a certificate, as the end of a sentence that begins with "the certificate"."""


async def check(challenge: Challenge, tools: Tools, trace: Trace) -> Shown:
    """Returns when the host shows the certificate.  Raises `CheckFailed`, `TransientError`."""
    try:
        presented = await visit(challenge, tools, trace)
    except CheckFailed as error:
        raise CheckFailed(error.problem, f"{challenge.name}: {error.detail}") from error
    trace.add(f"ALPN {presented.protocol or 'none'}, certificate SHA-256 {_digest(presented)}")
    if presented.protocol != ACME_TLS:
        chosen = presented.protocol or "no protocol"
        raise CheckFailed(
            "unauthorized",
            f"{challenge.name}: the TLS server chose {chosen} by ALPN instead of {ACME_TLS}: "
            "set it up for tls-alpn-01 (RFC 8737 section 3)",
        )
    try:
        judge(presented.certificate, challenge)
    except _Fault as error:
        raise CheckFailed("unauthorized", f"{challenge.name}: the certificate shown {error}") from error
    return Shown()


async def visit(challenge: Challenge, tools: Tools, trace: Trace) -> Presented:
    """What the host shows, whatever it is.

    Raises: `NoAcmeTls` when a TLS server is there that does not speak acme-tls/1; `CheckFailed`,
    `TransientError`.
    """
    seconds = tools.dialer.limits.tls_alpn
    try:
        async with asyncio.timeout(seconds):
            return await _presented(challenge, tools, trace)
    except TimeoutError as error:
        raise CheckFailed("connection", f"no TLS handshake was finished within {seconds:.0f} s") from error


def server_name(name: str) -> str:
    """What the SNI says: the name, or the reverse name of an address, whose literal it may not hold.

    RFC 6066 section 3; RFC 8738 section 6.
    """
    address = parse_address(name)
    return name if address is None else address.reverse_pointer


def judge(certificate: bytes, challenge: Challenge) -> None:
    """Returns when the certificate (DER) answers the challenge.  Raises `_Fault`."""
    leaf, extensions = _read(certificate)
    _require_self_signed(leaf)
    _require_name(extensions, challenge.name)
    _require_digest(extensions, challenge.digest)


def _read(certificate: bytes) -> tuple[x509.Certificate, x509.Extensions]:
    """The certificate (DER) and its extensions.  Raises `_Fault`."""
    try:
        with warnings.catch_warnings():
            # A serial number of zero and the like: no matter here, and nothing for our standard error.
            warnings.simplefilter("ignore")
            leaf = x509.load_der_x509_certificate(certificate)
            return leaf, leaf.extensions
    except x509.DuplicateExtension as error:
        raise _Fault(f"has the extension {error.oid.dotted_string} twice") from error
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType) as error:
        raise _Fault(f"cannot be read ({printable(str(error), SHOWN_CHARACTERS)})") from error


async def _presented(challenge: Challenge, tools: Tools, trace: Trace) -> Presented:
    sni = server_name(challenge.name)
    port = tools.ports.tls_alpn

    async def dial(address: Address) -> Presented:
        trace.add(f"TLS handshake {ACME_TLS} for {sni} at {address} port {port}")

        def tell(took: int, presented: Presented | None, why: str) -> None:
            trace.handshakes.append(_fact(sni, f"{address}", port, took, presented, why))

        return await reach.told(tools.dialer.handshake(sni, address, port), tell)

    found = await reach.addresses(challenge.name, tools, trace)
    return await reach.first_connected(found, dial, trace)


def _fact(sni: str, address: str, port: int, took: int, presented: Presented | None, why: str) -> Handshake:
    if presented is None:
        return Handshake(sni, address, port, took, failure=why)
    names = _shown_names(presented.certificate)
    return Handshake(sni, address, port, took, presented.protocol, _digest(presented), names)


def _digest(presented: Presented) -> str:
    return hashlib.sha256(presented.certificate).hexdigest()


def _shown_names(certificate: bytes) -> tuple[str, ...]:
    try:
        names = _read(certificate)[1].get_extension_for_class(x509.SubjectAlternativeName).value
    except (_Fault, x509.ExtensionNotFound):
        return ()
    return tuple(printable(str(each.value), SHOWN_CHARACTERS) for each in list(names)[:SHOWN_NAMES])


def _require_self_signed(leaf: x509.Certificate) -> None:
    try:
        leaf.verify_directly_issued_by(leaf)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        subject = printable(leaf.subject.rfc4514_string(), SHOWN_CHARACTERS)
        raise _Fault(f"is not signed by its own key (subject {subject})") from error


def _require_name(extensions: x509.Extensions, name: str) -> None:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise _Fault(f"has no subjectAltName: it must hold {name} and no other name") from error
    address = parse_address(name)
    only = next(iter(names)) if len(list(names)) == 1 else None
    if address is None:
        right = isinstance(only, x509.DNSName) and only.value.encode().lower() == name.encode()
    else:
        right = isinstance(only, x509.IPAddress) and only.value == address
    if not right:
        shown = printable(", ".join(str(each.value) for each in names), SHOWN_CHARACTERS)
        kind = "dNSName" if address is None else "iPAddress"
        raise _Fault(f"is for {shown}: its subjectAltName must hold the {kind} {name} and no other name")


def _require_digest(extensions: x509.Extensions, digest: bytes) -> None:
    try:
        extension = extensions.get_extension_for_oid(ACME_IDENTIFIER)
    except x509.ExtensionNotFound as error:
        raise _Fault("has no acmeIdentifier extension (1.3.6.1.5.5.7.1.31)") from error
    if not extension.critical:
        raise _Fault("has an acmeIdentifier extension that is not critical")
    if not hmac.compare_digest(extension.value.public_bytes(), _OCTET_STRING_OF_32 + digest):
        raise _Fault("has an acmeIdentifier that is not the digest of this challenge's key authorization")
