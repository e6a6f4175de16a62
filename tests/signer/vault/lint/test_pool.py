"""signer/vault/lint/pool.py: what a linter objects to is refused, and so is what a worker dies over."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509

from core import der, requirements
from core.errors import Refused
from core.settings import Rules
from signer.api import CrlEntry, OcspRequest
from signer.vault.lint import linter
from signer.vault.lint import worker as lint_worker
from signer.vault.lint.pool import Finding, Kind, LintPool
from signer.vault.templates import ca_certificates, crl, leaf, ocsp
from signer.vault.templates.ca_certificates import Subject
from signer.vault.tokens import algorithms
from tests.support.software_ca import (
    DAY,
    NOW,
    SERIAL,
    URLS,
    leaf_request,
    private_key,
    profile,
    software_ca,
    spki,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
CA = software_ca()


def leaf_der(rules: Rules, name: str = "tlsserver", *, client_auth: bool = False, **changes: object) -> bytes:
    kind = profile(rules, name, client_auth=client_auth)
    tbs = leaf.build_tbs(CA.issuer, kind, leaf_request(**changes))
    return leaf.dummy_signed(tbs, CA.issuer)


def crl_der(count: int, reason: int | None = 1, url: str | None = None) -> bytes:
    entries = [CrlEntry(der.integer_content(1 + number), NOW, reason) for number in range(count)]
    return crl.dummy_signed(crl.build_tbs(CA.issuer, 7, NOW, NOW + 7 * DAY, entries, url), CA.issuer)


def responder() -> bytes:
    key = private_key("ec-p256", 3).public_key()
    subject = Subject("JP", "Acme Trust", "Acme OCSP")
    return ca_certificates.ocsp_responder(CA.certificate, CA.key, key, subject, SERIAL, NOW)


def ocsp_der(revoked_at: int | None) -> bytes:
    certificate = x509.load_der_x509_certificate(responder())
    key = certificate.public_key()
    hash_ = x509.SubjectKeyIdentifier.from_public_key(key).digest  # type: ignore[arg-type]
    request = OcspRequest(
        "ec-p256", SERIAL, "sha1", NOW, NOW + 4 * DAY, revoked_at, 1 if revoked_at else None
    )
    tbs = ocsp.build_tbs(CA.issuer, hash_, NOW + 29 * DAY, (request,), NOW)
    identifier = algorithms.for_key(key).identifier
    return ocsp.assemble(tbs, identifier, algorithms.dummy_signature(key), responder())  # type: ignore[arg-type]


def local_issuer() -> bytes:
    return ca_certificates.local_service_issuer(
        CA.root,
        CA.root_key,
        private_key("ec-p256", 4).public_key(),
        Subject("JP", "Acme Trust", "Acme Local Service"),
        SERIAL,
        NOW,
        URLS,
        names=("localhost", "127.0.0.1", "::1"),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(Rules))
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[tuple[LintPool, Rules]]:
    pool = LintPool(1, request.param)
    pool.start()
    yield pool, request.param
    pool.close()


@pytest.mark.clause("BR 4.3.1.2")
async def test_everything_that_we_make_passes_under_both_rules(pool: tuple[LintPool, Rules]) -> None:
    lint, rules = pool
    everything = [
        (Kind.LEAF, leaf_der(rules)),
        (Kind.LEAF, leaf_der(rules, names=("*.acme-shop.com", "acme-shop.com"))),
        (Kind.LEAF, leaf_der(rules, names=("9.9.9.9", "2620:fe::fe", "acme-shop.com"))),
        (Kind.LEAF, leaf_der(rules, public_key=spki(private_key("rsa-2048")))),
        (Kind.LEAF, leaf_der(rules, public_key=spki(private_key("ec-p384")))),
        (Kind.LEAF, leaf_der(rules, public_key=spki(private_key("ec-p521")))),
        (Kind.LOCAL_SERVICE, leaf_der(rules, "local-service", names=("localhost", "127.0.0.1", "::1"))),
        (Kind.LOCAL_SERVICE_ISSUER, local_issuer()),
        (Kind.ROOT, CA.root),
        (Kind.ISSUING, software_ca("ec-p256", rules).certificate),
        (Kind.ISSUING, software_ca("rsa-2048", rules).certificate),
        (Kind.OCSP_RESPONDER, responder()),
        (Kind.CRL, crl_der(0)),
        (Kind.CRL, crl_der(3)),
        (Kind.CRL, crl_der(3, url="http://pki.acme-ca.com/crl/ec-p256-0.crl")),
        (Kind.ROOT_CRL, crl_der(1)),
        (Kind.OCSP, ocsp_der(None)),
        (Kind.OCSP, ocsp_der(NOW)),
    ]
    records = await asyncio.gather(*(lint.lint(octets, kind) for kind, octets in everything))
    assert {record.linters for record in records} == {lint.linters}
    assert lint.linters[0].startswith("pkilint ")
    assert lint.linters[1].startswith("profile ")
    assert {record.lint_set for record in records} == {f"{rules} {kind}" for kind, _ in everything}


async def test_a_clients_certificate_passes_twice_and_by_pkilint_alone(
    pool: tuple[LintPool, Rules],
) -> None:
    lint, rules = pool
    for key in ("rsa-2048", "ec-p256"):
        octets = leaf_der(Rules.PRIVATE, client_auth=True, public_key=spki(private_key(key)))
        if rules is Rules.PUBLIC:
            continue  # profiles.py and dated.py never let it come so far
        first = await lint.lint(octets, Kind.LEAF)
        assert await lint.lint(octets, Kind.LEAF) == await lint.lint(octets, Kind.LEAF, plain=True) == first


async def test_a_record_names_the_rules_the_kind_and_the_day(pool: tuple[LintPool, Rules]) -> None:
    lint, rules = pool
    for at in (1797292799, 1797292800):  # five remote perspectives from 2026-12-15 on
        record = await lint.lint(leaf_der(rules), Kind.LEAF, at=at)
        day = datetime.fromtimestamp(requirements.newest(at), UTC)
        assert record.lint_set == f"{rules} leaf {day:%Y-%m-%d}"
    assert record.lint_set.endswith("2026-12-15")


async def test_pkilint_alone_finds_the_same(pool: tuple[LintPool, Rules]) -> None:
    lint, rules = pool
    octets = leaf_der(rules, public_key=spki(private_key("rsa-2048")))
    alone = await lint.lint(octets, Kind.LEAF, plain=True)
    assert alone == await lint.lint(octets, Kind.LEAF)


async def test_findings_below_error_are_recorded(pool: tuple[LintPool, Rules]) -> None:
    lint, rules = pool
    record = await lint.lint(leaf_der(rules, public_key=spki(private_key("rsa-2048"))), Kind.LEAF)
    assert record.findings == (
        ("warning cabf.serverauth.subscriber_rsa_digitalsignature_and_keyencipherment_present",)
        if rules is Rules.PUBLIC
        else ("warning pkix.certificate_skid_end_entity_missing",)
    )


@pytest.mark.parametrize(
    ("kind", "octets", "code"),
    [
        (Kind.LEAF, b"", "base.undecodable"),
        (Kind.LEAF, b"\x30\x03\x02\x01\x01", "base.undecodable"),
        (Kind.CRL, leaf_der(Rules.PUBLIC), None),
        (Kind.OCSP, leaf_der(Rules.PUBLIC), "base.undecodable"),
        (Kind.LOCAL_SERVICE, leaf_der(Rules.PUBLIC).replace(b"\x02\x01\x02", b"\x02\x01\x00", 1), None),
    ],
)
async def test_what_is_no_document_of_its_kind_is_refused(
    pool: tuple[LintPool, Rules], kind: Kind, octets: bytes, code: str | None
) -> None:
    with pytest.raises(Refused) as refusal:
        await pool[0].lint(octets, kind)
    assert refusal.value.code.startswith("lint.")
    assert code is None or refusal.value.code == f"lint.{code}"


@pytest.mark.clause("BR 7.1.2.7")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"names": ("localhost",)}, "lint.cabf.internal_domain_name"),
        ({"names": ("www.shop.example",)}, "lint.cabf.internal_domain_name"),
        ({"names": ("a_b.acme-shop.com",)}, "lint.cabf.serverauth.invalid_dnsname_syntax"),
        ({"not_after": NOW + 201 * DAY}, "lint.cabf.serverauth.certificate_validity_period_exceeds_200_days"),
        ({"public_key": spki(private_key("rsa-1024"))}, None),
        ({"serial": b"\x00"}, None),
        ({"names": ("10.0.0.1",)}, "lint.cabf.internal_ip_address"),
    ],
)
async def test_under_the_public_rules_the_tls_set_binds(
    pool: tuple[LintPool, Rules], changes: dict[str, object], code: str | None
) -> None:
    lint, rules = pool
    if rules is Rules.PRIVATE:
        pytest.skip("the Baseline Requirements do not bind under private rules")
    with pytest.raises(Refused) as refusal:
        await lint.lint(leaf_der(rules, **changes), Kind.LEAF)
    assert refusal.value.code.startswith("lint.")
    assert code is None or refusal.value.code == code


async def test_under_the_public_rules_a_leaf_without_the_reserved_policy_is_refused(
    pool: tuple[LintPool, Rules],
) -> None:
    lint, rules = pool
    if rules is Rules.PUBLIC:
        with pytest.raises(Refused, match=r"lint\.cabf"):
            await lint.lint(leaf_der(Rules.PRIVATE), Kind.LEAF)
    else:
        await lint.lint(leaf_der(Rules.PRIVATE), Kind.LEAF)


async def test_private_rules_allow_single_labels_and_wildcards_below_them(
    pool: tuple[LintPool, Rules],
) -> None:
    lint, rules = pool
    if rules is Rules.PRIVATE:
        await lint.lint(leaf_der(rules, names=("localhost", "*.localhost")), Kind.LEAF)


async def test_private_rules_allow_urls_on_hosts_of_a_single_label(pool: tuple[LintPool, Rules]) -> None:
    lint, rules = pool
    issuer = replace(
        CA.issuer,
        ocsp_url="http://localhost:14080/ocsp",
        ca_issuers_url="http://localhost:14080/issuers/ec-1.crt",
        crl_url_template="http://localhost:14080/crl/ec-1-{shard}.crl",
    )
    octets = leaf.dummy_signed(leaf.build_tbs(issuer, profile(rules), leaf_request()), issuer)
    shard = crl_der(1, url=issuer.crl_url(0))
    for document, kind in ((octets, Kind.LEAF), (shard, Kind.CRL)):
        if rules is Rules.PRIVATE:
            await lint.lint(document, kind)
        else:
            with pytest.raises(Refused, match=r"lint\."):
                await lint.lint(document, kind)


async def test_a_root_crl_may_say_ca_compromise_but_a_crl_may_not(pool: tuple[LintPool, Rules]) -> None:
    lint, rules = pool
    entries = [CrlEntry(b"\x01", NOW, 2)]
    octets = crl.dummy_signed(
        crl.build_tbs(CA.issuer, 1, NOW, NOW + 7 * DAY, entries, None, of_cas=True), CA.issuer
    )
    await lint.lint(octets, Kind.ROOT_CRL)
    if rules is Rules.PUBLIC:
        with pytest.raises(Refused, match="prohibited_reason_code"):
            await lint.lint(octets, Kind.CRL)


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if int(stat.rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def workers() -> list[int]:
    """The fork server is our child, the workers are its children."""
    return [worker for server in children_of(os.getpid()) for worker in children_of(server)]


async def test_a_worker_that_dies_is_replaced_and_its_document_linted_again() -> None:
    lint = LintPool(1, Rules.PRIVATE)
    before = set(workers())
    lint.start()
    try:
        await lint.lint(leaf_der(Rules.PRIVATE), Kind.LEAF)
        for worker in set(workers()) - before:
            os.kill(worker, signal.SIGKILL)
        records = await asyncio.gather(*(lint.lint(leaf_der(Rules.PRIVATE), Kind.LEAF) for _ in range(20)))
        assert len(records) == 20
    finally:
        lint.close()


def endless_leaf() -> bytes:
    """Seconds of work on any machine, also where the profile of its neighbours is known by then."""
    return leaf_der(Rules.PRIVATE, names=tuple(f"a{number}.acme-shop.com" for number in range(200_000)))


async def test_a_document_that_takes_too_long_is_refused_and_the_next_one_is_linted() -> None:
    lint = LintPool(1, Rules.PRIVATE, time_limit=0.5)
    lint.start()
    try:
        with pytest.raises(Refused, match=r"lint\.crashed"):
            await lint.lint(endless_leaf(), Kind.LEAF)
        await lint.lint(leaf_der(Rules.PRIVATE), Kind.LEAF)
    finally:
        lint.close()


async def test_only_the_document_that_a_worker_dies_over_is_refused() -> None:
    lint = LintPool(1, Rules.PRIVATE, time_limit=0.5)
    lint.start()
    try:
        documents = [leaf_der(Rules.PRIVATE)] * 5
        documents.insert(2, endless_leaf())
        outcomes = await asyncio.gather(
            *(lint.lint(octets, Kind.LEAF) for octets in documents), return_exceptions=True
        )
        refused = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Refused)]
        assert refused == [2]
    finally:
        lint.close()


def _lie(lie: bytes, vault: socket.socket, rules: Rules, time_limit: float, zlint: str) -> None:
    """A worker that a document has taken over."""
    del rules, time_limit, zlint
    with vault:
        vault.recv(1)
        vault.sendall(lie)
        vault.recv(1 << 20)


@pytest.mark.parametrize(
    "lie",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x01\x90",
        b"\x00\x00\x00\x03\x92\x90\x90",
        b"\x00\x00\x00\x04\x91\x91\x91\x01",
    ],
)
async def test_a_worker_that_says_anything_but_findings_is_ended_and_its_document_refused(
    lie: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lint_worker, "_serve", partial(_lie, lie))
    lint = LintPool(1, Rules.PRIVATE)
    lint.start()
    try:
        with pytest.raises(Refused, match=r"lint\.crashed"):
            await lint.lint(leaf_der(Rules.PRIVATE), Kind.LEAF)
    finally:
        lint.close()


HOST = """
import asyncio, sys
from core.settings import Rules
from signer.vault.lint.pool import Kind, LintPool
async def main():
    lint = LintPool(2, Rules.PRIVATE)
    lint.start()
    await lint.lint(bytes.fromhex(sys.argv[1]), Kind.LEAF)
    print("ready", flush=True)
    await asyncio.Event().wait()
if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_the_workers_die_with_a_vault_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "host.py"
    script.write_text(HOST)
    host = subprocess.Popen(
        [sys.executable, str(script), leaf_der(Rules.PRIVATE).hex()],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[4])},
    )
    try:
        assert host.stdout is not None
        assert host.stdout.readline() == b"ready\n"
        family = [
            *children_of(host.pid),
            *(w for server in children_of(host.pid) for w in children_of(server)),
        ]
        assert len(family) >= 3  # the fork server, two workers, the resource tracker
        ends = [os.pidfd_open(pid) for pid in family]
    finally:
        host.kill()
        host.wait()
        assert host.stdout is not None
        host.stdout.close()
    for end in ends:
        assert select.select([end], [], [], 20)[0], "a child outlived the vault"
        os.close(end)


async def test_the_workers_end_with_the_pool_and_a_closed_pool_refuses() -> None:
    before = set(workers())
    lint = LintPool(2, Rules.PRIVATE)
    lint.start()
    await lint.lint(leaf_der(Rules.PRIVATE), Kind.LEAF)
    assert set(workers()) - before
    lint.close()
    assert not set(workers()) - before
    with pytest.raises(Refused, match=r"lint\.crashed"):
        await lint.lint(leaf_der(Rules.PRIVATE), Kind.LEAF)


async def test_a_crash_inside_a_validator_is_a_fatal_finding() -> None:
    from pkilint import validation

    class Validator(validation.Validator):  # type: ignore[misc]
        def validate(self, node: object) -> object:
            raise RuntimeError("this validator crashed")

    container = validation.ValidatorContainer(validators=[Validator(path="certificate")])
    bound = linter.Linter(linter.certificate_loader.load_der_document, container, [], container)
    findings = linter.run(bound, leaf_der(Rules.PRIVATE))
    assert findings == [Finding("fatal", "base.unhandled_exception", "this validator crashed")]
