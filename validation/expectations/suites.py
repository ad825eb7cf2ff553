"""Great Expectations: a suite per table built from the rules, checked on what DuckDB counted.

Where the rows are scanned: by DuckDB (`scan`), once, for all rules; Great Expectations' own engines take a pass and a
mask in memory per expectation. It keeps what it is strong at: suites, run results, severities, `mostly`, Data Docs.

The joint is its extension point for custom expectations. Each class here is one of its own (so arguments, defaults and
the way it is drawn stay), asks for no metrics of an engine, and hands its parent's `_validate` the very metrics that
the parent would have got: row count, nulls, unexpected count and some unexpected values. They come from the batch: a
data frame with one row per rule, which is the outcome of the scan. Success, shares and results are computed by Great
Expectations.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.schema import TableName
from validation.rules.rule import Rule
from validation.rules.shares import TableRule
from validation.scan.scan import Scan

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

RULE = "rule"  # names a rule in an expectation's meta
SEVERITY = "severity"
_MAP_CLASSES = (
    "ExpectColumnValuesToBeNull",
    "ExpectColumnValuesToNotBeNull",
    "ExpectColumnValuesToBeBetween",
    "ExpectColumnValuesToBeInSet",
    "ExpectColumnValuesToNotBeInSet",
    "ExpectColumnValuesToMatchRegex",
    "ExpectColumnValueLengthsToBeBetween",
)
_TABLE_CLASSES = {"ExpectTableRowCountToBeBetween": "table.row_count", "ExpectColumnMaxToBeBetween": "column.max"}


def load_great_expectations() -> Any:
    """Import the library, which takes seconds, with its analytics switched off."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations

    return great_expectations


def open_context(folder: Path) -> Any:
    """A Great Expectations context whose files lie in `folder`: silent, without analytics."""
    gx = load_great_expectations()
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="file", project_root_dir=str(folder))
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def build_suite(table: TableName, rules: Sequence[Rule], table_rules: Sequence[TableRule]) -> gx.ExpectationSuite:
    """The suite of a table: one expectation per rule."""
    import great_expectations as gx

    scanned = scanned_expectations()
    found: list[Any] = []
    for rule in table_rules:
        about = {"column": rule.column} if rule.column else {}
        labels = label_expectation(rule.name, rule.severity, rule.why)
        found.append(scanned[rule.expectation](**about, **rule.limits, **labels))
    found.extend(build_expectation(rule, scanned[rule.expectation]) for rule in rules)
    # Added one by one, each would be compared with all before it, and left out where only its name is another.
    return gx.ExpectationSuite(name=table, expectations=found)


def build_expectation(rule: Rule, kind: type[Any]) -> Any:
    """A rule as an expectation of a class: one of Great Expectations' own, or its scanned form."""
    from great_expectations.expectations.row_conditions import Column

    arguments = dict(rule.arguments)
    if rule.where_given:
        arguments["row_condition"] = Column(rule.where_given).is_not_null()
        arguments["condition_parser"] = "pandas"
    if rule.max_share:
        arguments["mostly"] = 1 - rule.max_share
    return kind(column=rule.column, **arguments, **label_expectation(rule.name, rule.severity, rule.why))


def run_name(key: str) -> str:
    """Names a run by a key of data.

    Great Expectations reads a time out of each name that could be one. A key of digits may be too large for any, and
    then it draws no page of the run.
    """
    return f"data-{key}"


def run_suite(
    context: Any, suite: gx.ExpectationSuite, scan: Scan, table_rules: Sequence[TableRule], run: str
) -> ExpectationSuiteValidationResult:
    """Run a suite over the outcome of its table's scan.

    Args:
        run: Names the run in the Data Docs.
    """
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier

    source = context.data_sources.add_pandas(suite.name)
    batch = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("outcome of the scan")
    context.suites.add(suite)
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=suite.name, data=batch, suite=suite))
    result = definition.run(
        batch_parameters={"dataframe": _outcome(scan, table_rules)},
        result_format="BASIC",
        # Without a time Great Expectations reads one out of the name, and a fingerprint may look like a year.
        run_id=RunIdentifier(run_name=run, run_time=datetime.now(UTC)),
    )
    failed = [one for one in result.results if (one.exception_info or {}).get("raised_exception", True)]
    if failed:  # Great Expectations would pass it off as an expectation that is not met
        raise AssertionError(f"expectation {failed[0].expectation_config.meta[RULE]}: {failed[0].exception_info}")
    return result


def unmet_rules(result: ExpectationSuiteValidationResult, severity: str) -> list[str]:
    """The rules of a severity that Great Expectations found not met."""
    return [
        one.expectation_config.meta[RULE]
        for one in result.results
        if not one.success and one.expectation_config.meta[SEVERITY] == severity
    ]


def all_met(result: ExpectationSuiteValidationResult) -> bool:
    """Whether every expectation is met, warnings and exact copies apart."""
    return all(one.success or one.expectation_config.severity == "warning" for one in result.results)


@functools.cache
def scanned_expectations() -> dict[str, type[Any]]:
    """Great Expectations' class to its scanned form; made on the first call, as the library takes seconds to load."""
    import great_expectations as gx

    scanned: dict[str, type[Any]] = {}
    for name in (*_MAP_CLASSES, *_TABLE_CLASSES):
        own = getattr(gx.expectations, name)
        members = {"__module__": __name__, "__doc__": own.__doc__, **_scanned_members(own, _TABLE_CLASSES.get(name))}
        scanned[name] = type(own)(f"Scanned{name}", (own,), members)
    return scanned


def _scanned_members(own: type[Any], measured: str | None) -> dict[str, Any]:
    """In what a scanned expectation differs from its parent.

    Args:
        measured: The one metric that an expectation on a table or a whole column looks at; None: it looks at rows.
    """
    from great_expectations.expectations.expectation import BatchExpectation

    def get_validation_dependencies(
        self: Any, execution_engine: Any = None, runtime_configuration: Any = None, **more: Any
    ) -> Any:
        # Those of a batch expectation without metrics: only the result's format.
        return BatchExpectation.get_validation_dependencies(self, execution_engine, runtime_configuration, **more)

    def _validate(self: Any, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None) -> Any:
        outcome = execution_engine.batch_manager.active_batch_data.dataframe.set_index(RULE)
        found = outcome.loc[self.meta[RULE]]
        if measured is not None:
            scanned = {measured: found["measured"]}
        else:
            scanned = {
                "table.row_count": int(found["rows"]),
                "column_values.nonnull.unexpected_count": int(found["nulls"]),
                f"{self.map_metric}.unexpected_count": int(found["unexpected"]),
                f"{self.map_metric}.unexpected_values": list(found["examples"]),
            }
        return own._validate(self, scanned, runtime_configuration, execution_engine)

    return {
        "metric_dependencies": (),
        "get_validation_dependencies": get_validation_dependencies,
        "_validate": _validate,
    }


def _outcome(scan: Scan, table_rules: Sequence[TableRule]) -> pd.DataFrame:
    """The batch: one row per rule, with what Great Expectations' engine would have found in the rows."""
    import pandas as pd

    rows: list[dict[str, Any]] = [{RULE: rule.name, "measured": getattr(scan, rule.measure)} for rule in table_rules]
    for rule in scan.rules:
        unexpected, checked = scan.broken.get(rule.name, 0), scan.checked[rule.name]
        n_rows, nulls = scan.rows_in, scan.rows_in - checked
        if rule.expectation == "ExpectColumnValuesToNotBeNull":
            n_rows, nulls = (checked if rule.where_given else scan.rows_in), unexpected
        rows.append(
            {
                RULE: rule.name,
                "rows": n_rows,
                "nulls": nulls,
                "unexpected": unexpected,
                "examples": scan.examples.get(rule.name, []),
            }
        )
    return pd.DataFrame(rows).astype(object)


def label_expectation(name: str, severity: str, why: str) -> dict[str, Any]:
    """The arguments by which an expectation says which rule it is, and how grave."""
    from great_expectations.expectations.metadata_types import FailureSeverity

    critical = severity in ("row", "table")
    return {
        "meta": {RULE: name, SEVERITY: severity},
        "notes": [f"{name}: {why}"],
        "severity": FailureSeverity.CRITICAL if critical else FailureSeverity.WARNING,
    }
