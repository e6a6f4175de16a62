"""acme_server/registration/binding.py: external account binding (RFC 8555 section 7.3.4)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acme_server.registration.binding_secret import BindingSecret
from acme_server.store import bindings
from acme_server.store.bindings import BindingKey
from core.settings import ExternalAccount, Settings
from tests.support.acme_client import AcmeClient, Answer, b64, ec_key, jwk
from tests.support.acme_front import BASE, BINDING_SECRET, Front, running

SECTION = pytest.mark.clause("RFC 8555 section 7.3.4")
NEW = BASE + "/acme/new-account"
SECRET = BindingSecret(BINDING_SECRET)
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def asking(how: ExternalAccount) -> Callable[[Settings], Settings]:
    return lambda settings: replace(settings, acme=replace(settings.acme, external_account=how))


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """A front that makes no account without a binding."""
    async with running(tmp_path, asking(ExternalAccount.REQUIRED)) as opened:
        yield opened


async def hand_out(front: Front, kid: str = "customer-1", **changes: Any) -> bytes:
    """A key, as `acme-server eab add` makes it; its secret."""
    now = front.clock.now()
    row = BindingKey(kid, "A customer", False, 0, SECRET.fingerprint, now, None, None)
    await front.database.write(lambda tx: bindings.insert(tx, replace(row, **changes)))
    return SECRET.key(kid)


def bind(
    client: AcmeClient, key: bytes, *, payload: bytes | None = None, alg: str = "HS256", **header: Any
) -> dict[str, Any]:
    """The externalAccountBinding of the client's key; `header` bends its protected header."""
    protected = {"alg": alg, "kid": "customer-1", "url": NEW} | header
    shown = {name: value for name, value in protected.items() if value is not None}
    head = b64(json.dumps(shown).encode())
    body = b64(json.dumps(jwk(client.key)).encode() if payload is None else payload)
    mac = hmac.digest(key, f"{head}.{body}".encode(), HASHES.get(alg, hashlib.sha256))
    return {"protected": head, "payload": body, "signature": b64(mac)}


async def register(client: AcmeClient, binding: Any) -> Answer:
    return await client.register(externalAccountBinding=binding)


@pytest.mark.must("rfc8555.7.3.4.shown", "rfc8555.7.3.4.mac", "rfc8555.7.3.4.kid")
@SECTION
@pytest.mark.parametrize("alg", HASHES)
async def test_a_binding_makes_an_account_that_shows_it_as_it_came_in(front: Front, alg: str) -> None:
    client = front.client()
    binding = bind(client, await hand_out(front), alg=alg)
    answer = await register(client, binding)
    assert (answer.status, answer.body["externalAccountBinding"]) == (201, binding)
    assert client.kid is not None
    assert (await client.post(client.kid)).body == answer.body
    assert json.loads(front.audit("account.created")[0]["content"])["binding"] == "customer-1"


@pytest.mark.must("rfc8555.7.3.4.required")
@SECTION
@pytest.mark.parametrize("how", ExternalAccount)
async def test_the_directory_says_whether_a_binding_is_required(tmp_path: Path, how: ExternalAccount) -> None:
    async with running(tmp_path, asking(how)) as front:
        meta = (await front.client().get("/directory")).body["meta"]
        assert meta["externalAccountRequired"] is (how is ExternalAccount.REQUIRED)


@pytest.mark.must("rfc8555.7.3.4.required-error")
@SECTION
async def test_without_a_binding_that_is_required_no_account_is_made(front: Front) -> None:
    before = front.counts()
    answer = await front.client().register()
    assert (answer.status, answer.problem) == (403, "externalAccountRequired")
    assert "key id" in answer.body["detail"]
    assert front.counts() == before


@SECTION
async def test_where_bindings_are_optional_an_account_is_made_with_and_without_one(tmp_path: Path) -> None:
    async with running(tmp_path, asking(ExternalAccount.OPTIONAL)) as front:
        key = await hand_out(front)
        plain = await front.client().register()
        assert (plain.status, "externalAccountBinding" in plain.body) == (201, False)
        bad = front.client()
        assert (await register(bad, bind(bad, b"x" * 64))).problem == "unauthorized"
        client = front.client()
        assert (await register(client, bind(client, key))).status == 201


@pytest.mark.must("rfc8555.7.3.4.unverified")
@SECTION
async def test_a_binding_that_nobody_asks_for_is_not_looked_at_and_not_shown(tmp_path: Path) -> None:
    async with running(tmp_path) as front:
        client = front.client()
        answer = await register(client, bind(client, b"any key"))
        assert (answer.status, "externalAccountBinding" in answer.body) == (201, False)


Bend = Callable[[AcmeClient, bytes], Any]

BENT: dict[str, tuple[Bend, str, int]] = {
    "no object": (lambda c, k: "binding", "malformed", 400),
    "an empty object": (lambda c, k: {}, "malformed", 400),
    "an unprotected header": (lambda c, k: bind(c, k) | {"header": {}}, "malformed", 400),
    "several signatures": (lambda c, k: bind(c, k) | {"signatures": []}, "malformed", 400),
    "one member more": (lambda c, k: bind(c, k) | {"x": 1}, "malformed", 400),
    "padded base64url": (lambda c, k: bind(c, k) | {"signature": "AAAA=="}, "malformed", 400),
    "a nonce": (lambda c, k: bind(c, k, nonce="bm9uY2U"), "malformed", 400),
    "another url": (lambda c, k: bind(c, k, url=BASE + "/acme/new-order"), "malformed", 400),
    "no url": (lambda c, k: bind(c, k, url=None), "malformed", 400),
    "no kid": (lambda c, k: bind(c, k, kid=None), "malformed", 400),
    "a kid that is a number": (lambda c, k: bind(c, k, kid=1), "malformed", 400),
    "a jwk beside the kid": (lambda c, k: bind(c, k, jwk=jwk(c.key)), "malformed", 400),
    "a jwk for the kid": (lambda c, k: bind(c, k, kid=None, jwk=jwk(c.key)), "malformed", 400),
    "crit": (lambda c, k: bind(c, k, crit=["exp"]), "malformed", 400),
    "a payload that is no JSON": (lambda c, k: bind(c, k, payload=b"key"), "malformed", 400),
    "a payload that is no object": (lambda c, k: bind(c, k, payload=b"[]"), "malformed", 400),
    "no algorithm": (lambda c, k: bind(c, k, alg="none"), "badSignatureAlgorithm", 400),
    "a signature's algorithm": (lambda c, k: bind(c, k, alg="ES256"), "badSignatureAlgorithm", 400),
    "an unknown kid": (lambda c, k: bind(c, k, kid="customer-2"), "unauthorized", 403),
    "another secret": (lambda c, k: bind(c, b"guessed"), "unauthorized", 403),
    "an empty MAC": (lambda c, k: bind(c, k) | {"signature": ""}, "unauthorized", 403),
    "a MAC cut short": (
        lambda c, k: bind(c, k) | {"signature": bind(c, k)["signature"][:4]},
        "unauthorized",
        403,
    ),
    "another account key": (
        lambda c, k: bind(c, k, payload=json.dumps(jwk(ec_key())).encode()),
        "unauthorized",
        403,
    ),
    "a payload that is no key": (lambda c, k: bind(c, k, payload=b"{}"), "badPublicKey", 400),
}


@pytest.mark.must(
    "rfc8555.7.3.4.mac",
    "rfc8555.7.3.4.kid",
    "rfc8555.7.3.4.no-nonce",
    "rfc8555.7.3.4.url",
    "rfc8555.7.3.4.steps",
    "rfc8555.7.3.4.refused",
)
@SECTION
@pytest.mark.parametrize(("bend", "kind", "status"), BENT.values(), ids=BENT.keys())
async def test_a_binding_that_proves_nothing_makes_no_account(
    front: Front, bend: Bend, kind: str, status: int
) -> None:
    key, client = await hand_out(front), front.client()
    before = front.counts()
    answer = await register(client, bend(client, key))
    assert (answer.problem, answer.status) == (kind, status), answer.body
    if kind == "badSignatureAlgorithm":
        assert answer.body["algorithms"] == ["HS256", "HS384", "HS512"]
    recorded = len(front.audit("access.bad-binding"))
    assert recorded == (kind == "unauthorized")
    assert front.counts() == before | {"audit": before["audit"] + recorded}
    assert (await register(client, bind(client, key))).status == 201


@SECTION
async def test_the_payload_is_compared_as_a_key_and_not_as_text(front: Front) -> None:
    client, key = front.client(), await hand_out(front)
    members = dict(reversed(jwk(client.key).items())) | {"use": "sig", "kid": "mine"}
    answer = await register(client, bind(client, key, payload=json.dumps(members, indent=1).encode()))
    assert answer.status == 201


@SECTION
async def test_a_single_use_key_is_good_for_one_account(front: Front) -> None:
    key, first, second = await hand_out(front), front.client(), front.client()
    assert (await register(first, bind(first, key))).status == 201
    before = front.counts()
    answer = await register(second, bind(second, key))
    assert (answer.status, answer.problem) == (403, "unauthorized")
    assert "good for one" in answer.body["detail"]
    assert front.counts() == before


@SECTION
async def test_of_two_accounts_that_are_made_with_a_single_use_key_at_once_one_is_refused(
    front: Front,
) -> None:
    key = await hand_out(front)
    clients = [front.client() for _ in range(8)]
    answers = await asyncio.gather(*(register(each, bind(each, key)) for each in clients))
    assert sorted(answer.status for answer in answers) == [201] + [403] * 7
    assert front.counts()["accounts"] == 1
    found = bindings.by_kid(front.database.reader, "customer-1")
    assert found is not None
    assert found.uses == 1


@SECTION
async def test_one_account_key_and_one_single_use_key_at_once_make_one_account_for_all(front: Front) -> None:
    key, account_key = await hand_out(front), ec_key()
    clients = [front.client(account_key) for _ in range(4)]
    answers = await asyncio.gather(*(register(each, bind(each, key)) for each in clients))
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 201]


@SECTION
async def test_a_reusable_key_makes_many_accounts(front: Front) -> None:
    key = await hand_out(front, reusable=True)
    for _ in range(3):
        client = front.client()
        assert (await register(client, bind(client, key))).status == 201


@SECTION
@pytest.mark.parametrize(
    ("change", "word"),
    [({"expires_at": 1}, "expired"), ({"withdrawn_at": 1}, "withdrawn"), ({"secret": "other"}, "lost")],
    ids=["expired", "withdrawn", "derived from another secret"],
)
async def test_a_key_that_has_ended_makes_no_account(front: Front, change: dict[str, Any], word: str) -> None:
    key, client = await hand_out(front, reusable=True, **change), front.client()
    before = front.counts()["accounts"]
    answer = await register(client, bind(client, key))
    assert (answer.status, answer.problem) == (403, "unauthorized")
    assert word in answer.body["detail"]
    assert front.counts()["accounts"] == before


@SECTION
async def test_only_who_has_a_key_is_told_that_it_was_used(front: Front) -> None:
    key, first, stranger = await hand_out(front), front.client(), front.client()
    assert (await register(first, bind(first, key))).status == 201
    told = (await register(stranger, bind(stranger, b"guessed"))).body["detail"]
    assert "MAC" in told
    assert "good for one" not in told


@pytest.mark.clause("RFC 8555 section 7.3.1")
async def test_a_known_key_finds_its_account_whatever_binding_comes_with_it(front: Front) -> None:
    client, key = front.client(), await hand_out(front)
    made = await register(client, bind(client, key))
    before = front.counts()
    for binding in ("nonsense", bind(client, b"guessed"), bind(client, key)):
        client.kid = None
        again = await register(client, binding)
        assert (again.status, again.body) == (200, made.body)
    assert front.counts() == before


@SECTION
async def test_an_account_cannot_be_bound_or_unbound_later(front: Front) -> None:
    client, key = front.client(), await hand_out(front, reusable=True)
    made = await register(client, bind(client, key))
    assert client.kid is not None
    other = bind(front.client(), key)
    updated = await client.post(client.kid, {"externalAccountBinding": other})
    assert updated.body == made.body


def test_a_derived_key_is_long_enough_for_every_mac_and_differs_by_kid_and_secret() -> None:
    keys = {SECRET.key("a"), SECRET.key("b"), BindingSecret(b"another secret, of 32 octets....").key("a")}
    assert {len(key) for key in keys} == {64}
    assert len(keys) == 3
    assert BINDING_SECRET.decode() not in repr(SECRET) + repr(vars(SECRET).get("fingerprint"))
