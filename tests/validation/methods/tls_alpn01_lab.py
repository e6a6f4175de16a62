"""TLS servers of an applicant, and the validator before them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.support.fake_dns import TableResolver
from tests.support.tls import acme_identifier, certificate, names
from validation.addresses import AddressPolicy
from validation.challenge import Challenge, Tools
from validation.dns.resolver import LocalNames
from validation.hosts.dialer import DialLimits, GuardedDialer
from validation.hosts.redirects import Ports
from validation.methods import tls_alpn01
from validation.verdict import CheckFailed, Trace

NAME = "www.example"
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
ACCOUNT = "https://ca.example/acme/account/1"
CHALLENGE = Challenge.of(NAME, False, ACCOUNT, TOKEN, THUMBPRINT)
IDENTIFIER = (acme_identifier(CHALLENGE.digest), True)
RIGHT = certificate(names(NAME), IDENTIFIER)


class Lab:
    """The method under test with its surroundings."""

    def __init__(
        self,
        port: int,
        table: dict | None = None,
        *,
        allowed: Iterable[str] = ("127.0.0.1/32", "::1/128"),
        limits: DialLimits | None = None,
        local_names: tuple[str, ...] = (),
    ) -> None:
        self.resolver = TableResolver({f"{NAME} A": ["127.0.0.1"]} if table is None else table)
        self.trace = Trace()
        self.tools = Tools(
            LocalNames(self.resolver, local_names),
            GuardedDialer(limits),
            AddressPolicy.parse(allowed),
            Ports(1, 1, port),
            lambda host: host,
            local_names,
        )

    async def check(self, name: str = NAME) -> None:
        challenge = Challenge.of(name, False, ACCOUNT, TOKEN, THUMBPRINT)
        await tls_alpn01.check(challenge, self.tools, self.trace)

    async def refused(self, name: str = NAME) -> tuple[str, str]:
        with pytest.raises(CheckFailed) as raised:
            await self.check(name)
        assert raised.value.detail.isprintable()
        assert name in raised.value.detail
        return raised.value.problem, raised.value.detail
