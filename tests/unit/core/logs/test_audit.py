"""The audit log: a line before, a line after, on the disk, in order, bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from core.logs import audit
from core.logs.audit import AuditError, audited, begin, end, newest_acts, read_acts


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_what_was_done_has_who_what_and_how_it_ended(file: Path) -> None:
    with audited(file, "rollback", steps="2") as details:
        (begun,) = read_acts(file)
        assert (begun.outcome, begun.details) == ("begun", {"steps": "2"})
        details["version"] = "v1"
    (act,) = read_acts(file)
    assert (act.what, act.outcome, act.details) == ("rollback", "done", {"steps": "2", "version": "v1"})
    assert act.who.startswith("user:")
    assert act.at == begun.at
    assert len(file.read_text().splitlines()) == 2


def test_what_failed_says_the_kind_of_error_and_not_its_words(file: Path) -> None:
    with pytest.raises(ValueError, match="u123"), audited(file, "forget"):
        raise ValueError("no such user: u123")
    assert read_acts(file)[0].outcome == "failed: ValueError"
    assert "u123" not in file.read_text()


def test_a_killed_command_stays_begun(file: Path) -> None:
    code = (
        "import os, pathlib, sys; from core.logs.audit import audited\n"
        "with audited(pathlib.Path(sys.argv[1]), 'promote'): os._exit(9)"
    )
    root = Path(__file__).parents[4]
    subprocess.run(
        [sys.executable, "-c", code, str(file)], check=False, cwd=root, env={**os.environ, "PYTHONPATH": "."}
    )
    assert [(act.what, act.outcome) for act in read_acts(file)] == [("promote", "begun")]


def test_each_line_is_on_the_disk_when_it_is_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(audit.os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    act = begin(file, "promote", "user:ann")
    assert file.stat().st_size in synced
    end(file, act, "done")
    assert synced[-1] == file.stat().st_size


def test_what_cannot_be_recorded_is_not_done(file: Path) -> None:
    file.mkdir()
    said = r"Cannot record promote: error=.*expected a log that can be written"
    with pytest.raises(AuditError, match=said), audited(file, "promote"):
        raise AssertionError("done without a record")


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_an_end_that_cannot_be_recorded_fails_nobody_and_hides_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_there: bool, fails: bool
) -> None:
    file = tmp_path / ("shop" if is_there else "new") / "audit.jsonl"
    (tmp_path / "shop").mkdir()
    done = False
    with pytest.raises(KeyError, match="u1") if fails else nullcontext(), audited(file, "rollback"):
        file.unlink(missing_ok=True)
        file.mkdir(parents=True)  # in the way, as a full disk is
        done = True
        if fails:
            raise KeyError("u1")
    assert done
    assert f"rollback has ended ({'failed: KeyError' if fails else 'done'}), which is not on record" in caplog.text
    assert str(file) in caplog.text


def test_a_shop_that_is_not_there_gets_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "audit.jsonl"
    with pytest.raises(KeyError), audited(file, "rollback"):
        raise KeyError
    assert not file.parent.exists()
    with audited(file, "keys create"):
        file.parent.mkdir()
    assert [act.outcome for act in read_acts(file)] == ["done"]


def test_a_line_that_was_cut_short_spoils_no_other(file: Path) -> None:
    end(file, begin(file, "promote", "user:ann"), "done")
    with file.open("a") as log:
        log.write('{"id": "ha')
    end(file, begin(file, "rollback", "key:1"), "done")
    assert [act.what for act in read_acts(file)] == ["promote", "rollback"]


def test_it_is_bounded_and_the_newest_stays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_BYTES", 2000)
    for number in range(200):
        end(file, begin(file, f"act {number}", "user:ann"), "done")
    files = sorted(one.name for one in file.parent.glob("audit.jsonl*") if not one.name.endswith(".lock"))
    assert files == ["audit.jsonl", *(f"audit.jsonl.{number}" for number in range(1, 5))]
    assert sum((file.parent / name).stat().st_size for name in files) < 5 * 2400
    acts = read_acts(file)
    assert [act.what for act in acts] == [f"act {number}" for number in range(200 - len(acts), 200)]
    assert len(acts) > 20


def test_acts_are_in_the_order_in_which_they_began_though_their_lines_lie_in_several_files(file: Path) -> None:
    gone, long, short = (begin(file, what, "user:ann") for what in ("gone", "long", "short"))
    for one in (short, long):
        end(file, one, "done")
    lines = file.read_text().splitlines(keepends=True)
    file.with_name("audit.jsonl.1").write_text("".join(lines[1:]))  # the first line went with its file
    file.unlink()
    end(file, gone, "done")
    last = begin(file, "last", "user:ann")
    end(file, long, "status 200")
    acts = read_acts(file)
    assert [act.what for act in acts] == ["gone", "long", "short", "last"]
    assert [act.outcome for act in acts] == ["done", "status 200", "done", "begun"]
    assert [act.at for act in acts[1:]] == [long.at, short.at, last.at]
    assert [*newest_acts(file)] == acts[::-1]


def test_a_file_that_is_moved_aside_while_it_is_read_gives_no_act_twice(file: Path) -> None:
    for number in range(3):
        end(file, begin(file, f"act {number}", "user:ann"), "done")
    acts = newest_acts(file)
    found = [next(acts).what]
    file.replace(file.with_name("audit.jsonl.1"))
    assert [*found, *(act.what for act in acts)] == ["act 2", "act 1", "act 0"]


def test_lines_of_many_at_once_are_whole(file: Path) -> None:
    def act(number: int) -> None:
        for _ in range(10):
            end(file, begin(file, "x" * 500, f"user:{number}"), "done")

    threads = [threading.Thread(target=act, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 80
    assert {act.outcome for act in read_acts(file)} == {"done"}
