"""The log list: believed when it is signed, whole and not older than the one before."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core import der
from core.clock import FakeClock
from core.errors import ConfigurationError, TransientError
from core.requirements import DAY
from core.settings import Ct
from signer.ct import log_list
from signer.ct.log_list import LOOK_EVERY, LogLists, LogState
from tests.support import ct_log
from tests.support.ct_log import CtLog, write_list
from tests.support.software_ca import NOW

FUTURE = der.sequence(der.sequence(der.oid("1.3.6.1.4.1.99999.1")), der.bit_string(b"key"))
"""A key of a kind that nobody knows yet: it must not take revocation away from a CA that starts."""

FUTURE_ID = base64.b64encode(hashlib.sha256(FUTURE).digest()).decode()

pytestmark = pytest.mark.clause("requirements.md 2.90")


def logs() -> list[CtLog]:
    """Three that say where they listen, but do not."""
    found = ct_log.three()
    for number, log in enumerate(found):
        log.url = f"https://log{number}.example.com/2026"
    return found


def parsed(change: Any = None) -> tuple[log_list.Log, ...]:
    document = json.loads(ct_log.log_list(logs(), NOW))
    if change is not None:
        change(document["operators"][0]["logs"][0])
    return log_list.parse(json.dumps(document).encode()).logs


def test_a_list_of_both_kinds_of_logs_is_read() -> None:
    shown = logs()
    shown[0].interval = (NOW, NOW + DAY)
    found = log_list.parse(ct_log.log_list(shown, NOW))
    assert found.at == NOW
    assert [(log.operator, log.tiled, log.url) for log in found.logs] == [
        ("Acorn", False, "https://log0.example.com/2026"),
        ("Birch", False, "https://log1.example.com/2026"),
        ("Cedar", True, "https://log2.example.com/2026"),
    ]
    assert [log.id for log in found.logs] == [log.id for log in shown]
    assert found.logs[0].interval == (NOW, NOW + DAY)
    assert {log.state for log in found.logs} == {LogState.USABLE}


@pytest.mark.parametrize(
    "change",
    [
        {"log_id": "AAAA"},
        {"key": "AAAA"},
        {"key": base64.b64encode(FUTURE).decode(), "log_id": FUTURE_ID},
        {"url": "http://log.example.com/"},
        {"url": "https://user@log.example.com/"},
        {"url": "https://log.example.com/?x"},
        {"url": ""},
        {"log_type": "test"},
        {"state": {}},
        {
            "state": {
                "usable": {"timestamp": "2026-01-01T00:00:00Z"},
                "retired": {"timestamp": "2026-01-01T00:00:00Z"},
            }
        },
        {"state": {"excellent": {"timestamp": "2026-01-01T00:00:00Z"}}},
        {"state": {"usable": {"timestamp": "2026-01-01T00:00:00"}}},
    ],
)
def test_a_log_that_cannot_be_used_is_left_out_alone(change: dict[str, Any]) -> None:
    assert [log.operator for log in parsed(lambda entry: entry.update(change))] == ["Birch", "Cedar"]


@pytest.mark.parametrize(
    "octets",
    [b"", b"[]", b"{}", b'{"x":' + b"[" * 20_000, b'{"log_list_timestamp": "2026", "operators": []}'],
)
def test_what_is_no_list_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError):
        log_list.parse(octets)


def test_one_log_stands_in_a_list_once() -> None:
    one = logs()[0]
    with pytest.raises(ValueError, match="twice"):
        log_list.parse(ct_log.log_list([one, one], NOW))


def test_a_list_without_its_signature_is_refused(tmp_path: Path) -> None:
    settings = write_list(tmp_path, logs(), NOW)
    assert len(log_list.load(settings).logs) == 3
    listed = Path(settings.log_list)
    listed.write_bytes(listed.read_bytes().replace(b"usable", b"retire"))
    with pytest.raises(ConfigurationError, match="not signed"):
        log_list.load(settings)
    listed.unlink()
    with pytest.raises(ConfigurationError, match=r"ct\.log_list"):
        log_list.load(settings)


def test_another_key_is_told_and_an_ecdsa_key_will_do(tmp_path: Path) -> None:
    settings = write_list(tmp_path, logs(), NOW)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    Path(settings.log_list_key).write_bytes(pem)
    with pytest.raises(ConfigurationError, match="not signed"):
        log_list.load(settings)
    signature = key.sign(Path(settings.log_list).read_bytes(), ec.ECDSA(hashes.SHA256()))
    Path(settings.log_list_signature).write_bytes(signature)
    assert len(log_list.load(settings).logs) == 3


def test_a_ca_starts_without_a_list_and_issues_once_it_is_there(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    settings = write_list(tmp_path, logs(), NOW)
    listed = Path(settings.log_list)
    octets = listed.read_bytes()
    listed.unlink()
    lists = LogLists(settings, clock)
    with pytest.raises(TransientError, match=r"no log list.*put the file there"):
        lists.current()
    listed.write_bytes(octets)
    clock.at += LOOK_EVERY
    assert len(lists.current().logs) == 3


def rewrite(settings: Ct, octets: bytes) -> None:
    Path(settings.log_list).write_bytes(octets)
    signature = ct_log.LIST_KEY.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    Path(settings.log_list_signature).write_bytes(signature)


def test_a_new_list_is_taken_up_within_a_minute_and_a_worse_one_never(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    settings = write_list(tmp_path, logs(), NOW)
    lists = LogLists(settings, clock)
    first = lists.current()
    rewrite(settings, ct_log.log_list(logs()[:2], NOW + 1))
    assert lists.current() is first
    clock.at += LOOK_EVERY
    assert len(lists.current().logs) == 2
    for worse in (b"half of a li", ct_log.log_list(logs(), NOW)):
        rewrite(settings, worse)
        clock.at += LOOK_EVERY
        assert len(lists.current().logs) == 2
    Path(settings.log_list).unlink()
    clock.at += LOOK_EVERY
    assert len(lists.current().logs) == 2
    rewrite(settings, ct_log.log_list(logs()[1:], NOW + 2))
    clock.at += LOOK_EVERY
    assert lists.current().at == NOW + 2
