"""The vault's process: what it lets in, what it refuses, what it holds."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.errors import Refused
from core.randomness import SystemRandomness, token
from core.rpc import Peer
from signer import api, serials
from signer.client import Vault
from signer.vault import server
from tests.support.applicant import applicant
from tests.support.hierarchy import LOCAL_KEY, evidence
from tests.support.vault import REPOSITORY, RunningVault

NAME = "shop.localhost"
ACCOUNT = "https://localhost/acme/account/1"
DAY = 86400


@pytest.fixture(scope="module")
def running(
    ceremony: DataDirectory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DataDirectory, RunningVault]]:
    root = tmp_path_factory.mktemp("vault") / "data"
    shutil.copytree(ceremony.root, root)
    data = DataDirectory(root)
    vault = RunningVault(data).start()
    yield data, vault
    vault.stop()


@pytest.fixture
async def vault(running: tuple[DataDirectory, RunningVault]) -> AsyncIterator[Vault]:
    client = Vault(running[0].vault_socket)
    yield client
    await client.close()


def spki(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


KEY = spki(ec.generate_private_key(ec.SECP256R1()))


def request(**changes: object) -> api.LeafRequest:
    """One that the vault signs, unless changed."""
    now = SystemClock().now()
    good = api.LeafRequest(
        issuance_id=token(SystemRandomness()),
        serial=serials.draw(SystemRandomness()),
        issuer_id="ec-1",
        profile="tlsserver",
        names=(NAME,),
        account_url=ACCOUNT,
        public_key=KEY,
        not_before=now - 60,
        not_after=now - 60 + 90 * DAY - 1,
        crl_shard=0,
        evidence=evidence((NAME,), ACCOUNT, now),
    )
    made = replace(good, **changes)  # type: ignore[arg-type]
    if "applicant" not in changes:
        made = replace(made, applicant=applicant(made.names, made.public_key, made.account_url))
    return made


async def sequence(vault: Vault) -> int:
    return (await vault.describe()).journal_sequence


async def issued(vault: Vault, wanted: api.LeafRequest) -> x509.Certificate:
    prepared = await vault.prepare(wanted)
    return x509.load_der_x509_certificate((await vault.issue(prepared.token)).certificate)


@pytest.mark.parametrize("issuer_id", ["ec-1", "rsa-1"])
async def test_what_was_prepared_is_signed_by_the_issuer_that_was_asked_for(
    vault: Vault, issuer_id: str
) -> None:
    wanted = request(issuer_id=issuer_id)
    certificate = await issued(vault, wanted)
    description = await vault.describe()
    issuer = next(info for info in description.issuers if info.id == issuer_id)
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.certificate))
    assert certificate.serial_number == int.from_bytes(wanted.serial)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]


@pytest.mark.clause("BR 4.3.1.2")
@pytest.mark.clause("BR 5.4.1")
async def test_the_journal_holds_the_linted_octets_before_and_the_certificate_after(vault: Vault) -> None:
    before = await sequence(vault)
    wanted = request()
    certificate = await issued(vault, wanted)
    intent, result = (await vault.journal(before)).entries
    assert intent.lint is not None
    assert intent.lint.linters[0].startswith("pkilint ")
    assert result.lint == intent.lint
    assert (intent.kind, intent.serial, intent.tbs) == (
        "intent",
        wanted.serial,
        certificate.tbs_certificate_bytes,
    )
    assert (result.kind, result.issuance_id, result.certificate) == (
        "result",
        wanted.issuance_id,
        certificate.public_bytes(Encoding.DER),
    )


async def test_preparing_alone_leaves_no_trace(vault: Vault) -> None:
    before = await sequence(vault)
    wanted = request()
    await vault.prepare(wanted)
    assert await sequence(vault) == before
    assert await vault.recall(wanted.issuance_id) == api.Recalled(False, None)


def _old_evidence() -> tuple[object, ...]:
    return evidence((NAME,), ACCOUNT, SystemClock().now() - 300 * DAY)


REFUSALS = {
    "an unknown issuer": (lambda: request(issuer_id="none"), "issuer.unknown"),
    "the root as issuer": (lambda: request(issuer_id="root"), "issuer.unknown"),
    "the issuer of our own servers": (lambda: request(issuer_id="local-1"), "issuer.unknown"),
    "an unknown profile": (lambda: request(profile="none"), "profile.unknown"),
    "the profile of our own servers": (lambda: request(profile="local-service"), "profile.unknown"),
    "a validity beyond the profile": (
        lambda: request(not_after=SystemClock().now() + 91 * DAY),
        "profile.validity",
    ),
    "a certificate of last week": (
        lambda: request(not_before=SystemClock().now() - 7 * DAY),
        "profile.",
    ),
    "a serial number of zero": (lambda: request(serial=bytes(17)), "profile.serial"),
    "a negative serial number": (lambda: request(serial=b"\xff" * 16), "profile.serial"),
    "a serial number that is too short": (lambda: request(serial=b"\x01\x02"), "profile.serial"),
    "no name": (lambda: request(names=()), ""),
    "a name that was not validated": (lambda: request(names=(NAME, "x.localhost")), "evidence.missing"),
    "a wildcard on http-01 evidence": (lambda: request(names=(f"*.{NAME}",)), "evidence."),
    "no evidence": (lambda: request(evidence=()), "evidence.missing"),
    "the evidence of another account": (lambda: request(account_url=ACCOUNT + "0"), "evidence.account"),
    "old evidence": (lambda: request(evidence=_old_evidence()), "evidence."),
    "a weak key": (lambda: request(public_key=spki(rsa.generate_private_key(65537, 1024))), ""),
    "a perspective's key": (lambda: request(public_key=spki(LOCAL_KEY)), "key.own"),
    "an issuance id of the vault's own": (lambda: request(issuance_id="crl:ec-1:0:1"), "issuance.name"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_the_vault_refuses_and_its_journal_stays_as_it_is(vault: Vault, case: str) -> None:
    make, code = REFUSALS[case]
    wanted = make()
    before = await sequence(vault)
    with pytest.raises(Refused) as refused:
        await vault.prepare(wanted)
    assert refused.value.code.startswith(code)
    assert await sequence(vault) == before
    assert not (await vault.recall(wanted.issuance_id)).intent


@pytest.mark.clause("BR 6.1.1.3")
async def test_no_key_of_the_ca_itself_is_certified(vault: Vault) -> None:
    description = await vault.describe()
    ders = [description.root, *(info.certificate for info in description.issuers)]
    ders += [responder.certificate for responder in description.responders]
    for der in ders:
        key = x509.load_der_x509_certificate(der).public_key()
        own = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(Refused, match=r"key\.own"):
            await vault.prepare(request(public_key=own))


@pytest.mark.clause("BR 7.1.2.7")
async def test_a_serial_number_is_used_once_whoever_asks_and_whichever_issuer(vault: Vault) -> None:
    first = request()
    await issued(vault, first)
    with pytest.raises(Refused, match=r"serial\.used"):
        await vault.prepare(request(serial=first.serial, issuer_id="rsa-1"))


async def test_of_two_that_were_prepared_with_one_serial_number_one_is_signed(vault: Vault) -> None:
    first = request()
    second = request(serial=first.serial)
    tokens = [(await vault.prepare(each)).token for each in (first, second)]
    before = await sequence(vault)
    outcomes = await asyncio.gather(*(vault.issue(each) for each in tokens), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Issued", "Refused"]
    assert await sequence(vault) == before + 2


async def test_a_token_works_once(vault: Vault) -> None:
    prepared = await vault.prepare(request())
    await vault.issue(prepared.token)
    before = await sequence(vault)
    with pytest.raises(Refused, match=r"token\.unknown"):
        await vault.issue(prepared.token)
    assert await sequence(vault) == before


async def test_an_issuance_is_signed_once(vault: Vault) -> None:
    first = request()
    await issued(vault, first)
    with pytest.raises(Refused, match=r"issuance\.used"):
        await vault.prepare(request(issuance_id=first.issuance_id))


async def test_a_recall_gives_the_certificate_again(vault: Vault) -> None:
    wanted = request()
    prepared = await vault.prepare(wanted)
    issued = await vault.issue(prepared.token)
    assert await vault.recall(wanted.issuance_id) == api.Recalled(True, issued.certificate, prepared.lint)


@pytest.mark.clause("house: the crash rule")
async def test_after_no_intent_was_told_a_late_request_to_issue_is_refused(vault: Vault) -> None:
    wanted = request()
    prepared = await vault.prepare(wanted)
    assert not (await vault.recall(wanted.issuance_id)).intent
    with pytest.raises(Refused, match=r"token\.unknown"):
        await vault.issue(prepared.token)
    assert not (await vault.recall(wanted.issuance_id)).intent


@pytest.mark.must("rfc6960.2.2.signed")
@pytest.mark.must("rfc6960.4.2.1.signature")
@pytest.mark.must("rfc6960.4.2.2.2.designated")
@pytest.mark.must("rfc6960.4.2.2.2.eku")
@pytest.mark.must("rfc6960.4.2.2.2.1.nocheck")
@pytest.mark.must("rfc9919.3.2.2.certs")
@pytest.mark.must("rfc9919.3.2.2.nocheck")
@pytest.mark.clause("RFC 6960 section 4.2.2.2")
@pytest.mark.parametrize("issuer_id", ["ec-1", "rsa-1"])
async def test_a_status_is_signed_by_the_issuers_delegated_responder(vault: Vault, issuer_id: str) -> None:
    now = SystemClock().now()
    wanted = api.OcspRequest(issuer_id, serials.draw(SystemRandomness()), "sha256", now, now + DAY, now, 1)
    answer = ocsp.load_der_ocsp_response((await vault.sign_ocsp(wanted)).der)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.serial_number == int.from_bytes(wanted.serial)
    responder = answer.certificates[0]
    description = await vault.describe()
    issuer = next(info for info in description.issuers if info.id == issuer_id)
    responder.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.certificate))
    public_key = responder.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    public_key.verify(
        answer.signature, answer.tbs_response_bytes, ec.ECDSA(responder.signature_hash_algorithm)
    )  # type: ignore[arg-type]
    assert not responder.extensions.get_extension_for_class(x509.OCSPNoCheck).critical
    usage = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [*usage] == [x509.ExtendedKeyUsageOID.OCSP_SIGNING]
    lifetime = responder.not_valid_after_utc - responder.not_valid_before_utc
    assert lifetime < timedelta(days=30)


@pytest.mark.clause("BR 4.9.10")
async def test_of_many_statuses_in_one_call_each_is_judged_for_itself(vault: Vault) -> None:
    now = SystemClock().now()
    revoked = [
        api.OcspRequest(issuer, serials.draw(SystemRandomness()), hash_name, now, now + DAY, now, 1)
        for issuer in ("ec-1", "rsa-1")
        for hash_name in ("sha1", "sha256")
        for _ in range(10)
    ]
    unassigned = replace(revoked[0], revoked_at=None, reason=None)
    late = replace(revoked[1], this_update=now + 60, next_update=now + DAY)
    asked = [revoked[0], unassigned, *revoked[1:30], late, *revoked[30:]]
    outcomes = await vault.sign_ocsp_batch(asked)
    assert "ocsp.unassigned" in outcomes[1].refused
    assert "status.this-update" in outcomes[31].refused
    for wanted, outcome in zip(asked, outcomes, strict=True):
        if outcome.refused:
            assert not outcome.der
            continue
        answer = ocsp.load_der_ocsp_response(outcome.der)
        assert answer.serial_number == int.from_bytes(wanted.serial)
        assert answer.hash_algorithm.name == wanted.hash_name
        public_key = answer.certificates[0].public_key()
        public_key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))  # type: ignore[arg-type, union-attr]
    assert sum(not outcome.refused for outcome in outcomes) == len(revoked)


async def test_more_statuses_than_a_batch_holds_are_refused(vault: Vault) -> None:
    now = SystemClock().now()
    one = api.OcspRequest("ec-1", b"\x01" * 17, "sha1", now, now + DAY, now, 1)
    with pytest.raises(Refused, match=r"ocsp\.batch"):
        await vault.sign_ocsp_batch([one] * 1001)


async def test_a_status_from_the_future_is_refused(vault: Vault) -> None:
    now = SystemClock().now() + 60
    with pytest.raises(Refused, match=r"status\.this-update"):
        await vault.sign_ocsp(api.OcspRequest("ec-1", b"\x01" * 17, "sha1", now, now + DAY, None, None))


@pytest.mark.clause("RFC 5280 section 5.2.3")
async def test_the_number_of_a_crl_rises_within_its_scope(vault: Vault) -> None:
    now = SystemClock().now()

    async def sign(number: int) -> x509.CertificateRevocationList:
        wanted = api.CrlRequest("rsa-1", 0, number, now, now + DAY, ())
        return x509.load_der_x509_crl((await vault.sign_crl(wanted)).whole())

    found = await sign(7)
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    before = await sequence(vault)
    for number in (7, 6, 0):
        with pytest.raises(Refused, match=r"crl\.number"):
            await sign(number)
    assert await sequence(vault) == before
    await sign(8)


async def test_an_unknown_shard_is_refused(vault: Vault) -> None:
    now = SystemClock().now()
    with pytest.raises(Refused, match=r"crl\.shard"):
        await vault.sign_crl(api.CrlRequest("ec-1", 1, 1, now, now + DAY, ()))


async def test_a_local_service_certificate_has_the_vaults_own_names_and_issuer(vault: Vault) -> None:
    serial = serials.draw(SystemRandomness())
    der = (await vault.local_service(serial, KEY)).certificate
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    local = (await vault.describe()).issuers[2]
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(local.certificate))


async def test_a_restarted_vault_keeps_its_responders_and_remembers_all_serials(
    data: DataDirectory,
) -> None:
    running = RunningVault(data).start()
    client = Vault(data.vault_socket)
    wanted = request()
    await issued(client, wanted)
    before = (await client.describe()).responders
    await client.close()
    running.kill()
    running.start()
    client = Vault(data.vault_socket)
    try:
        assert (await client.describe()).responders == before
        with pytest.raises(Refused, match=r"serial\.used"):
            await client.prepare(request(serial=wanted.serial))
        assert (await client.recall(wanted.issuance_id)).certificate is not None
    finally:
        await client.close()
        running.stop()


async def test_a_clean_stop_is_told_in_the_journal(data: DataDirectory) -> None:
    running = RunningVault(data).start()
    running.stop()
    assert json.loads(data.journal.read_bytes().splitlines()[-1])["kind"] == "stop"


def test_a_token_of_another_hierarchy_is_refused_at_start(data: DataDirectory) -> None:
    data.pin.write_text("not the PIN\n")
    with pytest.raises(RuntimeError, match=r"vault\.pin_file"):
        RunningVault(data).start()
    assert not data.vault_socket.exists()


FORBIDDEN = {"aiohttp", "sqlite3", "_sqlite3", "redis", "dns", "sqlalchemy", "asyncpg"}


def test_a_started_vault_holds_no_web_no_sql_and_no_dns(data: DataDirectory) -> None:
    program = textwrap.dedent(
        f"""
        import json, os, signal, sys
        import operations.process as process
        import signer.vault.server as server

        serve = server.serve

        async def watched(*, ready, **given):
            def told():
                ready()
                print(json.dumps(sorted(sys.modules)), flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
            await serve(ready=told, **given)

        server.serve = watched
        sys.exit(process.main(["vault", "--data", {str(data.root)!r}]))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=60,
    )
    modules = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "pkcs11" in modules
    assert not modules & FORBIDDEN


def test_without_users_of_their_own_only_our_own_user_may_call() -> None:
    allow = server.policy({}, 1000)
    assert allow(Peer(1, 1000, 1000), "issue")
    assert not allow(Peer(1, 0, 0), "issue")


def test_each_isolated_process_may_call_its_own_methods_only() -> None:
    allow = server.policy({1: "app", 2: "status"}, 3)
    assert allow(Peer(9, 2, 2), "sign-ocsp")
    assert allow(Peer(9, 2, 2), "describe")
    assert not any(
        allow(Peer(9, 2, 2), method)
        for method in ("prepare", "issue", "recall", "local-service", "sign-crl", "journal")
    )
    assert all(allow(Peer(9, 1, 1), method) for method in server.CALLERS)
    for_root = server.OPERATOR
    assert not any(
        allow(Peer(9, uid, 0), method)
        for uid in (0, 3, 4)
        for method in server.CALLERS
        if uid or method not in for_root
    )


@pytest.mark.clause("CPS 5.2.3")
def test_root_and_no_other_process_opens_closes_halts_and_resumes() -> None:
    allow = server.policy({1: "app", 2: "status"}, 3)
    changes = server.OPERATOR - {"activation"}
    assert changes == {"activate", "deactivate", "halt", "resume"}
    for method in changes:
        assert allow(Peer(9, 0, 0), method)
        assert not any(allow(Peer(9, uid, 0), method) for uid in (1, 2, 3, 4))
        assert server.policy({}, 1000)(Peer(9, 1000, 0), method)
        assert not server.policy({}, 1000)(Peer(9, 1001, 0), method)


@pytest.mark.clause("RFC 6960 section 4.2.2.2")
async def test_a_list_of_statuses_is_one_issuers_and_each_is_judged(vault: Vault) -> None:
    now = SystemClock().now()
    revoked = api.OcspRequest("ec-1", b"\x01" * 16, "sha256", now, now + DAY, now, 1)
    answer = ocsp.load_der_ocsp_response(
        (await vault.sign_ocsp_list(api.OcspList((revoked, replace(revoked, hash_name="sha1"))))).der
    )
    assert [each.hash_algorithm.name for each in answer.responses] == ["sha256", "sha1"]
    answer.certificates[0].public_key().verify(  # type: ignore[call-arg,union-attr]
        answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm)
    )
    for other, code in (
        (replace(revoked, issuer_id="rsa-1"), "ocsp.issuer"),
        (replace(revoked, revoked_at=None, reason=None), "ocsp.unassigned"),
        (replace(revoked, this_update=now + 60), "status.this-update"),
    ):
        with pytest.raises(Refused, match=code.replace(".", r"\.")):
            await vault.sign_ocsp_list(api.OcspList((revoked, other)))
    with pytest.raises(Refused, match=r"ocsp\.issuer"):
        await vault.sign_ocsp_list(api.OcspList(()))
