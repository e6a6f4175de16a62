"""The stub resolver: against the world's validating Unbound, and against a server that misbehaves."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from core.errors import ConfigurationError, TransientError
from core.randomness import SystemRandomness
from core.settings import Rules
from tests.support.fake_dns import Script, ScriptedServer, TableResolver
from tests.world.world import World
from validation import caa
from validation.caa_value import CaaRecord
from validation.dns import dns_message, resolver
from validation.dns.dns_message import joined
from validation.dns.resolver import (
    LocalNames,
    LookupFailure,
    StubResolver,
    Type,
    Upstream,
    upstreams,
)

pytestmark = pytest.mark.timeout(60)


def stub(*addresses: str, seconds: float = 3.0) -> StubResolver:
    return StubResolver([Upstream.parse(address) for address in addresses], SystemRandomness(), seconds)


def reply(query: dns.message.Message, *rrsets: str, flags: int = dns.flags.RA) -> dns.message.Message:
    answer = dns.message.make_response(query)
    answer.flags |= flags
    for rrset in rrsets:
        name, kind, *data = rrset.split(" ", 2)
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *data))
    return answer


def except_localhost(script: Script) -> Script:
    """A resolver that lives (it knows localhost), and does as `script` says about all other names."""

    def answered(query: dns.message.Message, tcp: bool) -> bytes | None:
        if query.question[0].name == dns.name.from_text("localhost"):
            return reply(query, "localhost. A 127.0.0.1").to_wire()
        return script(query, tcp)

    return answered


async def failure(server: ScriptedServer, seconds: float = 3.0) -> str:
    with pytest.raises(LookupFailure) as raised:
        await stub(f"127.0.0.1:{server.port}", seconds=seconds).lookup("x.example", Type.CAA)
    assert raised.value.problem == "dns"
    return raised.value.detail


# --- real servers ---------------------------------------------------------------------------------------


@pytest.mark.row("dns.secure")
async def test_a_signed_name_is_authenticated(world: World) -> None:
    answer = await stub(world.resolver).lookup("www.example.com", Type.A)
    assert (answer.exists, answer.records, answer.authenticated) == (True, (bytes([127, 0, 0, 1]),), True)


@pytest.mark.row("dns.insecure")
async def test_an_insecurely_delegated_name_is_an_answer_without_ad(world: World) -> None:
    answer = await stub(world.resolver).lookup("www.insecure-example.com", Type.A)
    assert (len(answer.records), answer.authenticated) == (1, False)


@pytest.mark.row("attacks.stripping")
@pytest.mark.row("errors.dns")
@pytest.mark.row("dns.bogus")
@pytest.mark.clause("BR 3.2.2.8.1")
@pytest.mark.must("rfc8555.11.2.dnssec", "rfc8659.5.1.dnssec", "rfc8659.5.4.validate", "rfc8657.5.6.dnssec")
@pytest.mark.parametrize(
    ("zone", "type"),
    [
        ("tampered-example.com", Type.A),
        ("expired-example.com", Type.A),
        ("expired-example.com", Type.CAA),
        ("stripped-example.com", Type.A),
        ("stripped-example.com", Type.CAA),
    ],
)
async def test_a_bogus_zone_is_a_failure_that_says_why(world: World, zone: str, type: Type) -> None:
    with pytest.raises(LookupFailure, match=r"SERVFAIL \(EDE \d+"):
        await stub(world.resolver).lookup(f"www.{zone}", type)


async def test_an_alias_is_followed_and_its_chain_told(world: World) -> None:
    answer = await stub(world.resolver).lookup("alias.example.com", Type.A)
    assert (answer.chain, len(answer.records)) == (("www.example.com",), 1)
    assert "CNAME www.example.com" in answer.describe()


@pytest.mark.row("dns.secure")
async def test_nxdomain_is_an_answer(world: World) -> None:
    answer = await stub(world.resolver).lookup("nowhere.nothing-example.com", Type.TXT)
    assert (answer.exists, answer.records) == (False, ())


async def test_records_come_in_wire_form(world: World) -> None:
    world.set_txt("wire.example.com", "a" * 300)
    answer = await stub(world.resolver).lookup("wire.example.com", Type.TXT)
    assert joined(answer.records[0]) == b"a" * 300
    answer = await stub(world.resolver).lookup("caa-deny.example.com", Type.CAA)
    assert [CaaRecord.parse(rdata) for rdata in answer.records] == [CaaRecord(0, "issue", b";")]


@pytest.mark.row("attacks.fragmentation")
async def test_a_set_too_large_for_udp_is_fetched_whole_over_tcp(world: World) -> None:
    values = sorted(f"{number:02d}" + "v" * 100 for number in range(40))
    world.set_txt("large.example.com", *values)
    answer = await stub(world.resolver).lookup("large.example.com", Type.TXT)
    assert sorted(joined(rdata).decode() for rdata in answer.records) == values


# --- misbehaviour ---------------------------------------------------------------------------------------


@pytest.mark.row("errors.dns")
@pytest.mark.row("dns.lame")
@pytest.mark.clause("BR 3.2.2.4")
@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "YXDOMAIN", "NOTAUTH"])
async def test_every_other_rcode_is_a_failure(rcode: str) -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes:
        answer = reply(query)
        answer.set_rcode(dns.rcode.from_text(rcode))
        return answer.to_wire()

    async with ScriptedServer(script) as server:
        assert rcode in await failure(server)
        assert len(server.queries) == 1


@pytest.mark.row("attacks.log-injection")
async def test_the_resolvers_extended_error_is_passed_on_escaped() -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes:
        answer = reply(query)
        answer.set_rcode(dns.rcode.SERVFAIL)
        answer.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS, "bad\x1b[31m key")])
        return answer.to_wire()

    async with ScriptedServer(script) as server:
        assert r"EDE 6 bad\x1b[31m key" in await failure(server)


@pytest.mark.row("dns.silent")
@pytest.mark.row("dns.silent", "attacks.silent-server", "limits.dns")
async def test_silence_is_asked_about_once_more_and_then_a_failure() -> None:
    async with ScriptedServer(except_localhost(lambda query, tcp: None)) as server:
        assert "timeout (the zone's name servers do not answer in time)" in await failure(server, 0.2)
        asked = [query.id for query in server.queries if "localhost" not in str(query.question[0])]
        assert len(asked) == len(set(asked)) == 2


@pytest.mark.row("errors.server-internal")
async def test_a_resolver_that_is_silent_about_everything_is_our_own_fault() -> None:
    async with ScriptedServer(lambda query, tcp: None) as server:
        with pytest.raises(TransientError, match="no DNS resolver answers"):
            await stub(f"127.0.0.1:{server.port}", seconds=0.2).lookup("x.example", Type.CAA)


@pytest.mark.row("errors.server-internal")
async def test_our_own_resolver_without_tcp_is_our_fault_and_no_verdict() -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes:
        return reply(
            query, 'x.example. CAA 0 issue "ca.example"', flags=dns.flags.RA | dns.flags.TC
        ).to_wire()

    async with ScriptedServer(script, tcp=False) as server:
        with pytest.raises(TransientError, match="no DNS resolver answers"):
            await stub(f"127.0.0.1:{server.port}").lookup("x.example", Type.CAA)


@pytest.mark.row("errors.server-internal")
async def test_no_file_left_for_a_connection_by_tcp_is_our_fault_and_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def full(*asked: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    def script(query: dns.message.Message, tcp: bool) -> bytes:
        return reply(query, flags=dns.flags.RA | dns.flags.TC).to_wire()

    monkeypatch.setattr(asyncio, "open_connection", full)
    async with ScriptedServer(script) as server:
        with pytest.raises(TransientError, match="no DNS resolver answers"):
            await stub(f"127.0.0.1:{server.port}").lookup("x.example", Type.CAA)


@pytest.mark.row("attacks.partial-set")
@pytest.mark.row("caa.partial")
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_an_answer_that_is_cut_off_over_tcp_is_a_failure(reset: bool) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(20)
        writer.write(b"\x01\x00half")
        await writer.drain()
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    def script(query: dns.message.Message, tcp: bool) -> bytes:
        return reply(query, flags=dns.flags.RA | dns.flags.TC).to_wire()

    async with ScriptedServer(script, tcp=False) as server:
        over_tcp = await asyncio.start_server(cut, "127.0.0.1", server.port)
        async with over_tcp:
            assert "cut off" in await failure(server)


@pytest.mark.row("attacks.tcp-blocked")
@pytest.mark.row("attacks.partial-set")
@pytest.mark.row("caa.partial")
async def test_a_truncated_answer_whose_tcp_is_silent_is_a_failure() -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes | None:
        return None if tcp else reply(query, flags=dns.flags.RA | dns.flags.TC).to_wire()

    async with ScriptedServer(script) as server:
        assert "TCP" in await failure(server, 0.5)


@pytest.mark.row("attacks.partial-set")
@pytest.mark.row("caa.partial")
async def test_an_answer_truncated_over_tcp_too_is_a_failure() -> None:
    async with ScriptedServer(
        lambda query, tcp: reply(query, flags=dns.flags.RA | dns.flags.TC).to_wire()
    ) as server:
        assert "truncated" in await failure(server)


@pytest.mark.row("dns.stub")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda wire: wire[:11],
        lambda wire: wire[:-3],
        lambda wire: wire + b"junk",
        lambda wire: bytes([wire[0] ^ 1]) + wire[1:],
        lambda wire: wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:],
        lambda wire: wire.replace(b"\x01x\x07example", b"\x01y\x07example"),
        lambda wire: wire.replace(b"\x01x\x07example", b"\x01X\x07example"),
    ],
    ids=["short", "cut", "trailing", "id", "query", "question", "case"],
)
async def test_a_message_that_is_no_answer_to_our_question_is_a_failure(spoil) -> None:
    async with ScriptedServer(
        except_localhost(
            lambda query, tcp: spoil(reply(query, 'x.example. CAA 0 issue "ca.example"').to_wire())
        )
    ) as server:
        await failure(server, 0.3)


@pytest.mark.row("dns.broken-record")
async def test_a_caa_record_with_an_impossible_tag_is_a_failure() -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes:
        wire = reply(query, 'x.example. CAA 0 issue "ca.example"').to_wire()
        return wire.replace(b"\x05issueca", b"\x05iss-eca")

    async with ScriptedServer(script) as server:
        await failure(server)


async def test_records_of_a_name_that_does_not_exist_are_no_answer() -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes:
        answer = reply(query, 'x.example. CAA 0 issue "ca.example"')
        answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer.to_wire()

    async with ScriptedServer(script) as server:
        assert "does not exist" in await failure(server)


async def test_a_message_over_tcp_that_answers_something_else_is_a_failure() -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes:
        wire = reply(query, flags=dns.flags.RA | (0 if tcp else dns.flags.TC)).to_wire()
        return wire.replace(b"\x01x", b"\x01y") if tcp else wire

    async with ScriptedServer(script) as server:
        assert "something else" in await failure(server)


async def test_more_records_than_a_check_uses_are_a_failure() -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes:
        records = [f'x.example. CAA 0 issue "{number}.example"' for number in range(1001)]
        return (
            reply(query, *records).to_wire(max_size=65535)
            if tcp
            else reply(query, flags=dns.flags.TC).to_wire()
        )

    async with ScriptedServer(script) as server:
        assert "more than 1000 records" in await failure(server)


async def test_a_name_that_cannot_be_asked_for_is_a_failure() -> None:
    with pytest.raises(LookupFailure, match="not a name that can be asked for"):
        await stub("127.0.0.1:53").lookup("a..example", Type.A)


@pytest.mark.row("errors.dns")
@pytest.mark.row("attacks.cname-loops")
async def test_a_cname_loop_is_a_failure() -> None:
    async with ScriptedServer(
        lambda query, tcp: reply(
            query, "x.example. CNAME y.example.", "y.example. CNAME x.example."
        ).to_wire()
    ) as server:
        await failure(server)


async def test_an_authoritative_server_that_stops_at_its_zone_is_no_resolver() -> None:
    async with ScriptedServer(
        lambda query, tcp: reply(query, "x.example. CNAME y.other.", flags=0).to_wire()
    ) as server:
        assert "not a recursive resolver" in await failure(server)


async def test_a_referral_is_no_answer() -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes:
        answer = reply(query, flags=0)
        answer.authority.append(dns.rrset.from_text("example.", 60, "IN", "NS", "ns.example."))
        return answer.to_wire()

    async with ScriptedServer(script) as server:
        assert "not a recursive resolver" in await failure(server)


async def test_a_resolver_that_is_away_is_our_own_fault() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    with pytest.raises(TransientError, match="no DNS resolver answers"):
        await stub(f"127.0.0.1:{port}").lookup("x.example", Type.A)


async def test_no_resolver_at_all_is_our_own_fault() -> None:
    with pytest.raises(TransientError, match=r"validation\.resolvers"):
        await stub().lookup("x.example", Type.A)


async def test_the_second_resolver_is_asked_when_the_first_is_silent() -> None:
    async with (
        ScriptedServer(lambda query, tcp: None) as silent,
        ScriptedServer(lambda query, tcp: reply(query, "x.example. A 192.0.2.1").to_wire()) as good,
    ):
        resolver = stub(f"127.0.0.1:{silent.port}", f"127.0.0.1:{good.port}", seconds=0.2)
        answer = await resolver.lookup("x.example", Type.A)
        assert answer.resolver == f"127.0.0.1:{good.port}"


@pytest.mark.row("dns.lame")
async def test_another_answer_is_not_shopped_for_after_a_servfail() -> None:
    def refuse(query: dns.message.Message, tcp: bool) -> bytes:
        answer = reply(query)
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer.to_wire()

    async with ScriptedServer(refuse) as bad, ScriptedServer(lambda query, tcp: None) as other:
        with pytest.raises(LookupFailure):
            await stub(f"127.0.0.1:{bad.port}", f"127.0.0.1:{other.port}").lookup("x.example", Type.A)
        assert other.queries == []


# --- configuration --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("127.0.0.1", "127.0.0.1:53"),
        ("127.0.0.1:5353", "127.0.0.1:5353"),
        ("[::1]:54", "[::1]:54"),
        ("::1", "[::1]:53"),
    ],
)
def test_a_resolver_is_an_address_and_a_port(written: str, read: str) -> None:
    assert str(Upstream.parse(written)) == read


@pytest.mark.parametrize("written", ["dns.example:53", "127.0.0.1:x", "", "[::1"])
def test_anything_else_is_a_configuration_error(written: str) -> None:
    with pytest.raises(ConfigurationError, match=r"validation\.resolvers"):
        Upstream.parse(written)


@pytest.mark.clause("BR 3.2.2.8.1")
@pytest.mark.must("rfc8555.11.2.own-resolvers", "rfc8659.5.4.no-third-party-cache", "rfc8657.5.6.dnssec")
@pytest.mark.parametrize("configured", [(), ("192.0.2.53:53",), ("127.0.0.1:53", "192.0.2.53:53")])
def test_public_rules_take_only_resolvers_on_loopback(configured: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="loopback"):
        upstreams(configured, Rules.PUBLIC)
    assert upstreams(("127.0.0.1:53",), Rules.PUBLIC)


@pytest.mark.clause("RFC 6761 section 6.3")
async def test_local_names_are_loopback_without_asking_and_all_else_is_asked() -> None:
    table = TableResolver({"localhost.example A": ["192.0.2.1"]})
    resolver = LocalNames(table, ("localhost", "*.localhost"))
    assert (await resolver.lookup("a.b.localhost", Type.A)).records == (bytes([127, 0, 0, 1]),)
    assert (await resolver.lookup("localhost", Type.AAAA)).records == (bytes(15) + b"\x01",)
    assert table.asked == []
    await resolver.lookup("localhost.example", Type.A)
    await resolver.lookup("_acme-challenge.localhost", Type.TXT)
    assert table.asked == ["localhost.example A", "_acme-challenge.localhost TXT"]


@pytest.mark.row("limits.dns")
def test_the_limits_of_a_look_up_are_those_of_the_specification() -> None:
    # 8 s for a check is in txt.py and its test, 10 s for a climb in caa.py.
    assert (resolver.QUERY_SECONDS, resolver.TRIES, resolver.RECORDS_LIMIT) == (3.0, 2, 1000)
    assert dns_message.UDP_PAYLOAD == 1232
    assert caa.CLIMB_SECONDS == 10.0


@pytest.mark.row("caa.partial")
@pytest.mark.row("attacks.partial-set")
async def test_a_set_padded_beyond_what_tcp_can_carry_is_a_failure_and_not_a_part() -> None:
    def script(query: dns.message.Message, tcp: bool) -> bytes:
        # The record that permits comes first; the one that forbids would be beyond the 64 KiB.
        answer = reply(query, 'x.example. CAA 0 issue "ca.example"', flags=dns.flags.RA | dns.flags.TC)
        padding = [f'x.example. CAA 0 a{number} "{"p" * 250}"' for number in range(200 if tcp else 0)]
        for line in padding:
            name, kind, data = line.split(" ", 2)
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, data))
        return answer.to_wire(max_size=65535)

    async with ScriptedServer(script) as server:
        assert "truncated" in await failure(server)
