"""`sommelier experiments start`: what of its variants is wrong usage."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        (
            ["new=abc:.3", "new=def:.3"],
            "--variant=new=def:.3 after another of the same name, expected each variant once",
        ),
        (["new=abc:.3", "old=abc:.3", "new=abc:.3"], "after another of the same name"),
        (["new=abc:2"], "expected a share above 0 that is 1 at most"),
        (["abc:.3"], "expected NAME=BUNDLE:SHARE"),
    ],
)
def test_variants_that_do_not_fit_together_begin_nothing(
    variants: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("an experiment was started")

    monkeypatch.setattr("flows.promotion.experiments.start_experiment", fail)
    words = [word for one in variants for word in ("--variant", one)]
    assert main(["experiments", "start", "spring", *words, "--set", f"work_dir={tmp_path}"]) == 2
    assert said in capsys.readouterr().err
