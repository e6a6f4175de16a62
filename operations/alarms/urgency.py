"""How urgent a thing is, and when an alarm is raised again: alike in every watch.

Must never: keep silent about a thing that has become worse.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from enum import IntEnum


class Urgency(IntEnum):
    """How much of the time there is has gone: each watch says what "most" is."""

    CALM = 0
    HALF = 1
    MOST = 2
    OVER = 3


class Alarms:
    """What was said, in which state, and when it is to be said again."""

    def __init__(self) -> None:
        self._said: dict[Hashable, tuple[object, float]] = {}

    def raises(self, what: Hashable, state: object, now: float, again: float) -> bool:
        """Whether to speak of `what`: it is not as it was, or was last spoken of `again` ago.

        `now` and `again` are of one unit, whatever it is.
        """
        said, when = self._said.get(what, (None, now))
        if said == state and now < when:
            return False
        self._said[what] = state, now + again
        return True

    def over(self, what: Hashable) -> None:
        """`what` is well: it is spoken of at once when it comes back."""
        self._said.pop(what, None)

    def keep(self, known: Collection[Hashable]) -> None:
        """All others are over."""
        self._said = {what: said for what, said in self._said.items() if what in known}
