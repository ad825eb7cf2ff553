"""What benchmarks print: aligned columns, means with their deviations; contenders that take turns."""

import pytest

from benchmarks.harness.tables import mean_and_deviation, print_table, ranking_rows
from benchmarks.harness.timing import in_turns


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["model", "N@10"], [["popularity", ".1"], ["als", "0.25 ± 0"]])
    assert capsys.readouterr().out.splitlines() == [
        "model           N@10",
        "popularity        .1",
        "als         0.25 ± 0",
    ]


def test_a_deviation_is_that_of_a_sample() -> None:
    assert mean_and_deviation([0.1, 0.2, 0.3]) == "0.2000 ± 0.1000"
    assert mean_and_deviation([0.25]) == "0.2500 ± 0.0000"
    assert ranking_rows({"als": [(0.1, 0.2), (0.1, 0.4)]}) == [["als", "0.1000 ± 0.0000", "0.3000 ± 0.1414"]]


def test_contenders_take_turns() -> None:
    seen = []
    steps = {name: lambda run, name=name: seen.append((run, name)) for name in "ab"}
    assert in_turns(steps, 2) == {"a": [None, None], "b": [None, None]}
    assert seen == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
