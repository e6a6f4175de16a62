"""A TBSCertificate without one of its extensions: what makes precertificate and certificate comparable.

RFC 6962 section 3.1: a log signs over the precertificate's TBSCertificate without the poison, which is the
final certificate's without the SCT list.  BR 7.1.2.9: all other octets are equal.

Must never: encode anew what stays; the octets that are kept are those that were there.
"""

from __future__ import annotations

from core import der
from signer.ct.sct import POISON, SCT_LIST

_EXTENSIONS = 0xA3


def unpoisoned(tbs: bytes) -> bytes:
    """The TBSCertificate of a precertificate without the poison.  Raises ValueError unless it has one."""
    return _without(tbs, POISON)


def without_scts(tbs: bytes) -> bytes:
    """The TBSCertificate of a certificate without the SCT list.  Raises ValueError unless it has one."""
    return _without(tbs, SCT_LIST)


def of(certificate: bytes) -> bytes:
    """The TBSCertificate of a certificate in DER.  Raises ValueError."""
    return next(der.elements(der.only(certificate, der.SEQUENCE).content)).encoding


def split(tbs: bytes) -> tuple[bytes, list[bytes]]:
    """The octets of all fields before the extensions, and each Extension.  Raises ValueError."""
    *fields, last = der.elements(der.only(tbs, der.SEQUENCE).content)
    if last.tag != _EXTENSIONS:
        raise ValueError("a TBSCertificate without extensions")
    extensions = [each.encoding for each in der.elements(der.only(last.content, der.SEQUENCE).content)]
    return b"".join(field.encoding for field in fields), extensions


def joined(head: bytes, extensions: list[bytes]) -> bytes:
    """What `split` took apart."""
    return der.sequence(head, der.explicit(3, der.sequence(*extensions)))


def _without(tbs: bytes, dotted: str) -> bytes:
    head, extensions = split(tbs)
    kept = [each for each in extensions if _oid(each) != der.oid(dotted)]
    if len(kept) != len(extensions) - 1:
        raise ValueError(f"extension {dotted} does not occur just once")
    return joined(head, kept)


def _oid(extension: bytes) -> bytes:
    return next(der.elements(der.only(extension, der.SEQUENCE).content)).encoding
