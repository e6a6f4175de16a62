"""A vault whose builder errs: each field of a leaf's TBSCertificate changed, as the issuance id asks.

`python -c "from tests.support.tbs_mutants import main; main()" vault ...` is the real vault process with
nothing else changed than what `leaf.build_tbs` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core import der
from tests.support.mutants import KEYS, SERIALS, STRANGE_EXTENSIONS, TIMES

PREFIX = "mutant."
CRL_BASE = 1 << 40
OCSP_PREFIX = b"\x5amutant of ocsp"
PROGRAM = ("-c", "from tests.support.tbs_mutants import main; raise SystemExit(main())")

FIELDS = ("version", "serial", "signature", "issuer", "validity", "subject", "key", "extensions")
EXTENSIONS = 7
"""In the leaf of the default profile: key usage, EKU, basic constraints, AKI, AIA, CRLDP, SAN."""

_CRITICAL = 3
Mutation = Callable[[bytes], bytes]


def main() -> int:
    """The vault's process with the erring builder."""
    from operations import process
    from signer.vault.templates import leaf

    build = leaf.build_tbs

    def erring(issuer: object, profile: object, request: object) -> bytes:
        tbs = build(issuer, profile, request)  # type: ignore[arg-type]
        name = request.issuance_id  # type: ignore[attr-defined]
        return mutated(name.removeprefix(PREFIX), tbs) if name.startswith(PREFIX) else tbs

    leaf.build_tbs = erring  # type: ignore[assignment]
    _err_about_status()
    return process.main()


def _err_about_status() -> None:
    """A CRL above number CRL_BASE and an OCSP answer for a serial with OCSP_PREFIX have one octet changed."""
    from signer.vault.templates import crl, ocsp

    build_crl, build_ocsp = crl.build_tbs, ocsp.build_tbs

    def erring_crl(issuer: object, number: int, *others: object, **named: object) -> bytes:
        if number < CRL_BASE:
            return build_crl(issuer, number, *others, **named)  # type: ignore[arg-type]
        honest = build_crl(issuer, number, *others, **named)  # type: ignore[arg-type]
        return mutated(f"octet-{(number - CRL_BASE) % len(honest)}", honest)

    def erring_ocsp(
        issuer: object, key_hash: object, not_after: object, requests: tuple[object, ...], now: object
    ) -> bytes:
        honest = build_ocsp(issuer, key_hash, not_after, requests, now)  # type: ignore[arg-type]
        serial = requests[0].serial  # type: ignore[attr-defined]
        if not serial.startswith(OCSP_PREFIX):
            return honest
        return mutated(f"octet-{int.from_bytes(serial[-2:]) % len(honest)}", honest)

    crl.build_tbs = erring_crl  # type: ignore[assignment]
    ocsp.build_tbs = erring_ocsp  # type: ignore[assignment]


def mutated(name: str, tbs: bytes) -> bytes:
    """The TBSCertificate with one thing changed: `name` is of MUTANTS, or "octet-N"."""
    if name.startswith("octet-"):
        changed = bytearray(tbs)
        changed[int(name.removeprefix("octet-"))] ^= 0x01
        return bytes(changed)
    made = MUTANTS[name](tbs)
    assert made != tbs, name
    return made


def _field(name: str, change: Callable[[bytes], bytes]) -> Mutation:
    def mutation(tbs: bytes) -> bytes:
        fields = _parts(tbs)
        position = FIELDS.index(name)
        return der.sequence(*fields[:position], change(fields[position]), *fields[position + 1 :])

    return mutation


def _extensions(change: Callable[[list[bytes]], list[bytes]]) -> Mutation:
    def replaced(field: bytes) -> bytes:
        listed = _parts(der.only(field, 0xA3).content)
        return der.explicit(3, der.sequence(*change(listed)))

    return _field("extensions", replaced)


def _extension(position: int, change: Callable[[Sequence[bytes]], list[bytes]]) -> Mutation:
    return _extensions(
        lambda listed: [
            der.sequence(*change(_parts(extension))) if number == position else extension
            for number, extension in enumerate(listed)
        ]
    )


def _flipped(parts: Sequence[bytes]) -> list[bytes]:
    return [parts[0], parts[2]] if len(parts) == _CRITICAL else [parts[0], der.TRUE, parts[1]]


def _other_octet(at: int) -> Callable[[Sequence[bytes]], list[bytes]]:
    def change(parts: Sequence[bytes]) -> list[bytes]:
        value = bytearray(der.only(parts[-1], der.OCTET_STRING).content)
        value[at] ^= 0x01
        return [*parts[:-1], der.octet_string(bytes(value))]

    return change


def _swapped(position: int) -> Callable[[list[bytes]], list[bytes]]:
    def change(listed: list[bytes]) -> list[bytes]:
        listed[position], listed[position + 1] = listed[position + 1], listed[position]
        return listed

    return change


def _times(position: int, time: bytes) -> Callable[[bytes], bytes]:
    def change(field: bytes) -> bytes:
        both = _parts(field)
        both[position] = time
        return der.sequence(*both)

    return change


def _with_other_key(field: bytes) -> bytes:
    algorithm, _ = _parts(field)
    return der.sequence(algorithm, der.bit_string(KEYS[0]))


def _parts(sequence: bytes) -> list[bytes]:
    return [part.encoding for part in der.elements(der.only(sequence, der.SEQUENCE).content)]


MUTANTS: dict[str, Mutation] = {
    "version-1": lambda tbs: der.sequence(*_parts(tbs)[1:]),
    "version-2": _field("version", lambda _: der.explicit(0, der.integer(1))),
    "version-4": _field("version", lambda _: der.explicit(0, der.integer(3))),
    "signature-of-rsa": _field("signature", lambda _: der.algorithm("1.2.840.113549.1.1.11", der.NULL)),
    "signature-with-null": _field("signature", lambda f: der.sequence(*_parts(f), der.NULL)),
    "issuer-empty": _field("issuer", lambda _: der.sequence()),
    "issuer-reordered": _field("issuer", lambda f: der.sequence(*reversed(_parts(f)))),
    "subject-named": _field(
        "subject",
        lambda _: der.sequence(
            der.tlv(0x31, der.sequence(der.oid("2.5.4.3"), der.tlv(0x0C, b"shop.localhost")))
        ),
    ),
    "key-of-another": _field("key", _with_other_key),
    "extensions-none": lambda tbs: der.sequence(*_parts(tbs)[:-1]),
    "extensions-empty": _extensions(lambda _: []),
    "extensions-twice": lambda tbs: der.sequence(*_parts(tbs), _parts(tbs)[-1]),
    "unique-id": lambda tbs: der.sequence(*_parts(tbs)[:-1], b"\x81\x02\x00\x01", _parts(tbs)[-1]),
    "trailing-octet": lambda tbs: tbs + b"\x00",
    "trailing-field": lambda tbs: der.sequence(*_parts(tbs), der.NULL),
    "fields-reordered": lambda tbs: der.sequence(
        *_parts(tbs)[:5], *reversed(_parts(tbs)[5:7]), _parts(tbs)[7]
    ),
    **{
        f"serial-{n}": _field("serial", lambda _, s=s: der.tlv(der.INTEGER, s)) for n, s in enumerate(SERIALS)
    },
    **{f"not-before-{n}": _field("validity", _times(0, time)) for n, time in enumerate(TIMES)},
    **{f"not-after-{n}": _field("validity", _times(1, time)) for n, time in enumerate(TIMES)},
    **{
        f"extra-{n}-{place}": _extensions(
            lambda listed, e=e, place=place: [*listed[:place], e, *listed[place:]]
        )
        for n, e in enumerate(STRANGE_EXTENSIONS)
        for place in (0, EXTENSIONS)
    },
    **{
        f"missing-{n}": _extensions(lambda listed, n=n: listed[:n] + listed[n + 1 :])
        for n in range(EXTENSIONS)
    },
    **{f"doubled-{n}": _extensions(lambda listed, n=n: [*listed, listed[n]]) for n in range(EXTENSIONS)},
    **{f"reordered-{n}": _extensions(_swapped(n)) for n in range(EXTENSIONS - 1)},
    **{f"critical-{n}": _extension(n, _flipped) for n in range(EXTENSIONS)},
    **{f"oid-{n}": _extension(n, lambda parts: [der.oid("1.2.3.4"), *parts[1:]]) for n in range(EXTENSIONS)},
    **{f"first-octet-{n}": _extension(n, _other_octet(0)) for n in range(EXTENSIONS)},
    **{
        f"empty-{n}": _extension(n, lambda parts: [*parts[:-1], der.octet_string(b"")])
        for n in range(EXTENSIONS)
    },
}
"""By name.  Beside these the test changes every single octet."""
