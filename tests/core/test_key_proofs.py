"""core/key_proofs.py: what proves that a key is compromised, and what does not; by the real openssl."""

from __future__ import annotations

import contextlib
import json
import subprocess
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from core import der, key_proofs
from core.key_proofs import NoProof, Proof, beginning
from status.pages import evidence
from tests.support import acme_client
from tests.support.acme_client import b64, ec_key, jwk

CA = "http://ca.test"
CHALLENGE = beginning(CA) + "2026-11-23T00:00:00Z | AAAAAAAAAAAAAAAAAAAAAA"
RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Any] = {
    "rsa": RSA,
    **{c.name: ec_key(c) for c in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())},
}

each_key = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)


class AnyTime:
    """Every challenge is fresh here."""

    def fresh(self) -> str:
        return CHALLENGE

    def require_fresh(self, challenge: str) -> None:
        pass


def proof_of(sent: bytes, *keys: Any) -> Proof:
    found = evidence.proof_of(
        bytearray(sent), CHALLENGE, AnyTime(), [key_proofs.spki_of(k.public_key()) for k in keys]
    )
    key_proofs.check(found, CA)
    return found


def openssl(directory: Path, *words: str) -> bytes:
    return subprocess.run(["openssl", *words], cwd=directory, capture_output=True, check=True).stdout


def write_key(directory: Path, key: Any) -> None:
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "key.pem").write_bytes(octets)


@pytest.mark.clause("BR 4.9.12")
@each_key
@pytest.mark.parametrize("end", ["", "\n"])
def test_what_the_page_says_to_type_is_a_proof(tmp_path: Path, key: Any, end: str) -> None:
    write_key(tmp_path, key)
    (tmp_path / "challenge.txt").write_text(CHALLENGE + end)
    openssl(tmp_path, *["dgst", "-sha256", "-sign", "key.pem", "-out", "proof.sig", "challenge.txt"])
    found = proof_of(openssl(tmp_path, *["base64", "-in", "proof.sig"]), ec_key(), key)
    assert found.spki == key_proofs.spki_of(key.public_key())
    assert proof_of((tmp_path / "proof.sig").read_bytes(), key) == found
    csr = openssl(
        tmp_path, *["req", "-new", "-sha256", "-key", "key.pem", "-subj"], "/CN=Proof of Key Compromise"
    )
    assert proof_of(csr).spki == found.spki


@pytest.mark.clause("BR 4.9.12")
def test_pss_is_a_proof(tmp_path: Path) -> None:
    write_key(tmp_path, RSA)
    (tmp_path / "challenge.txt").write_text(CHALLENGE)
    words = "dgst -sha384 -sigopt rsa_padding_mode:pss -sign key.pem challenge.txt"
    proof_of(openssl(tmp_path, *words.split()), RSA)


@pytest.mark.clause("BR 4.9.12")
@each_key
@pytest.mark.parametrize("form", ["compact", "flattened"])
def test_a_jws_is_a_proof(key: Any, form: str) -> None:
    made = acme_client.sign(key, {"alg": acme_client.algorithm(key), "jwk": jwk(key)}, CHALLENGE.encode())
    text = ".".join(made.values()) if form == "compact" else json.dumps(made)
    assert proof_of(text.encode()).spki == key_proofs.spki_of(key.public_key())


FORMS: dict[str, Callable[[Any], bytes]] = {
    "pkcs8": lambda k: k.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    "pkcs8-der": lambda k: k.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    "traditional": lambda k: k.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    "traditional-der": lambda k: k.private_bytes(
        Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ),
    "openssh": lambda k: k.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
}


@pytest.mark.clause("BR 4.9.12")
@each_key
@pytest.mark.parametrize("form", FORMS)
def test_a_private_key_in_any_form_is_a_proof_and_not_in_it(key: Any, form: str) -> None:
    octets = FORMS[form](key)
    found = proof_of(octets)
    assert found.spki == key_proofs.spki_of(key.public_key())
    numbers = key.private_numbers()
    secret = numbers.d if isinstance(key, rsa.RSAPrivateKey) else numbers.private_value
    digits = secret.to_bytes((secret.bit_length() + 7) // 8, "big")
    assert digits not in found.signed + found.signature + found.spki


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
def test_an_encrypted_key_is_refused_with_the_remedy(form: str) -> None:
    format_ = {
        "pkcs8": PrivateFormat.PKCS8,
        "traditional": PrivateFormat.TraditionalOpenSSL,
    }[form]
    octets = RSA.private_bytes(Encoding.PEM, format_, serialization.BestAvailableEncryption(b"secret"))
    with pytest.raises(NoProof, match="openssl pkey"):
        proof_of(octets)


def test_a_private_key_whose_numbers_do_not_fit_proves_nothing() -> None:
    n = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    good = RSA.private_numbers()
    numbers = (0, n, 65537, good.d, good.p, good.q, good.dmp1, good.dmq1, good.iqmp)
    octets = der.sequence(*map(der.integer, numbers))
    with pytest.raises(NoProof):
        proof_of(octets)


@pytest.mark.parametrize(
    "csr",
    [
        acme_client.csr(ec_key(), [], common_name="www.ca.example"),
        acme_client.csr(ec_key(), ["www.ca.example"]),
        acme_client.csr(ec_key(), [], common_name="Proof of Key Compromise")[:-1] + b"\0",
    ],
)
def test_a_csr_that_says_nothing_of_it_or_is_bent_proves_nothing(csr: bytes) -> None:
    with pytest.raises(NoProof):
        proof_of(csr)


@pytest.mark.parametrize("size", [1024, 8192])
def test_a_key_that_we_never_certify_is_refused_before_its_signature_is_looked_at(size: int) -> None:
    numbers = rsa.RSAPublicNumbers(65537, (1 << size - 1) + 1)
    spki = numbers.public_key().public_bytes(Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(NoProof, match="P-521"):
        key_proofs.public_key(spki)


@pytest.mark.parametrize(
    "bend",
    [
        lambda h: {**h, "alg": "none"},
        lambda h: {**h, "alg": "HS256"},
        lambda h: {**h, "alg": "ES384"},
        lambda h: {**h, "crit": ["b64"]},
        lambda h: {"alg": h["alg"]},
        lambda h: {**h, "jwk": {**h["jwk"], "d": b64(b"1" * 32)}},
        lambda h: {**h, "jwk": jwk(ec_key())},
        lambda h: [],
    ],
)
def test_a_bent_jws_proves_nothing(bend: Any) -> None:
    key = KEYS["secp256r1"]
    made = acme_client.sign(key, bend({"alg": "ES256", "jwk": jwk(key)}), CHALLENGE.encode())
    with pytest.raises(NoProof):
        proof_of(".".join(made.values()).encode())


def test_a_signature_for_something_else_proves_nothing() -> None:
    key = KEYS["secp256r1"]
    for text in ("hello", beginning("http://another.test") + "x", CHALLENGE[1:]):
        signature = key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        with pytest.raises(NoProof):
            proof_of(signature, key)
        made = Proof(
            key_proofs.Form.SIGNATURE, key_proofs.spki_of(key.public_key()), text.encode(), signature
        )
        with pytest.raises(NoProof):
            key_proofs.check(made, CA)


def test_a_signature_of_the_rsa_key_with_pkcs1_is_not_one_of_another_hash() -> None:
    signature = RSA.sign(CHALLENGE.encode(), padding.PKCS1v15(), hashes.SHA1())
    with pytest.raises(NoProof):
        proof_of(signature, RSA)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_nothing_that_a_stranger_sends_raises_anything_else(sent: bytes) -> None:
    with pytest.raises(NoProof):
        proof_of(sent, KEYS["secp256r1"], RSA)


@given(st.sampled_from(["pkcs8", "openssh", "traditional-der"]), st.integers(0, 200), st.integers(1, 255))
def test_a_bent_private_key_raises_nothing_else(form: str, at: int, by: int) -> None:
    octets = bytearray(FORMS[form](KEYS["secp256r1"]))
    octets[at % len(octets)] ^= by
    with contextlib.suppress(NoProof):
        proof_of(bytes(octets))


def _csr(algorithm: hashes.HashAlgorithm) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, key_proofs.TITLE)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(RSA, algorithm).public_bytes(Encoding.DER)


def test_a_csr_of_another_version_is_refused_like_any_that_cannot_be_read() -> None:
    other = _csr(hashes.SHA256()).replace(b"\x02\x01\x00", b"\x02\x01\x05", 1)
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n" % b64encode(other)
    for sent in (other, pem):
        with pytest.raises(NoProof):
            proof_of(sent)


@pytest.mark.clause("BR 4.9.12")
def test_a_csr_by_a_hash_that_collides_is_no_proof() -> None:
    info = x509.load_der_x509_csr(_csr(hashes.SHA256())).tbs_certrequest_bytes
    by_sha1 = der.algorithm("1.2.840.113549.1.1.5", b"\x05\x00")
    signature = RSA.sign(info, padding.PKCS1v15(), hashes.SHA1())
    with pytest.raises(NoProof, match="SHA-256"):
        proof_of(der.sequence(info, by_sha1, der.bit_string(signature)))
