"""What people read in place of the keys of an evaluation: rankers, measures and their definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SERVED = "blend"  # names the ranker of a bundle as it answers, whatever it blends
# In the order of every table.
MODEL_NAMES = {
    "popularity": "popularity",
    "popularity_recent": "popularity, recent window",
    "item_knn": "item-kNN",
    "als": "ALS",
    "bm25": "BM25 over texts",
    "sasrec": "SASRec, ids alone",
    "text_encoder": "text encoder, before fine-tuning",
    "text_encoder_fine_tuned": "text encoder, after fine-tuning",
    **{f"part_popularity_recent_{n}": f"popularity, window {n}, as a part" for n in range(1, 6)},
    "part_item_knn": "item-kNN with recency, as a part",
    "neighbours": "neighbourhood model",
    "generative": "generative retrieval",
    "sequence": "sequence model, after fine-tuning",
    "blend": "blend",
}
ACCURACY = {
    "ndcg": "NDCG",
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "mrr": "MRR",
    "map": "MAP",
    "hit_rate": "hit rate",
    "gauc": "GAUC",
}
BEYOND_ACCURACY = {
    "coverage": "coverage",
    "gini": "Gini",
    "diversity": "diversity",
    "novelty": "novelty, bits",
    "serendipity": "serendipity",
    "popularity": "mean popularity",
}
# Lower is better, or neither is.
NOT_RANKED = ("gini", "popularity", "novelty", "diversity")
DEFINITIONS = {
    "NDCG": "Hits, an earlier one worth more (1 / log2(place + 1)), over the same sum for the best possible list.",
    "recall": "Share of what the user went on to take that stands in the list.",
    "precision": "Share of the list that the user went on to take.",
    "F1": "Harmonic mean of precision and recall.",
    "MRR": "1 / place of the first hit.",
    "MAP": "Mean of the precision at each hit's place, over the most hits that there could be.",
    "hit rate": "Share of users with a hit.",
    "GAUC": "Chance that a wanted item stands above one that is not, in the whole ranking; every user counts the same. "
    "A ranker that finds only some items, as a beam search does, has none.",
    "coverage": "Share of the catalogue that is in anybody's list.",
    "Gini": "How unequally the lists' places fall to the catalogue: 0 evenly, 1 all to one item.",
    "diversity": "1 - mean cosine of the text vectors of a list's pairs.",
    "novelty": "Mean of -log2 of an item's share of the training events, bits.",
    "serendipity": "Share of the list that is a hit and is not in popularity's list for the same user.",
    "mean popularity": "Mean number of training events of a list's items.",
    "divergence": "Mean KL divergence of the list's categories from the history's, nats; 0 in proportion.",
    "under-exposed": "Share of the lists' places that go to items, or to items of providers, with few training events: "
    "they and all with fewer hold a small share of all events (recipe.rerank.under_exposed).",
    "gap": "The best group's mean less the worst one's; beyond noise where groups drawn by lot are rarely as far apart "
    "(2,000 draws, Holm's correction over all groupings). Its interval is that of these two groups' difference.",
    "interval": "95 %, by drawing users with replacement 2,000 times (percentiles). A difference is per user, paired.",
    "p": "How often random signs of the users' differences give a mean as far from zero (2,000 draws, two-sided).",
}


def part_key(name: str) -> str:
    """A bundle's part in the evaluation, where a baseline may have the same name."""
    return name if name in MODEL_NAMES and name != "item_knn" else f"part_{name}"


RERANKED = {
    "ndcg": "NDCG",
    "cost": "NDCG less the ranker's own",
    "diversity": "diversity",
    "coverage": "coverage",
    "divergence": "divergence",
    "rare_items": "under-exposed items",
    "rare_providers": "under-exposed providers",
}


def rerank_name(row: Mapping[str, Any]) -> str:
    """What a row of the re-ranking table is called."""
    by = f" by {row['similarity']}" if row["kind"] == "mmr" else ""
    parts = [] if row["kind"] == "none" else [f"{row['kind']} {row['strength']:g}{by}"]
    floors = {"item_floor": "items", "provider_floor": "providers"}
    parts += [f"floor of {row[floor]:.0%} for {what}" for floor, what in floors.items() if row[floor]]
    return ", ".join(parts) or "the ranker's own"


def gap_warnings(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence for each gap beyond noise of an evaluation."""
    gaps = metrics.get("gaps", [])
    return [
        f"{gap['metric']} differs by {gap['grouping']} beyond noise: {_group(gap, gap['best'])}, "
        f"{_group(gap, gap['worst'])}, a gap of {gap['gap']:.4f} [{gap['low']:.4f}, {gap['high']:.4f}], "
        f"p = {gap['adjusted_p_value']:.4f} corrected for {len(gaps)} groupings."
        for gap in gaps
        if gap["beyond_noise"]
    ]


def _group(gap: Mapping[str, Any], name: str) -> str:
    group = gap["groups"][name]
    return f"{name} {group['mean']:.4f} (n = {group['n']:,})"


def served_in(metrics: Mapping[str, Any]) -> str | None:
    """Which ranker of an evaluation is in service; None where it is a bundle of an earlier one."""
    served: str | None = metrics.get("served", SERVED)
    return served


def name_models(models: Iterable[str], served: str | None = SERVED) -> dict[str, str]:
    """The names of these rankers, in the order of every table; one without a name keeps its key, and comes first.

    Args:
        served: The one that is marked as in service; where it is not the blend, that is marked as the candidate.
    """
    there = list(models)
    names = {**{model: model for model in there if model not in MODEL_NAMES}, **MODEL_NAMES}
    marks = {SERVED: ", the candidate", **({} if served is None else {served: ", as served"})}
    return {model: name + marks.get(model, "") for model, name in names.items() if model in there}
