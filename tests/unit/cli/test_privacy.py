"""`sommelier forget`: what does not fit together is wrong usage, and does nothing."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from cli.main import main

OPTIONS = ("--list", "--lift", "--dry-run", "--no-retrain")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *((["u1", *both], "expected one of these at most") for both in combinations(OPTIONS, 2)),
        (["u1", "--list"], "--list with the id of a user"),
        (["--lift"], "user='', expected the shop's id of a user"),
        ([], "user='', expected the shop's id of a user"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_options_that_exclude_each_other_are_wrong_usage_and_nothing_is_done(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("something was done")

    doing = ("erasure.removal.take_back", "erasure.removal.preview", "platform.forget.forget_user")
    for done in doing:
        monkeypatch.setattr(f"flows.{done}", fail)
    assert main(["forget", *words, "--set", f"work_dir={tmp_path}"]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
