"""Laws that hold for every catalogue, history and model."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.settings.evaluation import EvaluationSettings
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.sequences import sequence_input
from recommender.inputs.splits import global_time_cuts
from recommender.inputs.user import UserState
from recommender.metrics.ranking import PER_QUERY
from recommender.metrics.top_k import best_indices, hits_of
from recommender.ranking.ranker import Ranker
from recommender.retrieval.popularity import PopularityRanker
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape, load_sequence_model
from recommender.retrieval.text.ranker import TextRanker
from tests.unit.recommender.tiny_shop import catalogue_of

ITEMS = [f"i{n}" for n in range(15)]
histories = st.lists(st.sampled_from([*ITEMS, "unknown"]), max_size=12).map(UserState.from_history)
QUICK = settings(deadline=None, max_examples=60)


def vectors() -> ItemVectors:
    rows = [{"item_id": i, "item_text": i, "item_n_events": n % 4, "item_n_ratings": 0} for n, i in enumerate(ITEMS)]
    return ItemVectors.from_rows(catalogue_of(rows), np.random.default_rng(1).normal(size=(15, 4)))


def model(items: ItemVectors, seed: int = 0) -> SequenceModel:
    shape = SequenceShape(
        n_items=15, text_width=4, width=8, n_blocks=2, n_heads=2, max_history=8, use_ids=True, use_text=True
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        learned = torch.rand(16) < 0.8
        learned[0] = False
        return SequenceModel(shape, items.text, learned)


VECTORS = vectors()
RANKER = Ranker(VECTORS, model(VECTORS))


@given(st.sets(st.text(min_size=1), min_size=1), st.integers(0, 2**32 - 1))
def test_ids_go_there_and_back(names, seed):
    ids = IdMap.shuffled(names, seed)
    assert sorted(ids.known_indices(names)) == list(range(1, len(names) + 1))
    assert all(ids.item_id(ids.index(name)) == name for name in names)
    with tempfile.TemporaryDirectory() as folder:
        ids.save(Path(folder) / "ids.json")
        assert IdMap.load(Path(folder) / "ids.json") == ids


@QUICK
@given(st.lists(histories, min_size=1, max_size=6))
def test_a_user_scores_alone_as_in_a_batch(users):
    together = RANKER.scores(users)
    alone = np.concatenate([RANKER.scores([user]) for user in users])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@QUICK
@given(histories.filter(lambda user: not user.is_cold), st.integers(1, 9))
def test_more_padding_changes_nothing(user, n):
    history = sequence_input([user], RANKER.ids, 8)
    padded = torch.nn.functional.pad(history, (n, 0))
    if history.any():
        with torch.inference_mode():
            torch.testing.assert_close(RANKER.model.expect(history), RANKER.model.expect(padded), rtol=1e-4, atol=1e-5)


@QUICK
@given(st.lists(histories, min_size=1, max_size=4), st.integers(1, 20), st.sets(st.sampled_from(ITEMS)))
def test_seen_and_excluded_items_never_come_back(users, k, excluded):
    for user, best in zip(users, RANKER.top_k(users, k, exclude=[excluded] * len(users)), strict=True):
        names = [name for name, _ in best]
        left = set(ITEMS) - set(user.items) - excluded
        assert set(names) <= left
        assert len(set(names)) == len(names) == min(k, len(left))
        assert [score for _, score in best] == sorted((score for _, score in best), reverse=True)


@QUICK
@given(st.lists(histories, min_size=1, max_size=4))
def test_no_baseline_brings_a_seen_item_back(users):
    for baseline in (PopularityRanker(VECTORS), TextRanker(VECTORS)):
        lists = best_indices(baseline.scores(users), 15)
        for user, best in zip(users, lists, strict=True):
            names = {baseline.ids.item_id(int(index)) for index in best if index}
            assert names == set(ITEMS) - set(user.items)


@QUICK
@given(st.integers(0, 1000), st.lists(histories, min_size=1, max_size=3))
def test_a_model_loaded_again_predicts_the_same(seed, users):
    original = model(VECTORS, seed)
    with tempfile.TemporaryDirectory() as folder:
        original.save(Path(folder))
        again = load_sequence_model(Path(folder), VECTORS)
    np.testing.assert_array_equal(Ranker(VECTORS, again).scores(users), Ranker(VECTORS, original).scores(users))


@given(arrays.arrays(np.float32, (3, 12), elements=st.sampled_from([-np.inf, 0.0, 1.0, 2.5])), st.integers(1, 14))
def test_a_short_list_is_the_start_of_a_long_one(scores, k):
    longest = best_indices(scores, 14)
    np.testing.assert_array_equal(best_indices(scores, k), longest[:, :k])


@given(arrays.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 8))), st.data())
def test_metrics_lie_between_zero_and_one(hits, data):
    n_targets = np.array([data.draw(st.integers(max(int(row.sum()), 1), 20)) for row in hits])
    for name, metric in PER_QUERY.items():
        values = metric(hits, n_targets)
        assert values.shape == (len(hits),)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all(), name
        np.testing.assert_array_equal(values > 0, hits.any(axis=1), err_msg=name)


@given(arrays.arrays(bool, st.tuples(st.just(1), st.integers(2, 8))), st.data())
def test_an_earlier_hit_never_lowers_a_metric(hits, data):
    place = data.draw(st.integers(1, hits.shape[1] - 1))
    earlier = hits.copy()
    earlier[0, [place - 1, place]] = earlier[0, [place, place - 1]]
    better, worse = (earlier, hits) if hits[0, place] else (hits, earlier)
    n_targets = np.array([8])
    for name, metric in PER_QUERY.items():
        assert metric(better, n_targets)[0] >= metric(worse, n_targets)[0] - 1e-12, name


@given(
    st.lists(st.integers(0, 400), min_size=3, max_size=80).filter(lambda hours: len(set(hours)) >= 3),
    st.floats(0.01, 0.49),
    st.floats(0.01, 0.49),
)
def test_no_training_event_lies_after_the_cut(hours, validation_share, test_share):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(hours=hour) for hour in hours]
    stamps = np.array([time.replace(tzinfo=None) for time in times], dtype="datetime64[us]")
    cuts = global_time_cuts(stamps, EvaluationSettings(validation_share=validation_share, test_share=test_share))
    windows = {split: [t for t in times if cuts.split_of(t) == split] for split in ("train", "validation", "test")}
    assert max(windows["train"]) < cuts.validation_at == min(windows["validation"])
    assert max(windows["validation"]) < cuts.test_at == min(windows["test"])
    assert sum(map(len, windows.values())) == len(times)


@QUICK
@given(st.lists(st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 2.0]), min_size=7, max_size=7), min_size=1), st.data())
def test_hits_of_targets_are_those_of_the_list(rows, data):
    scores = np.array(rows, dtype=np.float32)
    targets = [sorted(data.draw(st.sets(st.integers(1, 7), min_size=1))) for _ in rows]
    for k in (1, 3, 9):
        lists = best_indices(scores, k)
        expected = np.stack([np.isin(row, wanted) for row, wanted in zip(lists, targets, strict=True)])
        assert (hits_of(scores, targets, k) == expected).all()


@QUICK
@given(st.lists(histories, min_size=1, max_size=6), st.booleans())
def test_users_who_ask_together_are_answered_as_alone(users, exclude_seen):
    together = RANKER.for_each(users)
    for user, ranker in zip(users, together, strict=True):
        alone = RANKER.for_one(user)
        ((expected,), (found,)) = (one.top_k([user], 15, exclude_seen=exclude_seen) for one in (alone, ranker))
        assert {item for item, _ in found} == {item for item, _ in expected}
        scores = dict(expected)
        # The last digits may differ, and with them the order of equal scores.
        assert all(abs(score - scores[item]) < 1e-5 for item, score in found)
        assert ranker.parts_of(user, ITEMS[:3]) == alone.parts_of(user, ITEMS[:3])


@QUICK
@given(histories, st.lists(st.sampled_from(ITEMS), max_size=5), st.integers(1, 4))
def test_reasons_for_many_items_are_those_for_each(user, items, n):
    together = RANKER.nearest_histories(user, items, n)
    for item, found in zip(items, together, strict=True):
        expected = RANKER.nearest_history(user, item, n)
        assert np.allclose([value for _, value in found], [value for _, value in expected], atol=1e-5)
        assert item not in {near for near, _ in found}
        assert len(found) == min(n, len({*user.items} & {*ITEMS} - {item}))
