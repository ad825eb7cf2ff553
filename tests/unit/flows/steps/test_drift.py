"""Where a drift report lies."""

from pathlib import Path

from core.layout import Layout
from flows.steps.drift import _page
from flows.steps.step import Output


def test_reports_of_other_settings_or_cut_offs_do_not_overwrite_each_other():
    layout, clean = Layout(Path("work"), "shop"), Output(Path("clean"), "c1", None)
    one, two = (_page(layout, key, {"clean": clean}) for key in ("k1", "k2"))
    assert one != two
    assert one.parent == two.parent
