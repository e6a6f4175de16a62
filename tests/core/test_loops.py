"""core/loops.py: a look that fails is told, and looked again."""

from __future__ import annotations

import asyncio
import logging

import pytest

from core.errors import CaError, TransientError
from core.loops import for_ever

LOG = logging.getLogger("tests.loops")


class Enough(BaseException):
    """Ends the loop, as a cancellation does."""


async def looked(*outcomes: Exception | None) -> None:
    """For ever, until `outcomes` are used up."""
    left = iter(outcomes)

    async def look() -> None:
        await asyncio.sleep(0)
        for each in left:
            if each is not None:
                raise each
            return
        raise Enough

    with pytest.raises(Enough):
        await for_ever(look, 0, LOG, "nothing is watched", logging.WARNING)


async def test_what_can_happen_is_a_line_and_a_fault_of_ours_has_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await looked(TransientError("away"), None, OSError("full"), ZeroDivisionError("ours"), CaError("no"))
    told = [(record.levelname, record.getMessage(), bool(record.exc_info)) for record in caplog.records]
    assert told == [
        ("WARNING", "nothing is watched: away", False),
        ("WARNING", "nothing is watched: full", False),
        ("ERROR", "nothing is watched", True),
        ("WARNING", "nothing is watched: no", False),
    ]


async def test_a_look_may_be_a_plain_function() -> None:
    looks = []

    def look() -> None:
        looks.append(True)
        if len(looks) == 3:
            raise Enough

    with pytest.raises(Enough):
        await for_ever(look, 0, LOG, "nothing is watched")
    assert len(looks) == 3
