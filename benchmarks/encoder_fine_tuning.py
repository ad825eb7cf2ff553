"""The text encoder before and after fine-tuning: `python -m benchmarks.encoder_fine_tuning --data FOLDER`.

The data go through the product's own reader and data gate, and are split by strict leave-one-out. Content-based
retrieval ranks the whole catalogue by cosine to the history, seen items masked: the history is the mean of its items'
vectors, as in the product, or (`--history-text`) one text of its newest items, which the encoder reads as a whole. The
encoder is the pretrained one and the one that `embed_catalogue` fine-tunes, by the ways that `--ways` names.
`--sequence` also fits the sequence model on the vectors of each.
The product keeps a fine-tuned encoder only where it ranks better on the validation window. Of what is dropped a run has
the figures of the pretrained one, and the table says in how many runs it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import options
from benchmarks.harness.datasets import open_dataset
from benchmarks.harness.models import Fits, recall_and_ndcg
from benchmarks.harness.tables import RANKING_COLUMNS, print_table, ranking_rows
from benchmarks.harness.timing import timed
from core.settings.tree import Recipe
from recommender.encoders.encoder import TextEncoder
from recommender.encoders.weights import load_encoder
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.fitting.summary import FitSummary
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import read_queries
from recommender.inputs.user import UserState
from recommender.metrics.top_k import mask_seen
from recommender.retrieval.text.ranker import TextRanker

# The newest items of a history that are read as one text: more do not fit into the encoder's tokens.
TEXT_ITEMS = 5
Row = dict[str, tuple[float, float]]


class HistoryTextRanker:
    """Cosine of an item's vector to that of the history's newest items as one text, the newest first."""

    def __init__(self, vectors: ItemVectors, encoder: TextEncoder, whitening: Whitening) -> None:
        self.ids, self._vectors, self._encoder, self._whitening = vectors.ids, vectors, encoder, whitening

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Shape (B, n_items), float32."""
        texts = self._vectors.catalogue.texts
        histories = [self.ids.known_indices(user.items)[-TEXT_ITEMS:] for user in users]
        read = [" | ".join(texts[index - 1] for index in reversed(history)) for history in histories]
        profiles = self._whitening.apply(self._encoder.encode(read, lambda _: None))
        scores: np.ndarray = profiles @ self._vectors.text[1:].numpy().T
        return mask_seen(scores, users, self.ids)


def main(arguments: list[str] | None = None) -> None:
    """Fine-tune and evaluate once per way and seed."""
    parser = options.command(__doc__)
    options.add_source(parser)
    options.add_fits(parser)
    options.add_recipe(parser)
    parser.add_argument("--ways", default="head,lora,full", help="by commas (default: head,lora,full)")
    parser.add_argument("--history-text", action="store_true", help="also read histories as texts, which takes long")
    parser.add_argument("--sequence", action="store_true", help="fit the sequence model on each encoder's vectors")
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    runs: dict[str, list[Row]] = {}
    dropped: dict[str, int] = {}
    with open_dataset(recipe, chosen.cache) as data:
        strict = data.leave_one_out("strict")
        for way in ["none", *chosen.ways.split(",")]:
            # Without fine-tuning and without the sequence model a seed changes nothing but the items' order.
            for seed in options.seeds_of(chosen)[: None if chosen.sequence or way != "none" else 1]:
                fits = Fits(fine_tuned_by(way, recipe), seed, chosen.threads)
                folder = data.work / f"{way}-{seed}"
                row, minutes = evaluate_encoder(fits, strict, folder, chosen)
                runs.setdefault(way, []).append(row)
                is_dropped = way != "none" and not FitSummary.read(folder / "vectors").choices.get("steps")
                dropped[way] = dropped.get(way, 0) + is_dropped
                end = ", and dropped: it ranks no better" if is_dropped else ""
                print(f"{way}, seed {seed}: {minutes:.1f} minutes to encode and fine-tune{end}")
    _print_results({_told(way, dropped[way], len(rows)): rows for way, rows in runs.items()})


def _told(way: str, n_dropped: int, n_runs: int) -> str:
    return way if n_dropped == 0 else f"{way} (dropped in {n_dropped} of {n_runs} runs)"


def fine_tuned_by(way: str, recipe: Recipe) -> Recipe:
    """The recipe with another way of fine-tuning."""
    return recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update={"fine_tune": way})})


def evaluate_encoder(fits: Fits, training: Path, folder: Path, chosen: argparse.Namespace) -> tuple[Row, float]:
    """Embed the catalogue: R@10 and N@10 of what ranks by these vectors, and the minutes that they took."""
    at = folder / "vectors"
    vectors, seconds = timed(lambda: fits.embed(training, at))
    queries = read_queries(training, "test")
    found = {"history as mean of vectors": recall_and_ndcg(TextRanker(vectors), queries)}
    if chosen.history_text:
        reader = HistoryTextRanker(vectors, load_encoder(at, print), Whitening.load(at / WHITENING_FILE))
        found["history as text"] = recall_and_ndcg(reader, queries)
    if chosen.sequence:
        ranker, _ = fits.sequence_ranker(training, at, folder / "sequence")
        found["sequence model"] = recall_and_ndcg(ranker, queries)
    return found, seconds / 60


def _print_results(runs: dict[str, list[Row]]) -> None:
    print()
    rows = []
    for ranked_by in next(iter(runs.values()))[0]:
        figures = ranking_rows({way: [row[ranked_by] for row in found] for way, found in runs.items()})
        rows += [[ranked_by, *cells] for cells in figures]
    print_table(["ranked by", "fine-tuned", *RANKING_COLUMNS], rows)


if __name__ == "__main__":
    main()
