"""A key of an external account, for clients that bind their account to one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from tests.support.ca import REPOSITORY, RunningCa
from tests.support.clients import run


@dataclass(frozen=True, slots=True)
class Binding:
    """A reusable key: its id, and the HMAC key in base64url."""

    ca: RunningCa
    kid: str
    key: str

    @property
    def accounts(self) -> int:
        """How many accounts are bound to it."""
        with closing(sqlite3.connect(f"file:{self.ca.data}/ca.sqlite?mode=ro", uri=True)) as database:
            bound = "SELECT count(*) FROM accounts WHERE binding_kid = ?"
            return int(database.execute(bound, (self.kid,)).fetchone()[0])


@pytest.fixture(scope="session")
def binding_key(ca: RunningCa) -> Binding:
    """Made by an operator, as a customer would be given it."""
    words = ["eab", "add", "--label", "customer 7", "--reusable", "--json"]
    told = json.loads(run(ca.command(*words), REPOSITORY).ok().output)
    return Binding(ca, told["kid"], told["hmac_key"])


@pytest.fixture
def binding(binding_key: Binding) -> Iterator[Binding]:
    """That key, for a test after which one more account is bound to it."""
    before = binding_key.accounts
    yield binding_key
    assert binding_key.accounts == before + 1
