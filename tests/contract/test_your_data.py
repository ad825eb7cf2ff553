"""docs/your-data.md: each example's commands and settings are those that `sommelier profile` gives today."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import main
from core.settings.loading import load_settings
from tests.own_data import EXAMPLES, Example

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")


def section(example: Example) -> str:
    """The example's part of the document."""
    return DOCUMENT.split(f"\n## {example.heading}\n", 1)[1].split("\n## ", 1)[0]


def blocks(text: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_document_has_each_example_and_no_other():
    headings = re.findall(r"^## (.+)$", DOCUMENT, flags=re.MULTILINE)
    walk = ["Look at it", "A second bundle, and why the gate refuses it", "Take it elsewhere"]
    assert headings == [*(example.heading for example in EXAMPLES), *walk, "When it does not fit"]


def test_the_data_of_the_examples_are_written_by_the_command_that_the_document_names(tmp_path):
    assert "`.venv/bin/python -m tests.own_data`" in DOCUMENT
    command = [sys.executable, "-m", "tests.own_data", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = sorted(example.file for example in EXAMPLES)
    assert sorted(Path(line).name for line in done.stdout.splitlines()) == files
    assert sorted(path.name for path in tmp_path.iterdir()) == files


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.file)
def test_the_commands_give_the_settings_that_the_document_shows(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example.make(Path(example.file))
    text = section(example)
    profile, run = next(block for block in blocks(text) if "sommelier profile" in block).splitlines()
    assert main(shlex.split(profile)[1:]) == 0
    (name,) = re.findall(r"--settings (\S+)\"$", run)
    (shown,) = blocks(text, "toml")
    assert Path(name).read_text(encoding="utf-8") == shown
    able = next(block for block in blocks(text) if block.startswith("able to:"))
    assert able in capsys.readouterr().out
    assert load_settings(Path(name)).shop == Path(example.file).stem


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.file)
def test_no_example_asks_a_question(example, tmp_path):
    settings = example.settings(tmp_path)
    assert "QUESTION" not in (tmp_path / f"{Path(example.file).stem}.toml").read_text(encoding="utf-8")
    assert settings.recipe.source.kind in ("tables", "sql")
