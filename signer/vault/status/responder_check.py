"""A responder's TBSCertificate, looked at once more before its issuer signs it: every field, every octet.

The builder is `cryptography`'s (ca_certificates.py); this is our own DER, put together from what was wanted.
pkilint knows what a responder may look like; only this knows which one was meant.

Must never: share code with the builder that it checks.

BR 4.3.1.2, 7.1.2.8; RFC 6960 section 4.2.2.2.
"""

from __future__ import annotations

import hashlib

from cryptography import x509

from core import der
from core.errors import Refused
from signer.vault.templates.ca_certificates import Subject
from signer.vault.tokens import algorithms

_PRINTABLE_STRING, _UTF8_STRING = 0x13, 0x0C
_FIELDS = ("version", "serial", "signature", "issuer", "validity", "subject", "key", "extensions")


def check(
    draft: bytes,
    issuer: bytes,
    subject: Subject,
    spki: bytes,
    serial: bytes,
    not_before: int,
    lifetime: int,
) -> None:
    """Require that the certificate `draft` (DER, its signature is none yet) is the one that was meant.

    `issuer` is the issuing CA's certificate, `spki` the responder's key; times in POSIX seconds.  Raises
    `Refused("responder.<field>")` for the first difference.
    """
    try:
        found = [field.encoding for field in _parts(_parts(draft)[0].encoding)]
    except (ValueError, IndexError) as error:
        raise Refused("responder.encoding", f"the responder's certificate is not DER: {error}") from error
    expected = _expected(issuer, subject, spki, serial, not_before, not_before + lifetime - 1)
    for name, meant, is_there in zip(_FIELDS, expected, found, strict=False):
        if meant != is_there:
            raise Refused(f"responder.{name}", f"the responder's {name} is not what was meant: not signed")
    if len(found) != len(expected):
        raise Refused("responder.fields", "the responder has other fields than were meant: not signed")


def _expected(
    issuer: bytes, subject: Subject, spki: bytes, serial: bytes, not_before: int, not_after: int
) -> tuple[bytes, ...]:
    certificate = x509.load_der_x509_certificate(issuer)
    issuer_key = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    _, bits = _parts(spki)
    key_id = hashlib.sha1(bits.content[1:], usedforsecurity=False).digest()  # RFC 5280 section 4.2.1.2 (1)
    return (
        der.explicit(0, der.integer(2)),
        der.tlv(der.INTEGER, serial),
        algorithms.for_key(certificate.public_key()).identifier,
        certificate.subject.public_bytes(),
        der.sequence(der.time(not_before), der.time(not_after)),
        der.sequence(
            _attribute("2.5.4.6", _PRINTABLE_STRING, subject.country),
            _attribute("2.5.4.10", _UTF8_STRING, subject.organization),
            _attribute("2.5.4.3", _UTF8_STRING, subject.common_name),
        ),
        spki,
        der.explicit(
            3,
            der.sequence(
                der.extension("2.5.29.15", der.named_bits(0), critical=True),
                der.extension("2.5.29.37", der.sequence(der.oid("1.3.6.1.5.5.7.3.9"))),
                der.extension("1.3.6.1.5.5.7.48.1.5", der.NULL),
                der.extension("2.5.29.14", der.octet_string(key_id)),
                der.extension("2.5.29.35", der.sequence(der.implicit(0, issuer_key))),
            ),
        ),
    )


def _attribute(dotted: str, tag: int, text: str) -> bytes:
    return der.set_of(der.sequence(der.oid(dotted), der.tlv(tag, text.encode())))


def _parts(sequence: bytes) -> list[der.Element]:
    return [*der.elements(der.only(sequence, der.SEQUENCE).content)]
