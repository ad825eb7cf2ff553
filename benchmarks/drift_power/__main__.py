"""How often monitoring alarms in quiet weeks, and how soon it finds ten injected drifts and names the right signal.

Each seed is a simulated shop. Weeks slide over its newest months, with a look each day; in quiet weeks an alarm is
false. Each drift is then injected into the clean tables from a day on, and looked for on each of the next 14 days (two
windows of a week). The peer is what monitoring did before: Evidently's preset, drifted where half of the columns have a
PSI of 0.2. Its reference window is of the tables before the drift, as ours remembers the catalogue; reviews' texts and
rankings it does not read at all.

Bars: alarms in at most 5 % of quiet weeks (by the setting of 5 %); each drift found in at least 95 % of runs, and a
right signal named first in at least 80 %. In service are bundles that learn anew every 28 days, the last one 30 days
before the end: how well they rank what users do since is among the signals. Stale is a bundle that never learned again
in 170 days. A report on 5 million events of 30 columns within 60 s and 4 GiB (--report).

With --embeddings the packaged encoder embeds the items and the reviews of 196 days, so that embeddings are among the
signals, and two drifts are injected that no column tells: another taste within each category, and reviews of another
topic in the same language and of the same length. The items then have no columns beyond the contract's: what they are
like stands in their words. How often these two are found without embeddings is said beside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.drift_power.bundle import RULE, Bundle, ask
from benchmarks.drift_power.drifts import DRIFTS, STALE_BUNDLE, TOLD_BY_NO_COLUMN, WITHIN, Injected
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
from monitoring.answers.staleness import Learned, with_staleness
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

if TYPE_CHECKING:
    from benchmarks.drift_power.embeddings import Embedded

N_DAYS = 450
SPAN = Span(CLOSES_AT, 2 * 168 + LAG)
WEEK = 7
LEARNED_AT = [CLOSES_AT - timedelta(days=days) for days in (170, 142, 114, 86, 58, 30)]


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = command(__doc__)
    parser.add_argument(
        "--seeds", type=int, default=20, help="shops; each drift is injected once into each (default: 20)"
    )
    parser.add_argument("--first-seed", type=int, default=0, help="the seeds count up from here (default: 0)")
    parser.add_argument(
        "--drifts", nargs="*", choices=[*DRIFTS, *TOLD_BY_NO_COLUMN], metavar="NAME",
        help="only these drifts, by the names of the table; with no name only quiet weeks (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--embeddings", action="store_true", help="watch embeddings too, and inject drifts that no column tells"
    )
    parser.add_argument("--users", type=int, default=6000, help="users of a shop (default: 6000)")
    parser.add_argument("--weeks", type=int, default=5, help="quiet weeks of each shop (default: 5)")
    parser.add_argument("--report", action="store_true", help="only time a report on 5 million events of 30 columns")
    chosen = parser.parse_args(arguments)
    if chosen.report:
        _time_report()
        return
    known = DRIFTS | (TOLD_BY_NO_COLUMN if chosen.embeddings else {})
    drifts = list(known) if chosen.drifts is None else chosen.drifts
    if not known.keys() >= set(drifts):
        parser.error(f"{', '.join(TOLD_BY_NO_COLUMN)}: with --embeddings alone")
    encoder = None
    if chosen.embeddings:
        from benchmarks.drift_power.embeddings import Encoder, Shop

        encoder = Encoder()
    quiet: list[bool] = []
    peer_quiet: list[bool] = []
    found: dict[str, list[Found]] = {name: [] for name in drifts}
    without: dict[str, list[Found]] = {name: [] for name in drifts if name in TOLD_BY_NO_COLUMN}
    peer_found: dict[str, list[bool]] = {name: [] for name in drifts}
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            clean = _shop(folder / "clean", seed, chosen.users, items_have_more=encoder is None)
            shop = None
            if encoder is not None:
                encoder.forget()
                shop = Shop(clean, folder / "embedded", LEARNED_AT[-1], encoder)
            store = folder / "before" / STORE
            bundles = [Bundle(clean, at) for at in LEARNED_AT]
            replayed = ask(bundles, clean, folder / "replay")
            before = [one for one in replayed if one.day < (CLOSES_AT - timedelta(days=WITHIN)).date()]
            moments = range(SPAN.n_days - WEEK * chosen.weeks + 1, SPAN.n_days + 1)
            looks = list(_looks(clean, None, (), moments, replayed, shop.quiet if shop else None))
            weeks = [[one for look in looks[at : at + WEEK] for one in look] for at in range(0, len(looks), WEEK)]
            quiet += [bool(week) for week in weeks]
            peer_quiet.append(_peer_drifts(clean, clean))
            _looks_once(clean, store)
            for drift in drifts:
                injected = known[drift]
                changed = _inject(clean, folder / drift.replace(" ", "-"), injected)
                asked = replayed
                if "interactions" in injected.tables:
                    asked = ask(bundles, changed, changed / "replay", before)
                elif drift == STALE_BUNDLE:
                    asked = ask(bundles[:1], changed, changed / "replay")
                embedded = None
                if shop is not None:
                    embedded = (
                        shop.embedded(changed, changed / "embedded") if "feedback" in injected.tables else shop.quiet
                    )
                found[drift].append(_find(changed, store, injected.right, asked, embedded))
                if drift in without:
                    without[drift].append(_find(changed, store, (), asked))
                peer_found[drift].append(_peer_drifts(clean, changed))
        falsely = ", ".join(sorted({f"{one.signal} ({one.window_days} d)" for week in weeks for one in week}))
        print(f"seed {seed}: {sum(quiet)} of {len(quiet)} quiet weeks with an alarm: {falsely or '–'}", flush=True)
        for drift, runs in found.items():
            print(f"  {drift}: {_told(runs[-1])}", flush=True)
            if drift in without:
                print(f"    without embeddings {_told(without[drift][-1])}", flush=True)
    _print(quiet, found, known, peer_quiet, peer_found)
    for drift, runs in without.items():
        print(f"{drift}, found without embeddings: {sum(one.days is not None for one in runs)} of {len(runs)}")


def _shop(folder: Path, seed: int, n_users: int, items_have_more: bool) -> Path:
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in TABLES}
    source = SimulatedSource(n_users=n_users, n_items=400, n_days=N_DAYS, dirty_share=0.0, seed=seed)
    for table, row in read_log(source):
        rows[table].append(row)
    folder.mkdir(parents=True)
    for name, found in rows.items():
        known = TABLES[name].arrow()  # type: ignore[index]
        extra = sorted({column for row in found[:50] for column in row} - set(known.names))
        if name == "items" and not items_have_more:
            extra = []
        schema = pa.schema([*known, *(pa.field(column, pa.string()) for column in extra)])
        pq.write_table(pa.Table.from_pylist(found, schema=schema), folder / f"{name}.parquet")
    return folder


def _looks(
    clean: Path,
    store: Path | None,
    looks: tuple[Look, ...],
    moments: range,
    replayed: list[ReplayDay],
    embedded: Embedded | None = None,
) -> Iterator[tuple[Alarm, ...]]:
    """The alarms of a look that ends before each of these days; the tables are read once."""
    last_us = int(looks[-1].end.timestamp() * 1e6) if looks else None
    with tempfile.TemporaryDirectory() as spill, open_database(2.0, Path(spill), threads=1) as connection:
        read_activity(connection, clean, SPAN, RULE)
        columns = read_catalogue(connection, clean, store, SPAN, last_us)
        series = data_series(connection, clean, SPAN, columns, timedelta())
        series += text_series(connection, clean, SPAN)
        series += replay_series(replayed, SPAN)
        series += embedded.series(connection, SPAN) if embedded else []
        users, items = (filled_shares(connection, clean, table) for table in ("users", "items"))
        filled = {"filled": users, "filled_items": items}
        looks = tuple(look.model_copy(update=filled) for look in looks)  # columns come and go in no drift here
        for end in moments:
            moved = [one for each in series for one in measure(each, end, 168)]
            span, now = Span(SPAN.starts(end), SPAN.n_days), Look(end=SPAN.starts(end)).model_copy(update=filled)
            moved += structural_changes(connection, span, looks, now, columns, None)
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


@dataclass(frozen=True)
class Found:
    """How a drift was found.

    Attributes:
        days: After how many; None: not at all.
        first: The signal that is named first then; "" where there is none.
        right_days: After how many a right signal is among the alarms; None: never.
    """

    days: int | None = None
    first: str = ""
    right_days: int | None = None


def _find(
    changed: Path, before: Path, right: tuple[str, ...], replayed: list[ReplayDay], embedded: Embedded | None = None
) -> Found:
    """Look each day, until a right signal alarms; without any that is right, until one does."""
    store = changed / "before" / STORE
    store.parent.mkdir(exist_ok=True)
    store.write_bytes(before.read_bytes())
    look = Look(end=CLOSES_AT - timedelta(days=WITHIN))
    moments = range(SPAN.n_days - WITHIN + 1, SPAN.n_days + 1)
    found = Found()
    for days, alarms in enumerate(_looks(changed, store, (look,), moments, replayed, embedded), start=1):
        if alarms and found.days is None:
            found = Found(days, alarms[0].signal)
        if any(alarm.signal.startswith(right) for alarm in alarms):
            return replace(found, right_days=days)
        if alarms and not right:
            break
    return found


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


def _told(found: Found) -> str:
    if found.days is None:
        return "not found"
    right = "" if found.right_days is None else f", a right one on day {found.right_days}"
    return f"on day {found.days}, {found.first} first{right}"


def _print(
    quiet: list[bool],
    found: dict[str, list[Found]],
    known: dict[str, Injected],
    peer_quiet: list[bool],
    peer_found: dict[str, list[bool]],
) -> None:
    n = len(quiet)
    print(f"quiet weeks with an alarm: {sum(quiet)} of {n} ({sum(quiet) / n:.1%}, setting 5 %); "
          f"the preset: {sum(peer_quiet)} of {len(peer_quiet)} shops")  # fmt: skip
    if not found:
        return
    rows = []
    for name, runs in found.items():
        days = sorted(one.days for one in runs if one.days is not None)
        named = [one.first for one in runs if one.days is not None]
        usual = max(set(named), key=named.count) if named else "–"
        is_right = [one.first.startswith(known[name].right) for one in runs if one.days is not None]
        ever = sum(one.right_days is not None for one in runs)
        rows.append([
            name, f"{len(days) / len(runs):.0%}", f"{sum(is_right) / len(runs):.0%}", f"{ever / len(runs):.0%}",
            str(days[len(days) // 2]) if days else "–", usual, f"{sum(peer_found[name]) / len(runs):.0%}",
        ])  # fmt: skip
    header = [
        "drift",
        "found",
        "named rightly first",
        "a right signal alarms",
        "days (median)",
        "mostly named",
        "preset",
    ]
    print_table(header, rows)


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
