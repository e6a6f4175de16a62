"""http-01: no request reaches what lies inside (server-side request forgery)."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import web
from tests.support.fake_dns import TableResolver
from tests.support.web import WebServer
from tests.validation.methods.http01_lab import Lab, good, host_rule
from validation.addresses import AddressPolicy
from validation.challenge import Tools
from validation.dns.resolver import Type
from validation.hosts.dialer import DialLimits
from validation.hosts.redirects import Ports

pytestmark = pytest.mark.timeout(30)


@pytest.mark.row("errors.dns")
@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.clause("RFC 8555 section 10.4")
@pytest.mark.must("rfc8555.10.4.ssrf")
async def test_a_name_that_points_inside_is_not_connected_to() -> None:
    async with WebServer(good) as server:
        lab = Lab({"www.example A": ["127.0.0.1", "10.0.0.1"], "www.example AAAA": ["::1"]}, allowed=())
        lab.tools = Tools(
            lab.resolver, lab.tools.dialer, AddressPolicy(), Ports(server.port, server.port), host_rule
        )
        problem, detail = await lab.refused()
    assert problem == "dns"
    assert "special-purpose" in detail
    assert server.connections == 0


async def test_of_several_addresses_the_first_allowed_one_is_used() -> None:
    async with WebServer(good) as server:
        lab = Lab({"www.example A": ["10.0.0.1", "127.0.0.1"]}, port=server.port)
        await lab.check()


@pytest.mark.row("errors.redirect")
@pytest.mark.row("attacks.odd-literals")
@pytest.mark.row("attacks.redirect-to-internal")
@pytest.mark.clause("RFC 8555 section 10.4")
@pytest.mark.must("rfc8555.10.4.ssrf")
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.0.1",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "localhost",
        "inside.example",
        "www.example@127.0.0.1",
        "127.0.0.1\\@www.example",
        "127.0.0.1%00.example",
        "127。0。0。1",
    ],
)
async def test_a_redirect_inside_connects_nowhere(host: str) -> None:
    # The first server stands outside (127.0.0.2 plays a public address), the target inside.
    async with WebServer(good) as four, WebServer(good, "::1", port=four.port) as six:
        inside = {f"{name} A": ["127.0.0.1"] for name in ("inside.example", "localhost")}
        inside |= {f"{name} AAAA": ["::1"] for name in ("inside.example", "localhost")}
        async with WebServer(web.redirect(f"http://{host}/"), "127.0.0.2", port=four.port):
            lab = Lab({"www.example A": ["127.0.0.2"], **inside}, port=four.port, allowed=("127.0.0.2/32",))
            problem, _ = await lab.refused()
        assert problem == "connection"
        assert (four.connections, six.connections) == (0, 0)


async def test_a_redirect_from_elsewhere_to_a_local_name_connects_nowhere() -> None:
    async with WebServer(good) as inside:
        async with WebServer(web.redirect("http://a.localhost/"), "127.0.0.2", port=inside.port):
            lab = Lab(
                {"www.example A": ["127.0.0.2"]},
                port=inside.port,
                allowed=("127.0.0.2/32",),
                local_names=("localhost", "*.localhost"),
            )
            problem, detail = await lab.refused()
        assert (problem, inside.connections) == ("connection", 0)
        assert "local name" in detail


@pytest.mark.row("methods.http-01-redirects")
@pytest.mark.row("attacks.rebinding")
async def test_rebinding_between_two_hops_meets_the_policy_again() -> None:
    class Rebinding(TableResolver):
        async def lookup(self, name, type):
            answer = await super().lookup(name, type)
            if type == Type.A:
                self.table["www.example A"] = ["127.0.0.1"]
            return answer

    async with WebServer(good) as inside:
        async with WebServer(web.redirect("/again"), "127.0.0.2", port=inside.port):
            lab = Lab({"www.example A": ["127.0.0.2"]}, port=inside.port, allowed=("127.0.0.2/32",))
            resolver = Rebinding({"www.example A": ["127.0.0.2"]})
            lab.tools = Tools(
                resolver, lab.tools.dialer, lab.tools.policy, lab.tools.ports, lab.tools.host_rule
            )
            problem, detail = await lab.refused()
        assert (problem, inside.connections) == ("connection", 0)
        assert "special-purpose" in detail


@pytest.mark.row("limits.http")
async def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with WebServer(good) as server, WebServer(good) as proxy:
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        await Lab(port=server.port).check()
        assert (server.connections, proxy.connections) == (1, 0)


@pytest.mark.row("limits.http")
async def test_an_endless_chain_of_slow_hops_ends_with_the_check() -> None:
    async def slow(text, reader, writer) -> None:
        await asyncio.sleep(0.2)
        number = len(server.requests)
        writer.write(web.head("302 Found", f"Location: /{number}", "Content-Length: 0"))

    async with WebServer(slow) as server:
        lab = Lab(port=server.port, limits=DialLimits(read=1, hop=1, check=0.5))
        problem, detail = await lab.refused()
    assert problem == "connection"
    assert "no answer within" in detail
