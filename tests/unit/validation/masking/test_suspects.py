"""The quick patterns let every text through in which something is found, however its signs are written."""

from __future__ import annotations

import duckdb
import pytest

from core.settings.validation import PERSONAL_DATA, CleaningSettings
from validation.masking.mask import PersonalDataMask
from validation.masking.normalisation import plain_characters

MASK = PersonalDataMask(PERSONAL_DATA, CleaningSettings().regions)


@pytest.mark.parametrize(
    "text",
    [
        "It works. - Ada King", "It works! ~ Ada King", "hi! i'm Ada King", "jo (at) x (dot) com", "jo@x.com",
        "12 N. Mary Street, apt 4", "12 bis, rue de la Paix", "Calle Mayor, 3", "my card 4111-1111-1111-1111",
        "call (415) 555/2671", "84.72.13.5", "3A:7B:91:64:7D:EC", "NHS: 1EG4-TE5-MK73", "https://jo:s3@x.com/a",
    ],
)  # fmt: skip
def test_what_is_found_is_suspected_with_each_sign_as_any_script_writes_it(text: str) -> None:
    texts = [
        text.replace(plain, chr(number))
        for number, plain in plain_characters().items()
        if plain in text and not plain.isalnum()
    ]
    assert len(texts) > 2
    suspects = duckdb.execute(f"SELECT {MASK.suspect_sql('t')} FROM (SELECT unnest(?) AS t)", [texts]).fetchall()
    missed = [one for one, (suspect,) in zip(texts, suspects, strict=True) if MASK.find(one) and not suspect]
    assert any(MASK.find(one) for one in texts)
    assert not missed
