"""Keys that may not be certified, one of each kind, with a CSR that each RSA key among them truly signs.

Made here from small seeds: none of them was ever anybody's.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache

import gmpy2
from cryptography import x509

from core import der

P256 = der.oid("1.2.840.10045.3.1.7")
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
_G += "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
POINT = bytes.fromhex(_G)


@dataclass(frozen=True)
class Weak:
    """A SubjectPublicKeyInfo, what its refusal says, and the private exponent of an RSA key."""

    spki: bytes
    why: str
    modulus: int = 0
    private: int = 0

    def csr(self, name: str) -> bytes:
        """A PKCS#10 request, signed with the key if it is an RSA key."""
        san = x509.SubjectAlternativeName([x509.DNSName(name)]).public_bytes()
        extensions = der.sequence(der.extension("2.5.29.17", san))
        attribute = der.sequence(der.oid("1.2.840.113549.1.9.14"), der.set_of(extensions))
        info = der.sequence(der.integer(0), der.sequence(), self.spki, der.explicit(0, attribute))
        algorithm, signature = der.algorithm("1.2.840.10045.4.3.2"), bytes(8)
        if self.modulus:
            algorithm = der.algorithm("1.2.840.113549.1.1.11", der.NULL)
            signature = self._signature(info)
        return der.sequence(info, algorithm, der.bit_string(signature))

    def _signature(self, octets: bytes) -> bytes:
        """PKCS#1 v1.5 with SHA-256, by hand: no library holds such a private key."""
        size = (self.modulus.bit_length() + 7) // 8
        name = der.sequence(
            der.algorithm("2.16.840.1.101.3.4.2.1", der.NULL),
            der.octet_string(hashlib.sha256(octets).digest()),
        )
        padded = b"\x00\x01" + b"\xff" * (size - len(name) - 3) + b"\x00" + name
        return int(gmpy2.powmod(int.from_bytes(padded), self.private, self.modulus)).to_bytes(size, "big")


def rsa_spki(modulus: int, exponent: int = 65537) -> bytes:
    key = der.sequence(der.integer(modulus), der.integer(exponent))
    return der.sequence(der.algorithm("1.2.840.113549.1.1.1", der.NULL), der.bit_string(key))


def ec_spki(parameters: bytes, point: bytes) -> bytes:
    return der.sequence(der.sequence(der.oid("1.2.840.10045.2.1"), parameters), der.bit_string(point))


@cache
def prime(bits: int, seed: int) -> int:
    """A prime whose two highest bits are set, so that a product of two has all its bits."""
    start = random.Random(seed).getrandbits(bits) | 3 << bits - 2
    return int(gmpy2.next_prime(start))


def rsa(why: str, *factors: int, exponent: int = 65537) -> Weak:
    """The RSA key with these prime factors, repeated ones for a power."""
    modulus, totient = 1, 1
    for factor in factors:
        totient *= factor if modulus % factor == 0 else factor - 1
        modulus *= factor
    return Weak(rsa_spki(modulus, exponent), why, modulus, int(gmpy2.invert(exponent, totient)))


@cache
def weak_keys() -> dict[str, Weak]:
    """By the name of the weakness."""
    p, q = prime(1024, 1), prime(1024, 2)
    # Factored by Fermat's method in its 99th round: b^2 = 2 * 99 * a.
    a, half = prime(1024, 3), int(gmpy2.isqrt(198 * prime(1024, 3)))
    sparse = int(gmpy2.next_prime(3 << 1022 | 1 << 700)), int(gmpy2.next_prime(3 << 1022 | 1 << 500))
    return {
        "1024 bits": rsa("1024 bits", prime(512, 4), prime(512, 5)),
        "2040 bits": rsa("2040 bits", prime(1020, 6), prime(1020, 7)),
        "exponent 3": rsa("exponent", *_with_exponent(3), exponent=3),
        "exponent 257": rsa("exponent", p, q, exponent=257),
        "exponent 2^256 + 1": rsa("exponent", p, q, exponent=2**256 + 1),
        "factor 751": rsa("small factor", 751, prime(2038, 8)),
        "factor 65521": rsa("small factor", 65521, prime(2032, 9)),
        "close primes": rsa("Fermat", p, int(gmpy2.next_prime(p))),
        "close primes, round 99": rsa(
            "Fermat", int(gmpy2.next_prime(a - half)), int(gmpy2.next_prime(a + half))
        ),
        "a square": rsa("prime or a power", p, p),
        "a cube": rsa("prime or a power", *[prime(683, 12)] * 3),
        "ROCA": rsa("ROCA", _roca(1234567), _roca(7654321)),
        "a broken generator": rsa("broken key generator", *sparse),
        "a pattern": rsa("pattern", *_patterned()),
    }


def prime_modulus() -> Weak:
    """What takes milliseconds to see: only the registration authority looks."""
    seed = 20
    while prime(2048, seed) % 65537 == 1:
        seed += 1
    return rsa("prime or a power", prime(2048, seed))


def odd_curve_keys() -> dict[str, Weak]:
    """Elliptic curve keys that are none, or not written as BR 7.1.3.1.2 demands."""
    field = der.sequence(der.oid("1.2.840.10045.1.1"), der.integer(_P))
    curve = der.sequence(
        der.octet_string((_P - 3).to_bytes(32, "big")), der.octet_string(_B.to_bytes(32, "big"))
    )
    domain = (field, curve, der.octet_string(POINT), der.integer(_N), der.integer(1))
    compressed = bytes((2 + (POINT[-1] & 1),)) + POINT[1:33]
    return {
        "explicit parameters": Weak(ec_spki(der.sequence(der.integer(1), *domain), POINT), "key"),
        "a point off the curve": Weak(ec_spki(P256, POINT[:-1] + bytes((POINT[-1] ^ 1,))), "key"),
        "infinity": Weak(ec_spki(P256, b"\x00"), "key"),
        "a point of another curve": Weak(ec_spki(der.oid("1.3.132.0.34"), POINT), "key"),
        "a compressed point": Weak(ec_spki(P256, compressed), "key"),
        "secp256k1": Weak(ec_spki(der.oid("1.3.132.0.10"), POINT), "key"),
        "Ed25519": Weak(der.sequence(der.sequence(der.oid("1.3.101.112")), der.bit_string(bytes(32))), "key"),
    }


def _with_exponent(exponent: int) -> tuple[int, int]:
    found = [each for each in (prime(1024, seed) for seed in range(30, 60)) if (each - 1) % exponent]
    return found[0], found[1]


def _roca(seed: int) -> int:
    """A prime of the form k * M + (65537^a mod M), M a primorial (CVE-2017-15361)."""
    primorial = gmpy2.primorial(167)
    residue = gmpy2.powmod(65537, seed, primorial)
    candidate = (gmpy2.mpz(seed) << 1000 | gmpy2.mpz(3) << 1022) // primorial * primorial + residue
    while not gmpy2.is_prime(candidate):
        candidate += primorial
    return int(candidate)


def _patterned() -> tuple[int, int]:
    """Two primes whose product begins with 32 equal octets."""
    first = prime(1024, 40)
    return first, int(gmpy2.next_prime((int.from_bytes(b"\xaa" * 256)) // first))
