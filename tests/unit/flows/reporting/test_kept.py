"""Over many validations the pages that something points at stay, and of the others the newest."""

import os
import re
from datetime import UTC, datetime

import pytest

from core.alarms import Alarm
from core.layout import Layout
from core.logs.timeline import PAGE, Timeline
from core.storage import write_json
from flows.loop.looks import record_look
from flows.promotion.approvals import Kept, Waiting, keep_waiting
from flows.promotion.gate import Decision
from flows.promotion.model_store import promote
from flows.promotion.refits import labels_of
from flows.pruning import prune
from flows.reporting.reports import COLUMNS, DATA_DOCS, DRIFT, EVALUATIONS, write_index
from recommender.bundle.manifest import read_manifest
from tests.unit.flows.promotion.written_bundle import write_bundle

N_VALIDATIONS = 60  # two and a half days of hourly refreshes
KEPT_DOCS, KEPT_PAGES = 3, 4


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """A shop with Data Docs of many validations, `v0` the oldest, and no page of an evaluation or a look."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    monkeypatch.setenv("SOMMELIER_PLATFORM__KEPT_REPORTS", str(KEPT_DOCS))
    monkeypatch.setenv("SOMMELIER_PLATFORM__KEPT_PAGES", str(KEPT_PAGES))
    made = Layout(tmp_path, "small")
    for number in range(N_VALIDATIONS):
        write(made.reports / f"v{number}" / DATA_DOCS)
        age(made, number)
    return made


def write(page):
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("page")
    return page


def age(layout, number):
    os.utime(layout.reports / f"v{number}", (1_000_000 + number,) * 2)


def evaluation(layout, number, digest):
    page = write(layout.reports / f"v{number}" / EVALUATIONS / f"{digest}.html")
    figures = write(page.with_suffix(".json"))
    for file in (page, figures):
        os.utime(file, (1_000_000 + number,) * 2)
    age(layout, number)
    return page


def look_page(layout, number, name="look"):
    page = write(layout.reports / f"v{number}" / DRIFT / f"{name}.html")
    columns = write(page.parent / COLUMNS / page.name)
    for file in (page, columns):
        os.utime(file, (1_000_000 + number,) * 2)
    age(layout, number)
    return page


def docs(layout):
    """Of which validations Data Docs are there."""
    return {page.parents[1].name for page in layout.reports.glob(f"*/{DATA_DOCS.as_posix()}")}


NEWEST = {f"v{number}" for number in range(N_VALIDATIONS - KEPT_DOCS, N_VALIDATIONS)}


def put_into_service(layout, tmp_path, digest, **fields):
    bundle = write_bundle(tmp_path / "made" / digest, digest, **fields)
    promote(bundle, layout.model_name, labels_of(read_manifest(bundle)))


def test_the_pages_of_bundles_that_may_serve_stay_with_the_docs_of_their_data(layout, tmp_path):
    before, judged, refused = (
        evaluation(layout, number, digest) for number, digest in enumerate(("before", "judged", "refused"))
    )
    put_into_service(layout, tmp_path, "before")
    put_into_service(layout, tmp_path, "refit", judged="judged")
    for number in range(10, 10 + KEPT_PAGES):
        evaluation(layout, number, f"newer{number}")
    prune(layout)
    assert before.exists()
    assert judged.exists()
    assert judged.with_suffix(".json").exists()
    assert not refused.exists()
    assert not refused.with_suffix(".json").exists()
    assert docs(layout) == {"v0", "v1"} | NEWEST
    # Pages that are merely new keep no docs: their folders have the pages alone.
    assert (layout.reports / "v10" / EVALUATIONS / "newer10.html").exists()
    assert not (layout.reports / "v3").exists()


def test_the_page_of_a_gate_that_let_a_baseline_serve_stays_as_the_time_line_names_it(layout):
    page, other = evaluation(layout, 0, "candidate"), evaluation(layout, 1, "nobody's")
    for number in range(10, 10 + KEPT_PAGES):
        evaluation(layout, number, f"newer{number}")
    place = page.relative_to(layout.reports).as_posix()
    Timeline(layout.timeline).add("gate", "candidate", "promoted", "So it is.", details={PAGE: place})
    prune(layout)
    assert page.exists()
    assert not other.exists()


def test_the_page_of_an_alarm_stays_and_an_older_look_at_it_goes(layout):
    first, second = look_page(layout, 0), look_page(layout, 1)
    newer = [look_page(layout, number) for number in range(10, 10 + KEPT_PAGES)]
    timeline = Timeline(layout.timeline)
    for page in (first, second):
        record_look(timeline, [alarm(page.relative_to(layout.reports).as_posix())], clear_looks=2)
    prune(layout)
    assert not first.exists()
    assert not (first.parent / COLUMNS / first.name).exists()
    assert second.exists()
    assert (second.parent / COLUMNS / second.name).exists()
    assert all(page.exists() for page in newer)
    assert "v1" in docs(layout)
    assert "v0" not in docs(layout)


def alarm(page):
    return Alarm(
        signal="data.price",
        family="data",
        window_days=7,
        since="2026-01-01T00:00:00+00:00",
        until="2026-01-08T00:00:00+00:00",
        p_value=0.001,
        says="It moved.",
        page=page,
    )


def test_yesterdays_look_stays_though_the_data_change_each_hour(layout):
    yesterday = look_page(layout, N_VALIDATIONS - 24)
    prune(layout)
    assert yesterday.exists()


def test_what_waits_and_what_is_tried_keep_their_pages(layout):
    waits, tried = evaluation(layout, 0, "waits"), evaluation(layout, 1, "tried")
    for number in range(10, 10 + KEPT_PAGES):
        evaluation(layout, number, f"newer{number}")
    now = datetime(2026, 3, 1, tzinfo=UTC).isoformat()
    keep_waiting(
        layout,
        Waiting(
            flow_run_id="1",
            run="calm-owl",
            flow="pipeline",
            asked_at=now,
            until=now,
            bundle="refits/1",
            digest="refit",
            decision=Decision(promote=True, reason="it is better", metric="m", candidate=0.2),
            forgotten=0,
            parts={"candidate": Kept(folder="candidates/1", key="1", value="waits")},
        ),
    )
    variant = {"name": "candidate", "share": 0.1, "bundle": {"digest": "canary", "judged": "tried"}}
    running = {"name": "try", "kind": "canary", "variants": [variant], "started_at": now, "generation": 1}
    write_json(
        layout.work_dir / "bentoml" / "models" / layout.model_name / "experiments.json", {"experiments": [running]}
    )
    prune(layout)
    assert waits.exists()
    assert tried.exists()
    assert not (layout.reports / "v0" / EVALUATIONS / "other.html").exists()


def test_docs_of_tables_that_are_there_stay_however_old_they_are(layout):
    for number in (5, 6):
        layout.clean(f"v{number}").mkdir(parents=True)
    prune(layout)
    assert docs(layout) == {"v5", "v6"} | NEWEST


def test_of_one_validation_too_the_newest_pages_stay(layout):
    pages = [look_page(layout, 7, f"look{number}") for number in range(KEPT_PAGES + 2)]
    for number, page in enumerate(pages):
        os.utime(page, (2_000_000 + number,) * 2)
    prune(layout)
    assert [page.exists() for page in pages] == [False, False] + [True] * KEPT_PAGES


def test_pages_that_are_pointed_at_take_no_place_of_the_others(layout):
    others = [evaluation(layout, number, f"other{number}") for number in range(KEPT_PAGES + 1)]
    for number in range(10, 10 + KEPT_PAGES):
        place = evaluation(layout, number, f"newer{number}").relative_to(layout.reports).as_posix()
        Timeline(layout.timeline).add("gate", f"newer{number}", "refused", "It was worse.", details={PAGE: place})
    prune(layout)
    assert [page.exists() for page in others] == [False] + [True] * KEPT_PAGES


def test_the_page_of_a_gate_stays_where_an_earlier_version_named_its_bundle_alone(layout):
    digest = "0123456789abcdef" * 4
    page, other = evaluation(layout, 0, digest), evaluation(layout, 1, "f" * 64)
    for number in range(10, 10 + KEPT_PAGES):
        evaluation(layout, number, f"newer{number}")
    Timeline(layout.timeline).add("gate", digest[:16], "promoted", "It is better.")
    prune(layout)
    assert page.exists()
    assert not other.exists()


def test_the_index_links_what_is_left(layout):
    evaluation(layout, 0, "goes")
    for number in range(10, 10 + KEPT_PAGES):
        evaluation(layout, number, f"newer{number}")
    index = write_index(layout)
    assert "goes.html" in index.read_text()
    prune(layout)
    links = re.findall(r'href="([^"]+)"', index.read_text())
    assert len(links) == KEPT_PAGES + KEPT_DOCS
    assert all((layout.reports / link).exists() for link in links)


def test_nothing_goes_where_it_is_not_known_what_points_at_it(layout):
    layout.timeline.parent.mkdir(parents=True, exist_ok=True)
    layout.timeline.write_bytes(b"no database, but long enough to be read as one" * 100)
    prune(layout)
    assert len(docs(layout)) == N_VALIDATIONS
