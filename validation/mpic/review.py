"""Whether a perspective's statement answers the request, and follows from what it shows: pure.

The coordinator judges the CAA records seen by itself, with the evaluator that the perspectives run; a pass
counts only where both agree.  So an older version, a peer that reads CAA parameters without enforcing them,
or a perspective that was taken over corroborates nothing by its mere word.  What the vault would refuse a
whole request for is found here, too, and costs one voice instead.

Must never: turn a failure into a pass.  The signatures are the vault's business.

BR 3.2.2.8, 3.2.2.9; RFC 8659, RFC 8657.
"""

from __future__ import annotations

from core.evidence import CaaSeen, ControlSeen, Result, Statement
from core.identifiers import is_address, is_local, split_wildcard
from core.settings import Rules, Settings
from validation import caa
from validation.api import CheckRequest
from validation.caa_value import CaaRecord, MalformedValue

CLOCK_TOLERANCE = 60
"""Seconds between the clocks of coordinator and perspective, either way: what the vault puts up with."""


class Contradiction(ValueError):
    """The statement is about something else, or contradicts itself; the message is for the log."""


class Review:
    """Judges statements by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._identities = frozenset(each.lower() for each in settings.ca.caa_identities)
        self._local_names = settings.ca.local_names if settings.ca.rules is Rules.PRIVATE else ()

    def check(self, statement: Statement, code: str, request: CheckRequest, since: int, until: int) -> None:
        """Require that perspective `code` answers `request`, looking between `since` and `until`.

        Times are POSIX seconds.  Raises `Contradiction`.
        """
        asked = (code, request.name, request.account_url, request.attempt)
        answered = (statement.perspective, statement.name, statement.account_url, statement.attempt)
        if asked != answered or statement.caa is None:
            raise Contradiction("it answers something that was not asked")
        if not since - CLOCK_TOLERANCE <= statement.checked_at <= until + CLOCK_TOLERANCE:
            raise Contradiction(f"its clock says {statement.checked_at}, ours {until}: set it right")
        base, wildcard = split_wildcard(request.name)
        _check_control(statement.control, base, request)
        if statement.caa.result is Result.PASS:
            method = request.method or request.caa_method
            issuance = caa.Issuance(wildcard, self._identities, request.account_url, method)
            self._check_permission(statement.caa, base, issuance)

    def _check_permission(self, seen: CaaSeen, base: str, issuance: caa.Issuance) -> None:
        if seen.method != issuance.method:
            raise Contradiction(f"CAA was judged for {seen.method!r}, not for {issuance.method!r}")
        if seen.exempt:
            if seen.records or seen.found_at or not (is_local(base, self._local_names) or is_address(base)):
                raise Contradiction(f"it calls {base} exempt from CAA ({seen.exempt})")
            return
        if bool(seen.records) is not bool(seen.found_at):
            raise Contradiction("CAA records and the name that held them go together")
        if seen.found_at and base != seen.found_at and not base.endswith("." + seen.found_at):
            raise Contradiction(f"CAA of {base} cannot be found at {seen.found_at}")
        try:
            caa.evaluate([CaaRecord.from_presentation(each) for each in seen.records], issuance)
        except (MalformedValue, caa.CaaForbids) as error:
            raise Contradiction(f"it says that CAA permits; its own records do not: {error}") from error


def _check_control(control: ControlSeen | None, base: str, request: CheckRequest) -> None:
    if (control.method if control is not None else "") != request.method:
        raise Contradiction("it answers for another method")
    if control is not None and control.result is Result.PASS:
        if control.adn != base:
            raise Contradiction(f"it shows control of {control.adn}, not of {base}")
        if control.thumbprint not in (request.thumbprint, *request.older):
            raise Contradiction("what it found names another account key")
