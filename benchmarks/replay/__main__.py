"""A shop's past led through the running platform: what the closed loop is worth, and what it costs.

`python -m benchmarks.replay --source tables --data FOLDER`. The platform starts (`sommelier up`) with what was known
when the replay begins. Then, period by period: for each event as it happened, its user asks `/v1/recommend`, and the
event goes to `/v1/events` with what it was shown by; at the end of the period the features are refreshed, and

- with the loop on, `monitor` looks, and whatever it starts (by alarm, event and automation) runs to its end;
- on schedule, `fine-tune` runs, whatever moved;
- frozen, nothing is trained.

The clock is compressed: events carry the times at which they happened, and to what looks at data their newest moment is
now, while a period takes as long as it takes. So the loop's cool-down and weekly budget, which go by the clock of the
wall, are set to nothing, and schedules are off; what is counted is what the loop decides, not when. A row is a period:
R@10 and NDCG@10 of what was shown against the item that was chosen next, what was decided, promoted or refused at its
end, and what the runs took. Items that a user had before are no question.

Give `--keep` to go on after a kill, of the replay or of any process of the platform: what was asked, told and decided
is in `<policy>.journal` there. A replay that is done prints its table at once.
"""

from __future__ import annotations

import argparse
import fcntl
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.harness import options
from benchmarks.harness.datasets import open_dataset
from benchmarks.replay.figures import Row, print_period, print_replays
from benchmarks.replay.journal import Journal
from benchmarks.replay.leading import is_done, replay, row_of
from benchmarks.replay.past import Period, read_periods, write_base
from benchmarks.replay.platform import running_platform
from benchmarks.replay.policies import GIVE_UP_H, POLICIES, Policy

_SHOP = "replay"
# Wall-clock limits of the loop mean nothing in compressed time.
_COMPRESSED = (
    "loop.retraining.cooldown_h=0",
    "loop.retraining.runs_per_week=1000",
    "loop.retraining.minutes_per_week=100000",
    "loop.retraining.looks=1",
    f"loop.retraining.give_up_h={GIVE_UP_H}",
)


def main(arguments: list[str] | None = None) -> None:
    """Replay once per policy."""
    chosen = _parse(arguments)
    # What is asked to end, and what a shell's background has ignore Ctrl-C, stops its platform too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows: list[Row] = []
    with open_dataset(options.recipe_of(chosen), chosen.cache) as data, _folder(chosen.keep) as place:
        clean = data.clean_tables()
        opens = datetime.fromisoformat(chosen.opens).replace(tzinfo=UTC)
        length = timedelta(days=chosen.days)
        base = place / "base"
        if not base.is_dir():
            write_base(clean, base, opens, chosen.users)
        for policy in chosen.policies:
            periods = list(read_periods(clean, opens, chosen.periods, length, chosen.users, chosen.asked))
            for row in replay_policy(policy, periods, place, base, chosen.set, chosen.platform_set):
                rows.append(row)
                print_period(row)
    print()
    print_replays(rows)


def replay_policy(
    policy: Policy, periods: list[Period], place: Path, base: Path, recipe: list[str], more: list[str]
) -> Iterator[Row]:
    """Replay the periods by one policy, from where it ended before.

    Args:
        place: Folder of journals, work folders and logs.
        base: What was known before the first period.
        recipe: `a.b=value` each.
        more: Likewise, of the platform.
    """
    journal = Journal(place / f"{policy}.journal")
    spans = [f"{period.opens:%Y-%m-%d}, {len(period.events)} events" for period in periods]
    journal.check_options({"recipe": recipe, "platform": more, "periods": spans})
    if all(is_done(number, journal) for number in range(len(periods))):
        yield from (row_of(policy, number, period, journal) for number, period in enumerate(periods))
        return
    settings = [f"recipe.{one}" for one in recipe if not one.startswith("source.")] + list(_COMPRESSED)
    settings += ["recipe.source.kind=tables", f"recipe.source.path={base}", f"shop={_SHOP}", *more]
    settings += ["loop.retraining.enabled=false"] if policy != "loop" else []
    with (
        _alone(place / f"{policy}.lock"),
        running_platform(settings, place / policy, place / f"{policy}.log") as platform,
    ):
        yield from replay(platform, policy, iter(periods), journal)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = options.command(__doc__)
    options.add_source(parser)
    options.add_recipe(parser)
    begins = "where the replay begins (default: %(default)s)"
    parser.add_argument("--from", dest="opens", default="2013-01-01", help=begins)
    parser.add_argument("--periods", type=int, default=18, help="how many (default: %(default)s)")
    parser.add_argument("--days", type=int, default=30, help="length of a period (default: %(default)s)")
    parser.add_argument("--users", type=int, default=0, help="keep only so many users, drawn at random; 0 keeps all")
    asked = "ask about so many users a period, drawn at random; the events of all are told; 0 asks about all"
    parser.add_argument("--asked", type=int, default=0, help=asked)
    more = "a setting outside of the recipe, such as loop.retraining.min_new_events=200; may be repeated"
    parser.add_argument("--platform-set", action="append", default=[], metavar="a.b=value", help=more)
    named = "what to replay (default: all)"
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES), help=named)
    parser.add_argument("--keep", type=Path, help="keep journals, work folders and logs here, and go on from there")
    return options.parse(parser, arguments)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep others out: each of two replays would stop the other one's platform as what a killed replay left.

    Raises:
        SystemExit: another replay is at work.
    """
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"Another replay holds {lock}. Wait for its end, or give another --keep.") from None
        yield


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
