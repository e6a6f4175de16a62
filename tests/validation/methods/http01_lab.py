"""Web servers of an applicant, and the validator before them."""

from __future__ import annotations

import pytest

from core.errors import Problem
from tests.support import web
from tests.support.fake_dns import TableResolver
from validation.addresses import AddressPolicy
from validation.challenge import Challenge, Tools
from validation.dns.resolver import LocalNames
from validation.hosts.dialer import DialLimits, GuardedDialer
from validation.hosts.redirects import Ports
from validation.methods import http01
from validation.verdict import CheckFailed, Trace

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
KEY_AUTHORIZATION = f"{TOKEN}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
PATH = http01.PATH + TOKEN
good = web.response(KEY_AUTHORIZATION.encode())


def host_rule(host: str) -> str:
    if not host.endswith((".example", "localhost")):
        raise Problem("rejectedIdentifier", "not of this world")
    return host


class Lab:
    """The method under test with its surroundings."""

    def __init__(
        self,
        table: dict | None = None,
        *,
        port: int = 1,
        tls_port: int = 1,
        allowed: tuple[str, ...] = ("127.0.0.1/32", "::1/128"),
        local_names: tuple[str, ...] = (),
        limits: DialLimits | None = None,
    ) -> None:
        self.resolver = TableResolver({"www.example A": ["127.0.0.1"]} if table is None else table)
        self.trace = Trace()
        self.tools = Tools(
            LocalNames(self.resolver, local_names),
            GuardedDialer(limits),
            AddressPolicy.parse(allowed),
            Ports(port, tls_port),
            host_rule,
            local_names,
        )

    async def check(self, name: str = "www.example") -> None:
        challenge = Challenge.of(
            name, False, "https://ca.example/acme/account/1", TOKEN, KEY_AUTHORIZATION.partition(".")[2]
        )
        await http01.check(challenge, self.tools, self.trace)

    async def refused(self, name: str = "www.example") -> tuple[str, str]:
        with pytest.raises(CheckFailed) as raised:
            await self.check(name)
        assert raised.value.detail.isprintable()
        return raised.value.problem, raised.value.detail
