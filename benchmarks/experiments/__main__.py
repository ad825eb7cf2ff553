"""What experiments cost: `python -m benchmarks.experiments --work-dir .sommelier --shop simulated`.

On the bundle in service of a shop, without HTTP: the processor time that recording a list adds, writing and syncing
included; the memory of a second bundle beside the first, and of one that shares what is equal; and the longest pause of
a thread that answers without a break while bundles are loaded for an experiment and let go again.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import options
from benchmarks.harness.tables import print_table
from core.layout import Layout
from core.logs.events import EventLog
from core.logs.predictions import read_predictions
from core.promotions import version_in_service
from core.settings.loading import load_settings
from core.settings.platform import ServingSettings
from core.stages import Stage
from core.tombstones import nobody
from recommender.bundle.loading import Bundle, load_bundle
from serving.answering import load_engine
from serving.api.recommend import RecommendRequest
from serving.engine import Engine
from serving.experiments.desk import ExperimentDesk

_ENDPOINT = "/v1/recommend"
_ROUNDS = 5


class NoCounts:
    """Metrics that nobody reads."""

    def variant_answered(self, experiment: str, variant: str, seconds: float) -> None:
        """Nothing."""

    def variant_failed(self, experiment: str, variant: str) -> None:
        """Nothing."""

    def stages_passed(self, experiment: str, variant: str, seconds: Mapping[Stage, float]) -> None:
        """Nothing."""

    def predictions(self, outcome: str, number: int) -> None:
        """Nothing."""

    def shadow(self, outcome: str) -> None:
        """Nothing."""

    def refused_experiments(self, number: int) -> None:
        """Nothing."""


def main(arguments: list[str] | None = None) -> None:
    """Measure on a shop that is there."""
    parser = options.command(__doc__)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--shop", required=True)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--loads", type=int, default=5)
    chosen = parser.parse_args(arguments)
    variables = {"SOMMELIER_WORK_DIR": str(chosen.work_dir.absolute()), "SOMMELIER_SHOP": chosen.shop}
    os.environ.setdefault("BENTOML_HOME", str(chosen.work_dir.absolute() / "bentoml"))
    settings = load_settings(variables={**os.environ, **variables})
    engine = load_engine(settings)
    engine.warm()
    rows = _cost(engine, chosen)
    layout = Layout(settings.work_dir, settings.shop)
    version = version_in_service(layout.model_name)
    assert version is not None
    rows += _memory(version.folder, layout.language_models, engine.bundle)
    rows += _pause(engine, version.folder, layout.language_models, chosen.loads)
    print_table(["measure", "value"], rows)


def _cost(engine: Engine, chosen: argparse.Namespace) -> list[list[str]]:
    """What recording takes is timed apart from the lists: it is less than these vary by."""
    rng = random.Random(3)
    items = list(engine.bundle.catalogue.ids)
    requests = [RecommendRequest(history=rng.sample(items, 3), visitor_id="v", k=10) for _ in range(chosen.requests)]
    started = time.process_time()
    answers = [engine.recommend(request) for request in requests]
    of_list = (time.process_time() - started) / len(requests) * 1e6
    added: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        layout = Layout(Path(name), "logged")
        desk = ExperimentDesk(layout, ServingSettings(), _no_load, EventLog(layout.events), nobody, NoCounts())
        desk.start()
        for _ in range(_ROUNDS):
            started = time.process_time()
            for request, answer in zip(requests, answers, strict=True):
                desk.answered(desk.choose(request, engine), request, answer, _ENDPOINT, 0.002, engine)
            desk.flush(60.0)
            added.append((time.process_time() - started) / len(requests) * 1e6)
        desk.close()
        written = sum(1 for _ in read_predictions(layout.predictions))
        size = sum(file.stat().st_size for file in layout.predictions.glob("*.jsonl"))
    assert written == _ROUNDS * chosen.requests, f"{written} records of {_ROUNDS * chosen.requests}"
    cost = statistics.median(added)
    return [
        ["processor time of a list of 10", f"{of_list:,.0f} us"],
        ["what choosing and recording add, until it is on the disk", f"{cost:,.0f} us, {cost / of_list:.1%}"],
        ["bytes of a record", f"{size / written:,.0f}"],
    ]


def _memory(folder: Path, models: Path, first: Bundle) -> list[list[str]]:
    """Of a second bundle: alike in all, alike in its vectors alone, and one that shares nothing."""
    device = first.device
    found = []
    for name, beside, changed in (
        ("shares all", [first], False),
        ("shares the vectors", [first], True),
        ("shares nothing", [], False),
    ):
        with tempfile.TemporaryDirectory() as made:
            place = folder if not changed else _with_other_sequence(folder, Path(made) / "bundle")
            before = _resident()
            second = load_bundle(place, device, models, beside=beside)
            found.append([f"memory of a second bundle that {name}", f"{(_resident() - before) / 1e6:,.1f} MB"])
            del second
    return found


def _with_other_sequence(folder: Path, copy: Path) -> Path:
    """The same bundle, as if its sequence model were another: a digest differs, and what it names does too."""
    import json
    from hashlib import sha256

    shutil.copytree(folder, copy)
    config = copy / "sequence" / "sequence.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["sequence/sequence.json"] = sha256(config.read_bytes()).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return copy


def _pause(engine: Engine, folder: Path, models: Path, loads: int) -> list[list[str]]:
    """Times of answers while a thread loads bundles, beside those while it does not."""
    request = RecommendRequest(history=list(engine.bundle.catalogue.ids)[:3], k=10)
    quiet = _answer_times(engine, request, threading.Event(), 3.0)
    done = threading.Event()

    def load() -> None:
        for _ in range(loads):
            second = load_bundle(folder, engine.bundle.device, models)
            Engine(model="second", bundle=second, features=engine.features, max_k=100).warm()
        done.set()

    loading = threading.Thread(target=load)
    loading.start()
    busy = _answer_times(engine, request, done, 600.0)
    loading.join()
    return [
        ["a list while nothing is loaded, p50, p99, longest", _times(quiet)],
        ["a list while bundles are loaded, p50, p99, longest", _times(busy)],
    ]


def _answer_times(engine: Engine, request: RecommendRequest, done: threading.Event, limit_s: float) -> list[float]:
    times, until = [], time.monotonic() + limit_s
    while not done.is_set() and time.monotonic() < until:
        started = time.perf_counter()
        engine.recommend(request)
        times.append((time.perf_counter() - started) * 1e3)
    return sorted(times)


def _times(ordered: list[float]) -> str:
    places = (len(ordered) // 2, int(len(ordered) * 0.99), len(ordered) - 1)
    return ", ".join(f"{ordered[place]:.1f} ms" for place in places)


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _no_load(*_: Any) -> Engine:
    raise AssertionError("no experiment runs here")


if __name__ == "__main__":
    main()
