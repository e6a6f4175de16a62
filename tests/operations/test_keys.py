"""operations/keys.py and `acme-server keys`: a file is judged as finalize would judge its key."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from core import blocked_keys
from core.data_directory import DataDirectory
from core.errors import ConfigurationError, Refused
from core.public_keys import number
from core.settings import Ca, Settings
from operations import keys
from tests.support.database import opened
from tests.support.software_ca import software_ca, spki

KEY = ec.generate_private_key(ec.SECP256R1())
DIGEST = hashlib.sha256(spki(KEY)).digest()


def csr(name: str, key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def private(form: PrivateFormat, encoding: Encoding = Encoding.PEM) -> bytes:
    return KEY.private_bytes(encoding, form, NoEncryption())


FILES = {
    "a CSR": (csr("x"), "CSR"),
    "a PKCS#8 key": (private(PrivateFormat.PKCS8), "private key"),
    "an EC key in DER": (private(PrivateFormat.TraditionalOpenSSL, Encoding.DER), "private key"),
    "a public key": (
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "public key",
    ),
    "a public key in DER": (spki(KEY), "public key"),
}


@pytest.mark.parametrize("case", FILES)
def test_every_kind_of_file_yields_its_key(tmp_path: Path, case: str) -> None:
    octets, what = FILES[case]
    (tmp_path / "file").write_bytes(octets)
    found = keys.read(tmp_path / "file")
    assert (found.what, found.spki_sha256) == (what, DIGEST)
    assert keys.check(found, Settings(), DataDirectory(tmp_path)) == []


def test_a_certificate_yields_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(software_ca().certificate)
    assert keys.read(tmp_path / "file").spki == spki(software_ca().key)


def test_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"nothing")
    with pytest.raises(ConfigurationError, match="holds no certificate"):
        keys.read(tmp_path / "file")


@pytest.mark.clause("BR 6.1.1.3")
async def test_each_reason_for_a_refusal_is_told(tmp_path: Path) -> None:
    listed = tmp_path / "list.dat"
    listed.write_bytes(hashlib.sha256(number(spki(KEY))).digest()[:15] + b"\x01")
    settings = Settings(ca=Ca(blocklist=str(listed)))
    data = DataDirectory(tmp_path)
    async with opened(tmp_path) as database:
        await database.write(lambda tx: blocked_keys.block(tx, DIGEST, "shown"))
    faults = keys.check(keys.Found("public key", spki(KEY)), settings, data)
    assert [fault[:15] for fault in faults] == ["it is on the li", "it is blocked f"]
    weak = spki(rsa.generate_private_key(65537, 1024))
    assert "1024 bits" in keys.check(keys.Found("public key", weak), settings, data)[0]
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    octets = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert len(keys.check(keys.Found("public key", octets), settings, data)) == 1
    assert [row[0] for row in keys.blocked(data)] == [DIGEST]


@pytest.mark.clause("BR 4.9.12")
def test_a_csr_that_says_so_proves_a_compromise_and_any_other_does_not(tmp_path: Path) -> None:
    good, plain = tmp_path / "good.csr", tmp_path / "plain.csr"
    good.write_bytes(csr("Proof of Key Compromise for Example CA"))
    plain.write_bytes(csr("www.example.com"))
    assert keys.to_block("", None, None, good, "reported") == (
        DIGEST,
        "reported (shown: Proof of Key Compromise)",
    )
    with pytest.raises(Refused, match=r"key\.proof"):
        keys.to_block("", None, None, plain, "reported")
    forged = bytearray(x509.load_pem_x509_csr(good.read_bytes()).public_bytes(Encoding.DER))
    forged[-1] ^= 1
    good.write_bytes(bytes(forged))
    with pytest.raises((Refused, ConfigurationError)):
        keys.to_block("", None, None, good, "reported")


def test_the_key_to_be_blocked_is_named_in_one_way(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(private(PrivateFormat.PKCS8))
    assert keys.to_block(DIGEST.hex(), None, None, None, "why") == (DIGEST, "why")
    assert keys.to_block("", None, file, None, "why") == (DIGEST, "why (shown: the private key)")
    for wrong in ((DIGEST.hex(), file, None), ("", None, None), ("abc", None, None)):
        with pytest.raises(ConfigurationError):
            keys.to_block(*wrong, None, "why")


def test_the_command_says_why_and_never_shows_a_private_key(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(private(PrivateFormat.PKCS8))
    words = [sys.executable, "-m", "operations.cli", "keys", "check", str(file), "--json"]
    done = subprocess.run(
        [*words, "--data", str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == {"what": "private key", "spki_sha256": DIGEST.hex(), "faults": []}
    assert KEY.private_numbers().private_value.to_bytes(32, "big").hex() not in done.stdout + done.stderr


@pytest.mark.clause("BR 6.1.1.3")
def test_a_ca_with_a_broken_list_of_bad_keys_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "list.dat").write_bytes(b"x")
    words = [sys.executable, "-m", "operations.cli", "run", "--data", str(tmp_path / "data")]
    words += ["--set", f"ca.blocklist={tmp_path / 'list.dat'}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "ca.blocklist" in done.stderr
    assert not (tmp_path / "data").exists()
