"""A word beside a number names it a telephone's, in each language and in no other tie."""

import re

import pytest
from stop_words import AVAILABLE_LANGUAGES

from core.words import telephones
from core.words.telephones import is_date, names_telephone

_SPOKEN = {
    "arabic": "رقم هاتفي: اتصل بي على 5551234",
    "bulgarian": "обадете се на номер 5551234",
    "catalan": "truqueu al 5551234",
    "chinese": "请拨打我的电话5551234",
    "czech": "volejte na číslo 5551234",
    "danish": "ring til mig på 5551234",
    "dutch": "bel me op 5551234",
    "english": "call me at 5551234",
    "finnish": "soita minulle numeroon 5551234",
    "french": "appelez-moi au 5551234",
    "german": "rufen Sie uns an unter 5551234",
    "greek": "καλέστε στο 5551234",
    "gujarati": "મારો ફોન નંબર 5551234",
    "hebrew": "התקשרו אל 5551234",
    "hindi": "मेरा मोबाइल नंबर है 5551234",
    "hungarian": "hívjon a 5551234",
    "indonesian": "hubungi saya di nomor 5551234",
    "italian": "mi chiami al 5551234",
    "japanese": "電話番号は5551234",
    "korean": "휴대폰 번호는 5551234",
    "malaysian": "telefon saya 5551234",
    "norwegian": "ring meg på 5551234",
    "persian": "تماس با شماره 5551234",
    "polish": "proszę dzwonić pod numer 5551234",
    "portuguese": "ligue para o 5551234",
    "romanian": "sunați-mă la 5551234",
    "russian": "позвоните мне по номеру 5551234",
    "slovak": "zavolajte mi na 5551234",
    "spanish": "llámame al 5551234",
    "swedish": "ring mig på 5551234",
    "thai": "เบอร์โทรศัพท์ของผมคือ5551234",
    "turkish": "telefon numaram: 5551234",
    "ukrainian": "дзвоніть за номером 5551234",
    "vietnamese": "liên hệ qua số 5551234",
}


def _is_named(text: str) -> bool:
    found = re.search(r"\d+", text)
    assert found
    return names_telephone(text, *found.span())


@pytest.mark.parametrize("language", _SPOKEN)
def test_a_number_is_named_in_each_language(language: str) -> None:
    assert _is_named(_SPOKEN[language])
    assert not _is_named(re.sub(r"(?=\d{7})", "x ", _SPOKEN[language]))


def test_no_language_of_the_stop_words_is_left_out() -> None:
    assert set(_SPOKEN) == {*AVAILABLE_LANGUAGES, "thai"}


@pytest.mark.parametrize(
    "text",
    [
        "recalled 5551234", "a hotel 5551234", "手机。5551234", "手机序列号5551234", "電話帳5551234", "फोनी 5551234",
        "อีโทรทัศน์5551234", "order 5551234", "订单号5551234", "주문번호 5551234", "Handyhülle 5551234",
    ],
)  # fmt: skip
def test_other_numbers_are_not(text: str) -> None:
    end = len(text)
    assert not names_telephone(text, end - 7, end)


@pytest.mark.parametrize("text", ["5551234に電話", "5551234로 전화 주세요", "5551234 पर कॉल करें"])
def test_words_behind_a_number_name_it_where_the_language_says_so(text: str) -> None:
    assert _is_named(text)


@pytest.mark.parametrize(
    ("number", "is_one"),
    [("2024-01-15", True), ("15.1.2024", True), ("15/01/2024 12", True), ("555-01-15", False), ("15-01-24", False)],
)
def test_a_day_with_its_year_is_told(number: str, is_one: bool) -> None:
    assert is_date(number) == is_one


def test_joined_names_are_words_that_name_a_number() -> None:
    assert all(_is_named(f"{word}5551234") for word in telephones.JOINED_BEFORE)
