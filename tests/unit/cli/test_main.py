"""The command line resolves settings, and answers an error with one sentence and status 1."""

from cli.main import main


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


def test_an_unknown_setting_is_named(capsys):
    assert main(["settings", "--set", "recipe.sequence.widht=32"]) == 1
    assert "recipe.sequence.widht=32" in capsys.readouterr().err
