"""The targets of OCSP on the wire: our readers beside `cryptography` and beside aiohttp's parser.

Raises when a promise is broken, like those in targets.py.
"""

from __future__ import annotations

import asyncio
from functools import cache
from unittest.mock import Mock

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpVersion
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import HttpRequestParser
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import ocsp

from status.http.plain import Heads
from status.ocsp.request import MalformedRequest, of_path, read

HEADS = Heads()


def ocsp_request(octets: bytes) -> None:
    """The DER of an OCSPRequest, and the same as a path."""
    try:
        asked = read(octets)
    except MalformedRequest:
        return
    assert 0 < len(asked) <= 32
    if len(asked) > 1 or asked[0].hash_name == "":
        return
    try:
        theirs = ocsp.load_der_ocsp_request(octets)
    except UnsupportedAlgorithm:
        return
    number = int.from_bytes(asked[0].serial, "big", signed=True)
    assert (theirs.issuer_name_hash, theirs.issuer_key_hash) == asked[0][1:3]
    assert (theirs.hash_algorithm.name, theirs.serial_number) == (asked[0].hash_name, number)


def ocsp_path(octets: bytes) -> None:
    """What follows "/ocsp/" of a GET."""
    try:
        found = of_path(octets)
    except MalformedRequest:
        return
    assert len(found) < len(octets)
    assert found == of_path(b"/" + octets)
    if octets.isalnum():
        assert found == of_path(octets + b"/")


def ocsp_http(octets: bytes) -> None:
    """A head that is plain to us means the same to aiohttp, and ends where we say it does."""
    end = octets.find(b"\r\n\r\n")
    plain = HEADS.read(octets, 0, end) if end >= 0 else None
    if plain is None:
        return
    tail, new, fields = plain
    body = fields.length or 0
    parser = HttpRequestParser(_protocol(), _loop(), 2**16, max_line_size=8190, max_field_size=8190)
    # With a second request behind it, aiohttp tells where the first one ends; one that closes has none.
    keep = not fields.close if new else fields.keep_alive
    second = b"GET / HTTP/1.1\r\nHost: second\r\n\r\n" if keep else b""
    whole = octets[: end + 4] + bytes(body) + second
    try:
        messages, upgraded, rest = parser.feed_data(whole)
    except LineTooLong:
        return  # aiohttp's limit of a line is lower than ours of a head
    assert not upgraded
    assert not rest
    assert len(messages) == 1 + bool(second)
    message = messages[0][0]
    assert message.method == ("POST" if tail is None else "GET")
    assert message.version == HttpVersion(1, int(new))
    assert message.should_close is not keep
    assert not message.chunked
    assert message.compression is None
    assert message.headers.get("If-None-Match") == fields.if_none_match
    assert message.headers.get("If-Modified-Since") == fields.if_modified_since
    if tail is None:
        assert message.path in ("/ocsp", "/ocsp/")
    else:
        assert message.path.startswith("/ocsp/")
        assert _of_path(message.path.removeprefix("/ocsp/").encode()) == _of_path(tail)


def _of_path(tail: bytes) -> bytes | None:
    try:
        return of_path(tail)
    except MalformedRequest:
        return None


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _protocol() -> BaseProtocol:
    protocol = BaseProtocol(_loop())
    protocol.transport = Mock()
    return protocol
