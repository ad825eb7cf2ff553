"""The status page says what moved, since when, for whom, and what was done about it; whatever was written down."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from core.alarms import Alarm, Course
from core.logs.timeline import PAGE, Entry, Timeline
from core.settings.platform import PlatformSettings
from core.settings.tree import Settings
from serving.api.experiments import ExperimentInfo, ExperimentsInfo, VariantInfo
from serving.api.model import ModelInfo
from serving.api.timeline import TimelineInfo
from serving.web.status import show_status
from serving.web.templates import digest_of

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MODEL = ModelInfo(
    ready=True,
    model="sommelier-shop:7",
    loaded_at="2026-03-09T08:00:00+00:00",
    promoted="sommelier-shop:7",
    problem=None,
    capabilities={},
    n_items=10,
    manifest={
        "data": {"fingerprint": "0123456789abcdef", "learned_until": "2026-03-08T00:00:00+00:00"},
        "metrics": {"served": "blend", "ranking": {"blend": {"ndcg_at_10": 0.1234, "recall_at_10": 0.2}}},
    },
)
ALARM = Alarm(
    signal="data.price.null_share",
    family="data",
    segment="category=Wine <red>",
    window_days=7,
    since="2026-03-01T00:00:00+00:00",
    until="2026-03-08T00:00:00+00:00",
    value=0.9,
    reference=0.1,
    p_value=0.0004,
    broken=True,
    says="90 % of the prices are missing, 10 % before.",
)
_NOTHING = ExperimentsInfo(problem=None, pinned=None, experiments=[])


class _Page(HTMLParser):
    """Texts and attributes of a page; unclosed elements are an error."""

    _VOID = frozenset({"meta", "link", "br", "wbr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def _words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


def _show(
    entries: list[Entry], model: ModelInfo = MODEL, experiments: ExperimentsInfo = _NOTHING, reports: str = ""
) -> str:
    settings = Settings(shop="shop", platform=PlatformSettings(reports_page=reports))
    return show_status(settings, model, TimelineInfo(problem=None, entries=entries), experiments, NOW)


@pytest.fixture
def story(tmp_path: Any) -> list[Entry]:
    line = Timeline(tmp_path / "timeline.sqlite")
    alarm = line.add(
        "alarm", ALARM.signal, "on", ALARM.says, details={"alarm": ALARM.model_dump()}, at=NOW - timedelta(2)
    )
    line.add("alarm", "data.volume", "cleared", "Few events.", details={"alarm": {"of": "another version"}})
    decision = line.add("decision", "fine-tune", "retrain", "Enough is new.", cause=alarm.id, at=NOW - timedelta(1))
    run = line.add("run", "fine-tune", "completed", "It ran for 3 minutes.", cause=decision.id, at=NOW - timedelta(1))
    line.add("gate", "fine-tune", "refused", "No better than what serves.", cause=run.id, at=NOW - timedelta(hours=20))
    return line.read()


def test_an_alarm_says_what_moved_for_whom_and_what_followed(story: list[Entry]) -> None:
    page = _show(story)
    words = _words(page)
    assert "the data are broken" in words
    assert "90 % of the prices are missing" in words
    assert "most for category=Wine &lt;red&gt;" in page
    steps = re.findall(r'<li class="in-(\d)"><strong class="(\w+)">([^<]+)', page)
    assert steps == [
        ("0", "plain", "decision: fine-tune, retrain"),
        ("1", "good", "run: fine-tune, completed"),
        ("2", "bad", "gate: fine-tune, refused"),
    ]
    bars = [float(one["width"] or 0) for one in _Page(page).all("rect") if one.get("x") == "60"]
    assert bars[0] * 9 == pytest.approx(bars[1], rel=0.1)


def test_an_alarm_is_drawn_day_by_day_and_told_since_its_first_day_beyond_what_is_usual() -> None:
    values = (*[0.1, 0.12] * 24, None, *[0.11] * 3, *[0.9] * 4)
    course = Course(begins="2026-01-11T00:00:00+00:00", values=values, low=0.08, high=0.13)
    alarm = ALARM.model_copy(update={"course": course, "since": "2026-03-04T00:00:00+00:00"})
    entry = Entry(
        id=4, at=NOW.isoformat(), until=NOW.isoformat(), kind="alarm", subject=alarm.signal, state="on",
        says=alarm.says, cause=2, details={"alarm": alarm.model_dump(mode="json"), PAGE: "v1/drift/a look.html"},
    )  # fmt: skip
    page = _show([entry], reports="https://shop.example/reports")
    found, words = _Page(page), _words(page)
    [picture] = [one for one in found.all("svg") if one.get("class") == "course"]
    assert picture["aria-labelledby"] == "course-4-title course-4-desc"
    assert {"course-4-title", "course-4-desc"} <= {str(one.get("id")) for _, one in found.found}
    assert "Usual: 0.08 to 0.13. Beyond what is usual since 2026-03-04 00:00; 0.9 on the last day." in words
    assert [len(str(one["points"]).split()) for one in found.all("polyline")] == [48, 7]  # a gap is a gap
    beyond = [one for one in found.all("circle") if one.get("r") == "3.5"]
    assert len(beyond) == 4
    [since] = [one for one in found.all("rect") if one.get("class") == "since"]
    assert float(str(beyond[0]["cx"])) - 10 < float(str(since["x"])) < float(str(beyond[0]["cx"]))
    assert "Since 2026-03-04 00:00, seen in the 7 days up to 2026-03-08 00:00" in words
    assert "2026-03-04 0.9 beyond" in words
    assert "2026-03-03 0.11 yes" in words
    links = [str(one.get("href")) for one in found.all("a")]
    assert "https://shop.example/reports/v1/drift/a%20look.html" in links
    assert "#entry-2" not in links, "the page has no such entry"


def test_the_time_line_has_a_mark_and_a_row_for_each_entry(story: list[Entry]) -> None:
    page = _Page(_show(story))
    rows = [one["id"] for one in page.all("tr") if one.get("id")]
    assert rows == [f"entry-{entry.id}" for entry in reversed(story)]
    marks = [one for one in page.all("rect") if one.get("rx")] + page.all("circle")
    assert len(marks) == len(story)
    assert all(0 <= float(one.get("x") or one.get("cx") or -1) <= 960 for one in marks)


def test_the_page_loads_its_own_files_alone_and_has_no_style_or_script_within_it(story: list[Entry]) -> None:
    page = _Page(_show(story))
    assert [one["src"] for one in page.all("script")] == [f"assets/page.js?v={digest_of('page.js')}"]
    assert not page.all("img")
    assert {one["href"] for one in page.all("link")} == {"data:,", f"assets/page.css?v={digest_of('page.css')}"}
    assert not [one for _, one in page.found if "style" in one or any(name.startswith("on") for name in one)]
    assert len({one["id"] for _, one in page.found if one.get("id")}) == len(
        [1 for _, one in page.found if one.get("id")]
    )


def test_what_people_wrote_is_text_and_no_markup() -> None:
    entry = Entry(
        id=1,
        at=NOW.isoformat(),
        until=NOW.isoformat(),
        kind="alarm",
        subject="<script>x()</script>",
        state="on",
        says='"><img src=x>',
        details={"alarm": 3},
    )
    page = _Page(_show([entry]))
    assert len(page.all("script")) == 1
    assert not page.all("img")


@pytest.mark.parametrize("field", ["problem", "store_problem", "changes_problem"])
def test_what_is_wrong_with_the_service_is_said_to_who_may_read(field: str) -> None:
    model = MODEL.model_copy(update={field: "/srv/shop/file is damaged"})
    assert "/srv/shop/file is damaged" in _words(_show([], model))
    assert model.summary().model_dump() == {"ready": True, "model": "sommelier-shop:7"}


def test_an_empty_shop_says_so() -> None:
    model = ModelInfo(
        ready=False,
        model=None,
        loaded_at=None,
        promoted=None,
        problem="no bundle was promoted",
        capabilities={},
        n_items=None,
        manifest=None,
    )
    words = _words(_show([], model))
    assert "none yet" in words
    assert "no bundle was promoted" in words
    assert "No alarm is on." in words
    assert "Nothing was recorded yet" in words


def test_the_figures_that_people_ask_for_first_come_first() -> None:
    ranking = {"coverage_at_10": 0.6, "f1_at_10": 0.1, "gini_at_10": 0.4, "ndcg_at_10": 0.1234, "recall_at_10": 0.2}
    manifest = {"data": {}, "metrics": {"served": "blend", "ranking": {"blend": ranking}}}
    words = _words(_show([], MODEL.model_copy(update={"manifest": manifest})))
    assert re.search(r"Evaluation ndcg_at_10 0\.1234 recall_at_10 0\.2 coverage_at_10 0\.6 ", words)
    assert "gini" not in words


def test_experiments_that_run_stand_there(story: list[Entry]) -> None:
    variants = [
        VariantInfo(name="champion", share=0.9, version=None, digest=None),
        VariantInfo(name="new", share=0.1, version="8", digest="ab"),
    ]
    running, stopped = (
        ExperimentInfo(
            name=name,
            kind="canary",
            state=state,
            problem=None,
            started_at=NOW.isoformat(),
            stopped_at=None,
            reason="",
            variants=variants,
            figures=None,
        )
        for name, state in (("spring", "running"), ("winter", "stopped"))
    )
    words = _words(_show(story, experiments=ExperimentsInfo(problem=None, pinned="6", experiments=[running, stopped])))
    assert "canary spring: running champion 90 %, new 10 %." in words
    assert "winter" not in words
    assert "Pinned 6" in words
