"""A ceremony held by people: who may, what comes of it, how it goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.errors import CaError, ConfigurationError, HaltIssuance, Refused
from core.people import Identity
from core.settings import Deployment, ModuleKind, Perspective, Validation, Vault
from signer.api import LintRecord
from signer.vault.ceremony import embedded, engine
from signer.vault.ceremony.abandon import abandon
from signer.vault.ceremony.script import Script
from signer.vault.ceremony.transcript import Event, Intent, read
from signer.vault.ceremony.verify import verify
from signer.vault.sealed import hierarchy
from signer.vault.sealed.seal import IssuerState, TokenRole
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.session import Session
from tests.support.ceremonies import hold, people, place, script
from tests.support.ceremony_crashes import Approving
from tests.support.hierarchy import made, settings

SOFTOKN = next(map(str, Path("/usr/lib").glob("*/libsoftokn3.so")), "")
CRL_AND_SEAL = '[[steps]]\nkind = "root-crl"\n[[steps]]\nkind = "seal"\n'


@dataclass(frozen=True)
class Made:
    data: DataDirectory
    people: list[Identity]
    script: Script


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A hierarchy made by two of three people."""
    identities = people()
    chosen = script(identities)
    data = DataDirectory(tmp_path_factory.mktemp("first"))
    hold(data, chosen, identities[:2])
    return Made(data, identities, chosen)


@pytest.fixture
def again(first: Made, tmp_path: Path) -> Made:
    """A copy of it, to be changed."""
    shutil.copytree(first.data.root, tmp_path / "data")
    return Made(DataDirectory(tmp_path / "data"), first.people, first.script)


def content(directory: Path) -> dict[str, bytes]:
    """Every file."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.clause("BR 6.1.1.1")
def test_two_of_three_people_make_a_hierarchy_and_both_sign_its_transcript(first: Made) -> None:
    report = verify((first.data.vault / "ceremonies" / "0001" / "transcript").read_bytes())
    assert [each.split()[0] for each in report.present] == ["Alice", "Bob"]
    assert report.signed == report.present
    assert report.state == "in force"
    found = hierarchy.load(first.data, settings())
    assert (found.sequence, found.ceremony) == (1, "0001")
    assert [issuer.id for issuer in found.issuers] == ["ec-1", "local-1"]


@pytest.mark.clause("BR 6.2.2")
@pytest.mark.clause("CPS 6.2.2")
@pytest.mark.parametrize("role", TokenRole)
def test_the_seal_names_who_opens_each_token(first: Made, role: TokenRole) -> None:
    activation = hierarchy.load(first.data, settings()).token(role).activation
    assert activation is not None
    assert activation.threshold == 2
    assert activation.holders == tuple(identity.person for identity in first.people)


@pytest.mark.clause("BR 6.2.8")
def test_with_people_no_pin_lies_anywhere(first: Made) -> None:
    assert not first.data.pin.exists()
    assert not (first.data.vault / "root-pin").exists()


@pytest.mark.clause("BR 6.2.7")
def test_the_transcript_records_what_each_token_is(first: Made) -> None:
    for token in hierarchy.load(first.data, settings()).tokens:
        assert token.facts is not None
        assert token.facts.serial == token.serial
        assert len(token.facts.module_sha256) == 64


@pytest.mark.clause("BR 5.2.2")
def test_one_person_alone_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    identities = people()
    with pytest.raises(Refused, match="1 of 2 people are present: 1 more of Alice, Bob, Carol"):
        hold(tmp_path, script(identities), identities[:1])
    assert content(tmp_path) == {}


@pytest.mark.clause("BR 5.2.2")
def test_one_person_twice_is_one_person(tmp_path: Path) -> None:
    identities = people()
    with pytest.raises(Refused, match="one person counts once"):
        hold(tmp_path, script(identities), [identities[0], identities[0]])
    assert content(tmp_path) == {}


def test_a_person_whom_the_script_does_not_name_is_refused(tmp_path: Path) -> None:
    identities = people(4)
    with pytest.raises(Refused, match=r"Dave .* is not one of the script's people"):
        hold(tmp_path, script(identities[:3]), [identities[0], identities[3]])
    assert content(tmp_path) == {}


def test_somebody_with_a_persons_name_and_another_key_is_refused(tmp_path: Path) -> None:
    identities, others = people(), people()
    with pytest.raises(Refused, match="is not one of the script's people"):
        hold(tmp_path, script(identities), [identities[0], others[1]])
    assert content(tmp_path) == {}


@pytest.mark.clause("BR 6.2.2")
def test_production_refuses_a_ceremony_without_people(tmp_path: Path) -> None:
    production = settings(deployment=Deployment(production=True))
    with pytest.raises(Refused, match="production has no ceremony without people"):
        hold(tmp_path, embedded.script(), (), production)
    assert content(tmp_path) == {}


@pytest.mark.clause("BR 6.2.7")
def test_production_makes_no_key_in_a_token_that_is_not_approved(tmp_path: Path) -> None:
    identities, clock = people(), FakeClock(1_795_478_400, synchronised=True)
    production = settings(deployment=Deployment(production=True))
    with pytest.raises(ConfigurationError, match="the token is not approved"):
        hold(tmp_path, script(identities), identities[:2], production, clock)
    assert not hierarchy.exists(DataDirectory(tmp_path))
    transcript = (tmp_path / "vault" / "ceremonies" / "0001" / "transcript").read_text()
    assert "generate-key" not in "".join(transcript.splitlines()[1:])


def test_a_later_ceremony_may_not_ask_for_fewer_people_than_the_root_does(again: Made) -> None:
    before = content(again.data.root)
    with pytest.raises(Refused, match="wants 2 people for the root key"):
        hold(again.data, script([], CRL_AND_SEAL), ())
    assert content(again.data.root) == before


def test_people_without_shares_cannot_open_the_root_token(again: Made) -> None:
    strangers = people()
    with pytest.raises(Refused, match="0 of the people present have a share"):
        hold(again.data, script(strangers, CRL_AND_SEAL), strangers)
    assert hierarchy.load(again.data, settings()).sequence == 1


@pytest.mark.clause("BR 4.9.7")
def test_a_later_ceremony_makes_a_new_root_crl_and_seals_anew(again: Made) -> None:
    held = hold(again.data, script(again.people, CRL_AND_SEAL), again.people[1:])
    assert held.hierarchy.sequence == 2
    assert held.hierarchy.ceremony == "0002"
    crl = x509.load_der_x509_crl(held.hierarchy.root_crl)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2
    assert verify(held.transcript.read_bytes()).state == "in force"


@pytest.mark.clause("BR 4.9.1.2")
def test_a_revoked_issuer_is_retired_and_stays_in_every_root_crl(again: Made) -> None:
    before = hierarchy.load(again.data, settings())
    serial = x509.load_der_x509_certificate(before.issuers[0].certificate).serial_number
    revoke = '[[steps]]\nkind = "revoke-issuer"\nissuer = "ec-1"\nreason = "keyCompromise"\n' + CRL_AND_SEAL
    for steps in (revoke, CRL_AND_SEAL):
        held = hold(again.data, script(again.people, steps), again.people[:2])
        entry = x509.load_der_x509_crl(held.hierarchy.root_crl).get_revoked_certificate_by_serial_number(
            serial
        )
        assert entry is not None
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        assert reason is x509.ReasonFlags.key_compromise
        assert held.hierarchy.issuers[0].state is IssuerState.RETIRED


def test_a_rollover_adds_an_issuer_with_its_dates_and_retires_the_old_one(again: Made) -> None:
    steps = """
[[steps]]
kind = "generate-key"
token = "issuing"
label = "ec-2"
algorithm = "ec-p256"
[[steps]]
kind = "issuing-certificate"
id = "ec-2"
common_name = "EC Issuing CA 2"
state = "planned"
since = 2027-01-01
until = 2027-12-31
[[steps]]
kind = "retire-issuer"
issuer = "ec-1"
"""
    held = hold(again.data, script(again.people, steps + CRL_AND_SEAL), again.people[:2])
    old, _, new = held.hierarchy.issuers
    assert (old.id, old.state) == ("ec-1", IssuerState.RETIRED)
    assert (new.id, new.state, new.since, new.until) == ("ec-2", IssuerState.PLANNED, 1798761600, 1830297599)


def test_another_roots_key_is_cross_certified_and_the_other_takes_it_in(again: Made, tmp_path: Path) -> None:
    other = made(tmp_path / "other")
    shutil.copy(other.trust_anchor, again.data.root / "other.pem")
    cross = '[[steps]]\nkind = "cross-certificate"\ncertificate = "other.pem"\n' + CRL_AND_SEAL
    held = hold(again.data, script(again.people, cross), again.people[:2])
    done = next(
        line["detail"]["certificate"]
        for line in map(json.loads, held.transcript.read_bytes().splitlines())
        if line["event"] == "done" and line["step"] == 1
    )
    (other.root / "cross.pem").write_text(f"-----BEGIN CERTIFICATE-----\n{done}\n-----END CERTIFICATE-----\n")
    shutil.copy(again.data.trust_anchor, other.root / "ours.pem")
    steps = (
        '[[steps]]\nkind = "add-cross-certificate"\nsubject = "root"\ncertificate = "cross.pem"\n'
        'issuer = "ours.pem"\n' + CRL_AND_SEAL
    )
    taken = hold(other, script([], steps), ()).hierarchy
    assert [each.subject for each in taken.cross] == ["root"]
    parent = x509.load_der_x509_certificate(held.hierarchy.root)
    x509.load_der_x509_certificate(taken.cross[0].certificate).verify_directly_issued_by(parent)


@pytest.mark.clause("BR 7.1.2.8")
def test_a_responder_made_in_a_ceremony_stands_in_the_vaults_journal(again: Made) -> None:
    steps = '[[steps]]\nkind = "responder-certificate"\nissuer = "ec-1"\ndays = 7\n' + CRL_AND_SEAL
    held = hold(again.data, script(again.people, steps), again.people[:2])
    kinds = [json.loads(line)["kind"] for line in again.data.journal.read_bytes().splitlines()]
    assert kinds == ["ocsp-responder-intent", "ocsp-responder"]
    assert verify(held.transcript.read_bytes()).state == "in force"


def test_a_step_that_refuses_is_void_and_the_same_script_goes_on_when_it_is_mended(again: Made) -> None:
    steps = '[[steps]]\nkind = "cross-certificate"\ncertificate = "late.pem"\n' + CRL_AND_SEAL
    chosen = script(again.people, steps)
    with pytest.raises(ConfigurationError, match=r"late\.pem is no certificate"):
        hold(again.data, chosen, again.people[:2])
    assert hierarchy.load(again.data, settings()).sequence == 1
    shutil.copy(again.data.trust_anchor, again.data.root / "late.pem")
    other = script(again.people, CRL_AND_SEAL)
    with pytest.raises(Refused, match="was interrupted, and this is not its script"):
        hold(again.data, other, again.people[:2])
    report = verify(hold(again.data, chosen, again.people[1:]).transcript.read_bytes())
    assert (report.sittings, report.voids) == (2, 1)
    assert [each.split()[0] for each in report.present] == ["Bob", "Carol"]


def test_an_interrupted_ceremony_is_not_taken_up_by_a_changed_script(again: Made) -> None:
    steps = '[[steps]]\nkind = "cross-certificate"\ncertificate = "late.pem"\n' + CRL_AND_SEAL
    with pytest.raises(CaError):
        hold(again.data, script(again.people, steps), again.people[:2])
    before = content(again.data.root)
    with pytest.raises(Refused, match="unchanged, and it goes on"):
        hold(again.data, script(again.people, steps, title="Another"), again.people[:2])
    assert content(again.data.root) == before


@pytest.mark.clause("BR 4.3.1.2")
def test_a_certificate_that_the_linter_refuses_is_never_meant_nor_signed(again: Made) -> None:
    # An issuing CA that outlives the root.
    steps = """
[[steps]]
kind = "issuing-certificate"
id = "ec-9"
key = "ec-1"
common_name = "EC Issuing CA 9"
days = 9999
"""
    with pytest.raises(Refused, match="longer than its issuer"):
        hold(again.data, script(again.people, steps + CRL_AND_SEAL), again.people[:2])
    transcript = (again.data.vault / "ceremonies" / "0002" / "transcript").read_text()
    assert [json.loads(line)["event"] for line in transcript.splitlines()] == [
        *("begin", "present", "present", "begun", "void")
    ]


class Refusing(Approving):
    """A linter that finds a fault in everything."""

    async def lint(self, *_: object, **__: object) -> LintRecord:
        raise Refused("lint.fault", "pkilint says error fault")


@pytest.mark.clause("BR 4.3.1.2")
@pytest.mark.parametrize(
    "step",
    [
        '[[steps]]\nkind = "root-crl"\n',
        '[[steps]]\nkind = "responder-certificate"\nissuer = "ec-1"\n',
        '[[steps]]\nkind = "issuing-certificate"\nid = "ec-9"\nkey = "ec-1"\ncommon_name = "EC 9"\n',
    ],
)
def test_what_the_linter_refuses_is_neither_meant_nor_signed(
    again: Made, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(engine, "LintPool", Refusing)
    signed: list[bytes] = []
    monkeypatch.setattr(Session, "sign", lambda self, key, data: signed.append(data))
    with pytest.raises(Refused, match=r"lint\.fault"):
        hold(again.data, script(again.people, step + CRL_AND_SEAL), again.people[:2])
    lines = read((again.data.vault / "ceremonies" / "0002" / "transcript").read_bytes())
    assert Event.INTENT not in [line.event for line in lines]
    assert signed == []
    assert not again.data.journal.exists()


@pytest.mark.clause("BR 4.3.1.2")
def test_a_token_that_signs_something_else_is_found_and_its_serial_number_revoked(
    again: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = '[[steps]]\nkind = "issuing-certificate"\nid = "ec-9"\nkey = "ec-1"\ncommon_name = "EC 9"\n'
    chosen, sign = script(again.people, steps + CRL_AND_SEAL), Session.sign
    with monkeypatch.context() as patched:
        patched.setattr(Session, "sign", lambda self, key, data: sign(self, key, data + b"more"))
        with pytest.raises(HaltIssuance, match="take it out of use"):
            hold(again.data, chosen, again.people[:2])
    held = hold(again.data, chosen, again.people[:2])
    meant = [
        line.read(Intent).serial for line in read(held.transcript.read_bytes()) if line.event is Event.INTENT
    ]
    crl = x509.load_der_x509_crl(held.hierarchy.root_crl)
    assert [entry.serial_number for entry in crl] == [int.from_bytes(meant[0])]


@pytest.mark.clause("BR 6.2.8")
def test_a_share_of_another_ceremony_is_told_before_any_pin_is_tried(
    again: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DataDirectory(tmp_path / "other")
    hold(other, script(again.people), again.people[:2])
    alice = f"{again.people[0].person.id}.share.json"
    shutil.copy(other.shares / "root" / alice, again.data.shares / "root" / alice)
    monkeypatch.setattr(Cryptoki, "open", lambda *_, **__: pytest.fail("a PIN was tried"))
    with pytest.raises(Refused, match="share"):
        hold(again.data, script(again.people, CRL_AND_SEAL), again.people[:2])
    assert hierarchy.load(again.data, settings()).sequence == 1


@pytest.mark.clause("BR 3.2.2.9")
def test_a_later_ceremony_pins_other_perspectives_by_the_files_of_their_keys(again: Made) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (again.data.root / "far.pem").write_bytes(
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    places = (Perspective(), Perspective("far", "RIPE NCC", 50.1, 8.7))
    chosen = settings(validation=Validation(perspectives=places))
    steps = (
        '[[steps]]\nkind = "pin-perspectives"\nkeys = {{ {code} = "far.pem" }}\n[[steps]]\nkind = "seal"\n'
    )
    with pytest.raises(ConfigurationError, match="let each make its key first"):
        hold(again.data, script(again.people, steps.format(code="near")), again.people[:2], chosen)
    assert len(hierarchy.load(again.data, settings()).perspectives) == 1
    abandon(place(again.data), again.people[:2], "the code was wrong")
    held = hold(again.data, script(again.people, steps.format(code="far")), again.people[:2], chosen)
    assert [each.code for each in held.hierarchy.perspectives] == ["local", "far"]


@pytest.mark.skipif(not SOFTOKN, reason="libsoftokn3.so is not installed: scripts/system-packages test")
def test_a_hierarchy_in_nss_tokens_is_made_and_carried_on(tmp_path: Path) -> None:
    nss = settings(vault=Vault(module=SOFTOKN, module_kind=ModuleKind.NSS))
    identities = people()
    hold(tmp_path, script(identities), identities[:2], nss)
    held = hold(tmp_path, script(identities, CRL_AND_SEAL), identities[1:], nss)
    assert held.hierarchy.sequence == 2
    assert verify(held.transcript.read_bytes()).state == "in force"


def test_the_embedded_set_up_is_the_built_in_script(tmp_path: Path) -> None:
    data = made(tmp_path)
    transcript = (data.vault / "ceremonies" / "0001" / "transcript").read_bytes()
    report = verify(transcript)
    assert report.title == embedded.script().title
    assert report.present == ()
    assert "does not conform" in "\n".join(report.words())
    assert json.loads(transcript.splitlines()[0])["detail"]["script"] == embedded.SCRIPT.read_text()
