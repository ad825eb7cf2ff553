"""Encodings and delimiters, from the bytes alone."""

import gzip

import pytest

from validation.errors import SourceError
from validation.profile.extracts.text_files import guess_encoding, read_text, sniff_delimiter

FRENCH = "id;nom\n1;Café crème\n2;Théière\n3;Gâteau\n" * 5


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"), ("cp1252", "cp1252"),
    ],
)  # fmt: skip
def test_an_encoding_is_found_and_reads_the_text(tmp_path, written, found):
    file = tmp_path / "a.csv"
    file.write_bytes(FRENCH.encode(written))
    text = read_text(file, 1 << 20)
    assert text.encoding == found
    assert text.lines == FRENCH
    assert text.is_whole


def test_cyrillic_is_no_western_text():
    text = "id,название\n1,Чашка синяя большая\n2,Тарелка белая глубокая\n3,Книга о путешествиях\n" * 10
    encoding, evidence = guess_encoding(text.encode("cp1251"))
    assert encoding == "cp1251"
    assert "Чашка" in evidence


def test_bytes_that_cp1252_lacks_are_latin_1():
    assert guess_encoding("a,é\x8d\n".encode("latin-1"))[0] == "latin-1"


def test_a_broken_place_in_utf_8_is_still_utf_8():
    encoding, evidence = guess_encoding("Café ".encode() * 50 + b"\xff\n")
    assert encoding == "utf-8"
    assert "1 places are no UTF-8" in evidence


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_mark_between_columns_is_found(delimiter):
    rows = [["id", "name", "price"], *([str(n), f"thing {n}", f"{n}.5"] for n in range(30))]
    text = "".join(delimiter.join(row) + "\n" for row in rows)
    assert sniff_delimiter(text, ".csv")[0] == delimiter


def test_commas_within_quotes_do_not_count():
    text = 'a;b\n"x, y, z";1\n"p, q, r";2\n'
    assert sniff_delimiter(text, ".csv")[0] == ";"


def test_decimal_commas_do_not_part_columns():
    text = "id;price;day\n" + "".join(f"{n};{n},50;2024-01-{1 + n % 28:02d}\n" for n in range(40))
    assert sniff_delimiter(text, ".csv")[0] == ";"


def test_only_the_first_whole_lines_are_read(tmp_path):
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"id,n\n" + b"1,2\n" * 1000))
    text = read_text(file, 102)
    assert not text.is_whole
    assert text.lines == "id,n\n" + "1,2\n" * 24


def test_a_damaged_gzip_file_is_named(tmp_path):
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"id,n\n" + b"1,2\n" * 1000)[:-20])
    with pytest.raises(SourceError, match="gzip stream ends badly"):
        read_text(file, 1 << 20)
