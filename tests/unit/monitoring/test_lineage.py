from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.main import main
from core.experiments import RECORD as EXPERIMENTS
from core.experiments import BundlePlace, Experiment, Experiments, Variant
from core.ids import time_ordered_id
from core.layout import Layout
from core.logs.predictions import Prediction, PredictionLog
from core.logs.pruning import segments_of
from core.promotions import RECORD, model_folder
from core.storage import write_json
from core.tombstones import bury
from flows.promotion.model_store import promote, prune_versions
from monitoring.lineage import TraceTooLong, UnknownRecommendation, trace
from recommender.bundle.manifest import read_manifest
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


def test_a_shadow_alone_that_is_found_in_time_does_not_say_that_nothing_was_shown(layout, monkeypatch):
    answer(layout, "m:v")
    (older,) = segments_of(layout.predictions)
    log = PredictionLog(layout.predictions, max_bytes=10**6, days=30, max_waiting=10, flush_s=0.0)
    log.start()
    told = {"at": "2026-01-02T00:00:00+00:00", "endpoint": "/v1/recommend", "model": "m:v", "user_id": "ann"}
    log.add(Prediction("r1", items=["a"], scores=[2.0], role="shadow", **told))
    assert log.flush(10)
    log.close()
    os.utime(older, (1e9, 1e9))  # so that it is read last

    def trace_at(*seconds):
        clock = SimpleNamespace(monotonic=iter(seconds).__next__)
        monkeypatch.setattr("core.logs.search.time", clock)
        return trace(layout, "r1", 30, within_s=1.0)

    with pytest.raises(TraceTooLong, match="but 1 more segments were not read"):
        trace_at(0.0, 0.5, 1.5)
    assert trace_at(0.0, 0.5, 0.6).shown["items"] == ["a", "b"]
    bury(layout.forgotten, "ann")
    with pytest.raises(UnknownRecommendation):
        trace_at(0.0, 0.5, 1.5)


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


def id_of(moment: datetime) -> str:
    """An id as `time_ordered_id` gives it at a moment."""
    digits = f"{(int(moment.timestamp() * 1000) << 80) | (0x7 << 76) | (0x2 << 62) | 5:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def test_of_an_answer_whose_record_is_gone_its_id_says_what_answered_then(layout, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BENTOML_HOME", str(layout.work_dir / "bentoml"))
    bundles = [write_bundle(tmp_path / one, one * 16) for one in "abc"]
    first, second = (
        promote(bundle, layout.model_name, {"digest": read_manifest(bundle).digest}, reason=f"better {n}")
        for n, bundle in enumerate(bundles[:2])
    )
    record = model_folder(layout.model_name) / RECORD
    told = json.loads(record.read_text(encoding="utf-8"))
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for number, change in enumerate(told["changes"]):
        change["at"] = (begin + timedelta(days=number)).isoformat()
    write_json(record, told)
    tried = Variant(name="new", bundle=BundlePlace(candidate="x", digest="c" * 16), share=0.1)
    spell = {
        "started_at": (begin + timedelta(days=3)).isoformat(),
        "stopped_at": (begin + timedelta(days=4)).isoformat(),
    }
    experiment = Experiment(name="try", kind="canary", variants=(tried,), generation=2, **spell)
    write_json(record.parent / EXPERIMENTS, Experiments(experiments=(experiment,)).model_dump(mode="json"))
    layout.predictions.mkdir(parents=True, exist_ok=True)

    def at(**after: float) -> str:
        return id_of(begin + timedelta(**after))

    with pytest.raises(UnknownRecommendation):  # nothing went from the log: there was no such answer
        trace(layout, at(hours=5), 30)
    (layout.predictions / "lost.json").write_text(json.dumps({"until": (begin + timedelta(days=5)).isoformat()}))
    found = trace(layout, at(hours=5), 30)
    assert (found.shown, found.given_at) == ({}, "2026-01-01T05:00:00+00:00")
    assert [one.model for one in found.served] == [first.tag]
    assert found.served[0].says == "in service from 2026-01-01T00:00:00 to 2026-01-02T00:00:00"
    assert found.bundle is not None
    assert found.bundle.digest == "a" * 16
    assert [one["reason"] for one in found.promotions] == ["better 0"]
    assert found.unknown[0].startswith("The list itself is no longer kept, nor whether there was one: the log may have")
    # While workers load the next one, and while a canary answers some, it may have been either.
    for moment, tags in (
        ({"days": 1, "minutes": 2}, [first.tag, second.tag]),
        ({"days": 3, "hours": 2}, [second.tag, f"{layout.model_name}:candidate-{'c' * 12}"]),
    ):
        found = trace(layout, at(**moment), 30)
        assert [one.model for one in found.served] == tags
        assert found.bundle is None
        assert "Which of the bundles that answered then made it." in found.unknown
    for unknown in (at(days=5, seconds=1), at(days=-1), "no-id"):
        with pytest.raises(UnknownRecommendation):
            trace(layout, unknown, 30)
    assert main(["lineage", at(hours=5), "--set", f"work_dir={layout.work_dir}", "--set", "shop=t"]) == 0
    said = capsys.readouterr().out
    assert "given 2026-01-01T05:00:00+00:00; the list is no longer kept" in said
    assert f"answered then: {first.tag}, in service from 2026-01-01T00:00:00 to 2026-01-02T00:00:00" in said
    assert "better 0" in said
    (record.parent / EXPERIMENTS).unlink()
    record.unlink()
    with pytest.raises(UnknownRecommendation):  # nothing is known to have been in service
        trace(layout, at(hours=5), 30)


def test_of_a_forgotten_persons_answer_that_the_log_still_has_nothing_is_told(layout, tmp_path):
    promote(write_bundle(tmp_path / "b", "d1" * 8), layout.model_name, {"digest": "d1" * 8})
    log = PredictionLog(layout.predictions, max_bytes=10**6, days=30, max_waiting=10, flush_s=0.0)
    log.start()
    given, now = time_ordered_id(), datetime.now(UTC).isoformat()
    log.add(Prediction(given, now, "/v1/recommend", "m:v", items=["a"], scores=[2.0], user_id="ann"))
    assert log.flush(10)
    log.close()
    (layout.predictions / "lost.json").write_text(json.dumps({"until": "2100-01-01T00:00:00+00:00"}))
    assert trace(layout, given, 30).shown["items"] == ["a"]
    bury(layout.forgotten, "ann")
    with pytest.raises(UnknownRecommendation):
        trace(layout, given, 30)
