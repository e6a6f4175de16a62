"""The receipt of a problem report: its state and its clocks, for whoever has the link.

The link ends in a mark that only we can make, so the page needs no table of links, and tells nobody else that
there is such a report.  It shows neither the description nor the contact.

Must never: show what a reporter wrote; need the database for a report that still waits in the spool.

BR 4.9.5; requirements 1.04.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from core import report_rows
from core.clock import Clock
from core.database import Reader
from core.errors import CaError
from core.problem_reports import Deadline, Filed, Report, deadlines, is_number
from core.report_spool import Spool
from core.settings import Settings
from status.pages.rendering import LANGUAGES, data, instant, page, refused, wants_data
from status.pages.secret import PagesSecret
from status.pages.tls import Tls

_PURPOSE = "problem report receipt v1"


@dataclass(frozen=True, slots=True)
class Receipt:
    """`report` is None when the database, where it is by now, cannot be read."""

    number: str
    report: Report | None
    proven: bool


class Receipts:
    """/report/NUMBER/MARK in each language.  `reader` opens the database, when there is one."""

    def __init__(
        self,
        settings: Settings,
        secret: PagesSecret,
        spool: Spool,
        reader: Callable[[], Reader],
        tls: Tls,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._spool = spool
        self._reader = reader
        self._tls = tls
        self._clock = clock

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Its routes."""
        for language in LANGUAGES:
            prefix = "" if language == "en" else f"/{language}"
            router.add_get(prefix + "/report/{number}/{mark}", partial(self._show, language))

    def path(self, number: str, language: str) -> str:
        """Where the receipt is."""
        prefix = "" if language == "en" else f"/{language}"
        return f"{prefix}/report/{number}/{self._secret.mark(_PURPOSE, number)}"

    def of_filed(self, filed: Filed) -> Receipt:
        """The receipt of a report that was just received."""
        return Receipt(filed.number, Report(filed), filed.proof is not None)

    async def _show(self, language: str, request: web.Request) -> web.Response:
        if elsewhere := self._tls.redirect(request):
            return elsewhere
        number, mark = request.match_info["number"], request.match_info["mark"]
        if not is_number(number) or not self._secret.is_mark(_PURPOSE, number, mark):
            if wants_data(request):
                return data({"fault": "no_receipt"}, status=404)
            return refused(language, self._settings, "no_receipt", "report", 404)
        found, now = self._find(number), self._clock.latest()
        if wants_data(request):
            return data(receipt_data(found, now))
        clocks = [] if found.report is None else [_shown(each, now) for each in deadlines(found.report)]
        return page(
            "receipt.html.j2",
            language,
            self._settings,
            receipt=found,
            report=found.report,
            clocks=clocks,
            now=now,
            others={each: self.path(number, each) for each in LANGUAGES},
        )

    def _find(self, number: str) -> Receipt:
        try:
            reader = self._reader()
            report = report_rows.by_number(reader, number)
            if report is not None:
                return Receipt(number, report, report_rows.proven_key(reader, number) is not None)
        except (CaError, sqlite3.Error):
            pass  # the spool may have it
        try:
            filed = self._spool.read(number)
        except CaError:
            filed = None
        return Receipt(number, None, False) if filed is None else self.of_filed(filed)


def receipt_data(receipt: Receipt, now: int) -> dict[str, Any]:
    """The receipt for programs."""
    report = receipt.report
    if report is None:
        return {"number": receipt.number, "state": "unknown"}
    return {
        "number": receipt.number,
        "state": report.state,
        "received_at": instant(report.filed.received_at),
        "kind": report.filed.kind,
        "key_compromise_proven": receipt.proven,
        "deadlines": {
            each.step: {
                "due": instant(each.due),
                "met_at": instant(each.met_at) or None,
                "late": each.is_late(now),
            }
            for each in deadlines(report)
        },
        "answered_at": instant(report.answered_at) or None,
        "answer": report.answer,
        "decided_at": instant(report.decided_at) or None,
        "cause": report.cause or None,
        "revoked_at": instant(report.revoked_at) or None,
        "closed_at": instant(report.closed_at) or None,
    }


def _shown(deadline: Deadline, now: int) -> dict[str, Any]:
    minutes = abs(deadline.due - now) // 60
    return {
        "step": deadline.step,
        "due": deadline.due,
        "met_at": deadline.met_at,
        "late": deadline.is_late(now),
        "hours": minutes // 60,
        "minutes": minutes % 60,
        "percent": min(100, round(100 * deadline.part(now))),
    }
