"""A shop as it was when each of its newest months began: what there was to learn, and who chose something new then."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.harness import options
from benchmarks.harness.datasets import Dataset
from core import schema
from core.settings.tree import Recipe
from features.training import TrainingSummary, build_queries, build_training_set
from recommender.inputs.queries import Queries, read_queries, sample_queries

SEED_OF_SAMPLES = 0


def command(doc: str | None, months: int, said: str = "the newest so many months") -> argparse.ArgumentParser:
    """A command that reads a shop by months, with the options of source, fits and recipe.

    Args:
        months: So many, unless another number is asked for.
        said: What they are, in the help.
    """
    parser = options.command(doc)
    options.add_source(parser)
    options.add_fits(parser)
    options.add_recipe(parser)
    parser.add_argument("--days", type=int, default=30, help="length of a month (default: 30)")
    parser.add_argument("--months", type=int, default=months, help=f"{said} (default: {months})")
    parser.add_argument("--users", type=int, default=0, help="keep only so many users, drawn at random; 0 keeps all")
    parser.add_argument("--queries", type=int, default=5000, help="at most so many users are asked a month")
    return parser


@dataclass(frozen=True)
class Month:
    """A month that is predicted from what came before it.

    Attributes:
        opens: Where it begins.
        judged: The training set of before, with its windows.
        everything: The training set of before, without windows.
        queries: Of those who chose something new in the month.
    """

    opens: datetime
    judged: TrainingSummary
    everything: TrainingSummary
    queries: Queries


def newest_months(clean: Path, n_months: int, length: timedelta) -> list[datetime]:
    """Where the newest whole months begin, oldest first."""
    newest = pc.max(pq.read_table(clean / "interactions.parquet")[schema.TIMESTAMP]).as_py().replace(tzinfo=UTC)
    return [newest - length * number for number in range(n_months, 0, -1)]


def read_month(data: Dataset, clean: Path, opens: datetime, length: timedelta, n_queries: int) -> Month:
    """The training sets of before a month, and at most so many of its queries."""
    from features.refresh import refresh_features

    recipe: Recipe = data.recipe
    folder = data.work / f"shop-{opens:%Y-%m-%d}"
    before, after = _until(clean, folder / "before", opens), _until(clean, folder / "after", opens + length)
    for shop in (before, after):
        refresh_features(shop, shop.with_name(f"{shop.name}-feast"), recipe.features)
    feast = folder / "before-feast"
    judged, everything = (
        build_training_set(before, feast, folder / name, recipe.features, windows)
        for name, windows in (("judged", recipe.evaluation), ("everything", None))
    )
    asked = build_queries(after, folder / "after-feast", folder / "queries", recipe.features, opens)
    queries = sample_queries(read_queries(asked, "test"), n_queries, SEED_OF_SAMPLES)
    print(f"month from {opens:%Y-%m-%d}: {len(queries)} users, {int(queries.is_warm.sum())} with a history")
    return Month(opens, judged, everything, queries)


def sampled(data: Dataset, n_users: int) -> Path:
    """The clean tables, with the events and reviews of so many users."""
    clean = data.clean_tables()
    if not n_users:
        return clean
    users = pc.unique(pq.read_table(clean / "interactions.parquet")[schema.USER_ID]).sort()
    places = np.random.default_rng(SEED_OF_SAMPLES).permutation(len(users))[:n_users]
    kept = users.take(pa.array(np.sort(places)))
    return _filtered(clean, data.work / "sampled", lambda table: pc.is_in(table[schema.USER_ID], value_set=kept))


def _until(clean: Path, target: Path, moment: datetime) -> Path:
    """The clean tables as of a moment: what happened before it."""

    def is_before(table: pa.Table) -> pa.Array:
        times = table[schema.TIMESTAMP]
        limit = moment if times.type.tz else moment.replace(tzinfo=None)
        return pc.less(times, pa.scalar(limit, times.type))

    return _filtered(clean, target, is_before)


def _filtered(clean: Path, target: Path, is_kept: Callable[[pa.Table], pa.Array]) -> Path:
    target.mkdir(parents=True)
    for path in clean.glob("*.parquet"):
        table = pq.read_table(path)
        has_time = schema.TIMESTAMP in table.column_names
        pq.write_table(table.filter(is_kept(table)) if has_time else table, target / path.name)
    return target
