"""The text encoder before and after it learned from the shop: `python -m benchmarks.encoder_fine_tuning --data FOLDER`.

FOLDER is read by the product's own reader of kind `tables` and split by strict leave-one-out. Content-based retrieval
ranks the whole catalogue by cosine to the history, seen items masked: the history is the mean of its items' vectors, as
in the product, or (`--history-text`) one text of its newest items, read by the encoder as a whole. The encoder is the
pretrained one and the one that `embed_catalogue` fine-tunes, by the ways that `--ways` names. `--sequence` also fits
the sequence model on the vectors of each.
Fine-tuning is to be kept only where the validation window likes it; the table has the test events either way.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.settings.loading import load_settings
from core.settings.source import TablesSource
from core.settings.tree import Recipe
from recommender.encoders.encoder import TextEncoder
from recommender.encoders.weights import load_encoder
from recommender.encoders.whitening import Whitening
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.protocols import write_leave_one_out
from recommender.inputs.queries import Queries, read_queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.metrics.top_k import Scores, mask_seen
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import load_sequence_model
from recommender.retrieval.text.embedding import WHITENING_FILE, embed_catalogue
from recommender.retrieval.text.ranker import TextRanker
from validation.gate import validate
from validation.sources.ingest import ingest

K = 10
# Of a history that is read as one text: more do not fit into the tokens that the encoder reads.
TEXT_ITEMS = 5
# Additions start at nothing and want larger steps than weights that know something already.
RATES = {"lora": 5e-4, "full": 5e-5}

Row = dict[str, tuple[float, float]]


class HistoryTextRanker:
    """Cosine of an item's vector to that of the history's newest items as one text, the newest first."""

    def __init__(self, vectors: ItemVectors, encoder: TextEncoder, whitening: Whitening) -> None:
        self.ids, self._vectors, self._encoder, self._whitening = vectors.ids, vectors, encoder, whitening

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Shape (B, n_items), float32."""
        texts = self._vectors.catalogue.texts
        histories = [self.ids.known_indices(user.items)[-TEXT_ITEMS:] for user in users]
        told = [" | ".join(texts[index - 1] for index in reversed(history)) for history in histories]
        profiles = self._whitening.apply(self._encoder.encode(told, lambda _: None))
        scores: np.ndarray = profiles @ self._vectors.text[1:].numpy().T
        return mask_seen(scores, users, self.ids)


def main(arguments: list[str] | None = None) -> None:
    """Read, then fine-tune and judge once per way and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", default="lora,full", help="of fine-tuning")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--history-text", action="store_true", help="read histories as texts too, which takes its time")
    parser.add_argument("--sequence", action="store_true", help="fit the sequence model on each encoder's vectors")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", help="of the recipe")
    chosen = parser.parse_args(arguments)
    recipe = load_settings(overrides=[f"recipe.{one}" for one in chosen.set]).recipe
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ingest(TablesSource(path=chosen.data), folder / "raw")
        validate(folder / "raw", folder / "clean", recipe.validation, folder / "docs")
        write_leave_one_out(folder / "clean", folder / "strict", "strict")
        runs: dict[str, list[Row]] = {}
        for way in ["none", *chosen.ways.split(",")]:
            changed = {"fine_tune": way, "learning_rate": RATES.get(way, recipe.encoder.learning_rate)}
            tuned = recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update=changed)})
            # Without anything learned a seed changes nothing but the items' order.
            for seed in range(chosen.seeds if chosen.sequence or way != "none" else 1):
                row, minutes = judge(folder / "strict", folder / f"{way}-{seed}", tuned, seed, chosen)
                runs.setdefault(way, []).append(row)
                print(f"{way}, seed {seed}: {minutes:.1f} minutes to encode and fine-tune")
    _print_table(runs)


def judge(training: Path, folder: Path, recipe: Recipe, seed: int, chosen: argparse.Namespace) -> tuple[Row, float]:
    """Embed the catalogue with one seed: R@10 and N@10 of what ranks by these vectors, and minutes to get them."""
    started = time.perf_counter()
    vectors = embed_catalogue(
        FitContext(training, seed, threads=chosen.threads, progress=print), folder / "vectors", recipe.encoder
    )
    minutes = (time.perf_counter() - started) / 60
    queries = read_queries(training, "test")
    found = {"history as mean of vectors": _figures(TextRanker(vectors), queries)}
    if chosen.history_text:
        whitening = Whitening.load(folder / "vectors" / WHITENING_FILE)
        reader = HistoryTextRanker(vectors, load_encoder(folder / "vectors", print), whitening)
        found["history as text"] = _figures(reader, queries)
    if chosen.sequence:
        history = recipe.features.max_history
        fit = FitContext(training, seed, K, chosen.threads, print)
        fit_sequence(fit, folder / "vectors", folder / "sequence", recipe.sequence, history)
        loaded = ItemVectors.load(folder / "vectors")
        found["sequence model"] = _figures(Ranker(loaded, load_sequence_model(folder / "sequence", loaded)), queries)
    return found, minutes


def _figures(ranker: Scores, queries: Queries) -> tuple[float, float]:
    per_query = evaluate_ranker(ranker, queries, K).per_query
    return float(per_query["recall"].mean()), float(per_query["ndcg"].mean())


def _print_table(runs: dict[str, list[Row]]) -> None:
    print(f"\n{'ranked by':<30}{'fine-tuned':<12}{'R@10':>18}{'N@10':>18}")
    for ranked_by in next(iter(runs.values()))[0]:
        for way, rows in runs.items():
            cells = []
            for values in zip(*(row[ranked_by] for row in rows), strict=True):
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                cells.append(f"{statistics.mean(values):.4f} ± {spread:.4f}")
            print(f"{ranked_by:<30}{way:<12}{cells[0]:>18}{cells[1]:>18}")


if __name__ == "__main__":
    main()
