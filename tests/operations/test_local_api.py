from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from core import blocked_keys, certificates
from core.certificates import Reservation
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.errors import Refused, TransientError
from core.issuers import Issuer, put_issuer
from operations import local_api
from tests.support.database import NOW, opened

SERIAL = bytes.fromhex("0123456789abcdef")


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path)
    made.run.mkdir()
    return made


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
@pytest.mark.clause("BR 4.9.1.1")
async def test_the_operator_revokes_and_the_crl_is_woken(database: Database, data: DataDirectory) -> None:
    done = await local_api.revoke(data, SERIAL, 4, "asked by telephone")
    found = certificates.revocation_of(database.reader, SERIAL)
    assert found is not None
    assert (found.revoked_at, found.reason) == (done.revoked_at, 4)
    assert found.cause == "asked by telephone"
    assert woken == [True]


@pytest.mark.usefixtures("app")
async def test_the_audit_log_names_the_operator(database: Database, data: DataDirectory) -> None:
    await local_api.revoke(data, SERIAL, 1, "key found on the net")
    row = database.reader.one("SELECT subject FROM audit WHERE kind = 'revocation'")
    assert row is not None
    assert row["subject"].startswith("operator ")


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("serial", "reason", "code"),
    [(b"\x01", 0, "revocation.unknown"), (SERIAL, 6, "revocation.reason"), (SERIAL, 2, "revocation.reason")],
)
async def test_a_refused_revocation_changes_nothing(
    serial: bytes, reason: int, code: str, database: Database, data: DataDirectory
) -> None:
    with pytest.raises(Refused) as refused:
        await local_api.revoke(data, serial, reason, "a test")
    assert refused.value.code == code
    assert certificates.revocation_version(database.reader) == 0
    assert woken == []


@pytest.mark.usefixtures("app")
async def test_a_second_revocation_is_refused_and_the_first_stands(
    database: Database, data: DataDirectory
) -> None:
    await local_api.revoke(data, SERIAL, 4, "the first")
    with pytest.raises(Refused, match=r"revocation\.already"):
        await local_api.revoke(data, SERIAL, 5, "the second")
    found = certificates.revocation_of(database.reader, SERIAL)
    assert found is not None
    assert found.cause == "the first"


@pytest.mark.usefixtures("app")
@pytest.mark.clause("BR 7.2.2")
async def test_the_operator_may_find_a_key_compromised_after_another_reason(
    database: Database, data: DataDirectory
) -> None:
    first = await local_api.revoke(data, SERIAL, 4, "the first")
    assert await local_api.revoke(data, SERIAL, 1, "key found on the net") == replace(first, reason=1)
    found = certificates.by_serial(database.reader, SERIAL)
    assert found is not None
    assert blocked_keys.is_blocked(database.reader, found.spki_sha256)


async def test_without_an_app_the_operator_is_told_so(data: DataDirectory) -> None:
    with pytest.raises(TransientError, match=r"app\.sock"):
        await local_api.revoke(data, SERIAL, 0, "a test")


@pytest.mark.clause("BR 5.4.1")
async def test_another_user_at_the_operators_socket_is_refused_and_recorded(
    database: Database, data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_api, "_ours", lambda peer, method: False)
    server = local_api.server(database, lambda: None, lambda: None)
    await server.listen(data.app_socket)
    with pytest.raises(Refused, match=r"rpc\.forbidden"):
        await local_api.revoke(data, SERIAL, 1, "a test")
    await server.close()
    assert certificates.revocation_version(database.reader) == 0
    row = database.reader.one("SELECT content FROM audit WHERE kind = 'access.operator-socket'")
    assert row is not None
