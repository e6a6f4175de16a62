"""Reads OCSP requests, by POST and by GET, in the forms that clients really send.

Must never: look anything up, or be lenient about what the DER says.

RFC 6960 section 4.1 and appendix A; RFC 9919 (which obsoletes RFC 5019) sections 3.1 and 6.
"""

from __future__ import annotations

import binascii
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from core import der
from core.errors import CaError

MAX_OCTETS = 4096
"""A request for one certificate takes about 120 octets, with a nonce 260; more than this is no request."""

MAX_ASKED = 32
"""CertIDs that are read of one request: more do not fit into `MAX_OCTETS` by much, and none is answered."""

HASHES = {
    "sha1": der.oid("1.3.14.3.2.26"),
    "sha256": der.oid("2.16.840.1.101.3.4.2.1"),
}
"""CertID hashes that we answer, by the vault's name for them. SHA-1 names here, it protects nothing."""

_NONCE = der.oid("1.3.6.1.5.5.7.48.1.2")
_URL_SAFE = bytes.maketrans(b"-_ ", b"+/+")


class MalformedRequest(CaError):
    """Answered by `malformedRequest` (RFC 6960 section 4.2.1)."""


class CertId(NamedTuple):
    """The certificate asked for; `serial` is the content octets of its DER INTEGER.

    `hash_name` is "" for a hash that we do not answer: then no issuer of ours is meant.  A tuple, since a
    frozen dataclass takes three times as long to make.
    """

    hash_name: str
    name_hash: bytes
    key_hash: bytes
    serial: bytes


def of_path(tail: str | bytes) -> bytes:
    """The DER of a GET: what follows "/ocsp/" in the raw path (RFC 6960 appendix A.1).

    Clients escape '+', '/' and '=', or leave them, or escape them twice; some leave the padding out, some
    take base64url, some join the base URL with a second slash or add one at the end, and some intermediaries
    turn '+' into a blank (tests/vectors/ocsp_forms.toml says who).  All of these have one meaning only, since
    the DER of a request always begins with 'M' in base64, and its length says where it ends.
    """
    octets = tail.encode("utf-8", "replace") if isinstance(tail, str) else tail
    if len(octets) > MAX_OCTETS * 4:
        raise MalformedRequest("the path is too long for an OCSP request: use POST")
    octets = unescaped(octets)
    try:
        found = binascii.a2b_base64(octets, strict_mode=True)
        if _whole(found):
            return found
    except ValueError:
        pass  # it may still be one of the other forms
    if b"%" in octets:
        for _ in range(2):
            octets = unquote_to_bytes(octets) if b"%" in octets else octets
    octets = octets.translate(_URL_SAFE).lstrip(b"/")
    for text in (octets.rstrip(b"="), octets.removesuffix(b"/").rstrip(b"=")):
        try:
            found = binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
        except ValueError:
            continue
        if _whole(found):
            return found
    raise MalformedRequest("the path does not end in the base64 of an OCSP request")


def unescaped(tail: bytes) -> bytes:
    """Without the three escapes that nearly all clients write; another one still shows its '%'."""
    if b"%" not in tail:
        return tail
    return tail.replace(b"%2F", b"/").replace(b"%2B", b"+").replace(b"%3D", b"=")


def read(octets: bytes) -> tuple[CertId, ...]:
    """The certificates that a request asks for, one or more, in its order.

    Nonces are ignored, as RFC 9654 section 2.1 permits; so are the requestor's name and signature.

    Raises: `MalformedRequest`.
    """
    plain = _plain(octets)
    if plain is not None:
        return (plain,)
    if len(octets) > MAX_OCTETS:
        raise MalformedRequest(f"an OCSP request has at most {MAX_OCTETS} octets here")
    try:
        tbs, *signature = der.elements(der.only(octets, der.SEQUENCE).content)
        _must(tbs.tag == der.SEQUENCE and [each.tag for each in signature] in ([], [0xA0]), "OCSPRequest")
        return _asked(tbs.content)
    except ValueError as error:
        raise MalformedRequest(f"not an OCSP request: {error}") from error


def _asked(tbs: bytes) -> tuple[CertId, ...]:
    """The CertIDs of a TBSRequest.  Raises ValueError, `MalformedRequest`."""
    requestor, requests, extensions = b"", None, None
    for each in der.elements(tbs):
        # In this order, each once.  DER leaves [0] out: there is one version, the default (X.690 11.5).
        if each.tag == 0xA1 and requests is None and not requestor:
            requestor = each.encoding
        elif each.tag == der.SEQUENCE and requests is None:
            requests = list(der.elements(each.content))
        elif each.tag == 0xA2 and requests is not None and extensions is None:
            extensions = each.content
        else:
            raise ValueError(f"there is no field {each.tag:#04x} at this place of a TBSRequest")
    if not requests:
        raise MalformedRequest("the request asks for no certificate")
    if len(requests) > MAX_ASKED:
        raise MalformedRequest(f"the request asks for more than {MAX_ASKED} certificates")
    if extensions is not None:
        _must_be_understood(extensions, _NONCE)
    return tuple(_one(each) for each in requests)


def _one(request: der.Element) -> CertId:
    _must(request.tag == der.SEQUENCE, "Request")
    certificate_id, *extensions = der.elements(request.content)
    _must([each.tag for each in extensions] in ([], [0xA0]), "Request")
    if extensions:
        _must_be_understood(extensions[0].content)
    _must(certificate_id.tag == der.SEQUENCE, "CertID")
    fields = list(der.elements(certificate_id.content))
    _must([each.tag for each in fields] == _CERT_ID, "CertID")
    algorithm, name_hash, key_hash, serial = (each.content for each in fields)
    _must(len(serial) > 0 and (len(serial) == 1 or _shortest(serial)), "serialNumber")
    return CertId(_hash_name(algorithm), name_hash, key_hash, serial)


_CERT_ID = [der.SEQUENCE, der.OCTET_STRING, der.OCTET_STRING, der.INTEGER]


def _hash_name(algorithm: bytes) -> str:
    """Our name of an AlgorithmIdentifier: parameters NULL or absent (RFC 5754 section 2)."""
    oid, *parameters = der.elements(algorithm)
    _must(_is_oid(oid) and len(parameters) <= 1, "AlgorithmIdentifier")
    if parameters and parameters[0].encoding != der.NULL:
        return ""
    return next((name for name, known in HASHES.items() if oid.encoding == known), "")


def _must_be_understood(extensions: bytes, *known: bytes) -> None:
    """RFC 6960 section 4.4: what is not understood is ignored, unless it is critical."""
    found = list(der.elements(der.only(extensions, der.SEQUENCE).content))
    _must(len(found) > 0, "Extensions")
    seen = set()
    for each in found:
        _must(each.tag == der.SEQUENCE, "Extension")
        oid, *rest = der.elements(each.content)
        critical = len(rest) == 2 and rest[0].encoding == der.TRUE
        _must(_is_oid(oid) and rest[-1:] != [] and rest[-1].tag == der.OCTET_STRING, "Extension")
        _must((len(rest) == 1 or critical) and oid.content not in seen, "Extension")
        seen.add(oid.content)
        if critical and oid.encoding not in known:
            raise MalformedRequest(f"critical extension {oid.content.hex()} is not understood here")


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"this is no {what}")


def _is_oid(element: der.Element) -> bool:
    """X.690 section 8.19.2: each arc ends, and none begins with a needless octet."""
    arcs = element.content
    whole = element.tag == der.OID and len(arcs) > 0 and arcs[-1] < 0x80 and arcs[0] != 0x80
    return whole and not any(arcs[at] < 0x80 and arcs[at + 1] == 0x80 for at in range(len(arcs) - 1))


def _shortest(integer: bytes) -> bool:
    return not (integer[0] == 0 and integer[1] < 0x80) and not (integer[0] == 0xFF and integer[1] >= 0x80)


def _whole(octets: bytes) -> bool:
    """Whether these are one SEQUENCE, as far as its first octet and its length tell."""
    if len(octets) < 2 or octets[0] != der.SEQUENCE:
        return False
    if octets[1] < 0x80:
        return len(octets) == 2 + octets[1]
    count = octets[1] & 0x7F
    return len(octets) == 2 + count + int.from_bytes(octets[2 : 2 + count], "big")


class _Form(NamedTuple):
    """A request for one certificate and nothing else: what is before its hashes, and where its parts are."""

    prefix: bytes
    hash_name: str
    name: int
    key: int
    serial: int
    end: int


def _forms() -> dict[bytes, _Form]:
    """All of them by their first octets."""
    found = {}
    for name, digest in (("sha1", 20), ("sha256", 32)):
        for parameters in (b"", der.NULL):
            for serial in range(1, 21):
                hashed = der.octet_string(bytes(digest))
                whole = der.sequence(
                    der.sequence(HASHES[name], parameters),
                    hashed,
                    hashed,
                    der.tlv(der.INTEGER, bytes(serial)),
                )
                for _ in range(4):
                    whole = der.sequence(whole)
                start = whole.index(hashed) + 2
                key = start + digest + 2
                found[whole[:_KEY]] = _Form(whole[:start], name, start, key, key + digest + 2, len(whole))
    return found


_KEY = 12
"""Octets: the heads of five SEQUENCEs and of the AlgorithmIdentifier, with all lengths."""

_FORMS = _forms()


def _plain(octets: bytes) -> CertId | None:
    """The CertID of a request that holds nothing else, which nearly all do; None for every other.

    What it reads `read` would read as well, at six times the cost.
    """
    form = _FORMS.get(octets[:_KEY])
    if form is None:
        return None
    prefix, hash_name, name, key, serial, end = form
    if len(octets) != end or not octets.startswith(prefix):
        return None
    # The hashes have one length, and so the same head; the serial has the length that is left.
    if octets[key - 2 : key] != prefix[-2:] or octets[serial - 2] != der.INTEGER:
        return None
    length = octets[serial - 1]
    if length != end - serial or (length > 1 and not _shortest(octets[serial : serial + 2])):
        return None
    return CertId(hash_name, octets[name : key - 2], octets[key : serial - 2], octets[serial:])
