"""The steps of a run, as its file tells them."""

from __future__ import annotations

import json
from pathlib import Path

from flows.reporting.measurement import read_steps, steps_file


def test_a_line_that_a_kill_cut_short_hides_no_other(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    steps = [{"step": name, "wall_s": 1.0, "peak_mib": 10} for name in ("ingest", "validate", "blend")]
    first, second, third = map(json.dumps, steps)
    steps_file("run").parent.mkdir(parents=True)
    # Prefect's retry runs under the same id: its first line is appended to the half of one.
    steps_file("run").write_text(f"{first}\n{second[:20]}{second}\n{third}\n")
    assert [step["step"] for step in read_steps("run")] == ["ingest", "blend"]
