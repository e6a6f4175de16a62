"""The page on which anybody reports a problem with certificates, at any hour (BR 4.9.3).

What was reported is durable in the spool before its receipt number is shown; proofs of a compromised key are
checked at once, and what follows from them is the app's (operations/report_intake.py).  Forms need no cookie,
and act for nobody: a form of another site could only send what its author could send as well, and is refused
where the browser says so.

Must never: need the app, the vault or the database; show again, log or keep a private key; redirect to
anywhere but a receipt of ours.

BR 1.5.2, 4.9.3, 4.9.5, 4.9.12; CPS 1.5.2; requirements 1.04, 2.60.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from core import key_proofs
from core.clock import Clock
from core.key_proofs import NoProof, Proof
from core.problem_reports import (
    MOST_CERTIFIED,
    MOST_CONTACT,
    MOST_DESCRIPTION,
    MOST_NAMED,
    Channel,
    Filed,
    Kind,
    draw_number,
)
from core.randomness import Randomness
from core.report_spool import Spool, SpoolFull
from core.settings import Settings
from repo_static.rendering import base_url, report_url
from status.pages import named, reading
from status.pages.bounds import Act, Bounds
from status.pages.challenge import Challenges
from status.pages.evidence import proof_of
from status.pages.reading import Form, Unreadable
from status.pages.receipt import Receipts, receipt_data
from status.pages.rendering import LANGUAGES, data, page, refused, wants_data, words
from status.pages.tls import Tls

_KEPT = ("kind", "certificates", "description", "contact")
"""Fields that a page shows again after a mistake.  Never the proof: it may be a private key."""

_ORDER = ("kind", "description", "certificates", "proof", "contact")
"""Of the fields on the page."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Draft:
    """What was sent, and what is wrong with it: (field, word, detail), in the order of the page."""

    values: dict[str, str]
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    proof: Proof | None = None
    certificates: named.Named = field(default_factory=named.Named)

    def fault(self, name: str, word: str, detail: str = "") -> None:
        self.faults.append((name, word, detail))


class ReportPage:
    """GET shows the form, POST takes a report; /report/challenge is the line to be signed, for programs."""

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        challenges: Challenges,
        receipts: Receipts,
        bounds: Bounds,
        tls: Tls,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._challenges = challenges
        self._receipts = receipts
        self._bounds = bounds
        self._tls = tls
        self._clock = clock
        self._randomness = randomness

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Its routes, in each language."""
        for language in LANGUAGES:
            prefix = "" if language == "en" else f"/{language}"
            router.add_get(f"{prefix}/report/", partial(self._show, language))
            router.add_post(f"{prefix}/report/", partial(self._take, language))
            router.add_get(f"{prefix}/report", partial(_with_slash, f"{prefix}/report/"))
        router.add_get("/report/challenge", self._challenge)

    async def _show(self, language: str, request: web.Request) -> web.Response:
        if elsewhere := self._tls.redirect(request):
            return elsewhere
        values = dict.fromkeys(_KEPT, "")
        # A link from the status page names the certificate.
        values["certificates"] = request.query.get("certificate", "")[:200]
        return self._page(language, _Draft(values))

    async def _challenge(self, request: web.Request) -> web.Response:
        # Without a newline: the whole body is what is signed.
        return web.Response(text=self._challenges.fresh(), headers={"Cache-Control": "no-store"})

    async def _take(self, language: str, request: web.Request) -> web.Response:
        if url := self._tls.instead(request):
            return self._refused(request, language, 403, "not_tls", url=url)
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return self._refused(request, language, 403, "elsewhere")
        if seconds := await self._bounds.wait(request, Act.REPORT):
            return self._refused(request, language, 429, "too_many", seconds)
        try:
            form = await reading.form(request)
        except Unreadable as error:
            return self._refused(request, language, error.status, "unreadable")
        try:
            draft = await self._read(form, request, language)
        finally:
            form.forget()
        if draft.faults:
            return self._answer_faults(request, language, draft)
        filed = self._filed(language, draft)
        try:
            self._spool.put(filed)
        except (SpoolFull, OSError) as error:
            _log.critical("a problem report cannot be kept: %s", error)
            return self._refused(request, language, 503, "full", 3600)
        # The number alone: what is in a report stays out of logs.
        _log.warning("problem report %s (%s) received", filed.number, filed.kind)
        path = self._receipts.path(filed.number, language)
        if wants_data(request):
            found = receipt_data(self._receipts.of_filed(filed), self._clock.latest())
            return data({**found, "url": report_url(self._settings) + path}, status=201)
        return web.Response(status=303, headers={"Location": path, "Cache-Control": "no-store"})

    async def _read(self, form: Form, request: web.Request, language: str) -> _Draft:
        draft = _Draft({name: form.text(name) for name in _KEPT})
        values = draft.values
        draft.certificates = named.read(values["certificates"], bytes(form.octets("certificate_file")))
        found = draft.certificates
        count = len(found.serials) + len(found.certificates) + len(found.names)
        if values["kind"] not in list(Kind):
            draft.fault("kind", "choose_kind")
        if b"PRIVATE KEY" in form.octets("certificate_file") or "PRIVATE KEY" in values["certificates"]:
            draft.fault("certificates", "key_elsewhere")
        elif found.unread:
            file = words(language)["the_file"]
            draft.fault("certificates", "unread", named.told(found.unread[:5], file))
        elif count > MOST_NAMED:
            draft.fault("certificates", "too_many_named", str(MOST_NAMED))
        sent = form.octets("proof") if form.octets("proof").strip() else form.octets("proof_file")
        for name in ("certificates", "description", "contact"):
            if "PRIVATE KEY" in values[name]:
                # Not shown again, not kept: there is a field for it.
                values[name] = ""
                if name != "certificates":
                    draft.fault(name, "key_elsewhere")
        if sent:
            await self._prove(draft, sent, form.text("challenge"), request, language)
        if not values["description"] and draft.proof is None:
            draft.fault("description", "describe")
        for name, most in (("description", MOST_DESCRIPTION), ("contact", MOST_CONTACT)):
            if len(values[name]) > most:
                draft.fault(name, "too_long", str(most))
        if not (draft.certificates.any or draft.certificates.unread or draft.proof or values["description"]):
            draft.fault("certificates", "name_one")
        draft.faults.sort(key=lambda fault: _ORDER.index(fault[0]))
        return draft

    async def _prove(
        self, draft: _Draft, sent: bytearray, challenge: str, request: web.Request, language: str
    ) -> None:
        if seconds := await self._bounds.wait(request, Act.PROOF):
            draft.fault("proof", "too_many_proofs", str(seconds))
            return
        try:
            keys = _keys(draft.certificates)
            proof = proof_of(sent, challenge, self._challenges, keys)
            key_proofs.check(proof, base_url(self._settings))
        except NoProof as error:
            said = words(language)["reporting"].get("proofs", {})
            draft.fault("proof", "no_proof", said.get(error.word) or str(error))
            return
        draft.proof = proof

    def _filed(self, language: str, draft: _Draft) -> Filed:
        now, found = self._clock.latest(), draft.certificates
        serials = [
            *found.serials,
            *(serial for each in found.certificates if (serial := named.serial_of(each))),
        ]
        keys = _keys(found)
        if draft.proof is not None:
            keys.append(draft.proof.spki)
        return Filed(
            number=draw_number(self._randomness, datetime.fromtimestamp(now, UTC).strftime("%Y%m%d")),
            received_at=now,
            channel=Channel.PAGE,
            kind=Kind(draft.values["kind"]),
            language=language,
            serials=tuple(dict.fromkeys(each.hex() for each in serials)),
            keys=tuple(dict.fromkeys(key_proofs.key_hash(each) for each in keys)),
            names=tuple(dict.fromkeys(found.names)),
            description=draft.values["description"],
            contact=draft.values["contact"].replace("\n", " "),
            proof=draft.proof,
            certified=_certified(found, draft.proof),
        )

    def _answer_faults(self, request: web.Request, language: str, draft: _Draft) -> web.Response:
        if wants_data(request):
            faults = [{"field": name, "fault": word, "detail": detail} for name, word, detail in draft.faults]
            return data({"faults": faults, "challenge": self._challenges.fresh()}, status=422)
        return self._page(language, draft, status=422)

    def _refused(
        self,
        request: web.Request,
        language: str,
        status: int,
        word: str,
        seconds: int = 0,
        url: str = "",
    ) -> web.Response:
        if wants_data(request):
            said = {"fault": word, "contact": self._settings.ca.contact}
            answer = data(said | ({"url": url} if url else {}), status=status)
        else:
            answer = refused(language, self._settings, word, "report", status, url)
        if seconds:
            answer.headers["Retry-After"] = str(seconds)
        return answer

    def _page(self, language: str, draft: _Draft, *, status: int = 200) -> web.Response:
        faulty: dict[str, Any] = {name: (word, detail) for name, word, detail in reversed(draft.faults)}
        return page(
            "report.html.j2",
            language,
            self._settings,
            status=status,
            values=draft.values,
            faults=draft.faults,
            faulty=faulty,
            challenge=self._challenges.fresh(),
            kinds=list(Kind),
        )


def _keys(found: named.Named) -> list[bytes]:
    """The DER SubjectPublicKeyInfos that were named, themselves or by a certificate."""
    keys = [*found.keys]
    for certificate in found.certificates:
        public = key_proofs.spki_in(certificate)
        if public is not None:
            keys.append(public)
    return keys


def _certified(found: named.Named, proof: Proof | None) -> tuple[bytes, ...]:
    """The named certificates (DER) that have the proven key, as many as fit."""
    if proof is None:
        return ()
    certified: list[bytes] = []
    for each in found.certificates:
        der = each.public_bytes(Encoding.DER)
        fits = sum(map(len, certified)) + len(der) <= MOST_CERTIFIED
        if fits and der not in certified and key_proofs.spki_in(each) == proof.spki:
            certified.append(der)
    return tuple(certified)


async def _with_slash(path: str, request: web.Request) -> web.Response:
    return web.Response(status=301, headers={"Location": path})
