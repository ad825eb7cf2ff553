"""Promotions and rollbacks of several processes at once: one at a time, and each decision holds once at most."""

import os
import subprocess
import sys
from pathlib import Path

from core.promotions import list_versions, read_standing
from flows.promotion.model_store import promote
from tests.unit.flows.promotion.written_bundle import write_bundle

NAME, N = "sommelier-t", 4
PROMOTE = """
import sys
from pathlib import Path
from flows.errors import ChampionChanged
from flows.promotion.model_store import promote
digest, generation = sys.argv[2], None if sys.argv[3] == "any" else int(sys.argv[3])
sys.stdin.readline()
try:
    promote(Path(sys.argv[1]), "sommelier-t", {"digest": digest}, generation=generation)
except ChampionChanged:
    sys.exit(3)
"""


def race(tmp_path: Path, monkeypatch, generation: str) -> list[int]:
    """Several processes promote a bundle each at the same moment; how each ended."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    promote(write_bundle(tmp_path / "first", "first"), NAME, {"digest": "first"})
    bundles = [write_bundle(tmp_path / f"b{n}", f"b{n}") for n in range(N)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE, str(bundle), bundle.name, generation],
            stdin=subprocess.PIPE, env=os.environ.copy(), cwd=Path.cwd(),
        )
        for bundle in bundles
    ]  # fmt: skip
    for racer in racers:
        racer.stdin.write(b"\n")
        racer.stdin.flush()
    return [racer.wait(timeout=60) for racer in racers]


def test_of_promotions_decided_on_the_same_champion_one_wins(tmp_path, monkeypatch):
    codes = race(tmp_path, monkeypatch, "1")
    assert sorted(codes) == [0, 3, 3, 3]
    standing = read_standing(NAME)
    winner = f"b{codes.index(0)}"
    assert [change.digest for change in standing.changes] == ["first", winner]
    assert standing.in_service.digest == winner
    assert {version.digest for version in list_versions(NAME)} == {"first", winner}


def test_promotions_over_whatever_is_in_service_all_stand_in_the_record(tmp_path, monkeypatch):
    assert race(tmp_path, monkeypatch, "any") == [0] * N
    digests = [change.digest for change in read_standing(NAME).changes]
    assert digests[0] == "first"
    assert sorted(digests[1:]) == [f"b{n}" for n in range(N)]
