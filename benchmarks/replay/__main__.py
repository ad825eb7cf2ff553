"""A shop's past led through the running platform: what the closed loop is worth, and what it costs.

`python -m benchmarks.replay --source tables --data FOLDER`. The platform starts (`sommelier up`) with what was known
when the replay begins. Then, period by period: for each event as it happened, its user asks `/v1/recommend`, and the
event goes to `/v1/events` with what it was shown by; at the end of the period the features are refreshed, and

- with the loop on, `monitor` looks, and whatever it starts (by alarm, event and automation) runs to its end;
- on schedule, `fine-tune` runs, whatever moved;
- frozen, nothing is trained.

The clock is compressed: events carry the times at which they happened, while a period takes as long as it takes. So the
loop's cool-down and weekly budget, which go by the clock of the wall, are set to nothing; what is counted is what the
loop decides, not when. A row is a period: hits and NDCG of what was shown against the item that was chosen next, what
was promoted or refused at its end, and the minutes of runs. Items that a user had before are no question.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import options
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.tables import print_table
from benchmarks.replay.past import Period, read_periods, write_base
from benchmarks.replay.platform import Running, running_platform
from recommender.metrics.significance import bootstrap_interval

MODES = ("loop", "schedule", "frozen")
K = 10
_EVENTS_AT_ONCE = 500
# Wall-clock limits of the loop mean nothing in compressed time.
_COMPRESSED = (
    "loop.retraining.cooldown_h=0",
    "loop.retraining.runs_per_week=1000",
    "loop.retraining.minutes_per_week=100000",
    "loop.retraining.looks=1",
)


@dataclass(frozen=True)
class Row:
    """A period of a replay.

    Attributes:
        gains: NDCG of each question; the place of the chosen item in the list decides it.
        happened: What the loop saw, decided and did at its end, one word each.
        minutes: Of runs that trained or judged at its end.
    """

    mode: str
    opens: str
    asked: int
    hits: float
    ndcg: float
    gains: tuple[float, ...]
    happened: tuple[str, ...]
    minutes: float


def main(arguments: list[str] | None = None) -> None:
    """Replay once per mode."""
    parser = options.command(__doc__)
    options.add_source(parser)
    options.add_recipe(parser)
    parser.add_argument(
        "--from", dest="opens", default="2013-01-01", help="where the replay begins (default: %(default)s)"
    )
    parser.add_argument("--periods", type=int, default=18, help="how many (default: %(default)s)")
    parser.add_argument("--days", type=int, default=30, help="length of a period (default: %(default)s)")
    parser.add_argument("--users", type=int, default=0, help="keep only so many users, drawn at random; 0 keeps all")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="what to replay (default: all)")
    parser.add_argument("--keep", type=Path, help="keep work folders and logs here")
    parser.add_argument("--results", type=Path, help="append each period's row to this file, as JSON lines")
    chosen = options.parse(parser, arguments)
    opens, length = datetime.fromisoformat(chosen.opens).replace(tzinfo=UTC), timedelta(days=chosen.days)
    rows: list[Row] = []
    with open_dataset(options.recipe_of(chosen), chosen.cache) as data, _folder(chosen.keep) as place:
        clean = data.clean_tables()
        base = write_base(clean, place / "base", opens, chosen.users)
        for mode in chosen.modes:
            periods = read_periods(clean, opens, chosen.periods, length, chosen.users)
            settings = [f"recipe.{one}" for one in chosen.set if not one.startswith("source.")] + list(_COMPRESSED)
            settings += ["recipe.source.kind=tables", f"recipe.source.path={base}", "shop=replay"]
            settings += ["loop.retraining.enabled=false"] if mode != "loop" else []
            with running_platform(settings, place / mode, place / f"{mode}.log") as platform:
                for row in replay(platform, mode, periods):
                    rows.append(row)
                    print(
                        f"{mode} {row.opens}: {row.asked} asked, N@{K} {row.ndcg:.4f}; {', '.join(row.happened)}",
                        flush=True,
                    )
                    if chosen.results:
                        with chosen.results.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(asdict(row)) + "\n")
    print_replays(rows)


def replay(platform: Running, mode: str, periods: Iterator[Period]) -> Iterator[Row]:
    """Lead the periods through a platform that is up."""
    seen_entries = max((entry["id"] for entry in platform.ask("/v1/timeline")["entries"]), default=0)
    n_runs = len(platform.runs())
    for period in periods:
        gains = _live(platform, period)
        platform.run("refresh-features")
        if mode == "loop":
            platform.run("monitor")
            platform.wait_until_idle()
        elif mode == "schedule":
            platform.run("fine-tune")
        entries = [entry for entry in platform.ask("/v1/timeline")["entries"] if entry["id"] > seen_entries]
        seen_entries = max([seen_entries, *(entry["id"] for entry in entries)])
        runs = platform.runs()
        seconds = sum(run["total_run_time"] for run in runs[n_runs:])
        n_runs = len(runs)
        yield Row(
            mode=mode,
            opens=f"{period.opens:%Y-%m-%d}",
            asked=len(gains),
            hits=float(np.mean(gains > 0)) if len(gains) else math.nan,
            ndcg=float(gains.mean()) if len(gains) else math.nan,
            gains=tuple(gains.tolist()),
            happened=tuple(f"{entry['kind']} {entry['subject']}: {entry['state']}" for entry in entries),
            minutes=seconds / 60,
        )


def _live(platform: Running, period: Period) -> np.ndarray:
    """Each user asks, then does what they did; returns the NDCG of each answer. Shape (n_asked,)."""
    gains: list[float] = []
    waiting: list[dict[str, Any]] = []
    for happening in period.events:
        if any(one["user_id"] == happening.user_id for one in waiting) or len(waiting) >= _EVENTS_AT_ONCE:
            # What somebody has just done counts in what they are shown next.
            platform.ask("/v1/events", {"events": waiting})
            waiting = []
        shown_by = None
        if happening.is_new:
            answer = platform.ask("/v1/recommend", {"user_id": happening.user_id, "k": K})
            shown = [item["item_id"] for item in answer["items"]]
            place = shown.index(happening.item_id) + 1 if happening.item_id in shown else None
            gains.append(1 / math.log2(place + 1) if place else 0.0)
            shown_by = answer["recommendation_id"]
        waiting.append(happening.body(shown_by))
    if waiting:
        platform.ask("/v1/events", {"events": waiting})
    return np.array(gains)


def print_replays(rows: Sequence[Row]) -> None:
    """A table of periods, and each mode as a whole beside frozen."""
    modes = list(dict.fromkeys(row.mode for row in rows))
    cells = [
        [
            f"{row.mode} {row.opens}",
            str(row.asked),
            f"{row.hits:.4f}",
            f"{row.ndcg:.4f}",
            f"{row.minutes:.1f}",
            _marks(row),
        ]
        for row in rows
    ]
    print_table(["mode, period from", "asked", f"hit@{K}", f"N@{K}", "minutes", "at its end"], cells)
    gains = {mode: np.concatenate([row.gains for row in rows if row.mode == mode]) for mode in modes}
    for mode in modes:
        minutes = sum(row.minutes for row in rows if row.mode == mode)
        line = (
            f"{mode}: N@{K} {gains[mode].mean():.4f} over {len(gains[mode])} questions, {minutes:.1f} minutes of runs"
        )
        if mode != "frozen" and len(gains.get("frozen", ())) == len(gains[mode]):
            low, high = bootstrap_interval(gains[mode] - gains["frozen"], 0)
            line += f"; less frozen {(gains[mode] - gains['frozen']).mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        print(line)


def _marks(row: Row) -> str:
    kept = [one for one in row.happened if one.split()[0] in ("promotion", "gate", "decision", "rollback", "canary")]
    return "; ".join(kept) or "-"


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


if __name__ == "__main__":
    main()
