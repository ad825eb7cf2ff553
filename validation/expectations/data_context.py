"""The shop's Great Expectations context on disk, as whoever uses Great Expectations alone expects one.

Its checkpoint runs a suite per clean table on the newest ones, with no code of this project. Its history holds what
each validation found: of the clean tables, and, as `scanned_<table>`, of the source's rows. The gate never reads it.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from core.schema import TABLE_NAMES, TableName
from core.storage import UNFINISHED, atomic_file, atomic_folder, exclusively, is_disk_full, scratch_folder
from validation.expectations.clean_rules import RESULT_FORMAT
from validation.expectations.suites import open_context, scanned_expectations

logger = logging.getLogger(__name__)

SET_ASIDE = "gx-damaged"
# Validations of which the history tells; runs of the checkpoint count among them.
KEPT_RUNS = 20
CLEAN = "clean"
SCANNED = "scanned_"
_LOCK = "gx.lock"
_NEWEST = "newest"
_CHECKPOINT = "checkpoint"
_RESULTS = Path("uncommitted") / "validations"


@dataclass(frozen=True)
class TableRun:
    """What a validation says of one table.

    Attributes:
        suite: On the clean table, of Great Expectations' own types.
        results: Of that suite's expectations.
        scanned: The gate's result on the source's rows; None for a table without any.
    """

    suite: Any
    results: Sequence[Any]
    scanned: Any


def keep_run(folder: Path, clean: Path, run: str, at: datetime, tables: Mapping[TableName, TableRun]) -> None:
    """Bring the shop's context up to date: suites, the clean tables that they run on, and one more run of its history.

    Each file is replaced whole, and only where it is another one; a kill between two of them leaves a context that the
    next run completes. What else lies in the folder stays. A context that Great Expectations cannot read any more is
    set aside and made anew.

    Args:
        folder: Of the context, `gx` in the folder of the shop, whose name is the checkpoint's.
        clean: The clean tables.
        run: Names the run; one of this name takes the place of an earlier one.
        at: When the validation was.
    """
    shop = folder.parent.name
    with exclusively(folder.with_name(_LOCK)):
        _remove_unfinished(folder)
        with scratch_folder(folder) as scratch:
            copy = scratch / folder.name
            stands = folder.exists()
            if stands:
                shutil.copytree(folder, copy, ignore=_history)
            try:
                _bring_up_to_date(copy, shop, clean, run, at, tables)
            except Exception as error:
                if not stands or is_disk_full(error):
                    raise
                stands = False
                _set_aside(folder, error)
                shutil.rmtree(copy)
                _bring_up_to_date(copy, shop, clean, run, at, tables)
            if stands:
                _write_changed(copy, folder)
            else:
                with atomic_folder(folder) as written:
                    shutil.copytree(copy, written, dirs_exist_ok=True)
        for suite in (*tables, *(f"{SCANNED}{table}" for table in tables)):
            _prune(folder / _RESULTS / suite, run)


def _remove_unfinished(folder: Path) -> None:
    """What killed processes left: under the lock nobody writes but this one."""
    for left in folder.parent.glob(f".{folder.name}.*{UNFINISHED}"):
        shutil.rmtree(left)
    for left in folder.rglob(f".*{UNFINISHED}"):
        left.unlink()


def _history(folder: str, names: list[str]) -> set[str]:
    """Results and pages, which may be many: nothing reads them to add one more."""
    place = Path(folder)
    if place.name == _RESULTS.parent.name:
        return {"data_docs"}
    return {name for name in names if (place / name).is_dir()} if place.parts[-2:] == _RESULTS.parts else set()


def _write_changed(copy: Path, folder: Path) -> None:
    for file in sorted(one for one in copy.rglob("*") if one.is_file()):
        target = folder / file.relative_to(copy)
        if not target.is_file() or target.read_bytes() != file.read_bytes():
            with atomic_file(target) as temporary:
                shutil.copyfile(file, temporary)


def _set_aside(folder: Path, error: Exception) -> None:
    aside = folder.with_name(SET_ASIDE)
    logger.warning(
        "The Great Expectations context is made anew, without its history; the one before, now %s, cannot be read: %s",
        aside, error,
    )  # fmt: skip
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)


def _bring_up_to_date(
    folder: Path, checkpoint: str, clean: Path, run: str, at: datetime, tables: Mapping[TableName, TableRun]
) -> None:
    context = open_context(folder.parent)
    context.variables.analytics_enabled = False
    source = _point_at(context, clean)
    written = {table: context.suites.add_or_update(tables[table].suite) for table in TABLE_NAMES}
    ids = _ids_of(folder, checkpoint, source, written) or _define(context, checkpoint, source, written)
    for table, found in tables.items():
        _store(context, table, _clean_result(found, ids[table], ids[_CHECKPOINT]), run, at)
        if found.scanned is not None:
            _store(context, f"{SCANNED}{table}", _plain_result(found.scanned, table), run, at)


def _point_at(context: Any, clean: Path) -> Any:
    """The data source of the clean tables, at those of this validation."""
    known = {source.name: source for source in context.data_sources.all().values()}
    if CLEAN not in known:
        # Absolute: Great Expectations takes a relative one from wherever its user happens to work.
        return context.data_sources.add_pandas_filesystem(CLEAN, base_directory=clean.absolute())
    source = known[CLEAN]
    if source.base_directory != clean.absolute():
        source.base_directory = clean.absolute()
        source = context.update_datasource(source)
    return source


def _ids_of(folder: Path, checkpoint: str, source: Any, suites: Mapping[TableName, Any]) -> dict[str, str] | None:
    """The ids of validation definitions and checkpoint, where they stand as `_define` would make them."""
    ids: dict[str, str] = {}
    try:
        for table, suite in suites.items():
            written = json.loads((folder / "validation_definitions" / f"{table}.json").read_text(encoding="utf-8"))
            batch = source.get_asset(table).get_batch_definition(_NEWEST)
            data = {"datasource": source, "asset": source.get_asset(table), "batch_definition": batch}
            if written["data"] != {kind: {"id": str(one.id), "name": one.name} for kind, one in data.items()}:
                return None
            if written["suite"] != {"id": suite.id, "name": table}:
                return None
            ids[table] = written["id"]
        written = json.loads((folder / "checkpoints" / f"{checkpoint}.json").read_text(encoding="utf-8"))
        runs = [(one["id"], one["name"]) for one in written["validation_definitions"]]
    except (OSError, ValueError, LookupError):
        return None
    if runs != [(ids[table], table) for table in suites] or written["result_format"] != RESULT_FORMAT:
        return None
    return {**ids, _CHECKPOINT: written["id"]}


def _define(context: Any, checkpoint: str, source: Any, suites: Mapping[TableName, Any]) -> dict[str, str]:
    """Assets, validation definitions and checkpoint; what is there already keeps its id."""
    import great_expectations as gx

    assets = {asset.name: asset for asset in source.assets}
    definitions: dict[str, Any] = {}
    for table, suite in suites.items():
        asset = assets.get(table) or source.add_parquet_asset(table)
        batches = {one.name: one for one in asset.batch_definitions}
        batch = batches.get(_NEWEST) or asset.add_batch_definition_path(_NEWEST, path=f"{table}.parquet")
        definition = gx.ValidationDefinition(name=table, data=batch, suite=suite)
        definitions[table] = context.validation_definitions.add_or_update(definition)
    made = gx.Checkpoint(
        name=checkpoint, validation_definitions=list(definitions.values()), result_format=dict(RESULT_FORMAT)
    )
    definitions[_CHECKPOINT] = context.checkpoints.add_or_update(made)
    return {name: str(one.id) for name, one in definitions.items()}


def _clean_result(found: TableRun, definition: str, checkpoint: str) -> Any:
    """The results on a clean table as the checkpoint would have stored them."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

    n_met, n = sum(bool(one.success) for one in found.results), len(found.results)
    return ExpectationSuiteValidationResult(
        success=n_met == n,
        results=list(found.results),
        suite_name=found.suite.name,
        statistics={
            "evaluated_expectations": n,
            "successful_expectations": n_met,
            "unsuccessful_expectations": n - n_met,
            "success_percent": 100 * n_met / n,
        },
        meta={
            "validation_id": definition,
            "checkpoint_id": checkpoint,
            "active_batch_definition": {
                "datasource_name": CLEAN, "data_asset_name": found.suite.name, "data_connector_name": "fluent",
                "batch_identifiers": {"path": f"{found.suite.name}.parquet"},
            },
        },
    )  # fmt: skip


def _plain_result(scanned: Any, table: str) -> Any:
    """The gate's result under the names of Great Expectations' own types, so that it can be read without the gate's.

    Counts alone: an example may be somebody's id, or what they wrote.
    """
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResultSchema

    plain = scanned.to_json_dict()
    kinds: dict[str, Any] = scanned_expectations()
    own = {kind.expectation_type: kind.__base__.expectation_type for kind in kinds.values()}
    plain["suite_name"] = f"{SCANNED}{table}"
    for one in plain["results"]:
        one["expectation_config"]["type"] = own[one["expectation_config"]["type"]]
        one["result"] = {name: value for name, value in one["result"].items() if not name.startswith("partial_")}
    return ExpectationSuiteValidationResultSchema().load(plain)


def _store(context: Any, suite: str, result: Any, run: str, at: datetime) -> None:
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    run_id = RunIdentifier(run_name=run, run_time=at)
    result.meta |= {"run_id": run_id, "validation_time": at, "batch_parameters": None}
    named = ExpectationSuiteIdentifier(suite)
    context.validation_results_store.store_validation_results(
        suite_validation_result=result,
        suite_validation_result_identifier=ValidationResultIdentifier(named, run_id, f"{CLEAN}-{suite}"),
        expectation_suite_identifier=named,
    )


def _prune(results: Path, run: str) -> None:
    """Keep the newest runs of a suite, and one alone of this name; a run's folder is its time, below its name."""
    runs = sorted(results.glob("*/*/"), key=lambda one: one.name, reverse=True)
    of_name = [one for one in runs if one.parent.name == run]
    for one in {*of_name[1:], *[one for one in runs if one not in of_name[1:]][KEPT_RUNS:]}:
        shutil.rmtree(one)
        if not any(one.parent.iterdir()):
            one.parent.rmdir()
