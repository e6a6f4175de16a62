"""The Open MPIC wire: the shapes of a check's request and reply, in JSON, pure.

They are those of open-mpic-core 6.5.0.  Our coordinator adds one object to the request (`attest`: what a
statement is to say) and our perspectives two members to the reply (`attestation`: the statement, signed;
`facts`: core/facts.py).  Stock peers ignore them, as we ignore what we do not know.  What the words mean is
in translation.py.

BR 3.2.2.9; docs/adr/0017-remote-perspectives.md has the table of methods.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from core.errors import Refused
from core.evidence import SignedStatement

REQUEST_OCTETS = 16 * 1024
"""A request holds a name, an account URL, some tokens and our few issuer domain names."""

REPLY_OCTETS = 256 * 1024
"""A statement with a full trace and a full CAA set, in base64, and once more in the details."""

PERSIST_PREFIX = "_validation-persist"

Text = Annotated[str, Meta(max_length=2048)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Names = Annotated[tuple[Name, ...], Meta(max_length=64)]


class AcmeHttp01(msgspec.Struct, frozen=True, tag_field="validation_method", tag="acme-http-01"):
    """http-01."""

    token: Text
    key_authorization: Text
    require_exact_case: bool = True


class AcmeDns01(msgspec.Struct, frozen=True, tag_field="validation_method", tag="acme-dns-01"):
    """dns-01; the hash is the text of the TXT record (base64url)."""

    key_authorization_hash: Text
    dns_name_prefix: Text = "_acme-challenge"
    dns_record_type: Text = "TXT"
    require_exact_case: bool = True


class AcmeTlsAlpn01(msgspec.Struct, frozen=True, tag_field="validation_method", tag="acme-tls-alpn-01"):
    """tls-alpn-01; the hash is in hexadecimal."""

    key_authorization_hash: Text
    require_exact_case: bool = False


class DnsChange(msgspec.Struct, frozen=True, tag_field="validation_method", tag="dns-change"):
    """A record below the name: in it travels dns-account-01, which core only has a name for."""

    challenge_value: Text
    dns_name_prefix: Text | None = None
    dns_record_type: Text = "TXT"
    require_exact_match: bool = False
    require_exact_case: bool = True


class DnsPersistent(msgspec.Struct, frozen=True, tag_field="validation_method", tag="dns-persistent"):
    """dns-persist-01.  Core compares the URI without case and knows no `policy`; we do neither."""

    issuer_domain_names: Names
    expected_account_uri: Text
    dns_name_prefix: Text = PERSIST_PREFIX
    dns_record_type: Text = "TXT"
    require_exact_case: bool = False


DcvParameters = AcmeHttp01 | AcmeDns01 | AcmeTlsAlpn01 | DnsChange | DnsPersistent


class CaaParameters(msgspec.Struct, frozen=True):
    """`account_uris` and `validation_method` are ours: RFC 8657 asks for them, core does not."""

    certificate_type: Text = "tls-server"
    caa_domains: Names | None = None
    allow_lookup_failure: bool = False
    account_uris: Names | None = None
    validation_method: Text | None = None


class Attest(msgspec.Struct, frozen=True):
    """What our coordinator wants attested: a `CheckRequest`."""

    name: Name
    account_url: Text
    attempt: Text
    method: Text
    caa_method: Text
    token: Text = ""
    thumbprint: Text = ""
    older: Names = ()


class DcvRequest(msgspec.Struct, frozen=True):
    """POST /dcv."""

    domain_or_ip_target: Name
    dcv_check_parameters: DcvParameters
    trace_identifier: Text | None = None
    attest: Attest | None = None


class CaaRequest(msgspec.Struct, frozen=True):
    """POST /caa."""

    domain_or_ip_target: Name
    caa_check_parameters: CaaParameters | None = None
    trace_identifier: Text | None = None
    attest: Attest | None = None


class CheckError(msgspec.Struct, frozen=True):
    """Why a check did not pass; with us `error_type` is an ACME error word or the code of a refusal."""

    error_type: Text
    error_message: Text


class Details(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was seen.  `problem_type`, `resolved_ip` and, for CAA, `ad_flag` are ours."""

    validation_method: Text | None = None
    caa_record_present: bool | None = None
    found_at: Text | None = None
    records_seen: Annotated[tuple[Text, ...], Meta(max_length=1000)] | None = None
    ad_flag: bool | None = None
    problem_type: Text | None = None
    resolved_ip: Text | None = None


class CheckResponse(msgspec.Struct, frozen=True):
    """The reply to either."""

    check_type: Text
    check_passed: bool = False
    check_completed: bool = False
    errors: Annotated[tuple[CheckError, ...], Meta(max_length=64)] | None = None
    timestamp_ns: int | None = None
    details: Details = Details()
    attestation: SignedStatement | None = None
    facts: bytes | msgspec.UnsetType = msgspec.UNSET


class Refusal(msgspec.Struct, frozen=True):
    """The body of an answer with an HTTP error status."""

    errors: Annotated[tuple[CheckError, ...], Meta(max_length=64)] = ()


Request = DcvRequest | CaaRequest
_Shape = TypeVar("_Shape")
_encode = msgspec.json.Encoder().encode


def encode(message: object) -> bytes:
    """The JSON of a message."""
    return _encode(message)


def decode(octets: bytes, shape: type[_Shape]) -> _Shape:
    """The message.  Fields that we do not know are ignored.  Raises `Refused`."""
    try:
        return msgspec.json.decode(octets, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("open-mpic.malformed", f"no Open MPIC message that is known here: {error}") from error
