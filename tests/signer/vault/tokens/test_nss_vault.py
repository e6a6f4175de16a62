"""The whole vault on another module than SoftHSM2: ceremony, start, certificates, a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography import x509

from core.settings import ModuleKind, Vault
from signer.client import Vault as Client
from tests.signer.vault.server.requests import request
from tests.signer.vault.tokens.modules import KINDS, found
from tests.support import hierarchy
from tests.support.vault import RunningVault


@pytest.mark.long
def test_a_ca_whose_keys_live_in_nss_issues_and_finds_its_keys_again(tmp_path: Path) -> None:
    library = found(next(kind for kind in KINDS if kind.kind is ModuleKind.NSS), tmp_path / "unused").path
    chosen = Vault(module=str(library), module_kind=ModuleKind.NSS)
    data = hierarchy.made(tmp_path / "data", hierarchy.settings(vault=chosen))
    arguments = ("--set", f"vault.module={library}", "--set", "vault.module_kind=nss")
    for issuer in ("ec-1", "rsa-1"):  # each after a start of its own
        running = RunningVault(data, arguments=arguments).start()
        try:
            certificate, issuing = asyncio.run(_issued(data.vault_socket, issuer))
        finally:
            running.stop()
        certificate.verify_directly_issued_by(issuing)


async def _issued(socket: Path, issuer: str) -> tuple[x509.Certificate, x509.Certificate]:
    vault = Client(socket)
    prepared = await vault.prepare(request(issuer_id=issuer))
    issued = await vault.issue(prepared.token)
    [info] = [info for info in (await vault.describe()).issuers if info.id == issuer]
    await vault.close()
    return x509.load_der_x509_certificate(issued.certificate), x509.load_der_x509_certificate(
        info.certificate
    )
