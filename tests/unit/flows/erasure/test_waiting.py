"""Every flow that reads the shop's data first removes whom the service was asked to forget."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from core.layout import Layout
from core.removals import request_removal
from core.tombstones import read_tombstones
from flows.erasure.receipts import read_receipts
from flows.fine_tune import fine_tune
from flows.forget import forget
from flows.params import ForgetParams, PipelineParams
from flows.pipeline import pipeline
from flows.refresh_features import refresh_features
from flows.steps.run import Run


class Reading(Exception):
    """The flow begins to read."""


@pytest.mark.parametrize("flow", [pipeline, fine_tune, refresh_features], ids=lambda flow: flow.name)
def test_who_waits_is_removed_before_a_flow_reads(
    flow: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path, "small")
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    request_removal(layout.to_forget, layout.forgotten, "person-1")

    def read(run: Run) -> None:
        assert [one.state for one in read_receipts(layout)] == ["retraining"]
        assert not layout.to_forget.exists()
        assert run.generation == read_tombstones(layout.forgotten).generation
        raise Reading

    monkeypatch.setattr(f"{flow.fn.__module__}.prepare", read)  # type: ignore[attr-defined]
    with disable_run_logger(), pytest.raises(Reading):
        flow.fn(PipelineParams(shop="small"))  # type: ignore[attr-defined]


def test_the_forget_flow_needs_no_user_for_who_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path, "small")
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    monkeypatch.setattr("flows.forget.publish_receipt", lambda *_: None)
    request_removal(layout.to_forget, layout.forgotten, "person-1")
    with disable_run_logger():
        assert forget.fn(ForgetParams(shop="small")) == {"1": "complete"}
    assert not layout.to_forget.exists()
