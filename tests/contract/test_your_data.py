"""docs/your-data.md: each example's commands and settings are those that `sommelier profile` gives today."""

import re
import shlex
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
    assert headings == [*(example.heading for example in EXAMPLES), "When it does not fit"]


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
