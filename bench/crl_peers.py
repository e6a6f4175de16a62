"""How others make a CRL of so many entries: `cryptography`'s builder, and `openssl ca -gencrl`.

Each in a process of its own, for bench/crl.py.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.crl_app import drawn

_FLAGS = {1: "key_compromise", 4: "superseded", 5: "cessation_of_operation"}
_WORDS = {1: "keyCompromise", 4: "superseded", 5: "cessationOfOperation"}
_CONFIGURATION = """[ca]
default_ca = this
[this]
dir = {0}
database = {0}/index.txt
crlnumber = {0}/crlnumber
certificate = {0}/ca.pem
private_key = {0}/ca.key
default_md = sha256
default_crl_days = 7
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """Seconds for the whole CRL, and the process's greatest memory in MB."""

    name: str
    entries: int
    seconds: float
    memory: float


def openssl(entries: int) -> Peer:
    """`openssl ca -gencrl` over an index.txt; with the reading of it, as it has to each time."""
    now = int(time.time())
    with tempfile.TemporaryDirectory(prefix="bench-crl-") as name:
        directory = Path(name)
        key, certificate = _issuer()
        (directory / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / "ca.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (directory / "crlnumber").write_text("01\n")
        (directory / "openssl.cnf").write_text(_CONFIGURATION.format(directory))
        with (directory / "index.txt").open("w") as index:
            for serial, at, reason in drawn(entries, now):
                when = time.strftime("%y%m%d%H%M%SZ", time.gmtime(at))
                word = f",{_WORDS[reason]}" if reason else ""
                index.write(f"R\t990101000000Z\t{when}{word}\t{serial.hex().upper()}\tunknown\t/CN=a\n")
        command = ["openssl", "ca", "-gencrl", "-config", str(directory / "openssl.cnf")]
        seconds, memory = _run([*command, "-out", str(directory / "crl.pem")])
    return Peer("openssl ca -gencrl", entries, seconds, memory)


def builder(entries: int) -> Peer:
    """`cryptography`'s CertificateRevocationListBuilder, given the whole list."""
    seconds, memory = _run([sys.executable, "-m", "bench.crl_peers", str(entries)])
    return Peer("cryptography's builder", entries, seconds, memory)


def _run(command: Sequence[str]) -> tuple[float, float]:
    """Run it as the only child of a child: so its memory is told alone."""
    watch = (
        "import json,resource,subprocess,sys,time\n"
        "begun=time.monotonic()\n"
        "subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL)\n"
        "print(time.monotonic()-begun,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    told = subprocess.run(
        [sys.executable, "-c", watch, *command], capture_output=True, check=True, timeout=600, text=True
    ).stdout.split()
    return float(told[0]), int(told[1]) * 1024 / 1e6


def _issuer() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bench CA")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=30))
    return key, made.sign(key, hashes.SHA256())


def _build(entries: int) -> None:
    key, certificate = _issuer()
    now = datetime.now(UTC)
    revoked = []
    for serial, at, reason in drawn(entries, int(now.timestamp())):
        each = x509.RevokedCertificateBuilder().serial_number(int.from_bytes(serial))
        each = each.revocation_date(datetime.fromtimestamp(at, UTC))
        if reason:
            each = each.add_extension(x509.CRLReason(x509.ReasonFlags[_FLAGS[reason]]), critical=False)
        revoked.append(each.build())
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=certificate.subject,
        last_update=now,
        next_update=now + timedelta(days=7),
        extensions=[x509.Extension(x509.CRLNumber.oid, False, x509.CRLNumber(1))],
        revoked_certificates=revoked,
    )
    builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _build(int(sys.argv[1]))
