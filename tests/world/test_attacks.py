"""Attacks that need more than a name: forged answers from off the path, a crowd against one victim."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rrset
import pytest

from core.clock import SystemClock
from core.evidence import Result
from core.outcome import Absence, Outcome
from core.randomness import SystemRandomness
from tests.world import catalogue, namespaces, tls
from tests.world.addresses import ATTACKER_WEB
from tests.world.applicant import ACCOUNT, ATTACKER, THUMBPRINT
from tests.world.internet import DOOR, Internet, ask_everywhere, asking

pytestmark = pytest.mark.timeout(120)

PRIMARY = "tokyo"


def forged(name: str, number: int) -> bytes:
    """An answer that the attacker would like to be believed."""
    reply = dns.message.make_response(dns.message.make_query(name, "A"))
    reply.id = number
    reply.flags |= dns.flags.AA
    reply.answer = [dns.rrset.from_text(f"{name}.", 300, "IN", "A", ATTACKER_WEB)]
    return reply.to_wire()


@contextmanager
def flood(internet: Internet, name: str) -> Iterator[None]:
    """Answers for `name` from the address and port of its server, to ports and with ids by chance."""
    net = internet.namespaces
    assert net is not None
    target = net.address(PRIMARY)
    source = (net.addresses.scripted, 53)

    def bound() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(source)
        return made

    def listening() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((target, 0))
        made.settimeout(2)
        return made

    over = threading.Event()

    def send() -> None:
        chance, wire = random.Random(53), bytearray(forged(name, 0))
        while not over.is_set():
            for _ in range(200):
                wire[:2] = chance.randbytes(2)
                sender.sendto(wire, (target, chance.randrange(1024, 65536)))
            time.sleep(0.005)  # a bound, so that the machine is left to those who are attacked

    with (
        net.inside(namespaces.ATTACKER, bound) as sender,
        net.inside(PRIMARY, listening) as receiver,
    ):
        # Whoever listens without looking is fooled: the false source does reach its victim.
        sender.sendto(forged(name, 1), receiver.getsockname())
        assert receiver.recvfrom(512)[1] == source
        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.mark.clause("RFC 5452 section 9")
@pytest.mark.row("attacks.poisoning")
async def test_answers_from_off_the_path_are_not_believed(internet: Internet) -> None:
    name = "poisoned.slow-example.com"
    async with asking(internet.data, PRIMARY) as ask:
        with flood(internet, name):
            # The server takes 2.5 s for each answer: that long the door is open to whoever guesses.
            statement = await ask(name, "http-01", ATTACKER)
    assert statement.control is not None
    assert catalogue.verdict(statement) in ("dns", "unauthorized")
    assert not any(ATTACKER_WEB in line for line in statement.control.trace)


@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.row("attacks.rogue-perspective")
def test_whoever_stands_in_a_perspectives_place_on_the_network_is_not_asked(internet: Internet) -> None:
    net = internet.namespaces
    assert net is not None
    place = net.address("oregon")
    address = ["ip", "-n", net.prefix + namespaces.ATTACKER, "address"]
    subprocess.run([*address, "add", f"{place}/32", "dev", "lo"], check=True)

    def listening() -> socket.socket:
        made = socket.create_server((place, DOOR))
        made.settimeout(20)
        return made

    heard: list[bytes] = []

    def impersonate() -> None:
        with tls.by_name(ATTACKER).wrap_socket(listener, server_side=True) as server:
            try:
                connection, _ = server.accept()
                heard.append(connection.recv(1))
            except OSError:
                pass  # the handshake was refused, as it should be

    with net.inside(namespaces.ATTACKER, listening) as listener:
        rogue = threading.Thread(target=impersonate)
        rogue.start()
        net.hijack(PRIMARY, place)
        try:
            outcome = net.inside(PRIMARY, lambda: asyncio.run(everywhere(internet, "www.hostile.com")))
        finally:
            net.release(PRIMARY, place)
            subprocess.run([*address, "del", f"{place}/32", "dev", "lo"], check=True)
            rogue.join()
    assert outcome.result is Result.PASS
    assert outcome.control_quorum == "5/6"
    (view,) = [each for each in outcome.views if each.perspective == "oregon"]
    assert view.absence is Absence.TRANSPORT
    assert b"".join(heard) == b""


async def everywhere(internet: Internet, name: str) -> Outcome:
    clock, randomness = SystemClock(), SystemRandomness()
    return await ask_everywhere(
        internet.data, internet.elsewhere, clock, randomness, name, "http-01", THUMBPRINT
    )


@pytest.mark.row("attacks.amplification")
async def test_a_crowd_of_orders_meets_its_victim_a_few_at_a_time(internet: Internet) -> None:
    before = internet.web.asked.total()
    internet.web.most_at_once = 0
    async with asking(internet.data, PRIMARY) as ask:
        await asyncio.gather(
            *(
                ask(f"crowd-{number}.hostile.com", "http-01", account=f"{ACCOUNT}{number}")
                for number in range(20)
            )
        )
    assert internet.web.asked.total() - before == 20
    assert internet.web.most_at_once <= 5


def test_what_a_dead_process_left_behind_is_swept(internet: Internet) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    name = f"acme-{gone.pid}-0-tokyo"
    subprocess.run(["ip", "netns", "add", name], check=True)
    left = subprocess.Popen(["nsenter", f"--net=/run/netns/{name}", "sleep", "60"])
    while not namespaces.processes(name):
        time.sleep(0.01)
    namespaces.sweep()
    assert left.wait(5) < 0
    assert not os.path.exists(f"/run/netns/{name}")
