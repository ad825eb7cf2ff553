"""What is cut short: every flow, and every part of the service that writes. A new flow is one entry of `SCENARIOS`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from core.layout import Layout
from core.logs.events import EventLog, EventLogError, Interaction
from core.settings.search import SearchSettings
from core.storage import digest_of
from flows.params import AudienceParams, ForgetParams, PipelineParams, ReadmitParams, RollbackParams, TuneParams
from monitoring import drift
from tests.faults.shop import START, event, recipe_of, write_source

SHOP = "tiny"
_COMPARE = drift._run
_TRIES = 3


class NotPushed(Exception):
    """Events are accepted, and not in the online store."""


@dataclass(frozen=True)
class Place:
    """Where a scenario works: the work folder of a small shop, its source in it."""

    work_dir: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.work_dir, SHOP)

    @property
    def source(self) -> Path:
        return self.work_dir / "source"

    def params(self, **changes: Any) -> PipelineParams:
        """The parameters of a run of the shop, with some groups of the recipe changed."""
        return PipelineParams(shop=SHOP, recipe=recipe_of(self.source, **changes))


@dataclass(frozen=True)
class Scenario:
    """One flow, or one part of the service, on a shop in a certain state.

    Attributes:
        work: What is cut short, and then done again.
        after: The scenario at whose end it begins; empty: an empty shop.
        before: What happens to the shop first, undisturbed.
        again: What a person does after a kill, where that is not just the same.
        refusals: Errors that are an answer on a full disk, beside the one sentence that says so.
        between: Beginnings of names of the shop's state that may lie between old and new for a while.
        most_s: CPU seconds of one run, roughly; the quick ones are sampled more often.
    """

    work: Callable[[Place], Any]
    after: str = ""
    before: Callable[[Place], Any] = lambda _: None
    again: Callable[[Place], Any] | None = None
    refusals: tuple[type[Exception], ...] = ()
    between: tuple[str, ...] = ()
    most_s: float = 3.0


def run_flow(flow: Any, params: Any) -> Any:
    """A flow's function, its steps by Prefect's engine, without its server and without what only draws."""
    from prefect.logging import disable_run_logger

    with ExitStack() as stack:
        for one in _without_server_and_drawings():
            stack.enter_context(one)
        stack.enter_context(disable_run_logger())
        return flow.fn(params)


def _without_server_and_drawings() -> list[Any]:
    from uuid import UUID

    import prefect.artifacts
    from evidently.core.report import Snapshot
    from great_expectations.data_context.data_context.abstract_data_context import AbstractDataContext
    from prefect import results
    from prefect.client.orchestration import SyncPrefectClient

    from flows.reporting.artifacts import TextsProgress
    from flows.tuning.board import TrialBoard
    from recommender.evaluation import plots

    made = (f"create_{kind}_artifact" for kind in ("markdown", "table", "link", "progress"))
    return [
        *(patch.object(prefect.artifacts, name, lambda *_, **__: UUID(int=0)) for name in made),
        patch.object(SyncPrefectClient, "raise_for_api_version_mismatch", lambda _: None),
        patch.object(results, "_read_server_default_result_storage_block_id", lambda: None),
        _without_server_to_reach(),
        patch("prefect.events.utilities.should_emit_events", lambda: False),
        patch("prefect.events.worker.should_emit_events", lambda: False),
        patch.object(TextsProgress, "show", lambda *_: None),
        patch.object(TrialBoard, "show", lambda board: board._search.records()),
        patch.object(plots, "_svg", lambda *_: "<svg/>"),
        patch.object(drift, "_run", _compare_once),
        patch.object(Snapshot, "save_html", lambda _, file: Path(file).write_text("<html></html>", encoding="utf-8")),
        patch.object(AbstractDataContext, "build_data_docs", _draw_nothing),
    ]


def _without_server_to_reach() -> Any:
    """The server that is not asked knows of no runs: a removal that waited for its answer would never be whole."""
    return patch("flows.erasure.removal.is_out_of_reach", lambda _: False)


def _compare_once(windows: Any, settings: Any) -> Any:
    """Evidently's comparison of these windows, which takes a second, made once and read again after that."""
    from evidently.core.report import Snapshot

    key = digest_of(windows.rows, windows.spans, settings.model_dump())
    kept = Path(os.environ["SOMMELIER_WORK_DIR"]).with_name(f"compared-{key}.json")
    if not kept.exists():
        kept.write_text(_COMPARE(windows, settings).dumps(), encoding="utf-8")
    return Snapshot.loads(kept.read_text(encoding="utf-8"))


def _draw_nothing(context: Any, site_names: Any = None, **_: Any) -> None:
    images = Path(context.root_directory) / "uncommitted" / "data_docs" / "local_site" / "static" / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name in ("favicon.ico", "logo-long.png"):
        (images / name).write_bytes(b"")


def _pipeline(place: Place, **changes: Any) -> Any:
    from flows.pipeline import pipeline

    return run_flow(pipeline, place.params(**changes))


def _first_run(place: Place) -> Any:
    outcome = _pipeline(place)
    assert _served_again(place), "what is in service was not fitted again on everything"
    return outcome


def _served_again(place: Place) -> bool:
    from core.promotions import version_in_service

    version = version_in_service(place.layout.model_name)
    return version is not None and version.judged != ""


def _refresh(place: Place, **changes: Any) -> Any:
    from flows.refresh_features import refresh_features

    return run_flow(refresh_features, place.params(**changes))


def _rebuild(place: Place) -> Any:
    """Other settings: everything that is known of users and items is counted anew."""
    return _refresh(place, features={"max_history": 8, "windows_days": [1, 3]})


def _compact(place: Place) -> Any:
    """A refresh after which there are as many parts as become one."""
    with patch("features.refresh.MAX_PARTS", 2):
        return _refresh(place)


def _news(place: Place) -> None:
    """The source has more rows, of a new user and item too, and the service has taken in events."""
    more = [
        event("new-1", "u00", "tea-1", at(20), value=5),
        event("new-2", "u99", "wine-9", at(21), kind="view"),
        event("new-3", "u01", "wine-9", at(22), kind="purchase"),
    ]
    write_source(place.source, more)
    log = EventLog(place.layout.events)
    log.append([sent(1, "u02", "tea-2"), sent(2, "visitor", "wine-0")])
    log.close()


def at(days: int) -> str:
    """A time after the shop's first rows, ISO 8601."""
    return (START + timedelta(days=days)).isoformat()


def sent(number: int, user: str, item: str) -> Interaction:
    """An event as a client sends it."""
    return Interaction(f"sent-{number}", user, item, "view", START + timedelta(days=30, minutes=number))


def _fine_tune(place: Place) -> Any:
    from flows.fine_tune import fine_tune

    return run_flow(fine_tune, place.params(seed=2))


def _serve_baseline(place: Place) -> Any:
    """The candidate is refused, and the best baseline serves in its place, fitted again on everything too."""
    gate = {"beat_baseline": "surely_better", "undecided": "promote", "tolerance": 1.0}
    outcome = _pipeline(place, seed=3, gate=gate)
    assert _served_again(place), "what is in service was not fitted again on everything"
    return outcome


def _readmit(place: Place) -> Any:
    from flows.readmit import readmit

    rules = {"cleaning": {"rating_scale": [0, 20]}, "min_interactions": 1}
    recipe = recipe_of(place.source, validation=rules)
    return run_flow(readmit, ReadmitParams(shop=SHOP, recipe=recipe))


def _revoke(place: Place) -> Any:
    from validation.quarantine.readmission import revoke

    return revoke(place.layout.readmitted)


def _roll_back(place: Place) -> Any:
    from flows.rollback import rollback

    return run_flow(rollback, RollbackParams(shop=SHOP, steps=1))


def _roll_back_unless_done(place: Place) -> Any:
    """Whoever asked for one step back looks whether it was made."""
    from core.promotions import read_standing

    changes = read_standing(place.layout.model_name).changes
    return None if changes[-1].action == "rolled back" else _roll_back(place)


def _promote(place: Place) -> Any:
    from flows.promotion.bundles import promote_by_hand

    oldest = min(place.layout.bundle("").iterdir(), key=lambda folder: folder.stat().st_mtime)
    return promote_by_hand(place.layout, oldest, "as before")


def _monitor(place: Place) -> Any:
    from flows.monitor import monitor

    return run_flow(monitor, place.params(drift={"threshold": 0.2}))


def _tune(place: Place) -> Any:
    from flows.tune import tune

    search = SearchSettings.model_validate(
        {"n_trials": 2, "n_confirming_seeds": 1, "space": {"neighbours.recency": {"low": 0.5, "high": 0.9}}}
    )
    return run_flow(tune, TuneParams(shop=SHOP, recipe=recipe_of(place.source), search=search))


def _write_feedback(place: Place) -> Any:
    """Texts for some users, part by part; so small a shop teaches no writer, and a fixed sentence stands for it."""
    from flows.steps import texts
    from flows.write_feedback import write_feedback

    params = AudienceParams(shop=SHOP, users=("u01", "u02", "nobody"), users_per_part=1, max_words=8, kind="review")
    with patch.object(texts, "_author", _author_with_a_sentence):
        return run_flow(write_feedback, params).n_texts


class Sentence:
    """What a batch of texts asks of a writer."""

    max_tokens = 128

    def write(self, requests: Sequence[Any], seed: int, _: Any) -> list[str]:
        return [f"Good, says {seed}." for _ in requests]


def _author_with_a_sentence(layout: Layout, folder: Path, tag: str, device: str, _: str) -> Any:
    from features.online import OnlineFeatures
    from flows.audience.author import Author
    from recommender.bundle.loading import load_bundle

    bundle = load_bundle(folder, device, layout.language_models, parts=["scorer"])
    bundle.writer = Sentence()  # type: ignore[assignment]
    return Author(tag, bundle, OnlineFeatures(layout.feast, bundle.manifest.recipe.features))


def _forget(place: Place) -> Any:
    """A person with rows in the source and events in the log is removed; the next run learns without them."""
    from core.settings.tree import Settings
    from flows.platform.forget import forget_user

    settings = Settings(work_dir=place.work_dir, shop=SHOP, recipe=recipe_of(place.source))
    with _without_server_to_reach():
        return forget_user(settings, "u00", lambda _: None, retrain=False).state


def _learn_without(place: Place) -> Any:
    """Train without the person, and remove the bundles that learned from them."""
    from flows.forget import forget

    return run_flow(forget, ForgetParams(shop=SHOP, recipe=recipe_of(place.source)))


def _meet(place: Place) -> None:
    """The person did something on the shop's pages too, and somebody else did."""
    log = EventLog(place.layout.events)
    log.append([sent(42, "u01", "tea-2"), sent(43, "u00", "tea-1"), sent(44, "u01", "tea-1")])
    _seal(place)
    log.append([sent(40, "u00", "tea-2"), sent(41, "u01", "tea-3")])
    log.close()


def _fill_stages(place: Place) -> None:
    """More results of each stage than are kept."""
    for stage in ("raw", "clean", "training", "candidates", "refits", "components/vectors"):
        for number in range(8):
            folder = place.layout.root / stage / f"{number:016x}"
            folder.mkdir(parents=True)
            for name in ("one", "two"):
                (folder / name).write_text(stage, encoding="utf-8")
            os.utime(folder, (time.time() - 1000 + number,) * 2)


def _prune(place: Place) -> Any:
    from flows.pruning import prune

    return [str(folder) for folder in prune(place.layout)]


def _keep_long(place: Place) -> None:
    """Some events were sealed before, and some came since."""
    log = EventLog(place.layout.events)
    for first in (50, 54):
        log.append([sent(first + n, "u01", "tea-1") for n in range(4)])
        _seal(place, at_least=5 if first == 54 else 1)
    log.close()


def _seal(place: Place, at_least: int = 1) -> Any:
    """Old events leave the table of the log, two at a time, for segments of three."""
    with patch("core.logs.sealing.SEGMENT_ROWS", 3), patch("core.logs.sealing._BATCH_ROWS", 2):
        return EventLog(place.layout.events).seal(START + timedelta(days=9999), at_least=at_least)


def _take_in(place: Place) -> Any:
    """The service takes in events, which the client sends until it has an answer, and pushes them until it can."""
    from features.online import OnlineFeatures
    from serving.events.intake import EventIntake

    log = EventLog(place.layout.events)
    intake = EventIntake(log)
    intake.connect(OnlineFeatures(place.layout.feast, recipe_of(place.source).features))
    for number, (user, item) in enumerate((("u00", "tea-1"), ("visitor", "wine-1"), ("u01", "tea-0"))):
        receipt = _until_answered(lambda: intake.accept([sent(10 + number, user, item)]))  # noqa: B023
        assert receipt.accepted + receipt.duplicates == 1
    if not any(intake.push_pending() for _ in range(_TRIES)):
        raise NotPushed("the events are in the log; they are pushed when the online store can be written again")
    log.close()
    return log.pushed()


def _until_answered(send: Callable[[], Any]) -> Any:
    """503 is no answer: the client sends again."""
    for _ in range(_TRIES - 1):
        try:
            return send()
        except EventLogError:
            continue
    return send()


def _leave_events(place: Place) -> None:
    """A service that was killed left events in its log that the online store has not."""
    log = EventLog(place.layout.events)
    log.append([sent(30, "u03", "tea-3"), sent(31, "visitor", "tea-3")])
    log.close()


def _serve(place: Place) -> Any:
    """The service starts: it loads what is promoted, pushes what was left, and answers."""
    from features.online import OnlineFeatures
    from recommender.bundle.loading import load_bundle
    from serving.api.recommend import RecommendRequest
    from serving.engine import Engine
    from serving.events.intake import EventIntake
    from serving.processes.loading import Loader
    from serving.watcher import Promoted, Watcher, find_promoted

    log = EventLog(place.layout.events)
    intake = EventIntake(log)
    online = OnlineFeatures(place.layout.feast, recipe_of(place.source).features)

    def load(promoted: Promoted) -> Engine:
        engine = Engine(model=promoted.model, bundle=load_bundle(promoted.folder), features=online, max_k=10)
        engine.warm()
        return engine

    loader: Loader[Engine] = Loader(start=lambda run: run())
    watcher = Watcher(find=lambda: find_promoted(place.layout.model_name), load=load, poll_s=1.0, loader=loader)
    watcher.poll()
    if watcher.loaded is None:
        raise NotPushed(watcher.problem)  # it is not ready, says why, and tries again
    intake.connect(online)
    if not any(intake.push_pending() for _ in range(_TRIES)):
        raise NotPushed("the events are in the log; they are pushed when the online store can be written again")
    answer = watcher.loaded.value.recommend(RecommendRequest(user_id="visitor", k=3))
    log.close()
    return [item.item_id for item in answer.items]


# `sommelier` says in one sentence what the system refused.
_BY_COMMAND = (OSError,)
SCENARIOS: dict[str, Scenario] = {
    "pipeline": Scenario(_first_run, between=("online/",)),
    "refresh-features": Scenario(_refresh, after="pipeline", before=_news, between=("offline/",)),
    "rebuild": Scenario(_rebuild, after="pipeline"),
    "compact": Scenario(_compact, after="pipeline", before=_news),
    "fine-tune": Scenario(_fine_tune, after="pipeline"),
    "baseline": Scenario(_serve_baseline, after="pipeline"),
    "readmit": Scenario(_readmit, after="pipeline", between=("readmitted",)),
    "revoke": Scenario(_revoke, after="readmit", between=("readmitted",), most_s=0.1, refusals=_BY_COMMAND),
    "rollback": Scenario(_roll_back, after="fine-tune", again=_roll_back_unless_done, most_s=0.1),
    "promote": Scenario(_promote, after="fine-tune", most_s=0.3, refusals=_BY_COMMAND),
    "monitor": Scenario(_monitor, after="pipeline"),
    "tune": Scenario(_tune, after="pipeline", between=("searches",)),
    "write-feedback": Scenario(_write_feedback, after="pipeline", between=("texts",), most_s=1),
    # Results of stages, rows and events go one after the other.
    "forget": Scenario(_forget, after="pipeline", before=_meet, between=("",), most_s=1, refusals=_BY_COMMAND),
    "learn-without": Scenario(_learn_without, after="forget", between=("online/", "receipt/")),
    "prune": Scenario(_prune, after="pipeline", before=_fill_stages, most_s=0.1, refusals=_BY_COMMAND),
    "seal": Scenario(_seal, after="pipeline", before=_keep_long, most_s=0.3, refusals=(EventLogError,)),
    "service": Scenario(
        _serve, after="fine-tune", before=_leave_events, between=("events", "online/"), most_s=1, refusals=(NotPushed,)
    ),
    "events": Scenario(
        _take_in, after="pipeline", between=("events", "online/"), most_s=0.3, refusals=(EventLogError, NotPushed)
    ),
}
