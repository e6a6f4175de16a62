"""validation/mpic/foresight.py: the quorum of a validation, without a word that could count."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from core.clock import FakeClock
from core.errors import HaltIssuance, Refused, TransientError
from core.evidence import CaaSeen, Result
from core.outcome import Absence, Seen
from core.randomness import SystemRandomness
from core.settings import Ca, Perspective, Rules, Settings, Validation
from tests.support.database import NOW
from validation.api import PreflightRequest, Preview, Prospect
from validation.mpic import foresight
from validation.mpic.foresight import Foreseer, Foresight

REGIONS = ("APNIC", "ARIN", "RIPE NCC", "APNIC", "ARIN", "RIPE NCC", "LACNIC")
PASS = Seen(Result.PASS)
ACCOUNT = "https://ca.example/acme/account/1"


class Told:
    """A channel that answers what the test says, and remembers who asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[PreflightRequest] = []

    async def preflight(self, request: PreflightRequest) -> Preview:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.get_running_loop().create_future()
        assert isinstance(self.answer, Preview)
        return self.answer


def preview(
    control: Seen = PASS, caa: CaaSeen | None = None, method: str = "http-01", **more: Any
) -> Preview:
    return Preview("whatever", (Prospect(method, control, **more),), caa or CaaSeen(Result.PASS))


async def looked(
    answers: Mapping[str, Any], *methods: str, rules: Rules = Rules.PUBLIC, deadline: float = 5
) -> tuple[Foresight, dict[str, Told]]:
    places = tuple(Perspective(code, region) for code, region in zip(answers, REGIONS, strict=False))
    settings = Settings(ca=Ca(rules=rules), validation=Validation(perspectives=places))
    channels = {code: Told(answer) for code, answer in answers.items()}
    made = Foreseer(channels, settings, FakeClock(NOW), SystemRandomness(), deadline)  # type: ignore[arg-type]
    return await made.look("www.example.com", ACCOUNT, methods or ("http-01",), ("key",)), channels


FAIL = Seen(Result.FAIL, "connection", "refused")


@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.parametrize(("failing", "result"), [(1, Result.PASS), (2, Result.PASS), (3, Result.FAIL)])
async def test_the_quorum_is_that_of_a_validation(failing: int, result: Result) -> None:
    codes = [f"p{number}" for number in range(7)]
    answers = {code: preview(FAIL if 0 < at <= failing else PASS) for at, code in enumerate(codes)}
    seen, channels = await looked(answers)
    (forecast,) = seen.forecasts
    assert (forecast.control.result, forecast.caa.result) == (result, Result.PASS)
    assert (forecast.control_quorum, forecast.caa_quorum) == (f"{6 - failing}/6", "6/6")
    tokens = {each.asked[0].token for each in channels.values()}
    assert len(tokens) == 1


@pytest.mark.parametrize(
    ("answer", "absence"),
    [
        (TransientError("https://inner:1: down"), Absence.TRANSPORT),
        (Refused("rpc.unknown", "no method 'preflight' here"), Absence.REFUSED),
        (HaltIssuance("the clock stepped back"), Absence.HALTED),
        (None, Absence.SILENT),
    ],
)
async def test_who_gives_no_answer_is_named_and_holds_up_nobody(answer: Any, absence: Absence) -> None:
    seen, _ = await looked({"tokyo": preview(), "oregon": answer}, rules=Rules.PRIVATE, deadline=0.1)
    (forecast,) = seen.forecasts
    assert forecast.views[1].absence is absence
    assert forecast.control.result is Result.INDETERMINATE


async def test_the_others_are_left_in_peace_when_nothing_could_work() -> None:
    for first in (preview(FAIL), TransientError("away")):
        seen, channels = await looked({"tokyo": first, "oregon": preview()})
        assert channels["oregon"].asked == []
        assert seen.forecasts[0].views[1].absence is Absence.NOT_ASKED


async def test_caa_is_judged_again_here_for_each_method() -> None:
    records = ('0 issue "ca.example; validationmethods=dns-01"',)
    said = CaaSeen(Result.FAIL, records, "example.com", problem="caa", detail="no")
    answer = Preview("a", (Prospect("http-01", PASS), Prospect("dns-01", PASS)), said)
    seen, _ = await looked({"tokyo": answer}, "http-01", "dns-01", rules=Rules.PRIVATE)
    http, dns = seen.forecasts
    assert (http.caa.result, http.caa.problem) == (Result.FAIL, "caa")
    assert dns.caa.result is Result.PASS


@pytest.mark.parametrize(
    "caa",
    [
        CaaSeen(Result.FAIL, problem="dns", detail="SERVFAIL"),
        CaaSeen(Result.FAIL, ("0 issue \x1b",), "example.com", problem="caa", detail="\x1b[31m" + "x" * 9000),
        CaaSeen(Result.INDETERMINATE, problem="serverInternal", detail="away"),
    ],
)
async def test_what_cannot_be_judged_again_stays_as_it_was_said(caa: CaaSeen) -> None:
    seen, _ = await looked({"tokyo": preview(caa=caa)}, rules=Rules.PRIVATE)
    told = seen.forecasts[0].caa
    assert told.result is caa.result
    assert told.detail.isprintable()
    assert len(told.detail) <= 400


async def test_a_hostile_perspective_answers_for_nothing_else() -> None:
    odd = preview(method="dns-01", facts=b"x" * 10_000)
    seen, _ = await looked({"tokyo": preview(), "oregon": odd}, rules=Rules.PRIVATE)
    _, view = seen.forecasts[0].views
    assert (view.perspective, view.control and view.control.result) == ("oregon", Result.INDETERMINATE)
    huge = preview(facts=b"x" * 10_000)
    seen, _ = await looked({"tokyo": huge}, rules=Rules.PRIVATE)
    assert seen.forecasts[0].views[0].facts == b""


@pytest.mark.parametrize(
    ("most", "name", "account"),
    [
        (foresight.AT_ONCE, "n.example{}.com", "https://ca.example/{}"),
        (foresight.PER_ACCOUNT, "n.example{}.com", ACCOUNT),
        (foresight.PER_DOMAIN, "n{}.example.com", "https://ca.example/{}"),
    ],
)
async def test_its_places_are_few_and_who_waits_too_long_is_told(
    monkeypatch: pytest.MonkeyPatch, most: int, name: str, account: str
) -> None:
    monkeypatch.setattr(foresight, "PATIENCE", 0.05)
    settings = Settings(validation=Validation(perspectives=(Perspective("tokyo"),)))
    channel = Told(None)
    made = Foreseer({"tokyo": channel}, settings, FakeClock(NOW), SystemRandomness(), 5)  # type: ignore[dict-item]

    def look(number: int) -> asyncio.Task[Foresight]:
        return asyncio.create_task(
            made.look(name.format(number), account.format(number), ["http-01"], ["key"])
        )

    looks = [look(number) for number in range(most)]
    while len(channel.asked) < most:
        await asyncio.sleep(0)
    with pytest.raises(TransientError, match="busy"):
        await look(most)
    for each in looks:
        each.cancel()
    await asyncio.gather(*looks, return_exceptions=True)
    channel.answer = preview()
    assert (await look(most)).name == name.format(most)
