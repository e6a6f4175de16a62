from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import audit, tables
from core.audit import AuditChain, Head
from core.clock import FakeClock
from core.database import Database, Reader
from tests.support.database import NOW, opened


async def ten_records(directory: Path) -> Path:
    clock = FakeClock(NOW)
    async with opened(directory, clock) as database:
        for number in range(10 - len(tables.migrations())):  # each migration has its own record
            clock.at += 1
            await database.write(lambda tx, n=number: tx.audit("test", "somebody", {"n": n, "w": 'é\n"日本'}))
    return directory / "ca.sqlite"


def tamper(path: Path, *statements: str) -> list[str]:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    reader = Reader(path)
    try:
        return audit.verify(reader)
    finally:
        reader.close()


async def test_an_untouched_log_is_whole_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = await ten_records(tmp_path)
    assert tamper(path) == []
    async with opened(tmp_path, FakeClock(NOW + 100)) as database:
        await database.write(lambda tx: tx.audit("test", "somebody", {}))
        assert audit.verify(database.reader) == []
        assert audit.head(database.reader).sequence == 11


@pytest.mark.clause("CPS 5.4.4")
@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE audit SET at = at - 1 WHERE sequence = 5",
        "UPDATE audit SET kind = 'other' WHERE sequence = 5",
        "UPDATE audit SET subject = 'nobody' WHERE sequence = 5",
        "UPDATE audit SET content = '{\"n\":99}' WHERE sequence = 5",
        "UPDATE audit SET content = content || ' ' WHERE sequence = 5",
        "UPDATE audit SET hash = zeroblob(32) WHERE sequence = 5",
    ],
)
async def test_an_edited_record_is_named(tmp_path: Path, edit: str) -> None:
    path = await ten_records(tmp_path)
    assert tamper(path, edit)[0].startswith("record 5:")


@pytest.mark.clause("CPS 5.4.4")
async def test_a_deleted_record_is_seen_at_the_next_one(tmp_path: Path) -> None:
    path = await ten_records(tmp_path)
    faults = tamper(path, "DELETE FROM audit WHERE sequence = 5")
    assert faults[0].startswith("record 6: the one before it is 4")


async def test_a_missing_beginning_is_seen(tmp_path: Path) -> None:
    path = await ten_records(tmp_path)
    assert tamper(path, "DELETE FROM audit WHERE sequence <= 3")[0].startswith("record 4:")


@pytest.mark.clause("CPS 5.4.4")
async def test_two_records_that_changed_places_are_seen(tmp_path: Path) -> None:
    path = await ten_records(tmp_path)
    faults = tamper(
        path,
        "UPDATE audit SET sequence = 100 WHERE sequence = 5",
        "UPDATE audit SET sequence = 5 WHERE sequence = 6",
        "UPDATE audit SET sequence = 6 WHERE sequence = 100",
    )
    assert faults[0].startswith("record 5:")


async def test_a_record_put_before_the_first_is_seen(tmp_path: Path) -> None:
    path = await ten_records(tmp_path)
    faults = tamper(path, "INSERT INTO audit VALUES (-3, 1, 'k', 's', '{}', zeroblob(32))")
    assert faults[0].startswith("record -3:")


async def test_one_edit_is_one_fault(tmp_path: Path) -> None:
    path = await ten_records(tmp_path)
    assert len(tamper(path, "UPDATE audit SET kind = 'other' WHERE sequence = 5")) == 1


async def test_a_cut_off_tail_is_seen_only_with_an_anchor_from_outside(tmp_path: Path) -> None:
    path = await ten_records(tmp_path)
    reader = Reader(path)
    anchor = audit.head(reader)
    assert audit.verify(reader, anchor) == []
    reader.close()
    assert tamper(path, "DELETE FROM audit WHERE sequence > 7") == []
    reader = Reader(path)
    assert "cut off" in audit.verify(reader, anchor)[0]
    reader.close()


async def test_a_chain_made_anew_does_not_match_its_anchor(tmp_path: Path) -> None:
    path = await ten_records(tmp_path)
    reader = Reader(path)
    anchor = audit.head(reader)
    reader.close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM audit")
    chain = AuditChain()
    for number in range(10):
        chain.append(connection, NOW, "forged", "nobody", {"n": number})
    connection.commit()
    connection.close()
    reader = Reader(path)
    assert audit.verify(reader) == []
    assert audit.verify(reader, anchor) == ["record 10: it is not the one that was anchored"]
    reader.close()


async def test_a_record_that_cannot_be_written_takes_its_act_with_it(database: Database) -> None:
    def unit(tx: Any) -> None:
        tx.execute("INSERT INTO facts (name, value) VALUES ('a', 'b')")
        tx.audit("test", "somebody", {"not json": object()})

    before = audit.head(database.reader)
    with pytest.raises(TypeError):
        await database.write(unit)
    assert database.reader.all("SELECT * FROM facts") == []
    assert audit.head(database.reader) == before


def test_an_empty_log_has_the_genesis_head() -> None:
    assert Head() == Head(0, bytes(32))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text('aé日"\\ \n', max_size=3), children)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text('abé"', max_size=3), json_values, max_size=4))
def test_the_canonical_form_is_plain_sorted_json_that_any_auditor_can_make(content: dict[str, Any]) -> None:
    expected = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert audit._canonical(content).decode() == expected
