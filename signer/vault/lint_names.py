"""The nodes of a subjectAltName that holds nothing but dNSNames, made from its octets.

pyasn1's objects for such an extension cost more than all the validators that look at it, and what these look
at is the text of each name.  So the values of the nodes above are sealed here (lint_seal.py), and pkilint
finds the extension decoded already.  Every other subjectAltName is pkilint's to decode.

RFC 5280 section 4.2.1.6.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pkilint import document
from pyasn1_alt_modules import rfc5280

from core import der
from signer.vault.lint_seal import seal_value

_DNS_NAME = 0x82
_TEXT = rfc5280.GeneralName.componentType["dNSName"].asn1Object

KEPT = 4096
"""Texts kept: a final certificate has the names of its precertificate."""


def add_dns_names(value: Any, encoding: bytes) -> None:
    """Add below `value`, the node of a subjectAltName's extnValue with this DER `encoding`, what it holds.

    Adds nothing when there is anything but short dNSNames of ASCII.
    """
    texts = _dns_names(encoding)
    if not texts:
        return
    names = _node(value, "subjectAltName", rfc5280.SubjectAltName)
    for number, text in enumerate(texts):
        name = _node(names, str(number), rfc5280.GeneralName)
        name.children["dNSName"] = document.PDUNode(value.document, "dNSName", _dns_name(text), name)


def _node(parent: Any, name: str, pdu_type: type) -> Any:
    node = document.PDUNode(parent.document, name, None, parent)
    seal_value(node, pdu_type)
    parent.children[name] = node
    return node


@lru_cache(KEPT)
def _dns_name(text: bytes) -> Any:
    return _TEXT.clone(text.decode("ascii"))


def _dns_names(encoding: bytes) -> list[bytes]:
    """The dNSNames in an OCTET STRING with a SEQUENCE of them; none when there is anything else."""
    try:
        content = der.only(der.only(encoding, der.OCTET_STRING).content, der.SEQUENCE).content
    except ValueError:
        return []
    texts = []
    at, end = 0, len(content)
    while at < end:
        # A length of one octet, so that all names together cannot be mistaken.
        if at + 2 > end or content[at] != _DNS_NAME or not 0 < content[at + 1] < 0x80:
            return []
        following = at + 2 + content[at + 1]
        text = content[at + 2 : following]
        if following > end or not text.isascii():
            return []
        texts.append(text)
        at = following
    return texts
