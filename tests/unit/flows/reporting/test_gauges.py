"""What flows leave for Prometheus is what the service shows, each figure once."""

from datetime import date

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.alarms import Alarm
from core.layout import Layout
from flows.promotion.gate import BestBaseline, Decision
from flows.reporting.gauges import FAMILIES, publish_gate, publish_look, publish_rows, publish_run, publish_variants
from monitoring.answers.variants import VariantDay
from monitoring.verdict import Signal
from serving.http.flow_gauges import with_flow_gauges
from validation.summary import TableSummary, ValidationSummary


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path, "shop")
    layout.root.mkdir()
    return layout


def _samples(layout: Layout) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(with_flow_gauges("", layout.gauges)):
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            labels = tuple(sample.labels[name] for name in FAMILIES[sample.name][1])
            assert labels not in values, "a figure is there twice"
            values[labels] = sample.value
    return found


def test_rows_are_those_of_the_newest_validation(layout):
    for clean in (5, 8):
        table = TableSummary(rows_in=12, rows_clean=clean, rows_quarantined=3, duplicates=1, rules={"price_low": 3})
        publish_rows(
            layout,
            ValidationSummary(
                folder=layout.root, docs=layout.root, gx_success=True, tables={"items": table}, warnings=[]
            ),
        )
    found = _samples(layout)
    rows = found["sommelier_table_rows"]
    assert rows == {("items", "clean"): 8, ("items", "quarantined"): 3, ("items", "duplicate"): 1}
    assert found["sommelier_rule_broken_rows"] == {("items", "price_low"): 3}
    assert found["sommelier_validated_timestamp_seconds"][()] > 1.7e9


def _signal(name, days, value, segment=None, note=""):
    return Signal(
        name=name, family="data", segment=segment, window_days=days, value=value, reference=0.0, p_value=1.0,
        evidence=0.0, exposure=9.0, note=note,
    )  # fmt: skip


def test_a_look_shows_its_alarms_and_what_it_measured_of_all(layout):
    alarm = Alarm(
        signal="data.price.level", family="data", window_days=7, since="", until="", p_value=0.001, broken=True, says=""
    )
    signals = (
        _signal("data.price.level", 7, 9.5),
        _signal("data.price.level", 1, 8.5),
        _signal("data.price.level", 7, 3.0, segment="category=Wine"),
        _signal("data.volume", 7, 4.0, note="too few"),
    )
    weaker = alarm.model_copy(update={"window_days": 1, "p_value": 0.01})
    publish_look(layout, (alarm, weaker), signals, embeds=True)
    found = _samples(layout)
    labels = ("data", "data.price.level", "true")
    assert found["sommelier_alarm"] == {labels: 1.0}
    assert found["sommelier_alarm_p_value"] == {labels: 0.001}
    assert found["sommelier_signal"] == {("data", "data.price.level", "7"): 9.5, ("data", "data.price.level", "1"): 8.5}
    publish_look(layout, (), signals, embeds=True)
    assert "sommelier_alarm" not in _samples(layout)


def test_a_look_that_embeds_nothing_leaves_what_the_last_one_that_did_said_of_embeddings(layout):
    of_data, of_reviews = (
        Alarm(signal=name, family=family, window_days=7, since="", until="", p_value=p, broken=False, says="")
        for name, family, p in (("data.volume", "data", 0.02), ("embeddings.texts.mean", "embeddings", 0.01))
    )
    measured = _signal("embeddings.texts.mean", 7, 0.5).model_copy(update={"family": "embeddings"})
    other = measured.model_copy(update={"value": 0.1})
    key = ("embeddings", "embeddings.texts.mean", "false")
    # Before any that embeds there is nothing to keep.
    publish_look(layout, (of_reviews,), [other], embeds=False)
    assert _samples(layout)["sommelier_signal"] == {(*key[:2], "7"): 0.1}
    publish_look(layout, (of_data, of_reviews), [measured], embeds=True)
    publish_look(layout, (), [other, _signal("data.volume", 7, 4.0)], embeds=False)
    found = _samples(layout)
    assert found["sommelier_alarm"] == {key: 1.0}
    assert found["sommelier_alarm_p_value"] == {key: 0.01}
    assert found["sommelier_signal"] == {(*key[:2], "7"): 0.5, ("data", "data.volume", "7"): 4.0}
    publish_look(layout, (), [other], embeds=True)
    assert "sommelier_alarm" not in _samples(layout)
    assert _samples(layout)["sommelier_signal"] == {(*key[:2], "7"): 0.1}


def test_variants_show_what_they_brought_by_window(layout):
    days = [
        VariantDay(
            day=date(2026, 3, day), experiment="spring", variant="new", answers=8, failed=2, users=users,
            figures={"ctr": (0.5, 0.1), "hit": (hits, 1.0), "ndcg": (1.0, 0.5)},
        )
        for day, users, hits in ((1, 4, 1.0), (3, 8, 5.0))
    ]  # fmt: skip
    publish_variants(layout, days, date(2026, 3, 3))
    found = _samples(layout)["sommelier_variant_figure"]
    hits = {labels[3]: value for labels, value in found.items() if labels[2] == "hit"}
    assert hits == {"1": 5 / 8, "7": 6 / 12, "28": 6 / 12}
    assert found["spring", "new", "failed_share", "7"] == 0.2
    assert found["spring", "new", "users", "7"] == 12
    publish_variants(layout, days, date(2026, 4, 30))
    assert "sommelier_variant_figure" not in _samples(layout)


@pytest.mark.parametrize(("promote", "baseline"), [(True, False), (False, True), (False, False)])
def test_the_gate_shows_what_it_compared(layout, promote, baseline):
    best = BestBaseline(kind="popularity", value=0.1, difference=0.1, low=0.05, high=0.15, p_value=0.01)
    publish_gate(
        layout,
        Decision(
            promote=promote,
            promote_baseline=baseline,
            reason="",
            metric="ndcg_at_10",
            candidate=0.2,
            champion=None,
            baseline=best,
        ),
    )
    found = _samples(layout)
    assert found["sommelier_gate_quality"] == {("ndcg_at_10", "candidate"): 0.2, ("ndcg_at_10", "baseline"): 0.1}
    assert found["sommelier_gate_promoted"] == {(): float(promote or baseline)}


def test_a_success_is_known_after_a_failure(layout):
    publish_run(layout, "pipeline", "completed", 60.0)
    publish_run(layout, "pipeline", "failed", 2.0)
    publish_run(layout, "monitor", "completed", 3.0)
    assert _samples(layout)["sommelier_run_duration_seconds"] == {
        ("pipeline", "completed"): 60.0,
        ("pipeline", "failed"): 2.0,
        ("monitor", "completed"): 3.0,
    }


def test_a_shop_of_which_nothing_ran_gets_no_folder(tmp_path):
    publish_run(Layout(tmp_path, "none"), "pipeline", "failed", 1.0)
    assert not (tmp_path / "none").exists()


def test_what_keeps_the_end_from_being_written_hides_no_end(layout, caplog):
    layout.gauges.write_text("a file where the folder should be")
    publish_run(layout, "pipeline", "failed", 1.0)
    assert "The end of pipeline is not told to Prometheus" in caplog.text


def test_a_file_that_is_no_text_of_prometheus_hides_no_other(layout, caplog):
    publish_run(layout, "pipeline", "completed", 60.0)
    (layout.gauges / "damaged.prom").write_text("one two three {")
    shown = with_flow_gauges("own 1\n", layout.gauges)
    assert shown.startswith("own 1\n")
    assert "sommelier_run_duration_seconds" in shown
    assert "damaged.prom" in caplog.text


def test_without_figures_of_flows_the_services_own_stand_alone(tmp_path):
    assert with_flow_gauges("own 1\n", tmp_path / "missing") == "own 1\n"
