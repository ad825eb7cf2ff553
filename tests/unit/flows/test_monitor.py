"""A look whose data the gate refuses."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.alarms import Alarm
from core.layout import Layout
from flows import monitor
from flows.reporting.gauges import publish_look
from tests.unit.recommender.tiny_shop import DATA
from validation.errors import cannot_read


def test_prometheus_is_told_that_the_gate_refuses_the_data_and_no_alarm_of_before_but_of_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path, "shop")
    layout.root.mkdir()
    before = Alarm(
        signal="data.volume", family="data", window_days=7, since="", until="", p_value=0.01, broken=False, says=""
    )
    of_texts = before.model_copy(update={"signal": "embeddings.texts.mean", "family": "embeddings"})
    publish_look(layout, [before, of_texts], embeds=True)

    def refuse(_: object) -> None:
        raise cannot_read("file=orders.csv", "a file", "Look for it")

    monkeypatch.setattr(monitor, "pass_data_gate", refuse)
    monkeypatch.setattr(monitor, "get_run_logger", lambda: logging.getLogger("monitor"))
    run: Any = SimpleNamespace(layout=layout)
    served: Any = SimpleNamespace(data=DATA)
    alarms, clean = monitor._look(run, served)
    assert clean is None
    assert [(one.signal, one.broken) for one in alarms] == [("data.gate", True)]
    told = "".join(file.read_text() for file in layout.gauges.iterdir())
    assert 'sommelier_alarm{broken="true",family="data",signal="data.gate"} 1.0' in told
    assert "data.volume" not in told
    assert 'signal="embeddings.texts.mean"} 1.0' in told, "it stays until texts are embedded again"


def test_each_alarm_names_the_page_of_the_look_that_saw_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path, "shop")
    seen = Alarm(signal="data.volume", family="data", window_days=7, since="", until="", p_value=0.01, says="")
    drift = SimpleNamespace(alarms=(seen,), page=layout.reports / "v1" / "drift" / "look.html")
    monkeypatch.setattr(monitor, "pass_data_gate", lambda _: (None, SimpleNamespace(folder=layout.clean("v1"))))
    monkeypatch.setattr(monitor, "watch", lambda *_, **__: drift)
    run: Any = SimpleNamespace(layout=layout)
    served: Any = SimpleNamespace(data=DATA)
    alarms, _ = monitor._look(run, served)
    assert [one.page for one in alarms] == ["v1/drift/look.html"]
