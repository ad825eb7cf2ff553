"""Output that nobody reads to its end, and output that cannot be written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import NOBODY_READS, main

FULL = Path("/dev/full")


def test_a_reader_that_leaves_early_makes_no_noise():
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "settings"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        command.stdout.close()
        assert command.wait() == NOBODY_READS
        assert command.stderr.read() == ""


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_an_error_in_one_sentence():
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cli", "settings"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("sommelier: ")
    assert len(done.stderr.splitlines()) == 1


def test_wrong_usage_names_the_help_of_its_command(capsys):
    assert main(["score", "u1"]) == 2
    assert "See: sommelier score --help" in capsys.readouterr().err
    assert main(["models", "lst"]) == 2
    assert "See: sommelier models --help" in capsys.readouterr().err


def call(*words):
    return subprocess.run([sys.executable, "-m", "cli", *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", ["models list", "recommend u1"])
def test_looking_makes_no_folder_and_says_that_nothing_is_there(words, tmp_path):
    done = call(*words.split(), "--set", f"work_dir={tmp_path / 'absent'}", "--set", "platform.service_port=1")
    assert done.stdout == ""
    assert re.search(r"no bundle was promoted yet|without a promoted bundle", done.stderr)
    assert not (tmp_path / "absent").exists()
