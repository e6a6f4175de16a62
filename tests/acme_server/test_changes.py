"""acme_server/changes.py, and the polls that are held back by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from acme_server.changes import Changes
from tests.support.acme_client import Answer, b64, csr, ec_key
from tests.support.acme_front import Front, running


async def test_a_move_while_watching_is_noticed_at_once() -> None:
    changes = Changes()
    with changes.watch("a", "b") as moved:
        changes.announce("b")
        assert await moved.within(60)


async def test_what_is_not_watched_wakes_nobody() -> None:
    changes = Changes()
    with changes.watch("a") as moved:
        changes.announce("b")
        assert not await moved.within(0.01)


async def test_a_move_between_reading_and_watching_is_not_missed() -> None:
    changes = Changes()
    before = changes.count
    changes.announce("a")
    with changes.watch("a", since=before) as moved:
        assert await moved.within(60)
    with changes.watch("a", since=changes.count) as moved:
        assert not await moved.within(0.01)


async def test_zero_seconds_do_not_wait() -> None:
    with Changes().watch("a") as moved:
        assert not await moved.within(0)


async def test_all_who_watch_are_woken() -> None:
    changes = Changes()
    with changes.watch("a") as one, changes.watch("a") as other:
        changes.announce("a")
        assert await one.within(60)
        assert await other.within(60)


async def test_nothing_is_kept_of_those_who_left() -> None:
    changes = Changes()
    with changes.watch("a"), changes.watch("a", "b"):
        pass
    assert changes._watching == {}


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Front]:
    """A front that holds polls for a minute, far longer than any test."""
    async with running(tmp_path, lambda s: replace(s, acme=replace(s.acme, hold=60))) as front:
        yield front


async def held(front: Front, request: asyncio.Task[Answer], subject: str) -> None:
    """Return once `request` waits for `subject`."""
    while subject not in front.context.changes._watching:
        assert not request.done(), request.result()
        await asyncio.sleep(0)


@pytest.mark.clause("RFC 8555 section 7.5.1")
async def test_a_poll_of_an_authorization_is_answered_when_the_verdict_comes(patient: Front) -> None:
    client = await patient.subscriber()
    patient.perspectives.pass_names.add("www.example.com")
    order = await client.order("www.example.com")
    url = order.body["authorizations"][0]
    challenge = (await client.post(url)).body["challenges"][0]
    assert (await client.post(challenge["url"], {})).body["status"] == "processing"
    poll = asyncio.create_task(client.post(url))
    await held(patient, poll, challenge["url"].rpartition("/")[2])
    await patient.run_jobs()
    assert (await poll).body["status"] == "valid"


@pytest.mark.clause("RFC 8555 section 7.4")
async def test_finalize_answers_with_the_certificate_when_it_is_there_in_time(patient: Front) -> None:
    client = await patient.subscriber()
    order = await patient.authorized(client, "www.example.com")
    asked = asyncio.create_task(
        client.post(order.body["finalize"], {"csr": b64(csr(ec_key(), ["www.example.com"]))})
    )
    while not patient.database.reader.all("SELECT 1 FROM jobs"):
        assert not asked.done(), asked.result()
        await asyncio.sleep(0)
    await patient.run_jobs()
    answer = await asked
    assert answer.body["status"] == "valid"
    assert "certificate" in answer.body
