"""acme_server/handlers/renewal_info.py, store/renewals.py: ARI as a client sees it, by plain HTTP."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from core import revocations
from core.errors import TransientError
from tests.acme_server.test_cert_id import BENT, VECTOR
from tests.support.acme_client import AcmeClient, Answer, b64, cert_id
from tests.support.acme_front import Front, running

NAME = "www.example.com"
DAY = 86400


def path(certificate: x509.Certificate) -> str:
    return f"/acme/renewal-info/{cert_id(certificate)}"


def window(answer: Answer) -> tuple[int, int]:
    assert answer.status == 200, answer.body
    found = answer.body["suggestedWindow"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each) for each in found.values()), found
    start, end = (int(datetime.fromisoformat(found[key]).timestamp()) for key in ("start", "end"))
    return start, end


@pytest.mark.must("rfc9773.3.directory")
@pytest.mark.must("rfc9773.4.1.unauthenticated")
@pytest.mark.must("rfc9773.4.2.window")
@pytest.mark.clause("RFC 9773 section 3")
@pytest.mark.must("rfc9773.3.directory", "rfc9773.4.1.unauthenticated", "rfc9773.4.2.window")
@pytest.mark.clause("RFC 9773 section 4.1")
async def test_the_directory_says_where_anyone_may_ask_without_an_account(
    front: Front, subscriber: AcmeClient
) -> None:
    _, certificate = await front.issued(subscriber, NAME)
    url = (await subscriber.get("/directory")).body["renewalInfo"]
    assert url == subscriber.base + "/acme/renewal-info"
    answer = await front.client().get(f"{url}/{cert_id(certificate)}")
    now = front.clock.now()
    start, end = window(answer)
    assert now + 54 * DAY <= start < end <= now + 64.8 * DAY
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.body) == {"suggestedWindow"}
    assert "Replay-Nonce" not in answer.headers


@pytest.mark.must("rfc9773.4.3.retry-after")
@pytest.mark.clause("RFC 9773 section 4.3.1")
@pytest.mark.must("rfc9773.4.3.retry-after")
@pytest.mark.clause("RFC 9773 section 6")
async def test_an_answer_says_when_to_ask_again_and_how_long_a_cache_may_hold_it(
    front: Front, subscriber: AcmeClient
) -> None:
    _, certificate = await front.issued(subscriber, NAME)
    for method in ("GET", "HEAD"):
        answer = await subscriber.get(path(certificate), method)
        assert answer.status == 200
        assert answer.headers["Retry-After"] == "21600"
        assert answer.headers.getall("Cache-Control") == ["public, max-age=300, stale-if-error=86400"]
        assert "Vary" not in answer.headers
    assert answer.octets == b""


@pytest.mark.clause("RFC 9773 section 6")
async def test_a_cache_that_has_the_answer_is_told_so(front: Front, subscriber: AcmeClient) -> None:
    _, certificate = await front.issued(subscriber, NAME)
    tag = (await subscriber.get(path(certificate))).headers["ETag"]
    for known in (tag, f'W/"x", W/{tag}'):
        async with front.http.get(front.at + path(certificate), headers={"If-None-Match": known}) as again:
            assert (again.status, await again.read()) == (304, b"")
            assert (again.headers["ETag"], again.headers["Retry-After"]) == (tag, "21600")
            assert "max-age" in again.headers["Cache-Control"]
    async with front.http.get(front.at + path(certificate), headers={"If-None-Match": '"x"'}) as other:
        assert other.status == 200


@pytest.mark.clause("RFC 9773 section 4.2")
async def test_the_window_stays_where_it_is_to_the_end_of_the_certificate_and_beyond(
    front: Front, subscriber: AcmeClient
) -> None:
    _, certificate = await front.issued(subscriber, NAME)
    first = (await subscriber.get(path(certificate))).octets
    for days in (30, 30, 40):
        front.clock.at += days * DAY
        assert (await subscriber.get(path(certificate))).octets == first


@pytest.mark.must("rfc9773.4.2.past")
@pytest.mark.clause("RFC 9773 section 4.2")
@pytest.mark.must("rfc9773.4.2.past")
async def test_a_revoked_certificate_is_to_be_renewed_at_once(front: Front, subscriber: AcmeClient) -> None:
    _, certificate = await front.issued(subscriber, NAME)
    serial = certificate.serial_number.to_bytes(2, "big")
    await front.database.write(lambda tx: revocations.revoke(tx, serial, 4, "test"))
    _, end = window(await subscriber.get(path(certificate)))
    assert end < front.clock.now()


async def status_of(front: Front, target: str) -> tuple[int, bytes]:
    """Asked by hand: a library would mend the target first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(front.at.rpartition(":")[2]))
    writer.write(f"GET {target} HTTP/1.1\r\nHost: ca.test\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), answer


@pytest.mark.clause("RFC 9773 section 4.1")
@pytest.mark.parametrize("text", BENT.values(), ids=BENT.keys())
async def test_a_bent_name_is_refused_and_nothing_changes(front: Front, text: str) -> None:
    before = front.counts()
    status, answer = await status_of(front, f"/acme/renewal-info/{text}")
    assert status == (404 if "/" in text or not text.strip() or text.endswith(" ") else 400)
    assert b"urn:ietf:params:acme:error:malformed" in answer
    assert b"Cache-Control: no-store" in answer
    assert front.counts() == before


@pytest.mark.clause("RFC 9773 section 4.1")
async def test_a_certificate_of_another_issuer_is_not_found_though_the_serial_is_ours(
    front: Front, subscriber: AcmeClient
) -> None:
    _, certificate = await front.issued(subscriber, NAME)
    key_id, _, serial = cert_id(certificate).partition(".")
    for named in (VECTOR, VECTOR.partition(".")[0] + "." + serial, key_id + ".AIdlQyE"):
        answer = await subscriber.get(f"/acme/renewal-info/{named}")
        assert (answer.status, answer.problem) == (404, "malformed")


async def test_what_no_subscriber_has_is_not_found(front: Front, subscriber: AcmeClient) -> None:
    _, certificate = await front.issued(subscriber, NAME)
    for change in ("account_url = NULL", "state = 'reserved'"):
        await front.database.write(lambda tx, to=change: tx.execute(f"UPDATE certificates SET {to}"))  # type: ignore[misc]
        assert (await subscriber.get(path(certificate))).status == 404


@pytest.mark.clause("RFC 9773 section 4.1")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_it_can_only_be_read(front: Front, method: str) -> None:
    answer = await front.client().get(f"/acme/renewal-info/{VECTOR}", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.clause("RFC 9773 section 6")
async def test_it_needs_neither_writer_nor_nonces(
    front: Front, subscriber: AcmeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, certificate = await front.issued(subscriber, NAME)

    async def away(*_: Any) -> Any:
        raise TransientError("it is away")

    for part, call in ((front.context.nonces, "issue"), (front.context.nonces, "consume")):
        monkeypatch.setattr(part, call, away)
    monkeypatch.setattr(front.database, "write", away)
    front.issuance.fault = TransientError("the vault is away")
    assert (await front.client().get(path(certificate))).status == 200


@pytest.mark.clause("RFC 9773 section 4.3.3")
async def test_a_database_that_cannot_be_read_now_is_a_temporary_error(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise TransientError("it is locked")

    monkeypatch.setattr(front.database, "read", away)
    answer = await front.client().get(f"/acme/renewal-info/{VECTOR}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
    assert answer.headers.getall("Cache-Control") == ["no-store"]


async def test_a_short_life_is_renewed_near_its_middle(tmp_path: Path) -> None:
    async with running(tmp_path) as front:
        subscriber = await front.subscriber()
        _, certificate = await front.issued(subscriber, NAME)
        now = front.clock.now()
        await front.database.write(
            lambda tx: tx.execute("UPDATE certificates SET not_after = ?", (now + 6 * DAY - 1,))
        )
        start, end = window(await subscriber.get(path(certificate)))
        assert now + 2.4 * DAY <= start < end <= now + 3.3 * DAY


def test_the_helper_writes_what_the_rfc_writes() -> None:
    assert b64(bytes.fromhex("0087654321")) == VECTOR.partition(".")[2]
