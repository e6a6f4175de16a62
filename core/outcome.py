"""What one attempt came to: the answer of the coordinator, and what the record of it needs (BR 5.4.1).

An attempt is one fan-out to all perspectives.  The statements in it are the evidence; the rest says what each
perspective's word was worth, so that a person can read it without decoding signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.evidence import Result, SignedStatement


class Absence(StrEnum):
    """Why the word of a perspective does not count in an attempt."""

    SILENT = "silent"
    """No answer in time."""
    TRANSPORT = "transport"
    """It could not be reached, or its answer could not be read."""
    REFUSED = "refused"
    """It will not answer this request."""
    HALTED = "halted"
    """Its clock stepped back."""
    CONTRADICTION = "contradiction"
    """It signed what was not asked, or what does not follow from what it shows."""
    NOT_ASKED = "not-asked"
    """The primary had seen nothing to corroborate."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Control or CAA as one perspective saw it; `problem` and `detail` are empty on pass."""

    result: Result
    problem: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """One perspective's line.

    `control` is None where it was not asked for (a CAA recheck); both are None when `absence` says why the
    perspective's word does not count, with `detail` for a person.  `took` in milliseconds, by its own word.
    `facts` are what it met on its way (core/facts.py, encoded), b"" where none came.
    """

    perspective: str
    control: Seen | None = None
    caa: Seen | None = None
    took: int = 0
    absence: Absence | None = None
    detail: str = ""
    facts: bytes = b""

    @property
    def result(self) -> str:
        """One word for the audit log: pass, fail, indeterminate, or why there is none."""
        if self.absence is not None:
            return self.absence.value
        results = {seen.result for seen in (self.control, self.caa) if seen is not None}
        for worst in (Result.FAIL, Result.INDETERMINATE):
            if worst in results:
                return worst.value
        return Result.PASS.value


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fan-out showed.

    `problem` (an RFC 8555 section 6.7 error word) and `detail` are empty on pass.  `statements` are those
    that count, the primary's first; `set_aside` those that contradict the request or themselves, kept to find
    out why.  `views` has a line for every perspective.  `control_quorum` and `caa_quorum` are
    "passed/attempted" of the remote perspectives that were asked (BR 5.4.1), "" where none was.
    `at` is POSIX seconds, `took` milliseconds.
    """

    attempt: str
    result: Result
    problem: str = ""
    detail: str = ""
    statements: tuple[SignedStatement, ...] = ()
    views: tuple[View, ...] = ()
    control_quorum: str = ""
    caa_quorum: str = ""
    at: int = 0
    took: int = 0
    set_aside: tuple[SignedStatement, ...] = ()
