"""How many SCTs, of whose logs: what browsers ask for, and the little more that we aim at.

    must   `least` SCTs of two operators at least; of one operator one counts, two above 180 days (Apple)
    aim    three SCTs of three operators, one of them of an RFC 6962 log, as far as the list has them

Must never: count two SCTs of one log.

Chrome CT policy; Apple CT policy; requirements.md 2.89.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from core.requirements import Limit, limit

AIM = 3
"""SCTs, each of another operator: one log may be distrusted and the certificate still works everywhere."""


class LogFacts(Protocol):
    """What the policy looks at."""

    @property
    def operator(self) -> str: ...
    @property
    def tiled(self) -> bool: ...


L = TypeVar("L", bound=LogFacts)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a certificate needs: `least` SCTs, of which `each` count for one operator, of `operators`."""

    least: int
    each: int
    operators: int

    def fulfilled(self, logs: Iterable[LogFacts]) -> bool:
        """Whether SCTs of these logs are enough."""
        of = Counter(log.operator for log in logs)
        return len(of) >= self.operators and sum(min(count, self.each) for count in of.values()) >= self.least

    def aimed(self, logs: Sequence[LogFacts], possible: Sequence[LogFacts]) -> bool:
        """Whether SCTs of these logs are all that we wish for, of the `possible` ones."""
        wished = min(AIM, len({log.operator for log in possible}))
        classic = all(log.tiled for log in possible) or any(not log.tiled for log in logs)
        return self.fulfilled(logs) and len({log.operator for log in logs}) >= wished and classic

    def chosen(self, logs: Sequence[L]) -> list[L]:
        """As few of these logs as fulfil and aim, the earlier ones first; `logs` fulfils."""
        kept: list[L] = [log for log in logs if not log.tiled][:1]
        for log in logs:
            if len({one.operator for one in kept}) < AIM and log.operator not in {o.operator for o in kept}:
                kept.append(log)
        for log in logs:
            if not self.fulfilled(kept) and log not in kept:
                kept.append(log)
        return kept


def policy_for(validity: int, now: int) -> Policy:
    """For a certificate of `validity` seconds, both ends counted."""
    short = validity <= limit(Limit.SCTS_VALIDITY, now)
    least = limit(Limit.SCTS if short else Limit.SCTS_LONG, now)
    return Policy(least, 1 if short else 2, limit(Limit.SCT_OPERATORS, now))


def in_order(logs: Sequence[L]) -> list[L]:
    """The order to ask in: an RFC 6962 log first, then a log of each other operator, then the rest."""
    first = next((log for log in logs if not log.tiled), None)
    order = [] if first is None else [first]
    for round_ in range(len(logs)):
        for log in logs:
            if log not in order and sum(one.operator == log.operator for one in order) <= round_:
                order.append(log)
    return order
