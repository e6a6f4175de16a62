"""status/http/front.py: requests are answered in turns, and what was just answered lies ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from core import answerable, revocations
from core.clock import FakeClock
from core.errors import TransientError
from status.http import connection, front, handed
from status.http.connection import MAX_HEAD
from status.ocsp.answer import Answer
from tests.status.http.test_oracle import REQUESTS, get, octets_of, post
from tests.support.database import NOW
from tests.support.served import Served
from tests.support.software_vault import DAY
from tests.support.wire import GOOD, LIVE, UNKNOWN, Pair, Pipe, settle

ANSWER = b"HTTP/1.1 200"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    (tmp_path / "index.html").write_bytes(b"index")
    found = await Pair(tmp_path).start()
    yield found
    await found.stop()


@pytest.fixture
def asked(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The serial numbers about which the responder was asked."""
    found: list[bytes] = []
    ready = pair.answers.at_hand

    def counted(certificate: Any) -> Answer | None:
        found.append(certificate.serial)
        return ready(certificate)

    monkeypatch.setattr(pair.answers, "at_hand", counted)
    return found


async def test_what_came_in_one_turn_is_answered_after_one_look(pair: Pair) -> None:
    pipes = [Pipe(pair.front()) for _ in range(5)]
    for each in pipes:
        each.send(post())
    assert not any(each.written for each in pipes)
    await settle()
    assert all(each.written.startswith(ANSWER) for each in pipes)
    assert pair.answers.looks == 1


async def test_the_same_octets_are_read_once_in_a_second(pair: Pair, asked: list[bytes]) -> None:
    pipe = Pipe(pair.front())
    for _ in range(3):
        pipe.send(get())
        await settle()
    assert len(asked) == 1
    assert pipe.written.count(ANSWER) == 3
    assert len({each for each in pipe.written.split(ANSWER) if each}) == 1
    pair._clock.at += 1
    pipe.send(get())
    await settle()
    assert len(asked) == 2


@pytest.mark.parametrize("name", REQUESTS)
async def test_who_asks_again_has_what_aiohttp_says_again(pair: Pair, name: str) -> None:
    whole = REQUESTS[name]
    for _ in range(2):
        assert await pair.ours([whole, whole, get()]) == await pair.aiohttps([whole, whole, get()])
        assert await pair.ours([whole]) == await pair.ours(octets_of(whole))


async def test_only_whole_requests_that_came_alone_are_known_again(pair: Pair, asked: list[bytes]) -> None:
    for chunks in ([get() + get()], [get() + post()[:50], post()[50:]], [get()[:9], get()[9:]]):
        asked.clear()
        pair.front.ready.clear()
        await pair.ours(chunks)
        assert set(pair.front.ready) <= {get(), post()}
        await pair.ours([b"".join(chunks)])
        assert len(asked) > 1 or chunks == [get()[:9], get()[9:]]


@pytest.mark.parametrize(
    "octets",
    [get(LIVE), get(UNKNOWN), REQUESTS["get, malformed"], REQUESTS["post, garbage"], REQUESTS["get, close"]],
)
async def test_what_is_not_signed_or_ends_the_connection_is_not_kept(pair: Pair, octets: bytes) -> None:
    await pair.ours([octets])
    assert pair.front.ready == {}


async def test_a_conditional_request_is_another_request(pair: Pair) -> None:
    plain, conditional = get(), REQUESTS["get, conditional"]
    pipe = Pipe(pair.front())
    for octets in (plain, conditional, plain, conditional):
        pipe.send(octets)
        await settle()
    assert [each[:4] for each in pipe.written.split(b"HTTP/1.1 ")[1:]] == [b"200 ", b"304 "] * 2


async def test_strangers_do_not_choose_how_much_is_kept(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "READY", 3)
    pipe = Pipe(pair.front())
    pipe.send(get(fields=b"Host: " + b"x" * front.READY_OCTETS + b"\r\n"))
    await settle()
    assert len(pair.front.ready) == 0
    for number in range(9):
        pipe.send(get(fields=b"Host: %d\r\n" % number))
        await settle()
    assert len(pair.front.ready) == 3
    assert pipe.written.count(ANSWER) == 10


async def test_the_last_request_of_a_connection_is_not_answered_from_what_is_ready(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_REQUESTS", 3)
    pipe = Pipe(pair.front())
    for _ in range(4):
        pipe.send(get())
        await settle()
    assert pipe.written.count(ANSWER) == 3
    assert pipe.written.count(b"Connection: close") == 1
    assert pipe.closed


async def test_when_the_time_of_day_stands_still_nothing_stays_ready_for_long(
    pair: Pair, asked: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = [0.0]
    monkeypatch.setattr(FakeClock, "monotonic", lambda clock: spent[0])
    pair._clock.at -= 3600
    for at in (0.0, 1.9, 2.1, 3.9):
        spent[0] = at
        await pair.ours([get()])
    assert len(asked) == 2


@pytest.mark.clause("RFC 9112 section 9.6")
async def test_who_closes_his_side_behind_a_request_has_its_answer(pair: Pair) -> None:
    pipe = Pipe(pair.front())
    pipe.send(post())
    assert not pipe.protocol.eof_received()
    assert pipe.written.startswith(ANSWER)


@pytest.mark.clause("RFC 9112 section 9.6")
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_closes_his_side_behind_a_pipeline_has_all_answers_though_some_are_signed_meanwhile(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    serials = [LIVE, GOOD, LIVE, LIVE, GOOD]

    async def ask() -> bytes:
        pair = await Pair(tmp_path).start()
        server = await asyncio.get_running_loop().create_server(pair.front, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"".join(map(post, serials)))
        writer.write_eof()
        answered = await reader.read()  # until the server has closed, too
        writer.close()
        server.close()
        await pair.stop()
        return answered

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(asyncio.wait_for(ask(), 10)).count(ANSWER) == len(serials)


async def test_a_long_pipeline_is_not_gathered_without_a_bound(pair: Pair) -> None:
    pipe = Pipe(pair.front())
    many = post() * (MAX_HEAD // len(post()) + 1)
    pipe.send(many)
    assert pipe.written.count(ANSWER) == many.count(b"POST")


async def test_a_connection_that_fails_takes_no_other_with_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Pipe(pair.front()), Pipe(pair.front())
    monkeypatch.setattr(bad, "write", lambda data: 1 / 0)
    bad.send(post())
    good.send(post())
    await settle()
    assert bad.aborted
    assert good.written.startswith(ANSWER)
    assert "a connection of a relying party failed" in caplog.text


async def test_a_connection_that_cannot_be_handed_over_is_ended_and_counts_no_more(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed.Handed, "data_received", lambda handler, data: 1 / 0)
    bad = Pipe(pair.front())
    bad.send(REQUESTS["get, close"].replace(b"GET", b"HEAD"))
    await settle()
    assert bad.aborted
    assert len(pair.front) == 0


@pytest.fixture
async def served(house: Any, keeper_class: Any) -> AsyncIterator[Served]:
    found = Served(house)
    found.keeper = keeper_class(house)
    yield found
    found.keeper.stop()


async def ready(served: Served) -> bytes:
    """A certificate whose answer lies ready."""
    serial: bytes = await served.house.issue()
    await served.keeper.work()
    assert await served.word(serial) == "GOOD"
    assert len(served.front.ready) == 1
    return serial


@pytest.mark.clause("BR 4.9.5")
async def test_who_asks_after_a_revocation_committed_is_told_so_in_the_same_second(served: Served) -> None:
    serial = await ready(served)
    assert await served.word(serial) == "GOOD"
    served.revoke_at_once(serial)
    assert await served.word(serial) == "REVOKED"


@pytest.mark.clause("BR 7.2.2")
async def test_a_reason_that_becomes_key_compromise_is_told_in_the_same_second(served: Served) -> None:
    serial = await ready(served)
    await served.house.revoke(serial, 4)
    assert b"\x0a\x01\x04" in await served.raw(serial)  # ENUMERATED superseded
    await served.raw(serial)
    await served.house.database.write(lambda tx: revocations.upgrade_reason(tx, serial, "a test"))
    assert b"\x0a\x01\x01" in await served.raw(serial)


@pytest.mark.clause("BR 4.9.5")
@pytest.mark.parametrize("moment", ["look", "at_hand"])
async def test_a_revocation_that_commits_within_a_turn_is_seen_in_the_next_one(
    served: Served, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    serial = await ready(served)
    served.house.clock.at += 1
    whole, pending = getattr(served.house.responder, moment), [serial]

    def then_revoked(*arguments: Any) -> Any:
        found = whole(*arguments)
        if pending:
            served.revoke_at_once(pending.pop())
        return found

    monkeypatch.setattr(served.house.responder, moment, then_revoked)
    # It came before the commit.
    assert await served.word(serial) == ("REVOKED" if moment == "look" else "GOOD")
    assert await served.word(serial) == "REVOKED"


async def test_what_was_said_without_the_register_is_not_said_again_with_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = await ready(served)
    served.revoke_at_once(serial)
    whole, failing = answerable.revocation, [True]

    def once(rows: Any, serial: bytes) -> int:
        if failing.pop() if failing else False:
            raise TransientError("ca.sqlite cannot be read now")
        return whole(rows, serial)

    monkeypatch.setattr(answerable, "revocation", once)
    assert await served.word(serial) == "GOOD"  # published and still valid; the register is silent
    assert served.front.ready == {}
    assert await served.word(serial) == "REVOKED"


async def test_while_the_register_is_not_seen_nothing_is_ready_and_what_was_published_is_said(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = await ready(served)
    with monkeypatch.context() as patch:
        for name in ("newest_change", "revocation"):
            patch.setattr(answerable, name, lambda *given: (_ for _ in ()).throw(TransientError("away")))
        assert await served.word(serial) == "GOOD"
        assert served.front.ready == {}
    served.revoke_at_once(serial)
    assert await served.word(serial) == "REVOKED"


async def test_a_restored_register_that_came_to_the_same_version_is_another_one(served: Served) -> None:
    serial, other = await ready(served), await served.house.issue()
    await served.house.revoke(other)
    assert await served.word(serial) == "GOOD"
    await served.house.database.write(lambda tx: tx.execute("DELETE FROM revocations"))
    served.revoke_at_once(serial)  # nobody asked meanwhile
    assert answerable.newest_version(served.house.reader) == 1
    assert await served.word(serial) == "REVOKED"


async def test_a_renewed_answer_is_given_as_soon_as_the_index_shows_it(served: Served) -> None:
    serial = await ready(served)
    served.house.clock.at += DAY
    before = await served.raw(serial)
    assert await served.raw(serial) == before
    await served.keeper.work()
    assert await served.raw(serial) != before


async def test_in_the_second_in_which_an_answer_is_late_it_is_renewed(
    served: Served,
) -> None:
    serial = await ready(served)
    signed = len(served.house.vault.ocsp_requests)
    served.house.clock.at = NOW + DAY + DAY // 4 - 1
    for _ in range(2):
        assert await served.word(serial) == "GOOD"
    assert len(served.house.vault.ocsp_requests) == signed
    served.house.clock.at += 1
    assert await served.word(serial) == "GOOD"
    assert len(served.house.vault.ocsp_requests) == signed + 1


@pytest.mark.clause("RFC 6960 section 4.2.2.1")
async def test_in_the_second_of_its_next_update_an_answer_is_not_given(served: Served) -> None:
    serial = await ready(served)
    served.house.vault.away = True
    served.house.clock.at = NOW + 4 * DAY - 1
    for _ in range(2):
        assert b"max-age=0," in await served.raw(serial)
    served.house.clock.at += 1
    assert await served.word(serial) == "TRY_LATER"


async def test_a_clock_that_steps_back_changes_no_answer(served: Served) -> None:
    serial = await ready(served)
    before = await served.raw(serial)
    served.house.clock.at -= 3600
    assert await served.raw(serial) == before
    served.revoke_at_once(serial)
    assert await served.word(serial) == "REVOKED"
