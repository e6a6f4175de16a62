"""A ceremony that was interrupted is given up: nothing of it stays but what is to be revoked."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from core.data_directory import DataDirectory
from core.errors import CaError, ConfigurationError, Refused
from signer.vault.ceremony import past
from signer.vault.ceremony.abandon import abandon
from signer.vault.ceremony.tokens import Tokens
from signer.vault.ceremony.transcript import Event, Intent, read
from signer.vault.ceremony.verify import verify
from signer.vault.sealed import hierarchy
from signer.vault.sealed.seal import TokenRole
from tests.support.ceremonies import FIRST, hold, people, place, script
from tests.support.hierarchy import settings

FAILS = '[[steps]]\nkind = "cross-certificate"\ncertificate = "missing.pem"\n'
END = '[[steps]]\nkind = "root-crl"\n[[steps]]\nkind = "seal"\n'
NEW_KEY = """
[[steps]]
kind = "generate-key"
token = "issuing"
label = "ec-2"
algorithm = "ec-p256"
[[steps]]
kind = "issuing-certificate"
id = "ec-2"
common_name = "EC Issuing CA 2"
"""


@pytest.mark.clause("BR 6.2.10")
def test_a_first_ceremony_that_is_given_up_leaves_its_transcript_and_room_for_another(tmp_path: Path) -> None:
    identities, data = people(), DataDirectory(tmp_path)
    fails = FIRST.replace('[[steps]]\nkind = "root-crl"', FAILS + '[[steps]]\nkind = "root-crl"')
    with pytest.raises(ConfigurationError, match=r"missing\.pem is no certificate"):
        hold(data, script(identities, fails), identities[:2])
    transcript = abandon(place(data), identities[1:], "the script was wrong")
    assert verify(transcript.read_bytes()).state == "abandoned"
    assert not any(path.is_file() for path in data.tokens.rglob("*"))
    held = hold(data, script(identities), identities[:2])
    assert (held.hierarchy.sequence, held.hierarchy.ceremony) == (1, "0002")


def test_one_person_cannot_give_a_ceremony_up(tmp_path: Path) -> None:
    identities, data = people(), DataDirectory(tmp_path)
    fails = FIRST.replace('[[steps]]\nkind = "root-crl"', FAILS + '[[steps]]\nkind = "root-crl"')
    with pytest.raises(CaError):
        hold(data, script(identities, fails), identities[:2])
    before = past.transcripts(data)[0].read_bytes()
    with pytest.raises(Refused, match="1 of 2 people are present"):
        abandon(place(data), identities[:1], "alone")
    assert past.transcripts(data)[0].read_bytes() == before
    assert any(path.is_file() for path in data.tokens.rglob("*"))


def test_where_nothing_is_interrupted_there_is_nothing_to_give_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing to give up"):
        abandon(place(DataDirectory(tmp_path)), people(), "why")


@pytest.mark.clause("BR 4.9.7")
def test_what_a_later_ceremony_signed_before_it_was_given_up_is_revoked_by_the_next(tmp_path: Path) -> None:
    identities, data = people(), DataDirectory(tmp_path)
    hold(data, script(identities), identities[:2])
    with pytest.raises(CaError):
        hold(data, script(identities, NEW_KEY + FAILS + END), identities[:2])
    transcript = abandon(place(data), identities[:2], "not wanted any more")
    meant = [line.read(Intent) for line in read(transcript.read_bytes()) if line.event is Event.INTENT]
    serials = {int.from_bytes(intent.serial) for intent in meant if intent.serial}
    assert len(serials) == 1
    tokens = Tokens(settings(), data, tmp_path / "conf", {}, tuple(identities))
    found = hierarchy.load(data, settings())
    assert tokens.session(found.token(TokenRole.ISSUING)).labels() == {"ec-1", "local-1"}
    tokens.close()
    with pytest.raises(ConfigurationError, match="after a ceremony that was given up no root CRL was made"):
        hold(data, script(identities, '[[steps]]\nkind = "seal"\n'), identities[:2])
    held = hold(data, script(identities, END), identities[:2])
    listed = {entry.serial_number for entry in x509.load_der_x509_crl(held.hierarchy.root_crl)}
    assert listed == serials
    assert verify(held.transcript.read_bytes()).state == "in force"
    # Covered now: the one after that may do without a CRL.
    again = hold(data, script(identities, '[[steps]]\nkind = "seal"\n'), identities[:2])
    assert again.hierarchy.sequence == 3
