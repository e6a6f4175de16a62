"""What we mean in the words of Open MPIC, and what a stock coordinator means in ours, pure.

A request without `attest` is a stock coordinator's: it may hold any key authorization, so its answer is never
signed.

Must never: let the Open MPIC half of a request ask for another thing than the half that is attested.

BR 3.2.2.9; docs/adr/0017-remote-perspectives.md has the table of methods.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection

import msgspec

from core.errors import Refused
from core.evidence import CaaSeen, ControlSeen, Result
from core.identifiers import split_wildcard
from validation.api import CheckRequest, Looked
from validation.caa import Issuance
from validation.challenge import Challenge
from validation.methods import dns01
from validation.methods.dns_account01 import account_label
from validation.methods.txt import text_of
from validation.mpic.open_mpic import (
    AcmeDns01,
    AcmeHttp01,
    AcmeTlsAlpn01,
    Attest,
    CaaParameters,
    CaaRequest,
    CheckError,
    CheckResponse,
    DcvParameters,
    DcvRequest,
    Details,
    DnsChange,
    DnsPersistent,
    Request,
)

_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_DIALLED = re.compile(r" at (\S+) port \d+")
_AD = re.compile(r"^dns .* AD=([01])")


def asked(check: CheckRequest, identities: Collection[str]) -> Request:
    """The Open MPIC request for a check, without its `attest`: /dcv, or /caa when no method is named.

    `identities` are our issuer domain names.  Raises `Refused` for a method without an Open MPIC form.
    """
    base, wildcard = split_wildcard(check.name)
    if not check.method:
        sought = Issuance(wildcard, frozenset(identities), check.account_url, check.caa_method)
        return CaaRequest(check.name, caa_parameters(sought), check.attempt)
    made = Challenge.of(base, wildcard, check.account_url, check.token, check.thumbprint)
    return DcvRequest(base, dcv_parameters(check.method, made, identities), check.attempt)


def dcv_parameters(method: str, challenge: Challenge, identities: Collection[str]) -> DcvParameters:
    """A challenge by an ACME method, in the words of Open MPIC.  Raises `Refused` when there are none."""
    text = text_of(challenge.digest).decode()
    if method == "http-01":
        return AcmeHttp01(challenge.token, challenge.key_authorization)
    if method == "dns-01":
        return AcmeDns01(text)
    if method == "tls-alpn-01":
        return AcmeTlsAlpn01(challenge.digest.hex())
    if method == "dns-account-01":
        prefix = f"{account_label(challenge.account_url)}.{dns01.LABEL}"
        return DnsChange(text, prefix, require_exact_match=True)
    if method == "dns-persist-01":
        return DnsPersistent(tuple(sorted(identities)), challenge.account_url)
    raise Refused("open-mpic.method", f"{method!r} has no Open MPIC form")


def caa_parameters(issuance: Issuance) -> CaaParameters:
    """The permission that is sought.  A look-up that fails never permits."""
    return CaaParameters(
        caa_domains=tuple(sorted(issuance.identities)),
        account_uris=(issuance.account_url,),
        validation_method=issuance.method,
    )


def attesting(check: CheckRequest, identities: Collection[str]) -> Request:
    """The same with our own object: what our coordinator sends to our perspectives."""
    attest = Attest(
        check.name,
        check.account_url,
        check.attempt,
        check.method,
        check.caa_method,
        check.token,
        check.thumbprint,
        check.older,
    )
    return msgspec.structs.replace(asked(check, identities), attest=attest)


def attested(request: Request, identities: Collection[str]) -> CheckRequest | None:
    """The check that is to be attested, or None for a stock coordinator's request.

    Raises `Refused` when the two halves of the request differ: what is looked at and what is signed are one.
    """
    wanted = request.attest
    if wanted is None:
        return None
    check = CheckRequest(
        wanted.name,
        wanted.account_url,
        wanted.attempt,
        wanted.method,
        wanted.caa_method,
        wanted.token,
        wanted.thumbprint,
        wanted.older,
    )
    if msgspec.structs.replace(request, attest=None) != asked(check, identities):
        raise Refused(
            "open-mpic.contradiction",
            "the Open MPIC part of the request asks for something else than its attest object: see that both "
            "ends run one version and have the same ca.caa_identities",
        )
    return check


def challenge(request: DcvRequest, identities: Collection[str]) -> tuple[str, Challenge]:
    """The ACME method and challenge of a stock coordinator's request.

    Its key authorization is whatever the caller says.  Raises `Refused` for what has no ACME form.
    """
    parameters = request.dcv_check_parameters
    name, wildcard = split_wildcard(request.domain_or_ip_target)

    def made(digest: bytes, token: str = "", key_authorization: str = "", account_url: str = "") -> Challenge:
        return Challenge(name, wildcard, account_url, token, key_authorization, digest)

    if isinstance(parameters, AcmeHttp01):
        token, key_authorization = parameters.token, parameters.key_authorization
        if not _TOKEN.fullmatch(token):
            raise Refused("open-mpic.token", "the token is not base64url (RFC 8555 section 8.1)")
        digest = hashlib.sha256(key_authorization.encode()).digest()
        return "http-01", made(digest, token, key_authorization)
    if isinstance(parameters, AcmeDns01):
        return "dns-01", made(_unpadded(parameters.key_authorization_hash))
    if isinstance(parameters, AcmeTlsAlpn01):
        if not _HEX_DIGEST.fullmatch(parameters.key_authorization_hash):
            raise Refused("open-mpic.digest", "key_authorization_hash is no SHA-256 in hexadecimal")
        return "tls-alpn-01", made(bytes.fromhex(parameters.key_authorization_hash))
    if isinstance(parameters, DnsPersistent) and set(parameters.issuer_domain_names) <= set(identities):
        return "dns-persist-01", made(b"", account_url=parameters.expected_account_uri)
    raise Refused(
        "open-mpic.method",
        "asked without attest, this perspective looks at acme-http-01, acme-dns-01 and acme-tls-alpn-01, and "
        "at dns-persistent for its own issuer domain names",
    )


def issuance(request: CaaRequest, identities: Collection[str]) -> tuple[str, Issuance]:
    """The base name and the permission sought by a stock coordinator's request.

    Who names no account and no method is permitted by no record that asks for one.  A look-up that fails
    never permits, whatever the caller allows.  Raises `Refused` for another kind of certificate.
    """
    parameters = request.caa_check_parameters or CaaParameters()
    if parameters.certificate_type != "tls-server":
        raise Refused("open-mpic.certificate-type", "this perspective knows TLS server certificates only")
    accounts = parameters.account_uris or ("",)
    if len(accounts) != 1:
        raise Refused("open-mpic.account", "one issuance is for one account: name one of account_uris")
    name, wildcard = split_wildcard(request.domain_or_ip_target)
    domains = frozenset(domain.lower() for domain in parameters.caa_domains or identities)
    return name, Issuance(wildcard, domains, accounts[0], parameters.validation_method or "")


def control_response(control: ControlSeen, method: str, at: int) -> CheckResponse:
    """The reply about control.  `method` is the Open MPIC word, `at` POSIX seconds."""
    lines = " \n".join(control.trace)
    dialled, authenticated = _DIALLED.findall(lines), [_AD.match(line) for line in control.trace]
    seen = [found[1] == "1" for found in authenticated if found]
    details = Details(
        validation_method=method,
        ad_flag=all(seen) if seen else None,
        problem_type=control.problem or None,
        resolved_ip=dialled[-1] if dialled else None,
    )
    return _response("dcv", control.result, control.problem, control.detail, details, at)


def caa_response(seen: CaaSeen, at: int) -> CheckResponse:
    """The reply about CAA.  `at` in POSIX seconds."""
    details = Details(
        caa_record_present=bool(seen.found_at) if seen.result is not Result.INDETERMINATE else None,
        found_at=seen.found_at or None,
        records_seen=seen.records or None,
        ad_flag=seen.authenticated,
        problem_type=seen.problem or None,
    )
    return _response("caa", seen.result, seen.problem, seen.detail, details, at)


def attestation_response(looked: Looked, method: str) -> CheckResponse:
    """The reply with a statement and its facts: about control by `method`, or about CAA when that is ""."""
    statement = looked.signed.statement()
    seen: ControlSeen | CaaSeen | None = statement.control if method else statement.caa
    if isinstance(seen, ControlSeen):
        response = control_response(seen, method, statement.checked_at)
    else:
        assert seen is not None
        response = caa_response(seen, statement.checked_at)
    return msgspec.structs.replace(response, attestation=looked.signed, facts=looked.facts)


def method_word(request: DcvRequest) -> str:
    """The Open MPIC word for the method of the request."""
    return str(type(request.dcv_check_parameters).__struct_config__.tag)


def _response(
    kind: str, result: Result, problem: str, detail: str, details: Details, at: int
) -> CheckResponse:
    errors = None if result is Result.PASS else (CheckError(problem, detail),)
    completed = result is not Result.INDETERMINATE
    return CheckResponse(kind, result is Result.PASS, completed, errors, at * 10**9, details)


def _unpadded(text: str) -> bytes:
    try:
        digest = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size or "=" in text:
        raise Refused("open-mpic.digest", "key_authorization_hash is no SHA-256 in base64url")
    return digest
