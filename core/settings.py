"""Every setting of the CA, its default and its meaning.

`config.toml` shows them all with these comments (a test compares the two).  A setting arrives together with
its feature; an unknown key is an error (core/configuration.py loads and checks).  Durations are seconds
unless the name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Rules(StrEnum):
    """Whose rules bind: the Baseline Requirements, or RFC 5280 and the operator's own policy."""

    PUBLIC = "public"
    PRIVATE = "private"


class CtMode(StrEnum):
    """Whether leaves carry SCTs."""

    OFF = "off"
    ON = "on"


class ResponderMaker(StrEnum):
    """Who certifies the delegated OCSP responders."""

    VAULT = "vault"
    CEREMONY = "ceremony"


class ExternalAccount(StrEnum):
    """Whether a new account must be bound to somebody whom the operator knows (RFC 8555 section 7.3.4)."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


class ModuleKind(StrEnum):
    """Which PKCS#11 module: what it wants of us is data (signer/vault/tokens/modules.py)."""

    SOFTHSM2 = "softhsm2"
    NSS = "nss"
    OPENCRYPTOKI = "opencryptoki"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True)
class Ca:
    """[ca]  Who we are and whose rules bind."""

    rules: Rules = Rules.PRIVATE
    organization: str = "Example Private CA"
    country: str = "JP"
    caa_identities: tuple[str, ...] = ("ca.example",)
    local_names: tuple[str, ...] = ("localhost", "*.localhost")
    policy_oid: str = ""
    terms_version: str = "1"
    cps_version: str = "1.0"
    practice: str = ""
    contact: str = "mailto:pki@ca.example"
    blocklist: str = ""
    high_risk: str = ""
    rollover_notice: int = 180 * 86400


@dataclass(frozen=True, slots=True)
class Deployment:
    """[deployment]  How it is run."""

    mode: str = "embedded"
    production: bool = False
    isolate: bool = True


@dataclass(frozen=True, slots=True)
class Acme:
    """[acme]  The ACME server (RFC 8555)."""

    listen: tuple[str, ...] = ("127.0.0.1:14000",)
    base_url: str = "https://localhost:14000"
    tls_names: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    trusted_proxies: tuple[str, ...] = ()
    proxy_header: str = "X-Forwarded-For"
    order_lifetime: int = 7 * 86400
    authorization_lifetime: int = 30 * 86400
    authorization_reuse: int = 7 * 3600
    poll_interval: int = 1
    preflight: bool = True
    hold: int = 2
    website: str = ""
    external_account: ExternalAccount = ExternalAccount.OFF
    binding_secret_file: str = ""


@dataclass(frozen=True, slots=True)
class Perspective:
    """[[validation.perspectives]]  One network perspective; the first is the primary.

    `region` is the RIR service region ("ARIN", "RIPE NCC", "APNIC", "LACNIC", "AFRINIC"); `latitude` and
    `longitude` in degrees.  `url` is where it is asked by mutual TLS; "" is a process of this machine.
    """

    code: str = "local"
    region: str = "APNIC"
    latitude: float = 35.68
    longitude: float = 139.77
    url: str = ""


@dataclass(frozen=True, slots=True)
class Validation:
    """[validation]  Domain control and CAA."""

    perspectives: tuple[Perspective, ...] = (Perspective(),)
    unbound: str = ""
    unbound_include: str = ""
    trust_anchor: str = "/usr/share/dns/root.key"
    resolvers: tuple[str, ...] = ()
    resolver_config: str = ""
    canary_bogus: str = ""
    canary_signed: str = ""
    http_port: int = 80
    https_port: int = 443
    tls_alpn_port: int = 443
    allowed_networks: tuple[str, ...] = ()
    barred_networks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("http-01", "dns-01", "tls-alpn-01", "dns-account-01")
    persist_plain: bool = False
    attempts: int = 7
    concurrency: int = 200
    key_passphrase_file: str = ""


@dataclass(frozen=True, slots=True)
class Mpic:
    """[mpic]  The channel between the coordinator and perspectives elsewhere (BR 3.2.2.9)."""

    zone: str = ""
    listen: tuple[str, ...] = ()
    connections: int = 64
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class ApprovedToken:
    """[[vault.approved_tokens]]  A kind of token that production may use (signer/vault/people/approval.py).

    `certificate` is the device's validation as the ceremony recorded it ("FIPS 140-3 #4735"); `module_sha256`
    is over the PKCS#11 module's file, hex.
    """

    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    certificate: str = ""
    module_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Vault:
    """[vault]  The process that holds the token."""

    module: str = "/usr/lib/softhsm/libsofthsm2.so"
    module_kind: ModuleKind = ModuleKind.SOFTHSM2
    token_timeout: int = 10
    approved_tokens: tuple[ApprovedToken, ...] = ()
    pin_file: str = ""
    threads: int = 2
    lint_workers: int = 2
    lint_sample: int = 250
    zlint: str = ""
    responders: ResponderMaker = ResponderMaker.VAULT
    responder_lifetime: int = 14 * 86400
    responder_renewal: int = 7 * 86400
    manifest_keys: tuple[str, ...] = ("manifest-1",)


@dataclass(frozen=True, slots=True)
class Ct:
    """[ct]  Certificate Transparency."""

    mode: CtMode = CtMode.OFF
    log_list: str = ""
    log_list_signature: str = ""
    log_list_key: str = ""
    request_timeout: int = 10
    hedge: int = 2
    patience: int = 30


@dataclass(frozen=True, slots=True)
class Status:
    """[status]  OCSP and CRL."""

    ocsp_validity: int = 96 * 3600
    ocsp_refresh: int = 24 * 3600
    ocsp_files: bool = False
    workers: int = 1
    ocsp_max_age: int = 3600
    ocsp_certificates: int = 5
    crl_validity: int = 7 * 86400
    crl_refresh: int = 86400
    crl_delay: int = 10
    crl_shards: int = 1
    issuer_crl_shards: dict[str, int] = field(default_factory=dict)
    crl_size: int = 10_000_000

    def shards_of(self, issuer_id: str) -> int:
        """How many CRLs this issuer has."""
        return self.issuer_crl_shards.get(issuer_id, self.crl_shards)


@dataclass(frozen=True, slots=True)
class Repository:
    """[repository]  The public HTTP server of relying parties: repository, OCSP, CRL."""

    listen: tuple[str, ...] = ("127.0.0.1:14080",)
    base_url: str = "http://localhost:14080"
    report_url: str = ""
    report_personal_data: int = 90 * 86400
    manifest_validity: int = 86400
    manifest_refresh: int = 3600
    manifest_pins: tuple[str, ...] = ()
    maintenance: str = ""


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """[test_sites]  Sites for relying parties to try: valid, revoked, expired (BR 2.2)."""

    zone: str = ""
    listen: tuple[str, ...] = ("127.0.0.1:14443",)
    families: tuple[str, ...] = ("ec", "rsa")
    profile: str = ""
    expired_life: int = 300
    forwarded: bool = False
    binding_file: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """[database]  The embedded database."""

    group_commit: int = 256
    busy_timeout: int = 5


@dataclass(frozen=True, slots=True)
class Redis:
    """[redis]  Nonces and rate limits that several fronts share; `url` "" keeps them in memory."""

    url: str = ""
    password_file: str = ""
    secret_file: str = ""
    ca_file: str = ""
    prefix: str = "acme"
    timeout: int = 1


@dataclass(frozen=True, slots=True)
class Metrics:
    """[metrics]  Prometheus metrics and health, for operators only."""

    listen: tuple[str, ...] = ("127.0.0.1:14090",)


@dataclass(frozen=True, slots=True)
class Limits:
    """[limits]  Bounds on what a stranger may send or hold."""

    body_octets: int = 65536
    json_depth: int = 16
    identifiers_per_order: int = 100
    contacts_per_account: int = 10
    connections: int = 10000
    connections_address: int = 500
    request_timeout: int = 30
    validations_waiting: int = 1000
    failures_free: int = 5
    failure_wait: int = 900
    failure_wait_most: int = 86400
    requests_address: int = 1000
    requests_address_period: int = 10
    new_account_address: int = 10
    new_account_address_period: int = 3 * 3600
    new_account_binding: int = 1000
    new_account_binding_period: int = 86400
    change_account: int = 200
    change_account_period: int = 86400
    new_order_account: int = 10000
    new_order_account_period: int = 86400
    certificate_domain: int = 10000
    certificate_domain_period: int = 7 * 86400
    certificate_set: int = 10
    certificate_set_period: int = 7 * 86400
    limits_account: int = 60
    limits_account_period: int = 60
    explain_account: int = 60
    explain_account_period: int = 60
    preflight_account: int = 100
    preflight_account_period: int = 3600
    preflight_domain: int = 50
    preflight_domain_period: int = 3600
    ocsp_signatures: int = 2000
    ocsp_signatures_period: int = 10
    ocsp_signatures_address: int = 100
    ocsp_signatures_address_period: int = 10


@dataclass(frozen=True, slots=True)
class Renewal:
    """[renewal]  ARI (RFC 9773): when clients that ask are told to renew, and when to ask again."""

    earliest: int = 60
    latest: int = 72
    short_life: int = 10 * 86400
    short_earliest: int = 40
    short_latest: int = 55
    retry_after: int = 6 * 3600
    retry_after_incident: int = 3600
    max_age: int = 300


@dataclass(frozen=True, slots=True)
class Profile:
    """[profiles.NAME]  A certificate profile (draft-ietf-acme-profiles).

    `identifiers` are the types of identifiers that its certificates may have (core.identifiers.TYPES);
    `description` is what clients show people, "" for a sentence that is made of the rest.  One that is not
    `offered` serves the orders that have it, and no new one.
    """

    description: str = ""
    offered: bool = True
    validity: int = 90 * 86400
    identifiers: tuple[str, ...] = ("dns",)
    client_auth: bool = False
    key_encipherment: bool = True
    ocsp: bool = True
    crl: bool = True
    issuers: tuple[str, ...] = ()


def shipped_profiles() -> dict[str, Profile]:
    """The profiles of a CA whose settings name none, the preferred one first (docs/adr/0024)."""
    return {
        "tlsserver": Profile(),
        "ip": Profile(validity=6 * 86400, identifiers=("dns", "ip")),
        "shortlived": Profile(validity=6 * 86400, identifiers=("dns", "ip"), ocsp=False, crl=False),
    }


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections."""

    ca: Ca = field(default_factory=Ca)
    deployment: Deployment = field(default_factory=Deployment)
    acme: Acme = field(default_factory=Acme)
    validation: Validation = field(default_factory=Validation)
    mpic: Mpic = field(default_factory=Mpic)
    vault: Vault = field(default_factory=Vault)
    ct: Ct = field(default_factory=Ct)
    status: Status = field(default_factory=Status)
    repository: Repository = field(default_factory=Repository)
    test_sites: SiteSettings = field(default_factory=SiteSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    redis: Redis = field(default_factory=Redis)
    metrics: Metrics = field(default_factory=Metrics)
    limits: Limits = field(default_factory=Limits)
    renewal: Renewal = field(default_factory=Renewal)
    profiles: dict[str, Profile] = field(default_factory=shipped_profiles)
