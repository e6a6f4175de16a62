"""dns-account-01: as dns-01, at the account's own label."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fake_dns import TableResolver, failure
from validation.addresses import AddressPolicy
from validation.challenge import Challenge, Shown, Tools
from validation.dns.resolver import Type
from validation.hosts.dialer import GuardedDialer
from validation.hosts.redirects import Ports
from validation.methods import dns_account01, txt
from validation.verdict import CheckFailed, Trace

ACCOUNT = "https://example.com/acme/acct/ExampleAccount"
CHALLENGE = Challenge.of(
    "www.example",
    True,
    ACCOUNT,
    "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA",
    "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
)
DIGEST = txt.text_of(CHALLENGE.digest)
NAME = "_ujmmovf2vn55tgye._acme-challenge.www.example"

pytestmark = pytest.mark.timeout(30)


async def check(table: dict, challenge: Challenge = CHALLENGE) -> None:
    tools = Tools(TableResolver(table), GuardedDialer(), AddressPolicy(), Ports(), lambda host: host)
    assert await dns_account01.check(challenge, tools, Trace()) == Shown()


@pytest.mark.clause("draft-ietf-acme-dns-account-label-00 section 3.2")
@pytest.mark.row("methods.dns-account-01")
def test_the_label_of_the_drafts_example() -> None:
    assert dns_account01.account_label(ACCOUNT) == "_ujmmovf2vn55tgye"


@pytest.mark.clause("BR 3.2.2.4.21")
@pytest.mark.row("methods.dns-account-01")
async def test_the_digest_at_the_accounts_label_passes() -> None:
    await check({f"{NAME} TXT": ["other", DIGEST]})


@pytest.mark.clause("BR 3.2.2.4.21")
@pytest.mark.row("methods.dns-account-01", "errors.dns", "errors.txt-unauthorized", "attacks.token-confusion")
@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({f"{NAME} TXT": None}, "dns"),
        ({f"{NAME} TXT": failure(NAME, Type.TXT)}, "dns"),
        ({}, "unauthorized"),
        ({f"{NAME} TXT": [DIGEST.swapcase()]}, "unauthorized"),
        ({"_acme-challenge.www.example TXT": [DIGEST]}, "unauthorized"),
        ({"_UJMMOVF2VN55TGYE._acme-challenge.www.example TXT": [DIGEST]}, "unauthorized"),
    ],
    ids=["NXDOMAIN", "SERVFAIL", "empty", "another case", "at dns-01's label", "in capitals"],
)
async def test_anything_else_is_refused(table: dict, problem: str) -> None:
    with pytest.raises(CheckFailed) as raised:
        await check(table)
    assert raised.value.problem == problem
    assert NAME in raised.value.detail


@pytest.mark.row("attacks.token-confusion")
async def test_another_accounts_label_does_not_count() -> None:
    theirs = replace(CHALLENGE, account_url="https://example.com/acme/acct/Another")
    with pytest.raises(CheckFailed, match="has no TXT record"):
        await check({f"{NAME} TXT": [DIGEST]}, theirs)
