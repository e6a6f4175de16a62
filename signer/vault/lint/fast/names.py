"""The nodes of a subjectAltName that holds nothing but dNSNames, made from its octets.

pyasn1's objects for such an extension cost more than all the validators that look at it, and what these look
at is the text of each name.  So the values of the nodes above are sealed here (seal.py), and pkilint finds
the extension decoded already.  Every other subjectAltName is pkilint's to decode.

RFC 5280 section 4.2.1.6.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pyasn1_alt_modules import rfc5280

from signer.vault.lint.fast.seal import sealed_value
from signer.vault.lint.fast.split import OCTET_STRING, SEQUENCE, Unusual, inside
from signer.vault.lint.fast.values import dns_name, node

_DNS_NAME = 0x82
_NAMES = sealed_value(rfc5280.SubjectAltName)
_NAME = sealed_value(rfc5280.GeneralName)

KEPT = 4096
"""Texts kept: a final certificate has the names of its precertificate."""

_value = lru_cache(KEPT)(dns_name)


def add_dns_names(value: Any, encoding: bytes) -> None:
    """Add below `value`, the node of a subjectAltName's extnValue with this DER `encoding`, what it holds.

    Adds nothing when there is anything but short dNSNames of ASCII.
    """
    texts = _dns_names(encoding)
    if not texts:
        return
    names = value.children["subjectAltName"] = node(value, "subjectAltName", _NAMES)
    for number, text in enumerate(texts):
        name = names.children[str(number)] = node(names, str(number), _NAME)
        name.children["dNSName"] = node(name, "dNSName", _value(text))


def _dns_names(encoding: bytes) -> list[bytes]:
    """The dNSNames in an OCTET STRING with a SEQUENCE of them; none when there is anything else."""
    try:
        start, end = inside(encoding, 0, OCTET_STRING, len(encoding))
        at, last = inside(encoding, start, SEQUENCE, end)
    except (Unusual, IndexError):
        return []
    if not end == last == len(encoding):
        return []
    texts = []
    while at < end:
        # A length of one octet, so that all names together cannot be mistaken.
        if at + 2 > end or encoding[at] != _DNS_NAME or not 0 < encoding[at + 1] < 0x80:
            return []
        following = at + 2 + encoding[at + 1]
        text = encoding[at + 2 : following]
        if following > end or not text.isascii():
            return []
        texts.append(text)
        at = following
    return texts
