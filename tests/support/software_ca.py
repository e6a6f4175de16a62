"""A hierarchy with software keys, made once per key algorithm: for tests of what certificates contain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.settings import Ca, Profile, Rules, Settings
from signer.api import LeafRequest
from signer.vault.templates import ca_certificates, leaf, profiles
from signer.vault.templates.ca_certificates import PrivateKey, Subject, Urls
from signer.vault.tokens import algorithms
from tests.support.applicant import applicant

NOW = 1795478400
"""2026-11-24T00:00:00Z."""

DAY = 86400
BEGINS = NOW - 3 * DAY
"""The CA is older than any leaf that a test asks for."""

BASE = "http://pki.acme-ca.com"
URLS = Urls(ca_issuers=f"{BASE}/issuers/root.crt", crl=f"{BASE}/crl/root-0.crl")
SERIAL = bytes.fromhex("4c0ffee0123456789abcdef012345678")


@cache
def private_key(algorithm: str, number: int = 0) -> PrivateKey:
    """The same key for the same arguments, within one run."""
    del number
    kind, size = algorithm.split("-")
    if kind == "rsa":
        return rsa.generate_private_key(65537, int(size))
    return ec.generate_private_key(
        {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[size]
    )


def spki(key: PrivateKey) -> bytes:
    """The public half as a SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(key: PrivateKey, octets: bytes) -> bytes:
    """A signature as a certificate carries it."""
    algorithm = algorithms.for_key(key.public_key())
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(octets, padding.PKCS1v15(), algorithm.hash)
    return key.sign(octets, ec.ECDSA(algorithm.hash))


@dataclass(frozen=True)
class SoftwareCa:
    """A root and one issuing CA below it."""

    root: bytes
    root_key: PrivateKey
    certificate: bytes
    key: PrivateKey
    issuer: leaf.Issuer


@cache
def software_ca(algorithm: str = "ec-p256", rules: Rules = Rules.PUBLIC) -> SoftwareCa:
    """A hierarchy whose issuing key has `algorithm`."""
    root_key, key = private_key("ec-p384", 1), private_key(algorithm, 2)
    root = ca_certificates.root(root_key, Subject("JP", "Acme Trust", "Acme Root"), SERIAL, BEGINS)
    certificate = ca_certificates.issuing(
        root,
        root_key,
        key.public_key(),
        Subject("JP", "Acme Trust", f"Acme TLS {algorithm}"),
        SERIAL[::-1],
        BEGINS,
        URLS,
        policies=(profiles.RESERVED_DV_POLICY,) if rules is Rules.PUBLIC else (),
        client_auth=rules is Rules.PRIVATE,
    )
    issuer = leaf.Issuer.from_certificate(
        algorithm,
        certificate,
        ocsp_url=f"{BASE}/ocsp",
        ca_issuers_url=f"{BASE}/issuers/{algorithm}.crt",
        crl_url_template=f"{BASE}/crl/{algorithm}-{{shard}}.crl",
    )
    return SoftwareCa(root, root_key, certificate, key, issuer)


def profile(rules: Rules = Rules.PUBLIC, name: str = "tlsserver", **changes: object) -> profiles.LeafProfile:
    """The profile that `[profiles.tlsserver]` with `changes` gives under `rules`."""
    settings = Settings(ca=Ca(rules=rules), profiles={"tlsserver": Profile(**changes)})  # type: ignore[arg-type]
    return profiles.from_settings(settings)[name]


def leaf_request(**changes: object) -> LeafRequest:
    """A request that every check admits, except for its missing evidence."""
    values: dict[str, object] = {
        "issuance_id": "issuance-1",
        "serial": SERIAL,
        "issuer_id": "ec-p256",
        "profile": "tlsserver",
        "names": ("www.acme-shop.com",),
        "account_url": "https://ca.acme-ca.com/acme/account/1",
        "public_key": spki(private_key("ec-p256")),
        "not_before": NOW,
        "not_after": NOW + 90 * DAY - 1,
        "crl_shard": 0,
        "evidence": (),
    }
    made = LeafRequest(**(values | changes))  # type: ignore[arg-type]
    if "applicant" not in changes:
        made = replace(made, applicant=applicant(made.names, made.public_key, made.account_url))
    return made
