"""Why there is no answer: bogus, lame, silent or broken, told apart with the real resolver of the world."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from core.randomness import SystemRandomness
from tests.support.fake_dns import ScriptedServer
from tests.world.world import World
from validation.dns.resolver import Fault, LookupFailure, StubResolver, Type, Upstream

pytestmark = pytest.mark.timeout(60)


def stub(*addresses: str, seconds: float = 3.0) -> StubResolver:
    return StubResolver([Upstream.parse(address) for address in addresses], SystemRandomness(), seconds)


async def fault(resolver: StubResolver, name: str, type: Type) -> Fault:
    with pytest.raises(LookupFailure) as raised:
        await resolver.lookup(name, type)
    assert raised.value.problem == "dns"
    if raised.value.fault is not Fault.BROKEN:
        assert raised.value.fault.value in raised.value.detail
    return raised.value.fault


@pytest.mark.row("dns.bogus", "dns.lame", "dns.broken-record", "attacks.tcp-blocked", "attacks.stripping")
@pytest.mark.row("attacks.keytrap", "attacks.cname-loops", "attacks.partial-set")
@pytest.mark.clause("BR 3.2.2.8.1")
@pytest.mark.parametrize(
    ("name", "type", "expected"),
    [
        ("www.tampered-example.com", Type.A, Fault.BOGUS),
        ("www.expired-example.com", Type.A, Fault.BOGUS),
        ("www.expired-example.com", Type.CAA, Fault.BOGUS),
        ("www.stripped-example.com", Type.A, Fault.BOGUS),
        ("www.stripped-example.com", Type.CAA, Fault.BOGUS),
        ("www.keytrap-example.com", Type.CAA, Fault.BOGUS),
        ("www.refused-example.com", Type.A, Fault.LAME),
        ("www.refused-example.com", Type.CAA, Fault.LAME),
        ("www.truncated-example.com", Type.CAA, Fault.LAME),
        ("caa-padded.example.com", Type.CAA, Fault.LAME),
        ("loop.chain-example.com", Type.CAA, Fault.LAME),
        ("odd-tag.broken-example.com", Type.CAA, Fault.BROKEN),
        ("empty-tag.broken-example.com", Type.CAA, Fault.BROKEN),
        ("overrun.broken-example.com", Type.CAA, Fault.BROKEN),
    ],
)
async def test_the_sentence_says_what_is_the_matter(
    world: World, name: str, type: Type, expected: Fault
) -> None:
    assert await fault(stub(world.resolver), name, type) is expected


@pytest.mark.row("dns.silent", "attacks.silent-server", "limits.dns")
async def test_a_silent_delegation_is_the_names_failure_and_not_ours(world: World) -> None:
    """Two tries of a second each, so that the test is short: Unbound gives no answer in a minute."""
    resolver = stub(world.resolver, seconds=1.0)
    assert await fault(resolver, "www.silent-example.com", Type.CAA) is Fault.SILENT
    assert (await resolver.lookup("www.example.com", Type.A)).authenticated


@pytest.mark.row("dns.stub", "attacks.cname-loops")
@pytest.mark.parametrize("hops", [8, 16])
async def test_so_many_aliases_are_followed(world: World, hops: int) -> None:
    answer = await stub(world.resolver).lookup(f"hop{hops}.chain-example.com", Type.A)
    assert len(answer.chain) == hops
    assert answer.authenticated


@pytest.mark.row("dns.stub", "attacks.cname-loops")
async def test_more_than_sixteen_aliases_are_a_failure_whoever_stops_first(world: World) -> None:
    with pytest.raises(LookupFailure):
        await stub(world.resolver).lookup("hop17.chain-example.com", Type.A)


@pytest.mark.row("dns.insecure")
@pytest.mark.clause("RFC 4035 section 5.2")
async def test_an_insecure_name_is_used_and_its_parent_proves_that_it_is_insecure(world: World) -> None:
    assert not (await stub(world.resolver).lookup("www.insecure-example.com", Type.A)).authenticated
    proof = world.ask("insecure-example.com", "DS")
    assert (proof.rcode(), len(proof.answer)) == (dns.rcode.NOERROR, 0)
    assert proof.flags & dns.flags.AD


@pytest.mark.row("dns.bogus", "dns.lame")
@pytest.mark.clause("RFC 8914 section 4")
@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_the_extended_error_tells_a_bogus_zone_from_a_lame_one(rcode: dns.rcode.Rcode) -> None:
    codes = dict.fromkeys((1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 27), Fault.BOGUS)
    codes |= dict.fromkeys((0, 3, 4, 13, 14, 15, 19, 20, 21, 22, 23), Fault.LAME)

    def script(query: dns.message.Message, tcp: bool) -> bytes:
        answer = dns.message.make_response(query)
        answer.set_rcode(rcode)
        code = int(str(query.question[0].name).partition(".")[0])
        answer.use_edns(0, options=[dns.edns.EDEOption(code)])
        return answer.to_wire()

    async with ScriptedServer(script) as server:
        resolver = stub(f"127.0.0.1:{server.port}")
        for code, expected in codes.items():
            assert await fault(resolver, f"{code}.example", Type.A) is expected
