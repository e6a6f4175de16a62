"""pyasn1 values and pkilint nodes of the simplest kinds, made without their constructors.

Those cost 10 us a value, of which a certificate of ten names has two dozen.  What is made here is what
`decode_der` and PDUNode make, attribute by attribute: a test compares them.  Whatever is not of the plainest
encoding goes to `decode_der`.

X.690 sections 8.3, 8.6, 8.7, 10; RFC 5280 section 4.1.2.5.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pkilint import document
from pyasn1.type import univ, useful
from pyasn1_alt_modules import rfc5280
from pyasn1_fasder import decode_der

_UTC_TIME = re.compile(rb"[0-9]{12}Z")
_LONG = 0x80
_DNS_NAME = rfc5280.GeneralName.componentType["dNSName"].asn1Object
_new = object.__new__


def decoded(octets: bytes, specification: Any) -> Any:
    """The value that these octets encode; `octets` is one whole element with a shortest definite length.

    Raises what decode_der raises.
    """
    length = octets[1]
    start = 2 if length < _LONG else 2 + length - _LONG
    make = _MAKERS.get(type(specification))
    if make is not None and start < len(octets):
        value = make(octets, start)
        if value is not None:
            return _with_value(specification, value)
    return decode_der(octets, asn1Spec=specification)[0]


def dns_name(text: bytes) -> Any:
    """The value of a dNSName; `text` is ASCII."""
    return _with_value(_DNS_NAME, text.decode("ascii"))


def node(parent: Any, name: str, pdu: Any, children: dict[str, Any] | None = None) -> Any:
    """A node below `parent` that has no children yet, or these."""
    made = _new(document.PDUNode)
    made.__dict__ = {
        "document": parent.document,
        "name": name,
        "pdu": pdu,
        "parent": parent,
        "path": f"{parent.path}.{name}",
        "children": {} if children is None else children,
    }
    return made


def _with_value(template: Any, value: Any) -> Any:
    made = _new(type(template))
    made.__dict__.update(template.__dict__)
    made.__dict__["_value"] = value
    return made


def _integer(octets: bytes, start: int) -> int | None:
    first = octets[start]
    if first in (0x00, 0xFF) and len(octets) > start + 1 and (first ^ octets[start + 1]) < 0x80:
        return None  # not the shortest
    return int.from_bytes(octets[start:], "big", signed=True)


def _utc_time(octets: bytes, start: int) -> str | None:
    return octets[start:].decode("ascii") if _UTC_TIME.fullmatch(octets, start) else None


def _bit_string(octets: bytes, start: int) -> Any:
    count = len(octets) - start - 1
    if octets[start] or not count:
        return None
    return univ.SizedInteger.from_bytes(octets[start + 1 :], "big").setBitLength(8 * count)


def _octet_string(octets: bytes, start: int) -> bytes:
    return octets[start:]


_MAKERS: dict[type, Callable[[bytes, int], Any]] = {
    rfc5280.CertificateSerialNumber: _integer,
    useful.UTCTime: _utc_time,
    univ.BitString: _bit_string,
    univ.OctetString: _octet_string,
}
