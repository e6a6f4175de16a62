"""A key is shown to be compromised: the whole CA, its command line, and a database that is made to forget."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.client import ChallengeServer, open_session
from tests.support.acme_client import csr
from tests.support.books import Books
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.subscriber import Ended, Subscriber

KEY = ec.generate_private_key(ec.SECP256R1())
NAMES = ("first.compromise.example.com", "second.compromise.example.com", "third.compromise.example.com")


@pytest.mark.clause("BR 4.9.12")
@pytest.mark.clause("BR 6.1.1.3")
def test_a_key_that_was_shown_is_blocked_by_the_vault_even_when_the_database_forgets(
    ca: RunningCa, tmp_path: Path
) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    issued = [asyncio.run(_obtain(ca, name)) for name in NAMES[:2]]
    serials = {
        x509.load_pem_x509_certificates(ended.chain)[0].serial_number.to_bytes(17).hex() for ended in issued
    }

    told = json.loads(_keys(ca, "block", "--key-file", str(file), "--reason", "report 17", "--json"))
    assert told["newly"]
    assert {bytes.fromhex(serial).rjust(17, b"\0").hex() for serial in told["revoked"]} == serials
    _wait_for_the_vault(ca)
    assert told["spki_sha256"] in _keys(ca, "list-blocked")
    done = subprocess.run(
        ca.command("keys", "check", str(file)), capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 4
    assert "report 17" in done.stdout

    with closing(sqlite3.connect(ca.data / "ca.sqlite", timeout=10, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")  # or the CA sees that it is not alone
        db.execute("DELETE FROM blocked_keys")
    before = _intents(ca)
    ended = asyncio.run(_obtain(ca, NAMES[2]))
    assert ended.status == "invalid"
    assert ended.order["error"]["type"].endswith("badCSR")
    assert "compromised" in ended.order["error"]["detail"]
    assert _intents(ca) == before


async def _obtain(ca: RunningCa, name: str) -> Ended:
    http01 = ChallengeServer()
    await http01.start("127.0.0.1", ca.http_port)
    session = open_session(str(ca.trust_anchor), 8)
    try:
        subscriber = await Subscriber.register(session, ca.directory_url, http01)
        return await subscriber.finish(await subscriber.order(name), csr(KEY, (name,)))
    finally:
        await session.close()
        await http01.stop()


def _keys(ca: RunningCa, *words: str) -> str:
    done = subprocess.run(
        ca.command("keys", *words), capture_output=True, text=True, cwd=REPOSITORY, check=True, timeout=60
    )
    return done.stdout


def _wait_for_the_vault(ca: RunningCa) -> None:
    deadline = time.monotonic() + 30
    while not any(entry.kind == "blocked-key" for entry in Books(ca).journal()):
        assert time.monotonic() < deadline, "the vault was not told"


def _intents(ca: RunningCa) -> int:
    return sum(entry.kind == "intent" for entry in Books(ca).journal())
