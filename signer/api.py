"""What the vault can be asked, and in which words.

The vault is a process of its own behind a Unix socket (core/rpc.py).  It trusts none of its callers: every
request carries all that is needed to judge it (docs/issuance.md).  Times are POSIX seconds, serial numbers
are the content octets of their DER INTEGER, certificates and keys are DER.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.evidence import SignedStatement
from core.rpc import Method
from signer.crls import CrlBlocks as CrlBlocks
from signer.crls import CrlEntry as CrlEntry
from signer.crls import CrlRequest as CrlRequest
from signer.crls import SignedCrl as SignedCrl


@dataclass(frozen=True, slots=True)
class Nothing:
    """No parameters, or no result."""


class KeyUse(StrEnum):
    """What a key in the vault is for; a key has one use only."""

    ROOT = "root"
    ISSUING = "issuing"
    LOCAL_SERVICE = "local-service"
    OCSP = "ocsp"


class IssuerState(StrEnum):
    """What an issuing key may do: nothing yet; all; CRLs and OCSP answers only; nothing any more."""

    PLANNED = "planned"
    ACTIVE = "active"
    RETIRED = "retired"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class IssuerInfo:
    """An issuing CA as the vault holds it.

    `id` is stable for ever and names the issuer in URLs and rows; `algorithm` is "rsa-2048", "ec-p256" ...;
    `use` tells the public profile's issuers from the local-service issuer; `chain` is the issuer's own
    certificate first and the root last; `name_sha1`/`key_sha1`/`..._sha256` are the CertID hashes of
    RFC 6960 section 4.1.1 (over the subject Name's DER and the public key's BIT STRING octets).
    `since` and `until` are the planned first and last second of signing leaves, 0 for none; `alternates` are
    the other chains, by cross-certificates, each with its own trust anchor last.
    """

    id: str
    use: KeyUse
    algorithm: str
    certificate: bytes
    chain: tuple[bytes, ...]
    name_sha1: bytes
    key_sha1: bytes
    name_sha256: bytes
    key_sha256: bytes
    state: IssuerState = IssuerState.ACTIVE
    since: int = 0
    until: int = 0
    alternates: tuple[tuple[bytes, ...], ...] = ()

    @property
    def chains(self) -> tuple[tuple[bytes, ...], ...]:
        """The default chain and the alternate ones."""
        return (self.chain, *self.alternates)


@dataclass(frozen=True, slots=True)
class ResponderInfo:
    """The delegated OCSP responder in use for one issuer (RFC 6960 section 4.2.2.2)."""

    issuer_id: str
    certificate: bytes
    not_after: int


@dataclass(frozen=True, slots=True)
class Description:
    """The vault's own account of itself; `root` is the trust anchor's certificate.

    `root_crl` is the root's CRL of CA certificates as the last ceremony signed it, to be published as
    /crl/root-0.crl.  `ct` tells whether leaves begin as precertificates.  `perspective_keys` are the pinned
    SubjectPublicKeyInfos, in the order of `perspectives`.
    """

    rules: str
    root: bytes
    issuers: tuple[IssuerInfo, ...]
    responders: tuple[ResponderInfo, ...]
    perspectives: tuple[str, ...]
    linter: str
    journal_sequence: int
    root_crl: bytes = b""
    ct: bool = False
    perspective_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Applicant:
    """The subscriber's own words, signed with the account key (docs/adr/0012).

    `finalize` is the request of RFC 8555 section 7.4 as it came in (a JWS in flattened JSON), `jwk` the
    account key that signed it, in JSON.  `key_changes` are the account's keyChange requests (section 7.3.5),
    the newest first, that led to this key: they tie to it an older one with which a name was validated.
    """

    jwk: bytes
    finalize: bytes
    key_changes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class LeafRequest:
    """All that the vault needs to judge and build a leaf.

    `names` are A-labels in lower case, wildcards with their "*.", in the order they will stand in the
    SAN.  `public_key` is a SubjectPublicKeyInfo.  `crl_shard` is fixed for the certificate's life.
    `evidence` holds for every name the statements of all perspectives of the attempt that passed, and the
    newer CAA statements where CAA was rechecked.  `applicant` is None only in the vault's own requests.
    """

    issuance_id: str
    serial: bytes
    issuer_id: str
    profile: str
    names: tuple[str, ...]
    account_url: str
    public_key: bytes
    not_before: int
    not_after: int
    crl_shard: int
    evidence: tuple[SignedStatement, ...]
    applicant: Applicant | None = None


@dataclass(frozen=True, slots=True)
class LintRecord:
    """What the linters said of the to-be-signed bytes; `findings` below error, as "severity code".

    `linters` with their versions; `lint_set` is the rules, the kind of document and the day from which the
    newest rule binds: "public leaf 2026-06-15".
    """

    linters: tuple[str, ...]
    findings: tuple[str, ...]
    lint_set: str = ""


@dataclass(frozen=True, slots=True)
class FinalRequest:
    """The certificate of a precertificate that the vault signed before; `scts` are encoded (RFC 6962 3.3)."""

    issuance_id: str
    scts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A verified, built and linted TBSCertificate waiting in the vault; `token` can be used once.

    `precertificate` says that it is one, and a certificate comes with `FinalRequest`.
    """

    token: str
    tbs_sha256: bytes
    lint: LintRecord
    precertificate: bool = False


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """Sign what `token` stands for."""

    token: str


@dataclass(frozen=True, slots=True)
class Issued:
    """The signed certificate; its journal result was durable before this was sent."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class RecallRequest:
    """What became of an issuance?"""

    issuance_id: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """The journal's answer: no intent, an intent without result (`certificate` None), or the result.

    The crash rule (docs/issuance.md): an intent without result means that the key may have been used, and
    the serial counts as issued.  `lint` stands beside a certificate.  With CT `precertificate` is what was
    signed first, and `followed` says that the certificate itself was begun.
    """

    intent: bool
    certificate: bytes | None
    lint: LintRecord | None = None
    precertificate: bytes | None = None
    followed: bool = False


@dataclass(frozen=True, slots=True)
class LocalServiceRequest:
    """A TLS server certificate for our own directory, from the local-service issuer.

    The vault takes names and validity from its own settings, so a caller can choose neither.
    """

    serial: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """A status to be signed by the issuer's delegated responder (RFC 6960 section 4.2.1).

    `hash_name` is "sha1" or "sha256", the CertID's algorithm.  `revoked_at` None means good; `reason` is the
    RFC 5280 section 5.3.1 code, None or 0 when absent.
    """

    issuer_id: str
    serial: bytes
    hash_name: str
    this_update: int
    next_update: int
    revoked_at: int | None
    reason: int | None


@dataclass(frozen=True, slots=True)
class OcspList:
    """Several statuses in one answer (RFC 6960 section 4.2.1), in this order.

    All of one issuer, since one responder signs; thisUpdate and nextUpdate are those of each status.
    """

    statuses: tuple[OcspRequest, ...]


@dataclass(frozen=True, slots=True)
class Signed:
    """A DER OCSPResponse."""

    der: bytes


@dataclass(frozen=True, slots=True)
class ManifestRequest:
    """A manifest of the repository to be signed: JSON (docs/relying-parties.md)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A JWS in its general JSON serialization (RFC 7515 section 7.2.1), with the manifest in it."""

    jws: bytes


@dataclass(frozen=True, slots=True)
class BlockKeyRequest:
    """Never certify this key again; `spki_sha256` is SHA-256 over its SubjectPublicKeyInfo."""

    spki_sha256: bytes


@dataclass(frozen=True, slots=True)
class JournalRequest:
    """Journal entries after `after` (0 for all), at most `limit` of them."""

    after: int
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One record of key use.

    `kind` is "intent", "result", "crl", "ocsp-responder", "start", "stop" ...; `serial` and `issuer_id` are
    empty where they do not apply; `certificate` is the result's DER; `tbs` the intent's to-be-signed bytes;
    `lint` what the linters said of them, in both; `order` the SHA-256 of the finalize URL for which the
    account asked, in both, b"" for the vault's own; `hash` chains to the entry before.
    """

    sequence: int
    at: int
    kind: str
    issuance_id: str
    issuer_id: str
    serial: bytes
    tbs: bytes
    certificate: bytes
    lint: LintRecord | None = None  # a field that came later has a default: older entries do not hold it
    order: bytes = b""
    hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Journal:
    """A page of the journal."""

    entries: tuple[JournalEntry, ...]


@dataclass(frozen=True, slots=True)
class ActivationState:
    """Whether the vault's token is open, and what people have come for.

    `token` is the token's serial number.  `threshold` of `holders` people open it; 0 when its PIN lies in a
    file, which does not conform to BR 6.2.  `since` (POSIX seconds): since when it is as it is; of a locked
    one, when it was last known to be open.  `session_key` is what people sign and seal to (consent.py),
    another after every opening and closing.  `activating`, `deactivating` and `resuming` name those whose
    word is here.  `halted` says who halted issuance and why, "" when it is not; `halt` numbers that journal
    entry.
    """

    token: str
    locked: bool
    threshold: int
    holders: int
    since: int
    session_key: bytes
    activating: tuple[str, ...] = ()
    deactivating: tuple[str, ...] = ()
    resuming: tuple[str, ...] = ()
    halted: str = ""
    halted_at: int = 0
    halt: int = 0


@dataclass(frozen=True, slots=True)
class ActivateRequest:
    """One holder's share, sealed to the vault's session key and signed (signer/consent.py)."""

    holder_id: str
    index: int
    sealed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """A person's signed word that the vault be locked, or that issuance go on (signer/consent.py).

    Where the PIN lies in a file there is nobody to sign: then `actor` alone says who asks (core/rpc.py).
    """

    actor: str
    holder_id: str = ""
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class HaltRequest:
    """Stop issuing; `actor` says who asks and `reason` why."""

    actor: str
    reason: str


DESCRIBE = Method("describe", Nothing, Description)
PREPARE = Method("prepare", LeafRequest, Prepared)
PREPARE_FINAL = Method("prepare-final", FinalRequest, Prepared)
ISSUE = Method("issue", IssueRequest, Issued)
RECALL = Method("recall", RecallRequest, Recalled)
LOCAL_SERVICE = Method("local-service", LocalServiceRequest, Issued)
SIGN_OCSP = Method("sign-ocsp", OcspRequest, Signed)
SIGN_OCSP_LIST = Method("sign-ocsp-list", OcspList, Signed)
HOLD_CRL_BLOCKS = Method("hold-crl-blocks", CrlBlocks, Nothing)
SIGN_CRL = Method("sign-crl", CrlRequest, SignedCrl)
SIGN_MANIFEST = Method("sign-manifest", ManifestRequest, SignedManifest)
BLOCK_KEY = Method("block-key", BlockKeyRequest, Nothing)
JOURNAL = Method("journal", JournalRequest, Journal)
ACTIVATION = Method("activation", Nothing, ActivationState)
ACTIVATE = Method("activate", ActivateRequest, ActivationState)
DEACTIVATE = Method("deactivate", ConsentRequest, ActivationState)
HALT = Method("halt", HaltRequest, ActivationState)
RESUME = Method("resume", ConsentRequest, ActivationState)
