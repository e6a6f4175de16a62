from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from core import blocked_keys, certificates, revocations
from core.certificates import Reservation
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.errors import Refused, TransientError
from core.issuers import Issuer, put_issuer
from operations.desk import local_api
from tests.support.database import NOW, opened

SERIAL = bytes.fromhex("0123456789abcdef")


@pytest.fixture
async def database(data: DataDirectory) -> AsyncIterator[Database]:
    async with opened(data.root) as database:

        def issued(tx: Transaction) -> None:
            put_issuer(tx, Issuer("ec-1", "issuing", "ec-p256", b"certificate", b"chain", 1))
            certificates.reserve(
                tx,
                Reservation(
                    id="one",
                    serial=SERIAL,
                    issuer_id="ec-1",
                    crl_shard=0,
                    request_id="order",
                    account_url="https://ca.example/acme/account/1",
                    profile="tlsserver",
                    names=("localhost",),
                    spki_sha256=b"k" * 32,
                    not_before=NOW,
                    not_after=NOW + 86400,
                    versions={},
                ),
            )
            certificates.store(tx, "one", b"certificate", NOW, b"t" * 32, [])

        await database.write(issued)
        yield database


woken: list[bool] = []


@pytest.fixture
async def app(database: Database, data: DataDirectory) -> AsyncIterator[None]:
    woken.clear()
    server = local_api.server(database, lambda: woken.append(True), lambda: None)
    await server.listen(data.app_socket)
    yield
    await server.close()


@pytest.mark.usefixtures("app")
@pytest.mark.clause("BR 5.4.1")
async def test_who_sets_another_name_is_in_the_audit_log_with_its_uid_and_that_name_as_a_claim(
    database: Database, data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "the head of the CA")
    await asyncio.to_thread(local_api.block_key, data, b"k" * 32, "found on the net")
    row = database.reader.one("SELECT subject FROM audit WHERE kind = 'key-blocked'")
    assert row is not None
    told, _, claim = row["subject"].rpartition(", ")
    assert told.startswith("operator ")
    assert f"uid {os.getuid()}" in told
    assert claim == 'who says "the head of the CA"'


@pytest.mark.usefixtures("app")
@pytest.mark.clause("BR 6.1.1.3")
async def test_the_operator_blocks_a_key_and_all_that_follows_is_told(
    database: Database, data: DataDirectory
) -> None:
    done = await asyncio.to_thread(local_api.block_key, data, b"k" * 32, "found on the net")
    assert (done.newly, done.revoked, done.upgraded) == (True, (SERIAL,), ())
    assert blocked_keys.is_blocked(database.reader, b"k" * 32)
    assert woken == [True]
    row = database.reader.one("SELECT subject FROM audit WHERE kind = 'revocation'")
    assert row is not None
    assert row["subject"].startswith("operator ")


async def test_without_an_app_the_operator_is_told_so(data: DataDirectory) -> None:
    with pytest.raises(TransientError, match=r"app\.sock"):
        await asyncio.to_thread(local_api.block_key, data, b"k" * 32, "a test")


@pytest.mark.clause("BR 5.4.1")
async def test_another_user_at_the_operators_socket_is_refused_and_recorded(
    database: Database, data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_api, "_ours", lambda peer, method: False)
    server = local_api.server(database, lambda: None, lambda: None)
    await server.listen(data.app_socket)
    with pytest.raises(Refused, match=r"rpc\.forbidden"):
        await asyncio.to_thread(local_api.block_key, data, b"k" * 32, "a test")
    await server.close()
    assert revocations.version(database.reader) == 0
    row = database.reader.one("SELECT content FROM audit WHERE kind = 'access.operator-socket'")
    assert row is not None
