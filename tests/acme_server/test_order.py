"""acme_server/handlers/order.py, registration/: orders, finalize and the issue job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from core.database import Transaction
from core.errors import HaltIssuance, Refused, TransientError
from core.settings import Settings
from signer.issuance import Approved
from tests.support.acme_client import AcmeClient, b64, csr, ec_key, thumbprint
from tests.support.acme_front import Front, running

NAME = "www.example.com"
GOOD = {"type": "dns", "value": NAME}
TOO_MANY = {"identifiers": [{"type": "dns", "value": f"{number}.example.com"} for number in range(101)]}
REFUSED: dict[str, tuple[Any, str]] = {
    "no identifiers": ({}, "malformed"),
    "an empty list": ({"identifiers": []}, "malformed"),
    "a string": ({"identifiers": NAME}, "malformed"),
    "an identifier that is a string": ({"identifiers": [NAME]}, "malformed"),
    "no value": ({"identifiers": [{"type": "dns"}]}, "malformed"),
    "a number": ({"identifiers": [{"type": "dns", "value": 7}]}, "malformed"),
    "another type": ({"identifiers": [{"type": "email", "value": "a@b"}]}, "unsupportedIdentifier"),
    "an address of documentation": (
        {"identifiers": [{"type": "ip", "value": "192.0.2.1"}]},
        "rejectedIdentifier",
    ),
    "loopback": ({"identifiers": [{"type": "ip", "value": "127.0.0.1"}]}, "rejectedIdentifier"),
    "an inner address": ({"identifiers": [{"type": "ip", "value": "10.0.0.1"}]}, "rejectedIdentifier"),
    "an address in an address": (
        {"identifiers": [{"type": "ip", "value": "64:ff9b::7f00:1"}]},
        "rejectedIdentifier",
    ),
    "an address with zeroes": ({"identifiers": [{"type": "ip", "value": "9.9.9.09"}]}, "malformed"),
    "a short address": ({"identifiers": [{"type": "ip", "value": "9.9"}]}, "malformed"),
    "a network": ({"identifiers": [{"type": "ip", "value": "9.9.9.0/24"}]}, "malformed"),
    "capitals": ({"identifiers": [{"type": "ip", "value": "2620:FE::9"}]}, "malformed"),
    "a long form": ({"identifiers": [{"type": "ip", "value": "2620:fe:0::9"}]}, "malformed"),
    "brackets": ({"identifiers": [{"type": "ip", "value": "[2620:fe::9]"}]}, "malformed"),
    "a zone index": ({"identifiers": [{"type": "ip", "value": "fe80::1%eth0"}]}, "malformed"),
    "a name as address": ({"identifiers": [{"type": "ip", "value": NAME}]}, "malformed"),
    "an address": ({"identifiers": [{"type": "dns", "value": "192.0.2.1"}]}, "malformed"),
    "an underscore": ({"identifiers": [{"type": "dns", "value": "a_b.example.com"}]}, "malformed"),
    "a NUL": ({"identifiers": [{"type": "dns", "value": "a\x00.example.com"}]}, "malformed"),
    "too many": (
        {"identifiers": [{"type": "dns", "value": f"{n}.example.com"} for n in range(101)]},
        "malformed",
    ),
}


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.error")
@pytest.mark.parametrize(("payload", "kind"), REFUSED.values(), ids=REFUSED.keys())
async def test_an_order_is_refused_and_nothing_changes(
    front: Front, subscriber: AcmeClient, payload: Any, kind: str
) -> None:
    before = front.counts()
    answer = await subscriber.post("/acme/new-order", payload)
    assert (answer.status, answer.problem) == (400, kind)
    assert front.counts() == before


@pytest.mark.row("errors.compound")
@pytest.mark.clause("RFC 8555 section 6.7.1")
@pytest.mark.must("rfc8555.6.7.1.identifier", "rfc8555.6.7.1.not-on-top")
async def test_every_refused_identifier_has_its_subproblem(front: Front, subscriber: AcmeClient) -> None:
    answer = await subscriber.order("good.example.com", "a_b.example.com", "1.0.0.127.in-addr.arpa")
    assert (answer.status, answer.problem) == (400, "compound")
    assert [each["identifier"]["value"] for each in answer.body["subproblems"]] == [
        "a_b.example.com",
        "1.0.0.127.in-addr.arpa",
    ]
    assert "identifier" not in answer.body


@pytest.mark.clause("RFC 8555 section 7.1.3")
@pytest.mark.must("rfc8555.7.1.4.encoded")
async def test_names_are_normalised_and_each_is_ordered_once(front: Front, subscriber: AcmeClient) -> None:
    answer = await subscriber.order("WWW.Example.COM", "www.example.com", "*.example.com")
    assert [each["value"] for each in answer.body["identifiers"]] == ["www.example.com", "*.example.com"]
    assert len(answer.body["authorizations"]) == 2


@pytest.mark.row("methods.wildcard")
@pytest.mark.clause("RFC 8555 section 7.1.4")
@pytest.mark.must(
    "rfc8555.7.1.3.no-star",
    "rfc8555.7.1.3.wildcard",
    "rfc8555.7.1.4.wildcard",
    "rfc8555.7.1.4.wildcard-absent",
    "rfc8555.7.1.4.no-star",
    "rfc8555.7.1.4.base-domain",
)
async def test_a_wildcard_is_shown_without_its_star_and_with_dns_challenges_only(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await subscriber.order("*.example.com", "example.com")
    wildcard, plain = [(await subscriber.post(url)).body for url in order.body["authorizations"]]
    assert wildcard["identifier"] == {"type": "dns", "value": "example.com"}
    assert wildcard["wildcard"] is True
    assert [each["type"] for each in wildcard["challenges"]] == ["dns-01", "dns-account-01"]
    assert "wildcard" not in plain
    offered = ["http-01", "dns-01", "tls-alpn-01", "dns-account-01"]
    assert [each["type"] for each in plain["challenges"]] == offered
    assert all(len(each["token"]) >= 22 for each in plain["challenges"])


@pytest.mark.row("methods.ip")
@pytest.mark.row("errors.new-order")
@pytest.mark.clause("RFC 8738 section 3, section 7")
@pytest.mark.must("rfc8738.3.type", "rfc8738.3.text", "rfc8738.7.no-dns", "rfc8555.7.4.contents")
async def test_an_address_is_ordered_validated_and_certified_without_a_dns_challenge(
    front: Front, subscriber: AcmeClient
) -> None:
    addresses = ("9.9.9.9", "2620:fe::fe")
    front.perspectives.pass_names = {*addresses, NAME}
    order = await subscriber.order(*addresses, NAME)
    assert order.body["identifiers"] == [
        {"type": "ip", "value": "9.9.9.9"},
        {"type": "ip", "value": "2620:fe::fe"},
        {"type": "dns", "value": NAME},
    ]
    for url, name in zip(order.body["authorizations"], (*addresses, NAME), strict=True):
        shown = (await subscriber.post(url)).body
        assert shown["identifier"] == {"type": "dns" if name == NAME else "ip", "value": name}
        if name != NAME:
            assert [each["type"] for each in shown["challenges"]] == ["http-01", "tls-alpn-01"]
        await subscriber.post(shown["challenges"][-1]["url"], {})
        await front.run_jobs()
    ready = (await subscriber.post(order.headers["Location"])).body
    assert (ready["status"], ready["identifiers"]) == ("ready", order.body["identifiers"])

    async def finalize(request: bytes) -> tuple[int, str]:
        answer = await subscriber.post(order.body["finalize"], {"csr": b64(request)})
        return answer.status, answer.problem

    as_names = x509.SubjectAlternativeName([x509.DNSName(each) for each in (*addresses, NAME)])
    assert await finalize(csr(ec_key(), [], extensions=[as_names])) == (400, "badCSR")
    assert await finalize(csr(ec_key(), [NAME, "9.9.9.9"])) == (400, "badCSR")
    assert await finalize(csr(ec_key(), [NAME, "9.9.9.9", "2620:fe::ff"])) == (400, "badCSR")
    assert await finalize(csr(ec_key(), [*addresses, NAME])) == (200, "")
    await front.run_jobs()
    assert front.issuance.approved[-1].names == (*addresses, NAME)
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "valid"


@pytest.mark.row("errors.compound")
async def test_a_refused_address_is_named_with_its_type(front: Front, subscriber: AcmeClient) -> None:
    answer = await subscriber.order("10.0.0.1", "a_b.example.com")
    assert [each["identifier"]["type"] for each in answer.body["subproblems"]] == ["ip", "dns"]


def persistent(settings: Settings, *, plain: bool = False) -> Settings:
    return replace(
        settings,
        ca=replace(settings.ca, caa_identities=("ca.example", "ca.example.net")),
        validation=replace(settings.validation, methods=("http-01", "dns-persist-01"), persist_plain=plain),
    )


@pytest.mark.row("methods.dns-persist-01")
@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 3.1")
@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 3.2")
async def test_a_persistent_challenge_names_the_issuers_and_has_no_token(tmp_path: Path) -> None:
    async with running(tmp_path, persistent) as front:
        subscriber = await front.subscriber()
        meta = (await subscriber.get("/directory")).body["meta"]
        assert meta["issuerDomainNames"] == meta["caaIdentities"] == ["ca.example", "ca.example.net"]
        assert meta["accountHashPrefix"] == "https://ca.test:14000/acme/account-hash/"
        front.perspectives.pass_names = {NAME}
        order = await subscriber.order(NAME)
        shown = (await subscriber.post(order.body["authorizations"][0])).body["challenges"]
        assert [each["type"] for each in shown] == ["http-01", "dns-persist-01"]
        assert set(shown[1]) == {"type", "url", "status", "issuerDomainNames"}
        assert shown[1]["issuerDomainNames"] == ["ca.example", "ca.example.net"]
        answered = (await subscriber.post(shown[1]["url"], {})).body
        assert answered["status"] == "processing"
        await front.run_jobs()
        # The perspectives are asked without a token; what they saw is good for an hour at least.
        assert front.perspectives.asked[-1][1:4] == (subscriber.kid, "dns-persist-01", "")
        valid = (await subscriber.post(order.body["authorizations"][0])).body
        expires = datetime.fromisoformat(valid["expires"]).timestamp()
        assert (valid["status"], expires - front.clock.at) == ("valid", 3600)


@pytest.mark.row("methods.dns-persist-01")
@pytest.mark.clause("draft-ietf-acme-dns-persist-00 section 3.1")
async def test_where_the_plain_form_is_allowed_the_challenge_has_both(tmp_path: Path) -> None:
    async with running(tmp_path, partial(persistent, plain=True)) as front:
        subscriber = await front.subscriber()
        order = await subscriber.order(NAME)
        shown = (await subscriber.post(order.body["authorizations"][0])).body["challenges"][1]
        assert shown["issuerDomainNames"] == shown["issuer-domain-names"] == ["ca.example", "ca.example.net"]
        assert shown["accounturi"] == subscriber.kid


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.1")
async def test_an_authorization_ends_with_the_records_persist_until(tmp_path: Path) -> None:
    async with running(tmp_path, persistent) as front:
        subscriber = await front.subscriber()
        front.perspectives.pass_names = {NAME}
        front.perspectives.good_until = front.clock.at + 600
        order = await subscriber.order(NAME)
        shown = (await subscriber.post(order.body["authorizations"][0])).body["challenges"]
        await subscriber.post(shown[1]["url"], {})
        await front.run_jobs()
        valid = (await subscriber.post(order.body["authorizations"][0])).body
        expires = datetime.fromisoformat(valid["expires"]).timestamp()
        assert (valid["status"], expires) == ("valid", front.perspectives.good_until)


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.2")
async def test_the_perspectives_hear_of_all_keys_that_the_account_had(tmp_path: Path) -> None:
    async with running(tmp_path, persistent) as front:
        subscriber = await front.subscriber()
        keys = [subscriber.key, ec_key(), ec_key()]
        for new in keys[1:]:
            front.clock.at += 60
            assert (await subscriber.change_key(new)).status == 200
            subscriber.key = new
        order = await subscriber.order(NAME)
        shown = (await subscriber.post(order.body["authorizations"][0])).body["challenges"]
        await subscriber.post(shown[1]["url"], {})
        await front.run_jobs()
        assert front.perspectives.asked[-1][4:] == tuple(thumbprint(key) for key in reversed(keys))
        # Any other method proves the current key by itself.
        other = await subscriber.order("b.example.com")
        shown = (await subscriber.post(other.body["authorizations"][0])).body["challenges"]
        await subscriber.post(shown[0]["url"], {})
        await front.run_jobs()
        assert front.perspectives.asked[-1][4:] == (thumbprint(keys[2]),)


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must("rfc8555.7.1.6.order")
async def test_an_order_becomes_ready_only_when_every_authorization_is_valid(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.pass_names = {"a.example.com", "b.example.com"}
    order = await subscriber.order("a.example.com", "b.example.com")
    states = []
    for url in order.body["authorizations"]:
        challenge = (await subscriber.post(url)).body["challenges"][0]
        await subscriber.post(challenge["url"], {})
        await front.run_jobs()
        states.append((await subscriber.post(order.headers["Location"])).body["status"])
    assert states == ["pending", "ready"]


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must("rfc8555.7.4.expires")
@pytest.mark.parametrize("ready", [False, True])
async def test_an_open_order_is_invalid_once_its_time_is_over(
    front: Front, subscriber: AcmeClient, ready: bool
) -> None:
    order = await (front.authorized(subscriber, NAME) if ready else subscriber.order(NAME))
    front.clock.at += 7 * 86400
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "invalid"
    late = await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    assert (late.status, late.problem) == (403, "orderNotReady")


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.order-not-ready")
async def test_a_pending_order_cannot_be_finalized(front: Front, subscriber: AcmeClient) -> None:
    order = await subscriber.order(NAME)
    before = front.counts()
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    assert (answer.status, answer.problem) == (403, "orderNotReady")
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.order-not-ready")
async def test_of_many_finalize_requests_at_once_one_is_taken(front: Front, subscriber: AcmeClient) -> None:
    order = await front.authorized(subscriber, NAME)
    bodies = []
    for _ in range(8):
        client = front.client(subscriber.key)
        client.kid = subscriber.kid
        request = b64(csr(ec_key(), [NAME]))
        bodies.append(client.post(order.body["finalize"], {"csr": request}))
    answers = await asyncio.gather(*bodies)
    assert sorted(each.status for each in answers) == [200] + [403] * 7
    await front.run_jobs()
    assert len(front.issuance.approved) == 1
    assert front.counts()["certificates"] == 1


KEY = ec_key()
KEY_1024 = rsa.generate_private_key(65537, 1024)
CA_TRUE = x509.BasicConstraints(ca=True, path_length=None)
CERT_SIGN = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])
ANY_NAME = x509.NameConstraints(permitted_subtrees=[x509.DNSName("com")], excluded_subtrees=None)


def general_names(*names: x509.GeneralName) -> bytes:
    return csr(KEY, [], extensions=[x509.SubjectAlternativeName(names)])


def of_version_2() -> bytes:
    """PKCS#10 has version 0 alone."""
    der = bytearray(csr(KEY, [NAME]))
    at = der.index(b"\x02\x01\x00")
    der[at + 2] = 1
    return bytes(der)


def x400_address() -> bytes:
    """A subjectAltName with a name that our library does not read."""
    san = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x02\xa3\x00")
    return csr(KEY, [], extensions=[san])


def broken_signature() -> bytes:
    der = bytearray(csr(KEY, [NAME]))
    der[-1] ^= 1
    return bytes(der)


def ed25519_request() -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    request = builder.sign(ed25519.Ed25519PrivateKey.generate(), None)
    return request.public_bytes(serialization.Encoding.DER)


def weak_hash() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    request = builder.sign(rsa.generate_private_key(65537, 2048), hashes.SHA224())
    return request.public_bytes(serialization.Encoding.DER)


BAD_REQUESTS: dict[str, bytes] = {
    "nothing": b"",
    "noise": b"\x30\x03\x02\x01\x00",
    "PEM": b"-----BEGIN CERTIFICATE REQUEST-----",
    "octets after its end": csr(KEY, [NAME]) + b"\x00",
    "another version": of_version_2(),
    "a kind of name that nobody reads": general_names(
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")
    ),
    "an X.400 address": x400_address(),
    "no names": csr(KEY, []),
    "another name": csr(KEY, ["other.example.com"]),
    "a name too many": csr(KEY, [NAME, "other.example.com"]),
    "a common name that was not ordered": csr(KEY, [NAME], common_name="other.example.com"),
    "a wildcard": csr(KEY, ["*.example.com"]),
    "an address": general_names(x509.DNSName(NAME), x509.RFC822Name("a@example.com")),
    "CA:TRUE": csr(KEY, [NAME], extensions=[CA_TRUE]),
    "keyCertSign": csr(KEY, [NAME], extensions=[CERT_SIGN]),
    "name constraints": csr(KEY, [NAME], extensions=[ANY_NAME]),
    "must-staple": csr(KEY, [NAME], extensions=[MUST_STAPLE]),
    "a broken signature": broken_signature(),
    "a short key": csr(KEY_1024, [NAME]),
    "a curve that we do not certify": csr(ec.generate_private_key(ec.SECP256K1()), [NAME]),  # type: ignore[arg-type]
    "Ed25519": ed25519_request(),
    "SHA-224": weak_hash(),
}


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must(
    "rfc8555.7.4.csr", "rfc8555.7.4.same-identifiers", "rfc8555.7.4.bad-csr", "rfc8555.7.4.stays-ready"
)
@pytest.mark.parametrize("request_der", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
async def test_a_bad_csr_is_refused_and_leaves_the_order_ready(
    front: Front, subscriber: AcmeClient, request_der: bytes
) -> None:
    order = await front.authorized(subscriber, NAME)
    before = front.counts()
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(request_der)})
    assert (answer.status, answer.problem) == (400, "badCSR")
    assert len(answer.body["detail"]) > 30
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "ready"
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 11.1")
@pytest.mark.must("rfc8555.11.1.no-account-key", "rfc8555.11.1.any-account", "rfc8555.11.1.own-account")
async def test_no_account_key_is_certified_whoever_owns_it(front: Front, subscriber: AcmeClient) -> None:
    other = await front.subscriber()
    order = await front.authorized(subscriber, NAME)
    for key in (subscriber.key, other.key):
        answer = await subscriber.post(order.body["finalize"], {"csr": b64(csr(key, [NAME]))})
        assert (answer.status, answer.problem) == (400, "badCSR")
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "ready"


@pytest.mark.clause("RFC 8555 section 11.1")
@pytest.mark.must("rfc8555.11.1.no-account-key")
async def test_a_key_that_becomes_an_accounts_while_its_order_waits_is_not_certified(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    key = ec_key()
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(key, [NAME]))})
    await front.subscriber(key)
    await front.run_jobs()
    ended = await subscriber.post(order.headers["Location"])
    assert ended.body["status"] == "invalid"
    assert ended.body["error"]["type"].endswith("badCSR")
    assert front.issuance.approved == []


@pytest.mark.clause("RFC 8555 section 7.4")
async def test_names_of_a_csr_are_compared_without_case_and_harmless_extensions_are_left_aside(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
    request = csr(KEY, ["WWW.example.COM"], common_name="Www.Example.Com", extensions=[usage])
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(request)})
    assert answer.status == 200
    await front.run_jobs()
    assert front.issuance.approved[0].names == (NAME,)


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.cn-or-san")
@pytest.mark.parametrize("where", ["the common name", "the subject alternative name", "both"])
async def test_a_name_may_stand_in_either_part_of_a_csr(
    front: Front, subscriber: AcmeClient, where: str
) -> None:
    order = await front.authorized(subscriber, NAME)
    names = [] if where == "the common name" else [NAME]
    common_name = None if where == "the subject alternative name" else NAME
    answer = await subscriber.post(
        order.body["finalize"], {"csr": b64(csr(KEY, names, common_name=common_name))}
    )
    assert (answer.status, answer.body["status"]) == (200, "processing")


async def finalized(front: Front, client: AcmeClient, *names: str) -> str:
    order = await front.authorized(client, *names)
    answer = await client.post(order.body["finalize"], {"csr": b64(csr(ec_key(), names))})
    assert answer.status == 200, answer.body
    return str(order.headers["Location"])


@pytest.mark.row("attacks.caa-toctou")
@pytest.mark.row("limits.reuse")
@pytest.mark.clause("BR 3.2.2.8")
@pytest.mark.must("rfc8657.5.5.fresh", "rfc8659.3.checked")
async def test_caa_is_rechecked_with_the_method_really_used_when_it_was_seen_long_ago(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    assert front.perspectives.asked[-1] == (NAME, subscriber.kid, "", "http-01")
    assert len(front.issuance.approved[0].evidence) == 2
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "valid"


@pytest.mark.clause("RFC 8555 section 7.5.2")
@pytest.mark.parametrize("gives_up", ["authorization", "account"])
async def test_what_is_given_up_while_caa_is_asked_is_not_issued_for(
    front: Front, subscriber: AcmeClient, gives_up: str
) -> None:
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    url = subscriber.kid if gives_up == "account" else order.body["authorizations"][0]
    assert url is not None
    answers = []

    async def give_up() -> None:
        answers.append((await subscriber.post(url, {"status": "deactivated"})).status)

    front.perspectives.meanwhile = give_up
    await front.run_jobs()
    assert answers == [200]
    assert front.issuance.approved == []
    assert front.database.reader.all("SELECT status FROM orders")[0]["status"] == "invalid"


@pytest.mark.row("attacks.caa-toctou")
@pytest.mark.clause("BR 3.2.2.8")
async def test_caa_that_forbids_at_last_makes_the_order_invalid(front: Front, subscriber: AcmeClient) -> None:
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    front.perspectives.caa_forbids = {NAME}
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    after = (await subscriber.post(order.headers["Location"])).body
    assert after["status"] == "invalid"
    assert after["error"]["type"] == "urn:ietf:params:acme:error:caa"
    assert front.issuance.approved == []
    assert front.counts()["jobs"] == 0


@pytest.mark.row("attacks.caa-toctou")
@pytest.mark.row("errors.compound")
@pytest.mark.clause("RFC 8555 section 6.7.1")
@pytest.mark.must("rfc8659.3.every-name")
async def test_a_name_that_caa_forbids_ends_the_order_though_another_cannot_be_seen(
    front: Front, subscriber: AcmeClient
) -> None:
    names = [NAME, "other.example.com", "third.example.com"]
    order = await front.authorized(subscriber, *names)
    front.clock.at += 7 * 3600 + 1
    front.perspectives.undecided = {names[0]}
    front.perspectives.caa_forbids = set(names[1:])
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), names))})
    await front.run_jobs()
    after = (await subscriber.post(order.headers["Location"])).body
    assert after["status"] == "invalid"
    assert [(each["identifier"]["value"], each["type"]) for each in after["error"]["subproblems"]] == [
        (name, "urn:ietf:params:acme:error:caa") for name in names[1:]
    ]
    # The authorizations are what they were: control was shown.
    assert (await subscriber.post(order.body["authorizations"][1])).body["status"] == "valid"
    assert front.issuance.approved == []


@pytest.mark.clause("BR 3.2.2.8")
async def test_caa_that_cannot_be_seen_is_tried_again(front: Front, subscriber: AcmeClient) -> None:
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    front.perspectives.undecided = {NAME}
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    assert front.issuance.approved == []
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "processing"
    front.perspectives.undecided = set()
    await front.run_jobs()
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "valid"


async def test_a_refusal_of_the_vault_makes_the_order_invalid_and_tells_no_secrets(
    front: Front, subscriber: AcmeClient
) -> None:
    url = await finalized(front, subscriber, NAME)
    front.issuance.fault = Refused("lint.error", "/srv/ca/profile.toml line 7")
    await front.run_jobs()
    order = (await subscriber.post(url)).body
    assert order["status"] == "invalid"
    assert order["error"]["type"] == "urn:ietf:params:acme:error:serverInternal"
    assert "/srv" not in str(order)
    assert "/srv/ca" in front.audit("order.refused")[0]["content"]


@pytest.mark.parametrize("fault", [TransientError("away"), HaltIssuance("stop")])
async def test_a_fault_of_ours_leaves_the_order_processing_and_the_job_waiting(
    front: Front, subscriber: AcmeClient, fault: Exception
) -> None:
    url = await finalized(front, subscriber, NAME)
    front.issuance.fault = fault
    if isinstance(fault, HaltIssuance):
        with pytest.raises(HaltIssuance):
            await front.run_jobs()
    else:
        await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "processing"
    front.issuance.fault = None
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "valid"


@pytest.mark.clause("RFC 8555 section 7.1.6")
async def test_an_order_that_cannot_be_issued_ends_an_hour_after_its_expiry(
    front: Front, subscriber: AcmeClient
) -> None:
    url = await finalized(front, subscriber, NAME)
    order_id = url.rpartition("/")[2]
    front.issuance.fault = TransientError("away")
    front.clock.at += front.context.settings.acme.order_lifetime + 3600
    await front.run_jobs()
    assert (await subscriber.post(url)).body["status"] == "processing"
    front.clock.at += 1
    await front.run_jobs()
    order = (await subscriber.post(url)).body
    assert (order["status"], "place a new order" in order["error"]["detail"]) == ("invalid", True)
    # What was tried for it may still come to light: the job stays until that is withdrawn.
    assert front.counts()["jobs"] == 1
    front.issuance.fault = None
    await front.run_jobs()
    assert front.counts()["jobs"] == 0
    assert front.issuance.withdrawn == [(order_id, None)]


async def test_a_certificate_that_the_order_does_not_take_is_withdrawn(
    front: Front, subscriber: AcmeClient
) -> None:
    url = await finalized(front, subscriber, NAME)
    order_id = url.rpartition("/")[2]
    issue = front.issuance.issue

    async def too_late(approved: Approved, finish: Callable[[Transaction, str], None]) -> str:
        def end(tx: Transaction) -> None:
            tx.execute("UPDATE orders SET status = 'invalid' WHERE id = ?", (order_id,))

        await front.database.write(end)
        return await issue(approved, finish)

    front.issuance.issue = too_late  # type: ignore[method-assign]
    await front.run_jobs()
    assert len(front.audit("order.certificate-not-delivered")) == 1
    await front.run_jobs()
    assert front.issuance.withdrawn == [(order_id, None)]
    assert front.counts()["jobs"] == 0


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must("rfc8555.7.5.2.worthless")
async def test_an_authorization_given_up_after_finalize_stops_the_issuance(
    front: Front, subscriber: AcmeClient
) -> None:
    url = await finalized(front, subscriber, NAME)
    authorization = (await subscriber.post(url)).body["authorizations"][0]
    assert (await subscriber.post(authorization, {"status": "deactivated"})).status == 200
    await front.run_jobs()
    order = (await subscriber.post(url)).body
    assert order["status"] == "invalid"
    assert order["error"]["subproblems"][0]["identifier"] == {"type": "dns", "value": NAME}
    assert front.issuance.approved == []


@pytest.mark.clause("RFC 8555 section 7.4")
async def test_a_job_that_runs_twice_issues_once(front: Front, subscriber: AcmeClient) -> None:
    url = await finalized(front, subscriber, NAME)
    order_id = url.rpartition("/")[2]
    await front.handlers["issue"](order_id)
    await front.handlers["issue"](order_id)
    assert len(front.issuance.approved) == 1


@pytest.mark.clause("BR 6.1.1.3")
async def test_a_key_that_was_compromised_is_never_certified_again(
    front: Front, subscriber: AcmeClient
) -> None:
    key = ec_key()
    _, certificate = await front.issued(subscriber, NAME, key=key)
    der = certificate.public_bytes(serialization.Encoding.DER)
    by_key = front.client(key)
    revoked = await by_key.post("/acme/revoke-cert", {"certificate": b64(der), "reason": 1})
    assert revoked.status == 200
    order = await front.authorized(subscriber, NAME)
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(csr(key, [NAME]))})
    assert (answer.status, answer.problem) == (400, "badCSR")
