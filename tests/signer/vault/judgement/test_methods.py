"""vault/judgement/evidence.py: what each validation method shows, and of which names (BR 3.2.2.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core import account_hash
from core.evidence import CaaSeen, Result
from core.settings import Rules
from signer.vault.judgement.evidence import METHODS
from tests.signer.vault.judgement.statements import (
    ACCOUNT,
    NAME,
    NOW,
    attempt,
    persistent,
    refused,
    signed,
    statement,
    verifier,
    verify,
)
from tests.support.applicant import ACCOUNT_KEY, AccountKey, applicant, key_change
from tests.support.software_ca import leaf_request


@pytest.mark.row("methods.ip")
@pytest.mark.clause("RFC 8738 section 7")
@pytest.mark.parametrize("name", ["9.9.9.9", "2620:fe::fe"])
@pytest.mark.parametrize("method", list(METHODS))
def test_an_address_is_shown_by_http_01_and_tls_alpn_01_and_has_no_caa(name: str, method: str) -> None:
    exempt = CaaSeen(Result.PASS, exempt="IP address", method=method)
    seen = attempt(name=name, method=method, caa=exempt)
    if method not in ("http-01", "tls-alpn-01"):
        refused("evidence.address", lambda: verify(seen, names=(name,)))
        return
    verify(seen, names=(name,))
    looked = [replace(each, caa=CaaSeen(Result.PASS, method=method)) for each in seen]
    refused("evidence.caa-odd", lambda: verify(looked, names=(name,)))


@pytest.mark.row("methods.ip")
@pytest.mark.clause("BR 3.2.2.8")
def test_a_name_is_never_exempt_from_caa_as_an_address_is() -> None:
    exempt = CaaSeen(Result.PASS, exempt="IP address", method="http-01")
    refused("evidence.caa-exempt", lambda: verify(attempt(caa=exempt)))
    private = verifier(rules=Rules.PRIVATE)
    refused("evidence.caa-exempt", lambda: verify(attempt(caa=exempt), by=private))


@pytest.mark.clause("RFC 8555 section 8.1")
def test_a_method_whose_record_stays_counts_only_where_the_settings_list_it() -> None:
    statements = attempt(method="dns-persist-01")
    verify(statements)
    others = [method for method in METHODS if method != "dns-persist-01"]
    refused("evidence.method", lambda: verify(statements, by=verifier(methods=others)))
    refused("evidence.method", lambda: verify(statements, by=verifier(methods=())))
    # The others may be switched off for new orders: what they have shown stays shown.
    verify(attempt(method="dns-01"), by=verifier(methods=()))


@pytest.mark.clause("RFC 8555 section 8.1")
def test_a_record_that_names_no_key_counts_only_where_the_settings_say_so() -> None:
    plain = persistent(account_hash="")
    refused("evidence.method", lambda: verify(plain))
    verify(plain, by=verifier(plain=True))
    mixed = [plain[0], *attempt(method="dns-persist-01")[1:]]
    refused("evidence.method", lambda: verify(mixed))


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.2")
def test_the_hash_in_a_record_is_worked_out_anew() -> None:
    key = ACCOUNT_KEY.thumbprint
    for domain in (NAME, "*"):
        verify(persistent(account_hash=_uri(domain, key, ACCOUNT)))
    for wrong in (
        _uri("acme-shop.com", key, ACCOUNT),
        _uri(NAME, "x" * 43, ACCOUNT),
        _uri(NAME, key, ACCOUNT + "2"),
        _uri(NAME, key, ACCOUNT).replace("ca.acme-ca.com", "ca.acme-cb.com"),
        ACCOUNT,
        "x",
    ):
        refused("evidence.account-hash", lambda uri=wrong: verify(persistent(account_hash=uri)))  # type: ignore[misc]
        if wrong != ACCOUNT:
            act = lambda uri=wrong: verify(persistent(account_hash=uri), by=verifier(plain=True))  # noqa: E731
            refused("evidence.account-hash", act)


def _uri(domain: str, thumbprint: str, account: str) -> str:
    return account_hash.uris(domain, thumbprint, account)[0]


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.2")
def test_a_record_of_an_older_key_counts_when_the_account_itself_changed_it() -> None:
    old = AccountKey(ec.generate_private_key(ec.SECP256R1()))
    seen = persistent(thumbprint=old.thumbprint, account_hash=_uri(NAME, old.thumbprint, ACCOUNT))
    refused("evidence.account-key", lambda: verify(seen))
    change = key_change(old, ACCOUNT_KEY, ACCOUNT)
    request = leaf_request(names=(NAME,), account_url=ACCOUNT, evidence=signed(seen))
    chained = applicant((NAME,), request.public_key, ACCOUNT, key_changes=(change,))
    verifier().verify(replace(request, applicant=chained), NOW)


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.1")
def test_nothing_is_issued_after_the_records_persist_until() -> None:
    for end, good in ((NOW, True), (NOW - 1, False), (0, True)):
        seen = persistent(good_until=end)
        if good:
            verify(seen)
        else:
            refused("evidence.too-old", lambda seen=seen: verify(seen))  # type: ignore[misc]
    shortest = [*persistent()[:4], persistent(good_until=NOW - 1)[4]]
    refused("evidence.too-old", lambda: verify(shortest))


@pytest.mark.parametrize("method", ["", "email-reply-00", "HTTP-01", "caa"])
def test_an_unknown_method_is_refused(method: str) -> None:
    refused("evidence.method", lambda: verify(attempt(method=method)))


def test_perspectives_that_used_different_methods_do_not_corroborate() -> None:
    refused("evidence.method", lambda: verify([*attempt(4), statement(4, method="dns-01")]))
