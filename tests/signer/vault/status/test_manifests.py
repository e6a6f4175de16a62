"""The vault signs manifests of the repository, and none that says otherwise than it knows."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from core.clock import FakeClock
from core.errors import Refused, TransientError
from core.settings import Settings
from core.settings import Vault as VaultSettings
from signer.api import KeyUse, ManifestRequest
from signer.vault.record.journal import Journal, Kind
from signer.vault.sealed.seal import Hierarchy, SealedIssuer
from signer.vault.signing import Signer
from signer.vault.status.manifests import MAX_OCTETS, TYP, Manifests
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.session import Session
from signer.vault.tokens.token import TokenThreads
from tests.support.software_ca import DAY, NOW, private_key, sign, software_ca

CA = software_ca("ec-p256")
SHA256 = x509.load_der_x509_certificate(CA.certificate).fingerprint(hashes.SHA256()).hex()


class SoftwareKeeper(Session):
    """Finds and makes keys in memory."""

    def __init__(self) -> None:
        self.made: dict[str, int] = {}

    def has(self, label: str) -> bool:
        return label in self.made

    def find(self, label: str) -> Key:
        key = private_key("ec-p256", self.made[label]).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return Key(label, KeyAlgorithm.EC_P256, key)

    def generate(self, label: str, algorithm: KeyAlgorithm) -> Key:
        assert algorithm is KeyAlgorithm.EC_P256
        self.made[label] = 200 + len(self.made)
        return self.find(label)


class SoftwareToken(TokenThreads):
    """Signs with the keeper's keys."""

    def __init__(self) -> None:
        self._login = SoftwareKeeper()

    async def sign_all(self, key: Key, data: Sequence[bytes]) -> list[bytes]:
        return [await self.sign(key, one) for one in data]

    async def sign(self, key: Key, data: bytes) -> bytes:
        keeper = self._login
        assert isinstance(keeper, SoftwareKeeper)
        return sign(private_key("ec-p256", keeper.made[key.label]), data)


class World:
    """The manifest keys of one vault, started again on the same journal and token as a test likes."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal"
        self.token = SoftwareToken()
        self.clock = FakeClock(NOW)
        self.journal = Journal(self.path, self.clock)

    def started(self, *labels: str) -> Manifests:
        self.journal.close()
        self.journal = Journal(self.path, self.clock)
        issuer = SealedIssuer("ec-p256", KeyUse.ISSUING, KeyAlgorithm.EC_P256, "ec-p256", CA.certificate)
        hierarchy = Hierarchy(1, NOW, "public", CA.root, b"", (issuer,), ())
        settings = Settings(vault=VaultSettings(manifest_keys=labels or ("manifest-1",)))
        signer = Signer(self.token, self.journal)
        manifests = Manifests(settings, hierarchy, signer, self.journal, self.clock)
        manifests.take(self.token.keeper)
        return manifests

    def entries(self) -> list[str]:
        return [each.issuance_id for each in self.journal.page(0, 100) if each.kind == Kind.MANIFEST]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    made.journal.close()


def iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def payload(**changes: Any) -> bytes:
    manifest = {
        "sequence": 1,
        "this_update": iso(NOW),
        "next_update": iso(NOW + DAY),
        "issuers": [{"id": "ec-p256", "sha256": SHA256, "state": "active"}],
        "crls": [{"issuer": "root", "shard": 0, "number": 7}],
        "more": {"that": "the vault does not judge"},
    }
    return json.dumps(manifest | changes).encode()


def unpadded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.clause("RFC 7515 section 7.2.1")
@pytest.mark.clause("RFC 7638 section 3")
async def test_a_stranger_can_check_the_signature_with_the_key_that_it_names(world: World) -> None:
    content = payload()
    signed = json.loads((await world.started().sign(ManifestRequest(content))).jws)
    assert unpadded(signed["payload"]) == content
    (signature,) = signed["signatures"]
    header = json.loads(unpadded(signature["protected"]))
    assert (header["alg"], header["typ"]) == ("ES256", TYP)
    jwk = header["jwk"]
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    assert unpadded(header["kid"]) == hashlib.sha256(canonical).digest()
    x, y = (int.from_bytes(unpadded(jwk[name])) for name in ("x", "y"))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    octets = unpadded(signature["signature"])
    assert len(octets) == 64
    der = encode_dss_signature(int.from_bytes(octets[:32]), int.from_bytes(octets[32:]))
    key.verify(der, f"{signature['protected']}.{signed['payload']}".encode(), ec.ECDSA(hashes.SHA256()))


async def test_the_key_stays_the_same_over_restarts(world: World) -> None:
    first = world.started().keys[0].spki
    assert world.started().keys[0].spki == first


async def test_an_old_and_a_new_key_both_sign(world: World) -> None:
    old = world.started().keys[0].spki
    both = world.started("manifest-1", "manifest-2")
    assert both.keys[0].spki == old
    signed = json.loads((await both.sign(ManifestRequest(payload()))).jws)
    kids = [json.loads(unpadded(each["protected"]))["kid"] for each in signed["signatures"]]
    assert len(set(kids)) == 2


async def test_the_journal_knows_of_a_manifest_before_it_is_signed(world: World) -> None:
    content = payload(sequence=5)
    await world.started().sign(ManifestRequest(content))
    entry = world.journal.page(0, 100)[-1]
    assert (entry.kind, entry.issuance_id) == (Kind.MANIFEST, "manifest:5")
    assert entry.tbs == hashlib.sha256(content).digest()


async def test_a_number_is_never_signed_twice_also_after_a_restart(world: World) -> None:
    manifests = world.started()
    await manifests.sign(ManifestRequest(payload(sequence=2)))
    restarted = world.started()
    for sequence in (1, 2):
        with pytest.raises(Refused, match="take the next number"):
            await restarted.sign(ManifestRequest(payload(sequence=sequence, more="other content")))
    assert world.entries() == ["manifest:2"]


async def test_of_two_manifests_of_one_number_at_once_one_is_signed(world: World) -> None:
    manifests = world.started()
    both = (manifests.sign(ManifestRequest(payload(more=each))) for each in "ab")
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert [type(each) for each in outcomes].count(Refused) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sequence": 0}, "manifest.sequence"),
        ({"sequence": "1"}, "manifest.malformed"),
        ({"this_update": iso(NOW - 61)}, "manifest.time"),
        ({"this_update": iso(NOW + 61), "next_update": iso(NOW + DAY)}, "manifest.time"),
        ({"next_update": iso(NOW)}, "manifest.time"),
        ({"next_update": iso(NOW + 30 * DAY + 1)}, "manifest.time"),
        ({"issuers": []}, "manifest.issuers"),
        ({"issuers": [{"id": "ec-p256", "sha256": "00" * 32}]}, "manifest.issuers"),
        ({"crls": [{"issuer": "ec-p256", "shard": 0, "number": 1}]}, "manifest.crl"),
        ({"more": "x" * MAX_OCTETS}, "manifest.size"),
    ],
)
async def test_what_the_vault_knows_otherwise_is_not_signed(
    world: World, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await world.started().sign(ManifestRequest(payload(**changes)))
    assert refused.value.code == code
    assert world.entries() == []


async def test_a_locked_vault_signs_none_and_spends_no_number(world: World) -> None:
    signer = Signer(None, world.journal)
    hierarchy = Hierarchy(1, NOW, "public", CA.root, b"", (), ())
    manifests = Manifests(Settings(), hierarchy, signer, world.journal, world.clock)
    with pytest.raises(TransientError):
        await manifests.sign(ManifestRequest(payload(issuers=[])))
    assert world.entries() == []
