"""The trie of six items, worked by hand."""

import numpy as np
import torch

from recommender.retrieval.generative.trie import Trie

# Items 1 to 6; below code 0 lie 2, 4 and 6, below 2 the others, and none below 1.
CODES = np.array([[2, 0, 0], [0, 1, 0], [2, 0, 1], [0, 1, 1], [2, 1, 0], [0, 0, 0]])
TRIE = Trie(CODES, (3, 2, 2))


def test_items_lie_in_the_order_of_their_codes() -> None:
    assert TRIE.items.tolist() == [6, 2, 4, 1, 3, 5]
    assert [codes.tolist() for codes in TRIE.codes] == [[0, 2], [0, 1, 0, 1], [0, 0, 1, 0, 1, 0]]
    assert (TRIE.n_levels, TRIE.n_items) == (3, 6)


def test_children_are_what_exists() -> None:
    assert TRIE.followers(0, torch.tensor([0])).tolist() == [[0, 1]]
    assert TRIE.followers(1, torch.tensor([[0], [1]])).tolist() == [[[0, 1]], [[2, 3]]]
    assert TRIE.followers(2, torch.arange(4)).tolist() == [[0, -1], [1, 2], [3, 4], [5, -1]]
    assert TRIE.n_children(2, torch.arange(4)).tolist() == [1, 2, 2, 1]


def test_paths_lead_to_the_items() -> None:
    paths = TRIE.paths()
    assert paths.tolist() == [[1, 2, 3], [0, 1, 1], [1, 2, 4], [0, 1, 2], [1, 3, 5], [0, 0, 0]]
    assert TRIE.items[paths[:, -1]].tolist() == [1, 2, 3, 4, 5, 6]
    assert TRIE.places_among_siblings(paths).tolist() == [
        [1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 0],
    ]  # fmt: skip


def test_allowed_items_are_counted_below_every_prefix() -> None:
    running = TRIE.running_counts(torch.tensor([[True, False, True, True, False, False], [False] * 6]))
    assert TRIE.counts_below(0, torch.tensor([[0, 1, -1], [0, 1, -1]]), running).tolist() == [[1, 2, 0], [0, 0, 0]]
    assert TRIE.counts_below(1, torch.arange(4).expand(2, -1), running).tolist() == [[0, 1, 2, 0], [0, 0, 0, 0]]


def test_values_add_up_below_every_prefix() -> None:
    totals = TRIE.totals(np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    assert [level.tolist() for level in totals] == [[42, 21], [32, 10, 5, 16], [32, 2, 8, 1, 4, 16]]
