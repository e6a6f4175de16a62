"""core/public_keys.py: keys that are weak, odd or oddly encoded are refused with a reason."""

from __future__ import annotations

import hashlib
import sys

import gmpy2
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from core import der, public_keys
from core.public_keys import WeakKey
from tests.support.software_ca import private_key, spki


def rsa_spki(modulus: int, exponent: int = 65537, parameters: bytes = der.NULL) -> bytes:
    key = der.sequence(der.integer(modulus), der.integer(exponent))
    return der.sequence(der.algorithm("1.2.840.113549.1.1.1", parameters), der.bit_string(key))


def ec_spki(curve: bytes, point: bytes) -> bytes:
    return der.sequence(der.sequence(der.oid("1.2.840.10045.2.1"), curve), der.bit_string(point))


def modulus_of(algorithm: str) -> int:
    numbers = private_key(algorithm).public_key().public_numbers()
    assert isinstance(numbers, rsa.RSAPublicNumbers)
    return numbers.n


P256 = der.oid("1.2.840.10045.3.1.7")
POINT = private_key("ec-p256").public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@pytest.mark.clause("BR 6.1.5")
@pytest.mark.parametrize("algorithm", ["rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521"])
def test_keys_of_the_allowed_kinds_are_accepted(algorithm: str) -> None:
    octets = spki(private_key(algorithm))
    assert public_keys.check(octets) == public_keys.KeyInfo(algorithm, hashlib.sha256(octets).digest())


@pytest.mark.clause("BR 6.1.5")
@pytest.mark.parametrize("size", [1024, 2056, 2047, 4104])
def test_rsa_keys_of_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(WeakKey, match=f"{size} bits"):
        public_keys.check(spki(rsa.generate_private_key(65537, size)))


@pytest.mark.clause("BR 6.1.6")
@pytest.mark.parametrize("exponent", [3, 17, 65536, 65538, 2**256 + 1])
def test_rsa_exponents_outside_the_range_are_refused(exponent: int) -> None:
    with pytest.raises(WeakKey):
        public_keys.check(rsa_spki(modulus_of("rsa-2048"), exponent))


def test_a_large_but_allowed_exponent_is_accepted() -> None:
    assert public_keys.check(rsa_spki(modulus_of("rsa-2048"), 2**40 + 15)).algorithm == "rsa-2048"


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP224R1()),
        dsa.generate_private_key(1024),
    ],
    ids=["ed25519", "secp256k1", "p224", "dsa"],
)
def test_keys_of_other_kinds_are_refused(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey,
) -> None:
    with pytest.raises(WeakKey):
        public_keys.check(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.clause("BR 6.1.1.3")
def test_a_key_with_close_primes_is_refused() -> None:
    first = gmpy2.next_prime(gmpy2.isqrt(gmpy2.mpz(3) << 2046))
    with pytest.raises(WeakKey, match="Fermat"):
        public_keys.check(rsa_spki(int(first * gmpy2.next_prime(first + 1000))))


@pytest.mark.clause("BR 6.1.1.3")
def test_a_key_of_the_roca_form_is_refused() -> None:
    primorial = 1
    for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83):
        primorial *= prime
    for prime in (89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167):
        primorial *= prime

    def roca_prime(seed: int) -> gmpy2.mpz:
        residue = gmpy2.powmod(65537, seed, primorial)
        candidate = (gmpy2.mpz(seed) << 1000 | gmpy2.mpz(3) << 1022) // primorial * primorial + residue
        while not gmpy2.is_prime(candidate):
            candidate += primorial
        return candidate

    product = int(roca_prime(1234567) * roca_prime(7654321))
    assert product.bit_length() == 2048
    with pytest.raises(WeakKey, match="ROCA"):
        public_keys.check(rsa_spki(product))


@pytest.mark.clause("BR 6.1.6")
@pytest.mark.parametrize("factor", [3, 751, 65537])
def test_a_key_with_a_small_factor_is_refused(factor: int) -> None:
    other = (1 << 2047) // factor + 12345
    with pytest.raises(WeakKey, match="small factor"):
        public_keys.check(rsa_spki((other | 1) * factor))


@pytest.mark.clause("BR 7.1.3.1.1")
def test_an_rsa_key_without_the_null_parameter_is_refused() -> None:
    with pytest.raises(WeakKey):
        public_keys.check(rsa_spki(modulus_of("rsa-2048"), parameters=b""))


@pytest.mark.clause("BR 7.1.3.1.2")
@pytest.mark.parametrize(
    "octets",
    [
        ec_spki(P256, b"\x00"),  # infinity
        ec_spki(P256, POINT[:-1] + bytes((POINT[-1] ^ 1,))),  # off the curve
        ec_spki(P256, b"\x04" + bytes(64)),
        ec_spki(P256, bytes((2 + (POINT[-1] & 1),)) + POINT[1:33]),  # compressed
        ec_spki(P256, POINT + b"\x00"),
        ec_spki(der.oid("1.3.132.0.34"), POINT),  # the point of another curve
        ec_spki(der.NULL, POINT),
        ec_spki(der.sequence(der.integer(1)), POINT),  # explicit parameters, cut short
        ec_spki(P256, POINT) + b"\x00",
    ],
    ids=["infinity", "off", "zero", "compressed", "long", "curve", "implicit", "explicit", "trailing"],
)
def test_odd_points_and_parameters_are_refused(octets: bytes) -> None:
    with pytest.raises(WeakKey):
        public_keys.check(octets)


def test_a_giant_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(WeakKey, match="longer"):
        public_keys.check(rsa_spki((1 << 16384) + 1))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_anything_else_is_refused_without_a_crash(octets: bytes) -> None:
    with pytest.raises(WeakKey):
        public_keys.check(octets)


def test_the_module_brings_no_web_sql_or_dns_into_the_vault() -> None:
    import subprocess

    program = "import core.public_keys, sys; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"aiohttp", "sqlite3", "redis", "dns", "requests", "urllib3"}.intersection(modules)
