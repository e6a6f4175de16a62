"""What people name a certificate by: a serial number as some tool shows it, a PEM or DER file, a domain.

Must never: look anything up; raise for what a stranger wrote.

RFC 7468 (PEM); RFC 5280 section 4.1.2.2 (serial numbers).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography import x509

from core.der import integer_content
from core.key_proofs import NoProof, public_key
from core.unreadable import UNREADABLE

MOST = 100
"""Things that are read of one text; more are left out, and counted as unread."""

# Each of these reads a text in a time that grows with its length alone: strangers choose it.
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----([A-Za-z0-9+/=\s]*)-----END \1-----")
_HEX = re.compile(r"(?:0[xX])?((?:[0-9a-fA-F]{2}[:-])*[0-9a-fA-F]{1,2}|[0-9a-fA-F]{1,42})")
_DECIMAL = re.compile(r"[0-9]{1,50}")
_NAME = re.compile(r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_PREFIX = re.compile(r"serial(?: ?number)? ?[:=]\s?", re.IGNORECASE)

FILE = "\0file"
"""In `Named.unread`: the file.  A page names it in its own language; in a text field no NUL arrives."""

_MOST_SERIAL_OCTETS = 21
"""Content octets of a serial number: 20, and a zero in front of a high bit."""


@dataclass(slots=True)
class Named:
    """What was understood.  `serials` are content octets of DER INTEGERs, `keys` DER SubjectPublicKeyInfos.

    Digits alone can be decimal or hexadecimal: both readings are in `serials`, hexadecimal first.
    """

    serials: list[bytes] = field(default_factory=list)
    certificates: list[x509.Certificate] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether anything was understood."""
        return bool(self.serials or self.certificates or self.keys or self.names)


def read(text: str, file: bytes = b"") -> Named:
    """What stands in a text field and in a file (PEM, or one certificate in DER)."""
    found = Named()
    _text(text, found)
    if file:
        _file(file, found)
    return found


def told(unread: Iterable[str], file: str) -> str:
    """What could not be read, for a page whose word for the file is `file`."""
    return ", ".join(file if each == FILE else each for each in unread)


def serial_of(certificate: x509.Certificate) -> bytes:
    """The content octets of its serial number; b"" for a negative one, which is none of ours."""
    number = certificate.serial_number
    return b"" if number < 0 else integer_content(number)


def _file(octets: bytes, found: Named) -> None:
    if octets.startswith(b"\x30") and (certificate := _certificate(octets)) is not None:
        found.certificates.append(certificate)
        return
    try:
        _text(octets.decode("ascii"), found)
    except UnicodeDecodeError:
        found.unread.append(FILE)


def _text(text: str, found: Named) -> None:
    if "-----BEGIN" in text:
        for label, body in _PEM.findall(text)[:MOST]:
            _pem(label, body, found)
        text = _PEM.sub(" ", text)
    for at, word in enumerate(_words(_PREFIX.sub(" ", text))):
        if at >= MOST:
            found.unread.append("…")
            return
        _word(word, found)


def _words(text: str) -> Iterator[str]:
    # "ab cd ef": octets with blanks between them are one number.
    for line in re.split(r"[\n\r,;]+", text):
        line = line.strip()
        if re.fullmatch(r"[0-9a-fA-F]{2}( [0-9a-fA-F]{2}){3,20}", line):
            yield line.replace(" ", "")
        else:
            yield from line.split()


def _word(word: str, found: Named) -> None:
    if word.startswith("MII") and (certificate := _of_base64(word)) is not None:
        found.certificates.append(certificate)
    elif readings := _serials(word):
        found.serials += [each for each in readings if each not in found.serials]
    elif len(word) <= 255 and _NAME.fullmatch(word.lower().rstrip(".")):
        found.names.append(word.lower().rstrip("."))
    else:
        found.unread.append(word[:80])


def _serials(word: str) -> list[bytes]:
    readings = []
    if hexadecimal := _HEX.fullmatch(word):
        readings.append(int(re.sub("[:-]", "", hexadecimal[1]), 16))
    if _DECIMAL.fullmatch(word):
        readings.append(int(word))
    octets = [integer_content(each) for each in readings if each > 0]
    return [each for each in dict.fromkeys(octets) if len(each) <= _MOST_SERIAL_OCTETS]


def _pem(label: str, body: str, found: Named) -> None:
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
        if label in ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"):
            certificate = _certificate(der)
            if certificate is not None:
                found.certificates.append(certificate)
                return
        elif label == "PUBLIC KEY":
            public_key(der)
            found.keys.append(der)
            return
    except (binascii.Error, ValueError, NoProof):
        pass
    found.unread.append(label)


def _of_base64(word: str) -> x509.Certificate | None:
    try:
        return _certificate(base64.b64decode(word, validate=True))
    except (binascii.Error, ValueError):
        return None


def _certificate(der: bytes) -> x509.Certificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # What a page shows of it is parsed late: all of it now, or it is no certificate to us.
        certificate.subject, certificate.issuer, certificate.extensions  # noqa: B018
        certificate.serial_number, certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018
    except UNREADABLE:
        return None
    return certificate
