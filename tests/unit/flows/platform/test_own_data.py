"""`up` with data and no settings: guesses are shown and written down, unsafe ones stop before anything starts."""

from pathlib import Path

import pytest

from cli.main import main
from core.settings.loading import load_settings
from core.settings.tree import Settings
from tests.own_data import write_clicks, write_orders, write_rows
from tests.unit.validation.source_files import csv_bytes, events, write


@pytest.fixture
def ran(monkeypatch, tmp_path) -> list[Settings]:
    """The settings that the platform was started with."""
    started: list[Settings] = []
    monkeypatch.setattr("flows.platform.launch.run_platform", lambda settings, show, **_: started.append(settings))
    monkeypatch.chdir(tmp_path)
    return started


def up(data: Path, *more: str) -> int:
    return main(["up", "--once", "--data", str(data), "--set", "work_dir=w", *more])


def write_questionable(path: Path) -> Path:
    """Two columns that may be the user."""
    rows = [[i % 9, i * 7 % 11, f"p{i % 7}", f"2024-01-{1 + i % 28:02d}"] for i in range(200)]
    return write_rows(path, [["buyer_id", "account_id", "sku", "date"], *rows])


@pytest.mark.parametrize("more", [(), ("--source", "tables")])
def test_data_without_settings_are_guessed_and_written_down(ran, tmp_path, capsys, more):
    data = write_orders(tmp_path / "orders.csv")
    assert up(data, *more) == 0
    shown = capsys.readouterr().out
    assert "interactions from orders.csv: user_id = CustomerID" in shown
    assert "recommend: yes" in shown
    file = tmp_path / "w" / "orders" / "guessed.toml"
    assert f"written to {file}" in shown
    assert ran[0].recipe.source.columns["interactions"]["item_id"] == "StockCode"
    assert main(["up", "--once", "--settings", str(file), "--set", "work_dir=w"]) == 0
    assert ran[1] == ran[0]


def test_the_command_line_wins_over_guesses(ran, tmp_path):
    assert (
        up(write_clicks(tmp_path / "clicks.csv"), "--set", "shop=mine", "--set", "recipe.source.time_zone=Asia/Tokyo")
        == 0
    )
    assert ran[0].shop == "mine"
    assert ran[0].recipe.source.time_zone == "Asia/Tokyo"
    assert (tmp_path / "w" / "mine" / "guessed.toml").exists()


def test_the_contracts_names_are_read_as_ever(ran, tmp_path, capsys):
    write(tmp_path / "shop" / "interactions.csv", csv_bytes(events(200)))
    assert up(tmp_path / "shop", "--source", "tables") == 0
    assert up(tmp_path / "shop") == 0
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "w").exists()
    assert (
        ran[0]
        == ran[1]
        == load_settings(
            None,
            {},
            ["shop=shop", "work_dir=w", "recipe.source.kind=tables", f"recipe.source.path={tmp_path / 'shop'}"],
        )
    )


def test_an_unsafe_guess_stops_with_the_file_and_the_line(ran, tmp_path, capsys):
    assert up(write_questionable(tmp_path / "sales.csv")) == 1
    assert ran == []
    said = capsys.readouterr().err
    file = tmp_path / "w" / "sales" / "guessed.toml"
    (place,) = [word.strip("().") for word in said.split() if "guessed.toml:" in word]
    path, _, line = place.rpartition(":")
    assert Path(path) == file
    assert "QUESTION" in file.read_text().splitlines()[int(line) - 1]
    assert "2 columns may be the user" in said


def test_an_answer_in_the_file_goes_on(ran, tmp_path, capsys):
    data = write_questionable(tmp_path / "sales.csv")
    assert up(data) == 1
    file = tmp_path / "w" / "sales" / "guessed.toml"
    text = file.read_text()
    file.write_text(text.replace('# user_id = "account_id"', 'user_id = "account_id"'))
    assert up(data) == 0
    assert ran[0].recipe.source.columns["interactions"]["user_id"] == "account_id"
    assert "was edited" in capsys.readouterr().out


def test_an_edit_that_answers_nothing_stops_again(ran, tmp_path):
    data = write_questionable(tmp_path / "sales.csv")
    assert up(data) == 1
    file = tmp_path / "w" / "sales" / "guessed.toml"
    file.write_text(file.read_text().replace('kind = "tables"', 'kind = "tables" # mine'))
    assert up(data) == 1
    assert "# mine" in file.read_text()
    assert ran == []


def test_an_answer_on_the_command_line_goes_on(ran, tmp_path):
    rows = [[i % 9, f"p{i % 7}"] for i in range(200)]
    data = write_rows(tmp_path / "pairs.csv", [["user_id", "item_id"], *rows])
    assert up(data) == 1
    assert up(data, "--set", "recipe.source.no_time=file_order") == 0
    assert ran[0].recipe.source.no_time == "file_order"


def test_what_was_not_edited_is_guessed_anew(ran, tmp_path):
    data = write_questionable(tmp_path / "sales.csv")
    assert up(data) == 1
    write_orders(data)
    assert up(data) == 0
    assert ran[0].recipe.source.columns["interactions"]["user_id"] == "CustomerID"


def test_settings_that_are_given_are_not_guessed(ran, tmp_path, capsys):
    data = write_questionable(tmp_path / "sales.csv")
    own = '{"interactions": {"user_id": "buyer_id", "item_id": "sku", "timestamp": "date"}}'
    assert up(data, "--source", "tables", "--set", f"recipe.source.columns={own}") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("how", ["--set", "variable"])
def test_a_kind_that_is_given_in_another_way_is_not_guessed(ran, tmp_path, monkeypatch, how):
    data = write_questionable(tmp_path / "sales.csv")
    if how == "variable":
        monkeypatch.setenv("SOMMELIER_RECIPE__SOURCE__KIND", "amazon-2014")
    assert up(data, *(["--set", "recipe.source.kind=amazon-2014"] if how == "--set" else [])) == 0
    assert ran[0].recipe.source.kind == "amazon-2014"


def test_other_commands_read_data_without_settings_alike(ran, tmp_path, monkeypatch, capsys):
    data = write_orders(tmp_path / "orders.csv")
    assert up(data) == 0
    monkeypatch.setattr("flows.platform.tune.run_search", lambda settings, show: ran.append(settings))
    assert main(["tune", "--data", str(data), "--set", "work_dir=w"]) == 0
    assert ran[1] == ran[0]
    capsys.readouterr()
    assert main(["settings", "--data", str(data), "--set", "work_dir=w"]) == 0
    assert Settings.model_validate_json(capsys.readouterr().out) == ran[0]
    assert main(["quarantine", "list", "--data", str(data), "--set", "work_dir=w"]) == 1
    said = capsys.readouterr().err  # nothing of that shop is validated yet
    assert "shop=orders" in said
    assert "--set shop=<name>" in said


def test_nothing_there_is_one_line(ran, tmp_path, capsys):
    assert up(tmp_path / "nowhere") == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "nowhere" in said


def test_profile_writes_the_settings_and_refuses_to_overwrite(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_orders(tmp_path / "Order Lines.csv")
    assert main(["profile", "Order Lines.csv"]) == 0
    assert "written to order-lines.toml" in capsys.readouterr().out
    assert main(["profile", "Order Lines.csv"]) == 0  # the same text is no loss
    Path("order-lines.toml").write_text("shop = 'mine'\n")
    assert main(["profile", "Order Lines.csv"]) == 1
    assert "order-lines.toml" in capsys.readouterr().err
    assert Path("order-lines.toml").read_text() == "shop = 'mine'\n"
    assert main(["profile", "Order Lines.csv", "--force"]) == 0
    assert load_settings(Path("order-lines.toml")).recipe.source.kind == "tables"


def test_profile_takes_a_name_and_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clicks(tmp_path / "clicks.csv")
    assert main(["profile", "clicks.csv", "--shop", "toys", "--out", "own/toys.toml"]) == 0
    assert load_settings(Path("own/toys.toml")).shop == "toys"


def test_a_questionable_profile_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_questionable(tmp_path / "sales.csv")
    assert main(["profile", "sales.csv"]) == 0
    shown = capsys.readouterr().out
    assert "to be answered:" in shown
    assert "answer its questions" in shown
