"""The certificate status page: a serial number or a certificate goes in, how it stands now comes out.

Nothing is written and nothing kept; every answer is `no-store`.  GET with ?serial= serves links and programs.

Must never: say more of a subscriber's bare serial number than status and dates (lookup.py says why).

RFC 6960; BR 4.9.9, 4.10.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from core import key_proofs
from core.settings import Settings
from repo_static.publisher import ROOT_ID
from repo_static.rendering import base_url
from status.pages import named, reading
from status.pages.bounds import Act, Bounds
from status.pages.lookup import Answer, Found, Lookup
from status.pages.named import Named
from status.pages.reading import Unreadable
from status.pages.rendering import LANGUAGES, data, instant, page, refused, wants_data, words

MOST = 5
"""Certificates that are looked up of one form: a chain has three."""

_MOST_LINK = 200
"""Characters of a serial number in a link."""


class CertificatePage:
    """GET and POST of /status/ in each language."""

    def __init__(self, settings: Settings, lookup: Lookup, bounds: Bounds) -> None:
        self._settings = settings
        self._lookup = lookup
        self._bounds = bounds

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Its routes."""
        for language in LANGUAGES:
            prefix = "" if language == "en" else f"/{language}"
            router.add_get(f"{prefix}/status/", partial(self._get, language))
            router.add_post(f"{prefix}/status/", partial(self._post, language))
            router.add_get(f"{prefix}/status", partial(_with_slash, f"{prefix}/status/"))

    async def _get(self, language: str, request: web.Request) -> web.Response:
        asked = request.query.get("serial", "")[:_MOST_LINK]
        if "serial" not in request.query and not wants_data(request):
            return self._page(language, "", None)
        return await self._answer(language, request, asked, b"")

    async def _post(self, language: str, request: web.Request) -> web.Response:
        try:
            form = await reading.form(request)
        except Unreadable as error:
            return self._refused(request, language, error.status, "unreadable")
        return await self._answer(language, request, form.text("certificate"), bytes(form.octets("file")))

    async def _answer(self, language: str, request: web.Request, text: str, file: bytes) -> web.Response:
        if seconds := await self._bounds.wait(request, Act.LOOKUP):
            answer = self._refused(request, language, 429, "too_many")
            answer.headers["Retry-After"] = str(seconds)
            return answer
        asked = named.read(text, file)
        found = await self._look(asked)
        fault = "" if found else ("unread" if asked.unread or asked.any else "nothing")
        unread = named.told([*asked.unread, *asked.names][:3], words(language)["the_file"])
        if wants_data(request):
            if fault:
                return data({"fault": fault, "detail": unread}, status=422)
            return data({"certificates": [self._data(each) for each in found]})
        if fault:
            # A PEM would fill the page; a serial number is worth being mended.
            shown = text if len(text) < _MOST_LINK and "-----" not in text else ""
            return self._page(language, shown, (fault, unread), status=422)
        return self._page(language, "", None, found)

    async def _look(self, asked: Named) -> list[Found]:
        found = [await self._lookup.by_certificate(each) for each in asked.certificates[:MOST]]
        read = [await self._lookup.by_serial(each) for each in asked.serials[:MOST]]
        known = [each for each in read if each.answer is not Answer.UNKNOWN]
        return found + (known or read[:1])

    def _page(
        self,
        language: str,
        text: str,
        fault: tuple[str, str] | None,
        found: Sequence[Found] = (),
        *,
        status: int = 200,
    ) -> web.Response:
        return page(
            "certificate.html.j2",
            language,
            self._settings,
            status=status,
            text=text,
            fault=fault,
            found=[self._shown(each) for each in found],
            base=base_url(self._settings),
            now=self._lookup.now(),
        )

    def _refused(self, request: web.Request, language: str, status: int, word: str) -> web.Response:
        if wants_data(request):
            return data({"fault": word}, status=status)
        return refused(language, self._settings, word, "status", status)

    def _shown(self, found: Found) -> dict[str, Any]:
        serial = found.serial.hex()
        return {
            "found": found,
            "hex": ":".join(serial[at : at + 2] for at in range(0, len(serial), 2)),
            "plain": serial,
            "text": _text(found),
            "certificate": None if found.certificate is None else certificate_facts(found.certificate),
        }

    def _data(self, found: Found) -> dict[str, Any]:
        base = base_url(self._settings)
        shown: dict[str, Any] = {
            "status": found.answer,
            "serial": found.serial.hex(),
            "issuer": None if found.issuer is None else found.issuer.id,
            "issuer_url": None if found.issuer is None else f"{base}/issuers/{found.issuer.id}.crt",
            "not_before": instant(found.not_before) or None,
            "not_after": instant(found.not_after) or None,
            "revoked_at": instant(found.revoked_at) or None,
            "reason": found.reason or None,
            "register_read": found.register,
            "ocsp": None,
            "crl": None,
        }
        if found.ocsp is not None:
            shown["ocsp"] = {
                "status": found.ocsp.status,
                "this_update": instant(found.ocsp.this_update),
                "next_update": instant(found.ocsp.next_update),
                "url": base + found.ocsp.path,
            }
        if found.crl is not None:
            shown["crl"] = {
                "url": f"{base}/{found.crl.name}",
                "number": found.crl.number,
                "this_update": instant(found.crl.this_update),
                "next_update": instant(found.crl.next_update),
                "revoked": found.crl.revoked_at is not None,
            }
        if found.certificate is not None:
            shown |= certificate_facts(found.certificate)
            shown["precertificate"] = found.precertificate
            shown["logs"] = [
                {
                    "log": each.log,
                    "name": each.name or None,
                    "operator": each.operator or None,
                    "at": instant(each.at),
                }
                for each in found.logs
            ]
        return shown


def certificate_facts(certificate: x509.Certificate) -> dict[str, Any]:
    """What stands in a certificate, as text: whoever has it may see it."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(each.value) for each in alternative]
    except (x509.ExtensionNotFound, ValueError):
        names = []
    key = key_proofs.spki_in(certificate)
    return {
        "names": names[:200],
        "subject": certificate.subject.rfc4514_string(),
        "issuer_name": certificate.issuer.rfc4514_string(),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "key_sha256": None if key is None else key_proofs.key_hash(key),
    }


def _text(found: Found) -> str:
    """The word for what the answer means."""
    if found.answer is Answer.UNDETERMINED and found.issuer is not None and found.issuer.id == ROOT_ID:
        return "undetermined_root"
    if found.answer is Answer.UNDETERMINED and found.crl is not None:
        return "undetermined_crl"
    return str(found.answer)


async def _with_slash(path: str, request: web.Request) -> web.Response:
    return web.Response(status=301, headers={"Location": path})
