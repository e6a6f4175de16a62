"""acme_server/registration/identifiers.py: hostile and unfit names, refused with the right type and a remedy.

The rules for single names are tested in tests/core/test_identifiers.py; here is what a client is told, and
that nothing changes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from core.settings import Settings
from tests.core.test_today import FIVE_REMOTES, public
from tests.support.acme_client import AcmeClient
from tests.support.acme_front import Front, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

MALFORMED = {
    "a dot at the end": ("www.acme-shop.com.", "leave out the dot at its end"),
    "two dots": ("www..acme-shop.com", "one of its labels is empty"),
    "nothing": ("", "name a host"),
    "a star alone": ("*", "whole leftmost label"),
    "a star for all": ("*.", "name a host"),
    "two stars": ("*.*.acme-shop.com", "whole leftmost label"),
    "a star within": ("www.*.acme-shop.com", "whole leftmost label"),
    "half a star": ("w*.acme-shop.com", "whole leftmost label"),
    "an underscore": ("_dmarc.acme-shop.com", "an underscore cannot stand"),
    "a hyphen first": ("-www.acme-shop.com", "no hyphen at either end"),
    "a hyphen last": ("www-.acme-shop.com", "no hyphen at either end"),
    "a reserved label": ("ab--cd.acme-shop.com", 'only "xn--" is in use'),
    "no punycode": ("xn--999999999.acme-shop.com", "not valid under IDNA 2008"),
    "an emoji": ("xn--i-7iq.ws", "not valid under IDNA 2008"),
    "an A-label of plain letters": ("xn--acme-.com", "no hyphen at either end"),
    "a U-label": ("bücher.acme-shop.com", 'send its A-label form, "xn--bcher-kva.acme-shop.com"'),
    "a full-width dot": ("www。acme-shop.com", 'send its A-label form, "www.acme-shop.com"'),
    "a Kelvin sign": ("\u212aelvin.com", 'send its A-label form, "kelvin.com"'),
    "a zero-width joiner": ("ac\u200dme.com", "A-label form|no host name can hold"),
    "a long label": ("a" * 64 + ".com", "longer than 63"),
    "a long name": (".".join(["a" * 60] * 5) + ".com", "longer than 253"),
    "a number as TLD": ("www.acme-shop.1", "its last label is a number"),
    "hexadecimal as TLD": ("www.acme-shop.0x7f", "its last label is a number"),
    "an address": ("9.9.9.9", "no identifier of type"),
    "an address in brackets": ("[2620:fe::9]", "no identifier of type"),
    "a wildcard of an address": ("*.9.9.9.9", "no identifier of type"),
    "a NUL": ("www.acme-shop.com\x00.evil.com", "labels hold letters"),
    "a line end": ("www.acme-shop.com\r\n", "labels hold letters"),
    "a port": ("www.acme-shop.com:443", "labels hold letters"),
    "a URL": ("https://www.acme-shop.com", "labels hold letters"),
    "an address of mail": ("me@acme-shop.com", "labels hold letters"),
}
REJECTED = {
    "a top-level domain": ("com", "order it in full"),
    "a wildcard of all of it": ("*.com", "order it in full"),
    "a public suffix": (
        "co.jp",
        "a public suffix belongs to no single subscriber; order names below your own",
    ),
    "a wildcard of it": ("*.co.jp", "a wildcard directly below a public suffix belongs to no single"),
    "a suffix by a rule with a star": ("anything.ck", "a public suffix belongs"),
    "a wildcard of that": ("*.anything.ck", "a wildcard directly below a public suffix"),
    "a suffix in A-labels": ("xn--55qx5d.cn", "a public suffix belongs"),
    "one label": ("intranet", "order it in full"),
    "localhost": ("localhost", "order it in full"),
    "below localhost": ("www.localhost", "reserved and no public host has; order a public name"),
    "multicast DNS": ("printer.local", "reserved"),
    "documentation": ("www.example", "reserved"),
    "tests": ("www.test", "reserved"),
    "invalid": ("www.invalid", "reserved"),
    "a network's own": ("host.internal", "reserved"),
    "a home's own": ("router.home.arpa", "reserved"),
    "infrastructure": ("ipv4only.arpa", "reserved"),
    "an alternative": ("name.alt", "reserved"),
    "a hidden service": ("vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion", "reserved"),
    "made up by networks": ("mail.corp", "reserved"),
    "a TLD that is none": (
        "www.nosuchtld",
        '".nosuchtld" is no public top-level domain; order a public name',
    ),
    "an IPv4 reverse zone": (
        "9.9.9.9.in-addr.arpa",
        "reverse zones are not certified; order the host's name",
    ),
    "an IPv6 reverse zone": ("*.1.0.0.2.ip6.arpa", "reverse zones are not certified"),
    "too many labels": ("a." * 9 + "acme-shop.com", "more than 10 labels; order a name with fewer dots"),
}
ADDRESSES = {
    "loopback": ("127.0.0.1", "rejectedIdentifier", "order a name, or a public address of yours"),
    "a private network": ("10.0.0.1", "rejectedIdentifier", "order a name"),
    "a cloud's metadata": ("169.254.169.254", "rejectedIdentifier", "order a name"),
    "a carrier's": ("100.64.0.1", "rejectedIdentifier", "order a name"),
    "documentation": ("192.0.2.1", "rejectedIdentifier", "order a name"),
    "IPv6 documentation": ("2001:db8::1", "rejectedIdentifier", "order a name"),
    "multicast": ("224.0.0.1", "rejectedIdentifier", "order a name"),
    "unspecified": ("::", "rejectedIdentifier", "order a name"),
    "a unique local": ("fd00::1", "rejectedIdentifier", "order a name"),
    "an inner address in NAT64": ("64:ff9b::a00:1", "rejectedIdentifier", "order a name"),
    "an inner address in 6to4": ("2002:a00:1::", "rejectedIdentifier", "order a name"),
    "a mapped address": ("::ffff:909:909", "rejectedIdentifier", "order a name"),
    "another form": ("2620:FE::9", "malformed", 'write "2620:fe::9"'),
    "leading zeroes": ("9.9.9.09", "malformed", "write it like"),
    "a zone": ("fe80::1%eth0", "malformed", 'write "fe80::1"'),
    "a name": ("www.acme-shop.com", "malformed", "write it like"),
    "a wildcard": ("*.9.9.9.9", "malformed", "write it like"),
}
TAKEN = (
    *("www.acme-shop.com", "*.acme-shop.com", "acme-shop.co.jp", "*.acme-shop.co.jp", "3com.com"),
    *("xn--bcher-kva.com", "*.github.io", "www.ck", "city.kawasaki.jp", "a." * 8 + "acme-shop.com"),
    *("a" * 63 + ".com", "xn--80ak6aa92e.com"),  # the last in Cyrillic only: what it looks like is no rule
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Front, AcmeClient]]:
    """A front under public rules, which all tests of this file share, with an account."""

    def change(settings: Settings) -> Settings:
        return replace(public(6), acme=settings.acme, profiles=settings.profiles)

    directory: Path = tmp_path_factory.mktemp("public")
    async with running(directory, change) as front:
        front.clock.at = FIVE_REMOTES
        yield front, await front.subscriber()


async def refused(
    strict: tuple[Front, AcmeClient], kind: str, value: str, problem: str, *details: str
) -> None:
    front, client = strict
    before = front.counts()
    answer = await client.post("/acme/new-order", {"identifiers": [{"type": kind, "value": value}]})
    assert (answer.status, answer.problem) == (400, problem), answer.body
    assert any(each in answer.body["detail"] for each in details), answer.body["detail"]
    assert answer.body["subproblems"][0]["identifier"] == {"type": kind, "value": value}
    assert answer.body["detail"].isprintable()
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.1.4")
@pytest.mark.clause("BR 7.1.2.7.12")
@pytest.mark.parametrize("case", MALFORMED)
async def test_what_is_no_host_name_is_malformed(strict: tuple[Front, AcmeClient], case: str) -> None:
    value, details = MALFORMED[case]
    await refused(strict, "dns", value, "malformed", *details.split("|"))


@pytest.mark.clause("BR 4.2.2")
@pytest.mark.clause("BR 3.2.2.6")
@pytest.mark.parametrize("case", REJECTED)
async def test_what_is_no_public_name_is_rejected(strict: tuple[Front, AcmeClient], case: str) -> None:
    value, detail = REJECTED[case]
    await refused(strict, "dns", value, "rejectedIdentifier", detail)


@pytest.mark.clause("BR 4.2.2")
@pytest.mark.clause("RFC 8738 section 3")
@pytest.mark.parametrize("case", ADDRESSES)
async def test_what_is_no_public_address_is_refused(strict: tuple[Front, AcmeClient], case: str) -> None:
    value, problem, detail = ADDRESSES[case]
    await refused(strict, "ip", value, problem, detail)


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.parametrize("kind", ["email", "DNS", "", "permanent-identifier", "x" * 300])
async def test_another_type_is_unsupported(strict: tuple[Front, AcmeClient], kind: str) -> None:
    await refused(strict, kind, "www.acme-shop.com", "unsupportedIdentifier", "are not offered")


@pytest.mark.clause("BR 3.2.2.6")
@pytest.mark.parametrize("name", TAKEN)
async def test_what_the_public_may_have_is_taken(strict: tuple[Front, AcmeClient], name: str) -> None:
    _, client = strict
    answer = await client.order(name)
    assert answer.status == 201, answer.body
    assert answer.body["identifiers"] == [{"type": "dns", "value": name}]


@pytest.mark.clause("RFC 8555 section 6.7.1")
async def test_all_faults_of_an_order_are_told_at_once_and_each_for_its_identifier(
    strict: tuple[Front, AcmeClient],
) -> None:
    front, client = strict
    before = front.counts()
    names = ["www.acme-shop.com", "a_b.acme-shop.com", "*.co.jp"]
    listed = [{"type": "dns", "value": each} for each in names]
    listed += [{"type": "ip", "value": "10.0.0.1"}, {"type": "email", "value": "a@b"}]
    answer = await client.post("/acme/new-order", {"identifiers": listed})
    assert (answer.status, answer.problem) == (400, "compound")
    told = [(each["type"].rpartition(":")[2], each["identifier"]) for each in answer.body["subproblems"]]
    assert told == [
        ("malformed", listed[1]),
        ("rejectedIdentifier", listed[2]),
        ("rejectedIdentifier", listed[3]),
        ("unsupportedIdentifier", listed[4]),
    ]
    assert front.counts() == before
