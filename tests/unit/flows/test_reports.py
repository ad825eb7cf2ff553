"""The first page links what is there, newest first."""

import os
import re

from flows.reports import DATA_DOCS, DRIFT, write_index
from recommender.layout import Layout


def test_reports_are_linked_newest_first_and_only_where_they_exist(tmp_path):
    layout = Layout(tmp_path, "small")
    for name, pages, made_at in (("old", [DATA_DOCS, DRIFT], 1000), ("new", [DATA_DOCS], 2000)):
        for page in pages:
            (layout.reports / name / page).parent.mkdir(parents=True, exist_ok=True)
            (layout.reports / name / page).write_text("x")
        os.utime(layout.reports / name, (made_at, made_at))
    links = re.findall(r'href="([^"]+)"', write_index(layout).read_text())
    assert links == ["new/data-docs/index.html", "old/data-docs/index.html", "old/drift.html"]
    assert all((layout.reports / link).exists() for link in links)
