"""Builds the site: `python -m docs.site FOLDER` writes it to FOLDER/site, without the network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import tomli_w

from docs.site.pages import API_PAGE, DOCS, SETTINGS_PAGE, navigation, page_text, sources
from docs.site.references import api_page, settings_page


def build(folder: Path) -> Path:
    """Write the pages below a folder, and the site that is made of them.

    Args:
        folder: What an earlier build left in it is replaced.
    Returns:
        The folder of the site; its index.html is where to begin.
    Raises:
        subprocess.CalledProcessError: a link leads nowhere, or the generator failed; what it printed says which.
    """
    pages = folder / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    for source, page in sources().items():
        (pages / page).write_text(page_text(source), encoding="utf-8")
    if (DOCS / "pictures").is_dir():
        shutil.copytree(DOCS / "pictures", pages / "pictures")
    (pages / SETTINGS_PAGE).write_text(settings_page(), encoding="utf-8")
    (pages / API_PAGE).write_text(api_page(), encoding="utf-8")
    tree = tomllib.loads(Path(__file__).with_name("zensical.toml").read_text(encoding="utf-8"))
    tree["project"]["nav"] = navigation((DOCS / "index.md").read_text(encoding="utf-8"))
    config = folder / "zensical.toml"
    config.write_text(tomli_w.dumps(tree), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(config)]
    subprocess.run(command, check=True, cwd=folder)
    return folder / "site"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Cannot build the site: expected one folder to write to. python -m docs.site build/docs")
    sys.stdout.write(f"site: {build(Path(sys.argv[1]).resolve()) / 'index.html'}\n")
