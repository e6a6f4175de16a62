"""The targets: each takes any octets and raises when a promise about them is broken.

A promise is more than "no unforeseen exception": what is read must be what an oracle reads, within bounds.
Pure; the fuzzer (`python -m tests.fuzz`) and the tests, which try the corpus, both call them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable

import ada_url
import josepy
from cryptography import x509

from acme_server import cert_id, objects
from acme_server import jws as requests
from acme_server.registration import csr as signing_request
from acme_server.registration import identifiers, new_order
from acme_server.registration.binding import MACS
from core.blocklist import Blocklist
from core.errors import Problem
from core.identifiers import normalise_dns
from core.settings import Settings
from tests.fuzz.ocsp_targets import ocsp_http, ocsp_path, ocsp_request
from tests.support import caa_oracle
from validation.addresses import parse_address
from validation.caa import CaaForbids, Issuance, evaluate
from validation.caa_value import CaaRecord, MalformedValue, parse_issue_value
from validation.dns import dns_message
from validation.dns.dns_message import Malformed
from validation.hosts.http_exchange import Exchange
from validation.hosts.redirects import Hop, Ports, follow
from validation.verdict import CheckFailed

ASKED = dns_message.question("www.example.com", dns_message.CAA)
ACCOUNT = "https://ca.example/acme/account/1"
IDENTITIES = {"ca.example"}
START = Hop("http", "start.example.com", 80, "/.well-known/acme-challenge/token")
BODY_OCTETS = 129
DEPTH = 16
SETTINGS = Settings()
NOW = 1_795_392_000
NO_BLOCKLIST = Blocklist()


def dns(octets: bytes) -> None:
    """An answer: flags and counts, then everything behind the question."""
    wire = b"\0\0" + octets[:2].ljust(2, b"\0") + b"\0\1" + octets[2:8].ljust(6, b"\0") + ASKED + octets[8:]
    try:
        message = dns_message.read(wire, ASKED)
        chain = dns_message.follow(message.answer, ASKED)
    except Malformed:
        return
    assert len(chain.names) <= dns_message.CNAMES
    assert all(dns_message.text(name).isascii() for name in chain.names)
    for rdata in chain.records:
        CaaRecord.parse(rdata)  # the reader has let no odd tag through


def caa(octets: bytes) -> None:
    """A CAA record's RDATA, judged alone."""
    try:
        record = CaaRecord.parse(octets)
    except MalformedValue:
        return
    assert CaaRecord.from_presentation(record.presentation()) == record
    for wildcard in (False, True):
        expected = caa_oracle.permits(
            [(record.flags, record.tag, record.value)], wildcard, IDENTITIES, ACCOUNT, "dns-01"
        )
        try:
            evaluate([record], Issuance(wildcard, frozenset(IDENTITIES), ACCOUNT, "dns-01"))
            permitted = True
        except CaaForbids:
            permitted = False
        assert permitted == expected


def issue_value(octets: bytes) -> None:
    """The value of an issue property."""
    try:
        read = parse_issue_value(octets)
    except MalformedValue:
        assert caa_oracle.issue_value(octets) is None
        return
    assert caa_oracle.issue_value(octets) == (read.issuer, list(read.parameters))


def redirect(octets: bytes) -> None:
    """A Location field."""
    location = octets.decode("utf-8", "surrogateescape")
    try:
        hop = follow(START, location, Ports(), _public_name)
    except CheckFailed:
        return
    theirs = ada_url.URL(location, base=START.url)
    host = f"[{hop.host}]" if ":" in hop.host else hop.host
    assert (theirs.protocol, theirs.hostname) == (f"{hop.scheme}:", host)
    assert int(theirs.port or {"http": 80, "https": 443}[hop.scheme]) == hop.port
    assert hop.port in (80, 443)
    assert theirs.username == theirs.password == ""


def http(octets: bytes) -> None:
    """What a web server sends: the first octet says in pieces of how many octets."""
    size = max(1, octets[0]) if octets else 1
    loop = asyncio.new_event_loop()
    try:
        exchange = Exchange(loop, 1.0, BODY_OCTETS)
        for at in range(1, len(octets), size):
            exchange.data_received(octets[at : at + size])
        exchange.connection_lost(None)
        assert exchange.reply.done()
        if exchange.reply.exception() is None:
            reply = exchange.reply.result()
            assert reply.status <= 999
            assert len(reply.body) <= BODY_OCTETS
        exchange.end()
    finally:
        loop.close()


def name(octets: bytes) -> None:
    """An identifier."""
    value = octets.decode("utf-8", "surrogateescape")
    for public in (True, False):
        try:
            normal = normalise_dns(value, public=public)
        except Problem:
            continue
        assert normal == value.lower()
        assert parse_address(normal) is None
        dns_message.wire_name(normal.removeprefix("*."))


def jws(octets: bytes) -> None:
    """A request, its key and its signature; josepy and cryptography judge beside us."""
    try:
        signed = requests.parse(octets, DEPTH)
    except Problem:
        return
    assert (signed.jwk is None) != (signed.kid is None)
    outer = json.loads(octets)
    # One spelling: what was read, written again, is what came in.
    for name, read in (("payload", signed.payload), ("signature", signed.signature)):
        assert requests.encode_base64url(read) == outer[name]
    assert signed.signing_input == f"{outer['protected']}.{outer['payload']}".encode()
    if signed.jwk is None:
        return
    try:
        key = requests.public_key(signed.jwk)
    except Problem:
        return
    assert key.thumbprint == requests.encode_base64url(key.jwk.thumbprint())
    assert requests.public_key(json.loads(key.json)).thumbprint == key.thumbprint
    try:
        requests.verify(signed, key)
    except Problem:
        return
    assert josepy.JWS.from_json(_general(outer)).verify(key.jwk)


def _general(outer: dict[str, str]) -> dict[str, object]:
    """The same JWS in the general serialization, which josepy reads."""
    one = {"protected": outer["protected"], "signature": outer["signature"]}
    return {"payload": outer["payload"], "signatures": [one]}


def csr(octets: bytes) -> None:
    """A CSR in DER."""
    try:
        requested = signing_request.read(octets, NO_BLOCKLIST)
    except Problem:
        return
    theirs = x509.load_der_x509_csr(octets)
    assert theirs.is_signature_valid
    assert hashlib.sha256(requested.public_key).digest() == requested.spki_sha256
    assert all(each == each.lower() for each in requested.names)
    signing_request.must_match(requested, tuple(requested.names))


def identifier(octets: bytes) -> None:
    """A newOrder payload."""
    try:
        members = requests.parse_json(octets, DEPTH, "the payload")
        wanted = new_order.read(members if isinstance(members, dict) else {}, SETTINGS, NOW)
    except Problem:
        return
    assert len(set(wanted.names)) == len(wanted.names) > 0
    again = [objects.identifier(each) for each in wanted.names]
    assert identifiers.check(again, SETTINGS) == wanted.names
    for each in wanted.names:
        assert (parse_address(each) is not None) == (objects.identifier(each)["type"] == "ip")


def certid(octets: bytes) -> None:
    """A CertID, from a path or from `replaces`."""
    text = octets.decode("utf-8", "surrogateescape")
    try:
        read = cert_id.read(text)
    except Problem:
        return
    assert str(read) == text
    number = int.from_bytes(read.serial, "big")
    # As a DER encoder writes the INTEGER.
    assert read.serial == number.to_bytes(number.bit_length() // 8 + 1, "big")


def binding(octets: bytes) -> None:
    """An external account binding: the JWS in a newAccount request."""
    try:
        members = requests.parse_json(octets, DEPTH, "the binding")
        inner = requests.of_members(members, DEPTH, "the binding", tuple(MACS))
    except Problem:
        return
    assert inner.alg in MACS
    assert (inner.jwk is None) != (inner.kid is None)
    assert requests.encode_base64url(inner.payload) == members["payload"]


def _public_name(host: str) -> str:
    return normalise_dns(host, public=True)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(dns, caa, issue_value, redirect, http, name, jws, csr, identifier, certid, binding),
        *(ocsp_request, ocsp_path, ocsp_http),
    )
}
