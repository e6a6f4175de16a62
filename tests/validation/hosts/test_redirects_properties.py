"""The redirect policy against two parsers of another origin: what is followed leads where they say, too.

A redirect that we and the connecting code read differently is the classic way inside; so is one that we read
differently from everybody else.  `ada_url` is the WHATWG's reading (browsers, curl-likes), `yarl` aiohttp's.
"""

from __future__ import annotations

from functools import cache

import ada_url
import pytest
import yarl
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from core.identifiers import normalise_dns
from validation.addresses import parse_address
from validation.hosts.redirects import Hop, Ports, follow
from validation.verdict import CheckFailed

START = Hop("http", "start.example.com", 80, "/.well-known/acme-challenge/token")
PORTS = Ports()


@cache
def public_name(host: str) -> str:
    """The rule of a perspective under public rules."""
    return normalise_dns(host, public=True)


def followed(location: str, start: Hop = START) -> Hop | None:
    try:
        return follow(start, location, PORTS, public_name)
    except CheckFailed as refused:
        assert refused.problem == "connection"  # noqa: PT017
        assert refused.detail.isprintable()  # noqa: PT017
        return None


HOSTS = st.one_of(
    st.sampled_from(
        [
            *(
                "other.example.com",
                "Other.EXAMPLE.org",
                "a.b.example.co.uk",
                "xn--bcher-kva.example.com",
                "com",
            ),
            *("1.1.1.1", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "1.1.1.1.", "01.1.1.1", "1.1.1.256"),
            *(
                "[2606:4700::1111]",
                "[::1]",
                "[::ffff:1.1.1.1]",
                "[::01]",
                "[fe80::1%25e]",
                "[1.1.1.1]",
                "[::1",
            ),
            *(
                "other.example.com.",
                "localhost",
                "a_b.example.com",
                "-a.example.com",
                "start.example.com.well-known",
            ),
            *(
                "%6fther.example.com",
                "other。example.com",
                "ot\u00adher.example.com",
                "",
                ".",
                "a..example.com",
            ),
            *("xn--a.example.com", "xn--.example.com", "a.0x1", "example.123", "1e1.example.com"),
        ]
    ),
    st.text(alphabet="abz019-.:[]%@_xX", max_size=16),
)
PORT = st.sampled_from(
    ["", "", "", ":80", ":443", ":", ":080", ":0443", ":8080", ":22", ":99999", ":-80", ":8a", ":٨٠"]
)
USER = st.sampled_from(["", "", "", "", "@", "user@", "user:word@", ":@", "a%40b@", "other.example.com:80@"])
# Without "%2e": a dot segment to the WHATWG, and to RFC 3986 a name like any other.
SEGMENT = st.sampled_from(
    [
        "",
        "a",
        "b",
        ".",
        "..",
        "x;y=1",
        "a:b",
        "%2F",
        "a@b",
        "a=b&c",
        "~",
        "%",
        "%zz",
        "*",
        "a|b",
        "\\",
    ]
)
PATH = st.lists(SEGMENT, max_size=5).map("/".join)
TAIL = st.sampled_from(["", "", "?", "?q=1", "?a/b?c", "?//x", "#f", "#", "?q#f", "#//evil.example.com/"])


@st.composite
def locations(draw: st.DrawFn) -> str:
    """Absolute, network-path, absolute-path and relative references, well and badly formed."""
    kind = draw(st.sampled_from(["absolute"] * 4 + ["network", "path", "relative", "odd"]))
    path, tail = draw(PATH), draw(TAIL)
    authority = draw(USER) + draw(HOSTS) + draw(PORT)
    scheme = draw(st.sampled_from(["http", "http", "https", "HTTP", "hTTps", "ftp", "ws", "htt\tp", ""]))
    written = {
        "absolute": f"{scheme}://{authority}/{path}{tail}",
        "network": f"//{authority}/{path}{tail}",
        "path": f"/{path}{tail}",
        "relative": f"{path}{tail}",
        "odd": draw(st.sampled_from(["http:", "http:/", "http:///", "///", "/\\", "\\\\", "https:"]))
        + f"{authority}/{path}{tail}",
    }[kind]
    if draw(st.sampled_from([False] * 6 + [True])):
        at = draw(st.integers(0, len(written)))
        written = written[:at] + draw(st.sampled_from(list("@\\/:?#[]% \t\r\n\x00\u202e"))) + written[at:]
    return written


def reads_alike(location: str, hop: Hop, start: Hop = START) -> None:
    """Both other parsers, given the same base, find the host, port and target that we do."""
    theirs = ada_url.URL(location, base=start.url)
    host = f"[{hop.host}]" if ":" in hop.host else hop.host
    default = {"http": 80, "https": 443}[hop.scheme]
    assert (theirs.protocol, theirs.hostname) == (f"{hop.scheme}:", host)
    assert int(theirs.port or default) == hop.port
    assert (theirs.username, theirs.password) == ("", "")
    # What we send, read by them, is what they would have sent, but for the mark of an empty query.
    theirs.hash = ""
    assert ada_url.URL(hop.url).href == (theirs.href if theirs.search else theirs.href.rstrip("?"))

    joined = yarl.URL(start.url).join(yarl.URL(location))
    assert (joined.scheme, joined.raw_host, joined.port, joined.user) == (
        hop.scheme,
        hop.host,
        hop.port,
        None,
    )


@pytest.mark.row("methods.http-01-redirect-hosts")
@pytest.mark.clause("BR 3.2.2.4.19")
@settings(max_examples=1500)
@given(locations())
@example("a//b")
@example("0:")
@example("http://[1.1.1.1]/")
@example("http://other.example.com:443/")
@example("https://other.example.com:80?x")
@example("http://other.example.com#@evil.example.org/")
@example("//other.example.com")
def test_what_is_followed_leads_where_every_parser_says(location: str) -> None:
    hop = followed(location)
    if hop is None:
        return
    assert hop.scheme in ("http", "https")
    assert hop.port in (80, 443)
    assert parse_address(hop.host) is not None or public_name(hop.host) == hop.host
    assert hop.target.startswith("/")
    assert hop.target.isascii()
    assert hop.target.isprintable()
    assert " " not in hop.target
    reads_alike(location, hop)


@settings(max_examples=400)
@given(locations(), locations())
@example("http://other.example.com/?q=1", "?")
@example("http://other.example.com/?q=1", "#f")
@example("http://other.example.com/a/b?q=1", "..")
def test_a_second_redirect_is_read_from_where_the_first_one_led(first: str, second: str) -> None:
    between = followed(first)
    assume(between is not None)
    assert between is not None
    last = followed(second, between)
    if last is not None:
        reads_alike(second, last, between)


@settings(max_examples=400)
@given(locations())
def test_what_was_followed_is_followed_again_to_the_same_place(location: str) -> None:
    hop = followed(location)
    if hop is not None:
        assert followed(hop.url) == hop


@settings(max_examples=300)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_text_at_all_is_followed_rightly_or_refused(location: str) -> None:
    hop = followed(location)
    if hop is not None:
        reads_alike(location, hop)
