"""Bundles that are in memory together share what is equal, and nothing that differs."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from hashlib import sha256
from pathlib import Path

import pytest

from recommender.bundle.loading import Bundle, load_bundle
from recommender.encoders.weights import load_encoder
from recommender.errors import BundleError
from recommender.inputs.user import UserState
from tests.integration.serving_shop import ITEMS, TinyShop, copy_shop


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def whole(shop: TinyShop) -> Bundle:
    return load_bundle(shop.whole)


def changed(folder: Path, copy: Path, name: str) -> Path:
    """A copy of which one file differs, and the manifest says so."""
    shutil.copytree(folder, copy)
    file = copy / name
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"][name] = sha256(file.read_bytes()).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return copy


def test_an_equal_bundle_takes_everything_that_is_there(shop: TinyShop, whole: Bundle, tmp_path: Path) -> None:
    shutil.copytree(shop.whole, tmp_path / "copy")
    second = load_bundle(tmp_path / "copy", beside=[whole])
    assert second.ranker is whole.ranker
    for part in ("catalogue", "scorer", "writer", "explainer", "generative"):
        assert getattr(second, part) is getattr(whole, part), part


def test_a_component_that_differs_is_read_and_the_others_are_shared(
    shop: TinyShop, whole: Bundle, tmp_path: Path
) -> None:
    second = load_bundle(changed(shop.whole, tmp_path / "copy", "sequence/sequence.json"), beside=[whole])
    assert second.ranker is not whole.ranker
    assert second.ranker.vectors is whole.ranker.vectors
    assert second.scorer is whole.scorer
    user = UserState.from_history(ITEMS[:3])
    assert second.ranker.top_k([user], 5) == whole.ranker.top_k([user], 5)


def test_other_vectors_share_nothing_that_reads_them(shop: TinyShop, whole: Bundle, tmp_path: Path) -> None:
    second = load_bundle(changed(shop.whole, tmp_path / "copy", "vectors/encoder.json"), beside=[whole])
    assert second.ranker.vectors is not whole.ranker.vectors
    assert second.scorer is not whole.scorer
    assert second.generative is not whole.generative
    assert second.writer is whole.writer  # it reads texts alone


def test_what_the_other_bundle_was_not_asked_for_is_read(shop: TinyShop, tmp_path: Path) -> None:
    ranker_only = load_bundle(shop.whole, parts=())
    second = load_bundle(shop.whole, beside=[ranker_only])
    assert second.ranker is ranker_only.ranker
    assert second.scorer is not None
    assert second.writer is not None
    assert load_bundle(shop.whole, parts=(), beside=[second]).scorer is None


def test_a_damaged_file_is_found_whatever_could_be_shared(shop: TinyShop, whole: Bundle, tmp_path: Path) -> None:
    shutil.copytree(shop.whole, tmp_path / "copy")
    (tmp_path / "copy" / "vectors" / "ids.json").write_text("[]")
    with pytest.raises(BundleError, match=r"vectors/ids\.json"):
        load_bundle(tmp_path / "copy", beside=[whole])


def test_text_encoders_of_the_same_weights_are_one(shop: TinyShop) -> None:
    first = load_encoder(shop.whole / "vectors", lambda _: None)
    assert load_encoder(shop.bare / "vectors", lambda _: None) is first


def test_a_bundle_goes_without_the_garbage_collector(shop: TinyShop, whole: Bundle) -> None:
    """The service exempts what it has loaded from collection: a cycle in it would stay for good."""
    loaded = load_bundle(shop.whole)
    user = UserState.from_history(ITEMS[:3])
    loaded.ranker.for_one(user).top_k([user], 3)
    gone = [weakref.ref(one) for one in (loaded.ranker, loaded.ranker.vectors, loaded.scorer, loaded.writer)]
    gc.collect()
    gc.disable()
    try:
        del loaded
        assert [one() for one in gone] == [None] * 4
    finally:
        gc.enable()
