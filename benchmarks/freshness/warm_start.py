"""What a warm start saves, and what it costs: a chain of fits from the weights of the month before, beside full ones.

`python -m benchmarks.freshness.warm_start --source tables --data FOLDER`. The shop is taken as it was when each of its
newest months began. In the first one a bundle is fitted from nothing, as it is judged and again on everything; that is
where the chain begins. In each later month both are fitted from nothing, and in the chain from the weights that it had
the month before, as the deployment `fine-tune` does: the judged one from the judged one, what is served from what was
served. All rank the whole catalogue for whoever chose something new in the month; figures are those of what would be
served. A ratio is N@10 of the chain over that of the full fits, over all months but the first and all seeds together;
its 95 % interval is by bootstrap over users, paired, each with the queries of all months and seeds. The bar is 98 %.

With `--control`, a third bundle of each month is fitted from nothing with another seed. Its ratio says what chance does
to the same work: an interval over users leaves that out, as the same few fits rank them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.freshness.months import Month, command, newest_months, read_month, sampled
from benchmarks.harness import options
from benchmarks.harness.by_user import ByUser
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.models import Fits, evaluate
from benchmarks.harness.tables import print_table
from features.training import TrainingSummary
from recommender.bundle.loading import load_bundle
from recommender.fitting.summary import FitSummary
from recommender.fitting.warm_start import WarmStart
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.sequences import read_sequences
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.examples import n_targets
from recommender.retrieval.sequence.model import load_sequence_model

BAR = 0.98
RANKERS = ("as served", "sequence model alone")
SEED_OF_CONTROL = 1000  # above that of the fits it is held against


@dataclass(frozen=True)
class Pair:
    """A bundle as it is judged, and as it is served.

    Attributes:
        judged, served: Their folders; the bundle lies in `bundle` below.
        judged_until, served_until: How far each learned.
        users: Of each query of the month, shape (n_queries,).
        gains: NDCG of each query, by `RANKERS`, of what is served. Shape (n_queries,).
        examples: Next items that the sequence model learned from, those of every epoch counted, in both fits.
        seconds: That both sequence models took.
        all_seconds: That all fits took.
    """

    judged: Path
    served: Path
    judged_until: datetime
    served_until: datetime
    users: Sequence[str]
    gains: Mapping[str, np.ndarray]
    examples: int
    seconds: float
    all_seconds: float


def main(arguments: list[str] | None = None) -> None:
    """Lead a chain of warm starts through the months once per seed, beside full fits."""
    parser = command(__doc__, 4, "the newest so many, the first full")
    parser.add_argument("--replay", type=float, default=None, help="share of an epoch that is older")
    parser.add_argument("--control", action="store_true", help="fit each month with another seed, from nothing, too")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    replay = recipe.warm_start.replay_share if chosen.replay is None else chosen.replay

    def fits_with(seed: int) -> Fits:
        return Fits(recipe, seed, chosen.threads).with_settings(seed=seed)

    rows: list[list[str]] = []
    pairs: list[tuple[Pair, Pair]] = []
    controls: list[tuple[Pair, Pair]] = []
    with open_dataset(recipe, chosen.cache) as data:
        length = timedelta(days=chosen.days)
        clean = sampled(data, chosen.users)
        months = [
            read_month(data, clean, opens, length, chosen.queries)
            for opens in newest_months(clean, chosen.months, length)
        ]
        for seed in options.seeds_of(chosen):
            fits = fits_with(seed)
            for number, (full, warm) in enumerate(chain(fits, months, data.work / f"seed-{seed}", replay)):
                told = f"{months[number].opens:%Y-%m-%d}, seed {seed}"
                rows.append([f"{told}, full", *_cells(full)])
                if number:
                    rows.append([f"{told}, warm", *_cells(warm)])
                    pairs.append((full, warm))
                if number and chosen.control:
                    folder = data.work / f"seed-{seed}" / f"{number}-control"
                    control = fit_pair(fits_with(seed + SEED_OF_CONTROL), months[number], folder)
                    rows.append([f"{told}, full with another seed", *_cells(control)])
                    controls.append((full, control))
    print_table(["month from, seed, fit", *(f"N@10 {name}" for name in RANKERS), "next items", "s", "s in all"], rows)
    print_ratios(pairs, "warm")
    if controls:
        print_ratios(controls, "another seed")


def chain(fits: Fits, months: Sequence[Month], folder: Path, replay: float) -> list[tuple[Pair, Pair]]:
    """For each month the full fits and those of the chain, which begins with the first full ones."""
    found: list[tuple[Pair, Pair]] = []
    for number, month in enumerate(months):
        full = fit_pair(fits, month, folder / f"{number}-full")
        warm = full if not found else fit_pair(fits, month, folder / f"{number}-warm", found[-1][1], replay)
        found.append((full, warm))
    return found


def fit_pair(fits: Fits, month: Month, folder: Path, before: Pair | None = None, replay: float = 0.5) -> Pair:
    """Fit a bundle as it is judged, and again on everything; from those of the month before where they are given."""
    judged, served = folder / "judged", folder / "served"
    of_judged = of_served = fits
    if before is not None:
        of_judged = fits.starting_from(_start(before.judged, before.judged_until, replay))
        of_served = fits.starting_from(_start(before.served, before.served_until, replay))
    seconds = of_judged.fit_bundle(month.judged.folder, judged).seconds
    seconds += of_served.fit_bundle(month.everything.folder, served, strict=judged).seconds
    summaries = [FitSummary.read(place / "sequence") for place in (judged, served)]
    sets = (month.judged, month.everything)
    examples = sum(_n_examples(fits, *one) for one in zip(summaries, sets, (judged, served), strict=True))
    bundle = load_bundle(served / "bundle", parts=())
    alone = Ranker(bundle.ranker.vectors, load_sequence_model(served / "sequence", bundle.ranker.vectors))
    gains = {
        name: evaluate(ranker, month.queries).per_query["ndcg"]
        for name, ranker in zip(RANKERS, (bundle.ranker, alone), strict=True)
    }
    return Pair(
        judged,
        served,
        datetime.fromisoformat(month.judged.learned_until),
        datetime.fromisoformat(month.everything.learned_until),
        month.queries.user_ids,
        gains,
        examples,
        sum(summary.seconds for summary in summaries),
        seconds,
    )


def _start(folder: Path, until: datetime, replay: float) -> WarmStart:
    return WarmStart(folder / "bundle", f"{folder.parent.name}-{folder.name}", until, replay)


def _n_examples(fits: Fits, summary: FitSummary, training: TrainingSummary, folder: Path) -> int:
    """Next items that a fit learned from, those of every epoch counted."""
    if summary.work is not None:
        return summary.work.taken * summary.epochs
    ids = ItemVectors.load(folder / "vectors").ids
    return n_targets(read_sequences(training.folder, ids, fits.recipe.features.max_history + 1)) * summary.epochs


def print_ratios(pairs: Sequence[tuple[Pair, Pair]], of: str) -> None:
    """Quality and cost of the second of each pair over those of the first, the full fits.

    Args:
        of: What the second ones are.
    """
    users = [user for full, _ in pairs for user in full.users]
    for name in RANKERS:
        gains = np.stack([np.concatenate([one[place].gains[name] for one in pairs]) for place in (1, 0)], axis=1)
        found = ByUser.of(users, gains)
        ratio, low, high = found.ratio()
        verdict = "met" if ratio >= BAR else "missed"
        print(
            f"N@10 {name}: {of} over full {ratio:.4f} [{low:.4f}, {high:.4f}], {len(users)} queries of "
            f"{len(found.sums)} users; bar {BAR:.0%} {verdict}"
        )
    for what, counted in (("next items learned", "examples"), ("seconds of sequence models", "seconds")):
        full, warm = (sum(getattr(one[place], counted) for one in pairs) for place in (0, 1))
        print(f"{what}: {of} over full {warm / full:.3f}")


def _cells(pair: Pair) -> list[str]:
    means = [f"{pair.gains[name].mean():.4f}" for name in RANKERS]
    return [*means, f"{pair.examples:,}", f"{pair.seconds:.0f}", f"{pair.all_seconds:.0f}"]


if __name__ == "__main__":
    main()
