"""status/http beside aiohttp alone: the same octets, the same answers."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.wire import GOOD, LIVE, UNKNOWN, Pair, request

HOST = b"Host: ca.example\r\n"
OCSP = b"Content-Type: application/ocsp-request\r\n"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    (tmp_path / "index.html").write_bytes(b"index")
    found = await Pair(tmp_path).start()
    yield found
    await found.stop()


def get(serial: int = GOOD, fields: bytes = HOST, version: bytes = b"1.1", safe: str = "") -> bytes:
    path = quote(base64.b64encode(request(serial)).decode(), safe=safe).encode()
    return b"GET /ocsp/" + path + b" HTTP/" + version + b"\r\n" + fields + b"\r\n"


def post(serial: int = GOOD, fields: bytes = HOST, version: bytes = b"1.1", path: bytes = b"/ocsp") -> bytes:
    body = request(serial)
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST " + path + b" HTTP/" + version + b"\r\n" + fields + OCSP + length + b"\r\n" + body


ETAG = b'"' + b"ab" * 32 + b'"'
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(request()), request())

REQUESTS = {
    "get": get(),
    "get, slashes left": get(safe="/+="),
    "get, live": get(LIVE),
    "get, unknown": get(UNKNOWN),
    "get 1.0": get(fields=b"", version=b"1.0"),
    "get 1.0, keep-alive": get(fields=b"Connection: keep-alive\r\n", version=b"1.0"),
    "get, close": get(fields=HOST + b"Connection: close\r\n"),
    "get, Keep-Alive": get(fields=HOST + b"Connection: Keep-Alive\r\n"),
    "get, nginx stapling": get(fields=HOST, version=b"1.0"),
    "get, curl": get(fields=HOST + b"User-Agent: curl/8\r\nAccept: */*\r\n"),
    "get, conditional": get(fields=HOST + b"If-None-Match: " + ETAG + b"\r\n"),
    "get, conditional, another": get(fields=HOST + b'If-None-Match: "x"\r\n'),
    "get, conditional, weak, list": get(fields=HOST + b'If-None-Match: "x", W/' + ETAG + b"\r\n"),
    "get, conditional, star, close": get(fields=HOST + b"If-None-Match: *\r\nConnection: close\r\n"),
    "get, modified since": get(fields=HOST + b"If-Modified-Since: Mon, 23 Nov 2026 00:00:00 GMT\r\n"),
    "get, modified since long ago": get(
        fields=HOST + b"If-Modified-Since: Mon, 23 Nov 2020 00:00:00 GMT\r\n"
    ),
    "get, modified since nonsense": get(fields=HOST + b"If-Modified-Since: yesterday\r\n"),
    "get, both conditions": get(
        fields=HOST + b'If-None-Match: "x"\r\nIf-Modified-Since: Mon, 23 Nov 2026 00:00:00 GMT\r\n'
    ),
    "get, malformed": b"GET /ocsp/AAAA HTTP/1.1\r\n" + HOST + b"\r\n",
    "get, escaped twice": get().replace(b"%2", b"%252"),
    "get, small hex": get().replace(b"%2F", b"%2f").replace(b"%2B", b"%2b"),
    "get, blank": get().replace(b"%2B", b"%20"),
    "get, query": get().replace(b" HTTP", b"?x=1 HTTP"),
    "get, absolute": get().replace(b"GET /", b"GET http://ca.example/"),
    "get, double slash": get().replace(b"/ocsp/", b"/ocsp//"),
    "get, with a length": get(fields=HOST + b"Content-Length: 0\r\n"),
    "get, with a body": get(fields=HOST + b"Content-Length: 4\r\n") + b"body",
    "get, no host": get(fields=b""),
    "get, two hosts": get(fields=HOST + HOST),
    "get, 64 fields": get(fields=HOST + b"".join(b"X-%d: y\r\n" % n for n in range(70))),
    "get, a field of 8000": get(fields=HOST + b"X: " + b"y" * 8000 + b"\r\n"),
    "get, a field of 9000": get(fields=HOST + b"X: " + b"y" * 9000 + b"\r\n"),
    "get, bad connection": get(fields=HOST + b"Connection: close, x\r\n"),
    "get, two connections": get(fields=HOST + b"Connection: keep-alive\r\nConnection: close\r\n"),
    "get, obs-fold": get(fields=HOST + b"X: a\r\n b\r\n"),
    "get, blank before colon": get(fields=HOST + b"X : a\r\n"),
    "get, bare LF": get(fields=HOST + b"X: a\nY: b\r\n"),
    "get, NUL": get(fields=HOST + b"X: \0\r\n"),
    "get, high octets": get(fields=HOST + b"X: \xff\xfe\r\n"),
    "get, http/1.2": get(version=b"1.2"),
    "get, http/0.9": b"GET /ocsp/AAAA\r\n\r\n",
    "get, http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "get, lower case": get().replace(b"GET", b"get"),
    "get, upgrade": get(fields=HOST + b"Upgrade: h2c\r\nConnection: Upgrade\r\n"),
    "get, dots": b"GET /ocsp/../index.html HTTP/1.1\r\n" + HOST + b"\r\n",
    "get, ocsp alone": b"GET /ocsp HTTP/1.1\r\n" + HOST + b"\r\n",
    "get, ocsp slash": b"GET /ocsp/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "head": get().replace(b"GET", b"HEAD"),
    "options": get().replace(b"GET", b"OPTIONS"),
    "delete": get().replace(b"GET", b"DELETE"),
    "post": post(),
    "post, slash": post(path=b"/ocsp/"),
    "post, query": post(path=b"/ocsp?x"),
    "post 1.0": post(fields=b"", version=b"1.0"),
    "post 1.0, openssl": post(fields=HOST, version=b"1.0"),
    "post, close": post(fields=HOST + b"Connection: close\r\n"),
    "post, live, close": post(LIVE, fields=HOST + b"Connection: close\r\n"),
    "post, conditional": post(fields=HOST + b"If-None-Match: " + ETAG + b"\r\n"),
    "post, expect": post(fields=HOST + b"Expect: 100-continue\r\n"),
    "post, chunked": b"POST /ocsp HTTP/1.1\r\n" + HOST + OCSP + CHUNKED + b"\r\n" + CHUNKS,
    "post, chunked and a length": b"POST /ocsp HTTP/1.1\r\n"
    + HOST
    + OCSP
    + CHUNKED
    + b"Content-Length: 4\r\n\r\n"
    + CHUNKS,
    "post, two lengths": b"POST /ocsp HTTP/1.1\r\n"
    + HOST
    + OCSP
    + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "post, signed length": b"POST /ocsp HTTP/1.1\r\n" + HOST + OCSP + b"Content-Length: +4\r\n\r\nabcd",
    "post, no length": b"POST /ocsp HTTP/1.1\r\n" + HOST + OCSP + b"\r\n",
    "post, empty": b"POST /ocsp HTTP/1.1\r\n" + HOST + OCSP + b"Content-Length: 0\r\n\r\n",
    "post, garbage": b"POST /ocsp HTTP/1.1\r\n" + HOST + OCSP + b"Content-Length: 4\r\n\r\nabcd",
    "post, other type": post().replace(b"application/ocsp-request", b"text/plain"),
    "post, type with parameter": post().replace(b"ocsp-request\r\n", b"ocsp-request; charset=x\r\n"),
    "post, type in capitals": post().replace(b"application/ocsp-request", b"Application/OCSP-Request"),
    "post, too large": b"POST /ocsp HTTP/1.1\r\n"
    + HOST
    + OCSP
    + b"Content-Length: 5000\r\n\r\n"
    + bytes(5000),
    "post, encoded": post(fields=HOST + b"Content-Encoding: identity\r\n"),
    "post elsewhere": post(path=b"/index.html"),
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "blank lines first": b"\r\n\r\n" + get(),
}


def octets_of(octets: bytes) -> list[bytes]:
    """One by one: what aiohttp says then does not depend on where packets end."""
    return [octets[at : at + 1] for at in range(len(octets))]


@pytest.mark.clause("RFC 9112 section 9.3")
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_has_the_answer_that_aiohttp_gives_and_so_has_the_next_one(
    pair: Pair, name: str
) -> None:
    assert await pair.ours([REQUESTS[name]]) == await pair.aiohttps([REQUESTS[name]])
    more = octets_of(REQUESTS[name] + get(UNKNOWN))
    assert await pair.ours(more) == await pair.aiohttps(more)


@pytest.mark.parametrize("name", ["get", "get, live", "post, live, close"])
async def test_it_matters_not_where_the_packets_end(pair: Pair, name: str) -> None:
    octets = REQUESTS[name] + get()
    expected = await pair.aiohttps(octets_of(octets))
    assert expected.octets.count(b"HTTP/1") >= 1
    for at in range(0, len(octets), 2):
        assert await pair.ours([octets[:at], octets[at:]]) == expected


@pytest.mark.clause("RFC 9112 section 9.3.2")
async def test_pipelined_requests_are_answered_in_their_order(pair: Pair) -> None:
    octets = (
        get() + post(LIVE) + get(UNKNOWN) + REQUESTS["head"] + REQUESTS["post, chunked"] + get(LIVE) + get()
    )
    said = await pair.ours([octets])
    assert said == await pair.aiohttps([octets])
    assert said.octets.count(b"HTTP/1.1 200") == 7


MUTATED = st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=3).flatmap(
    lambda names: st.tuples(
        st.just(b"".join(REQUESTS[name] for name in names)),
        st.lists(
            st.tuples(
                st.integers(0, 400),
                st.sampled_from(
                    [b"", b"\r\n", b"\n", b" ", b"\t", b":", b",", b"%", b"/", b"\0", b"0", b"x", b"\xff"]
                ),
                st.integers(0, 2),
            ),
            max_size=3,
        ),
    )
)


@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(MUTATED)
async def test_whatever_is_changed_in_requests_both_make_the_same_of_it(pair: Pair, mutated: object) -> None:
    octets, changes = mutated  # type: ignore[misc]
    for at, inserted, removed in changes:
        octets = octets[:at] + inserted + octets[at + removed :]
    pair.front.ready.clear()
    assert await pair.ours([octets]) == await pair.ours([octets])  # ready, perhaps, for the second time
    octets += b"\r\n\r\n"  # aiohttp sees sooner that a head will not be one
    assert await pair.ours(octets_of(octets)) == await pair.aiohttps(octets_of(octets))
