"""A register, its copy of the audit log, its public files and its OCSP cache, each restorable by itself."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from core import audit_copy, gaps, tables
from core.audit_copy import AuditCopy
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database, Reader
from core.issuers import Issuer, put_issuer
from core.settings import Settings, Status
from repo_static.store import Store
from status.ocsp.index.index import Index
from status.restored.register import RestoredRegister
from tests.support.software_vault import SoftwareVault

STATUS = Status()
_STARTS = count(0, 100_000)


@dataclass
class Alive:
    """A CA's status side between a start and a stop."""

    house: Any
    register: RestoredRegister
    copy: AuditCopy
    database: Database

    @property
    def missing(self) -> list[str]:
        """The subjects of what is missing."""
        return [gap.subject for gap in gaps.are_open(self.database.reader)]


@asynccontextmanager
async def alive(
    house_class: Any, directory: Path, clock: FakeClock, vault: SoftwareVault, status: Status = STATUS
) -> AsyncIterator[Alive]:
    """Started, looked at, and at the end stopped as in an orderly way."""
    data = DataDirectory(directory)
    data.repository.mkdir(exist_ok=True)
    data.run.mkdir(exist_ok=True)
    tables.migrate(data.database, clock)
    copy = AuditCopy(data.audit)
    database = Database(data.database, clock, copy=copy)
    await database.open()
    for info in vault.description().issuers:
        issuer = Issuer(info.id, str(info.use), info.algorithm, info.certificate, b"", status.crl_shards)
        await database.write(partial(put_issuer, issuer=issuer), at_any_time=True)
    register = RestoredRegister(
        database,
        Store(data.repository),
        copy,
        Index(data.answers, clock),
        clock,
        marker=data.restored,
        mark=data.register_mark,
    )
    await register.look()
    reader = Reader(data.database)
    house = house_class(data, clock, database, vault, replace(Settings(), status=status), reader)
    house.drawn = next(_STARTS)  # no serial number is drawn twice
    try:
        yield Alive(house, register, copy, database)
    finally:
        await register.follow_to_the_end()
        reader.close()
        await database.close()
        copy.close()


def back_up(directory: Path, to: Path) -> None:
    """All of a data directory, as a person would with the CA running: the database by `.backup`."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    files = (directory / "ca.sqlite", to / "ca.sqlite")
    with closing(sqlite3.connect(files[0])) as source, closing(sqlite3.connect(files[1])) as target:
        source.backup(target)
    for name in ("audit", "repository", "run"):
        if (directory / name).exists():
            shutil.copytree(directory / name, to / name, ignore=shutil.ignore_patterns("*.sock"))


def restore(backup: Path, directory: Path, *parts: str) -> None:
    """Put these parts back: "database", "audit", "repository", "run"."""
    for part in parts:
        if part == "database":
            for old in directory.glob("ca.sqlite*"):
                old.unlink()
            shutil.copy(backup / "ca.sqlite", directory / "ca.sqlite")
        else:
            shutil.rmtree(directory / part, ignore_errors=True)
            if (backup / part).exists():
                shutil.copytree(backup / part, directory / part)


def lines(directory: Path) -> list[audit_copy.Record]:
    """Every record that was ever copied."""
    return [
        audit_copy._decoder.decode(line)
        for path in sorted(directory.iterdir())
        for line in path.read_bytes().splitlines()
    ]
