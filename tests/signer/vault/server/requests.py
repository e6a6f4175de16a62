"""What is asked of the vault in these tests."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import SystemClock
from core.randomness import SystemRandomness, token
from signer import api, serials
from signer.client import Vault
from tests.support.applicant import applicant
from tests.support.hierarchy import evidence

NAME = "shop.localhost"
ACCOUNT = "https://localhost/acme/account/1"
DAY = 86400


def spki(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


KEY = spki(ec.generate_private_key(ec.SECP256R1()))


def request(**changes: object) -> api.LeafRequest:
    """One that the vault signs, unless changed."""
    now = SystemClock().now()
    good = api.LeafRequest(
        issuance_id=token(SystemRandomness()),
        serial=serials.draw(SystemRandomness()),
        issuer_id="ec-1",
        profile="tlsserver",
        names=(NAME,),
        account_url=ACCOUNT,
        public_key=KEY,
        not_before=now - 60,
        not_after=now - 60 + 90 * DAY - 1,
        crl_shard=0,
        evidence=evidence((NAME,), ACCOUNT, now),
    )
    made = replace(good, **changes)  # type: ignore[arg-type]
    if "applicant" not in changes:
        made = replace(made, applicant=applicant(made.names, made.public_key, made.account_url))
    return made


async def sequence(vault: Vault) -> int:
    return (await vault.describe()).journal_sequence


async def issued(vault: Vault, wanted: api.LeafRequest) -> x509.Certificate:
    prepared = await vault.prepare(wanted)
    return x509.load_der_x509_certificate((await vault.issue(prepared.token)).certificate)
