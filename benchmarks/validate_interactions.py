"""The data gate at millions of rows, beside a plain DuckDB script and plain Great Expectations on pandas.

Run: `python -m benchmarks.validate_interactions --rows 5000000 --runs 3`

Thirty rules on one file of interactions. Each contender runs in a process of its own, from start to end: `sommelier`
ingests and validates (clean tables, quarantine, Data Docs); `duckdb` applies the same rules to the same file and writes
the same clean rows and quarantine; `great-expectations` reads the file with pandas and runs the expectations, which
counts bad rows but does not separate them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.harness import options
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import in_turns, peak_gib, timed

N_RULES = 30
MAX_WALL_S, MAX_PEAK_MIB, MAX_RATIO = 90, 4096, 1.5
CONTENDERS = ("sommelier", "duckdb", "great-expectations")
_OWN_RULES: tuple[dict[str, Any], ...] = (
    {"name": "event_id_form", "check": "matches", "column": "event_id", "pattern": "e[0-9]+"},
    {"name": "user_id_form", "check": "matches", "column": "user_id", "pattern": "(u[0-9]+|nobody)"},
    {"name": "item_id_form", "check": "matches", "column": "item_id", "pattern": "(i[0-9]+|i-gone)"},
    {"name": "event_short", "check": "length", "column": "event", "maximum": 20},
    {"name": "item_id_short", "check": "length", "column": "item_id", "maximum": 64},
    {"name": "position_counts", "check": "between", "column": "position", "minimum": 0},
    {"name": "whole_stars", "check": "in_set", "column": "value", "values": ("0", "1", "2", "3", "4", "5", "9")},
)


def run_sommelier(folder: Path, target: Path) -> dict[str, int]:
    """Ingest and validate; rows clean, quarantined and copies."""
    from core.settings.source import TablesSource
    from core.settings.validation import OwnRule, ValidationSettings
    from validation.gate import validate
    from validation.sources.ingest import ingest

    settings = ValidationSettings(rules=tuple(OwnRule(table="interactions", **rule) for rule in _OWN_RULES))
    raw = target / "raw"
    _, ingest_s = timed(lambda: ingest(TablesSource(path=folder), raw))
    summary, validate_s = timed(lambda: validate(raw, target / "clean", settings, target / "docs"))
    print(f"  sommelier: ingest {ingest_s:.1f} s, validate {validate_s:.1f} s", file=sys.stderr)
    counts = summary.tables["interactions"]
    return {"clean": counts.rows_clean, "quarantined": counts.rows_quarantined, "duplicates": counts.duplicates}


def run_duckdb(folder: Path, target: Path) -> dict[str, int]:
    """The plain script; rows clean, quarantined and copies."""
    from benchmarks.peers.bare_duckdb import validate_bare

    return validate_bare(folder, target)


def run_great_expectations(folder: Path, target: Path) -> dict[str, int]:
    """Great Expectations' own engine on pandas; expectations, and those that are not met."""
    import pandas as pd

    from validation.expectations.suites import open_context

    frame = pd.read_parquet(folder / "interactions.parquet")
    for owner in ("user", "item"):
        ids = pd.read_parquet(folder / f"{owner}s.parquet", columns=[f"{owner}_id"])[f"{owner}_id"]
        frame[f"{owner}_known"] = frame[f"{owner}_id"].isin(ids)
    names = ["user_id", "item_id", "value", "timestamp"]
    frame["given_columns"] = frame[names].notna().sum(axis=1)
    columns = ["event_id", "user_id", "item_id", "event", "value", "timestamp", "position"]
    frame["copy"] = frame.duplicated(columns)
    frame["timestamp_s"] = (frame["timestamp"] - pd.Timestamp("1970-01-01", tz="UTC")).dt.total_seconds()
    ordered = frame.sort_values(["user_id", "position"], kind="stable")
    frame["in_order"] = ~(ordered.groupby("user_id")["timestamp_s"].diff() < 0)
    frame["value_of_rating"] = frame["value"].where(frame["event"] == "rating")
    frame["value_elsewhere"] = frame["value"].where(frame["event"] != "rating")
    context = open_context(target)
    asset = context.data_sources.add_pandas("plain").add_dataframe_asset("interactions")
    batch = asset.add_batch_definition_whole_dataframe("rows").get_batch(batch_parameters={"dataframe": frame})
    result = batch.validate(_plain_suite(), result_format="BASIC")
    return {"expectations": len(result.results), "unmet": sum(not one.success for one in result.results)}


def _plain_suite() -> Any:
    """Thirty expectations, as near to the rules as they go on a data frame."""
    import great_expectations as gx

    e = gx.expectations
    events = ["impression", "view", "click", "cart", "purchase", "rating"]
    known = {"value_set": [True]}
    suite = [
        e.ExpectTableRowCountToBeBetween(min_value=100),
        e.ExpectColumnValuesToBeBetween(column="given_columns", min_value=2),
        *[e.ExpectColumnValuesToNotBeNull(column=name) for name in ("event_id", "user_id", "item_id", "event")],
        e.ExpectColumnValuesToNotBeNull(column="timestamp"),
        *[e.ExpectColumnValuesToBeOfType(column=name, type_="float64") for name in ("value", "timestamp_s")],
        e.ExpectColumnValuesToBeOfType(column="position", type_="int64"),
        e.ExpectColumnValuesToBeBetween(column="value", min_value=1, max_value=5),
        e.ExpectColumnValuesToBeBetween(column="timestamp_s", min_value=788918400, max_value=time.time()),
        e.ExpectColumnValuesToBeInSet(column="event", value_set=events),
        e.ExpectColumnValuesToBeInSet(column="copy", value_set=[False]),
        e.ExpectColumnValuesToBeUnique(column="event_id"),
        *[e.ExpectColumnValuesToBeInSet(column=name, **known) for name in ("user_known", "item_known", "in_order")],
        *[e.ExpectColumnValuesToBeInSet(column=name, **known, mostly=0.95) for name in ("user_known", "item_known")],
        e.ExpectColumnValuesToNotBeNull(column="value_of_rating", mostly=0.01),
        e.ExpectColumnValuesToBeNull(column="value_elsewhere"),
        *[
            e.ExpectColumnValuesToMatchRegex(column=rule["column"], regex=f"^{rule['pattern']}$")
            for rule in _OWN_RULES[:3]
        ],
        *[
            e.ExpectColumnValueLengthsToBeBetween(column=rule["column"], max_value=rule["maximum"])
            for rule in _OWN_RULES[3:5]
        ],
        e.ExpectColumnValuesToBeBetween(column="position", min_value=0),
        e.ExpectColumnValuesToBeInSet(column="value", value_set=[0, 1, 2, 3, 4, 5, 9]),
        e.ExpectColumnMaxToBeBetween(column="timestamp_s", min_value=788918400),
    ]
    return gx.ExpectationSuite(name="interactions", expectations=suite)


def measure(contender: str, folder: Path) -> dict[str, Any]:
    """Run a contender in a process of its own: wall time of the process, its peak memory, what it found."""
    with tempfile.TemporaryDirectory(prefix="validate-") as scratch:
        command = [sys.executable, "-m", __spec__.name, "--contender", contender, "--folder", str(folder)]
        command += ["--target", scratch]
        done, wall_s = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True))
    return {"wall_s": wall_s, **json.loads(done.stdout.splitlines()[-1])}


def _measurer(contender: str, folder: Path) -> Callable[[int], dict[str, Any]]:
    return lambda _: measure(contender, folder)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = options.command(__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="generated without --folder (default: 5000000)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="tables that generate_interactions wrote (default: newly generated)"
    )
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.contender:
        run = {"sommelier": run_sommelier, "duckdb": run_duckdb, "great-expectations": run_great_expectations}
        found = run[chosen.contender](chosen.folder, chosen.target)
        print(json.dumps({"peak_mib": peak_gib() * 1024, "found": found}))
        return
    with tempfile.TemporaryDirectory(prefix="interactions-") as scratch:
        folder = chosen.folder or Path(scratch)
        if chosen.folder is None:
            generator = [sys.executable, "-m", "benchmarks.generate_interactions", scratch]
            subprocess.run([*generator, "--interactions", str(chosen.rows)], check=True, stdout=subprocess.DEVNULL)
        n_rows = pq.read_metadata(folder / "interactions.parquet").num_rows
        runs = in_turns({name: _measurer(name, folder) for name in CONTENDERS}, chosen.runs)
    _print_results(runs, n_rows)


def _print_results(runs: dict[str, list[dict[str, Any]]], n_rows: int) -> None:
    found = [one["found"] for name in ("sommelier", "duckdb") for one in runs[name]]
    if any(one != found[0] for one in found):
        raise AssertionError(f"the contenders found different rows: {found}")
    print(f"{found[0]}; medians of {len(runs['sommelier'])} runs")
    wall, peak = (
        {name: statistics.median(one[key] for one in runs[name]) for name in CONTENDERS}
        for key in ("wall_s", "peak_mib")
    )
    rows = [
        [
            name, f"{n_rows:,}", str(N_RULES), f"{wall[name]:.1f}", f"{n_rows / wall[name]:,.0f}",
            f"{peak[name]:,.0f}", f"{wall[name] / wall['duckdb']:.2f}",
        ]
        for name in CONTENDERS
    ]  # fmt: skip
    limits = ["limit (5 million)", "", "", f"{MAX_WALL_S:.1f}", "", f"{MAX_PEAK_MIB:,}", f"{MAX_RATIO:.2f}"]
    print_table(["", "rows", "rules", "wall s", "rows/s", "peak MiB", "ratio"], [*rows, limits])


if __name__ == "__main__":
    main()
