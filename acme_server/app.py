"""The whole API on two screens: each line is a method, a path, who must have signed, and the handler.

Plain GET is for the directory, nonces and renewalInfo (RFC 9773 section 4.1); any other resource answers it
with 405 (RFC 8555 section 6.3).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from acme_server import urls
from acme_server.answers import Answers, conditional, render
from acme_server.authentication import Authentication, Proof
from acme_server.changes import Changes
from acme_server.context import Context
from acme_server.exchange import ByAccount, ByKey, Reply, Signed
from acme_server.handlers import (
    account,
    authorization,
    certificate,
    challenge,
    directory,
    explanation,
    key_change,
    limits,
    limits_page,
    nonce,
    order,
    preflight,
    renewal_info,
    revocation,
)
from acme_server.handlers import terms as terms_page
from acme_server.handlers.terms import Terms
from acme_server.http import Request, Response
from acme_server.problems import ErrorType, Recorded, malformed
from acme_server.registration import finalize, validate
from acme_server.routes import Route, Routes, Serve
from acme_server.strangers import UNKNOWN_KEY, Strangers
from acme_server.urls import check_base
from core.clock import Clock
from core.database import Database
from core.errors import Problem
from core.forwarded import Addresses
from core.settings import Settings

Handler = Callable[..., Awaitable[Reply]]


def build(context: Context) -> Answers:
    """The application; `acme_server.server` serves it.

    Raises `ConfigurationError` when acme.base_url is not the one that accounts were made under.
    """
    check_base(context.database.reader, context.urls)
    settings = context.settings
    terms = Terms(context)
    strangers = Strangers(context.settings, context.clock, Addresses(context.settings.acme))
    gate = Gate(context, Authentication(context, terms), strangers)
    routes = Routes(
        [
            gate.open("GET", urls.DIRECTORY, directory.show),
            gate.open("HEAD", urls.DIRECTORY, directory.show),
            gate.read(Proof.ACCOUNT, urls.DIRECTORY, directory.show_to_account),
            gate.open("HEAD", urls.NEW_NONCE, nonce.show_head),
            gate.open("GET", urls.NEW_NONCE, nonce.show),
            gate.read(Proof.ACCOUNT, urls.NEW_NONCE, nonce.show_to_account),
            #
            gate.signed(Proof.NEW_KEY, urls.NEW_ACCOUNT, account.create),
            gate.signed(Proof.ACCOUNT, "/acme/account/{id}", account.show_or_update),
            gate.signed(Proof.ACCOUNT, urls.KEY_CHANGE, key_change.change),
            gate.read(Proof.ACCOUNT, "/acme/account/{id}/orders", order.list_of_account),
            gate.open("GET", terms_page.PATH, terms.show),
            gate.open("POST", terms_page.PATH, terms.agree),
            #
            gate.signed(Proof.AGREED_ACCOUNT, urls.NEW_ORDER, order.create),
            gate.signed(Proof.AGREED_ACCOUNT, urls.PREFLIGHT, preflight.foresee),
            gate.read(Proof.ACCOUNT, "/acme/order/{id}", order.show),
            gate.signed(Proof.ACCOUNT, "/acme/order/{id}/finalize", order.finalize_order),
            gate.read(Proof.ACCOUNT, "/acme/certificate/{id}", certificate.show),
            gate.read(Proof.ACCOUNT, "/acme/certificate/{id}/{chain}", certificate.show),
            #
            *gate.only_if(
                settings.acme.authorization_reuse > 0,  # else no order could make use of it
                gate.signed(Proof.AGREED_ACCOUNT, urls.NEW_AUTHORIZATION, authorization.create),
            ),
            gate.signed(Proof.ACCOUNT, "/acme/authorization/{id}", authorization.show_or_deactivate),
            gate.read(Proof.ACCOUNT, "/acme/authorization/{id}/explanation", explanation.show),
            gate.signed(Proof.ACCOUNT, "/acme/challenge/{id}", challenge.show_or_answer),
            #
            gate.signed(Proof.ACCOUNT_OR_KEY, urls.REVOKE_CERT, revocation.revoke),
            gate.cached("GET", urls.RENEWAL_INFO + "/{certid}", renewal_info.show),
            gate.cached("HEAD", urls.RENEWAL_INFO + "/{certid}", renewal_info.show),
            #
            gate.signed(Proof.ACCOUNT, urls.LIMITS, limits.show),
            gate.open("GET", urls.LIMITS_PAGE, limits_page.show),
        ]
    )
    return Answers(context, routes)


def job_handlers(
    database: Database,
    settings: Settings,
    clock: Clock,
    perspectives: validate.Perspectives,
    issuance: finalize.Issuance,
    changes: Changes,
) -> Mapping[str, Callable[[str], Awaitable[None]]]:
    """What `core.jobs.JobRunner` runs for this room, by the kind of job."""
    handlers: dict[str, Callable[[str], Awaitable[None]]] = {
        validate.KIND: validate.ValidateJob(database, perspectives, settings, clock),
        finalize.KIND: finalize.IssueJob(database, perspectives, issuance, clock, settings),
    }
    return {kind: _announcing(handler, changes) for kind, handler in handlers.items()}


def _announcing(
    handler: Callable[[str], Awaitable[None]], changes: Changes
) -> Callable[[str], Awaitable[None]]:
    async def run(subject: str) -> None:
        try:
            await handler(subject)
        finally:
            changes.announce(subject)

    return run


class Gate:
    """Makes route lines: each says how its requests are authenticated."""

    def __init__(self, context: Context, authentication: Authentication, strangers: Strangers) -> None:
        self._context = context
        self._authentication = authentication
        self._strangers = strangers

    def open(self, method: str, path: str, handler: Handler) -> Route:
        """Anyone may ask."""

        async def serve(request: Request, values: Mapping[str, str]) -> Response:
            self._strangers.admit(request.remote)
            return render(await handler(self._context, values))

        return Route(method, path, serve)

    def cached(self, method: str, path: str, handler: Handler) -> Route:
        """Anyone may ask, and a cache that has the answer already is told so (RFC 9110 section 13.1.2)."""

        async def serve(request: Request, values: Mapping[str, str]) -> Response:
            self._strangers.admit(request.remote)
            return conditional(request, render(await handler(self._context, values)))

        return Route(method, path, serve)

    def signed(self, proof: Proof, path: str, handler: Handler) -> Route:
        """A POST signed as `proof` says; the handler decides what the payload may be."""
        return Route("POST", path, self._serve(proof, handler, read_only=False))

    def read(self, proof: Proof, path: str, handler: Handler) -> Route:
        """A POST-as-GET only: the payload is empty (section 6.3)."""
        return Route("POST", path, self._serve(proof, handler, read_only=True))

    def only_if(self, offered: bool, route: Route) -> list[Route]:
        """The route, where the settings offer it."""
        return [route] if offered else []

    def _serve(self, proof: Proof, handler: Handler, *, read_only: bool) -> Serve:
        async def serve(request: Request, values: Mapping[str, str]) -> Response:
            signed = await self._authenticated(request, values, proof)
            if read_only and signed.payload is not None:
                raise malformed("this resource can only be read: the payload must be empty, not {}")
            try:
                reply = await handler(self._context, signed)
            except Recorded as problem:
                by = "key of no account"
                if isinstance(signed, ByAccount):
                    by = f"account:{signed.account.id}"
                await self._authentication.record_refusal(
                    problem.recorded_as,
                    by,
                    {"path": request.path, "from": request.remote, "why": problem.detail},
                )
                raise
            return render(reply)

        return serve

    async def _authenticated(self, request: Request, values: Mapping[str, str], proof: Proof) -> Signed:
        """The verified request.  Raises `Problem`, and counts what comes from no account."""
        self._strangers.must_be_heard(request.remote)
        try:
            signed = await self._authentication.authenticate(request, values, proof)
        except Problem as problem:
            if problem.type != ErrorType.USER_ACTION_REQUIRED:  # else it is a valid account
                self._strangers.failed(request.remote)
            raise
        if isinstance(signed, ByKey):
            self._strangers.admit(request.remote, UNKNOWN_KEY)
            self._strangers.admit_key(signed.key.thumbprint)
        return signed
