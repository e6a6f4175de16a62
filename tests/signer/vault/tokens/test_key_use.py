"""How often the key is used, counted where nobody can lie: by a PKCS#11 spy between the vault and its token.

"Mutating any field of a TBSCertificate: the key is never used."  The vault is the real process; only its
builder errs, as each request's issuance id asks (tests/support/tbs_mutants.py).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.errors import Refused
from core.randomness import SystemRandomness, token
from core.settings import Settings
from signer import serials
from signer.api import CrlBlocks, CrlRequest, OcspRequest
from signer.client import Vault
from status.crl.entries import encoded
from tests.signer.vault.server.requests import DAY, request
from tests.support.tbs_mutants import CRL_BASE, EXTENSIONS, MUTANTS, OCSP_PREFIX, PREFIX, PROGRAM
from tests.support.vault import RunningVault

SPIES = ("/usr/lib/x86_64-linux-gnu/pkcs11-spy.so", "/usr/lib/aarch64-linux-gnu/pkcs11-spy.so")


@dataclass
class Spied:
    """A vault, and what passed between it and its token."""

    vault: Vault
    log: Path

    def signatures(self) -> int:
        """Calls of C_SignInit: each signature begins with one."""
        return self.log.read_text(errors="replace").count(" C_SignInit\n")

    async def intents(self) -> int:
        """Everything that the journal holds: an intent stands in it before the key is used."""
        return (await self.vault.describe()).journal_sequence


@pytest.fixture(scope="module")
def process(
    ceremony: DataDirectory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DataDirectory, Path]]:
    spy = next((path for path in SPIES if Path(path).exists()), None)
    if spy is None:
        pytest.skip("opensc-pkcs11 is not installed: scripts/system-packages test")
    root = tmp_path_factory.mktemp("spied")
    shutil.copytree(ceremony.root, root / "data")
    data, log = DataDirectory(root / "data"), root / "pkcs11.log"
    vault = RunningVault(
        data,
        program=PROGRAM,
        arguments=("--set", f"vault.module={spy}"),
        environment={"PKCS11SPY": Settings().vault.module, "PKCS11SPY_OUTPUT": str(log)},
    ).start()
    yield data, log
    vault.stop()


@pytest.fixture
async def spied(process: tuple[DataDirectory, Path]) -> AsyncIterator[Spied]:
    data, log = process
    vault = Vault(data.vault_socket)
    yield Spied(vault, log)
    await vault.close()


async def test_a_leaf_that_was_built_well_takes_one_signature_and_one_intent(spied: Spied) -> None:
    signatures, intents = spied.signatures(), await spied.intents()
    prepared = await spied.vault.prepare(request())
    assert (spied.signatures(), await spied.intents()) == (signatures, intents)
    await spied.vault.issue(prepared.token)
    assert spied.signatures() == signatures + 1
    intent, result = (await spied.vault.journal(intents)).entries
    assert (intent.kind, result.kind) == ("intent", "result")


@pytest.mark.clause("BR 4.3.1.2")
@pytest.mark.parametrize("name", MUTANTS)
async def test_the_key_is_never_used_for_a_leaf_of_which_a_field_was_changed(spied: Spied, name: str) -> None:
    signatures, intents = spied.signatures(), await spied.intents()
    with pytest.raises(Refused, match=r"profile\.|lint\."):
        await spied.vault.prepare(request(issuance_id=f"{PREFIX}{name}"))
    assert (spied.signatures(), await spied.intents()) == (signatures, intents)


@pytest.mark.clause("BR 4.3.1.2")
async def test_the_key_is_never_used_for_a_leaf_of_which_any_octet_was_changed(spied: Spied) -> None:
    good = request(issuance_id=token(SystemRandomness()))
    length = await _length(spied)
    signatures, intents = spied.signatures(), await spied.intents()
    for octet in range(length):
        with pytest.raises(Refused, match=r"profile\.|lint\."):
            await spied.vault.prepare(request(issuance_id=f"{PREFIX}octet-{octet}", serial=good.serial))
    assert (spied.signatures(), await spied.intents()) == (signatures, intents)


@pytest.mark.clause("BR 7.2")
async def test_the_key_is_never_used_for_a_crl_of_which_any_octet_was_changed(spied: Spied) -> None:
    now = SystemClock().now()
    block = encoded([(serials.draw(SystemRandomness()), now - DAY, 1)])
    await spied.vault.hold_crl_blocks(CrlBlocks("ec-1", 0, (block,)))
    honest = CrlRequest("ec-1", 0, 1, now, now + DAY, (hashlib.sha256(block).digest(),))
    signed = (await spied.vault.sign_crl(honest)).whole([block])
    length = len(x509.load_der_x509_crl(signed).tbs_certlist_bytes)
    # The number of a mutant is longer than the honest one's.
    signatures, intents = spied.signatures(), await spied.intents()
    for octet in range(length + 8):
        with pytest.raises(Refused, match=r"crl-lint\."):
            await spied.vault.sign_crl(replace(honest, number=CRL_BASE + octet))
    assert (spied.signatures(), await spied.intents()) == (signatures, intents)


@pytest.mark.clause("BR 7.3")
async def test_the_key_is_never_used_for_an_ocsp_answer_of_which_any_octet_was_changed(spied: Spied) -> None:
    now = SystemClock().now()
    honest = OcspRequest("ec-1", OCSP_PREFIX[:-1] + b"!\x00\x01", "sha256", now, now + DAY, now - DAY, 1)
    answer = ocsp.load_der_ocsp_response((await spied.vault.sign_ocsp(honest)).der)
    signatures, intents = spied.signatures(), await spied.intents()
    for octet in range(len(answer.tbs_response_bytes)):
        with pytest.raises(Refused, match=r"ocsp-lint\."):
            await spied.vault.sign_ocsp(replace(honest, serial=OCSP_PREFIX + octet.to_bytes(2)))
    assert (spied.signatures(), await spied.intents()) == (signatures, intents)


async def test_the_mutants_know_how_many_extensions_a_leaf_has(spied: Spied) -> None:
    assert len((await _issued(spied)).extensions) == EXTENSIONS


async def _issued(spied: Spied) -> x509.Certificate:
    prepared = await spied.vault.prepare(request())
    return x509.load_der_x509_certificate((await spied.vault.issue(prepared.token)).certificate)


async def _length(spied: Spied) -> int:
    return len((await _issued(spied)).tbs_certificate_bytes)
