"""The fan-out over real sockets, to perspectives that answer, lie, fall silent or are away."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import ClockSteppedBack, FakeClock
from core.data_directory import DataDirectory
from core.errors import HaltIssuance, Refused, TransientError
from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, Statement
from core.outcome import Absence, Outcome
from core.randomness import SystemRandomness
from core.rpc import RpcServer
from core.settings import Perspective, Settings, Validation
from validation.api import CHECK, CheckRequest, Looked
from validation.mpic import client
from validation.mpic.client import Perspectives

KEY = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
NOW = 1_800_000_000
PASS, FAIL, UNKNOWN = Result.PASS, Result.FAIL, Result.INDETERMINATE
Answer = Callable[[Statement], Statement | None]

pytestmark = pytest.mark.timeout(30)


class Fleet:
    """Perspectives by code; each alters the honest statement, or None for silence.  Not listed: away."""

    def __init__(
        self, data: DataDirectory, answers: dict[str, Answer], codes: tuple[str, ...], deadline: float
    ) -> None:
        self._data = data
        self._answers = answers
        self.clock = FakeClock(NOW)
        self.requests: list[CheckRequest] = []
        perspectives = tuple(Perspective(code) for code in codes)
        self.client = Perspectives(
            data,
            Settings(validation=Validation(perspectives=perspectives)),
            self.clock,
            SystemRandomness(),
            deadline=deadline,
        )

    async def check(self) -> Outcome:
        return await self.client.check("a.example", "https://ca/a/1", "dns-01", "token", "thumbprint")

    async def start(self, stack: AsyncExitStack) -> None:
        self._data.run.mkdir(exist_ok=True)
        stack.push_async_callback(self.client.close)
        for code, answer in self._answers.items():
            server = RpcServer()
            server.add(CHECK, self._handler(code, answer))
            await server.listen(self._data.perspective_socket(code))
            stack.push_async_callback(server.close)

    def _handler(self, code: str, answer: Answer):
        async def handle(request: CheckRequest) -> Looked:
            self.requests.append(request)
            control = (
                ControlSeen(request.method, request.name, PASS, thumbprint=request.thumbprint)
                if request.method
                else None
            )
            caa = CaaSeen(PASS, method=request.method or request.caa_method)
            honest = Statement(code, request.name, request.account_url, request.attempt, NOW, control, caa)
            altered = answer(honest)
            if altered is None:
                await asyncio.get_running_loop().create_future()
            assert altered is not None
            return Looked(KEY.sign(altered))

        return handle


def honest(statement: Statement) -> Statement:
    return statement


def silent(statement: Statement) -> None:
    return None


def failing(statement: Statement) -> Statement:
    return dataclasses.replace(
        statement, control=ControlSeen("dns-01", "a.example", FAIL, "dns", "no answer")
    )


def unsure(statement: Statement) -> Statement:
    undecided = ControlSeen("dns-01", "a.example", UNKNOWN, "serverInternal", "the resolver is away")
    caa = CaaSeen(UNKNOWN, problem="serverInternal", detail="the resolver is away")
    return dataclasses.replace(statement, control=undecided, caa=caa)


def broken(statement: Statement) -> Statement:
    raise RuntimeError("a bug")


def refusing(statement: Statement) -> Statement:
    raise Refused("validation.method", "not here")


def lying(**change: object) -> Answer:
    return lambda statement: dataclasses.replace(statement, **change)  # type: ignore[arg-type]


@asynccontextmanager
async def fleet(
    path: Path, codes: tuple[str, ...] = ("local",), deadline: float = 15, **answers: Answer
) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        made = Fleet(DataDirectory(path), answers, codes, deadline)
        await made.start(stack)
        yield made


async def test_the_statement_of_the_one_perspective_comes_back_with_the_outcome(tmp_path: Path) -> None:
    async with fleet(tmp_path, local=honest) as made:
        outcome = await made.check()
    assert outcome.result == PASS
    assert [signed.statement().perspective for signed in outcome.statements] == ["local"]


@pytest.mark.row("mpic.no-sharing", "attacks.retry-shopping", "methods.common")
@pytest.mark.clause("BR 3.2.2.9")
async def test_all_perspectives_get_the_same_request_and_every_fan_out_an_attempt_of_its_own(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, ("one", "two"), one=honest, two=honest) as made:
        await made.check()
        await made.check()
    first, second = made.requests[:2], made.requests[2:]
    assert first[0] == first[1]
    assert second[0] == second[1]
    assert first[0].attempt != second[0].attempt
    assert len(first[0].attempt) >= 22


async def test_a_recheck_asks_for_caa_alone_with_the_earlier_method(tmp_path: Path) -> None:
    async with fleet(tmp_path, local=honest) as made:
        outcome = await made.client.recheck_caa("a.example", "https://ca/a/1", "http-01")
    assert outcome.result == PASS
    assert (made.requests[0].method, made.requests[0].caa_method, made.requests[0].token) == (
        "",
        "http-01",
        "",
    )
    assert outcome.statements[0].statement().control is None


@pytest.mark.row("errors.server-internal")
@pytest.mark.parametrize("answer", [silent, broken, refusing])
async def test_a_perspective_without_a_verdict_is_indeterminate_and_never_a_failure(
    tmp_path: Path, answer: Answer
) -> None:
    async with fleet(tmp_path, deadline=0.3, local=answer) as made:
        outcome = await made.check()
    assert (outcome.result, outcome.problem, outcome.statements) == (UNKNOWN, "serverInternal", ())


@pytest.mark.row("errors.server-internal")
async def test_a_fault_of_ours_on_the_way_to_a_perspective_is_no_verdict(tmp_path: Path) -> None:
    class Broken:
        async def check(self, request: CheckRequest) -> Looked:
            raise RuntimeError("a bug")

        async def close(self) -> None:
            pass

    async with fleet(tmp_path, local=honest) as made:
        made.client.channels["local"] = Broken()
        outcome = await made.check()
    assert (outcome.result, outcome.views[0].absence) == (UNKNOWN, Absence.TRANSPORT)


async def test_a_perspective_that_is_away_is_indeterminate_and_found_again(tmp_path: Path) -> None:
    async with fleet(tmp_path) as made:
        assert (await made.check()).result == UNKNOWN
        made._answers = {"local": honest}
        async with AsyncExitStack() as stack:
            await made.start(stack)
            assert (await made.check()).result == PASS


@pytest.mark.row("attacks.rogue-perspective")
@pytest.mark.parametrize(
    "change",
    [
        {"perspective": "other"},
        {"name": "b.example"},
        {"account_url": "https://ca/a/2"},
        {"attempt": "an older attempt"},
        {"control": None},
        {"control": ControlSeen("http-01", "a.example", PASS)},
        {"caa": None},
        {"control": ControlSeen("dns-01", "a.example", PASS, thumbprint="another key's")},
        {"control": ControlSeen("dns-01", "example", PASS, thumbprint="thumbprint")},
        {"checked_at": NOW - 61},
        {"checked_at": NOW + 61},
        {"caa": CaaSeen(PASS, method="http-01")},
        {"caa": CaaSeen(PASS, method="dns-01", found_at="a.example")},
        {"caa": CaaSeen(PASS, ('0 issue "ca.example"',), method="dns-01")},
        {"caa": CaaSeen(PASS, ('0 issue "ca.example"',), "b.example", method="dns-01")},
        {"caa": CaaSeen(PASS, exempt="local name", method="dns-01")},
        {"caa": CaaSeen(PASS, exempt="because", method="dns-01")},
    ],
)
@pytest.mark.row("attacks.rogue-perspective")
async def test_a_statement_about_something_else_counts_for_nothing(
    tmp_path: Path, change: dict[str, object]
) -> None:
    async with fleet(tmp_path, local=lying(**change)) as made:
        outcome = await made.check()
    assert (outcome.result, outcome.statements) == (UNKNOWN, ())
    assert outcome.views[0].absence is Absence.CONTRADICTION
    assert len(outcome.set_aside) == 1


@pytest.mark.row("attacks.log-injection")
@pytest.mark.row("attacks.rogue-perspective")
async def test_the_words_of_a_perspective_that_was_taken_over_are_escaped_and_capped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evil = "\x1b[2J\n" + "x" * 9000
    control = ControlSeen("dns-01", "a.example", FAIL, evil, evil)
    async with fleet(tmp_path, local=lying(control=control)) as made:
        outcome = await made.check()
    assert outcome.result == FAIL
    assert outcome.detail.isprintable()
    assert (len(outcome.detail), len(outcome.problem)) == (400, 40)
    shown = ControlSeen("dns-01", evil, PASS, thumbprint="thumbprint")
    async with fleet(tmp_path, local=lying(control=shown)) as made:
        outcome = await made.check()
    assert outcome.views[0].detail.isprintable()
    assert len(outcome.views[0].detail) <= 400
    assert "\x1b" not in caplog.text


@pytest.mark.row("attacks.rogue-perspective")
async def test_a_statement_that_is_too_large_is_not_even_kept(tmp_path: Path) -> None:
    control = ControlSeen("dns-01", "a.example", FAIL, "dns", "no", trace=("x" * 1000,) * 70)
    async with fleet(tmp_path, local=lying(control=control)) as made:
        outcome = await made.check()
    assert (outcome.result, outcome.views[0].absence) == (UNKNOWN, Absence.CONTRADICTION)
    assert (outcome.statements, outcome.set_aside) == ((), ())


@pytest.mark.clause("RFC 8657 section 4")
@pytest.mark.must("rfc8657.5.3.consistent")
@pytest.mark.row("mpic.reevaluation", "attacks.rogue-perspective")
@pytest.mark.parametrize(
    "record",
    [
        '0 issue ";"',
        '0 issue "other.example"',
        '0 issue "ca.example; accounturi=https://ca/a/2"',
        '0 issue "ca.example; validationmethods=http-01"',
        '128 unheard "of"',
        "0 issue ca.example",
        '0 issue "ca.exam...',
    ],
)
async def test_a_pass_that_its_own_caa_records_do_not_bear_corroborates_nothing_and_is_told_loudly(
    tmp_path: Path, record: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = CaaSeen(PASS, (record,), "a.example", method="dns-01")
    async with fleet(tmp_path, ("one", "two"), one=honest, two=lying(caa=seen)) as made:
        outcome = await made.check()
    assert (outcome.result, outcome.caa_quorum, outcome.control_quorum) == (UNKNOWN, "0/1", "0/1")
    assert [signed.statement().perspective for signed in outcome.statements] == ["one"]
    assert [signed.statement().perspective for signed in outcome.set_aside] == ["two"]
    assert "perspective two IS NOT TO BE BELIEVED" in caplog.text


@pytest.mark.must("rfc8657.5.3.consistent")
@pytest.mark.row("mpic.reevaluation")
async def test_records_that_permit_are_judged_so_by_both(tmp_path: Path) -> None:
    records = ('0 issue "ca.example; accounturi=https://ca/a/1; validationmethods=dns-01,http-01"',)
    seen = CaaSeen(PASS, records, "example", method="dns-01")
    async with fleet(tmp_path, local=lying(caa=seen)) as made:
        assert (await made.check()).result == PASS


@pytest.mark.row("mpic.reevaluation")
async def test_a_wildcard_is_judged_anew_by_issuewild(tmp_path: Path) -> None:
    for value, result in (("ca.example", PASS), (";", UNKNOWN)):
        records = ('0 issue ";"', f'0 issuewild "{value}"')
        seen = CaaSeen(PASS, records, "a.example", method="dns-01")
        control = ControlSeen("dns-01", "a.example", PASS, thumbprint="thumbprint")
        async with fleet(tmp_path, local=lying(caa=seen, control=control)) as made:
            checked = await made.client.check(
                "*.a.example", "https://ca/a/1", "dns-01", "token", "thumbprint"
            )
        assert checked.result == result


@pytest.mark.row("limits.mpic")
def test_all_have_fifteen_seconds_and_stragglers_two() -> None:
    assert (client.DEADLINE_SECONDS, client.STRAGGLER_SECONDS) == (15, 2)


@pytest.mark.row("limits.concurrency")
async def test_a_check_that_finds_no_room_asks_nobody_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "COORDINATOR_PATIENCE", 0.05)
    async with fleet(tmp_path, local=silent) as made:
        running = [asyncio.create_task(made.check()) for _ in range(3)]
        async with asyncio.timeout(10):
            while len(made.requests) < 3:
                await asyncio.sleep(0.01)
        with pytest.raises(TransientError, match="busy"):
            await made.check()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert len(made.requests) == 3


@pytest.mark.clause("BR 5.4.1")
@pytest.mark.row("mpic.coordinator")
async def test_stragglers_get_a_moment_and_are_named_as_not_corroborating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client, "STRAGGLER_SECONDS", 0.2)
    ended: list[str] = []

    class Slow:
        def __init__(self, code: str) -> None:
            self._code = code

        async def check(self, request: CheckRequest) -> Looked:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append(self._code)
            raise AssertionError

        async def close(self) -> None:
            pass

    async with fleet(tmp_path, ("one", "two", "three"), one=honest, two=failing) as made:
        made.client.channels["three"] = Slow("three")
        outcome = await made.check()
    assert (outcome.result, ended) == (FAIL, ["three"])
    assert [view.result for view in outcome.views] == ["pass", "fail", "silent"]
    assert (outcome.control_quorum, outcome.caa_quorum) == ("0/2", "1/2")
    assert "perspective three does not corroborate (silent)" in caplog.text


@pytest.mark.clause("BR 5.4.1")
async def test_the_outcome_has_a_line_for_every_perspective_with_the_reason_where_there_is_none(
    tmp_path: Path,
) -> None:
    codes = ("one", "two", "three", "four", "five")
    async with fleet(tmp_path, codes, 0.5, one=honest, two=failing, three=refusing, four=silent) as made:
        outcome = await made.check()
    assert [(view.perspective, view.result) for view in outcome.views] == [
        ("one", "pass"),
        ("two", "fail"),
        ("three", "refused"),
        ("four", "silent"),
        ("five", "transport"),
    ]
    assert (outcome.control_quorum, outcome.caa_quorum) == ("0/4", "1/4")
    assert outcome.attempt == made.requests[0].attempt
    assert outcome.at == NOW
    assert outcome.views[1].control is not None
    assert (outcome.views[1].control.problem, outcome.views[1].control.detail) == ("dns", "no answer")


@pytest.mark.row("methods.common", "attacks.amplification")
@pytest.mark.parametrize(
    ("primary", "result", "detail"),
    [
        (failing, FAIL, "no answer"),
        (unsure, UNKNOWN, "the resolver is away"),
        (refusing, UNKNOWN, "a perspective gave no answer; try again"),
    ],
)
async def test_what_the_primary_does_not_pass_no_other_is_asked_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, primary: Answer, result: Result, detail: str
) -> None:
    async with fleet(tmp_path, ("one", "two", "three"), one=primary, two=honest, three=honest) as made:
        outcome = await made.check()
    assert (outcome.result, outcome.detail) == (result, detail)
    assert len(made.requests) == 1
    assert [view.absence for view in outcome.views[1:]] == [Absence.NOT_ASKED] * 2
    assert (outcome.control_quorum, outcome.caa_quorum) == ("", "")
    assert "two" not in caplog.text


@pytest.mark.row("errors.secondary", "attacks.bgp-primary")
async def test_a_remotes_failure_is_a_failure_during_secondary_validation(tmp_path: Path) -> None:
    async with fleet(tmp_path, ("one", "two"), one=honest, two=failing) as made:
        outcome = await made.check()
    assert (outcome.result, outcome.detail) == (FAIL, "During secondary validation: no answer")
    assert len(outcome.statements) == 2


async def test_a_remote_away_is_indeterminate_under_private_rules_too(tmp_path: Path) -> None:
    async with fleet(tmp_path, ("one", "two"), one=honest) as made:
        assert (await made.check()).result == UNKNOWN


async def test_a_clock_that_stepped_back_at_a_perspective_halts(tmp_path: Path) -> None:
    def stepped(statement: Statement) -> Statement:
        raise ClockSteppedBack("the clock went back by 60 s")

    async with fleet(tmp_path, ("one", "two"), one=stepped, two=silent) as made:
        with pytest.raises(HaltIssuance, match="went back"):
            await made.check()


async def test_a_remotes_clock_that_stepped_back_is_one_voice_less(tmp_path: Path) -> None:
    def stepped(statement: Statement) -> Statement:
        raise ClockSteppedBack("the clock went back by 60 s")

    async with fleet(tmp_path, ("one", "two"), one=honest, two=stepped) as made:
        outcome = await made.check()
    assert (outcome.result, outcome.views[1].absence) == (UNKNOWN, Absence.HALTED)


async def test_a_clock_that_steps_back_at_the_coordinator_meanwhile_halts(tmp_path: Path) -> None:
    async with fleet(tmp_path) as made:

        def stepping(statement: Statement) -> Statement:
            made.clock.at -= 60
            return statement

        made._answers = {"local": stepping}
        async with AsyncExitStack() as stack:
            await made.start(stack)
            with pytest.raises(HaltIssuance, match="went back"):
                await made.check()
