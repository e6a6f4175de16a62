"""The root key signs no CA certificate whose life the rules forbid."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from core.errors import Refused
from core.settings import Ca, Rules, Settings
from signer.vault.ceremony import past
from signer.vault.ceremony.transcript import Event, read
from tests.support import ceremonies
from tests.support.hierarchy import settings

PUBLIC = settings(ca=Ca(rules=Rules.PUBLIC, local_names=()))


def first(root_days: int) -> str:
    return ceremonies.FIRST.replace(
        'kind = "root-certificate"', f'kind = "root-certificate"\ndays = {root_days}'
    )


def events(data: DataDirectory) -> list[Event]:
    (transcript,) = past.transcripts(data)
    return [line.event for line in read(transcript.read_bytes())]


@pytest.mark.clause("BR 7.1.2.1.1")
@pytest.mark.parametrize(
    ("days", "code", "chosen"),
    [(2921, "ca.root-validity", PUBLIC), (7301, "ca.key-lifetime", settings())],
)
def test_a_root_of_a_forbidden_length_is_refused_before_its_key_is_used(
    tmp_path: Path, days: int, code: str, chosen: Settings
) -> None:
    data = DataDirectory(tmp_path)
    with pytest.raises(Refused) as refused:
        ceremonies.hold(data, ceremonies.script([], first(days)), [], chosen)
    assert refused.value.code == code
    assert events(data)[-2:] == [Event.BEGUN, Event.VOID], "no intent: the key was not used"
    assert not data.hierarchy.exists()
