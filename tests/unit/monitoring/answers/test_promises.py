"""What evaluation promised of the bundles in the model store."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.promotions import Version
from monitoring.answers import promises
from recommender.errors import BundleError


def _manifest(**metrics: Any) -> Any:
    return SimpleNamespace(metrics=metrics, recipe=SimpleNamespace(evaluation=SimpleNamespace(k=10)))


def test_the_promise_is_that_of_what_ranks() -> None:
    ranking = {"blend": {"ndcg_at_10": 0.2, "gauc": 0.8}, "popularity": {"ndcg_at_10": 0.1}}
    assert promises.promised(_manifest(ranking=ranking, served="blend"), "ndcg_at_10") == 0.2
    assert promises.promised(_manifest(ranking=ranking, served="popularity"), "gauc") is None
    assert promises.promised(_manifest(), "gauc") is None


def test_a_bundle_that_cannot_be_read_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def read(folder: Any) -> Any:
        if folder.name == "old":
            raise BundleError("Cannot load bundle", got="a", expected="b", do="c")
        return _manifest(ranking={"blend": {"ndcg_at_10": 0.2}}, served="blend" if folder.name == "good" else None)

    versions = [
        Version(name="m", version=one, folder=tmp_path / one, labels={}, created_at="")
        for one in ("good", "old", "unjudged")
    ]
    monkeypatch.setattr(promises, "known_versions", lambda _: versions)
    monkeypatch.setattr(promises, "read_manifest", read)
    assert promises.promised_ndcg("m") == {"m:good": 0.2}
