"""The follower does what the record says, and refuses as a whole what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.experiments import RECORD, BundlePlace, Experiment, Kind, Pin, Variant, set_pin, start, stop
from core.layout import Layout
from core.promotions import RECORD as IN_SERVICE
from core.promotions import model_folder
from core.storage import write_json
from serving.experiments.follower import Follower
from serving.watcher import Loaded, Promoted, PromotedFinder, find_promoted
from tests.unit.serving.processes.slow_loads import SlowLoads, loads_at_once

MODEL = "sommelier-tiny"
CHAMPION = Loaded(f"{MODEL}:v1", "CHAMPION", datetime(2026, 3, 1, tzinfo=UTC))


class Store:
    """A model store with what was loaded from it, and which bundles are damaged."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.loads: list[tuple[str, Path, list[str]]] = []
        self.broken: set[str] = set()
        self.changes: list[dict[str, object]] = []
        self.put("promoted", "v1")

    def put(self, action: str, version: str, erased: tuple[str, ...] = (), forbidden: tuple[str, ...] = ()) -> None:
        self.changes.append(
            {"at": "2026-03-01T12:00:00+00:00", "action": action, "version": version, "digest": version}
        )
        gone = [{"version": one, "digest": one, "at": "2026-03-01T12:00:00+00:00"} for one in erased]
        gone += [{"version": "", "digest": one, "at": "2026-03-01T12:00:01+00:00"} for one in forbidden]
        folder = model_folder(MODEL)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / IN_SERVICE, {"changes": self.changes, "erased": gone})

    def load(self, promoted: Promoted, beside: list[str]) -> str:
        self.loads.append((promoted.model, promoted.folder, beside))
        if promoted.model in self.broken:
            raise ValueError("its manifest is torn")
        promoted.folder.mkdir(parents=True, exist_ok=True)
        return promoted.model.upper()

    def begin(self, name: str = "try", kind: Kind = "split", **bundles: float) -> None:
        variants = tuple(
            Variant(name=version, bundle=BundlePlace(version=version, digest=version), share=share)
            for version, share in (bundles or {"v2": 0.5}).items()
        )
        start(
            MODEL,
            Experiment(
                name=name,
                kind=kind,
                variants=variants,
                started_at="2026-03-01T12:00:00+00:00",
                generation=len(self.changes),
            ),
        )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Store(Layout(tmp_path, "tiny"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [1000.0]
    monkeypatch.setattr("serving.experiments.follower.time.monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def follow(store: Store, on_change: Callable[[], None] = lambda: None) -> Follower[str]:
    """A follower that has loaded what it asks for when it has asked."""
    return Follower(store.layout, store.load, 1.0, on_change, loads_at_once())


def states(follower: Follower[str]) -> dict[str, str]:
    return {one.name: one.state for one in follower.plan.states}


def test_a_split_is_followed_and_let_go(store: Store) -> None:
    changed: list[int] = []
    follower = follow(store, lambda: changed.append(1))
    follower.follow(CHAMPION)
    assert (follower.plan.split, follower.plan.states) == (None, ())
    store.begin(v2=0.3, v3=0.2)
    follower.follow(CHAMPION)
    split = follower.plan.split
    assert split is not None
    assert [(arm.variant, arm.below, arm.engine) for arm in split.arms] == [
        ("v2", 0.3, f"{MODEL}:V2".upper()),
        ("v3", 0.5, f"{MODEL}:V3".upper()),
    ]
    assert store.loads[1] == (f"{MODEL}:v3", model_folder(MODEL) / "v3", ["CHAMPION", f"{MODEL}:V2".upper()])
    follower.follow(CHAMPION)
    assert len(store.loads) == 2
    stop(MODEL, "try")
    follower.follow(CHAMPION)
    assert (follower.plan.split, len(changed)) == (None, 3)


def test_a_shadow_runs_beside_a_split(store: Store) -> None:
    follower = follow(store)
    store.begin()
    store.begin("beside", "shadow", v3=1.0)
    follower.follow(CHAMPION)
    (shadow,) = follower.plan.shadows
    assert (shadow.experiment, shadow.variant, shadow.share) == ("beside", "v3", 1.0)
    assert states(follower) == {"try": "running", "beside": "running"}


def test_a_candidate_lies_below_the_shops_folder(store: Store) -> None:
    place = BundlePlace(candidate="candidates/k", digest="0123456789abcdef")
    variants = (Variant(name="new", bundle=place, share=0.1),)
    begun = Experiment(
        name="try", kind="canary", variants=variants, started_at="2026-03-01T12:00:00+00:00", generation=1
    )
    start(MODEL, begun)
    follower = follow(store)
    follower.follow(CHAMPION)
    folder = store.layout.root / "candidates" / "k"
    assert store.loads[0][:2] == (f"{MODEL}:candidate-0123456789ab", folder)
    folder.rmdir()
    follower.follow(CHAMPION)
    assert (follower.plan.split, follower.loaded) == (None, [])
    assert follower.plan.states[0].problem == f"Refused: {MODEL}:candidate-0123456789ab is gone."
    follower.follow(CHAMPION)
    assert states(follower) == {"try": "running"}
    store.put("promoted", "v1", forbidden=("0123456789abcdef",))
    follower.follow(CHAMPION)
    assert (follower.plan.split, follower.loaded) == (None, [])
    assert "learned from a person who was forgotten" in follower.plan.states[0].problem


def test_a_damaged_variant_refuses_the_whole_experiment_and_is_tried_again_ever_more_rarely(
    store: Store, clock: Callable[[float], None]
) -> None:
    follower = follow(store)
    store.broken = {f"{MODEL}:v3"}
    store.begin(v2=0.3, v3=0.2)
    for _ in range(3):
        follower.follow(CHAMPION)
    assert follower.plan.split is None
    (state,) = follower.plan.states
    assert (state.state, state.problem) == ("refused", f"Refused: {MODEL}:v3 cannot be loaded: its manifest is torn")
    assert len(store.loads) == 2
    for seconds, loads in ((1.1, 3), (1.1, 3), (1.0, 4)):
        clock(seconds)
        follower.follow(CHAMPION)
        assert len(store.loads) == loads
    store.broken = set()
    clock(60)
    follower.follow(CHAMPION)
    assert states(follower) == {"try": "running"}


def test_the_bundle_in_service_as_a_variant_is_not_loaded_again(store: Store) -> None:
    follower = follow(store)
    store.begin(v1=0.5)
    follower.follow(CHAMPION)
    assert follower.plan.split is not None
    assert follower.plan.split.arms[0].engine is None
    assert store.loads == []


def test_a_rollback_overrules_and_everybody_is_answered_by_the_bundle_in_service(store: Store) -> None:
    follower = follow(store)
    store.begin()
    follower.follow(CHAMPION)
    store.put("rolled back", "v0")
    follower.follow(CHAMPION)
    assert (follower.plan.split, states(follower)) == (None, {"try": "overruled"})
    assert "put version v0 back in service" in follower.plan.states[0].problem


def test_a_pin_overrules_and_is_what_the_watcher_serves(store: Store) -> None:
    follower = follow(store)
    store.put("promoted", "v4")
    store.begin()
    set_pin(MODEL, Pin(version="v1", digest="v1", at="2026-03-01T12:00:00+00:00", generation=2))
    follower.follow(CHAMPION)
    assert states(follower) == {"try": "overruled"}
    assert [one.model for one in find_promoted(MODEL)] == [f"{MODEL}:v1", f"{MODEL}:v4"]
    set_pin(MODEL, None)
    follower.follow(CHAMPION)
    assert states(follower) == {"try": "running"}
    assert [one.model for one in find_promoted(MODEL)] == [f"{MODEL}:v4", f"{MODEL}:v1"]


def test_a_damaged_record_lifts_no_pin_and_a_rollback_does(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.put("promoted", "v4")
    find = PromotedFinder(MODEL)
    set_pin(MODEL, Pin(version="v1", digest="v1", at="2026-03-01T12:00:00+00:00", generation=2))
    assert [one.model for one in find()] == [f"{MODEL}:v1", f"{MODEL}:v4"]
    file = model_folder(MODEL) / RECORD
    file.write_text(file.read_text()[:-30])
    store.put("promoted", "v5")
    assert [one.model for one in find()] == [f"{MODEL}:v1", f"{MODEL}:v5", f"{MODEL}:v4"]
    # A worker that begins now knows of no pin.
    assert [one.model for one in PromotedFinder(MODEL)()] == [f"{MODEL}:v5", f"{MODEL}:v4", f"{MODEL}:v1"]
    store.put("rolled back", "v4")
    assert find()[0].model == f"{MODEL}:v4"
    file.unlink()
    store.put("promoted", "v6")
    assert find()[0].model == f"{MODEL}:v6"


def test_a_rollback_lifts_the_pin(store: Store) -> None:
    store.put("promoted", "v4")
    set_pin(MODEL, Pin(version="v4", digest="v4", at="2026-03-01T12:00:00+00:00", generation=2))
    store.put("rolled back", "v1")
    assert [one.model for one in find_promoted(MODEL)][0] == f"{MODEL}:v1"  # noqa: RUF015


def test_a_pinned_version_that_learned_from_somebody_forgotten_is_not_served(store: Store) -> None:
    store.put("promoted", "v4")
    set_pin(MODEL, Pin(version="v1", digest="v1", at="2026-03-01T12:00:00+00:00", generation=2))
    store.put("promoted", "v5", erased=("v1",))
    assert [one.model for one in find_promoted(MODEL)] == [f"{MODEL}:v5", f"{MODEL}:v4"]


def test_a_variant_that_learned_from_somebody_forgotten_is_refused(store: Store) -> None:
    follower = follow(store)
    store.begin()
    follower.follow(CHAMPION)
    store.put("promoted", "v1", erased=("v2",))
    follower.follow(CHAMPION)
    assert states(follower) == {"try": "refused"}
    assert "learned from a person who was forgotten" in follower.plan.states[0].problem


def test_a_damaged_record_leaves_the_bundle_in_service_and_says_why(store: Store) -> None:
    follower = follow(store)
    store.begin()
    follower.follow(CHAMPION)
    file = model_folder(MODEL) / RECORD
    whole, loads = file.read_text(), [*store.loads]
    file.write_text(whole[:-30])
    follower.follow(CHAMPION)
    assert follower.plan.split is None
    assert "the experiments cannot be followed: Cannot read the experiments" in follower.plan.problem
    assert [one.model for one in find_promoted(MODEL)] == [f"{MODEL}:v1"]
    file.write_text(json.dumps(json.loads(whole)))
    follower.follow(CHAMPION)
    assert states(follower) == {"try": "running"}
    assert store.loads == loads  # what is in memory stays there meanwhile


def test_before_the_first_bundle_nothing_is_loaded(store: Store) -> None:
    follower = follow(store)
    store.begin()
    follower.follow(None)
    assert (store.loads, follower.plan.split) == ([], None)


@pytest.fixture
def loads() -> Iterator[SlowLoads]:
    made = SlowLoads()
    yield made
    made.let_all_go()


def test_an_experiment_begins_when_all_its_bundles_are_loaded_and_what_runs_goes_on_meanwhile(
    store: Store, loads: SlowLoads
) -> None:
    follower = Follower(store.layout, loads.load, 1.0, loader=loads.loader)
    for version in ("v9", "v2", "v3"):
        (model_folder(MODEL) / version).mkdir()
    store.begin("beside", "shadow", v9=1.0)
    follower.follow(CHAMPION)
    assert states(follower) == {"beside": "starting"}
    loads.end(f"{MODEL}:v9")
    follower.follow(CHAMPION)
    assert states(follower) == {"beside": "running"}
    store.begin(v2=0.3, v3=0.2)
    for version in ("v2", "v3"):
        follower.follow(CHAMPION)
        assert states(follower) == {"beside": "running", "try": "starting"}
        assert (len(follower.plan.shadows), follower.plan.split) == (1, None)
        loads.end(f"{MODEL}:{version}")
    follower.follow(CHAMPION)
    assert states(follower) == {"beside": "running", "try": "running"}
    assert (loads.begun, loads.most) == ([f"{MODEL}:{one}" for one in ("v9", "v2", "v3")], 1)


def test_a_record_that_cannot_be_read_for_a_moment_stops_no_load_and_has_nothing_tried_again_at_once(
    store: Store, loads: SlowLoads, clock: Callable[[float], None]
) -> None:
    follower = Follower(store.layout, loads.load, 1.0, loader=loads.loader)
    loads.broken = {f"{MODEL}:v2"}
    (model_folder(MODEL) / "v9").mkdir()
    store.begin("beside", "shadow", v9=1.0)
    store.begin()
    follower.follow(CHAMPION)
    loads.end(f"{MODEL}:v9")
    follower.follow(CHAMPION)
    loads.end(f"{MODEL}:v2")
    follower.follow(CHAMPION)
    stop(MODEL, "beside")
    (model_folder(MODEL) / "v8").mkdir()
    store.begin("again", "shadow", v8=1.0)
    follower.follow(CHAMPION)
    loads.wait_until_begun(*(f"{MODEL}:{one}" for one in ("v9", "v2", "v8")))
    file = model_folder(MODEL) / RECORD
    whole = file.read_text()
    file.write_text(whole[:-30])
    follower.follow(CHAMPION)
    loads.end(f"{MODEL}:v8")
    file.write_text(whole)
    follower.follow(CHAMPION)
    assert states(follower) == {"try": "refused", "again": "running"}
    assert len(loads.begun) == 3


@pytest.mark.parametrize("how", ["stopped", "overruled", "erased"])
def test_what_an_experiment_does_not_need_any_more_is_not_kept_when_it_is_loaded(
    store: Store, loads: SlowLoads, how: str
) -> None:
    follower = Follower(store.layout, loads.load, 1.0, loader=loads.loader)
    store.begin()
    follower.follow(CHAMPION)
    loads.wait_until_begun(f"{MODEL}:v2")
    if how == "stopped":
        stop(MODEL, "try")
    elif how == "overruled":
        store.put("rolled back", "v0")
    else:
        store.put("promoted", "v1", erased=("v2",))
    follower.follow(CHAMPION)
    found = {} if how == "stopped" else {"try": "overruled" if how == "overruled" else "refused"}
    assert states(follower) == found
    loads.end(f"{MODEL}:v2")
    follower.follow(CHAMPION)
    assert (follower.loaded, follower.plan.split, loads.in_vain) == ([], None, 1)


def test_an_experiment_whose_bundle_cannot_be_loaded_stays_refused_while_it_is_tried_again(
    store: Store, loads: SlowLoads, clock: Callable[[float], None]
) -> None:
    follower = Follower(store.layout, loads.load, 1.0, loader=loads.loader)
    loads.broken = {f"{MODEL}:v2"}
    store.begin()
    follower.follow(CHAMPION)
    loads.end(f"{MODEL}:v2")
    for seconds in (0.0, 1.1):
        clock(seconds)
        follower.follow(CHAMPION)
        (state,) = follower.plan.states
        why = f"Refused: {MODEL}:v2 cannot be loaded: {MODEL}:v2 is damaged"
        assert (state.state, state.problem) == ("refused", why)
    loads.broken = set()
    loads.end(f"{MODEL}:v2")
    follower.follow(CHAMPION)
    assert states(follower) == {"try": "running"}
    assert (follower.at_hand(f"{MODEL}:v2"), follower.at_hand(f"{MODEL}:v3")) == (f"{MODEL}:V2".upper(), None)
