"""An incident in a whole CA: its command line moves windows, and a killed app forgets nothing."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from bench.client import ChallengeServer, open_session
from tests.support.acme_client import cert_id, csr, ec_key
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.subscriber import Subscriber

NAME = "renewed.incident.example.com"


@pytest.mark.clause("RFC 9773 section 4.2")
@pytest.mark.clause("RFC 9773 section 5")
async def test_an_incident_moves_the_window_survives_a_kill_and_sees_the_renewal(ca: RunningCa) -> None:
    http01 = ChallengeServer()
    await http01.start("127.0.0.1", ca.http_port)
    session = open_session(str(ca.trust_anchor), 8)
    try:
        subscriber = await Subscriber.register(session, ca.directory_url, http01)
        leaf = await _certified(subscriber, await subscriber.order(NAME))
        named = cert_id(leaf)
        usual = _info(ca, named)
        assert _at(usual["start"]) > leaf.not_valid_before_utc + timedelta(days=50)

        until = datetime.now(UTC) + timedelta(hours=9)
        words = ("open", "--title", "a rehearsal", "--renew-by", until.isoformat())
        opened = _incident(ca, *words, f"{leaf.serial_number:x}")
        assert (opened["added"], opened["already"]) == (1, 0)
        moved = _info(ca, named)
        assert _at(moved["start"]) < _at(moved["end"]) <= until
        ca.kill9("app")
        ca.wait_until_it_answers()
        assert _info(ca, named) == moved
        assert _incident(ca, "show", opened["incident"])["left"] == 1

        url = await subscriber.order(NAME, replaces=named)
        assert await subscriber.order(NAME, replaces=named) == url
        heir = await _certified(subscriber, url)
        assert heir.serial_number != leaf.serial_number
        shown = _incident(ca, "show", opened["incident"])
        assert (shown["replaced"], shown["left"], shown["total"]) == (1, 0, 1)
        _incident(ca, "close", opened["incident"])
        assert _info(ca, named) == usual
    finally:
        await session.close()
        await http01.stop()


async def _certified(subscriber: Subscriber, url: str) -> x509.Certificate:
    ended = await subscriber.finish(url, csr(ec_key(), [NAME]))
    assert ended.status == "valid", ended.order
    return x509.load_pem_x509_certificates(ended.chain)[0]


def _info(ca: RunningCa, named: str) -> dict[str, str]:
    answer = json.loads(ca.get(f"{ca.base_url}/acme/renewal-info/{named}"))
    found: dict[str, str] = answer["suggestedWindow"]
    return found


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _incident(ca: RunningCa, *words: str) -> Any:
    done = subprocess.run(
        ca.command("incident", *words, "--json"), capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
