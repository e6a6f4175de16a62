"""vault/judgement/applicant.py: it certifies what the account's own signature asks for, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Refused
from signer.api import Applicant, LeafRequest
from signer.vault.judgement.applicant import MAX_KEY_CHANGES, thumbprints
from tests.support.applicant import ACCOUNT_KEY, AccountKey, applicant, key_change
from tests.support.software_ca import leaf_request, private_key, spki

pytestmark = pytest.mark.clause("RFC 8555 section 8.1")

NAME = "www.acme-shop.com"
ACCOUNT = "https://ca.acme-ca.com/acme/account/1"
KEY = spki(private_key("ec-p256"))
KEYS = [AccountKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(3)]
RSA = AccountKey(rsa.generate_private_key(65537, 2048))


def asked(*, names: tuple[str, ...] = (NAME,), key: bytes = KEY, **changes: Any) -> LeafRequest:
    """A request of (NAME,) and KEY, for which the account asked `names` and `key`."""
    return leaf_request(names=(NAME,), applicant=applicant(names, key, ACCOUNT, **changes))


def refused(code: str, request: LeafRequest) -> None:
    with pytest.raises(Refused) as refusal:
        thumbprints(request)
    assert refusal.value.code == code, refusal.value


@pytest.mark.parametrize(
    "key",
    [
        ACCOUNT_KEY,
        RSA,
        *(AccountKey(ec.generate_private_key(curve())) for curve in (ec.SECP384R1, ec.SECP521R1)),
    ],
    ids=["P-256", "RSA", "P-384", "P-521"],
)
def test_what_the_account_asked_for_speaks_for_its_key(key: AccountKey) -> None:
    assert thumbprints(asked()) == {ACCOUNT_KEY.thumbprint}
    assert thumbprints(leaf_request(applicant=applicant((NAME,), KEY, ACCOUNT, key))) == {key.thumbprint}


def test_upper_case_names_in_the_csr_are_the_same_names() -> None:
    assert thumbprints(asked(names=(NAME.upper(),)))


ATTACKS: dict[str, tuple[str, Callable[[], LeafRequest]]] = {
    "no request at all": ("applicant.missing", lambda: leaf_request(applicant=None)),
    "another public key": ("applicant.csr", lambda: asked(key=spki(private_key("ec-p256", 7)))),
    "a name more": ("applicant.csr", lambda: asked(names=(NAME, "b.acme-shop.com"))),
    "a name less": ("applicant.csr", lambda: replace(asked(), names=(NAME, "b.acme-shop.com"))),
    "a wildcard instead": ("applicant.csr", lambda: replace(asked(), names=(f"*.{NAME}",))),
    "another account": ("applicant.request", lambda: replace(asked(), account_url=ACCOUNT + "2")),
    "another resource": (
        "applicant.request",
        lambda: asked(url="https://ca.acme-ca.com/acme/revoke-certificate"),
    ),
    "another CA's order": (
        "applicant.request",
        lambda: asked(url="https://other.example/acme/order/1/finalize"),
    ),
    "a key instead of an account": ("applicant.request", lambda: asked(kid=None, jwk=ACCOUNT_KEY.jwk)),
    "an unknown critical header": ("applicant.request", lambda: asked(crit=["x"])),
    "a detached payload": ("applicant.request", lambda: asked(b64=False)),
    "another algorithm": ("applicant.request", lambda: asked(alg="none")),
    "the account's own key": ("applicant.account-key", lambda: _own_key()),
    "another key's signature": (
        "applicant.request",
        lambda: _with(jwk=json.dumps(KEYS[0].jwk).encode()),
    ),
    "a symmetric key": ("applicant.request", lambda: _with(jwk=b'{"kty":"oct","k":"AAAA"}')),
    "no key": ("applicant.request", lambda: _with(jwk=b"")),
    "no JSON": ("applicant.request", lambda: _with(finalize=b"\xff")),
    "an unprotected header": (
        "applicant.request",
        lambda: _with(finalize=json.dumps(json.loads(_request().finalize) | {"header": {}}).encode()),
    ),
    "an abyss": ("applicant.request", lambda: _with(jwk=b'{"x":' + b"[" * 20_000)),
    "a giant": ("applicant.request", lambda: _with(finalize=_request().finalize + b" " * (1 << 18))),
    "changes without end": (
        "applicant.key-change",
        lambda: _with(key_changes=(key_change(KEYS[0], ACCOUNT_KEY, ACCOUNT),) * (MAX_KEY_CHANGES + 1)),
    ),
    "a change to another key": (
        "applicant.key-change",
        lambda: _with(key_changes=(key_change(KEYS[0], KEYS[1], ACCOUNT),)),
    ),
    "a change of another account": (
        "applicant.key-change",
        lambda: _with(key_changes=(key_change(KEYS[0], ACCOUNT_KEY, ACCOUNT + "2"),)),
    ),
    "a change that the old key did not sign": (
        "applicant.key-change",
        lambda: _with(key_changes=(key_change(KEYS[1], ACCOUNT_KEY, ACCOUNT, oldKey=KEYS[0].jwk),)),
    ),
    "a change that names another account inside": (
        "applicant.key-change",
        lambda: _with(key_changes=(key_change(KEYS[0], ACCOUNT_KEY, ACCOUNT, account=ACCOUNT + "2"),)),
    ),
    "changes in the wrong order": (
        "applicant.key-change",
        lambda: _with(
            key_changes=(
                key_change(KEYS[0], KEYS[1], ACCOUNT),
                key_change(KEYS[1], ACCOUNT_KEY, ACCOUNT),
            )
        ),
    ),
}


@pytest.mark.must("rfc8555.7.4.contents")
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_the_account_did_not_ask_for_is_refused(attack: str) -> None:
    code, make = ATTACKS[attack]
    refused(code, make())


@pytest.mark.clause("RFC 8555 section 7.3.5")
def test_a_key_speaks_for_those_that_gave_way_to_it_one_after_the_other() -> None:
    changes = (key_change(KEYS[1], ACCOUNT_KEY, ACCOUNT), key_change(KEYS[0], KEYS[1], ACCOUNT))
    assert thumbprints(_with(key_changes=changes)) == {
        ACCOUNT_KEY.thumbprint,
        KEYS[0].thumbprint,
        KEYS[1].thumbprint,
    }
    assert KEYS[0].thumbprint not in thumbprints(_with(key_changes=changes[:1]))


def test_a_signed_request_of_another_kind_is_no_finalize_request() -> None:
    for path in ("order", "order/1", "revoke-certificate", "finalize/1"):
        refused("applicant.request", asked(url=f"https://ca.acme-ca.com/acme/{path}"))


@settings(max_examples=200, deadline=None)
@given(
    field=st.sampled_from([each.name for each in fields(Applicant) if each.name != "key_changes"]),
    position=st.integers(0, 10_000),
    value=st.integers(1, 255),
)
def test_no_change_of_an_octet_gives_another_key_or_name_a_voice(
    field: str, position: int, value: int
) -> None:
    octets = bytearray(getattr(SOUND, field))
    octets[position % len(octets)] ^= value
    try:
        found = thumbprints(_with(**{field: bytes(octets)}))
    except Refused:
        return
    assert found == {ACCOUNT_KEY.thumbprint}  # the change was in what carries no meaning


def _request() -> Applicant:
    return applicant((NAME,), KEY, ACCOUNT)


def _with(**changes: Any) -> LeafRequest:
    return leaf_request(names=(NAME,), applicant=replace(_request(), **changes))


def _own_key() -> LeafRequest:
    own = spki(ACCOUNT_KEY.private)
    return leaf_request(names=(NAME,), public_key=own)


SOUND = _request()
