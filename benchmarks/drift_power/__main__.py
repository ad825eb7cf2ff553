# ruff: noqa: E501 (SQL of the injected drifts)
"""How often monitoring alarms in quiet weeks, and how soon it finds ten injected drifts and names the right signal.

Each seed is a simulated shop. Weeks slide over its newest months, with a look each day; in quiet weeks an alarm is false. Each
drift is then injected into the clean tables from a day on, and looked for on each of the next 14 days (two windows of a
week). The peer is what monitoring did before: Evidently's preset, drifted where half of the columns have a PSI of 0.2. Its
reference window is of the tables before the drift, as ours remembers the catalogue; reviews' texts and rankings it does
not read at all.

Bars: alarms in at most 5 % of quiet weeks (by the setting of 5 %); each drift found in at least 95 % of runs, and a right
signal named first in at least 80 %. In service are bundles that learn anew every 28 days, the last one 30 days before the
end: how well they rank what users do since is among the signals. Stale is a bundle that never learned again in 170 days. A report on 5 million events of 30 columns within 60 s and 4 GiB (--report).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.drift_power.bundle import RULE, Bundle, ask
from benchmarks.harness.options import command
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import peak_gib, timed
from core.alarms import Alarm
from core.schema import TABLES
from core.settings.monitoring import DriftSettings
from core.settings.source import SimulatedSource
from core.sql import literal
from monitoring.answers.replay import ReplayDay
from monitoring.answers.replayed import below_promise, lacks_items, lost_lead, replay_series
from monitoring.answers.staleness import STALE, Learned, with_staleness
from monitoring.calibration import LAG, measure
from monitoring.drift import Places, report_drift
from monitoring.looks import Look
from monitoring.signals.activity import Span, open_database, read_activity
from monitoring.signals.catalogue import STORE, read_catalogue
from monitoring.signals.data import data_series
from monitoring.signals.texts import text_series
from monitoring.structure import filled_shares, structural_changes
from monitoring.verdict import judge
from monitoring.windows import read_windows
from simulation.shop.log import CLOSES_AT, read_log

N_DAYS = 450
SPAN = Span(CLOSES_AT, 2 * 168 + LAG)
WEEK, WITHIN = 7, 14
LEARNED_AT = [CLOSES_AT - timedelta(days=days) for days in (170, 142, 114, 86, 58, 30)]
STALE_BUNDLE = "model gone stale"
_LATE = f"timestamp >= TIMESTAMPTZ {literal((CLOSES_AT - timedelta(days=WITHIN)).isoformat())}"
_COIN = "hash(event_id) % 100"
_FRENCH = """['Je suis très content de cet achat, il est arrivé avec deux jours de retard mais tout va bien.',
    'La qualité n''est pas celle que nous avions vue sur les photos, et le prix est trop haut.',
    'Un beau cadeau pour ma sœur, elle en est ravie depuis le premier jour.']"""
_ITEM = "(SELECT item_id FROM items ORDER BY hash(item_id) LIMIT 1)"


@dataclass(frozen=True)
class Injected:
    """A drift: SQL over the clean tables, by name; and the beginnings of signals that name it rightly."""

    tables: dict[str, str]
    right: tuple[str, ...]


def _wander() -> str:
    """Of 70 % of the late events, users of one group swap items with each other: no item or group is met more or less."""
    group = "coalesce(u.age_group, '') || coalesce(u.gender, '') || coalesce(u.country, '')"
    return f"""WITH late AS (SELECT e.event_id, e.item_id, {group} AS who FROM interactions AS e LEFT JOIN users AS u USING (user_id)
            WHERE {_LATE} AND {_COIN} < 70),
        placed AS (SELECT *, row_number() OVER (PARTITION BY who ORDER BY hash(event_id)) AS place,
            row_number() OVER (PARTITION BY who ORDER BY hash(event_id, 'other')) AS other FROM late),
        swapped AS (SELECT a.event_id, b.item_id AS taken FROM placed AS a JOIN placed AS b ON a.who = b.who AND a.place = b.other)
        SELECT e.* EXCLUDE (taken) REPLACE (coalesce(taken, item_id) AS item_id)
        FROM (SELECT interactions.*, taken FROM interactions LEFT JOIN swapped USING (event_id)) AS e"""


def _flip() -> str:
    """Users of one age group look at the shelf after the one that they would have looked at."""
    return f"""WITH shelves AS (SELECT split_part(category, ' > ', 1) AS shelf, item_id,
            row_number() OVER (PARTITION BY shelf ORDER BY item_id) - 1 AS place, count(*) OVER (PARTITION BY shelf) AS n,
            dense_rank() OVER (ORDER BY shelf) AS number FROM items)
        SELECT e.* REPLACE (coalesce(other.item_id, e.item_id) AS item_id) FROM interactions AS e
        LEFT JOIN users AS u USING (user_id) LEFT JOIN shelves AS own ON own.item_id = e.item_id
        LEFT JOIN shelves AS other ON {_LATE} AND u.age_group = '25-34'
            AND other.number = own.number % (SELECT max(number) FROM shelves) + 1 AND other.place = own.place % other.n"""


DRIFTS: dict[str, Injected] = {
    "new category": Injected(
        {"items": "SELECT * REPLACE (CASE WHEN hash(item_id) % 40 = 0 THEN 'Flowers > Roses' ELSE category END AS category) FROM items"},
        ("data.items.category.new", "data.items.category_path.new"),
    ),
    "price shift": Injected({"items": "SELECT * REPLACE (price * 1.3 AS price) FROM items"}, ("data.items.price.",)),
    "vanished column": Injected(
        {"items": "SELECT * REPLACE (NULL::VARCHAR AS brand) FROM items"}, ("data.items.brand.null_share",)
    ),
    "taste flip of a segment": Injected({"interactions": _flip()}, ("data.items.", "quality.replay.")),
    STALE_BUNDLE: Injected({}, (STALE,)),
    "taste of everybody wanders": Injected({"interactions": _wander()}, (STALE, "quality.replay.")),
    "popularity shock": Injected(
        {"interactions": f"SELECT * REPLACE (CASE WHEN {_LATE} AND {_COIN} < 10 THEN {_ITEM} ELSE item_id END AS item_id) FROM interactions"},
        ("data.items.concentration",),
    ),
    "bots": Injected(
        {"interactions": f"""SELECT * FROM interactions UNION ALL SELECT * EXCLUDE (n) REPLACE (event_id || '-bot' || n AS event_id,
            user_id || '-bot' AS user_id, 'view' AS event, NULL AS value) FROM interactions, range(40) AS t(n)
            WHERE {_LATE} AND hash(user_id) % 40 = 0"""},
        ("data.interactions.floods",),
    ),
    "unit change": Injected({"items": "SELECT * REPLACE (price * 100 AS price) FROM items"}, ("data.items.price.unit",)),
    "rating inflation": Injected(
        {"interactions": f"SELECT * REPLACE (CASE WHEN {_LATE} AND {_COIN} < 60 THEN least(value + 1, 5) ELSE value END AS value) FROM interactions"},
        ("data.interactions.rating.",),
    ),
    "language change": Injected(
        {"feedback": f"""SELECT * REPLACE (CASE WHEN {_LATE} AND hash(user_id, item_id) % 100 < 60
            THEN {_FRENCH}[CAST(1 + hash(user_id, item_id) % 3 AS INTEGER)] ELSE text END AS text) FROM feedback"""},
        ("text.language.",),
    ),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = command(__doc__)
    parser.add_argument(
        "--seeds", type=int, default=20, help="shops; each drift is injected once into each (default: 20)"
    )
    parser.add_argument("--first-seed", type=int, default=0, help="the seeds count up from here (default: 0)")
    parser.add_argument(
        "--drifts", nargs="*", choices=DRIFTS, default=list(DRIFTS), metavar="NAME",
        help="only these drifts, by the names of the table; with no name only quiet weeks (default: all)",
    )  # fmt: skip
    parser.add_argument("--users", type=int, default=6000, help="users of a shop (default: 6000)")
    parser.add_argument("--weeks", type=int, default=5, help="quiet weeks of each shop (default: 5)")
    parser.add_argument("--report", action="store_true", help="only time a report on 5 million events of 30 columns")
    chosen = parser.parse_args(arguments)
    if chosen.report:
        _time_report()
        return
    quiet, found = [], {name: [] for name in chosen.drifts}  # type: ignore[var-annotated]
    peer_quiet, peer_found = [], {name: [] for name in chosen.drifts}  # type: ignore[var-annotated]
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            clean = _shop(folder / "clean", seed, chosen.users)
            store = folder / "before" / STORE
            bundles = [Bundle(clean, at) for at in LEARNED_AT]
            replayed = ask(bundles, clean, folder / "replay")
            before = [one for one in replayed if one.day < (CLOSES_AT - timedelta(days=WITHIN)).date()]
            moments = range(SPAN.n_days - WEEK * chosen.weeks + 1, SPAN.n_days + 1)
            looks = list(_looks(clean, None, (), moments, replayed))
            weeks = [[one for look in looks[at : at + WEEK] for one in look] for at in range(0, len(looks), WEEK)]
            quiet += [bool(week) for week in weeks]
            peer_quiet.append(_peer_drifts(clean, clean))
            _looks_once(clean, store)
            for drift in chosen.drifts:
                injected = DRIFTS[drift]
                changed = _inject(clean, folder / drift.replace(" ", "-"), injected)
                asked = replayed
                if "interactions" in injected.tables:
                    asked = ask(bundles, changed, changed / "replay", before)
                elif drift == STALE_BUNDLE:
                    asked = ask(bundles[:1], changed, changed / "replay")
                found[drift].append(_first(changed, store, injected, asked))
                peer_found[drift].append(_peer_drifts(clean, changed))
        falsely = ", ".join(sorted({f"{one.signal} ({one.window_days} d)" for week in weeks for one in week}))
        print(f"seed {seed}: {sum(quiet)} of {len(quiet)} quiet weeks with an alarm: {falsely or '–'}", flush=True)
        for drift, runs in found.items():
            days, first, _ = runs[-1]
            print(f"  {drift}: {'not found' if days is None else f'on day {days}, {first} first'}", flush=True)
    _print(quiet, found, peer_quiet, peer_found)


def _shop(folder: Path, seed: int, n_users: int) -> Path:
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in TABLES}
    source = SimulatedSource(n_users=n_users, n_items=400, n_days=N_DAYS, dirty_share=0.0, seed=seed)
    for table, row in read_log(source):
        rows[table].append(row)
    folder.mkdir(parents=True)
    for name, found in rows.items():
        known = TABLES[name].arrow()  # type: ignore[index]
        extra = sorted({column for row in found[:50] for column in row} - set(known.names))
        schema = pa.schema([*known, *(pa.field(column, pa.string()) for column in extra)])
        pq.write_table(pa.Table.from_pylist(found, schema=schema), folder / f"{name}.parquet")
    return folder


def _looks(
    clean: Path, store: Path | None, looks: tuple[Look, ...], moments: range, replayed: list[ReplayDay]
) -> Iterator[tuple[Alarm, ...]]:
    """The alarms of a look that ends before each of these days; the tables are read once."""
    last_us = int(looks[-1].end.timestamp() * 1e6) if looks else None
    with tempfile.TemporaryDirectory() as spill, open_database(2.0, Path(spill), threads=1) as connection:
        read_activity(connection, clean, SPAN, RULE)
        columns = read_catalogue(connection, clean, store, SPAN, last_us)
        series = [*data_series(connection, clean, SPAN, columns), *text_series(connection, clean, SPAN)]
        series += replay_series(replayed, SPAN)
        filled = filled_shares(connection, clean)
        for end in moments:
            moved = [one for each in series for one in measure(each, end, 168)]
            moved += structural_changes(connection, Span(SPAN.starts(end), SPAN.n_days), looks, filled, columns)
            so_far = [one for one in replayed if one.day < SPAN.starts(end).date()]
            moved += below_promise(so_far, SPAN, end)
            moved += lost_lead(so_far, SPAN, end)
            moved += lacks_items(so_far, SPAN, end)
            learned_at = datetime.fromisoformat(so_far[-1].digest)
            yield with_staleness(
                judge(moved, SPAN, end, 0.05).alarms, Learned(learned_at, learned_at), SPAN.starts(end)
            )


def _looks_once(clean: Path, store: Path) -> None:
    with tempfile.TemporaryDirectory() as spill, open_database(2.0, Path(spill), threads=1) as connection:
        read_catalogue(connection, clean, store, SPAN, None)


def _inject(clean: Path, folder: Path, injected: Injected) -> Path:
    folder.mkdir()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in TABLES:
            path = clean / f"{table}.parquet"
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({literal(str(path))})")
        for table in TABLES:
            query = injected.tables.get(table, f"SELECT * FROM {table}")
            connection.execute(f"COPY ({query}) TO {literal(str(folder / f'{table}.parquet'))} (FORMAT parquet)")
    return folder


def _first(changed: Path, before: Path, injected: Injected, replayed: list[ReplayDay]) -> tuple[int | None, str, bool]:
    """After how many days the drift is found, what is named first, and whether that is right."""
    store = changed / "before" / STORE
    store.parent.mkdir()
    store.write_bytes(before.read_bytes())
    look = Look(end=CLOSES_AT - timedelta(days=WITHIN), filled={})
    moments = range(SPAN.n_days - WITHIN + 1, SPAN.n_days + 1)
    for days, alarms in enumerate(_looks(changed, store, (look,), moments, replayed), start=1):
        if alarms:
            return days, alarms[0].signal, alarms[0].signal.startswith(injected.right)
    return None, "", False


def _peer_drifts(before: Path, changed: Path) -> bool:
    """Evidently's preset on the newest two weeks against all before, as monitoring had it.

    A column that one of the two windows lacks is left out, as it was.
    """
    from monitoring.drift import _run

    cut_at = CLOSES_AT - timedelta(days=WITHIN)
    then, now = read_windows(before, cut_at), read_windows(changed, cut_at)
    numbers, words = (
        tuple(name for name in getattr(now, kind) if name in getattr(then, kind)) for kind in ("numbers", "words")
    )
    windows = replace(now, reference=then.reference, numbers=numbers, words=words)
    scores = [
        float(one["value"])
        for one in _run(windows, DriftSettings()).dict()["metrics"]
        if one["config"].get("column") is not None
    ]
    return sum(score >= 0.2 for score in scores) >= 0.5 * len(scores)


def _print(quiet: list[bool], found: dict, peer_quiet: list[bool], peer_found: dict) -> None:  # type: ignore[type-arg]
    n = len(quiet)
    print(f"quiet weeks with an alarm: {sum(quiet)} of {n} ({sum(quiet) / n:.1%}, setting 5 %); "
          f"the preset: {sum(peer_quiet)} of {len(peer_quiet)} shops")  # fmt: skip
    if not found:
        return
    rows = []
    for name, runs in found.items():
        days = sorted(one[0] for one in runs if one[0] is not None)
        named = [one[1] for one in runs if one[0] is not None]
        usual = max(set(named), key=named.count) if named else "–"
        rows.append([
            name, f"{len(days) / len(runs):.0%}", f"{sum(one[2] for one in runs) / len(runs):.0%}",
            str(days[len(days) // 2]) if days else "–", usual, f"{sum(peer_found[name]) / len(runs):.0%}",
        ])  # fmt: skip
    print_table(["drift", "found", "named rightly", "days (median)", "mostly named", "preset"], rows)


def _time_report() -> None:
    """A report on 5 million events; the tables have 7 columns of events, 21 of items, 7 of users and 5 of feedback."""
    from benchmarks.harness.feature_shop import write_clean_tables

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clean = folder / "clean"
        write_clean_tables(clean, n_events=5_000_000, n_users=100_000, n_items=50_000, rated_share=0.2)
        with duckdb.connect() as connection:
            for table, id_name, n in (("items", "item_id", 14), ("users", "user_id", 4)):
                more = ", ".join(f"'v' || (hash({id_name} || {i}) % {4 + 3 * i}) AS extra_{i}" for i in range(n))
                path, wide = clean / f"{table}.parquet", folder / "wide.parquet"
                query = f"SELECT *, {more} FROM read_parquet({literal(str(path))})"
                connection.execute(f"COPY ({query}) TO {literal(str(wide))} (FORMAT parquet)")
                wide.replace(path)
        places = Places(clean, folder / "workspace", folder / "looks", folder / "page.html")
        at = datetime.fromisoformat("2025-11-01T00:00:00+00:00")
        summary, wall_s = timed(lambda: report_drift(places, "shop", Learned(at), DriftSettings(), RULE))
    print_table(
        ["", "wall s", "peak GiB", "signals", "alarms"],
        [
            [
                "report, 5 million events",
                f"{wall_s:.1f}",
                f"{peak_gib():.2f}",
                f"{len(summary.signals)}",
                f"{len(summary.alarms)}",
            ]
        ],
    )


if __name__ == "__main__":
    main()
