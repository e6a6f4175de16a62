"""A CAA record and the value of an issue property, as octets and as grammar.

A value that does not fit the grammar satisfies nobody; it does not disappear (RFC 8659 section 4.2).

RFC 8659 sections 4.1 and 4.2; RFC 8657 sections 3 and 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DOMAIN = re.compile(rb"[A-Za-z0-9](?:-*[A-Za-z0-9])*(?:\.[A-Za-z0-9](?:-*[A-Za-z0-9])*)*")
_PARAMETER = re.compile(
    rb"(?P<tag>[A-Za-z0-9](?:-*[A-Za-z0-9])*)[ \t]*=[ \t]*(?P<value>[\x21-\x3a\x3c-\x7e]*)"
)
_TAG = re.compile(rb"[A-Za-z0-9]+")
_WSP = b" \t"
_PRESENTATION = re.compile(r'(?P<flags>\d{1,3}) (?P<tag>[A-Za-z0-9]+) "(?P<value>(?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(\d{3}|\D)")


class MalformedValue(ValueError):
    """Octets that do not fit the grammar."""


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """`tag` is in lower case, since tags match whatever their case (RFC 8659 section 4.1)."""

    flags: int
    tag: str
    value: bytes

    @classmethod
    def parse(cls, rdata: bytes) -> CaaRecord:
        """From RDATA in wire form.  Raises `MalformedValue`."""
        if len(rdata) < 2 or not _TAG.fullmatch(rdata[2 : 2 + rdata[1]]) or len(rdata) < 2 + rdata[1]:
            raise MalformedValue("the tag of a CAA record is not one or more letters and digits")
        return cls(rdata[0], rdata[2 : 2 + rdata[1]].decode("ascii").lower(), rdata[2 + rdata[1] :])

    @classmethod
    def from_presentation(cls, text: str) -> CaaRecord:
        """From the zone file form, as `presentation` writes it.  Raises `MalformedValue`."""
        found = _PRESENTATION.fullmatch(text)
        if found is None or int(found["flags"]) > 255 or not text.isascii() or not text.isprintable():
            raise MalformedValue('a CAA record is written: flags tag "value"')
        return cls(int(found["flags"]), found["tag"].lower(), _unescaped(found["value"]))

    @property
    def critical(self) -> bool:
        """The issuer critical flag: bit 0, written 128.

        1 counts too: people write it who read "bit 0" from the other end, and refusing is the safe side.
        """
        return bool(self.flags & 0b1000_0001)

    def presentation(self) -> str:
        """The zone file form (RFC 8659 section 4.1.1), escaped as RFC 1035 section 5.1 does."""
        escaped = "".join(
            f"\\{chr(octet)}" if octet in b'"\\' else chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03d}"
            for octet in self.value
        )
        return f'{self.flags} {self.tag} "{escaped}"'


def _unescaped(text: str) -> bytes:
    octets = bytearray()
    at = 0
    for escape in _ESCAPE.finditer(text):
        octets += text[at : escape.start()].encode("ascii")
        at = escape.end()
        meant = int(escape[1]) if escape[1].isdigit() else ord(escape[1])
        if meant > 255:
            raise MalformedValue("an escape in a CAA record stands for no octet")
        octets.append(meant)
    rest = text[at:]
    if "\\" in rest:
        raise MalformedValue("an escape in a CAA record is not whole")
    return bytes(octets + rest.encode("ascii"))


@dataclass(frozen=True, slots=True)
class IssueValue:
    """An issue-value: `issuer` in lower case, "" when it names nobody; tags of `parameters` in lower case."""

    issuer: str
    parameters: tuple[tuple[str, str], ...]

    def all(self, tag: str) -> tuple[str, ...]:
        """The values of every parameter `tag`."""
        return tuple(value for name, value in self.parameters if name == tag)


def parse_issue_value(value: bytes) -> IssueValue:
    """The issue-value in `value`.  Raises `MalformedValue`."""
    issuer, semicolon, rest = value.partition(b";")
    issuer = issuer.strip(_WSP)
    if issuer and not _DOMAIN.fullmatch(issuer):
        raise MalformedValue("the issuer is not a domain name")
    parameters = []
    if semicolon and rest.strip(_WSP):
        for piece in rest.split(b";"):
            parameter = _PARAMETER.fullmatch(piece.strip(_WSP))
            if parameter is None:
                raise MalformedValue("a parameter is not tag=value")
            parameters.append((parameter["tag"].decode("ascii").lower(), parameter["value"].decode("ascii")))
    return IssueValue(issuer.decode("ascii").lower(), tuple(parameters))
