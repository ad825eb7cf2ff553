"""Figures of an experiment by variant: clicks, hit rate, latency, coverage, with intervals and sequential tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from core.experiments import CHAMPION, Experiment, place_of
from core.logs.events import EventLog
from core.promotions import Standing
from core.settings.monitoring import ExperimentSettings
from monitoring.online.columns import IS_PINNED
from monitoring.online.intervals import Interval, OpenInterval, mean, quantile, ratio
from monitoring.online.kept import name_of
from monitoring.online.sequential import LEVEL, MIN_USERS, compare
from monitoring.online.shown import log_lost, open_shown
from monitoring.online.window import window_of
from recommender.inputs.catalogue import CATALOGUE_FILE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What a worker of the service computed, for the others: beside the log.
SHARED_FILE, SHARED_LOCK = "figures.json", ".figures.lock"
# An item that the request pinned stands where it does by no merit of the variant.
_MERITED = "CREATE TEMP VIEW merited AS SELECT * FROM clicked WHERE NOT is_pinned"
# One row per variant and unit. An answer's time for clicks is over, or its clicks count in no rate.
_UNITS = """
WITH lists AS (
    SELECT a.variant, coalesce(a.who, a.recommendation_id) AS unit_id, a."at" <= $closed AS is_closed,
        a.n_pinned > 0 AND a.n_pinned = len(a.items) AS is_given,
        (coalesce(len(a.items), 0) - a.n_pinned)::BIGINT AS n_shown, count(c.item_id)::BIGINT AS n_clicked
    FROM answers a LEFT JOIN merited c USING (recommendation_id)
    WHERE a.role = 'shown' AND a."at" <= $until
    GROUP BY a.variant, unit_id, is_closed, is_given, n_shown, a.recommendation_id
)
SELECT variant, count(*)::BIGINT AS answers, sum(n_shown)::BIGINT AS shown, sum(n_clicked)::BIGINT AS clicked,
    count(*) FILTER (is_closed AND NOT is_given)::BIGINT AS closed,
    coalesce(sum(n_shown) FILTER (is_closed), 0)::BIGINT AS closed_shown,
    coalesce(sum(n_clicked) FILTER (is_closed), 0)::BIGINT AS closed_clicked,
    count(*) FILTER (is_closed AND n_clicked > 0)::BIGINT AS closed_hits
FROM lists GROUP BY variant, unit_id ORDER BY variant, unit_id
"""
_TIMES = """
SELECT took_ms, together IS NOT DISTINCT FROM 1 AS is_alone FROM answers
WHERE role = 'shown' AND "at" <= $until AND variant = $variant ORDER BY took_ms
"""
_REACH = f"""
SELECT variant, count(DISTINCT item_id) FILTER (NOT {IS_PINNED})::BIGINT AS items, array_agg(DISTINCT model) AS models
FROM (
    SELECT variant, model, unnest(items) AS item_id, unnest(rules) AS rule FROM answers
    WHERE role = $role AND "at" <= $until
)
GROUP BY variant
"""
_SHADOWS = """
SELECT variant, count(*)::BIGINT AS answers, list(took_ms) AS took_ms,
    list(overlap ORDER BY recommendation_id) FILTER (overlap IS NOT NULL) AS overlaps,
    list(rank_correlation ORDER BY recommendation_id) FILTER (rank_correlation IS NOT NULL) AS correlations
FROM answers WHERE role = 'shadow' AND "at" <= $until GROUP BY variant
"""
# One row per user: how many lists they asked for, and how many of those could not be made.
_FAILED = """
SELECT variant, count(*) FILTER (role = 'failed') AS n_failed, count(*) AS n_asked
FROM answers WHERE role IN ($role, 'failed') AND "at" <= $until
GROUP BY variant, coalesce(who, recommendation_id)
"""
# One row per user: what the lists brought that they asked for first. The order is that in which users are known to the
# end. They count for the variant that they were drawn for, whatever answered: where it failed, the list in its place is
# what they got, or none. Else those whom it fails would be left out of its users, and of nobody else's.
_USERS = """
WITH asked AS (
    SELECT who, variant, role, "at", recommendation_id FROM answers
    WHERE role IN ('shown', 'failed', 'instead') AND unit <> 'request'
),
first AS (SELECT who, min("at") AS first_at FROM asked GROUP BY who),
hits AS (
    SELECT a.who, f.first_at, a."at", a.variant, a.role, a.recommendation_id, count(c.item_id) > 0 AS is_hit
    FROM asked a JOIN first f USING (who) LEFT JOIN merited c USING (recommendation_id)
    WHERE a."at" <= f.first_at + to_microseconds($observe_us)
    GROUP BY ALL
)
SELECT arg_min(variant, "at") AS variant, count(*) FILTER (is_hit) / (count(*) FILTER (role = 'shown')
    + greatest(count(*) FILTER (role = 'failed'), count(*) FILTER (role = 'instead'))) AS value
FROM hits WHERE first_at + to_microseconds($closed_us) <= $until
GROUP BY who, first_at ORDER BY first_at, who
"""


class VariantFigures(BaseModel):
    """What a variant's answers brought.

    Attributes:
        share: Of the users.
        models: The bundles that answered.
        answers, users: Lists, and the users and visitors who got them; without an id each list is a user of its own.
        impressions, clicks: Items that were shown, and those of them that were clicked; without those that the request
            pinned, here and in what follows.
        ctr: Clicks per shown item, of lists whose time for clicks is over; the interval takes users as the unit.
        hit_rate: Share of such lists with a click; likewise. A list of pinned items alone is none of them.
        latency_p50_ms, latency_p99_ms: Of computing an answer, with all that were computed together, in the service.
        alone, alone_p50_ms: Answers that were computed alone, and their median time: what of two variants can be
            compared, as lists of a small share are rarely computed together.
        coverage: Share of the catalogue that was shown to somebody.
        overlap, rank_correlation: Of a shadow: means, against what was shown.
        failed: Lists that were asked for and could not be made, through no fault of whoever asked.
        failure_rate: Their share of all that were asked for; likewise.
    """

    model_config = ConfigDict(frozen=True)

    variant: str
    share: float
    models: tuple[str, ...] = ()
    answers: int = 0
    users: int = 0
    impressions: int = 0
    clicks: int = 0
    ctr: Interval | None = None
    hit_rate: Interval | None = None
    latency_p50_ms: OpenInterval | None = None
    latency_p99_ms: OpenInterval | None = None
    alone: int = 0
    alone_p50_ms: OpenInterval | None = None
    coverage: float | None = None
    overlap: OpenInterval | None = None
    rank_correlation: OpenInterval | None = None
    failed: int = 0
    failure_rate: Interval | None = None


class VariantTest(BaseModel):
    """A variant against the control, by users' hit rates. It may be looked at any time.

    Users count for the variant that they were drawn for, by all lists that they asked for (intention to treat): one
    that it failed to make has the clicks of the list that the bundle in service made in its place, or none.

    Attributes:
        users: Who are known to the end: their time of observation is over.
        control_hit_rate: Mean of the hit rates of those of them who were drawn for the control; None where none were.
        difference: Variant less control, with a confidence sequence: it holds the true one at all looks together,
            with the chance `level` says. None before there are enough users.
        p_value: Always valid: the smallest so far. Below 1 - level the variants differ.
    """

    model_config = ConfigDict(frozen=True)

    variant: str
    control: str
    users: int
    control_hit_rate: float | None = None
    difference: Interval | None = None
    p_value: float | None = None
    level: float = 1.0 - LEVEL
    note: str = ""


class ExperimentFigures(BaseModel):
    """All of an experiment.

    Attributes:
        since: From when on answers count: the start, the last growth of a canary, or the last promotion, which changed
            the control; or since when the log, and what is kept of it for longer, have them all.
        until: When these figures were computed, or what ended it: it was stopped, a rollback overruled it, or its one
            bundle went into service.
        dropped: Records that the prediction log had to leave out in this time, of all answers.
        lost: Whether answers that would count are gone, from the log and from what is kept of it for longer: there is
            no test then, since nobody knows any more which list of a user was the first.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    since: str
    until: str
    dropped: int
    lost: bool = False
    variants: tuple[VariantFigures, ...]
    tests: tuple[VariantTest, ...] = ()


def compute_figures(
    experiment: Experiment,
    standing: Standing,
    log: Path,
    events: EventLog,
    settings: ExperimentSettings,
    now: datetime | None = None,
) -> ExperimentFigures:
    """Compute the figures of an experiment from the prediction log and the event log.

    Args:
        experiment: Running or stopped.
        standing: What is in service, and was: a promotion changes the control, and the count begins anew.
        log: The folder of the prediction log.
        events: The service's event log.
        settings: What counts as a click, and for how long users are observed.
        now: This moment, by default.
    Raises:
        PredictionLogError, EventLogError: a log cannot be read.
    """
    now = now or datetime.now(UTC)
    since, until = window_of(experiment, standing, now)
    window_s = settings.click_window_s
    with open_shown(log, events, settings.clicks, window_s, since=since, until=until, experiment=experiment) as (
        tables,
        dropped,
    ):
        tables.execute(_MERITED)
        gone = log_lost(log)
        lost = gone.kept.get(name_of(experiment), gone.until)
        is_lost = lost is not None and lost > since
        if lost is not None and is_lost:
            since = min(lost, until)
            tables.execute('DELETE FROM answers WHERE "at" <= $since', {"since": since})
        n_items = _sizes(experiment, standing, log.parent)
        if experiment.kind == "shadow":
            variants = _shadows(experiment, tables, until, n_items)
            tests: tuple[VariantTest, ...] = ()
        else:
            closed = min(until, now - timedelta(seconds=window_s))
            variants = _variants(experiment, tables, until, closed, n_items)
            tests = _untested(experiment, since) if is_lost else _tests(experiment, tables, until, settings)
    return ExperimentFigures(
        name=experiment.name,
        since=since.isoformat(timespec="seconds"),
        until=until.isoformat(timespec="seconds"),
        dropped=dropped,
        lost=is_lost,
        variants=tuple(variants),
        tests=tests,
    )


def shares_of(experiment: Experiment) -> dict[str, float]:
    """The share of each variant; that of the bundle in service is what the others leave."""
    shares = {one.name: one.share for one in experiment.variants}
    if experiment.kind == "shadow":
        return shares
    left = 1.0 - sum(shares.values())
    return {CHAMPION: left, **shares} if left > 1e-9 else shares


def _variants(
    experiment: Experiment,
    tables: DuckDBPyConnection,
    until: datetime,
    closed: datetime,
    n_items: Callable[[str], int | None],
) -> list[VariantFigures]:
    rows = tables.execute(_UNITS, {"until": until, "closed": closed}).fetchnumpy()
    reach, failed = _reach(tables, "shown", until, n_items), _failures(tables, "shown", until)
    found = []
    for name, share in shares_of(experiment).items():
        mine = np.asarray(rows["variant"] == name)
        if not mine.any():
            found.append(VariantFigures(variant=name, share=share, **failed.get(name, {})))
            continue
        units = {column: values[mine].astype(float) for column, values in rows.items() if column != "variant"}
        over = units["closed"] > 0
        clicked, shown, hits, lists = (
            units[column][over] for column in ("closed_clicked", "closed_shown", "closed_hits", "closed")
        )
        unit = np.arange(len(lists))
        times = tables.execute(_TIMES, {"until": until, "variant": name}).fetchnumpy()
        took = times["took_ms"].astype(float)
        alone = took[np.asarray(times["is_alone"], dtype=bool)]
        models, coverage = reach.get(name, ((), None))
        found.append(
            VariantFigures(
                variant=name,
                share=share,
                models=models,
                answers=int(units["answers"].sum()),
                users=int(mine.sum()),
                impressions=int(units["shown"].sum()),
                clicks=int(units["clicked"].sum()),
                ctr=ratio(clicked, shown, unit),
                hit_rate=ratio(hits, lists, unit),
                latency_p50_ms=quantile(took, 0.50),
                latency_p99_ms=quantile(took, 0.99),
                alone=len(alone),
                alone_p50_ms=quantile(alone, 0.50),
                coverage=coverage,
                **failed.get(name, {}),
            )
        )
    return found


def _shadows(
    experiment: Experiment, tables: DuckDBPyConnection, until: datetime, n_items: Callable[[str], int | None]
) -> list[VariantFigures]:
    rows = {row[0]: row[1:] for row in tables.execute(_SHADOWS, {"until": until}).fetchall()}
    reach, failed = _reach(tables, "shadow", until, n_items), _failures(tables, "shadow", until)
    found = []
    for name, share in shares_of(experiment).items():
        answers, took, overlaps, correlations = rows.get(name, (0, [], [], []))
        models, coverage = reach.get(name, ((), None))
        found.append(
            VariantFigures(
                variant=name,
                share=share,
                models=models,
                answers=answers,
                latency_p50_ms=quantile(np.sort(np.array(took or [], dtype=float)), 0.50),
                latency_p99_ms=quantile(np.sort(np.array(took or [], dtype=float)), 0.99),
                coverage=coverage,
                overlap=mean(overlaps or [], 0.0),
                rank_correlation=mean(correlations or [], -1.0),
                **failed.get(name, {}),
            )
        )
    return found


def _untested(experiment: Experiment, lost: datetime) -> tuple[VariantTest, ...]:
    """No test goes on without its beginning: users would count anew, and each look would take another beginning."""
    control, *others = shares_of(experiment)
    note = (
        f"No test: answers up to {lost.isoformat(timespec='seconds')} are gone from the prediction log, and users' "
        "first lists with them. Give what is kept of it for experiments more room "
        "(serving.predictions.experiments_max_bytes), and start another experiment."
    )
    return tuple(VariantTest(variant=name, control=control, users=0, note=note) for name in others)


def _tests(
    experiment: Experiment, tables: DuckDBPyConnection, until: datetime, settings: ExperimentSettings
) -> tuple[VariantTest, ...]:
    observe_us = round(settings.observe_s * 1e6)
    closed_us = observe_us + round(settings.click_window_s * 1e6)
    asked = {"until": until, "observe_us": observe_us, "closed_us": closed_us}
    users = tables.execute(_USERS, asked).fetchnumpy()
    shares = shares_of(experiment)
    control, *others = shares
    found = []
    for name in others:
        both = np.asarray((users["variant"] == name) | (users["variant"] == control), dtype=bool)
        treated = np.asarray(users["variant"][both] == name, dtype=bool)
        values = users["value"][both].astype(float)
        rate = float(values[~treated].mean()) if (~treated).any() else None
        seen = compare(values, treated, shares[name] / (shares[name] + shares[control]))
        if seen is None:
            waits = timedelta(seconds=settings.observe_s + settings.click_window_s)
            note = (
                f"Too few users yet: {int(treated.sum())} of {name} and {int((~treated).sum())} of {control} are known "
                f"to the end, expected {MIN_USERS} of each; a user is {waits} after their first list."
            )
            found.append(
                VariantTest(variant=name, control=control, users=len(values), control_hit_rate=rate, note=note)
            )
            continue
        difference = Interval(value=seen.difference, low=seen.low, high=seen.high)
        note = "The hit rates differ." if seen.p_value <= LEVEL else "No difference has shown so far."
        found.append(
            VariantTest(
                variant=name,
                control=control,
                users=seen.n_users,
                control_hit_rate=rate,
                difference=difference,
                p_value=seen.p_value,
                note=note,
            )
        )
    return tuple(found)


def _failures(tables: DuckDBPyConnection, role: str, until: datetime) -> dict[str, dict[str, Any]]:
    """Of each variant that was asked for a list: how many it failed to make, and their share."""
    rows = tables.execute(_FAILED, {"role": role, "until": until}).fetchnumpy()
    found: dict[str, dict[str, Any]] = {}
    for name in np.unique(rows["variant"].astype(str)):
        mine = np.asarray(rows["variant"] == name)
        failed, asked = rows["n_failed"][mine].astype(float), rows["n_asked"][mine].astype(float)
        share = ratio(failed, asked, np.arange(len(asked)))
        found[str(name)] = {"failed": int(failed.sum()), "failure_rate": share}
    return found


def _reach(
    tables: DuckDBPyConnection, role: str, until: datetime, n_items: Callable[[str], int | None]
) -> dict[str, tuple[tuple[str, ...], float | None]]:
    """Of each variant the bundles that answered, and the share of their catalogue that was shown."""
    found: dict[str, tuple[tuple[str, ...], float | None]] = {}
    rows: list[tuple[Any, ...]] = tables.execute(_REACH, {"role": role, "until": until}).fetchall()
    for variant, items, models in rows:
        sizes = [size for size in map(n_items, models) if size]
        found[variant] = (tuple(sorted(models)), min(items / max(sizes), 1.0) if sizes else None)
    return found


def _sizes(experiment: Experiment, standing: Standing, shop_root: Path) -> Callable[[str], int | None]:
    """Says how many items the catalogue of a bundle has, by its name in answers; None where it is gone."""
    name = standing.folder.name
    places = dict(place_of(one.bundle, name, shop_root) for one in experiment.variants if one.bundle.candidate)

    def n_items(model: str) -> int | None:
        import pyarrow.parquet as pq

        folder = places.get(model, standing.folder / model.rpartition(":")[2])
        try:
            return int(pq.read_metadata(folder / "vectors" / CATALOGUE_FILE).num_rows)
        except OSError:
            return None

    return n_items
