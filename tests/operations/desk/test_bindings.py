"""operations/desk/bindings.py and commands/eab.py: keys of external accounts, by the operator's hand."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from typer.testing import CliRunner, Result

from acme_server import jws
from acme_server.objects import Account
from acme_server.registration.binding_secret import BindingSecret
from acme_server.states import AccountStatus
from acme_server.store import accounts, bindings
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.errors import TransientError
from core.randomness import SystemRandomness
from core.settings import Acme, Settings
from operations.cli import application
from operations.desk import bindings as operator
from operations.desk import local_api
from operations.process import Exit
from tests.support.acme_client import ec_key, jwk
from tests.support.database import NOW, opened

SECRET = BindingSecret(b"the secret of external accounts, in tests")


RUNNING = Settings(acme=Acme(base_url="https://acme.running.example"))
"""Not those of the command line, which is where a CA of other settings would mislead."""


@pytest.fixture
async def database(data: DataDirectory) -> AsyncIterator[Database]:
    """An app's database, with its socket."""
    clock = FakeClock(NOW)
    async with opened(data.root, clock) as database:
        server = local_api.server(database, lambda: None, lambda: None)
        operator.serve(server, database, clock, SECRET, RUNNING, SystemRandomness())
        await server.listen(data.app_socket)
        yield database
        await server.close()


async def eab(data: DataDirectory, *arguments: str) -> Result:
    """In a thread: the command line has a loop of its own."""
    whole = ["eab", *arguments, "--data", str(data.root)]
    return await asyncio.to_thread(CliRunner().invoke, application, whole)


async def added(data: DataDirectory, *arguments: str) -> dict[str, str]:
    made = await eab(data, "add", "--label", "Example Hosting", "--json", *arguments)
    assert made.exit_code == 0, made.output
    return dict(json.loads(made.stdout))


def audited(database: Database, kind: str) -> list[dict[str, object]]:
    rows = database.reader.all("SELECT content FROM audit WHERE kind = ?", (kind,))
    return [json.loads(row["content"]) for row in rows]


async def put_accounts(database: Database, kid: str, count: int) -> None:
    """Accounts that were made with the key."""

    def fill(tx: Transaction) -> None:
        for number in range(count):
            url = f"https://ca.test/acme/account/{kid}{number}"
            account = Account(f"{kid}{number}", url, AccountStatus.VALID, (), "1", NOW, kid, "{}")
            accounts.insert(tx, account, jws.public_key(dict(jwk(ec_key()))))

    await database.write(fill)


@pytest.mark.must("rfc8555.7.3.4.ascii", "rfc8555.7.3.4.mac-key")
async def test_a_key_is_printed_once_with_the_lines_for_clients(
    database: Database, data: DataDirectory
) -> None:
    made = await eab(data, "add", "--label", "Example Hosting", "--expires", "2027-01-31")
    assert made.exit_code == 0, made.output
    kid = made.stdout.splitlines()[0].split()[-1]
    key = made.stdout.splitlines()[1].split()[-1]
    assert kid.isascii()
    assert base64.urlsafe_b64decode(key + "==") == SECRET.key(kid)
    assert f"certbot register --server {RUNNING.acme.base_url}/directory --eab-kid {kid}" in made.stdout
    assert f"--hmac {key}" in made.stdout
    assert "For one account, until 2027-01-31. It is shown this once." in made.stdout
    assert 'acme.external_account is "off"' in made.stderr
    row = bindings.by_kid(database.reader, kid)
    assert row is not None
    assert (row.label, row.reusable, row.expires_at) == ("Example Hosting", False, 1_801_440_000)
    assert [each["kid"] for each in audited(database, "binding.added")] == [kid]


async def test_no_secret_is_stored_or_recorded_or_shown_again(
    database: Database, data: DataDirectory
) -> None:
    made = await added(data)
    listed = await eab(data, "list", "--json")
    assert made["kid"] in listed.output
    assert made["hmac_key"] not in listed.output
    await database.close()
    stored = b"".join(path.read_bytes() for path in data.root.glob("ca.sqlite*"))
    assert made["kid"].encode() in stored
    assert made["hmac_key"].encode() not in stored
    assert SECRET.key(made["kid"]) not in stored


async def test_neither_id_nor_key_looks_like_an_option_on_a_command_line(
    database: Database, data: DataDirectory
) -> None:
    class Dashes:
        """Octets that begin a kid with "-" now and then."""

        def __init__(self) -> None:
            self.first = iter((248, 249, 250, 251, 1, 2, 3, 4))

        def octets(self, count: int) -> bytes:
            return bytes([next(self.first), *range(1, count)])

    kid, key = operator._draw(SECRET, Dashes())
    assert not kid.startswith("-")
    assert not key.startswith("-")


async def test_keys_are_listed_with_their_state_over_all_pages(
    database: Database, data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "PAGE", 2)
    made = [(await added(data, "--reusable"))["kid"] for _ in range(3)]
    await put_accounts(database, made[1], 2)
    await database.write(lambda tx: bindings.use(tx, made[1]))
    assert (await eab(data, "revoke", made[2])).exit_code == 0
    found = json.loads((await eab(data, "list", "--json")).stdout)
    assert [(each["kid"], each["state"], each["uses"], each["accounts"]) for each in found] == [
        (made[0], "good", 0, 0),
        (made[1], "good", 1, 2),
        (made[2], "withdrawn", 0, 0),
    ]
    assert "Example Hosting" in (await eab(data, "list")).stdout


async def test_an_empty_list_says_how_to_make_a_key(database: Database, data: DataDirectory) -> None:
    assert "eab add --label" in (await eab(data, "list")).stdout


async def test_a_withdrawn_key_leaves_its_accounts_as_they_are(
    database: Database, data: DataDirectory
) -> None:
    kid = (await added(data, "--reusable"))["kid"]
    await put_accounts(database, kid, 2)
    told = await eab(data, "revoke", kid, "--json")
    assert json.loads(told.stdout) == {"kid": kid, "withdrawn_now": True, "accounts_ended": 0}
    assert bindings.valid_accounts(database.reader, kid) == 2
    again = await eab(data, "revoke", kid)
    assert "was withdrawn before" in again.stdout
    assert len(audited(database, "binding.withdrawn")) == 1


async def test_accounts_end_with_their_key_when_the_operator_says_so(
    database: Database, data: DataDirectory
) -> None:
    kid, other = (await added(data, "--reusable"))["kid"], (await added(data, "--reusable"))["kid"]
    count = operator.ENDED_AT_ONCE + 1
    await put_accounts(database, kid, count)
    await put_accounts(database, other, 1)
    told = await eab(data, "revoke", kid, "--deactivate-accounts")
    assert f"{count} accounts ended" in told.stdout
    assert "1 left" in told.stderr
    statuses = database.reader.all("SELECT binding_kid, status FROM accounts GROUP BY 1, 2 ORDER BY 2")
    assert [tuple(row) for row in statuses] == [(kid, "revoked"), (other, "valid")]
    assert len(audited(database, "account.revoked")) == count
    assert "0 accounts ended" in (await eab(data, "revoke", kid, "--deactivate-accounts")).stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("add", "--label", " "), "eab.label"),
        (("add", "--label", "two\nlines"), "eab.label"),
        (("add", "--label", "x" * 201), "eab.label"),
        (("add", "--label", "late", "--expires", "2020-01-01"), "eab.expires"),
        (("revoke", "nobody"), "eab list"),
    ],
)
async def test_a_refusal_says_what_to_do_and_changes_nothing(
    database: Database, data: DataDirectory, arguments: tuple[str, ...], word: str
) -> None:
    refused = await eab(data, *arguments)
    assert refused.exit_code == Exit.REFUSED
    assert word in refused.stderr
    assert database.reader.one("SELECT 1 FROM binding_keys") is None
    assert database.reader.one("SELECT 1 FROM audit WHERE kind LIKE 'binding.%'") is None


async def test_without_a_running_ca_it_says_so(data: DataDirectory) -> None:
    with pytest.raises(TransientError, match="no CA answers"):
        await asyncio.to_thread(operator.list_all, data)


def test_the_answer_with_a_secret_does_not_show_it_in_a_log() -> None:
    made = operator.Added("kid", "the secret", "off", "https://ca.example/directory")
    assert "the secret" not in repr(replace(made, asked="required"))
