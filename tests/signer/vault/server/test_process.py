"""The vault's process: its start and its end, what it holds, and who may call what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.errors import Refused
from core.rpc import Peer
from signer import api
from signer.client import Vault
from signer.vault import server
from tests.signer.vault.server.requests import DAY, issued, request
from tests.support.vault import REPOSITORY, RunningVault


async def test_a_restarted_vault_keeps_its_responders_and_remembers_all_serials(
    data: DataDirectory,
) -> None:
    running = RunningVault(data).start()
    client = Vault(data.vault_socket)
    wanted = request()
    await issued(client, wanted)
    before = (await client.describe()).responders
    await client.close()
    running.kill()
    running.start()
    client = Vault(data.vault_socket)
    try:
        assert (await client.describe()).responders == before
        with pytest.raises(Refused, match=r"serial\.used"):
            await client.prepare(request(serial=wanted.serial))
        assert (await client.recall(wanted.issuance_id)).certificate is not None
    finally:
        await client.close()
        running.stop()


async def test_a_clean_stop_is_told_in_the_journal(data: DataDirectory) -> None:
    running = RunningVault(data).start()
    running.stop()
    assert json.loads(data.journal.read_bytes().splitlines()[-1])["kind"] == "stop"


def test_a_token_of_another_hierarchy_is_refused_at_start(data: DataDirectory) -> None:
    data.pin.write_text("not the PIN\n")
    with pytest.raises(RuntimeError, match=r"vault\.pin_file"):
        RunningVault(data).start()
    assert not data.vault_socket.exists()


FORBIDDEN = {"aiohttp", "sqlite3", "_sqlite3", "redis", "dns", "sqlalchemy", "asyncpg"}


def test_a_started_vault_holds_no_web_no_sql_and_no_dns(data: DataDirectory) -> None:
    program = textwrap.dedent(
        f"""
        import json, os, signal, sys
        import operations.process as process
        import signer.vault.server as server

        serve = server.serve

        async def watched(*, ready, **given):
            def told():
                ready()
                print(json.dumps(sorted(sys.modules)), flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
            await serve(ready=told, **given)

        server.serve = watched
        sys.exit(process.main(["vault", "--data", {str(data.root)!r}]))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=60,
    )
    modules = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "pkcs11" in modules
    assert not modules & FORBIDDEN


def test_without_users_of_their_own_only_our_own_user_may_call() -> None:
    allow = server.policy({}, 1000)
    assert allow(Peer(1, 1000, 1000), "issue")
    assert not allow(Peer(1, 0, 0), "issue")


def test_each_isolated_process_may_call_its_own_methods_only() -> None:
    allow = server.policy({1: "app", 2: "status"}, 3)
    assert allow(Peer(9, 2, 2), "sign-ocsp")
    assert allow(Peer(9, 2, 2), "describe")
    assert not any(
        allow(Peer(9, 2, 2), method)
        for method in ("prepare", "issue", "recall", "local-service", "sign-crl", "journal")
    )
    assert all(allow(Peer(9, 1, 1), method) for method in server.CALLERS)
    for_root = server.OPERATOR
    assert not any(
        allow(Peer(9, uid, 0), method)
        for uid in (0, 3, 4)
        for method in server.CALLERS
        if uid or method not in for_root
    )


@pytest.mark.clause("CPS 5.2.3")
def test_root_and_no_other_process_opens_closes_halts_and_resumes() -> None:
    allow = server.policy({1: "app", 2: "status"}, 3)
    changes = server.OPERATOR - {"activation"}
    assert changes == {"activate", "deactivate", "halt", "resume"}
    for method in changes:
        assert allow(Peer(9, 0, 0), method)
        assert not any(allow(Peer(9, uid, 0), method) for uid in (1, 2, 3, 4))
        assert server.policy({}, 1000)(Peer(9, 1000, 0), method)
        assert not server.policy({}, 1000)(Peer(9, 1001, 0), method)


@pytest.mark.clause("RFC 6960 section 4.2.2.2")
async def test_a_list_of_statuses_is_one_issuers_and_each_is_judged(vault: Vault) -> None:
    now = SystemClock().now()
    revoked = api.OcspRequest("ec-1", b"\x01" * 16, "sha256", now, now + DAY, now, 1)
    answer = ocsp.load_der_ocsp_response(
        (await vault.sign_ocsp_list(api.OcspList((revoked, replace(revoked, hash_name="sha1"))))).der
    )
    assert [each.hash_algorithm.name for each in answer.responses] == ["sha256", "sha1"]
    answer.certificates[0].public_key().verify(  # type: ignore[call-arg,union-attr]
        answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm)
    )
    for other, code in (
        (replace(revoked, issuer_id="rsa-1"), "ocsp.issuer"),
        (replace(revoked, revoked_at=None, reason=None), "ocsp.unassigned"),
        (replace(revoked, this_update=now + 60), "status.this-update"),
    ):
        with pytest.raises(Refused, match=code.replace(".", r"\.")):
            await vault.sign_ocsp_list(api.OcspList((revoked, other)))
    with pytest.raises(Refused, match=r"ocsp\.issuer"):
        await vault.sign_ocsp_list(api.OcspList(()))
