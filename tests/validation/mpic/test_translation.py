"""Each method in the words of Open MPIC; and no request whose halves ask for different things."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from core.errors import Refused
from core.evidence import CaaSeen, ControlSeen, Result
from tests.support.elsewhere import ACCOUNT, OURS, THUMBPRINT, TOKEN
from validation.api import CheckRequest
from validation.mpic import open_mpic, translation
from validation.mpic.open_mpic import CaaRequest, DcvRequest

KEY_AUTHORIZATION = f"{TOKEN}.{THUMBPRINT}"
DIGEST = hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()
TEXT = base64.urlsafe_b64encode(DIGEST).rstrip(b"=").decode()


def check(method: str, name: str = "www.example.com", caa_method: str = "") -> CheckRequest:
    return CheckRequest(name, ACCOUNT, "an attempt", method, caa_method, TOKEN, THUMBPRINT)


def wire(request: CheckRequest) -> dict:
    return json.loads(open_mpic.encode(translation.asked(request, [OURS])))


def parameters(method: str) -> dict:
    sent = wire(check(method))
    assert sent["domain_or_ip_target"] == "www.example.com"
    assert sent["trace_identifier"] == "an attempt"
    return sent["dcv_check_parameters"]


@pytest.mark.row("mpic.wire-http-01")
def test_http_01_carries_token_and_key_authorization() -> None:
    assert parameters("http-01") == {
        "validation_method": "acme-http-01",
        "token": TOKEN,
        "key_authorization": KEY_AUTHORIZATION,
        "require_exact_case": True,
    }


@pytest.mark.row("mpic.wire-dns-01")
def test_dns_01_carries_the_text_of_the_record() -> None:
    sent = parameters("dns-01")
    assert (sent["validation_method"], sent["key_authorization_hash"]) == ("acme-dns-01", TEXT)


@pytest.mark.row("mpic.wire-tls-alpn-01")
def test_tls_alpn_01_carries_the_digest_in_hexadecimal() -> None:
    sent = parameters("tls-alpn-01")
    assert (sent["validation_method"], sent["key_authorization_hash"]) == ("acme-tls-alpn-01", DIGEST.hex())


@pytest.mark.row("mpic.wire-dns-account-01")
@pytest.mark.clause("draft-ietf-acme-dns-account-label-00 section 3.2")
def test_dns_account_01_travels_as_a_dns_change_below_the_accounts_label() -> None:
    vector = "https://example.com/acme/acct/ExampleAccount"
    sent = wire(CheckRequest("www.example.com", vector, "a", "dns-account-01", "", TOKEN, THUMBPRINT))
    assert sent["dcv_check_parameters"] == {
        "validation_method": "dns-change",
        "dns_name_prefix": "_ujmmovf2vn55tgye._acme-challenge",
        "dns_record_type": "TXT",
        "challenge_value": TEXT,
        "require_exact_match": True,
        "require_exact_case": True,
    }


@pytest.mark.row("mpic.wire-dns-persist-01")
def test_dns_persist_01_carries_our_issuer_domain_names_and_the_account() -> None:
    sent = parameters("dns-persist-01")
    assert sent["validation_method"] == "dns-persistent"
    assert (sent["issuer_domain_names"], sent["expected_account_uri"]) == ([OURS], ACCOUNT)


@pytest.mark.row("mpic.wire-caa")
def test_a_caa_check_names_our_domains_account_and_method_and_allows_no_failure() -> None:
    sent = wire(check("", "*.example.com", "dns-01"))
    assert sent["domain_or_ip_target"] == "*.example.com"
    assert sent["caa_check_parameters"] == {
        "certificate_type": "tls-server",
        "caa_domains": [OURS],
        "allow_lookup_failure": False,
        "account_uris": [ACCOUNT],
        "validation_method": "dns-01",
    }


@pytest.mark.row("mpic.wire-response")
def test_a_reply_about_control_tells_problem_address_and_authentication() -> None:
    control = ControlSeen(
        "http-01",
        "www.example.com",
        Result.FAIL,
        "unauthorized",
        "another body",
        (
            "dns www.example.com A: 1 records AD=1 from 127.0.0.1:53",
            "GET http://www.example.com/ at 192.0.2.7 port 80",
        ),
    )
    assert json.loads(open_mpic.encode(translation.control_response(control, "acme-http-01", 7))) == {
        "check_type": "dcv",
        "check_passed": False,
        "check_completed": True,
        "errors": [{"error_type": "unauthorized", "error_message": "another body"}],
        "timestamp_ns": 7_000_000_000,
        "details": {
            "validation_method": "acme-http-01",
            "ad_flag": True,
            "problem_type": "unauthorized",
            "resolved_ip": "192.0.2.7",
        },
        "attestation": None,
    }


@pytest.mark.row("mpic.wire-response")
def test_a_reply_about_caa_tells_records_and_where_they_were_found() -> None:
    seen = CaaSeen(Result.PASS, ('0 issue "ca.example"',), "example.com", 60, authenticated=True)
    reply = translation.caa_response(seen, 7)
    assert (reply.check_type, reply.check_passed, reply.check_completed, reply.errors) == (
        "caa",
        True,
        True,
        None,
    )
    assert (reply.details.caa_record_present, reply.details.found_at) == (True, "example.com")
    assert (reply.details.records_seen, reply.details.ad_flag) == (('0 issue "ca.example"',), True)


@pytest.mark.row("mpic.wire-response")
def test_a_fault_of_ours_is_a_check_that_was_not_completed() -> None:
    reply = translation.caa_response(CaaSeen(Result.INDETERMINATE, problem="serverInternal", detail="x"), 7)
    assert (reply.check_passed, reply.check_completed) == (False, False)


@pytest.mark.parametrize("method", ["http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01"])
def test_what_our_coordinator_sends_is_what_our_perspective_reads(method: str) -> None:
    sent = check(method)
    octets = open_mpic.encode(translation.attesting(sent, [OURS]))
    assert translation.attested(open_mpic.decode(octets, DcvRequest), [OURS]) == sent


def test_a_recheck_arrives_as_it_was_sent() -> None:
    sent = CheckRequest("*.example.com", ACCOUNT, "an attempt", "", "dns-01")
    octets = open_mpic.encode(translation.attesting(sent, [OURS]))
    assert translation.attested(open_mpic.decode(octets, CaaRequest), [OURS]) == sent


def test_without_attest_nothing_is_to_be_attested() -> None:
    stock = open_mpic.decode(open_mpic.encode(translation.asked(check("dns-01"), [OURS])), DcvRequest)
    assert translation.attested(stock, [OURS]) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["domain_or_ip_target"], "victim.example"),
        (["trace_identifier"], "another attempt"),
        (["dcv_check_parameters", "key_authorization"], "Not Found"),
        (["dcv_check_parameters", "token"], "AAAAAAAAAAAAAAAAAAAAAA"),
        (["attest", "name"], "victim.example"),
        (["attest", "thumbprint"], "B" * 43),
        (["attest", "method"], "dns-01"),
        (["attest", "method"], ""),
        (["attest", "method"], "unheard-of"),
        (["attest", "attempt"], "an older one"),
    ],
)
def test_halves_that_ask_for_different_things_are_refused(path: list[str], value: str) -> None:
    sent = json.loads(open_mpic.encode(translation.attesting(check("http-01"), [OURS])))
    inner = sent
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    request = open_mpic.decode(json.dumps(sent).encode(), DcvRequest)
    with pytest.raises(Refused, match=r"open-mpic\.(contradiction|method)"):
        translation.attested(request, [OURS])


def test_ends_with_different_issuer_domain_names_find_out() -> None:
    sent = translation.attesting(CheckRequest("a.example", ACCOUNT, "a", "", "dns-01"), ["another.example"])
    with pytest.raises(Refused, match="caa_identities"):
        translation.attested(sent, [OURS])


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"null",
        b"[]",
        b'{"domain_or_ip_target": "a.example"}',
        b'{"domain_or_ip_target": "", "dcv_check_parameters": {"validation_method": "acme-dns-01"}}',
        b'{"domain_or_ip_target": "a.example", "dcv_check_parameters": {"validation_method": "ip-address"}}',
        b"[" * 100_000,
        b'{"domain_or_ip_target": "\xff"}',
        json.dumps(
            {
                "domain_or_ip_target": "a" * 256,
                "dcv_check_parameters": {"validation_method": "acme-dns-01", "key_authorization_hash": TEXT},
            }
        ).encode(),
    ],
)
def test_what_is_no_request_is_refused(octets: bytes) -> None:
    with pytest.raises(Refused, match=r"open-mpic\.malformed"):
        open_mpic.decode(octets, DcvRequest)


def stock(**parameters: object) -> DcvRequest:
    body = {
        "domain_or_ip_target": "www.example.com",
        "trace_identifier": None,
        "unheard_of": {},
        "dcv_check_parameters": {"http_headers": None, **parameters},
    }
    return open_mpic.decode(json.dumps(body).encode(), DcvRequest)


@pytest.mark.row("mpic.open-mpic")
def test_a_stock_coordinators_digests_are_understood() -> None:
    hexadecimal = stock(validation_method="acme-tls-alpn-01", key_authorization_hash=DIGEST.hex())
    text = stock(validation_method="acme-dns-01", key_authorization_hash=TEXT)
    for request, method in ((hexadecimal, "tls-alpn-01"), (text, "dns-01")):
        found, challenge = translation.challenge(request, [OURS])
        assert (found, challenge.digest) == (method, DIGEST)


@pytest.mark.parametrize(
    "parameters",
    [
        {"validation_method": "acme-dns-01", "key_authorization_hash": "short"},
        {"validation_method": "acme-dns-01", "key_authorization_hash": TEXT + "="},
        {"validation_method": "acme-tls-alpn-01", "key_authorization_hash": TEXT},
        {"validation_method": "acme-http-01", "token": "../../x", "key_authorization": "x"},
        {"validation_method": "dns-change", "challenge_value": "x", "dns_record_type": "TXT"},
        {
            "validation_method": "dns-persistent",
            "issuer_domain_names": ["another.example"],
            "expected_account_uri": ACCOUNT,
        },
    ],
)
def test_what_a_stock_coordinator_asks_and_we_cannot_look_at_is_refused(parameters: dict) -> None:
    with pytest.raises(Refused):
        translation.challenge(stock(**parameters), [OURS])


def test_a_stock_caa_check_has_its_own_domains_and_names_no_account() -> None:
    body = {
        "domain_or_ip_target": "*.example.com",
        "caa_check_parameters": {"caa_domains": ["Their.example"]},
    }
    name, issuance = translation.issuance(open_mpic.decode(json.dumps(body).encode(), CaaRequest), [OURS])
    assert (name, issuance.wildcard, issuance.identities) == ("example.com", True, {"their.example"})
    assert (issuance.account_url, issuance.method) == ("", "")


def test_a_check_for_another_kind_of_certificate_is_refused() -> None:
    body = {"domain_or_ip_target": "a.example", "caa_check_parameters": {"certificate_type": "s-mime"}}
    with pytest.raises(Refused, match="TLS server"):
        translation.issuance(open_mpic.decode(json.dumps(body).encode(), CaaRequest), [OURS])
