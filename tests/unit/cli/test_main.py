"""The command line resolves settings, and answers an error with one sentence and status 1."""

import json
import os
import re
import subprocess
import sys

import pytest

from cli.main import main
from serving.api.recommend import AppliedDiversity, Diversity, Recommendations


@pytest.fixture(autouse=True)
def environment_of_its_own(monkeypatch):
    """A command that enters the environment of the default work folder leaves that of later tests alone."""
    monkeypatch.setattr(os, "environ", dict(os.environ))


def test_source_and_data_choose_the_source_and_name_the_shop(capsys, tmp_path):
    data = tmp_path / "Some Reviews.json.gz"
    assert main(["settings", "--source", "amazon-2014", "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert '"shop": "some-reviews"' in shown
    assert '"kind": "amazon-2014"' in shown
    assert str(data) in shown


def test_set_wins_over_data(capsys, tmp_path):
    assert main(["settings", "--source", "recbole", "--data", str(tmp_path), "--set", "shop=mine"]) == 0
    assert '"shop": "mine"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("recipe.sequence.widht=32", "unknown name recipe.sequence.widht=32.*Did you mean recipe.sequence.width"),
        ("n_users=32", "unknown name n_users=32.*Did you mean recipe.source.n_users[?]"),
        ("nope=3", "unknown name nope=3, expected a name that there is. See every setting: sommelier settings"),
        ("recipe.source.url=x", "unknown name recipe.source.url='x'.*Another kind has it: set recipe.source.kind"),
        ("recipe.source.n_users=many", "recipe.source.n_users='many', expected .*integer"),
        ("recipe.seed", "--set recipe.seed, expected a.b=value"),
    ],
)
def test_a_wrong_setting_of_the_command_line_is_wrong_usage(capsys, given, said):
    assert main(["settings", "--set", given]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_an_error_is_a_line_of_a_log_that_is_json(tmp_path):
    words = ["audit", "--set", f"work_dir={tmp_path}", "--set", "logs.format=json", "--set", "shop=nowhere"]
    ended = subprocess.run(
        [sys.executable, "-m", "cli", "rollback", *words[1:]], capture_output=True, text=True, check=False
    )
    (line,) = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (ended.returncode, line["level"], line["logger"]) == (1, "ERROR", "cli")
    assert "nowhere" in line["message"]


def test_a_wrong_setting_of_a_file_is_an_error(capsys, tmp_path):
    (tmp_path / "s.toml").write_text("nope = 3\n")
    assert main(["settings", "--settings", str(tmp_path / "s.toml"), "--set", "recipe.seed=3"]) == 1
    assert "unknown name nope=3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["recommend", "u", "-k", "0"], ["recommend", "u", "--strength", "1.5"], ["similar", "i", "-k", "0"],
     ["feedback", "u", "i", "--rating", "9"],
     ["feedback", "u", "i", "--seed", "-1"]],
)  # fmt: skip
def test_a_number_that_cannot_be_is_wrong_usage(capsys, words):
    assert main(words) == 2
    assert re.search(r"Invalid value .* Must be", capsys.readouterr().err)


def test_recommend_asks_for_the_diversity_that_is_named(capsys, monkeypatch):
    asked = []

    class Answering:
        def recommend(self, request):
            asked.append(request.diversity)
            done = AppliedDiversity(
                kind="mmr", strength=0.4, item_floor=0.2, provider_floor=0.0, n_changed=2, floors_met=False
            )
            return Recommendations(model="m:1", user_id="u", cold_start=False, reason=None, items=[], diversity=done)

    monkeypatch.setattr("serving.answering.connect", lambda settings, show: Answering())
    assert main(["recommend", "u"]) == 0
    assert main(["recommend", "u", "--diversity", "mmr", "--strength", "0.4", "--item-floor", "0.2"]) == 0
    assert asked == [None, Diversity(kind="mmr", strength=0.4, item_floor=0.2)]
    told = capsys.readouterr().err
    assert "2 of the items are not in the model's own list" in told
    assert "too few such items are left for the floor" in told
