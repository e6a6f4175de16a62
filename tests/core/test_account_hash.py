"""core/account_hash.py: the draft's test vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import account_hash

KEY = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
ACCOUNT = "https://ca.example/acct/123"
NAMES = st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3})?", fullmatch=True)


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 10.2")
@pytest.mark.parametrize(
    ("domain", "value"),
    [
        ("example.com", "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"),
        ("*", "NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"),
    ],
)
def test_the_vectors_of_the_draft(domain: str, value: str) -> None:
    assert account_hash.digest(domain, KEY, ACCOUNT) == value


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.1")
def test_the_uris_lie_below_the_prefix_that_the_directory_names() -> None:
    own, any_ = account_hash.uris("example.com", KEY, ACCOUNT)
    assert account_hash.prefix("https://ca.example") == "https://ca.example/acme/account-hash/"
    assert own == "https://ca.example/acme/account-hash/sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"
    assert any_.startswith("https://ca.example/acme/account-hash/sha-256/NpDnSwUth")


@given(NAMES, NAMES, st.sampled_from(["k" * 43, "K" * 43]), st.sampled_from([ACCOUNT, ACCOUNT + "4"]))
def test_domain_key_and_account_each_change_it(one: str, two: str, key: str, account: str) -> None:
    same = (one, key, account) == (two, "k" * 43, ACCOUNT)
    assert (account_hash.digest(one, key, account) == account_hash.digest(two, "k" * 43, ACCOUNT)) is same
