from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.subscriber.hello import MOST, Hello, NotTls, read


def hello(host: str | None = "valid-ec.test.example", protocols: tuple[str, ...] = ("acme-tls/1",)) -> bytes:
    """As OpenSSL writes it."""
    context = ssl.create_default_context()
    context.check_hostname = host is not None
    if protocols:
        context.set_alpn_protocols(list(protocols))
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(coming, going, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return going.read()


@pytest.mark.clause("RFC 7301 section 3.1")
def test_the_host_and_the_protocols_are_read() -> None:
    assert read(hello()) == Hello("valid-ec.test.example", ("acme-tls/1",))
    assert read(hello("A.EXAMPLE", ("h2", "http/1.1"))) == Hello("a.example", ("h2", "http/1.1"))
    assert read(hello(None, ())) == Hello("", ())


def test_a_hello_in_pieces_is_waited_for() -> None:
    octets = hello()
    assert all(read(octets[:length]) is None for length in range(len(octets)))
    assert read(octets + b"more") == read(octets)


@pytest.mark.clause("RFC 8446 section 5.1")
def test_a_hello_in_several_records_is_put_together() -> None:
    body = hello()[5:]
    records = [body[at : at + 50] for at in range(0, len(body), 50)]
    octets = b"".join(b"\x16\x03\x01" + len(each).to_bytes(2) + each for each in records)
    assert read(octets) == Hello("valid-ec.test.example", ("acme-tls/1",))
    assert all(read(octets[:length]) is None for length in range(0, len(octets), 7))


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x02\x00\x00\x00", b"\x15\x03\x01\x00\x02\x01\x00"]
)
def test_what_is_no_handshake_is_refused_at_once(octets: bytes) -> None:
    with pytest.raises(NotTls):
        read(octets)


def test_a_hello_without_end_is_not_waited_for() -> None:
    with pytest.raises(NotTls):
        read(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(100))
    endless = b"\x16\x03\x01\x00\x01\x01" + b"\x16\x03\x01\x00\x00" * (MOST // 5 + 10)
    with pytest.raises(NotTls):
        read(endless)


@given(st.binary(max_size=600), st.integers(0, 400), st.binary(max_size=4))
def test_no_octets_do_more_than_to_be_refused(octets: bytes, at: int, change: bytes) -> None:
    good = hello()
    for each in (octets, good[:at] + change + good[at + len(change) :]):
        try:
            read(each)
        except NotTls:
            continue
