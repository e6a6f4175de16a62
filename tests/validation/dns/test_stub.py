"""Questions that share a socket: each gets its own reply, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterable

import dns.message
import dns.rrset
import pytest

from core.randomness import SystemRandomness
from validation.dns import dns_message, stub
from validation.dns.stub import Exchange

pytestmark = pytest.mark.timeout(30)


class Numbers:
    """Entropy that says what it was told to."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = iter(numbers)

    def octets(self, count: int) -> bytes:
        return next(self._numbers).to_bytes(count, "big")


class Held(asyncio.DatagramProtocol):
    """A server that keeps what it is asked, for the test to answer when and as it likes."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, tuple[str, int]]] = []
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Held:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port: int = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.asked.append((data, source))
        self._arrived.set()

    async def until(self, count: int) -> None:
        while len(self.asked) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def send(self, wire: bytes, source: tuple[str, int]) -> None:
        self._transport.sendto(wire, source)

    def exchange(self, numbers: Iterable[int] | None = None, seconds: float = 5.0) -> Exchange:
        randomness = SystemRandomness() if numbers is None else Numbers(numbers)
        return Exchange("127.0.0.1", self.port, randomness, seconds)


def asked(name: str) -> bytes:
    return dns_message.question(name, dns_message.A)


def reply(query: bytes, address: str = "192.0.2.1") -> bytes:
    message = dns.message.make_response(dns.message.from_wire(query))
    message.answer.append(dns.rrset.from_text(message.question[0].name, 60, "IN", "A", address))
    return message.to_wire()


def name_in(wire: bytes) -> str:
    return dns.message.from_wire(wire).question[0].name.to_text()


def start(exchange: Exchange, *names: str) -> list[asyncio.Task[bytes]]:
    return [asyncio.create_task(exchange.ask(asked(name))) for name in names]


async def test_a_burst_shares_a_socket_and_each_gets_its_own_reply_in_any_order() -> None:
    async with Held() as server:
        tasks = start(server.exchange(), *(f"n{number}.example" for number in range(20)))
        await server.until(20)
        assert len({source for _, source in server.asked}) == 1
        assert len({query[:2] for query, _ in server.asked}) == 20
        for query, source in reversed(server.asked):
            server.send(reply(query), source)
        replies = await asyncio.gather(*tasks)
        assert [name_in(wire) for wire in replies] == [f"n{number}.example." for number in range(20)]


@pytest.mark.row("dns.stub")
@pytest.mark.clause("RFC 5452 section 9.2")
async def test_the_next_burst_has_another_port() -> None:
    async with Held() as server:
        exchange = server.exchange()
        for count in range(1, 6):
            (task,) = start(exchange, "x.example")
            await server.until(count)
            server.send(reply(server.asked[-1][0]), server.asked[-1][1])
            await task
        assert len({source for _, source in server.asked}) > 1


async def test_a_socket_carries_no_more_than_its_share() -> None:
    async with Held() as server:
        names = [f"n{number}.example" for number in range(stub.QUESTIONS + 1)]
        tasks = start(server.exchange(range(len(names))), *names)
        await server.until(len(names))
        assert len({source for _, source in server.asked}) == 2
        for query, source in server.asked:
            server.send(reply(query), source)
        await asyncio.gather(*tasks)


async def test_an_id_that_waits_already_goes_out_from_another_port() -> None:
    async with Held() as server:
        tasks = start(server.exchange([7, 7]), "a.example", "b.example")
        await server.until(2)
        (first, one), (second, other) = server.asked
        assert first[:2] == second[:2] == b"\x00\x07"
        assert one != other
        server.send(reply(second), other)
        server.send(reply(first), one)
        assert [name_in(wire) for wire in await asyncio.gather(*tasks)] == ["a.example.", "b.example."]


@pytest.mark.row("attacks.poisoning")
@pytest.mark.row("dns.stub")
@pytest.mark.clause("RFC 5452 section 9.1")
async def test_strays_are_ignored_and_the_true_reply_still_counts() -> None:
    async with Held() as server:
        tasks = start(server.exchange([1]), "x.example")
        await server.until(1)
        query, source = server.asked[0]
        true = reply(query)
        for stray in (
            b"",
            b"\x00",
            query,
            b"\x00\x02" + true[2:],
            reply(query.replace(b"\x01x", b"\x01y")),
            reply(query.replace(b"\x01x", b"\x01X")),
        ):
            server.send(stray, source)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(reply(query, "203.0.113.66"), source)  # right in all but its address
        server.send(true, source)
        assert await tasks[0] == true


@pytest.mark.row("attacks.poisoning")
async def test_guesses_wear_a_socket_out() -> None:
    async with Held() as server:
        exchange = server.exchange([1, 2])
        tasks = start(exchange, "a.example")
        await server.until(1)
        for _ in range(stub.QUESTIONS):
            server.send(b"\xff" * 12, server.asked[0][1])
        while exchange._current is not None and exchange._current.takes(2):
            await asyncio.sleep(0.001)
        tasks += start(exchange, "b.example")
        await server.until(2)
        assert server.asked[0][1] != server.asked[1][1]
        for query, source in server.asked:
            server.send(reply(query), source)
        await asyncio.gather(*tasks)


async def test_silence_and_cancellation_leave_no_socket_behind() -> None:
    async with Held() as server:
        silent = start(server.exchange(seconds=0.05), "a.example")
        cancelled = start(server.exchange(), "b.example")
        await server.until(2)
        cancelled[0].cancel()
        outcomes = await asyncio.gather(*silent, *cancelled, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TimeoutError, asyncio.CancelledError]
    gc.collect()  # an open socket would warn, and a warning is an error


async def test_a_reply_after_the_time_is_nobodys() -> None:
    async with Held() as server:
        exchange = server.exchange([1, 1], seconds=0.2)
        late, longer = start(exchange, "a.example")[0], server.exchange([2])
        waits = start(longer, "b.example")[0]
        with pytest.raises(TimeoutError):
            await late
        server.send(reply(server.asked[0][0]), server.asked[0][1])
        server.send(reply(server.asked[1][0]), server.asked[1][1])
        assert name_in(await waits) == "b.example."


async def test_nobody_there_is_told_to_all_that_wait() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    exchange = Exchange("127.0.0.1", port, SystemRandomness(), 5.0)
    outcomes = await asyncio.gather(
        *(exchange.ask(asked(f"n{number}.example")) for number in range(5)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [ConnectionRefusedError] * 5


async def test_an_address_that_cannot_be_reached_is_an_error_and_leaves_no_socket() -> None:
    exchange = Exchange("255.255.255.255", 53, SystemRandomness(), 5.0)
    with pytest.raises(OSError):
        await exchange.ask(asked("x.example"))
    gc.collect()
