"""The private PKI of the channel between coordinator and perspectives: one root, certificates of 30 days.

The root signs for the names of one zone and lies, encrypted, where its keeper wants it, on neither end.  Each
end makes its key where the key stays and sends a request; the certificate comes back with the root beside
it, and installing it renews the running process (validation/mpic/mutual_tls.py looks for new files).

Must never: sign for a name outside the zone, or write a private key unencrypted.

BR 3.2.2.9 (authenticated and encrypted channels); RFC 5280.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core import private_files
from core.clock import Clock
from core.errors import ConfigurationError
from core.randomness import Randomness, token
from signer import serials
from validation.mpic.mutual_tls import COORDINATOR, IDENTITY, PASSPHRASE, ROOT, host_name

ROOT_KEY, NEXT_KEY = "root-key.pem", "next-key.pem"
ROOT_DAYS = 5 * 365
DAYS = 30
"""Of a certificate, at most: the channel has no revocation, so what is lost must end soon."""

BACKDATED = timedelta(hours=1)
"""For clocks that are not quite right."""


def make_root(directory: Path, zone: str, passphrase: str, clock: Clock, randomness: Randomness) -> Path:
    """Make the root of `zone` in `directory`; its certificate's path.

    Raises `ConfigurationError` when there is one already.
    """
    if len(passphrase) < 12:
        raise ConfigurationError("a passphrase of less than twelve characters protects nothing: longer")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (directory / ROOT_KEY).exists():
        raise ConfigurationError(f"{directory / ROOT_KEY} exists: move it away to make another root")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"MPIC channel of {zone}")])
    public = key.public_key()
    certificate = (
        _builder(name, name, public, ROOT_DAYS, clock, randomness)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(zone)], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    write(directory / ROOT_KEY, _encrypted(key, passphrase.encode()))
    write(directory / ROOT, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return directory / ROOT


def request(directory: Path, name: str, zone: str, randomness: Randomness) -> bytes:
    """A new key in `directory`, to be used once its certificate is installed, and the request for it (PEM).

    `name` is a perspective's code or "coordinator".
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    _belong(directory)
    if not (directory / PASSPHRASE).exists():
        write(directory / PASSPHRASE, token(randomness, 32).encode())
    key = ec.generate_private_key(ec.SECP256R1())
    asked = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host_name(name, zone))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    write(directory / NEXT_KEY, _encrypted(key, _passphrase(directory)))
    return asked.public_bytes(serialization.Encoding.PEM)


def certify(
    directory: Path,
    name: str,
    request: bytes,
    passphrase: str,
    clock: Clock,
    randomness: Randomness,
    days: int = DAYS,
) -> bytes:
    """The certificate of `name` for a request, by the root in `directory`, and the root's after it (PEM).

    Raises `ConfigurationError` when the request is for another name, or the root cannot be used.
    """
    if not 1 <= days <= DAYS:
        raise ConfigurationError(f"a certificate of the channel lives 1 to {DAYS} days")
    root, key = _root(directory, passphrase)
    constraints = root.extensions.get_extension_for_class(x509.NameConstraints).value
    zone = (constraints.permitted_subtrees or [])[0].value
    wanted = host_name(name, zone)
    try:
        asked = x509.load_pem_x509_csr(request)
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise ConfigurationError(f"no request of this channel ({error}): acme-server mpic request") from error
    public = asked.public_key()
    if not asked.is_signature_valid or not isinstance(public, ec.EllipticCurvePublicKey):
        raise ConfigurationError("the request is not signed by its own P-256 key: make it anew")
    found = [str(each.value) for each in names]
    if public.curve.name != "secp256r1" or found != [wanted]:
        raise ConfigurationError(f"the request is for {', '.join(found)}, not for {wanted} with a P-256 key")
    use = ExtendedKeyUsageOID.CLIENT_AUTH if name == COORDINATOR else ExtendedKeyUsageOID.SERVER_AUTH
    certificate = (
        _builder(x509.Name([]), root.subject, public, days, clock, randomness)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(wanted)]), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem) + root.public_bytes(pem)


def install(directory: Path, answer: bytes) -> datetime:
    """Use the certificate in `answer` (and the root after it) from now on; its end.

    Raises `ConfigurationError` when it is for another key than the one that waits, or not by that root.
    """
    try:
        certificate, root = x509.load_pem_x509_certificates(answer)
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ConfigurationError(
            "not a certificate and the root that signed it: give what acme-server mpic certificate wrote"
        ) from error
    waiting = private_files.read(directory / NEXT_KEY, "acme-server mpic request makes it")
    key = serialization.load_pem_private_key(waiting, _passphrase(directory))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    if key.public_key() != certificate.public_key():
        raise ConfigurationError(f"the certificate is for another key than {directory / NEXT_KEY}: ask again")
    pem = serialization.Encoding.PEM
    write(directory / ROOT, root.public_bytes(pem), mode=0o644)
    # In one file, which is renamed into place: a process that looks never finds half of a pair.
    write(directory / IDENTITY, waiting + certificate.public_bytes(pem))
    (directory / NEXT_KEY).unlink()
    return certificate.not_valid_after_utc


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Durably and at once; the file belongs to whoever owns its directory, also when root writes it."""
    aside = path.with_name(path.name + ".new")
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(file, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    _belong(aside)
    aside.rename(path)


def _belong(path: Path) -> None:
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _root(directory: Path, passphrase: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    pem = private_files.read(directory / ROOT_KEY, "acme-server mpic root makes it")
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode())
    except ValueError as error:
        raise ConfigurationError(f"{directory / ROOT_KEY} does not open with this passphrase") from error
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate((directory / ROOT).read_bytes()), key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    days: int,
    clock: Clock,
    randomness: Randomness,
) -> x509.CertificateBuilder:
    begins = datetime.fromtimestamp(clock.now(), UTC) - BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(int.from_bytes(serials.draw(randomness), "big"))
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _encrypted(key: ec.EllipticCurvePrivateKey, passphrase: bytes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


def _passphrase(directory: Path) -> bytes:
    return private_files.read(directory / PASSPHRASE, "acme-server mpic request makes it").strip()
