"""A subscriber with certbot asks why it failed, and whether it will (examples/ask.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.ca import REPOSITORY, RunningCa
from tests.support.clients import Certbot, Ran, run
from tests.world.world import World

DENIED = "caa-deny.example.com"
OURS = "caa-dns-only.example.com"


@pytest.fixture
def certbot(ca: RunningCa, door: str, tmp_path: Path) -> Certbot:
    made = Certbot(ca, tmp_path / "certbot", door)
    ran = made.run(["register", "--agree-tos", "--email", "person@example.com", "--no-eff-email"])
    assert ran.code == 0, ran.output
    return made


def ask(ca: RunningCa, certbot: Certbot, *words: str) -> Ran:
    """The example, run as a person would, with Debian's libraries."""
    (account,) = certbot.directory.glob("config/accounts/*/directory/*")
    log = certbot.directory / "logs/letsencrypt.log"
    command = ["/usr/bin/python3", str(REPOSITORY / "examples/ask.py"), "--account", str(account)]
    return run([*command, "--log", str(log), *words], ca.directory, REQUESTS_CA_BUNDLE=str(ca.trust_anchor))


def told(ran: Ran) -> Any:
    assert ran.code == 0, ran.output
    return json.loads(ran.output)


@pytest.mark.clause("RFC 8659 section 3")
def test_preflight_foretells_that_caa_forbids_and_explain_tells_it_afterwards(
    ca: RunningCa, certbot: Certbot
) -> None:
    before = told(ask(ca, certbot, "--json", "--method", "dns-01", "preflight", DENIED))
    (method,) = before["identifiers"][0]["methods"]
    assert (method["works"], method["network"], method["caa"]) == ("no", "yes", "no")
    screen = ask(ca, certbot, "--method", "dns-01", "preflight", DENIED).output
    assert "dns-01: no" in screen
    assert "Add a CAA record" in screen

    failed = certbot.dns01(DENIED)
    assert failed.code != 0
    after = told(ask(ca, certbot, "--json", "explain"))
    (attempt,) = after["attempts"]
    assert attempt["problem"]["type"].endswith(":caa")
    seen = attempt["perspectives"][0]
    assert (seen["control"]["result"], seen["caa"]["foundAt"]) == ("pass", DENIED)
    assert seen["caa"]["records"][0]["says"] == "issue names nobody, not ca.example"
    screen = ask(ca, certbot, "explain").output
    assert 'CAA 0 issue ";": issue names nobody, not ca.example' in screen
    assert "-> Add a CAA record" in screen


@pytest.mark.clause("RFC 8657 section 4")
def test_preflight_tells_by_which_method_it_goes_and_it_does(ca: RunningCa, certbot: Certbot) -> None:
    answer = told(ask(ca, certbot, "--json", "preflight", OURS))
    works = {each["method"]: each["works"] for each in answer["identifiers"][0]["methods"]}
    assert (works["http-01"], works["dns-01"]) == ("no", "yes")
    assert certbot.dns01(OURS).code == 0


def test_limits_are_shown_to_a_person(ca: RunningCa, certbot: Certbot) -> None:
    screen = ask(ca, certbot, "limits", "www.example.com")
    assert screen.code == 0, screen.output
    assert "new-order-account: " in screen.output


def test_who_asks_for_another_accounts_authorization_is_refused(
    ca: RunningCa, certbot: Certbot, world: World, tmp_path: Path
) -> None:
    assert certbot.dns01(DENIED).code != 0
    url = told(ask(ca, certbot, "--json", "explain"))["authorization"]
    stranger = Certbot(ca, tmp_path / "stranger")
    stranger.run(["register", "--agree-tos", "--email", "other@example.com", "--no-eff-email"])
    refused = ask(ca, stranger, "explain", url)
    assert refused.code != 0
    assert "another account" in refused.output
