"""Problem documents: the error types of RFC 8555 section 6.7 and of later ones, each with its HTTP status.

Must never: invent a type in the `urn:ietf:params:acme:error:` namespace, which IANA keeps (section 9.7.2);
carry a traceback, a path or a word of another subscriber's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from core.errors import Problem, Subproblem

CONTENT_TYPE = "application/problem+json"
NAMESPACE = "urn:ietf:params:acme:error:"


class ErrorType(StrEnum):
    """RFC 8555 section 6.7, in its order; then what its extensions registered."""

    ACCOUNT_DOES_NOT_EXIST = "accountDoesNotExist"
    ALREADY_REVOKED = "alreadyRevoked"
    BAD_CSR = "badCSR"
    BAD_NONCE = "badNonce"
    BAD_PUBLIC_KEY = "badPublicKey"
    BAD_REVOCATION_REASON = "badRevocationReason"
    BAD_SIGNATURE_ALGORITHM = "badSignatureAlgorithm"
    CAA = "caa"
    COMPOUND = "compound"
    CONNECTION = "connection"
    DNS = "dns"
    EXTERNAL_ACCOUNT_REQUIRED = "externalAccountRequired"
    INCORRECT_RESPONSE = "incorrectResponse"
    INVALID_CONTACT = "invalidContact"
    MALFORMED = "malformed"
    ORDER_NOT_READY = "orderNotReady"
    RATE_LIMITED = "rateLimited"
    REJECTED_IDENTIFIER = "rejectedIdentifier"
    SERVER_INTERNAL = "serverInternal"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED_CONTACT = "unsupportedContact"
    UNSUPPORTED_IDENTIFIER = "unsupportedIdentifier"
    USER_ACTION_REQUIRED = "userActionRequired"
    ALREADY_REPLACED = "alreadyReplaced"  # RFC 9773 section 7.4
    INVALID_PROFILE = "invalidProfile"  # draft-ietf-acme-profiles-00 section 6.3


# Section 6.7 leaves the status to the server but for two types; 400 says "do not send this again as it is".
STATUS: dict[ErrorType, int] = {
    ErrorType.ALREADY_REPLACED: 409,  # RFC 9773 section 5: MUST
    ErrorType.ORDER_NOT_READY: 403,  # section 7.4: MUST
    ErrorType.RATE_LIMITED: 429,  # section 6.6
    ErrorType.SERVER_INTERNAL: 500,
    ErrorType.UNAUTHORIZED: 403,
    ErrorType.USER_ACTION_REQUIRED: 403,  # section 7.3.3
    ErrorType.EXTERNAL_ACCOUNT_REQUIRED: 403,
    ErrorType.REJECTED_IDENTIFIER: 400,
    ErrorType.CAA: 403,
}


class Recorded(Problem):
    """A refusal that the audit log hears of, as `recorded_as`."""

    recorded_as = ""


def refusal(kind: ErrorType, detail: str, **members: Any) -> Problem:
    """A `Problem` with the status that its type has (`members`: `status`, `extra`, `headers`, ... )."""
    members.setdefault("status", STATUS.get(kind, 400))
    return Problem(kind.value, detail, **members)


def malformed(detail: str, **members: Any) -> Problem:
    """The commonest one: the request is not what the RFC says it should be."""
    return refusal(ErrorType.MALFORMED, detail, **members)


def unauthorized(detail: str, **members: Any) -> Problem:
    """The client lacks the authority for what it asks."""
    return refusal(ErrorType.UNAUTHORIZED, detail, **members)


def not_found(what: str) -> Problem:
    """There is no such resource; RFC 8555 has no type of its own for that."""
    return malformed(f"there is no such {what}; take URLs only from our own answers", status=404)


def as_dict(problem: Problem) -> dict[str, Any]:
    """The JSON object of RFC 9457 with the members of RFC 8555 section 6.7."""
    document: dict[str, Any] = {
        "type": NAMESPACE + problem.type,
        "detail": problem.detail,
        "status": problem.status,
        **problem.extra,
    }
    if problem.subproblems:
        document["subproblems"] = [
            {"type": NAMESPACE + each.type, "detail": each.detail, "identifier": each.identifier}
            for each in problem.subproblems
        ]
    return document


def to_json(problem: Problem) -> str:
    """The document as it is kept in an order's or a challenge's `error`."""
    return msgspec.json.encode(as_dict(problem)).decode()


def joined(problems: Sequence[tuple[dict[str, str], Problem]]) -> Problem:
    """One problem for several identifiers (section 6.7.1); a single one is given as it is.

    `problems` pairs an identifier object with what is wrong with it, and is not empty.
    """
    kinds = {problem.type for _, problem in problems}
    first = problems[0][1]
    subproblems = tuple(Subproblem(each.type, each.detail, identifier) for identifier, each in problems)
    if len(problems) == 1:
        return Problem(first.type, first.detail, first.status, subproblems)
    kind = ErrorType(kinds.pop()) if len(kinds) == 1 else ErrorType.COMPOUND
    return refusal(kind, f"{len(problems)} identifiers cannot be accepted", subproblems=subproblems)
