"""acme_server/answers.py: what every answer has, on the way of a whole order."""

from __future__ import annotations

import base64

import pytest

from tests.support.acme_client import AcmeClient, Answer, b64, csr, ec_key
from tests.support.acme_front import BASE, Front

NAME = "www.example.com"


async def a_whole_life(front: Front, client: AcmeClient) -> list[Answer]:
    """One success of every resource that takes a POST."""
    answers = [await client.register(contact=["mailto:a@example.org"])]
    account = client.kid
    assert account is not None
    answers += [
        await client.post("/directory"),
        await client.post("/acme/new-nonce"),
        await client.post(account),
        await client.post(account, {"contact": []}),
        order := await client.order(NAME),
        await client.post(f"{account}/orders"),
        authorization := await client.post(order.body["authorizations"][0]),
        await client.post(authorization.body["challenges"][0]["url"]),
        await client.post(authorization.body["challenges"][0]["url"], {}),
    ]
    front.perspectives.pass_names.add(NAME)
    await front.run_jobs()
    answers.append(await client.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))}))
    await front.run_jobs()
    answers.append(valid := await client.post(order.headers["Location"]))
    answers.append(chain := await client.post(valid.body["certificate"]))
    leaf = base64.b64decode(b"".join(chain.octets.partition(b"-----END")[0].splitlines()[1:]))
    answers.append(await client.post("/acme/revoke-cert", {"certificate": b64(leaf)}))
    key = ec_key()
    answers.append(await client.change_key(key))
    client.key = key
    answers.append(await client.post(order.body["authorizations"][0], {"status": "deactivated"}))
    answers.append(await client.post(account, {"status": "deactivated"}))
    return answers


@pytest.mark.clause("RFC 8555 section 6.5")
@pytest.mark.must("rfc8555.6.5.in-successes", "rfc8555.6.5.1.base64url", "rfc8555.6.1.unpadded")
@pytest.mark.must("rfc8555.7.1.index")
async def test_every_success_of_a_post_has_one_fresh_nonce_and_a_link_to_the_directory(front: Front) -> None:
    answers = await a_whole_life(front, front.client())
    assert {answer.status for answer in answers} <= {200, 201, 204}
    nonces = [answer.headers.getall("Replay-Nonce") for answer in answers]
    assert {len(each) for each in nonces} == {1}
    assert len({each[0] for each in nonces}) == len(answers)
    for (nonce,) in nonces:
        assert b64(base64.urlsafe_b64decode(nonce + "=" * (-len(nonce) % 4))) == nonce
    assert all(answer.links("index") == [f"{BASE}/directory"] for answer in answers)


@pytest.mark.clause("RFC 8555 section 6.3")
@pytest.mark.must("rfc8555.6.3.directory-and-nonce")
async def test_directory_and_new_nonce_are_read_by_get_and_by_post_as_get(
    front: Front, subscriber: AcmeClient
) -> None:
    by_get, by_post = await subscriber.get("/directory"), await subscriber.post("/directory")
    assert (by_get.status, by_post.status, by_post.body) == (200, 200, by_get.body)
    by_get, by_post = await subscriber.get("/acme/new-nonce"), await subscriber.post("/acme/new-nonce")
    for answer in (by_get, by_post):
        assert (answer.status, answer.octets, answer.headers["Cache-Control"]) == (204, b"", "no-store")
        assert len(answer.headers.getall("Replay-Nonce")) == 1
    subscriber.kid = f"{BASE}/acme/account/nobody"
    assert (await subscriber.post("/directory")).problem == "accountDoesNotExist"
