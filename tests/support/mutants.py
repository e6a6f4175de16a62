"""Certificates changed at random, for tests that two ways to judge a certificate agree."""

from __future__ import annotations

import random
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core import der

STRANGE_EXTENSIONS = [
    der.extension("2.5.29.14", der.octet_string(bytes(20))),
    der.extension(
        "2.5.29.30", der.sequence(der.explicit(0, der.sequence(der.implicit(2, b"x")))), critical=True
    ),
    der.extension("2.5.29.37", der.sequence(der.oid("1.3.6.1.5.5.7.3.8")), critical=True),
    der.extension("2.5.29.37", der.sequence(der.oid("1.3.6.1.5.5.7.3.2"), der.oid("2.5.29.37.0"))),
    der.extension("2.5.29.32", der.sequence(der.sequence(der.oid("2.23.140.1.1")))),
    der.extension("2.5.29.19", der.sequence(der.TRUE), critical=True),
    der.extension("2.5.29.17", der.sequence(der.implicit(2, b"a_b.localhost"), der.implicit(7, b"abc"))),
    der.extension("2.5.29.17", der.sequence(der.implicit(6, b"ldap://x"), der.implicit(1, b"a@b"))),
    der.extension("2.5.29.31", der.sequence(der.sequence()), critical=True),
    der.extension("1.3.6.1.5.5.7.1.3", der.sequence(der.sequence(der.oid("0.4.0.1862.1.1")))),
    der.extension("1.3.6.1.4.1.11129.2.4.3", der.NULL, critical=True),
    der.extension("1.3.6.1.5.5.7.48.1.5", der.NULL),
    der.extension("1.2.3.4", b""),
]

TIMES = [
    der.tlv(der.UTC_TIME, b"260314235959Z"),
    der.tlv(der.UTC_TIME, b"260315000000Z"),
    der.tlv(der.UTC_TIME, b"261124000000Z"),
    der.tlv(der.UTC_TIME, b"270222000000Z"),
    der.tlv(der.UTC_TIME, b"270612000000Z"),
    der.tlv(der.UTC_TIME, b"2611240000Z"),
    der.tlv(der.UTC_TIME, b"261399000000Z"),
    der.tlv(der.UTC_TIME, b"nonsense"),
    der.tlv(der.GENERALIZED_TIME, b"20261124000000Z"),
    der.tlv(der.GENERALIZED_TIME, b"20570101000000Z"),
]
SERIALS = [b"", b"\x00", b"\x01", b"\xff", b"\x00\x01", b"\x7f" * 20, b"\x00" + b"\x80" * 20, b"\x01" * 21]
NAMES = [
    *(der.implicit(2, text) for text in (b"www.acme-shop.com", b"*.acme-shop.com", b"a.b.c.acme-shop.co.jp")),
    *(
        der.implicit(2, text)
        for text in (b"", b"localhost", b"a_b.acme-shop.com", b"-a.acme-shop.com", b"*.com", b"com")
    ),
    *(
        der.implicit(2, text)
        for text in (b"xn--a.com", b"ab--c.com", b"xn--bcher-kva.com", b"x.in-addr.arpa", b"a..com")
    ),
    *(
        der.implicit(2, text)
        for text in (b"\xc3\xa4.com", b"A.COM", b"a.com.", b"a\x00.com", b"x.onion", b"w" * 64 + b".com")
    ),
    der.implicit(2, b".".join([b"w" * 60] * 5) + b".com"),
    *(
        der.implicit(7, address)
        for address in (b"\x01\x02\x03\x04", bytes(16), b"\x0a\x00\x00\x01", b"abc", b"")
    ),
    der.implicit(1, b"a@acme-shop.com"),
    der.implicit(6, b"http://www.acme-shop.com/"),
    der.explicit(4, der.sequence()),
    der.explicit(0, der.sequence()),
    der.tlv(0xA0, der.oid("1.2.3") + der.explicit(0, der.NULL)),
    der.NULL,
]
KEYS = [
    ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    for curve in (ec.SECP256R1(), ec.SECP256R1(), ec.SECP384R1())
]


def mutated(octets: bytes, chance: random.Random) -> bytes:
    """One to three changes: extensions added, dropped, doubled, moved, made critical; or an octet changed."""
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.3:
            changed = bytearray(octets)
            changed[chance.randrange(len(changed))] ^= chance.randrange(1, 256)
            octets = bytes(changed)
            continue
        try:
            octets = with_other_extensions(octets, chance)
        except (ValueError, IndexError):
            continue
    return octets


def with_other_extensions(octets: bytes, chance: random.Random) -> bytes:
    tbs, *rest = [element.encoding for element in der.elements(der.only(octets, der.SEQUENCE).content)]
    *fields, last = [element.encoding for element in der.elements(der.only(tbs, der.SEQUENCE).content)]
    outer = der.only(der.only(last, 0xA3).content, der.SEQUENCE)
    extensions = [element.encoding for element in der.elements(outer.content)]
    position = chance.randrange(len(extensions))
    match chance.randrange(5):
        case 0:
            extensions.insert(position, chance.choice(STRANGE_EXTENSIONS))
        case 1:
            del extensions[position]
        case 2:
            extensions.append(extensions[position])
        case 3:
            chance.shuffle(extensions)
        case 4:
            parts = [part.encoding for part in der.elements(der.only(extensions[position], 0x30).content)]
            parts = [parts[0], der.TRUE, parts[1]] if len(parts) == 2 else [parts[0], parts[2]]
            extensions[position] = der.sequence(*parts)
    return der.sequence(der.sequence(*fields, der.explicit(3, der.sequence(*extensions))), *rest)


def with_other_fields(octets: bytes, chance: random.Random) -> bytes:
    """The same profile, as another subscriber would have it: other serial, times, key, names, SCTs, key id.

    Raises ValueError when the certificate has been changed too much to be taken apart.
    """
    tbs, *rest = [element.encoding for element in der.elements(der.only(octets, der.SEQUENCE).content)]
    fields = [element.encoding for element in der.elements(der.only(tbs, der.SEQUENCE).content)]
    at = next(number for number, field in enumerate(fields) if field[0] == der.INTEGER)
    if chance.random() < 0.7:
        fields[at] = der.tlv(der.INTEGER, chance.choice([*SERIALS, chance.randbytes(16)]))
    if chance.random() < 0.4:
        fields[at + 3] = der.sequence(chance.choice(TIMES), chance.choice(TIMES))
    algorithm, bits = der.elements(der.only(fields[at + 5], der.SEQUENCE).content)
    if chance.random() < 0.4:
        bits_content = b"\x00" + chance.choice(
            [*KEYS, b"", bits.content[1:-1], b"\x04" + chance.randbytes(64)]
        )
        fields[at + 5] = der.sequence(algorithm.encoding, der.tlv(der.BIT_STRING, bits_content))
    extensions = [
        _with_other_value(extension.encoding, chance)
        for extension in der.elements(der.only(der.only(fields[-1], 0xA3).content, der.SEQUENCE).content)
    ]
    return der.sequence(der.sequence(*fields[:-1], der.explicit(3, der.sequence(*extensions))), *rest)


def _with_other_value(extension: bytes, chance: random.Random) -> bytes:
    parts = [part.encoding for part in der.elements(der.only(extension, der.SEQUENCE).content)]
    oid, critical = parts[0], parts[1:-1]
    make = _VALUES.get(oid)
    if make is None or chance.random() < 0.2:
        return extension
    return der.sequence(oid, *critical, der.octet_string(make(chance)))


def _names(chance: random.Random) -> bytes:
    # Mostly names that are in order, as many as may be: odd ones are seen best among them.
    count = chance.choice([0, 1, 1, 2, 5, 30])
    names = [der.implicit(2, chance.randbytes(4).hex().encode() + b".acme-shop.com") for _ in range(count)]
    names += chance.sample(NAMES, chance.choice([0, 0, 1, 2]))
    chance.shuffle(names)
    return der.sequence(*names) + chance.choice([b"", b"", b"", b"\x00"])


def _key_id(chance: random.Random) -> bytes:
    return chance.choice([der.octet_string(chance.randbytes(20)), der.octet_string(b""), der.NULL])


def sct_list(chance: random.Random) -> bytes:
    """A SignedCertificateTimestampList of RFC 6962, sometimes with a wrong length."""
    scts = b""
    for _ in range(chance.choice([0, 1, 2, 3])):
        sct = b"\x00" + chance.randbytes(32) + (1795478400000).to_bytes(8, "big") + b"\x00\x00\x04\x03"
        scts += (len(sct) + 74).to_bytes(2, "big") + sct + b"\x00\x48" + chance.randbytes(72)
    length = len(scts) + chance.choice([0, 0, 0, 1])
    return der.octet_string(length.to_bytes(2, "big") + scts)


_VALUES: dict[bytes, Callable[[random.Random], bytes]] = {
    der.oid("2.5.29.17"): _names,
    der.oid("2.5.29.14"): _key_id,
    der.oid("1.3.6.1.4.1.11129.2.4.2"): sct_list,
}
