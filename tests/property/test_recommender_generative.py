"""Laws of constrained generation: any history, any filter."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.inputs.item_vectors import ItemVectors
from recommender.retrieval.generative.model import right_padded
from recommender.retrieval.generative.search import search
from tests.unit.recommender.retrieval.generative.tiny_model import log_probabilities_of_all, random_model
from tests.unit.recommender.tiny_shop import catalogue_of

N_ITEMS = 20

QUICK = settings(deadline=None, max_examples=40)
# Scoring every item one by one is slow.
FEW = settings(deadline=None, max_examples=15)
histories = st.lists(st.integers(1, N_ITEMS), max_size=8, unique=True)
filters = st.sets(st.integers(0, N_ITEMS - 1))


def vectors() -> ItemVectors:
    rows = [{"item_id": f"i{n}", "item_text": "", "item_n_events": n % 5, "item_n_ratings": 0} for n in range(N_ITEMS)]
    texts = np.random.default_rng(1).normal(size=(N_ITEMS, 6))
    return ItemVectors.from_rows(catalogue_of(rows), texts)


MODELS = [random_model(vectors(), softmax=softmax, levels=levels) for softmax in ("trie", "codes") for levels in (1, 3)]


def mask(allowed: list[set[int]]) -> torch.Tensor:
    rows = torch.zeros(len(allowed), N_ITEMS, dtype=torch.bool)
    for row, places in enumerate(allowed):
        rows[row, list(places)] = True
    return rows


@QUICK
@given(st.sampled_from(MODELS), st.lists(st.tuples(histories, filters), min_size=1, max_size=3), st.integers(1, 30))
def test_every_list_is_full_and_holds_allowed_items_once(model, asked, width):
    """However narrow the beam: no request comes back short while allowed items are left."""
    read, allowed = right_padded([history for history, _ in asked], 6), [places for _, places in asked]
    items, scores = search(model, read, width, mask(allowed))
    for row, places in enumerate(allowed):
        found = [item for item in items[row].tolist() if item]
        assert len(found) == min(width, len(places))
        assert len(set(found)) == len(found)
        assert {item - 1 for item in found} <= places
        assert torch.isfinite(scores[row, : len(found)]).all()
        assert (scores[row, : len(found)].diff() <= 0).all()
        assert (scores[row, len(found) :] == -torch.inf).all()


@FEW
@given(st.sampled_from(MODELS), histories, filters)
def test_a_beam_as_wide_as_the_catalogue_scores_everything(model, history, places):
    read, allowed = right_padded([history], 6), mask([places])
    items, scores = search(model, read, N_ITEMS, allowed)
    expected = log_probabilities_of_all(model, read).masked_fill(~allowed, -torch.inf)[0]
    found = torch.full((N_ITEMS + 1,), -torch.inf).scatter(0, items[0], scores[0])[1:]
    assert torch.allclose(found, expected, atol=1e-5)


@QUICK
@given(st.sampled_from(MODELS), histories)
def test_no_filter_is_the_filter_that_lets_everything_through(model, history):
    read = right_padded([history], 6)
    items, scores = search(model, read, 7)
    filtered_items, filtered_scores = search(model, read, 7, torch.ones(1, N_ITEMS, dtype=torch.bool))
    assert torch.equal(items, filtered_items)
    assert torch.equal(scores, filtered_scores)
