"""Whatever a log answers, it is a verified SCT or a ValueError."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.ct import log_list, sct
from signer.ct.verification import Answer, verified
from tests.support import ct_log
from tests.support.ct_log import CtLog
from tests.support.software_ca import NOW

pytestmark = pytest.mark.clause("RFC 6962 section 4.1")

LOGS = [CtLog("Acorn", "Acorn"), CtLog("Birch", "Birch", rsa=True), CtLog("Cedar", "Cedar", tiled=True)]
ENTRY = sct.precert_entry(bytes(32), b"\x30\x00")
for each in LOGS:
    each.url, each.now = "https://log.example.com", lambda: NOW
LISTED = log_list.parse(ct_log.log_list(LOGS, NOW)).logs


def answer(log: CtLog, **changes: object) -> Answer:
    good = log._answer(1, ENTRY)
    return msgspec.convert(good | changes, Answer)


@pytest.mark.parametrize("log", range(3))
def test_a_good_answer_is_an_sct(log: int) -> None:
    octets = verified(answer(LOGS[log]), LISTED[log], 1, ENTRY, since=NOW, now=NOW)
    found = sct.decode(octets)
    assert (found.log_id, found.timestamp) == (LOGS[log].id, NOW * 1000 + 7)
    assert verified(answer(LOGS[log]), LISTED[log], 1, ENTRY, since=NOW + 5, now=NOW - 4) == octets


@pytest.mark.parametrize("log", range(3))
@given(data=st.data())
def test_no_field_can_be_changed(log: int, data: st.DataObject) -> None:
    good = answer(LOGS[log])
    name = data.draw(st.sampled_from(["id", "extensions", "signature", "timestamp", "sct_version"]))
    value = getattr(good, name)
    if isinstance(value, int):
        other: object = data.draw(st.integers(-(1 << 70), 1 << 70).filter(lambda it: it != value))
    else:
        octets = data.draw(st.binary(max_size=400)).ljust(1)
        other = data.draw(
            st.sampled_from([base64.b64encode(octets).decode(), octets.decode("latin-1"), "", value[:-4]])
        )
        if other == value:
            return
    wrong = Answer(**{**msgspec.structs.asdict(good), name: other})
    with pytest.raises(ValueError):
        verified(wrong, LISTED[log], 1, ENTRY, since=NOW, now=NOW)


@pytest.mark.parametrize(("since", "now"), [(NOW + 6, NOW), (NOW, NOW - 5)])
def test_the_timestamp_lies_between_the_precertificate_and_now(since: int, now: int) -> None:
    with pytest.raises(ValueError, match="timestamp"):
        verified(answer(LOGS[0]), LISTED[0], 1, ENTRY, since=since, now=now)


def test_an_sct_is_of_one_entry_and_one_kind_of_entry() -> None:
    for kind, entry in ((0, ENTRY), (1, ENTRY + b"\x00"), (1, sct.precert_entry(b"\x01" * 32, b"\x30\x00"))):
        with pytest.raises(ValueError, match="signature"):
            verified(answer(LOGS[0]), LISTED[0], kind, entry, since=NOW, now=NOW)
