"""Which names may stand in a certificate, and in which form.

A name is taken only in the form that the certificate will carry: A-labels in lower case, no trailing dot.
What cannot be a host name at all is `malformed`; what could be, but not from us, is `rejectedIdentifier`.

Must never: ask the network.  The Public Suffix List comes with a pinned package.

RFC 8555 section 7.1.3; RFC 5890, 5891; BR 4.2.2, 3.2.2.6, 7.1.2.7.12.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import cache

import idna
from publicsuffixlist import PublicSuffixList

from core.errors import Problem

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

DNS, IP = "dns", "ip"
TYPES = (DNS, IP)
"""The identifier types (RFC 8555 section 9.7.7; RFC 8738 section 3)."""

MAX_NAME = 253
"""Characters: 255 octets on the wire (RFC 1035 section 3.1) less the root label and the first length."""

MAX_LABEL = 63

MAX_LABELS = 10
"""In one name, without "*.": every perspective asks for CAA at each of them."""

RESERVED = (
    *("local", "internal", "test", "example", "invalid", "localhost", "onion", "alt", "arpa"),
    *("intranet", "lan", "corp", "home", "private"),
)
"""Never public hosts: RFC 6761, 6762, 7686, 9476, ICANN's .internal, the Internet's own infrastructure (RFC
3172, 8375) and what networks made up."""

REVERSE = ("in-addr.arpa", "ip6.arpa")
"""Reverse zones: no certificate under the BR since 2026-03-15 (BR 4.2.2), and none from us."""

_LDH_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def split_wildcard(name: str) -> tuple[str, bool]:
    """("example.org", True) of "*.example.org", ("example.org", False) of "example.org"."""
    return (name[2:], True) if name.startswith("*.") else (name, False)


def address_of(name: str) -> Address | None:
    """The address that `name` is the canonical text of (RFC 5952 for IPv6), or None: a dNSName is none."""
    if ":" not in name and not name[-1:].isdigit():  # most names need no parser to tell
        return None
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return address if str(address) == name and "%" not in name else None


def is_address(name: str) -> bool:
    """Whether an identifier, as text, is an IP address."""
    return address_of(name) is not None


def type_of(name: str) -> str:
    """The type of the identifier: no dNSName can look like an address, so a name tells its own."""
    return IP if is_address(name) else DNS


def normalise_ip(value: str) -> str:
    """The address in its canonical form, which is the only one that is taken (RFC 8738 section 3).

    Raises: `Problem` "malformed" for any other text.
    """
    if is_address(value):
        return value
    try:
        advice = f'write "{ipaddress.ip_address(value.partition("%")[0])}"'
    except ValueError:
        advice = 'write it like "203.0.113.9" or "2001:db8::1"'
    raise Problem("malformed", f"{_shown(value)} is no IP address in its canonical form: {advice}")


def normalise_dns(value: str, *, public: bool, local_names: Iterable[str] = ()) -> str:
    """The dNSName in lower case, its wildcard kept.

    `public` asks for a name that the Baseline Requirements allow.  `local_names` (private rules) are names
    without a dot that may be certified, too; "*.localhost" stands for every name below localhost.

    Raises: `Problem` "malformed" when it is no host name, "rejectedIdentifier" when it is one that we refuse.
    """
    if not value.isascii():  # before lower(), which turns the Kelvin sign into a "k"
        raise _malformed(value, _advice_for_unicode(value))
    name = value.lower()
    base, wildcard = split_wildcard(name)
    _require_host_name(value, base)
    if is_reverse(base):
        raise _rejected(
            value, "names of IP reverse zones are not certified; order the host's name, or the address"
        )
    if base.count(".") >= MAX_LABELS:
        raise _rejected(value, f"it has more than {MAX_LABELS} labels; order a name with fewer dots")
    if public:
        _require_public(value, base, wildcard)
    elif "." not in base and not is_local(name, local_names):
        raise _rejected(value, "a name without a dot is certified only when ca.local_names lists it")
    return name


def is_local(name: str, local_names: Iterable[str]) -> bool:
    """Whether `name` (in lower case) is listed, or lies below a listed "*.name"."""
    for listed in local_names:
        base, subtree = split_wildcard(listed.lower())
        if name == listed.lower() or (subtree and name.endswith("." + base)):
            return True
    return False


def is_reverse(name: str) -> bool:
    """Whether `name`, in lower case, with or without "*.", lies in a reverse zone."""
    return _below(split_wildcard(name)[0], REVERSE)


def _require_host_name(value: str, base: str) -> None:
    if not base:
        raise _malformed(value, "it is empty; name a host")
    if _is_address(base):
        raise _malformed(value, 'it is an IP address, which no identifier of type "dns" can be')
    if base.endswith("."):
        raise _malformed(value, "leave out the dot at its end")
    if len(base) > MAX_NAME:
        raise _malformed(value, f"it is longer than {MAX_NAME} characters")
    if "*" in base:
        raise _malformed(value, 'a "*" may stand only as the whole leftmost label')
    labels = base.split(".")
    for label in labels:
        _require_label(value, label)
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        raise _malformed(value, "its last label is a number, so that software takes it for an address")


def _require_label(value: str, label: str) -> None:
    if not label:
        raise _malformed(value, "one of its labels is empty")
    if len(label) > MAX_LABEL:
        raise _malformed(value, f"one of its labels is longer than {MAX_LABEL} characters")
    if "_" in label:
        raise _malformed(value, "an underscore cannot stand in a host name")
    if not _LDH_LABEL.fullmatch(label):
        raise _malformed(value, "labels hold letters, digits and hyphens, with no hyphen at either end")
    if label[2:4] == "--":
        _require_a_label(value, label)


def _require_a_label(value: str, label: str) -> None:
    """A reserved LDH label must be an A-label (RFC 5890 section 2.3.1), and the one form of its U-label."""
    if not label.startswith("xn--"):
        raise _malformed(value, f'the label "{label}" is reserved: only "xn--" is in use')
    try:
        if idna.alabel(idna.ulabel(label)).decode("ascii") != label:
            raise _malformed(value, f'the label "{label}" is not the normal form of what it stands for')
    except (idna.IDNAError, UnicodeError) as error:
        raise _malformed(value, f'the label "{label}" is not valid under IDNA 2008: {error}') from error


def _require_public(value: str, base: str, wildcard: bool) -> None:
    labels = base.split(".")
    if len(labels) < 2:
        raise _rejected(value, "a name without a dot cannot be a public name; order it in full")
    if _below(base, RESERVED):
        raise _rejected(
            value, "it lies below a name that is reserved and no public host has; order a public name"
        )
    suffix = _suffixes().publicsuffix(base)
    if suffix is None:
        raise _rejected(value, f'".{labels[-1]}" is no public top-level domain; order a public name')
    if suffix == base:
        what = "a wildcard directly below a public suffix" if wildcard else "a public suffix"
        raise _rejected(value, f"{what} belongs to no single subscriber; order names below your own domain")


@cache
def _suffixes() -> PublicSuffixList:
    # The private section lists hosting firms' own domains: those firms may have wildcards (BR 3.2.2.6).
    return PublicSuffixList(only_icann=True, accept_unknown=False)


def _below(base: str, zones: Iterable[str]) -> bool:
    return any(base == zone or base.endswith("." + zone) for zone in zones)


def _is_address(base: str) -> bool:
    try:
        ipaddress.ip_address(base.strip("[]"))
    except ValueError:
        return False
    return True


def _advice_for_unicode(value: str) -> str:
    try:
        a_label = idna.encode(value, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return "it holds characters that no host name can hold"
    return f'send its A-label form, "{a_label}"'


def _malformed(value: str, why: str) -> Problem:
    return Problem("malformed", f"{_shown(value)} is no DNS name: {why}")


def _rejected(value: str, why: str) -> Problem:
    return Problem("rejectedIdentifier", f"{_shown(value)} is refused: {why}")


def _shown(value: str) -> str:
    """The name as a stranger sent it, made short and harmless for a sentence."""
    text = value.encode("unicode_escape").decode("ascii")
    return f'"{text[:MAX_NAME]}{"..." if len(text) > MAX_NAME else ""}"'
