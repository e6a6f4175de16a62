"""CA keys and certificates at the first and the last second of their lives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.errors import Refused
from core.settings import Rules
from signer.api import IssuerState
from signer.vault.sealed.lifetimes import ACTIVE, Life, admit_ca, key_ends, must_answer, must_issue
from signer.vault.templates import ca_certificates
from signer.vault.templates.authority import Issuer
from signer.vault.templates.ca_certificates import Subject
from tests.support.software_ca import BEGINS, DAY, NOW, SERIAL, URLS, private_key, software_ca

SUBJECT = Subject("JP", "Acme Trust", "Acme CA")
STOP = 20 * 365 * DAY


def root(lifetime: int, begins: int = NOW) -> bytes:
    return ca_certificates.root(private_key("ec-p384", 1), SUBJECT, SERIAL, begins, lifetime=lifetime)


def issuing(lifetime: int, begins: int = NOW) -> bytes:
    ca = software_ca()
    key = private_key("ec-p256", 2).public_key()
    return ca_certificates.issuing(
        ca.root, ca.root_key, key, SUBJECT, SERIAL, begins, URLS, policies=(), lifetime=lifetime
    )


def refusal(judge: Callable[[], None]) -> str:
    """The code of the refusal, "" when there is none."""
    try:
        judge()
    except Refused as refused:
        return refused.code
    return ""


@pytest.mark.clause("BR 7.1.2.1.1")
@pytest.mark.parametrize(
    ("days", "extra", "code"),
    [(2922, -1, "ca.root-validity"), (2922, 0, ""), (7300, 0, ""), (3650, 0, "")],
)
def test_a_public_root_lives_no_shorter_than_the_rules_allow(days: int, extra: int, code: str) -> None:
    made = root(days * DAY + extra)
    assert refusal(lambda: admit_ca(made, Rules.PUBLIC, NOW)) == code
    assert refusal(lambda: admit_ca(made, Rules.PRIVATE, NOW)) == ""


@pytest.mark.clause("CPS 6.3.2")
@pytest.mark.parametrize("rules", [Rules.PUBLIC, Rules.PRIVATE])
def test_no_ca_key_is_meant_for_more_than_twenty_years(rules: Rules) -> None:
    assert refusal(lambda: admit_ca(root(STOP), rules, NOW)) == ""
    assert refusal(lambda: admit_ca(root(STOP + 1), rules, NOW)) == "ca.key-lifetime"


@pytest.mark.clause("CPS 6.3.2")
def test_a_new_certificate_makes_an_old_key_no_younger() -> None:
    born = NOW - 15 * 365 * DAY
    made = root(3650 * DAY)
    assert refusal(lambda: admit_ca(made, Rules.PUBLIC, NOW)) == ""
    assert refusal(lambda: admit_ca(made, Rules.PUBLIC, NOW, key_born=born)) == "ca.key-lifetime"


@pytest.mark.clause("BR 7.1.2.1.1")
@pytest.mark.parametrize(
    ("begins", "code"),
    [(NOW - DAY - 1, "ca.not-before"), (NOW - DAY, ""), (NOW, ""), (NOW + 1, "ca.not-before")],
)
def test_a_ca_certificate_begins_within_the_day_before_its_signing(begins: int, code: str) -> None:
    made = issuing(DAY * 1095, begins)
    assert refusal(lambda: admit_ca(made, Rules.PUBLIC, NOW, parent=software_ca().root)) == code


def test_a_subordinate_ca_never_outlives_its_root() -> None:
    left = BEGINS + ca_certificates.ROOT_LIFETIME - NOW
    parent = software_ca().root
    assert refusal(lambda: admit_ca(issuing(left), Rules.PRIVATE, NOW, parent=parent)) == ""
    assert refusal(lambda: admit_ca(issuing(left + 1), Rules.PRIVATE, NOW, parent=parent)) == "ca.not-after"


def issuer() -> Issuer:
    return software_ca().issuer


ENDS = software_ca().issuer.not_after


@pytest.mark.parametrize(
    ("life", "now", "leaves", "status"),
    [
        (ACTIVE, BEGINS - 1, "issuer.begins", "issuer.begins"),
        (ACTIVE, BEGINS, "", ""),
        (ACTIVE, ENDS, "", ""),
        (ACTIVE, ENDS + 1, "issuer.ended", "issuer.ended"),
        (Life(since=NOW), NOW - 1, "issuer.since", ""),
        (Life(since=NOW), NOW, "", ""),
        (Life(until=NOW), NOW, "", ""),
        (Life(until=NOW), NOW + 1, "issuer.until", ""),
        (Life(IssuerState.PLANNED), NOW, "issuer.state", ""),
        (Life(IssuerState.RETIRED), NOW, "issuer.state", ""),
        (Life(IssuerState.RETIRED), ENDS + 1, "issuer.ended", "issuer.ended"),
        (Life(IssuerState.DESTROYED), NOW, "issuer.destroyed", "issuer.destroyed"),
    ],
)
@pytest.mark.clause("CPS 6.3.2")
def test_leaves_and_status_are_signed_to_the_second_of_a_keys_life(
    life: Life, now: int, leaves: str, status: str
) -> None:
    assert refusal(lambda: must_issue(issuer(), life, now)) == leaves
    assert refusal(lambda: must_answer(issuer(), life, now)) == status


@pytest.mark.clause("CPS 6.3.2")
def test_the_hard_stop_binds_a_key_whose_certificate_promises_more() -> None:
    eternal = Issuer.from_certificate(
        "old", root(40 * 365 * DAY), ocsp_url="", ca_issuers_url="", crl_url_template=""
    )
    last = key_ends(NOW, NOW)
    assert last == NOW + STOP - 1
    assert refusal(lambda: must_answer(eternal, ACTIVE, last)) == ""
    assert refusal(lambda: must_answer(eternal, ACTIVE, last + 1)) == "issuer.ended"
    assert refusal(lambda: must_issue(eternal, ACTIVE, last + 1)) == "issuer.ended"
