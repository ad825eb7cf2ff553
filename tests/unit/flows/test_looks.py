"""Which look embeds texts: that of `monitor`, and not the one that somebody waits for at the end of a first run."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from flows import monitor, pipeline
from tests.unit.recommender.tiny_shop import DATA


class Looked(Exception):
    """The flow got as far as its look."""


def _watch(*_: object, embeds: bool) -> None:
    raise Looked(embeds)


def test_the_look_of_a_run_of_the_pipeline_leaves_texts_to_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    training = SimpleNamespace(value=SimpleNamespace(test_at=DATA.test_at))
    made = SimpleNamespace(made=SimpleNamespace(training=training, clean=None))
    for name, given in (("remove_waiting", None), ("release_answered", made)):
        monkeypatch.setattr(pipeline, name, lambda _, given=given: given)
    monkeypatch.setattr(pipeline, "Run", SimpleNamespace(of=lambda _: None))
    monkeypatch.setattr(pipeline, "watch", _watch)
    params: Any = SimpleNamespace(shop="shop")
    with pytest.raises(Looked, match="False"):
        inspect.unwrap(pipeline.pipeline.fn)(params)


def test_a_look_of_monitor_embeds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "pass_data_gate", lambda _: (None, None))
    monkeypatch.setattr(monitor, "watch", _watch)
    run: Any = None
    served: Any = SimpleNamespace(data=DATA)
    with pytest.raises(Looked, match="True"):
        monitor._look(run, served)
