"""The pictures of the documents: each is there and small, is of a page that exists, and can be taken again."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from PIL import Image

from core.settings.tree import Settings
from docs.site.pictures import MOST_BYTES, PICTURES, TOUR, main
from serving.web.routes import page_routes
from tests.contract.documents import ALL, name_of, read

MOST_BYTES_TOGETHER = 1_000_000
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


@pytest.mark.parametrize("document", ALL, ids=name_of)
def test_every_picture_that_a_document_shows_is_there_and_described(document):
    for words, target in _IMAGE.findall(read(document)):
        assert (document.parent / target).is_file(), target
        assert len(words) > 20, f"{target} lacks a description for those who do not see it"


def test_every_picture_is_shown_and_can_be_taken_again():
    shown = {target for _, target in _IMAGE.findall(read(PICTURES.parent / "tour.md"))}
    assert shown == {f"pictures/{picture.name}.png" for picture in TOUR}
    assert shown == {f"pictures/{file.name}" for file in PICTURES.iterdir()}


def test_pictures_are_small():
    sizes = {file.name: file.stat().st_size for file in PICTURES.iterdir()}
    assert not {name: size for name, size in sizes.items() if not 5_000 < size < MOST_BYTES}
    assert sum(sizes.values()) < MOST_BYTES_TOGETHER


@pytest.mark.parametrize("picture", TOUR, ids=lambda picture: picture.name)
def test_a_picture_is_as_large_as_it_is_taken(picture):
    with Image.open(PICTURES / f"{picture.name}.png") as shot:
        assert shot.format == "PNG"
        assert shot.height == picture.height


def test_every_page_that_is_taken_exists():
    pages = {route.path for route in page_routes(Settings())}
    taken = {urlsplit(picture.path).path for picture in TOUR if picture.part == "service"}
    assert taken <= pages
    assert "/app/explore" in taken


def test_a_picture_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(SystemExit, match=r"no such picture: fronts\. Known: front, explore, .*"):
        main(["fronts"])
