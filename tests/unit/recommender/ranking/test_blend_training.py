"""Fitting the blend on a shop where neighbours help, and on one where nobody can be asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.settings.models import BlendKind, BlendSettings, ItemKnnSettings, NeighbourSettings, SequenceSettings
from core.storage import file_digest
from recommender.bundle.loading import load_ranker
from recommender.fitting.context import FitContext
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.seen import item_key
from recommender.inputs.sequences import read_user_items
from recommender.inputs.user import UserState
from recommender.ranking import parts
from recommender.ranking.blend import Blend, ColdItems
from recommender.ranking.blend_training import fit_blend
from recommender.ranking.parts import Asked, ItemToItem, Popularity, events_by_kind, load_parts
from recommender.ranking.ranker import Ranker
from recommender.retrieval.neighbours import NeighbourModel
from tests.unit.recommender.tiny_shop import (
    N_ITEMS,
    catalogue_row,
    history,
    item,
    random_vectors,
    save_random_vectors,
    write,
    write_training_set,
)

# Only customers of one item took it.
HOT = "hot"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A training set, vectors, and a sequence model that was hardly trained: the neighbours know better."""
    write_training_set(tmp_path / "training", n_users=120)
    return with_models(tmp_path)


@pytest.fixture
def shop_of_one_item_customers(tmp_path: Path) -> Path:
    """The same, whose most popular item is no part of any sequence: its customers took nothing else."""
    training = write_training_set(tmp_path / "training", n_users=120)
    for table, rows in (
        ("catalogue", [catalogue_row(HOT, 500)]),
        ("sequences", [{"user_id": f"once{n}", **history([HOT])} for n in range(500)]),
    ):
        before = pq.read_table(training / f"{table}.parquet").to_pylist()
        write(training, table, [*before, *rows])
    return with_models(tmp_path)


def with_models(shop: Path) -> Path:
    from recommender.retrieval.sequence.fit import fit_sequence

    training, vectors = shop / "training", shop / "vectors"
    save_random_vectors(training, vectors)
    settings = SequenceSettings(width=8, max_epochs=1, learning_rate=1e-6, n_negatives=6)
    fit_sequence(FitContext(training, 1, k=5, threads=1), vectors, shop / "sequence", settings, 6)
    return shop


def fit(shop: Path, kind: str = "auto", name: str = "blend", held: Path | None = None):
    said: list[str] = []
    summary = fit_blend(
        FitContext(shop / "training", 1, k=5, threads=1, progress=said.append, held=held),
        shop / "vectors",
        shop / "sequence",
        shop / name,
        (NeighbourSettings(regularisation=1.0), ItemKnnSettings()),
        BlendSettings(kind=kind),
    )
    return summary, said


def test_it_chooses_what_ranks_best_on_validation(shop: Path) -> None:
    summary, said = fit(shop)
    assert summary.metrics["ndcg_at_5_blend"] > 1.2 * summary.metrics["ndcg_at_5_sequence"]
    assert Blend.load(shop / "blend").kind != "none"
    assert any(line.startswith("blend: ") for line in said)


def popularity_of_hot(shop: Path, blend: str) -> float:
    """What the popularity part makes of the most popular item, in deviations from the mean of all."""
    ranker = load_ranker(shop / "vectors", shop / "sequence", shop / blend)
    scores = ranker.standard_scores([UserState.from_history([item(3), item(4)])], ["popularity"])["popularity"]
    return float(scores[0, ranker.ids.index(HOT) - 1])


def test_an_older_blend_and_its_refits_count_events_as_they_were_chosen(shop_of_one_item_customers: Path) -> None:
    shop = shop_of_one_item_customers
    fit(shop)
    fit(shop, name="again", held=shop / "blend")
    assert popularity_of_hot(shop, "blend") == popularity_of_hot(shop, "again") > 2
    written = json.loads((shop / "blend" / "parts.json").read_text())
    del written["counts_all_items"]
    (shop / "blend" / "parts.json").write_text(json.dumps(written))
    fit(shop, name="again", held=shop / "blend")
    assert popularity_of_hot(shop, "blend") == popularity_of_hot(shop, "again") < -2


def test_cold_items_are_weighed_for_the_corrected_blend(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Ranker] = []

    def keep(ranker: Ranker, *_) -> tuple[ColdItems, dict[str, float]]:
        asked.append(ranker)
        return ColdItems(), {}

    monkeypatch.setattr("recommender.ranking.blend_training.choose_cold", keep)
    for kind in ("network", "mean"):
        fit(shop, kind)
    corrected, plain = (ranker.correction for ranker in asked)
    assert corrected is not None
    assert plain is None


def test_a_kind_that_is_asked_for_is_taken_whatever_it_gives(shop: Path) -> None:
    assert fit(shop, "none")[0].metrics["ndcg_at_5_blend"] == fit(shop, "none")[0].metrics["ndcg_at_5_sequence"]
    assert Blend.load(shop / "blend") == Blend("none")
    assert not list((shop / "blend").glob("neighbours*"))  # nothing is fitted that does not count
    fit(shop, "mean")
    assert Blend.load(shop / "blend").kind == "mean"
    fit(shop, "gate")
    assert Blend.load(shop / "blend").kind == "gate"


def test_blends_are_evaluated_without_what_was_seen_at_any_length(shop: Path) -> None:
    rows = pq.read_table(shop / "training" / "queries.parquet").to_pylist()
    for row in rows:
        row["seen_keys"] = sorted(item_key(item(n)) for n in range(N_ITEMS) if item(n) not in row["targets"])
    write(shop / "training", "queries", rows)
    # All that is left is the target.
    for kind in ("auto", "gate", "mean"):
        assert fit(shop, kind)[0].metrics["ndcg_at_5_blend"] == 1.0


def test_equal_input_gives_equal_files(shop: Path) -> None:
    fit(shop, name="one")
    fit(shop, name="two")
    for file in (shop / "one").glob("*.safetensors"):
        assert file_digest(file) == file_digest(shop / "two" / file.name)
    assert Blend.load(shop / "one") == Blend.load(shop / "two")


def test_without_a_warm_validation_user_sequence_model_and_item_knn_count_evenly(shop: Path) -> None:
    row = {"user_id": "u", "split": "validation", **history([]), "targets": [item(1)]}
    write(shop / "training", "queries", [row])
    fit(shop)
    assert Blend.load(shop / "blend") == Blend("mean", {"sequence": 1.0, "item_knn": 1.0})
    assert NeighbourModel.load(shop / "blend").n_items == 24


@pytest.mark.parametrize("kind", get_args(BlendKind))
def test_a_blend_that_was_chosen_unseen_counts_parts_that_were_fitted(shop: Path, kind: str) -> None:
    row = {"user_id": "u", "split": "validation", **history([]), "targets": [item(1)]}
    write(shop / "training", "queries", [row])
    fit(shop, kind)
    assert set(Blend.load(shop / "blend").parts) <= {
        "sequence",
        *load_parts(shop / "blend", random_vectors(shop / "training")),
    }


def test_the_weight_of_low_ratings_is_the_one_that_ranks_best(shop: Path) -> None:
    """What was rated low says nothing of what is taken next: of every history the item before the last leads astray."""
    rows = pq.read_table(shop / "training" / "queries.parquet").to_pylist()
    for number, row in enumerate(rows):
        if row["history_items"]:
            astray = item(number * 7 + 11)
            row["history_items"] = [*row["history_items"][:-1], astray, row["history_items"][-1]]
            row["history_values"] = [None] * (len(row["history_items"]) - 2) + [1.0, None]
    write(shop / "training", "queries", rows)
    summary, _ = fit(shop)
    assert summary.choices["neighbours_low_rating"] < 1.0
    part = load_parts(shop / "blend", random_vectors(shop / "training"))["neighbours"]
    assert isinstance(part, ItemToItem)
    assert part.model.low_rating == summary.choices["neighbours_low_rating"]


def looked_at(shop: Path, kind: str) -> None:
    """What was only looked at says nothing of what is taken next: of every history the item before the last."""
    rows = pq.read_table(shop / "training" / "queries.parquet").to_pylist()
    for number, row in enumerate(rows):
        if row["history_items"]:
            row["history_items"] = [*row["history_items"][:-1], item(number * 7 + 11), row["history_items"][-1]]
            row["history_values"] = [None] * len(row["history_items"])
            row["history_events"] = ["purchase"] * (len(row["history_items"]) - 2) + [kind, "purchase"]
    write(shop / "training", "queries", rows)


def test_the_weight_of_a_kind_of_event_is_the_one_that_ranks_best_and_a_refit_holds_it(shop: Path) -> None:
    looked_at(shop, "view")
    summary, said = fit(shop)
    chosen = summary.choices["neighbours_event_weights"]
    assert chosen in NeighbourSettings().event_weights
    assert chosen["view"] < 1.0
    assert any("neighbours_event_weights view" in line for line in said)
    again, _ = fit(shop, name="again", held=shop / "blend")
    assert again.choices["neighbours_event_weights"] == chosen
    for folder in ("blend", "again"):
        part = load_parts(shop / folder, random_vectors(shop / "training"))["neighbours"]
        assert isinstance(part, ItemToItem)
        assert part.model.event_weights == chosen


@pytest.mark.parametrize(
    ("columns", "config", "expected"),
    [
        ({"item_n_views"}, {"counted": ["view"]}, {"view": 0.25}),
        ({"item_n_views"}, {}, {"view": 0.25}),  # of an older version, in which all kinds counted
        ({"item_n_views", "item_n_carts"}, {}, {}),  # of an older version, in which the weights did nothing
    ],
)
def test_a_refit_holds_how_popularity_counted_kinds_of_events(
    shop: Path, columns: set[str], config: dict[str, list[str]], expected: dict[str, float]
) -> None:
    rows = pq.read_table(shop / "training" / "catalogue.parquet").to_pylist()
    counts = [row | dict.fromkeys(columns, row["item_n_events"]) for row in rows]
    write(shop / "training", "catalogue", counts)
    random_vectors(shop / "training").save(shop / "vectors")
    held = shop / "blend"
    fit(shop)
    summary = json.loads((held / "summary.json").read_text())
    summary["choices"]["popularity_event_weights"] = {"view": 0.25}
    (held / "summary.json").write_text(json.dumps(summary))
    (held / "popularity.json").write_text(json.dumps({"event_weights": {"view": 0.25}, **config}))
    again, _ = fit(shop, name="again", held=held)
    assert again.choices.get("popularity_event_weights", {}) == expected
    part = load_parts(shop / "again", random_vectors(shop / "training"))["popularity"]
    assert isinstance(part, Popularity)
    assert part.event_weights == expected


@pytest.mark.parametrize(("weights", "n_counted"), [({}, 0), ({"view": 0.25}, 1)])
def test_popularity_counts_kinds_once_and_only_where_they_weigh(
    shop: Path, monkeypatch: pytest.MonkeyPatch, weights: dict[str, float], n_counted: int
) -> None:
    rows = pq.read_table(shop / "training" / "catalogue.parquet").to_pylist()
    write(shop / "training", "catalogue", [row | {"item_n_views": row["item_n_events"]} for row in rows])
    vectors, counted = random_vectors(shop / "training"), []

    def count(catalogue: Catalogue) -> dict[str, np.ndarray]:
        counted.append(catalogue)
        return events_by_kind(catalogue)

    monkeypatch.setattr(parts, "events_by_kind", count)
    part = Popularity(vectors, weights)
    asked = Asked.of([UserState()], vectors.ids)
    assert np.allclose(part.scores(asked), np.log1p(vectors.catalogue.n_events * (0.25 if weights else 1)))
    part.scores(asked)
    assert len(counted) == n_counted


def test_kinds_of_events_count_alike_where_there_is_one_or_none_is_known(shop: Path) -> None:
    assert fit(shop)[0].choices["neighbours_event_weights"] == {}
    looked_at(shop, "purchase")
    assert fit(shop, name="one kind")[0].choices["neighbours_event_weights"] == {}


def test_a_history_in_pieces_is_one_users(shop: Path) -> None:
    vectors = random_vectors(shop / "training")
    rows = [("u", [item(1), item(2)]), ("v", [item(3)]), ("u", [item(2), item(5), "unheard of"])]
    write(shop / "training", "sequences", [{"user_id": user, **history(items)} for user, items in rows])
    read = read_user_items(shop / "training", vectors.ids)
    assert [one.tolist() for one in read] == [
        sorted(vectors.ids.known_indices([item(1), item(2), item(5)])),
        vectors.ids.known_indices([item(3)]),
    ]
