"""What the newest validation found is read by later versions of the code too."""

import json

import pytest

from core.layout import Layout
from flows.errors import NothingValidated
from flows.last_validation import keep_validation, read_last_validation, require_validation
from validation.summary import ValidationSummary


def test_what_another_version_wrote_is_no_validation_and_stops_no_run(tmp_path):
    layout = Layout(tmp_path, "shop")
    assert read_last_validation(layout) is None
    clean = layout.clean("c1")
    clean.mkdir(parents=True)
    summary = ValidationSummary(folder=clean, docs=tmp_path / "index.html", gx_success=True, tables={})
    keep_validation(layout, summary)
    assert read_last_validation(layout) == require_validation(layout) == summary
    tree = json.loads(layout.last_validation.read_text())
    for other in ({**tree, "tables": ["interactions"]}, {"folder": str(clean)}, []):
        layout.last_validation.write_text(json.dumps(other))
        assert read_last_validation(layout) is None
        with pytest.raises(NothingValidated, match="Run the pipeline: sommelier run pipeline"):
            require_validation(layout)


def test_a_work_folder_that_lies_elsewhere_now_keeps_its_validation(tmp_path):
    there, here = Layout(tmp_path / "there", "shop"), Layout(tmp_path / "here", "shop")
    there.clean("c1").mkdir(parents=True)
    summary = ValidationSummary(folder=there.clean("c1"), docs=tmp_path / "index.html", gx_success=True, tables={})
    keep_validation(there, summary)
    there.work_dir.rename(here.work_dir)
    assert require_validation(here).folder == here.clean("c1")
    here.clean("c1").rmdir()
    with pytest.raises(NothingValidated, match="shop=shop"):
        require_validation(here)
