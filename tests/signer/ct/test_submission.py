"""Logs that fail in every way: the policy is met, or nothing is given out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from core.clock import FakeClock
from core.errors import TransientError
from core.randomness import SystemRandomness
from core.requirements import DAY
from core.settings import Rules
from signer.ct import sct
from signer.ct.log_list import LogLists
from signer.ct.submission import UNTRUE_DELAY, Logs
from signer.vault.templates import leaf, precertificates
from tests.support.ct_log import ADD_FAULTS, RETRY_AFTER, CtLog, Fault, three, write_list
from tests.support.software_ca import NOW, leaf_request, profile, sign, software_ca

pytestmark = pytest.mark.clause("Chrome CT policy")

CA = software_ca()
CHAIN = (CA.certificate, CA.root)
HEDGE, PATIENCE = 10, 30
"""No log is late in this time, however busy the machine is."""
SHORT_HEDGE, SHORT_PATIENCE = 0.05, 0.6
"""Of tests in which a log never answers."""


def signed(tbs: bytes) -> bytes:
    return leaf.assemble(tbs, CA.issuer.algorithm.identifier, sign(CA.key, tbs))


def precertificate(**changes: object) -> bytes:
    return signed(leaf.build_tbs(CA.issuer, replace(profile(), ct=True), leaf_request(**changes)))


PRECERTIFICATE = precertificate()
Make = Callable[..., Logs]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
async def logs(clock: FakeClock) -> AsyncIterator[list[CtLog]]:
    found = [*three(), CtLog("Dogwood 2026", "Dogwood", tiled=True)]
    for log in found:
        log.now, log.roots = clock.now, (CA.root,)
        await log.start()
    yield found
    for log in found:
        await log.stop()


@pytest.fixture
async def make(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Make]:
    made: list[Logs] = []

    def one(
        logs: list[CtLog],
        *,
        age: int = 0,
        rules: Rules = Rules.PUBLIC,
        hedge: float = HEDGE,
        patience: float = PATIENCE,
    ) -> Logs:
        settings = write_list(
            tmp_path, logs, clock.at - age, hedge=hedge, patience=patience, request_timeout=patience / 2
        )
        made.append(Logs(LogLists(settings, clock), settings, rules, clock, SystemRandomness()))
        return made[-1]

    yield one
    for each in made:
        await each.close()


def operators(scts: tuple[bytes, ...], logs: list[CtLog]) -> set[str]:
    by_id = {log.id: log.operator for log in logs}
    return {by_id[sct.decode(each).log_id] for each in scts}


async def test_three_scts_of_three_operators_one_of_them_of_a_classic_log(
    make: Make, logs: list[CtLog]
) -> None:
    ours = make(logs)
    for _ in range(5):
        scts = await ours.collect(PRECERTIFICATE, CHAIN, NOW)
        assert len(scts) == len(operators(scts, logs)) == 3
        assert {sct.decode(each).log_id for each in scts} & {log.id for log in logs if not log.tiled}
    assert sum(len(log.asked) for log in logs) == 15


async def test_the_final_certificate_holds_what_the_logs_signed(make: Make, logs: list[CtLog]) -> None:
    scts = await make(logs).collect(PRECERTIFICATE, CHAIN, NOW)
    tbs = precertificates.final_tbs(PRECERTIFICATE, scts)
    found = x509.load_der_x509_certificate(signed(tbs)).extensions.get_extension_for_class(
        x509.PrecertificateSignedCertificateTimestamps
    )
    by_id = {log.id: log for log in logs}
    for each in found.value:
        assert each.version is x509.certificate_transparency.Version.v1
        assert each.entry_type is x509.certificate_transparency.LogEntryType.PRE_CERTIFICATE
        # A leaf index is in the extensions of tiled logs, octet for octet as it came.
        assert bool(each.extension_bytes) is by_id[each.log_id].tiled


@pytest.mark.parametrize("fault", ADD_FAULTS)
async def test_one_log_with_a_fault_harms_nobody(make: Make, logs: list[CtLog], fault: Fault) -> None:
    logs[0].fault = fault
    scts = await make(logs, hedge=SHORT_HEDGE).collect(PRECERTIFICATE, CHAIN, NOW)
    assert logs[0].operator not in operators(scts, logs)
    assert len(operators(scts, logs)) >= 2


@pytest.mark.parametrize("fault", ADD_FAULTS)
async def test_with_one_good_log_left_nothing_is_given_out(
    make: Make, logs: list[CtLog], fault: Fault
) -> None:
    for log in logs[1:]:
        log.fault = fault
    with pytest.raises(TransientError, match="too few"):
        await make(logs, hedge=SHORT_HEDGE, patience=SHORT_PATIENCE).collect(PRECERTIFICATE, CHAIN, NOW)


async def test_a_tiled_log_owes_its_index(make: Make, logs: list[CtLog]) -> None:
    for log in logs:
        log.fault = Fault.NO_LEAF_INDEX
    scts = await make(logs).collect(PRECERTIFICATE, CHAIN, NOW)
    assert operators(scts, logs) == {log.operator for log in logs if not log.tiled}


async def test_two_of_one_operator_count_once(make: Make, logs: list[CtLog]) -> None:
    for log in logs:
        log.operator = "one for all"
    with pytest.raises(TransientError, match="too few usable logs"):
        await make(logs).collect(PRECERTIFICATE, CHAIN, NOW)
    assert all(log.asked == [] for log in logs)


async def test_above_180_days_three_scts_are_needed(make: Make, logs: list[CtLog], clock: FakeClock) -> None:
    long = precertificate(not_after=NOW + 181 * DAY)
    for log in logs[2:]:
        log.fault = Fault.GARBAGE
    with pytest.raises(TransientError, match="too few"):
        await make(logs).collect(long, CHAIN, NOW)
    logs[2].fault = None
    clock.at += 10
    assert len(await make(logs).collect(long, CHAIN, NOW)) == 3


@pytest.mark.clause("requirements.md 2.90")
@pytest.mark.parametrize("state", ["pending", "qualified", "readonly", "retired", "rejected"])
async def test_only_usable_logs_are_asked(make: Make, logs: list[CtLog], state: str) -> None:
    logs[0].state = state
    await make(logs).collect(PRECERTIFICATE, CHAIN, NOW)
    assert logs[0].asked == []


async def test_a_log_that_will_be_usable_tomorrow_is_not_asked_today(make: Make, logs: list[CtLog]) -> None:
    logs[0].since = NOW + DAY
    await make(logs).collect(PRECERTIFICATE, CHAIN, NOW)
    assert logs[0].asked == []


async def test_the_shard_of_notafter_is_asked_to_the_second(make: Make, logs: list[CtLog]) -> None:
    not_after = NOW + 90 * DAY - 1
    logs[0].interval = (not_after - DAY, not_after)
    logs[1].interval = (not_after, not_after + 1)
    logs[2].interval = (not_after + 1, not_after + DAY)
    scts = await make(logs).collect(PRECERTIFICATE, CHAIN, NOW)
    assert operators(scts, logs) == {"Birch", "Dogwood"}
    assert logs[0].asked == logs[2].asked == []


async def test_a_shard_that_refuses_is_left_alone_for_a_while(make: Make, logs: list[CtLog]) -> None:
    ours = make(logs)
    logs[0].interval = (NOW, NOW + DAY)  # the list says otherwise
    scts = await ours.collect(PRECERTIFICATE, CHAIN, NOW)
    assert logs[0].operator not in operators(scts, logs)


async def test_a_busy_log_gets_the_rest_that_it_asks_for(
    make: Make, logs: list[CtLog], clock: FakeClock
) -> None:
    ours = make(logs[:3])
    logs[1].fault = logs[2].fault = Fault.BUSY
    with pytest.raises(TransientError):
        await ours.collect(PRECERTIFICATE, CHAIN, NOW)
    logs[1].fault = logs[2].fault = None
    clock.at += RETRY_AFTER - 1
    with pytest.raises(TransientError, match="left alone"):
        await ours.collect(PRECERTIFICATE, CHAIN, NOW)
    with pytest.raises(TransientError, match="left alone"):
        ours.must_be_possible(NOW, NOW + 90 * DAY - 1)
    assert [len(log.asked) for log in logs[1:3]] == [1, 1]
    clock.at += 1
    ours.must_be_possible(NOW, NOW + 90 * DAY - 1)
    assert len(await ours.collect(PRECERTIFICATE, CHAIN, NOW)) == 3


async def test_a_log_that_lies_is_left_alone_for_long(
    make: Make, logs: list[CtLog], clock: FakeClock
) -> None:
    ours = make(logs)
    logs[0].fault = Fault.WRONG_SIGNATURE
    while not logs[0].asked:
        await ours.collect(PRECERTIFICATE, CHAIN, NOW)
    logs[0].fault = None
    clock.at += UNTRUE_DELAY - 1
    for _ in range(5):
        await ours.collect(PRECERTIFICATE, CHAIN, NOW)
    assert len(logs[0].asked) == 1


async def test_a_slow_log_costs_a_hedge_once_and_then_comes_last(make: Make, logs: list[CtLog]) -> None:
    # The clock of this test stands still, so the log is never judged slow: it is raced each time and loses.
    ours = make(logs, hedge=SHORT_HEDGE)
    logs[0].fault = logs[1].fault = Fault.SLOW
    scts = await asyncio.wait_for(ours.collect(PRECERTIFICATE, CHAIN, NOW), PATIENCE / 3)  # no request's time
    assert operators(scts, logs) == {"Cedar", "Dogwood"}


@pytest.mark.clause("requirements.md 2.90")
@pytest.mark.parametrize(
    ("rules", "age", "issues"),
    [
        (Rules.PUBLIC, 70 * DAY, True),
        (Rules.PUBLIC, 70 * DAY + 1, False),
        (Rules.PRIVATE, 300 * DAY, True),
    ],
)
async def test_an_old_list_stops_a_public_ca(
    make: Make, logs: list[CtLog], rules: Rules, age: int, issues: bool
) -> None:
    ours = make(logs, age=age, rules=rules)
    if issues:
        ours.must_be_possible(NOW, NOW + 90 * DAY - 1)
        return
    with pytest.raises(TransientError, match="days old"):
        ours.must_be_possible(NOW, NOW + 90 * DAY - 1)
    with pytest.raises(TransientError, match="days old"):
        await ours.collect(PRECERTIFICATE, CHAIN, NOW)
    assert all(log.asked == [] for log in logs)


async def test_half_of_its_life_is_warned_of(
    make: Make, logs: list[CtLog], caplog: pytest.LogCaptureFixture
) -> None:
    make(logs, age=35 * DAY).must_be_possible(NOW, NOW + 90 * DAY - 1)
    assert "days old" not in caplog.text
    ours = make(logs, age=35 * DAY + 1)
    ours.must_be_possible(NOW, NOW + 90 * DAY - 1)
    ours.must_be_possible(NOW, NOW + 90 * DAY - 1)
    assert caplog.text.count("the log list is 35 days old") == 1


@pytest.mark.clause("requirements.md 2.91")
async def test_a_final_certificate_goes_to_one_log(make: Make, logs: list[CtLog]) -> None:
    ours = make(logs)
    scts = await ours.collect(PRECERTIFICATE, CHAIN, NOW)
    final = signed(precertificates.final_tbs(PRECERTIFICATE, scts))
    name = await ours.log_certificate(final, CHAIN, NOW)
    (taken,) = [log for log in logs if "add-chain" in log.asked]
    assert taken.name == name
    with pytest.raises(TransientError):
        await ours.log_certificate(PRECERTIFICATE, CHAIN, NOW)


async def test_the_environment_names_no_proxy_for_logs(
    make: Make, logs: list[CtLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert len(await make(logs).collect(PRECERTIFICATE, CHAIN, NOW)) == 3


async def test_trouble_is_told_in_words(make: Make, logs: list[CtLog]) -> None:
    ours = make(logs)
    assert ours.trouble() == ""
    for log in logs[1:]:
        log.fault = Fault.BUSY
    with pytest.raises(TransientError):
        await ours.collect(PRECERTIFICATE, CHAIN, NOW)
    assert "too few logs are well: 3 failed" in ours.trouble()
