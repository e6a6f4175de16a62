from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core import mass_revocation
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.errors import Refused, TransientError
from core.issuers import Issuer, put_issuer
from operations import issuer_revocation, local_api
from tests.core.test_mass_revocation import put
from tests.support.database import opened

COUNT = mass_revocation.PAGE + 1


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path)
    made.run.mkdir()
    return made


@pytest.fixture
async def database(data: DataDirectory) -> AsyncIterator[Database]:
    async with opened(data.root) as database:

        def fill(tx: Transaction) -> None:
            put_issuer(tx, Issuer("ec-1", "issuing", "ec-p256", b"certificate", b"chain", 1))
            for number in range(1, COUNT + 1):
                put(tx, f"leaf-{number}", number)

        await database.write(fill)
        server = local_api.server(database, lambda: None, lambda: None)
        issuer_revocation.serve(server, database, lambda: woken.append(True))
        await server.listen(data.app_socket)
        yield database
        await server.close()


woken: list[bool] = []


async def revoke(data: DataDirectory, issuer: str, reason: int = 4) -> tuple[int, list[int]]:
    """In a thread: the command line has a loop of its own."""
    told: list[int] = []
    done = await asyncio.to_thread(issuer_revocation.revoke_all, data, issuer, reason, "drill", told.append)
    return done, told


@pytest.mark.clause("BR 5.7.1.2")
async def test_an_operator_revokes_all_pages_and_the_crl_is_woken(
    database: Database, data: DataDirectory
) -> None:
    woken.clear()
    assert await revoke(data, "ec-1") == (COUNT, [mass_revocation.PAGE, COUNT])
    row = database.reader.one("SELECT COUNT(*) AS n FROM revocations WHERE reason = 4")
    assert row is not None
    assert row["n"] == COUNT
    assert woken == [True, True]


@pytest.mark.parametrize(
    ("issuer", "reason", "code"), [("ec-9", 4, "revocation.issuer"), ("ec-1", 1, "revocation.reason")]
)
async def test_a_refusal_says_why_and_changes_nothing(
    database: Database, data: DataDirectory, issuer: str, reason: int, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await revoke(data, issuer, reason)
    assert refused.value.code == code
    assert database.reader.one("SELECT 1 FROM revocations") is None


async def test_without_a_running_ca_it_says_so(data: DataDirectory) -> None:
    with pytest.raises(TransientError):
        await revoke(data, "ec-1")
