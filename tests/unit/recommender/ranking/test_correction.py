"""Corrections of the blend: what they learn, what they leave as it is, and what comes back from a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recommender.errors import BundleError, TrainingDataError
from recommender.inputs.item_moments import ItemColumns
from recommender.inputs.user import UserState
from recommender.ranking.blend import Blend, ColdItems
from recommender.ranking.candidates import Candidates
from recommender.ranking.choice import Way
from recommender.ranking.correction import Network, Trees, load_correction
from recommender.ranking.correction_training import MOST_CANDIDATES, _best_of_each, fit_network, fit_trees
from recommender.ranking.parts import Asked, Popularity, RecentPopularity, TextLikeness
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from tests.unit.recommender.tiny_shop import N_ITEMS, item, random_vectors, write_training_set

NAMES = ("noise", "telling", "missing")
FITS = pytest.mark.parametrize("fit", [fit_network, fit_trees])
ALONE = Blend("network", {"sequence": 1.0})
WARM = UserState.from_history([item(3), item(4)])


def candidates_of(n: int, seed: int) -> Candidates:
    """The part knows nothing; of each query's 20 candidates the target is the one with the highest second feature."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(n, 20, 1)).astype(np.float32)
    features = generator.normal(size=(n, 20, 3)).astype(np.float32)
    features[:, :, 2] = np.nan
    wanted = np.arange(20) == features[:, :, 1].argmax(axis=1)[:, None]
    ones, places = np.ones(n, dtype=int), np.tile(np.arange(20), (n, 1))
    return Candidates(("sequence",), places, scores, wanted, ones, ones, features.reshape(-1, 3))


@FITS
def test_it_learns_what_no_part_tells(fit) -> None:
    correction, others = fit(candidates_of(200, 1), ALONE, NAMES, seed=0), candidates_of(200, 2)
    alone, corrected = (Way(ALONE, one).scores(others) for one in (None, correction))
    assert others.ndcg(corrected, 10).mean() > others.ndcg(alone, 10).mean() + 0.3


@FITS
def test_equal_data_and_seed_give_equal_files_that_load_back_equal(fit, tmp_path: Path) -> None:
    data, texts = candidates_of(100, 1), []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        correction = fit(data, ALONE, NAMES, seed=3)
        correction.save(tmp_path / name)
        texts.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert texts[0] == texts[1]
    rows = data.features
    np.testing.assert_array_equal(load_correction(tmp_path / "one", NAMES).added(rows), correction.added(rows))
    with pytest.raises(BundleError, match="features=\\['other'\\]"):
        load_correction(tmp_path / "one", (*NAMES, "other"))


@FITS
def test_without_a_target_among_the_candidates_there_is_nothing_to_learn(fit) -> None:
    data = candidates_of(5, 1)
    with pytest.raises(TrainingDataError, match="queries with a target among their candidates=0"):
        fit(replace(data, wanted=np.zeros_like(data.wanted)), ALONE, NAMES, seed=0)


@pytest.fixture
def ranker(tmp_path: Path) -> Ranker:
    vectors = random_vectors(write_training_set(tmp_path / "training"))
    shape = SequenceShape(N_ITEMS, 8, 8, 1, 2, 4, use_ids=True, use_text=True)
    learned = torch.ones(N_ITEMS + 1, dtype=torch.bool)
    learned[0] = False
    torch.manual_seed(0)
    model = SequenceModel(shape, vectors.text, learned)
    parts = {"text": TextLikeness(vectors), "popularity": Popularity(vectors)}
    return Ranker(vectors, model, parts, Blend("network", {"sequence": 1.0, "text": 0.5}, candidates=3))


def network_of(ranker: Ranker, size: float) -> Network:
    names, generator = ranker.describer.names, np.random.default_rng(1)
    tensors = {
        "mean": np.zeros(len(names)), "scale": np.ones(len(names)), "hidden": generator.normal(size=(len(names), 4)),
        "hidden_bias": np.zeros(4), "out": -size * np.ones(4),
    }  # fmt: skip
    return Network(names, {name: one.astype(np.float32) for name, one in tensors.items()})


def test_only_the_best_unseen_items_of_each_part_are_corrected_and_all_others_follow(ranker: Ranker) -> None:
    plain, standard = ranker.scores([WARM])[0], ranker.standard_scores([WARM], ranker.part_names)
    corrected = ranker.corrected(network_of(ranker, 5.0)).scores([WARM])[0]  # everything it sees it pushes down
    seen = WARM.seen_places(ranker.ids)
    union: set[int] = set()
    for scores in standard.values():
        union |= set([int(place) for place in np.argsort(-scores[0], kind="stable") if place not in seen][:3])
    others = [place for place in range(N_ITEMS) if place not in union and place not in seen]
    assert corrected[sorted(union)].min() > corrected[others].max()
    assert np.argsort(corrected[others]).tolist() == np.argsort(plain[others]).tolist()
    assert np.argsort(corrected[sorted(union)]).tolist() != np.argsort(plain[sorted(union)]).tolist()
    assert np.isneginf(corrected[seen]).all()
    again = ranker.corrected(network_of(ranker, 5.0)).scores([WARM], exclude_seen=False)[0]
    assert np.isfinite(again).all()


def test_a_correction_of_nothing_ranks_as_the_blend_does(ranker: Ranker) -> None:
    ranker.blend = replace(ranker.blend, candidates=N_ITEMS)
    corrected = ranker.corrected(network_of(ranker, 0.0))
    assert corrected.top_k([WARM], 9) == ranker.top_k([WARM], 9)
    assert corrected.reads_items_then
    assert not ranker.reads_items_then
    assert set(corrected.parts_of(WARM, [item(n) for n in range(N_ITEMS)])) <= {"sequence", "text"}


def test_recent_popularity_is_as_of_the_moment_of_asking(ranker: Ranker) -> None:
    class Now:
        def of(self, ids) -> ItemColumns:
            return ItemColumns(np.eye(N_ITEMS)[:, :2] * 9, lambda places: {})

    part = RecentPopularity(ranker.vectors, 1)
    asked = Asked.of([WARM, replace(WARM, items_then=Now())], ranker.ids)
    with pytest.raises(IndexError):
        part.scores(asked)  # the tiny shop's catalogue counts no window
    now = part.scores(Asked.of([replace(WARM, items_then=Now())], ranker.ids))
    assert now[0].argmax() == 1


@FITS
def test_a_query_may_have_more_candidates_than_trees_are_learned_from(fit) -> None:
    generator, shape = np.random.default_rng(1), (3, MOST_CANDIDATES + 1)
    scores = generator.normal(size=(*shape, 1)).astype(np.float32)
    scores[:, -1] = -9.0  # the target, last of all by the blend
    wanted = np.zeros(shape, dtype=bool)
    wanted[:, -1] = True
    features, places = generator.normal(size=(*shape, 3)).astype(np.float32), np.tile(np.arange(shape[1]), (3, 1))
    places[2, 5:-1] = -1  # of one query there are few
    ones = np.ones(3, dtype=int)
    data = Candidates(("sequence",), places, scores, wanted, ones, ones, features[places >= 0])
    assert np.isfinite(fit(data, ALONE, NAMES, seed=0).added(features[0])).all()
    kept = _best_of_each(scores[:, :, 0], data.there, wanted)
    assert kept.sum(axis=1).tolist() == [MOST_CANDIDATES, MOST_CANDIDATES, 6]
    assert kept[:, -1].all()
    assert np.flatnonzero(~kept[0]).tolist() == [scores[0, :-1, 0].argmin()]


def test_trees_are_saved_as_text(tmp_path: Path) -> None:
    trees = fit_trees(candidates_of(60, 1), ALONE, NAMES, seed=0)
    assert isinstance(trees, Trees)
    trees.save(tmp_path)
    assert (tmp_path / "correction.txt").read_text(encoding="utf-8").startswith("tree\n")


@FITS
def test_whoever_has_seen_everything_gets_an_empty_list(fit, ranker: Ranker) -> None:
    names = ranker.describer.names
    data = candidates_of(60, 1)
    rows = np.random.default_rng(0).normal(size=(60 * 20, len(names))).astype(np.float32)
    corrected = ranker.corrected(fit(replace(data, features=rows), ALONE, names, seed=0))
    everything = UserState.from_history([item(n) for n in range(N_ITEMS)])
    assert corrected.top_k([everything, WARM], 3)[0] == []
    assert len(corrected.top_k([everything], 3, exclude_seen=False)[0]) == 3


def test_items_that_no_event_taught_keep_their_place_among_the_corrected_ones(ranker: Ranker) -> None:
    """They are lifted by what validation chose, whether or not they are among the best of any part."""
    standard = ranker.standard_scores([WARM], ranker.part_names)
    last = int(np.max(list(standard.values()), axis=0)[0].argmin())
    learned = ranker.model.learned.clone()
    learned[last + 1] = False
    ranker.model.learned = learned
    for lift, place in ((99.0, 0), (-99.0, N_ITEMS - 3)):
        lifted = Ranker(ranker.vectors, ranker.model, ranker.retrievers, ranker.blend, ColdItems(0.0, lift))
        for network in (network_of(lifted, 0.0), network_of(lifted, 5.0)):
            names = [name for name, _ in lifted.corrected(network).top_k([WARM], N_ITEMS)[0]]
            assert names.index(ranker.ids.item_id(last + 1)) == place
    # Nor does it matter what a correction adds to all of its candidates alike.
    lifted = Ranker(ranker.vectors, ranker.model, ranker.retrievers, ranker.blend, ColdItems(0.0, 0.5))
    none = network_of(lifted, 0.0)
    alike = replace(
        none,
        tensors={**none.tensors, "hidden": 0 * none.tensors["hidden"], "hidden_bias": np.ones(4), "out": np.ones(4)},
    )
    lists = [[name for name, _ in lifted.corrected(one).top_k([WARM], N_ITEMS)[0]] for one in (none, alike)]
    assert lists[0] == lists[1]
    assert lists[0].index(ranker.ids.item_id(last + 1)) < N_ITEMS - 3
