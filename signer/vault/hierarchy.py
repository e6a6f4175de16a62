"""The hierarchy of a data directory: made once in a ceremony, sealed by the root key, checked at every start.

`create` is the substance of the embedded ceremony.  The issuing keys are born in one token and the root key
in another, which the vault never opens; the root signs the certificates, its own CRL and the seal.  The seal
(`hierarchy.json`) fixes what must not change by editing a file: whose rules bind, which keys issue, which
perspectives are believed.

Must never: open the root token outside `create`; leave half a hierarchy behind.

BR 6.1.1.1 (CA key pair generation), 6.1.7 (the root key signs no leaf); CPS 6.1, 6.2.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError, HaltIssuance
from core.randomness import Randomness, token
from core.settings import Settings
from signer import serials
from signer.api import KeyUse
from signer.vault import adapter, algorithms, ca_certificates, crl, modules, profiles
from signer.vault import seal as seals
from signer.vault.authority import Issuer
from signer.vault.journal import Journal, Kind
from signer.vault.keys import Key, KeyAlgorithm
from signer.vault.lint import Kind as LintKind
from signer.vault.lint import LintPool
from signer.vault.seal import (
    VERSION,
    Hierarchy,
    SealedIssuer,
    SealedPerspective,
    SealedToken,
    TokenRole,
    seal,
    unseal,
)
from signer.vault.token import Cryptoki, Session

ROOT_ID = "root"
ROOT_ALGORITHM = KeyAlgorithm.EC_P384
_ISSUERS = (
    # RSA-2048 and not more: BR 6.1.5 allows it, and a soft token makes four times as many signatures as 3072.
    ("rsa-1", KeyUse.ISSUING, KeyAlgorithm.RSA_2048, "RSA Issuing CA 1"),
    ("ec-1", KeyUse.ISSUING, KeyAlgorithm.EC_P256, "EC Issuing CA 1"),
    ("local-1", KeyUse.LOCAL_SERVICE, KeyAlgorithm.EC_P256, "Local Service CA 1"),
)
_LINT_KINDS = {KeyUse.ISSUING: LintKind.ISSUING, KeyUse.LOCAL_SERVICE: LintKind.LOCAL_SERVICE_ISSUER}
_BACKDATE = 3600
"""Seconds: a client whose clock is an hour slow still accepts the chain; BR 7.1.2.1 allows a day."""

_ROOT_CRL_LIFETIME = 300 * 86400
"""Seconds; BR 4.9.7 allows 12 months.  The next one needs the root key, and so a ceremony."""

_UNFINISHED = "ceremony.unfinished"


Progress = Callable[[str], None]


def exists(data: DataDirectory) -> bool:
    """Whether the ceremony of this data directory is complete."""
    return data.hierarchy.exists()


def create(
    data: DataDirectory,
    settings: Settings,
    clock: Clock,
    randomness: Randomness,
    perspectives: Mapping[str, bytes],
    progress: Progress = lambda step: None,
) -> Hierarchy:
    """Hold the ceremony: tokens, keys, certificates, trust anchor, seal.  `perspectives` maps code to SPKI.

    Everything is made in a directory aside and moved into place at the end, `hierarchy.json` last; a ceremony
    that was killed leaves nothing that counts, and the next one starts afresh.  The PINs go to files of mode
    0600 (vault.pin_file or vault/pin; vault/root-pin): a convenience of the embedded mode that does not
    conform to BR 6.2 and is reported so.  Runs an event loop of its own, so it is called outside of one.
    Raises `ConfigurationError`, `HaltIssuance`.
    """
    aside = data.root / _UNFINISHED
    _must_be_free(data, aside)
    pinned = _pinned(settings, perspectives)
    for part in ("tokens", "vault"):
        (aside / part).mkdir(parents=True, mode=0o700)
    now = clock.now()

    progress("issuing token: made, with one RSA and two EC keys generated inside")
    pin = _pin(_pin_file(settings, data), aside / "vault" / "pin", randomness)
    issuing_token, issuing_keys = _generate(
        settings,
        aside,
        "issuing",
        pin,
        randomness,
        {id: algorithm for id, _, algorithm, _ in _ISSUERS},
    )

    progress("root token: made, with an EC P-384 key generated inside")
    root_pin = _pin(None, aside / "vault" / "root-pin", randomness)
    with _Opened(settings, aside / "tokens" / "root", aside / "vault" / "ceremony.conf") as cryptoki:
        root_token = cryptoki.make_token("root", token(randomness, 24), root_pin)
        session = Session(cryptoki.open(root_token, root_pin, read_write=True))
        root_key = session.generate(ROOT_ID, ROOT_ALGORITHM)

        serial_of = {id: serials.draw(randomness) for id in (ROOT_ID, *issuing_keys)}
        plan = _Plan(settings, now - _BACKDATE, root_key, issuing_keys, serial_of)
        progress("certificates: built and linted before the root key signs them")
        draft = plan.certificates(adapter.unsigned(root_key.public_key))
        draft_crl = _root_crl_tbs(settings, draft[ROOT_ID], now)
        asyncio.run(_lint(draft, crl.dummy_signed(*draft_crl), settings))
        progress("certificates: signed by the root key")
        certificates = plan.certificates(
            adapter.private_key(root_key.public_key, lambda tbs: session.sign(root_key, tbs))
        )
        for id, certificate in certificates.items():
            _must_be_as_linted(draft[id], certificate)

        hierarchy = Hierarchy(
            version=VERSION,
            created_at=now,
            rules=settings.ca.rules,
            root=certificates[ROOT_ID],
            root_crl=_signed_crl(*draft_crl, lambda tbs: session.sign(root_key, tbs)),
            issuers=tuple(
                SealedIssuer(id, use, algorithm, id, certificates[id]) for id, use, algorithm, _ in _ISSUERS
            ),
            perspectives=pinned,
            tokens=(
                SealedToken("root", root_token, TokenRole.ROOT),
                SealedToken("issuing", issuing_token, TokenRole.ISSUING),
            ),
        )
        progress("hierarchy.json: sealed by the root key")
        sealed = seal(hierarchy, lambda octets: session.sign(root_key, octets))
    _install(data, settings, aside, sealed, hierarchy)
    progress(f"trust anchor: {data.trust_anchor}")
    return load(data, settings)


def load(data: DataDirectory, settings: Settings) -> Hierarchy:
    """The hierarchy, its seal checked against the root certificate and trust-anchor.pem.

    Raises `ConfigurationError` when there is none or when `ca.rules` is not what was sealed; `HaltIssuance`
    when the file was changed.
    """
    try:
        content = data.hierarchy.read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{data.root} holds no hierarchy: hold the ceremony first (make run does), or change --data"
        ) from error
    try:
        hierarchy = unseal(content, data.trust_anchor.read_bytes())
    except (ValueError, OSError) as error:
        raise HaltIssuance(
            f"{data.hierarchy} is not what the root key sealed ({error}): restore it from a backup and find "
            "out who changed it"
        ) from error
    if hierarchy.rules != settings.ca.rules:
        raise ConfigurationError(
            f"ca.rules is {settings.ca.rules.value!r}, but {data.root} was made under {hierarchy.rules!r} "
            f"rules, which its certificates promise for ever: set ca.rules = {hierarchy.rules!r}, or make "
            "another CA in another --data directory"
        )
    return hierarchy


async def must_not_be_older(journal: Journal, hierarchy: Hierarchy, path: Path) -> None:
    """That no older seal was put back in the place of a newer one; the newest is remembered.

    An old seal is a good signature still: it would bring back a revoked issuer or a perspective that is
    believed no more.  Raises `HaltIssuance`.
    """
    sequence, digest = journal.hierarchy
    found = seals.digest(hierarchy)
    if (hierarchy.sequence, found) == (sequence, digest):
        return
    if hierarchy.sequence <= sequence:
        what = "older than" if hierarchy.sequence < sequence else "another than"
        raise HaltIssuance(
            f"{path} is sealed as number {hierarchy.sequence}, {what} number {sequence}, which the vault has "
            "used: restore the newest one from a backup and find out who put this one here"
        )
    await journal.append(Kind.HIERARCHY, issuance_id=f"hierarchy:{hierarchy.sequence}", tbs=found)


def authority(settings: Settings, id: str, certificate: bytes) -> Issuer:
    """An issuer for the templates, with the URLs at which the repository publishes its things."""
    base = settings.repository.base_url
    return Issuer.from_certificate(
        id,
        certificate,
        ocsp_url=f"{base}/ocsp",
        ca_issuers_url=f"{base}/issuers/{id}.crt",
        crl_url_template=f"{base}/crl/{id}-{{shard}}.crl",
    )


def read_pin(settings: Settings, data: DataDirectory) -> str:
    """The issuing token's PIN.  Raises `ConfigurationError` with the remedy."""
    path = _pin_file(settings, data)
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(
            f"the PIN of the issuing token cannot be read from {path} ({error.strerror}): set vault.pin_file"
        ) from error


class _Opened:
    """A module on one token directory, finalised at the end: the next one may look at another."""

    def __init__(self, settings: Settings, tokens: Path, configuration: Path) -> None:
        self._module = modules.configured(settings, tokens, configuration)

    def __enter__(self) -> Cryptoki:
        self._cryptoki = Cryptoki(self._module)
        return self._cryptoki

    def __exit__(self, *_: object) -> None:
        self._cryptoki.close()


@dataclass(frozen=True, slots=True)
class _Plan:
    """All certificates of the hierarchy, made alike by the dummy key that is linted and by the root key."""

    settings: Settings
    not_before: int
    root_key: Key
    issuing_keys: Mapping[str, Key]
    serials: Mapping[str, bytes]

    def certificates(self, key: ca_certificates.PrivateKey) -> dict[str, bytes]:
        """DER by issuer id, the root first."""
        base = self.settings.repository.base_url
        urls = ca_certificates.Urls(f"{base}/issuers/{ROOT_ID}.crt", f"{base}/crl/{ROOT_ID}-0.crl")
        root = ca_certificates.root(key, self._subject("Root CA 1"), self.serials[ROOT_ID], self.not_before)
        made = {ROOT_ID: root}
        for id, use, _, name in _ISSUERS:
            public_key, serial = self.issuing_keys[id].public_key, self.serials[id]
            if use is KeyUse.LOCAL_SERVICE:
                made[id] = ca_certificates.local_service_issuer(
                    root,
                    key,
                    public_key,
                    self._subject(name),
                    serial,
                    self.not_before,
                    urls,
                    names=self.settings.acme.tls_names,
                )
            else:
                made[id] = ca_certificates.issuing(
                    root,
                    key,
                    public_key,
                    self._subject(name),
                    serial,
                    self.not_before,
                    urls,
                    policies=_policies(self.settings),
                )
        return made

    def _subject(self, name: str) -> ca_certificates.Subject:
        ca = self.settings.ca
        return ca_certificates.Subject(ca.country, ca.organization, f"{ca.organization} {name}")


def _policies(settings: Settings) -> tuple[str, ...]:
    found = profiles.from_settings(settings)
    return next(profile.policies for name, profile in found.items() if name != profiles.LOCAL_SERVICE)


def _must_be_free(data: DataDirectory, aside: Path) -> None:
    """No ceremony may lay its hand on keys that count."""
    if exists(data):
        raise ConfigurationError(f"{data.root} holds a hierarchy already: another CA needs another --data")
    if data.journal.exists():
        raise ConfigurationError(
            f"{data.journal} exists without {data.hierarchy.name}: restore the latter from a backup; "
            "a journal belongs to the keys that it tells of"
        )
    if aside.exists():
        # A ceremony was killed before its seal was in place: nothing that it made was ever used.
        shutil.rmtree(aside)
        for leftover in (data.tokens / "root", data.tokens / "issuing"):
            shutil.rmtree(leftover, ignore_errors=True)
    if data.tokens.exists() and any(data.tokens.iterdir()):
        raise ConfigurationError(
            f"{data.tokens} holds tokens of an unknown hierarchy: restore {data.hierarchy.name}, or move "
            "them away"
        )


def _pinned(settings: Settings, perspectives: Mapping[str, bytes]) -> tuple[SealedPerspective, ...]:
    configured = {perspective.code: perspective for perspective in settings.validation.perspectives}
    if configured.keys() != perspectives.keys():
        raise ConfigurationError(
            f"keys are at hand for the perspectives {sorted(perspectives)}, but validation.perspectives "
            f"names {sorted(configured)}: let each make its key first"
        )
    if len(set(perspectives.values())) != len(perspectives):
        raise ConfigurationError("two perspectives have the same key: each makes its own, or they are one")
    for spki in perspectives.values():
        serialization.load_der_public_key(spki)
    return tuple(
        SealedPerspective(code, place.region, place.latitude, place.longitude, perspectives[code])
        for code, place in configured.items()
    )


def _pin_file(settings: Settings, data: DataDirectory) -> Path:
    return Path(settings.vault.pin_file) if settings.vault.pin_file else data.pin


def _pin(chosen: Path | None, path: Path, randomness: Randomness) -> str:
    """The PIN that the operator laid down in `chosen`, or a new one, written to `path`."""
    if chosen is not None and chosen.exists():
        return chosen.read_text().strip()
    pin = token(randomness, 24)
    _write(path, pin.encode() + b"\n", 0o600)
    return pin


def _generate(
    settings: Settings,
    aside: Path,
    label: str,
    pin: str,
    randomness: Randomness,
    wanted: Mapping[str, KeyAlgorithm],
) -> tuple[str, dict[str, Key]]:
    with _Opened(settings, aside / "tokens" / label, aside / "vault" / "ceremony.conf") as cryptoki:
        # The security officer's PIN is made and forgotten: nobody can reset the user's PIN behind our back.
        serial = cryptoki.make_token(label, token(randomness, 24), pin)
        session = Session(cryptoki.open(serial, pin, read_write=True))
        made = {id: session.generate(id, algorithm) for id, algorithm in wanted.items()}
        for key in made.values():
            proof = b"acme-server key ceremony"
            algorithms.verify(key.public_key, session.sign(key, proof), proof)
    return serial, made


async def _lint(draft: Mapping[str, bytes], root_crl: bytes, settings: Settings) -> None:
    kinds = {ROOT_ID: LintKind.ROOT} | {id: _LINT_KINDS[use] for id, use, _, _ in _ISSUERS}
    pool = LintPool(1, settings.ca.rules)
    pool.start()
    try:
        for id, certificate in draft.items():
            await pool.lint(certificate, kinds[id])
        await pool.lint(root_crl, LintKind.ROOT_CRL)
    finally:
        pool.close()


def _must_be_as_linted(draft: bytes, certificate: bytes) -> None:
    linted = x509.load_der_x509_certificate(draft).tbs_certificate_bytes
    signed = x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
    if linted != signed:
        raise HaltIssuance("the signed certificate is not the one that was linted: the ceremony is void")


def _root_crl_tbs(settings: Settings, root: bytes, now: int) -> tuple[bytes, Issuer]:
    issuer = authority(settings, ROOT_ID, root)
    return crl.build_tbs(issuer, 1, now, now + _ROOT_CRL_LIFETIME, (), None, of_cas=True), issuer


def _signed_crl(tbs: bytes, issuer: Issuer, sign: adapter.Sign) -> bytes:
    return crl.assemble(tbs, issuer.algorithm.identifier, sign(tbs))


def _install(
    data: DataDirectory, settings: Settings, aside: Path, sealed: bytes, hierarchy: Hierarchy
) -> None:
    (aside / "vault" / "ceremony.conf").unlink()
    for directory in (data.tokens, data.vault):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for made in (aside / "tokens").iterdir():
        made.rename(data.tokens / made.name)
    for made in (aside / "vault").iterdir():
        chosen = _pin_file(settings, data) if made.name == "pin" else data.vault / made.name
        shutil.move(made, chosen)
    pem = x509.load_der_x509_certificate(hierarchy.root).public_bytes(serialization.Encoding.PEM)
    _write(data.trust_anchor, pem, 0o644)
    _write(aside / "hierarchy.json", sealed, 0o644)
    (aside / "hierarchy.json").rename(data.hierarchy)
    os.sync()
    shutil.rmtree(aside)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write durably, never readable by more than `mode` says."""
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(file, content)
        os.fchmod(file, mode)
        os.fsync(file)
    finally:
        os.close(file)
