"""Whoever holds the front's position and the database's write access still gets nothing without evidence.

The attacker here talks to the vault's socket as the app does, asks the perspectives, and rewrites rows; what
the attacker does not have is a perspective's key, the token's PIN or control of the name.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.client import ChallengeServer, make_csr, open_session
from core.errors import Refused
from core.evidence import PerspectiveKey, Result, SignedStatement, Statement
from core.rpc import RpcClient
from signer.api import ISSUE, PREPARE, Applicant, IssueRequest, LeafRequest
from tests.support.applicant import AccountKey, applicant, key_change
from tests.support.books import Books
from tests.support.ca import RunningCa
from tests.support.software_ca import spki
from tests.support.subscriber import Subscriber
from validation.api import CHECK, CheckRequest

OWN = "attacker.example.com"
"""A name that the attacker does control, and for which the CA holds true evidence."""
VICTIM = "refused.example.com"
"""A name at which nothing of the attacker's answers."""
OTHERS = "victim.example.com"
"""A name that somebody else has validated, with evidence that is still good."""

MINE = spki(ec.generate_private_key(ec.SECP256R1()))
"""A key of the attacker's, which he wants certified."""

pytestmark = pytest.mark.clause("BR 3.2.2.4")


@dataclass(frozen=True, slots=True)
class Loot:
    """What a takeover of the front and the database yields: true issuances with all that proved them.

    `request` is of the attacker's own account, whose key he has; `victims` of somebody else's.
    """

    request: LeafRequest
    key: AccountKey
    victims: LeafRequest


@pytest.fixture(scope="module")
def loot(ca: RunningCa) -> Loot:
    async def issue(name: str) -> AccountKey:
        async with _subscriber(ca) as subscriber:
            ended = await subscriber.obtain(name)
            assert ended.status == "valid", ended.order
            return AccountKey(subscriber.client.key)

    key = asyncio.run(issue(OWN))
    asyncio.run(issue(OTHERS))
    return Loot(_taken(ca, OWN), key, _taken(ca, OTHERS))


def _taken(ca: RunningCa, name: str) -> LeafRequest:
    """The request by which `name` was certified, under a new serial number and for a new issuance."""
    with Books(ca).database() as db:
        row = db.one("SELECT * FROM certificates WHERE names = ? AND state = 'issued'", (f'["{name}"]',))
        assert row is not None
        order = db.one("SELECT csr, applicant FROM orders WHERE id = ?", (row["request_id"],))
    assert order is not None
    requested = x509.load_der_x509_csr(order["csr"]).public_key()
    evidence = msgspec.msgpack.decode(row["evidence"], type=tuple[SignedStatement, ...])
    return LeafRequest(
        issuance_id="taken-over-0000000000",
        serial=b"\x41" + bytes(range(16)),
        issuer_id=row["issuer_id"],
        profile=row["profile"],
        names=(name,),
        account_url=row["account_url"],
        public_key=requested.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        not_before=row["not_before"],
        not_after=row["not_after"],
        crl_shard=row["crl_shard"],
        evidence=evidence,
        applicant=msgspec.msgpack.decode(order["applicant"], type=Applicant),
    )


@pytest.fixture
def nothing_more_is_issued(ca: RunningCa, loot: Loot) -> Iterator[None]:
    """The journal's intents and the register before are those after."""
    before = _issued(ca)
    yield
    assert _issued(ca) == before


def test_the_vault_refuses_a_name_without_any_evidence(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    _refused(ca, loot, replace(loot.request, names=(VICTIM,), evidence=()))


def test_the_vault_refuses_another_names_evidence(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    _refused(ca, loot, replace(loot.request, names=(VICTIM,)))


def test_the_vault_refuses_a_second_name_smuggled_in_beside_a_proven_one(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    _refused(ca, loot, replace(loot.request, names=(OWN, VICTIM)))


def test_the_vault_refuses_a_wildcard_above_a_proven_name(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    _refused(ca, loot, replace(loot.request, names=(f"*.{OWN}",)))


def test_the_vault_refuses_evidence_won_by_another_account(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    _refused(ca, loot, replace(loot.request, account_url=f"{ca.base_url}/acme/account/another"))


def test_the_vault_refuses_statements_signed_by_a_key_that_is_not_pinned(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    forger = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
    forged = tuple(forger.sign(_renamed(one)) for one in loot.request.evidence)
    _refused(ca, loot, replace(loot.request, names=(VICTIM,), evidence=forged))


def test_the_vault_refuses_a_true_signature_over_changed_words(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    changed = tuple(
        replace(one, payload=msgspec.msgpack.encode(_renamed(one))) for one in loot.request.evidence
    )
    _refused(ca, loot, replace(loot.request, names=(VICTIM,), evidence=changed))


def test_the_vault_refuses_a_forged_statement_that_borrows_the_pinned_keys_id(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    forger = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
    forged = tuple(replace(forger.sign(_renamed(one)), key_id=one.key_id) for one in loot.request.evidence)
    _refused(ca, loot, replace(loot.request, names=(VICTIM,), evidence=forged))


def test_a_perspective_asked_directly_signs_only_what_it_sees(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    asked = CheckRequest(
        name=VICTIM,
        account_url=loot.request.account_url,
        attempt="attempt-of-the-attacker",
        method="http-01",
        caa_method="http-01",
        token="A" * 22,
        thumbprint="B" * 43,
    )
    socket = next((ca.data / "run").glob("perspective-*.sock"))
    signed = _call(socket, lambda client: client.call(CHECK, asked)).signed
    control = signed.statement().control
    assert control is not None
    assert control.result is not Result.PASS
    _refused(ca, loot, replace(loot.request, names=(VICTIM,), evidence=(signed,)))


def test_a_caa_recheck_alone_is_no_evidence_of_control(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    asked = CheckRequest(
        name=VICTIM,
        account_url=loot.request.account_url,
        attempt="attempt-of-the-attacker-2",
        method="",
        caa_method="http-01",
    )
    socket = next((ca.data / "run").glob("perspective-*.sock"))
    signed = _call(socket, lambda client: client.call(CHECK, asked)).signed
    _refused(ca, loot, replace(loot.request, names=(VICTIM,), evidence=(signed,)))


@pytest.mark.parametrize("evidence", ["none", "another name's"])
def test_an_authorization_forged_in_the_database_ends_in_an_invalid_order(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None, evidence: str
) -> None:
    blob = msgspec.msgpack.encode(loot.request.evidence) if evidence != "none" else None

    async def attack() -> None:
        async with _subscriber(ca) as subscriber:
            url = await subscriber.order(VICTIM)
            _forge(ca, url.rpartition("/")[2], blob)
            ended = await subscriber.finish(url, make_csr(VICTIM))
            assert ended.status == "invalid", ended.order

    asyncio.run(attack())


def _forge(ca: RunningCa, order_id: str, evidence: bytes | None) -> None:
    with closing(sqlite3.connect(ca.data / "ca.sqlite", timeout=10, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")  # or the CA sees that it is not alone
        authorization = db.execute(
            "SELECT authorization_id FROM order_authorizations WHERE order_id = ?", (order_id,)
        ).fetchone()[0]
        now = db.execute("SELECT created_at FROM orders WHERE id = ?", (order_id,)).fetchone()[0]
        db.execute("BEGIN IMMEDIATE")
        attempt = None
        if evidence is not None:
            attempt = db.execute(
                "INSERT INTO attempts (id, at, took, account_id, authorization_id, name, domain, method, "
                "adn, result, problem, detail, control_quorum, caa_quorum, oldest_datum, views, statements) "
                "SELECT 'forged', ?, 0, account_id, id, value, value, 'http-01', value, "
                "'pass', '', '', '6/6', '6/6', ?, x'90', ? FROM authorizations WHERE id = ?",
                (now, now, evidence, authorization),
            ).lastrowid
        db.execute(
            "UPDATE authorizations SET status = 'valid', method = 'http-01', adn = value, "
            "oldest_datum = ?, attempt = ? WHERE id = ?",
            (now, attempt, authorization),
        )
        db.execute(
            "UPDATE challenges SET status = 'valid', validated = ? "
            "WHERE authorization_id = ? AND type = 'http-01'",
            (now, authorization),
        )
        db.execute("UPDATE orders SET status = 'ready' WHERE id = ?", (order_id,))
        db.execute("COMMIT")


def _renamed(signed: SignedStatement) -> Statement:
    statement = signed.statement()
    control = replace(statement.control, adn=VICTIM) if statement.control else None
    return replace(statement, name=VICTIM, control=control)


@pytest.mark.clause("RFC 8555 section 8.1")
def test_the_vault_refuses_a_victims_evidence_for_a_key_that_the_victim_did_not_ask_for(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    stolen = loot.victims
    _attack(ca, replace(stolen, public_key=MINE), "applicant.csr")
    _attack(ca, replace(stolen, public_key=MINE, applicant=None), "applicant.missing")
    in_his_name = applicant((OTHERS,), MINE, stolen.account_url, loot.key)
    _attack(ca, replace(stolen, public_key=MINE, applicant=in_his_name), "evidence.account-key")
    mine = loot.request.account_url
    in_mine = applicant((OTHERS,), MINE, mine, loot.key)
    _attack(ca, replace(stolen, public_key=MINE, applicant=in_mine, account_url=mine), "evidence.account")


@pytest.mark.clause("RFC 8555 section 7.3.5")
def test_the_vault_refuses_a_change_of_the_victims_account_key_that_the_victim_did_not_sign(
    ca: RunningCa, loot: Loot, nothing_more_is_issued: None
) -> None:
    stolen = loot.victims
    assert stolen.applicant is not None
    victims_jwk = msgspec.json.decode(stolen.applicant.jwk)
    invented = key_change(loot.key, loot.key, stolen.account_url, oldKey=victims_jwk)
    asked = applicant((OTHERS,), MINE, stolen.account_url, loot.key, (invented,))
    _attack(ca, replace(stolen, public_key=MINE, applicant=asked), "applicant.key-change")


def _refused(ca: RunningCa, loot: Loot, request: LeafRequest) -> None:
    """Refused for want of evidence, although the attacker's own account asks for just this."""
    asked = applicant(request.names, request.public_key, request.account_url, loot.key)
    _attack(ca, replace(request, applicant=asked), "evidence.")


def _attack(ca: RunningCa, request: LeafRequest, code: str) -> None:
    async def attack(client: RpcClient) -> None:
        prepared = await client.call(PREPARE, request)
        await client.call(ISSUE, IssueRequest(prepared.token))

    with pytest.raises(Refused) as refused:
        _call(ca.data / "run/vault.sock", attack)
    assert refused.value.code.startswith(code), refused.value


def _call(socket: Any, act: Callable[[RpcClient], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        client = RpcClient(socket)
        try:
            return await act(client)
        finally:
            await client.close()

    return asyncio.run(run())


def _issued(ca: RunningCa) -> tuple[int, int]:
    books = Books(ca)
    intents = sum(entry.kind == "intent" for entry in books.journal())
    with books.database() as db:
        return intents, len(db.all("SELECT id FROM certificates WHERE state IN ('issued', 'lost')"))


class _subscriber:
    """An account whose http-01 answers come from a server on the CA's validation port."""

    def __init__(self, ca: RunningCa) -> None:
        self._ca = ca
        self._http01 = ChallengeServer()

    async def __aenter__(self) -> Subscriber:
        await self._http01.start("127.0.0.1", self._ca.http_port)
        self._session = open_session(str(self._ca.trust_anchor), 8)
        return await Subscriber.register(self._session, self._ca.directory_url, self._http01)

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._http01.stop()
