"""The notebooks are kept without outputs, and are pages of the site."""

from __future__ import annotations

import json

import pytest

from docs.site.notebooks import as_markdown, read_cells
from docs.site.pages import NOTEBOOKS, sources
from tests.contract.documents import DOCS, anchors, fenced, links, read

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("notebook", ALL, ids=lambda notebook: notebook.name)
def test_no_output_is_kept(notebook):
    cells = [cell for cell in json.loads(read(notebook))["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert not [cell for cell in cells if cell["outputs"] or cell["execution_count"] is not None]


@pytest.mark.parametrize("notebook", ALL, ids=lambda notebook: notebook.name)
def test_its_links_lead_somewhere(notebook):
    targets = links(as_markdown(notebook))
    assert targets
    for target in targets:
        path, _, anchor = target.partition("#")
        file = (notebook.parent / path).resolve()
        assert file.is_file(), target
        assert not anchor or anchor in anchors(read(file)), target


@pytest.mark.parametrize("notebook", ALL, ids=lambda notebook: notebook.name)
def test_it_is_a_page_with_all_its_code(notebook):
    blocks = fenced(as_markdown(notebook), "python")
    assert [block.rstrip("\n") for block in blocks] == [
        cell["source"] for cell in read_cells(notebook) if cell["cell_type"] == "code"
    ]
    name = f"docs/notebooks/{notebook.name}"
    assert name in sources()
    assert name.removeprefix("docs/") in links(read(DOCS / "index.md"))
