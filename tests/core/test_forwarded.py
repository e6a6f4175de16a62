"""core/forwarded.py: who asks, when proxies stand in front and strangers write headers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from multidict import CIMultiDict

from core.addresses import canonical
from core.forwarded import HEADER_LENGTH, Addresses
from core.settings import Acme, Settings
from tests.support.acme_client import JOSE, sign
from tests.support.acme_front import running

BEHIND = Addresses(Acme(trusted_proxies=("192.0.2.0/28", "2001:db8:ffff::/48")))
STANDARD = Addresses(Acme(trusted_proxies=("192.0.2.0/28", "2001:db8:ffff::/48"), proxy_header="Forwarded"))
PROXY = "192.0.2.1"


def by(addresses: Addresses, *lines: str) -> str:
    name = "Forwarded" if addresses is STANDARD else "X-Forwarded-For"
    return addresses.client(PROXY, CIMultiDict([(name, line) for line in lines]))


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["10.0.0.1, 198.51.100.7"], "198.51.100.7"),
        (["127.0.0.1, ::1, 192.0.2.9, 198.51.100.7"], "198.51.100.7"),
        (["10.0.0.1", "198.51.100.7"], "198.51.100.7"),
        (["203.0.113.5, 198.51.100.7, 192.0.2.2, 2001:db8:ffff::1"], "198.51.100.7"),
        (["198.51.100.7:4711"], "198.51.100.7"),
        (["2001:DB8:0::7"], "2001:db8::7"),
        (["[2001:db8::7]:443"], "2001:db8::7"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        # What the last proxy wrote is no address: nobody before it is believed.
        (["198.51.100.7, unknown"], PROXY),
        (["198.51.100.7,"], PROXY),
        (["198.51.100.7, " + "9" * 5000], PROXY),
        (["unknown, 192.0.2.2"], "192.0.2.2"),
        ([""], PROXY),
        ([], PROXY),
        # Whoever invents more proxies than there can be, or a header without an end, hides behind a real one.
        (["198.51.100.7" + ", 192.0.2.3" * 100], "192.0.2.3"),
        (["10.0.0.1, " * 5000 + "198.51.100.7"], "198.51.100.7"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(lines: list[str], client: str) -> None:
    assert by(BEHIND, *lines) == client


@pytest.mark.clause("RFC 7239 section 4")
@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["for=198.51.100.7"], "198.51.100.7"),
        (["For=198.51.100.7; proto=https;by=192.0.2.1"], "198.51.100.7"),
        (['proto=https;for="[2001:db8::7]:4711";by=_p'], "2001:db8::7"),
        (["for=10.0.0.1, for=198.51.100.7"], "198.51.100.7"),
        (["for=10.0.0.1", "for=198.51.100.7, for=192.0.2.4"], "198.51.100.7"),
        (["for=198.51.100.7, for=unknown"], PROXY),
        (["for=198.51.100.7, for=_hidden"], PROXY),
        (["for=198.51.100.7, proto=https"], PROXY),
        # A quote that the stranger left open does not swallow what the proxy wrote after it.
        (['for="10.0.0.1, for=198.51.100.7'], "198.51.100.7"),
        (['for="10.0.0.1, for="[2001:db8::7]"'], "2001:db8::7"),
        (['for="10.0.0.1\\", for=198.51.100.7;by="x"'], "198.51.100.7"),
        (['for="10.0.0.1, for=198.51.100.8", for=198.51.100.7'], "198.51.100.7"),
        (["x" * 2 * HEADER_LENGTH + ", for=198.51.100.7"], "198.51.100.7"),
        (['",' * HEADER_LENGTH], PROXY),
    ],
)
def test_forwarded_is_read_from_the_right(lines: list[str], client: str) -> None:
    assert by(STANDARD, *lines) == client


@pytest.mark.parametrize(
    ("header", "lines", "secure"),
    [
        ("X-Forwarded-Proto", ["https"], True),
        ("X-Forwarded-Proto", ["HTTPS"], True),
        ("X-Forwarded-Proto", ["http"], False),
        ("X-Forwarded-Proto", ["https, http"], False),
        ("X-Forwarded-Proto", ["https", "http"], False),
        ("X-Forwarded-Proto", ["https,"], False),
        ("X-Forwarded-Proto", ["https" * HEADER_LENGTH], False),
        ("X-Forwarded-Proto", [], False),
        ("Forwarded", ["proto=https"], False),  # not this proxy's header
    ],
)
def test_that_it_came_by_tls_is_the_last_proxys_word(header: str, lines: list[str], secure: bool) -> None:
    headers = CIMultiDict([(header, line) for line in lines])
    assert BEHIND.came_by_tls(PROXY, headers) is secure
    assert not BEHIND.came_by_tls("198.51.100.7", headers)
    assert not Addresses(Acme()).came_by_tls("127.0.0.1", headers)


@pytest.mark.clause("RFC 7239 section 4")
@pytest.mark.parametrize(
    ("line", "secure"),
    [
        ("for=198.51.100.7;proto=https", True),
        ('for=198.51.100.7; Proto="https"', True),
        ("proto=https, for=198.51.100.7", False),
        ("proto=https, for=198.51.100.7;proto=http", False),
        ("", False),
    ],
)
def test_forwarded_says_by_which_scheme_it_came(line: str, secure: bool) -> None:
    headers = CIMultiDict([("Forwarded", line), ("X-Forwarded-Proto", "https")])
    assert STANDARD.came_by_tls(PROXY, headers) is secure


def test_only_the_header_that_the_proxy_writes_is_read() -> None:
    both = CIMultiDict({"X-Forwarded-For": "198.51.100.7", "Forwarded": "for=203.0.113.9"})
    assert BEHIND.client(PROXY, both) == "198.51.100.7"
    assert STANDARD.client(PROXY, both) == "203.0.113.9"


@pytest.mark.parametrize(
    ("address", "block", "site"),
    [
        ("198.51.100.7", "198.51.100.7", None),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        # This machine and the proxies stand for too many to be one.
        ("127.0.0.1", None, None),
        ("127.9.9.9", None, None),
        ("::1", None, None),
        ("192.0.2.1", None, None),
        ("2001:db8:ffff::1", None, None),
    ],
)
def test_a_client_is_counted_by_its_address_or_its_link(
    address: str, block: str | None, site: str | None
) -> None:
    assert (BEHIND.block(address), BEHIND.site(address)) == (block, site)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("::ffff:192.0.2.9", "192.0.2.9"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("", ""),
    ],
)
def test_a_peer_has_one_form(peer: str, address: str) -> None:
    assert canonical(peer) == address


@pytest.mark.parametrize(("trusted", "seen"), [((), "127.0.0.1"), (("127.0.0.1/32",), "198.51.100.7")])
async def test_the_access_log_and_the_audit_log_have_the_client_that_a_trusted_proxy_names_and_no_other(
    tmp_path: Path, trusted: tuple[str, ...], seen: str
) -> None:
    def change(settings: Settings) -> Settings:
        return replace(settings, acme=replace(settings.acme, trusted_proxies=trusted))

    async with running(tmp_path, change) as front:
        client = await front.subscriber()
        forged = {"X-Forwarded-For": "10.0.0.1, 198.51.100.7"}
        async with front.http.get(front.at + "/directory", headers=forged) as answer:
            assert answer.status == 200
        assert front.access[-1].split()[1] == seen
        url = (await client.order("www.example.com")).headers["Location"]
        stranger = await front.subscriber()
        body = sign(stranger.key, await stranger.protected(url), b"")
        assert (await stranger.send(url, body, JOSE | forged)).status == 403
        assert f'"from":"{seen}"' in front.audit("access.foreign-resource")[0]["content"]
