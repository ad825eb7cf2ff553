"""Faults from the command line: `python -m tests.faults prune promote --fault kill`; all of a scenario's by default."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the faults that the arguments choose; 1 where one leaves a shop that is not what it should be."""
    from tests.faults import processes
    from tests.faults.harness import FAULTS, Harness, sample
    from tests.faults.scenarios import SCENARIOS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS))
    parser.add_argument("--fault", choices=FAULTS, action="append", help="only these kinds")
    parser.add_argument("--sample", type=int, help="so many faults of each scenario, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at", help="only points whose name contains this")
    parser.add_argument("--by-place", action="store_true", help="a full disk at the first and last turn of each place")
    parser.add_argument("--shard", default="1/1", help="which part of the faults: 2/3 is the second of three")
    parser.add_argument("--list", action="store_true", help="only say which points there are")
    given = parser.parse_args()
    shard, shards = map(int, given.shard.split("/"))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        harness_folder = Path(name).resolve()
        processes.prepare(harness_folder / "work")
        harness = Harness(harness_folder)
        for scenario in given.scenarios:
            started = time.time()
            found = harness.survey(scenario)
            kinds = Counter(point.kind for point in found.points)
            _say(f"{scenario}: {len(found.points)} points {dict(kinds)}, {len(found.cuts)} cuts")
            for one in found.unsynced:
                failed += 1
                _say(f"FAILED {scenario}: named before it was on the disk: {one}")
            if given.list:
                for point in found.points:
                    _say(f"  {point}")
                continue
            faults = harness.faults(scenario, by_place=given.by_place)
            if given.sample is not None:
                faults = [(fault, n) for _, fault, n in sample([scenario], harness, given.sample, given.seed)]
            if given.fault:
                faults = [one for one in faults if one[0] in given.fault]
            if given.at:
                faults = [
                    (f, n)
                    for f, n in faults
                    if given.at in (found.cuts[n].point if f == "kill" else str(found.points[n]))
                ]
            tried: Counter[str] = Counter()
            for fault, number in faults[shard - 1 :: shards]:
                tried[fault] += 1
                failure = harness.check(scenario, fault, number, really=given.sample is not None)
                if failure is not None:
                    failed += 1
                    _say(f"FAILED {failure}")
            _say(f"{scenario}: tried {dict(tried)} in {time.time() - started:.0f} s, {failed} failures so far")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
