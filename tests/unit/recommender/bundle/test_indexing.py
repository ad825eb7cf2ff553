from types import SimpleNamespace

import pytest

from recommender.bundle.indexing import indexed
from recommender.bundle.loading import Bundle
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.ranking.large.ranker import LargeRanker
from tests.unit.recommender.ranking.large.test_large_ranker import FILES, N, blend_of, vectors_of


def bundle_of(tmp_path, ranker) -> Bundle:
    manifest = SimpleNamespace(files=FILES)
    return Bundle(tmp_path, manifest, ranker.vectors.catalogue, ranker, None, None)


@pytest.mark.parametrize(("exact_items", "is_indexed"), [(N, False), (N - 1, True)])
def test_a_catalogue_of_more_items_than_the_setting_is_indexed_once(tmp_path, exact_items, is_indexed):
    bundle = bundle_of(tmp_path, blend_of(vectors_of()))
    found = indexed(bundle, tmp_path / "indexes", exact_items)
    assert isinstance(found.ranker, LargeRanker) == is_indexed
    assert (found is bundle) != is_indexed
    assert indexed(found, tmp_path / "indexes", exact_items) is found


def test_a_baseline_is_left_as_it_is(tmp_path):
    bundle = bundle_of(tmp_path, BaselineRanker(vectors_of(), "popularity"))
    assert indexed(bundle, tmp_path / "indexes", 1) is bundle
