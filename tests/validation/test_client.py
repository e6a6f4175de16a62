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
from core.errors import HaltIssuance, Refused
from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, SignedStatement, Statement
from core.randomness import SystemRandomness
from core.rpc import RpcServer
from core.settings import Perspective, Settings, Validation
from validation import client
from validation.api import CHECK, CheckRequest
from validation.client import Perspectives
from validation.mpic import Outcome

KEY = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
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
        self.requests: list[CheckRequest] = []
        perspectives = tuple(Perspective(code) for code in codes)
        self.client = Perspectives(
            data,
            Settings(validation=Validation(perspectives=perspectives)),
            FakeClock(1_800_000_000),
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
        async def handle(request: CheckRequest) -> SignedStatement:
            self.requests.append(request)
            control = ControlSeen(request.method, request.name, PASS) if request.method else None
            honest = Statement(
                code, request.name, request.account_url, request.attempt, 1, control, CaaSeen(PASS)
            )
            altered = answer(honest)
            if altered is None:
                await asyncio.get_running_loop().create_future()
            assert altered is not None
            return KEY.sign(altered)

        return handle


def honest(statement: Statement) -> Statement:
    return statement


def silent(statement: Statement) -> None:
    return None


def failing(statement: Statement) -> Statement:
    return dataclasses.replace(
        statement, control=ControlSeen("dns-01", "a.example", FAIL, "dns", "no answer")
    )


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


@pytest.mark.row("mpic.no-sharing")
@pytest.mark.row("methods.common")
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
    ],
)
async def test_a_statement_about_something_else_counts_for_nothing(
    tmp_path: Path, change: dict[str, object]
) -> None:
    async with fleet(tmp_path, local=lying(**change)) as made:
        outcome = await made.check()
    assert (outcome.result, outcome.statements) == (UNKNOWN, ())


async def test_the_primarys_failure_is_told_without_waiting_for_silent_remotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "STRAGGLER_SECONDS", 0.05)
    async with fleet(tmp_path, ("one", "two"), one=failing, two=silent) as made:
        outcome = await made.check()
    assert (outcome.result, outcome.problem, outcome.detail) == (FAIL, "dns", "no answer")


@pytest.mark.row("errors.secondary")
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
