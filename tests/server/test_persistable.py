"""The only door to storage: what passes, what does not, and that the ledger's own records do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contract.planted import STORABLE, build, file_with, message_of
from sqlalchemy import inspect
from transom.ledger.v1 import record_pb2
from transom.privacy.v1 import privacy_pb2
from transom.runs.v1 import run_pb2
from transom_server.ledger.book import open_engine
from transom_server.ledger.persistable import NotPersistable, scrub
from transom_server.ledger.schema import METADATA
from transom_wire.privacy import unstorable

MARKER = "QZX-MARKER-7731"


def rule(data_class: str, persist: str = "LEDGER") -> privacy_pb2.Data:
    return privacy_pb2.Data(
        data_class=privacy_pb2.DataClass.Value(f"DATA_CLASS_{data_class}"), persist=privacy_pb2.Persist.Value(f"PERSIST_{persist}")
    )


@pytest.mark.parametrize("data_class", ["PUBLIC", "INTERNAL", "PERSONAL"])
def test_fields_that_may_be_stored_pass(data_class: str) -> None:
    record: Any = message_of(build(file_with({"planted": rule(data_class)})))
    record.planted = "plain"
    assert scrub(record).record is record


@pytest.mark.parametrize(
    "planted",
    [rule("CONTENT"), rule("CREDENTIAL"), rule("UNSPECIFIED"), rule("INTERNAL", "NEVER"), rule("INTERNAL", "UNSPECIFIED"), None],
    ids=["content", "credential", "no class", "never", "no rule for storage", "nothing declared"],
)
@pytest.mark.parametrize("name", ["Planted", "Holder"])
def test_a_type_with_a_planted_field_is_refused_even_when_the_field_is_empty(planted: privacy_pb2.Data | None, name: str) -> None:
    file = build(file_with({"fine": STORABLE, "planted": planted}))
    with pytest.raises(NotPersistable) as caught:
        scrub(message_of(file, name))
    assert "planted" in str(caught.value)
    assert "fine" not in str(caught.value)


def test_a_message_of_another_package_is_refused() -> None:
    with pytest.raises(NotPersistable):
        scrub(run_pb2.Run(name="runs/1"))
    with pytest.raises(NotPersistable):
        scrub(message_of(build(file_with({"fine": STORABLE}, package="transom.other.v1"))))


@pytest.mark.parametrize("text", [f"two words {MARKER}", f"{MARKER}\n", f"{MARKER}é", MARKER * 30, f'"{MARKER}"'])
def test_text_that_could_be_a_sentence_is_refused_and_not_quoted(text: str) -> None:
    for record in (record_pb2.RunRecord(action=text), record_pb2.RunnerRecord(actions=["ok", text])):
        with pytest.raises(NotPersistable) as caught:
            scrub(record)
        assert MARKER not in str(caught.value)


def test_the_ledger_s_records_are_storable_types() -> None:
    for message in record_pb2.DESCRIPTOR.message_types_by_name.values():
        assert not unstorable(message), message.name


def test_a_type_that_carries_content_is_not_storable() -> None:
    assert "DocumentSpec.sha256" in unstorable(run_pb2.DocumentSpec.DESCRIPTOR)


def test_every_column_is_a_field_of_a_record_and_the_other_way_round() -> None:
    for table, message in ((METADATA.tables["runs"], record_pb2.RunRecord), (METADATA.tables["runners"], record_pb2.RunnerRecord)):
        assert [column.name for column in table.columns] == [field.name for field in message.DESCRIPTOR.fields]


def test_migrations_from_scratch_make_the_schema(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "ledger.db")
    found = inspect(engine)
    assert set(found.get_table_names()) == set(METADATA.tables) | {"alembic_version"}
    for name, table in METADATA.tables.items():
        columns = {column["name"]: (str(column["type"]), column["nullable"]) for column in found.get_columns(name)}
        assert columns == {column.name: (str(column.type), column.nullable) for column in table.columns}
        assert found.get_pk_constraint(name)["constrained_columns"] == [column.name for column in table.primary_key]
        indexes = {index["name"]: index["column_names"] for index in found.get_indexes(name)}
        assert indexes == {index.name: [column.name for column in index.columns] for index in table.indexes}
    engine.dispose()


def test_opening_a_ledger_again_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        open_engine(tmp_path / "ledger.db").dispose()
    assert (tmp_path / "ledger.db").stat().st_mode & 0o777 == 0o600
