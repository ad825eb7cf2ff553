from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.main import main
from core.layout import Layout
from core.logs.predictions import Prediction, PredictionLog
from core.promotions import model_folder
from core.tombstones import bury
from flows.promotion.model_store import promote, prune_versions
from monitoring.lineage import TraceTooLong, UnknownRecommendation, trace
from tests.unit.flows.promotion.written_bundle import write_bundle


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Layout(tmp_path / "work", "t")


def answer(layout: Layout, model: str) -> None:
    log = PredictionLog(layout.predictions, max_bytes=10**6, days=30, max_waiting=10, flush_s=0.0)
    log.start()
    told = {"at": "2026-01-02T00:00:00+00:00", "endpoint": "/v1/recommend", "model": model, "user_id": "ann"}
    log.add(Prediction("r1", items=["a", "b"], scores=[2.0, 1.0], propensities=[0.5, None], **told))
    log.add(Prediction("r2", items=["c"], scores=[1.0], role="preview", **told))
    assert log.flush(10)
    log.close()


def test_an_answer_leads_to_its_bundle_and_the_reason_of_its_promotion(layout, tmp_path):
    version = promote(write_bundle(tmp_path / "b", "d1" * 8), layout.model_name, {"digest": "d1" * 8}, reason="better")
    answer(layout, version.tag)
    found = trace(layout, "r1", 30)
    assert found.shown["items"] == ["a", "b"]
    assert found.shown["propensities"] == [0.5, None]
    assert found.bundle is not None
    assert (found.bundle.digest, found.bundle.code_version) == ("d1" * 8, "c")
    assert [one["reason"] for one in found.promotions] == ["better"]
    assert not any("not in the store" in one for one in found.unknown)
    shutil.rmtree(model_folder(layout.model_name) / version.version)
    found = trace(layout, "r1", 30)
    assert found.bundle is None
    assert "not in the store any more" in found.unknown[0]
    assert [one["reason"] for one in found.promotions] == ["better"]


def test_an_answer_leads_to_a_bundle_whose_weights_were_pruned(layout, tmp_path):
    first, *_ = (promote(write_bundle(tmp_path / one, one * 16), layout.model_name, {"digest": one}) for one in "abc")
    answer(layout, first.tag)
    assert prune_versions(layout.model_name, 2) == [first.version]
    found = trace(layout, "r1", 30)
    assert found.bundle is not None
    assert found.bundle.digest == "a" * 16


def test_a_candidate_that_was_tried_is_found_by_its_digest(layout):
    write_bundle(layout.bundle("k"), "abcdef0123456789")
    answer(layout, f"{layout.model_name}:candidate-abcdef012345")
    found = trace(layout, "r1", 30)
    assert found.bundle is not None
    assert found.bundle.digest == "abcdef0123456789"
    assert "No promotion" in found.unknown[0]


def test_a_list_that_was_only_looked_at_is_traced_as_that(layout):
    answer(layout, "m:v")
    assert trace(layout, "r2", 30).shown["role"] == "preview"


def test_neither_an_unknown_answer_nor_one_of_a_forgotten_person_is_shown(layout):
    answer(layout, "m:v")
    with pytest.raises(
        UnknownRecommendation, match=r"recommendation_id=r9, expected .* from 20.* to 20.* keeps 30 days"
    ):
        trace(layout, "r9", 30)
    bury(layout.forgotten, "ann")
    with pytest.raises(UnknownRecommendation):
        trace(layout, "r1", 30)


def test_a_search_that_ends_before_all_was_read_does_not_say_that_there_is_no_such_answer(layout):
    answer(layout, "m:v")
    with pytest.raises(TraceTooLong, match=r"recommendation_id=r9.*within 0 s, but 1 more segments were not read"):
        trace(layout, "r9", 30, within_s=0.0)


def test_the_features_as_they_were_read_are_shown_and_what_lacks_is_said(layout, capsys):
    log = PredictionLog(layout.predictions, max_bytes=10**6, days=30, max_waiting=10, flush_s=0.0)
    log.start()
    read = {
        "history": ("i1", "i2"),
        "n_history": 12,
        "mean_rating": None,
        "counts": {"n_events": 14},
        "ratings": (None, 4),
    }
    told = {"at": "2026-01-02T00:00:00+00:00", "endpoint": "/v1/recommend", "model": "m:v"}
    log.add(Prediction("r1", items=["a"], scores=[2.0], user_id="ann", features=read, **told))
    log.add(Prediction("r2", items=["a"], scores=[2.0], user_id="ann", **told))
    log.add(Prediction("r3", items=["a"], scores=[2.0], **told))
    assert log.flush(10)
    log.close()
    found, lacks = trace(layout, "r1", 30), [trace(layout, one, 30).unknown[-1] for one in ("r1", "r2", "r3")]
    assert found.shown["features"]["history"] == ["i1", "i2"]
    assert lacks[0].startswith("Of the features as they were read the record holds the user's; the items' and 10 older")
    assert lacks[1].startswith("The record does not hold the features as they were read: the shop's events before")
    assert lacks[2].endswith("it is not of a list that a known user was shown.")
    place = ["--set", f"work_dir={layout.work_dir}", "--set", "shop=t"]
    assert main(["lineage", "r1", *place]) == 0
    said = capsys.readouterr().out
    assert "features as read: 12 items of a history, the newest i1, i2\n" in said
    assert "features as read: counts n_events 14\n" in said
    assert "features as read: ratings –, 4\n" in said
    assert "mean_rating" not in said
