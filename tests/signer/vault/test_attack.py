"""Front, worker and database are taken over, and the vault's own process is asked for a certificate.

The attacker calls the vault's socket as the app does and has all true evidence that ever was: his own, the
victim's, old and new, of every perspective.  What he has not are the perspectives' keys, the account keys of
others, and control of the victim's name.  Every attempt is refused before the key is used: the journal says
so.  (Journeys against the whole CA, with its database rewritten: tests/journeys/test_takeover.py.)
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import SystemClock
from core.configuration import load
from core.data_directory import DataDirectory
from core.errors import Refused
from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, SignedStatement, Statement
from core.randomness import SystemRandomness, token
from core.requirements import DAY, HOUR
from signer import api, serials
from signer.client import Vault
from signer.vault.ceremony import embedded
from tests.support.applicant import ACCOUNT_KEY, AccountKey, applicant, key_change
from tests.support.software_ca import spki
from tests.support.vault import REPOSITORY, RunningVault

PRESET = REPOSITORY / "deploy/public-loopback.toml"
SETTINGS = load(PRESET)
CODES = [each.code for each in SETTINGS.validation.perspectives]
SECRETS = {code: ec.generate_private_key(ec.SECP256R1()) for code in (*CODES, "retired")}
KEYS = {code: PerspectiveKey(secret) for code, secret in SECRETS.items()}

VICTIM = "www.acme-shop.com"
OTHER = "other.acme-shop.com"
WILDCARD = "*.acme-shop.com"
VICTIMS_ACCOUNT = "https://localhost:14000/acme/account/victim"
MINE = "https://localhost:14000/acme/account/attacker"
MY_KEY = AccountKey(ec.generate_private_key(ec.SECP256R1()))
CERTIFIED = spki(ec.generate_private_key(ec.SECP256R1()))
"""The public key that the attacker wants certified; where the victim asks, it is the victim's."""

# Long because of its ceremony, which makes the keys of a whole CA.
pytestmark = [pytest.mark.long, pytest.mark.clause("BR 3.2.2.4, 3.2.2.8, 3.2.2.9, 4.2.1")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataDirectory]:
    data = DataDirectory(tmp_path_factory.mktemp("attacked"))
    pinned = {code: spki(SECRETS[code]) for code in CODES}
    embedded.create(data, SETTINGS, SystemClock(), SystemRandomness(), pinned)
    vault = RunningVault(data, arguments=["--config", str(PRESET)]).start()
    yield data
    vault.stop()


@pytest.fixture
async def vault(running: DataDirectory) -> AsyncIterator[Vault]:
    client = Vault(running.vault_socket)
    yield client
    await client.close()


def now() -> int:
    return SystemClock().now()


def statement(code: str, name: str = VICTIM, method: str = "http-01", **changes: Any) -> Statement:
    """What the perspective `code` truly saw, unless changed."""
    control = ControlSeen(method, name.removeprefix("*."), Result.PASS, thumbprint=ACCOUNT_KEY.thumbprint)
    made = Statement(
        perspective=code,
        name=name,
        account_url=VICTIMS_ACCOUNT,
        attempt="attempt-1",
        checked_at=now() - 5,
        control=control,
        caa=CaaSeen(Result.PASS, method=method),
    )
    return replace(made, **changes)


def seen(codes: Sequence[str] = CODES, **changes: Any) -> tuple[SignedStatement, ...]:
    return tuple(KEYS[code].sign(statement(code, **changes)) for code in codes)


def recheck(at: int, method: str = "http-01", result: Result = Result.PASS) -> tuple[SignedStatement, ...]:
    caa = CaaSeen(result, method=method)
    return seen(attempt="attempt-caa", checked_at=at, control=None, caa=caa)


def wanted(evidence: tuple[SignedStatement, ...], **changes: Any) -> api.LeafRequest:
    """A request for the victim's name, sound but for what is changed; the account asks for just this."""
    begins = now() - 60
    made = api.LeafRequest(
        issuance_id=token(SystemRandomness()),
        serial=serials.draw(SystemRandomness()),
        issuer_id="ec-1",
        profile="tlsserver",
        names=(VICTIM,),
        account_url=VICTIMS_ACCOUNT,
        public_key=CERTIFIED,
        not_before=begins,
        not_after=begins + 90 * DAY - 1,
        crl_shard=0,
        evidence=evidence,
    )
    made = replace(made, **changes)
    if "applicant" not in changes:
        made = replace(made, applicant=applicant(made.names, made.public_key, made.account_url))
    return made


def once_more(before: api.LeafRequest, **changes: Any) -> api.LeafRequest:
    """The account's own words of an earlier request, sound but for the repetition."""
    changes = {"issuance_id": token(SystemRandomness()), "serial": serials.draw(SystemRandomness())} | changes
    return replace(before, **changes)


def finalize_url(request: api.LeafRequest) -> str:
    assert request.applicant is not None
    protected = json.loads(request.applicant.finalize)["protected"]
    url = json.loads(base64.urlsafe_b64decode(protected + "=="))["url"]
    return str(url)


def by_me(evidence: tuple[SignedStatement, ...], **changes: Any) -> api.LeafRequest:
    """The same, signed with the attacker's account key in whatever account's name."""
    made = wanted(evidence, **changes)
    return replace(made, applicant=applicant(made.names, made.public_key, made.account_url, MY_KEY))


def failed(code: str, result: Result) -> SignedStatement:
    control = ControlSeen("http-01", VICTIM, result, "connection", thumbprint=ACCOUNT_KEY.thumbprint)
    return KEYS[code].sign(statement(code, control=control))


def mixed() -> tuple[SignedStatement, ...]:
    """Two attempts of which neither reached a quorum, passed off as one."""
    return seen(CODES[:4]) + seen(CODES[3:], attempt="attempt-2")


def altered() -> tuple[SignedStatement, ...]:
    first, *rest = seen(name=OTHER)
    payload = first.payload.replace(OTHER.encode(), b"www03.acme-shop.com")
    return (replace(first, payload=payload), *rest)


Attack = Callable[[], api.LeafRequest]

ON_EVIDENCE: dict[str, tuple[str, Attack]] = {
    "none at all": ("evidence.missing", lambda: wanted(())),
    "a flood": ("evidence.missing", lambda: wanted(seen() * 300)),
    "of another name": ("evidence.name", lambda: wanted(seen(name=OTHER))),
    "of another name beside the victim's": (
        "evidence.missing",
        lambda: wanted(seen(), names=(VICTIM, OTHER)),
    ),
    "of the base for its wildcard": ("evidence.name", lambda: wanted(seen(), names=(f"*.{VICTIM}",))),
    "of the wildcard for its base": (
        "evidence.name",
        lambda: wanted(seen(name=WILDCARD, method="dns-01"), names=("acme-shop.com",)),
    ),
    "by http-01 for a wildcard": (
        "evidence.wildcard",
        lambda: wanted(seen(name=WILDCARD), names=(WILDCARD,)),
    ),
    "of another account": ("evidence.account", lambda: by_me(seen(), account_url=MINE)),
    "by an unknown method": ("evidence.method", lambda: wanted(seen(method="email-reply-00"))),
    "by several methods": (
        "evidence.method",
        lambda: wanted(seen(CODES[:3]) + seen(CODES[3:], method="dns-01")),
    ),
    "of another Authorization Domain Name": (
        "evidence.adn",
        lambda: wanted(
            seen(
                control=ControlSeen("dns-01", "acme-shop.com", Result.PASS, thumbprint=ACCOUNT_KEY.thumbprint)
            )
        ),
    ),
    "older than the reuse limit": (
        "evidence.too-old",
        lambda: wanted(seen(checked_at=now() - 200 * DAY - 1) + recheck(now() - 5)),
    ),
    "that grows too old before the signature": (
        "evidence.too-old",
        lambda: wanted(seen(checked_at=now() - 200 * DAY + 60) + recheck(now() - 5)),
    ),
    "from the future": ("evidence.future", lambda: wanted(seen(checked_at=now() + 120))),
    "without CAA": ("evidence.caa-missing", lambda: wanted(seen(caa=None))),
    "with CAA older than eight hours": (
        "evidence.caa-too-old",
        lambda: wanted(seen(checked_at=now() - 8 * HOUR - 1)),
    ),
    "with CAA asked for another method": (
        "evidence.caa-method",
        lambda: wanted(seen(checked_at=now() - DAY) + recheck(now() - 5, "dns-01")),
    ),
    "with CAA that forbids since": (
        "evidence.primary",
        lambda: wanted(seen() + recheck(now() - 2, result=Result.FAIL)),
    ),
    "with CAA as for a local name": (
        "evidence.caa-exempt",
        lambda: wanted(seen(caa=CaaSeen(Result.PASS, exempt="local name", method="http-01"))),
    ),
    "a CAA recheck alone": ("evidence.missing", lambda: wanted(recheck(now() - 5))),
    "of too few perspectives": ("quorum.not-met", lambda: wanted(seen(CODES[:4]))),
    "without the primary": ("evidence.primary", lambda: wanted(seen(CODES[1:]))),
    "of one perspective, again and again": ("evidence.duplicate", lambda: wanted(seen(CODES[:1]) * 7)),
    "of attempts mixed to reach a quorum": ("evidence.attempts", lambda: wanted(mixed())),
    "of perspectives that looked at different hours": (
        "evidence.span",
        lambda: wanted(seen(CODES[:3]) + seen(CODES[3:], checked_at=now() - HOUR)),
    ),
    "of failures": (
        "quorum.not-met",
        lambda: wanted((*seen(CODES[:4]), *(failed(code, Result.FAIL) for code in CODES[4:]))),
    ),
    "of no verdict": (
        "evidence.primary",
        lambda: wanted((failed(CODES[0], Result.INDETERMINATE), *seen(CODES[1:]))),
    ),
    "of a retired perspective": (
        "evidence.unknown-key",
        lambda: wanted((*seen(), KEYS["retired"].sign(statement("retired")))),
    ),
    "of a perspective in another's name": (
        "evidence.perspective",
        lambda: wanted((*seen(CODES[:6]), KEYS[CODES[0]].sign(statement(CODES[6])))),
    ),
    "with changed words": ("evidence.signature", lambda: wanted(altered())),
    "with another's signature": (
        "evidence.signature",
        lambda: wanted((replace(seen()[0], signature=seen()[1].signature), *seen(CODES[1:]))),
    ),
    "of no attempt": ("evidence.attempt", lambda: wanted(seen(attempt=""))),
}

ON_THE_APPLICANT: dict[str, tuple[str, Attack]] = {
    "the victim's evidence with a key of mine": (
        "applicant.csr",
        lambda: wanted(seen(), applicant=applicant((VICTIM,), spki(MY_KEY.private), VICTIMS_ACCOUNT)),
    ),
    "the victim's evidence on my account's word": ("evidence.account-key", lambda: by_me(seen())),
    "the victim's evidence on nobody's word": (
        "applicant.missing",
        lambda: wanted(seen(), applicant=None),
    ),
    "the victim's request of another day with a name more": (
        "applicant.csr",
        lambda: wanted(
            seen() + seen(name=OTHER, attempt="attempt-2"),
            names=(VICTIM, OTHER),
            applicant=applicant((VICTIM,), CERTIFIED, VICTIMS_ACCOUNT),
        ),
    ),
    "a change of key that the victim did not sign": (
        "applicant.key-change",
        lambda: wanted(
            seen(),
            applicant=applicant(
                (VICTIM,),
                CERTIFIED,
                VICTIMS_ACCOUNT,
                MY_KEY,
                (key_change(MY_KEY, MY_KEY, VICTIMS_ACCOUNT, oldKey=ACCOUNT_KEY.jwk),),
            ),
        ),
    ),
    "statements from before account keys were bound": (
        "evidence.account-key",
        lambda: wanted(seen(control=ControlSeen("http-01", VICTIM, Result.PASS))),
    ),
}

ON_THE_REST: dict[str, tuple[str, Attack]] = {
    "an unknown profile": ("profile.unknown", lambda: wanted(seen(), profile="everything")),
    "the profile of our own servers": ("profile.unknown", lambda: wanted(seen(), profile="local-service")),
    "the issuer of our own servers": ("issuer.unknown", lambda: wanted(seen(), issuer_id="local-1")),
    "the root": ("issuer.unknown", lambda: wanted(seen(), issuer_id="root")),
    "a CRL that nobody will ever publish": ("profile.crl-shard", lambda: wanted(seen(), crl_shard=7)),
    "a negative CRL shard": ("profile.crl-shard", lambda: wanted(seen(), crl_shard=-1)),
    "a validity beyond the rule": (
        "profile.validity",
        lambda: wanted(seen(), not_after=now() + 201 * DAY),
    ),
    "yesterday's certificate": (
        "dated.not-before",
        lambda: wanted(seen(), not_before=now() - 3 * DAY, not_after=now() + 9),
    ),
    "a short serial number": ("profile.serial", lambda: wanted(seen(), serial=b"\x01")),
    "a serial number of my choice above 2^159": (
        "profile.serial",
        lambda: wanted(seen(), serial=b"\x7f" + b"\xff" * 20),
    ),
    "a name of the vault's own in the journal": (
        "issuance.name",
        lambda: wanted(seen(), issuance_id="crl:ec-1:0:9"),
    ),
    "no name": ("", lambda: wanted(seen(), names=())),
    "the victim's name twice": ("profile.names", lambda: wanted(seen(), names=(VICTIM, VICTIM))),
    "a perspective's key": ("key.own", lambda: wanted(seen(), public_key=spki(SECRETS[CODES[2]]))),
    "the account's own key": (
        "applicant.account-key",
        lambda: wanted(seen(), public_key=spki(ACCOUNT_KEY.private)),
    ),
}

ATTACKS = {
    f"{what}: {name}": attack
    for what, attacks in (
        ("evidence", ON_EVIDENCE),
        ("applicant", ON_THE_APPLICANT),
        ("request", ON_THE_REST),
    )
    for name, attack in attacks.items()
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_the_attack_is_refused_and_no_key_is_used(vault: Vault, name: str) -> None:
    code, make = ATTACKS[name]
    request = make()
    before = (await vault.describe()).journal_sequence
    with pytest.raises(Refused) as refused:
        await vault.issue((await vault.prepare(request)).token)
    assert refused.value.code.startswith(code), refused.value
    assert (await vault.describe()).journal_sequence == before
    assert not (await vault.recall(request.issuance_id)).intent


async def test_what_the_victim_asks_for_is_issued_once_and_cannot_be_had_again(vault: Vault) -> None:
    honest = wanted(seen())
    prepared = await vault.prepare(honest)
    certificate = x509.load_der_x509_certificate((await vault.issue(prepared.token)).certificate)
    assert certificate.serial_number == int.from_bytes(honest.serial)
    before = (await vault.describe()).journal_sequence
    for again, code in (
        (honest, r"issuance\.used"),
        (replace(honest, issuance_id="another"), r"serial\.used"),
        (replace(honest, serial=serials.draw(SystemRandomness())), r"issuance\.used"),
    ):
        with pytest.raises(Refused, match=code):
            await vault.prepare(again)
    with pytest.raises(Refused, match=r"token\.unknown"):
        await vault.issue(prepared.token)
    assert (await vault.describe()).journal_sequence == before


async def test_what_an_account_signed_once_makes_one_certificate_whatever_is_brought_beside_it(
    vault: Vault,
) -> None:
    asked = wanted(seen())
    await vault.issue((await vault.prepare(asked)).token)
    url = finalize_url(asked)
    other = spki(ec.generate_private_key(ec.SECP256R1()))
    before = (await vault.describe()).journal_sequence
    for again in (
        once_more(asked),
        once_more(asked, evidence=seen(attempt="attempt-of-today")),
        once_more(
            asked,
            public_key=other,
            applicant=applicant((VICTIM,), other, VICTIMS_ACCOUNT, url=url, nonce="another"),
        ),
    ):
        with pytest.raises(Refused, match=r"applicant\.used.*must place another"):
            await vault.prepare(again)
        assert not (await vault.recall(again.issuance_id)).intent
    assert (await vault.describe()).journal_sequence == before
    next_order = wanted(seen(), public_key=asked.public_key)
    await vault.issue((await vault.prepare(next_order)).token)


async def test_one_order_prepared_many_times_is_signed_once_however_the_calls_fall_together(
    vault: Vault,
) -> None:
    asked = wanted(seen())
    prepared = [await vault.prepare(once_more(asked)) for _ in range(4)]
    ended = await asyncio.gather(*(vault.issue(each.token) for each in prepared), return_exceptions=True)
    refused = [each for each in ended if isinstance(each, Refused)]
    assert [each.code for each in refused] == ["applicant.used"] * 3


@pytest.mark.clause("BR 6.1.1.3")
async def test_a_key_that_was_blocked_once_is_blocked_whatever_the_database_says(
    vault: Vault, running: DataDirectory
) -> None:
    key = spki(ec.generate_private_key(ec.SECP256R1()))
    kept = await vault.prepare(wanted(seen(), public_key=key))
    await vault.block_key(hashlib.sha256(key).digest())
    before = (await vault.describe()).journal_sequence
    for act in (lambda: vault.issue(kept.token), lambda: vault.prepare(wanted(seen(), public_key=key))):
        with pytest.raises(Refused, match=r"key\.blocked"):
            await act()
    assert (await vault.describe()).journal_sequence == before


def test_the_preset_has_a_primary_and_six_remotes() -> None:
    assert len(CODES) == 7
    assert Path(PRESET).exists()
