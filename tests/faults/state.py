"""What a shop has come to: all that its users, its service and its next run can see, as comparable texts.

Read right after a kill it shows what readers find; read after the restart, where the shop ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from core.layout import Layout
from core.storage import UNFINISHED

MANIFEST = "manifest.json"
STAGES = ("raw", "clean", "training", "candidates", "baselines", "refits")
# Clocks and random names: nothing that two equal runs share.
_PASSING = (
    "created_at",
    "seconds",
    "fit_seconds",
    "flow_run_id",
    "steps",
    "in_service",
    "parent",
    "at",
    "received_at",
    "read_at",
)
_RECORDS = ("outcome.json", "recipe.json", "tuned.toml")
# Names of versions, and the minute of a validation, which stands in the words of the rule that no event is later.
_PASSING_WORDS = re.compile(r"sommelier-[a-z0-9._-]+:[a-z0-9]+|\d{4}-\d\d-\d\d \d\d:\d\d UTC")


def sections(layout: Layout, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What there is to read: each part of the state by its name, with the beginnings of the names that it is read from.

    Args:
        names: Of all files and folders, relative to the work folder.
    """
    shop = layout.shop
    found = {
        "service": ("bentoml/models/",),
        "features": (f"{shop}/feast/",),
        "pages": (f"{shop}/reports/",),
        "monitoring": (f"{shop}/monitoring/",),
        "events": (f"{shop}/events.sqlite", f"{shop}/events/"),
        "records": tuple(f"{shop}/{name}" for name in (*_RECORDS, "readmitted/", "last_validation.json", "clean/")),
        "searches": (f"{shop}/searches/",),
        "texts": (f"{shop}/texts/",),
        "forgotten": tuple(f"{shop}/{name}" for name in ("forgotten.json", "receipts/")),
    }
    for name in names:
        result = re.match(rf"({shop}/(?:{'|'.join(STAGES)}|components/[^/]+)/[^./][^/.]*)(?:$|/)", name)
        if result:
            found[result[1]] = (f"{result[1]}/",)
    return found


def read_section(layout: Layout, name: str) -> dict[str, str]:
    """Name to content, canonical.

    Raises:
        Exception: something cannot be read that should be readable at any moment.
    """
    return dict(_READERS.get(name, lambda one: _result(one, name))(layout))


def _result(layout: Layout, name: str) -> Iterator[tuple[str, str]]:
    """A result of a stage, which exists whole or not at all."""
    folder, plain = layout.work_dir / name, name.partition("/")[2]
    if (folder / MANIFEST).exists():
        yield from _bundle(folder, plain)
        return
    files = sorted(path for path in folder.rglob("*") if path.is_file() and UNFINISHED not in str(path))
    yield plain, _digest([(str(path.relative_to(folder)), _content(path)) for path in files])


def _bundle(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """A candidate, whose evaluation comes into its manifest later."""
    from recommender.bundle.manifest import read_manifest, verify_files

    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    yield name, manifest.digest
    yield f"evaluated/{name}", _digest(_lasting(manifest.metrics))


def _service(layout: Layout) -> Iterator[tuple[str, str]]:
    """What is in service, as the service finds it, and how that came to be."""
    from core.promotions import read_standing
    from flows.promotion.bundles import version_rows
    from recommender.bundle.loading import load_bundle
    from serving.watcher import find_promoted

    changes = read_standing(layout.model_name).changes
    yield "promotions", repr([(one.action, one.digest, one.withdrawn, one.reason) for one in changes])
    promoted = find_promoted(layout.model_name)
    served = [row["digest"] for row in version_rows(layout.model_name) if row["state"] == "in service"]
    loaded = load_bundle(promoted[0].folder).manifest.digest if promoted else ""
    assert served == ([loaded[:16]] if loaded else []), f"{served} is listed as in service, {loaded} is loaded"
    yield "bundle in service", loaded


def _features(layout: Layout) -> Iterator[tuple[str, str]]:
    """Offline and online features, through the readers that the service and the training set use."""
    from features.archive.publication import PUBLISHED_FILE, read_published
    from features.archive.shop_facts import load_published
    from features.feast.store import missing_files
    from features.online import OnlineFeatures
    from tests.integration.features.test_incremental import archived
    from tests.integration.features.test_repair import rows_online

    published = read_published(layout.feast)
    assert (published is None) is not (layout.feast / PUBLISHED_FILE).exists()
    if published is not None:
        yield "features", f"{published.key} up to {published.log_sequence}, {published.materialised_to}"
        load_published(layout.feast)
        for table, rows in archived(layout.feast).items():
            yield f"offline/{table}", _digest(rows)
        found = rows_online(layout.feast)
        for view, by_entity in found.items():
            for entity, row in by_entity.items():
                # A number of the event log; a client that sends again leaves a gap in them.
                yield f"online/{view}/{entity}", re.sub(r"'\w+_positions': \[[^]]*\]", "", row)
        reader = OnlineFeatures(layout.feast, published.settings)
        assert not missing_files(layout.feast)
        for user in list(found["user_history"])[:2]:
            assert reader.read(user, list(found["item_profile"])).user is not None


def _pages(layout: Layout) -> Iterator[tuple[str, str]]:
    """Pages for people, which are whole."""
    pages = sorted(layout.reports.rglob("*.html")) if layout.reports.is_dir() else []
    for page in pages:
        if UNFINISHED not in str(page):
            assert page.read_text(encoding="utf-8").rstrip().endswith("</html>"), f"{page} is cut short"
            yield f"page/{page.relative_to(layout.reports)}", "there"


def _monitoring(layout: Layout) -> Iterator[tuple[str, str]]:
    """What Evidently's UI shows."""
    if layout.monitoring.is_dir():
        from evidently.ui.service.storage.local.base import LocalState
        from evidently.ui.workspace import Workspace

        LocalState.load(str(layout.monitoring), None)
        workspace = Workspace.create(str(layout.monitoring))
        # One without its metadata is none, for Evidently too.
        for project in filter(None, workspace.list_projects()):
            runs = [workspace.get_run(project.id, run) for run in workspace.list_runs(project.id)]
            panels = [panel.title for panel in project.dashboard.model().panels]
            yield f"monitoring/{project.name}", f"{panels}, {len(runs)} runs"


def _events(layout: Layout) -> Iterator[tuple[str, str]]:
    from core.logs.events import EventLog

    log = EventLog(layout.events)
    yield "events", repr([event for _, event in log.read()])
    yield "events to push", str(log.count(after=log.pushed()))


def _records(layout: Layout) -> Iterator[tuple[str, str]]:
    """What was readmitted, the newest validation and outcome."""
    from flows.last_validation import read_last_validation
    from validation.quarantine.readmission import select

    yield "readmitted", _digest(sorted(_content(path) for path in layout.readmitted.glob("*.parquet")))
    validation = read_last_validation(layout)
    if validation is not None:
        if validation.folder.exists():  # gone where somebody was forgotten, until the next run
            select(validation.quarantine)
        yield "validation", str(validation.folder)
    for name in _RECORDS:
        if (layout.root / name).exists():
            yield name, _content(layout.root / name)


def _forgotten(layout: Layout) -> Iterator[tuple[str, str]]:
    """Who is forgotten, and how far that came; not the salted hashes, nor counts, which a kill may have cost."""
    from core.tombstones import read_tombstones
    from flows.erasure.receipts import read_receipts

    yield "forgotten", str(len(read_tombstones(layout.forgotten).forgotten))
    for receipt in read_receipts(layout):
        bundles = [(one.place, one.digest, one.state) for one in receipt.bundles or ()]
        yield f"receipt/{receipt.number}", f"{receipt.state}, {receipt.seen}, {bundles}"


def _searches(layout: Layout) -> Iterator[tuple[str, str]]:
    import optuna

    if not layout.searches.exists():
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{layout.searches}")
    found = [
        [
            (trial.number, trial.state.name, trial.params, trial.value)
            for trial in storage.get_all_trials(study._study_id)
        ]
        for study in storage.get_all_studies()
    ]
    yield "searches", repr(found)


def _texts(layout: Layout) -> Iterator[tuple[str, str]]:
    """Texts of audiences: parts that are whole, and what they are of; the version that wrote them has a random name."""
    for path in sorted(layout.texts("").glob("*/*.*")):
        if not path.name.startswith("."):
            yield f"texts/{path.relative_to(layout.texts(''))}", _PASSING_WORDS.sub("", _content(path))


def _content(path: Path) -> str:
    """A file's content without clocks and random names."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return repr(pq.read_table(path).to_pylist())
    if path.name == "outcome.json":
        # The newest run says what it did itself: after a promotion, that its bundle is in service already.
        outcome = json.loads(path.read_text(encoding="utf-8"))
        return json.dumps(_lasting({name: one for name, one in outcome.items() if name not in ("promoted", "reason")}))
    if path.suffix == ".json":
        return json.dumps(_lasting(json.loads(path.read_text(encoding="utf-8"))), sort_keys=True)
    return sha256(path.read_bytes()).hexdigest()


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(one) for name, one in value.items() if name not in _PASSING}
    if isinstance(value, list):
        return [_lasting(one) for one in value]
    return _PASSING_WORDS.sub("", value) if isinstance(value, str) else value


def _digest(value: Any) -> str:
    return sha256(repr(value).encode()).hexdigest()[:16]


_READERS = {
    "service": _service,
    "features": _features,
    "pages": _pages,
    "monitoring": _monitoring,
    "events": _events,
    "records": _records,
    "searches": _searches,
    "texts": _texts,
    "forgotten": _forgotten,
}
