"""The event log, before and after its events are sealed: bytes, the time of ingest, and how long an append waits.

Run: `python -m benchmarks.event_log --events 1000000 --runs 3`

Ids of events are UUIDs, a tenth are ratings, a third name the answer that showed the item. A process appends an event
every ten milliseconds while another seals.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from benchmarks.event_log.appends import append_until
from benchmarks.harness.tables import print_table
from benchmarks.harness.timing import timed
from core.logs.events import EventLog, Interaction
from core.settings.source import TablesSource
from validation.sources.ingest import ingest

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
BATCH = 10_000


def drawn_events(number: int) -> Iterator[Interaction]:
    """Events of a seed, five seconds apart."""
    rng = random.Random(1)
    for place in range(number):
        rating = float(rng.randrange(1, 6)) if rng.random() < 0.1 else None
        shown = str(UUID(int=rng.getrandbits(128))) if rng.random() < 0.3 else None
        yield Interaction(
            str(UUID(int=rng.getrandbits(128), version=4)),
            f"u{int(rng.paretovariate(0.8)) % 50_000}",
            f"i{int(rng.paretovariate(0.6)) % 20_000}",
            rng.choice(("view", "click", "purchase")) if rating is None else "rating",
            START + timedelta(seconds=5 * place, microseconds=rng.randrange(10**6)),
            rating,
            shown,
            rng.randrange(1, 11) if shown else None,
        )


def seal_beside(path: Path) -> tuple[float, list[float]]:
    """Seal all; the seconds that it took, and what appends took meanwhile."""
    context = multiprocessing.get_context("spawn")
    ready, stop, waits = context.Event(), context.Event(), context.Queue()
    appender = context.Process(target=append_until, args=(path, ready, stop, waits))
    appender.start()
    ready.wait()
    log = EventLog(path)
    _, seal_s = timed(lambda: _seal_all(log))
    stop.set()
    took = waits.get()
    appender.join()
    return seal_s, took


def _seal_all(log: EventLog) -> None:
    while log.seal(LATER):
        pass


def ingest_s(folder: Path, log: EventLog, run: int) -> float:
    """Seconds of an ingest, nearly all of it the log."""
    source = folder / "source" / "interactions.csv"
    source.parent.mkdir(exist_ok=True)
    source.write_text("user_id,item_id,event,timestamp\nu,i,view,2026-01-01T00:00:00Z\n", encoding="utf-8")
    return timed(lambda: ingest(TablesSource(path=source), folder / f"raw-{run}", log.path))[1]


def main() -> None:
    """Print a table: live, sealed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, events = EventLog(folder / "events.sqlite"), list(drawn_events(chosen.events))
        for start in range(0, len(events), BATCH):
            log.append(events[start : start + BATCH])
        log.close()
        rows = [_row("live", folder, log, chosen.runs)]
        seal_s, took = seal_beside(log.path)
        log.close()
        rows.append(_row("sealed", folder, log, chosen.runs))
    print_table(("events", "SQLite, bytes each", "Parquet, bytes each", "ingest, s"), rows)
    slow = statistics.quantiles(took, n=100)[98]
    print(
        f"sealed in {seal_s:.0f} s; {len(took)} appends meanwhile: median {statistics.median(took) * 1e3:.1f} ms, ",
        end="",
    )
    print(f"99th percentile {slow * 1e3:.0f} ms, longest {max(took) * 1e3:.0f} ms")


def _row(state: str, folder: Path, log: EventLog, runs: int) -> list[str]:
    took = [ingest_s(folder, log, run) for run in range(runs)]
    number = log.count()
    in_table = sum(file.stat().st_size for file in folder.glob("events.sqlite*"))
    in_segments = sum(file.stat().st_size for file in log.sealed.glob("*.parquet"))
    figures = (in_table / number, in_segments / number, statistics.median(took))
    return [f"{number:,} {state}", *(f"{one:.1f}" for one in figures)]


if __name__ == "__main__":
    main()
