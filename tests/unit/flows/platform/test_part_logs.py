"""The parts' logs go on over restarts, and are cut before they fill the disk."""

from flows.platform.part_logs import last_lines, open_log, rotate


def test_a_log_goes_on_where_the_last_start_ended(tmp_path):
    for word in (b"one\n", b"two\n"):
        with open_log(tmp_path / "logs" / "part.log") as output:
            begins = output.tell()
            output.write(word)
    lines = (tmp_path / "logs" / "part.log").read_text().splitlines()
    assert [line for line in lines if not line.startswith("== started")] == ["one", "two"]
    assert len(lines) == 4
    assert last_lines(tmp_path / "logs" / "part.log", 5, begins) == ["two"]
    assert last_lines(tmp_path / "logs" / "part.log", 3) == ["one", lines[2], "two"]


def test_a_log_that_a_part_writes_to_is_cut_and_the_last_few_stay(tmp_path):
    log = tmp_path / "part.log"
    with open_log(log) as output:
        for number in range(1, 6):
            output.write(f"{number}\n".encode() * 100)
            output.flush()
            assert rotate(log, max_bytes=100, kept=3)
            assert not rotate(log, max_bytes=100, kept=3)
        output.write(b"last\n")
    assert log.read_bytes() == b"last\n"
    assert {path.name: path.read_text()[:1] for path in tmp_path.glob("part.log.*")} == {
        "part.log.1": "5",
        "part.log.2": "4",
        "part.log.3": "3",
    }
