"""Personal data become marks; prices, model numbers and years stay."""

from __future__ import annotations

import time

import pytest

from core.settings.validation import PERSONAL_DATA, CleaningSettings, PersonalData
from validation.masking.marks import MARKS, numbers_of
from validation.masking.mask import PersonalDataMask

MASK = PersonalDataMask(PERSONAL_DATA, CleaningSettings().regions)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to jo.doe@example.com now", "write to <EMAIL> now"),
        ("mail a@b.com or c@d.org", "mail <EMAIL> or <EMAIL>"),
        ("jo (dot) doe (at) example (dot) com", "<EMAIL>"),
        ("mail jo at example dot com please", "mail <EMAIL> please"),
        ("call 212-555-0187 or (415) 555-2671", "call <PHONE> or <PHONE>"),
        ("+44 20 7946 0958 is his", "<PHONE> is his"),
        ("9876543210 on whatsapp", "<PHONE> on whatsapp"),
        ("appelez le 06 12 34 56 78", "appelez le <PHONE>"),
        ("mein Büro: 030 23125 100", "mein Büro: <PHONE>"),
        ("my card 4111 1111 1111 1111 was billed", "my card <CARD> was billed"),
        ("paid by 2223-0000-4841-0010", "paid by <CARD>"),
        ("he lives at 12 Baker Street, apt 4b, up there", "he lives at <ADDRESS>, up there"),
        ("ich wohne Zahngasse 8/7 und", "ich wohne <ADDRESS> und"),
        ("livrez au 12 bis, rue de la Paix svp", "livrez au <ADDRESS> svp"),
        ("vivo en Calle de Alcalá, 12 y ya", "vivo en <ADDRESS> y ya"),
        ("abito in Via Roma, 12 a Torino", "abito in <ADDRESS> a Torino"),
        ("to DE89 3704 0044 0532 0130 00 please", "to <IBAN> please"),
        ("my account number is 49219459", "my account number is <ACCOUNT>"),
        ("auf Konto 4921 945 984 bitte", "auf Konto <ACCOUNT> bitte"),
        ("to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT or", "to <WALLET> or"),
        ("0x52908400098527886E0F7030069857D2E4169EE7", "<WALLET>"),
        ("Hello, my name is Ada King and", "Hello, my name is <PERSON> and"),
        ("Ich heiße Anna von Müller, danke", "Ich heiße <PERSON>, danke"),
        ("Je m'appelle Zoé. Merci", "Je m'appelle <PERSON>. Merci"),
        ("me llamo José García", "me llamo <PERSON>"),
        ("mi chiamo Ugo Foscolo", "mi chiamo <PERSON>"),
        ("A fine lamp. Kind regards, Ada King", "A fine lamp. Kind regards, <PERSON>"),
        ("A fine lamp. - Ada King", "A fine lamp. - <PERSON>"),
        ("my username is kitty_12 there", "my username is <USERNAME> there"),
        ("thanks to @kitty_12!", "thanks to <USERNAME>!"),
        ("born on 12 May 1988, still fit", "born on <BIRTH_DATE>, still fit"),
        ("ich bin am 02.03.1971 geboren", "ich bin am <BIRTH_DATE> geboren"),
        ("my SSN 536-90-4399 leaked", "my SSN <NATIONAL_ID> leaked"),
        ("536-90-4399", "<NATIONAL_ID>"),
        ("NIR 2 55 08 14 168 025 38", "NIR <NATIONAL_ID>"),
        ("255081416802538", "<NATIONAL_ID>"),
        ("DNI 12345678Z", "DNI <NATIONAL_ID>"),
        ("RSSMRA85T10A562S", "<NATIONAL_ID>"),
        ("meine USt-IdNr. DE136695976", "meine USt-IdNr. <TAX_ID>"),
        ("PAN AFZPK7190K", "PAN <TAX_ID>"),
        ("NHS number 943 476 5919", "NHS number <HEALTH_ID>"),
        ("1EG4-TE5-MK73", "<HEALTH_ID>"),
        ("Reisepass C01X00T47 gezeigt", "Reisepass <PASSPORT> gezeigt"),
        ("driver's license D1234567 shown", "driver's license <DRIVER_LICENSE> shown"),
        ("the car with number plate AB12 CDE", "the car with number plate <PLATE>"),
        ("Kennzeichen M-AB 1234 war", "Kennzeichen <PLATE> war"),
        ("does it fit 1M8GDM9AXKP042788?", "does it fit <VIN>?"),
        ("camera at 84.72.13.5 is open", "camera at <IP> is open"),
        ("or 2001:db8:85a3::8a2e:370:7334", "or <IP>"),
        ("paired with 3A:7B:91:64:7D:EC", "paired with <MAC>"),
        ("see https://jo:secret@files.example.com/a", "see <URL>"),
        ("see https://example.com/d?id=7&token=00ff00ff", "see <URL>"),
        ("I am https://www.instagram.com/kitty12/", "I am <URL>"),
    ],
)
def test_personal_data_are_masked(text: str, masked: str) -> None:
    result, found = MASK.apply(text)
    assert result == masked
    assert {MARKS[kind] for kind in numbers_of(found)} == {mark for mark in MARKS.values() if mark in masked}
    assert MASK.apply(result) == (result, 0)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 212\u00a0555\u00a00187", "call <PHONE>"),
        ("call 212\u202f555\u202f0187", "call <PHONE>"),
        ("call 212\u2013555\u20130187", "call <PHONE>"),
        ("call 212\u2011555\u20110187", "call <PHONE>"),
        ("call 212\u2012555\u20120187", "call <PHONE>"),
        ("call 212\u2022555\u20220187", "call <PHONE>"),
        ("call 212\u200b555\u200b0187", "call <PHONE>"),
        ("call ２１２-５５５-０１８７", "call <PHONE>"),
        ("call ٢١٢-٥٥٥-٠١٨٧", "call <PHONE>"),
        ("call २१२-५५५-०१८७ ok", "call <PHONE> ok"),
        ("to jo\uff20example.com", "to <EMAIL>"),
        ("to jo@exam\u00adple.com", "to <EMAIL>"),
        ("to ｊｏ＠ｅｘａｍｐｌｅ．ｃｏｍ", "to <EMAIL>"),
        ("card 4111\u20111111\u20111111\u20111111", "card <CARD>"),
        ("my\u00a0name\u202fis Ada", "my\u00a0name\u202fis <PERSON>"),
        ("Je m\u2019appelle Zoé", "Je m\u2019appelle <PERSON>"),
        ("😀👩\u200d💻 call 212-555-0187", "😀👩\u200d💻 call <PHONE>"),
    ],
)
def test_separators_and_digits_of_any_script_are_seen_through(text: str, masked: str) -> None:
    assert MASK.apply(text)[0] == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("โทร+66812345678นะ", "โทร<PHONE>นะ"),
        ("电话+86 138 1234 5678谢谢", "电话<PHONE>谢谢"),
        ("谢谢，+86 138 1234 5678。", "谢谢，<PHONE>。"),
        ("ナンバー+81 90-1234-5678です", "ナンバー<PHONE>です"),
        ("है+91 98765 43210पर", "है<PHONE>पर"),
        ("邮件jo@example.com谢谢", "邮件<EMAIL>谢谢"),
        ("jo@example.com。谢谢", "<EMAIL>。谢谢"),
        ("jo@example.com으로", "<EMAIL>으로"),
        ("谢谢jo (at) example (dot) com谢谢", "谢谢<EMAIL>谢谢"),
        ("राम (at) example (dot) com", "<EMAIL>"),
        ("राम.k@example.com पर", "<EMAIL> पर"),
        ("mu\u0308ller (at) example (dot) de", "<EMAIL>"),
        ("用户@例子.公司", "<EMAIL>"),
        ("用户@例子.公司谢谢", "<EMAIL>谢谢"),
        ("卡号4111 1111 1111 1111谢谢", "卡号<CARD>谢谢"),
        ("护照passport号码C01X00T47谢谢", "护照passport号码<PASSPORT>谢谢"),
        ("感谢@kitty_12谢谢", "感谢<USERNAME>谢谢"),
        ("ip是84.72.13.5。", "ip是<IP>。"),
        ("看https://jo:s3@x.com/a", "看<URL>"),
        ("看www.facebook.com/kitty.cat谢谢", "看<URL>谢谢"),
        ("见https://x.com/?token=ab12谢谢大家", "见<URL>谢谢大家"),
        ("https://x.com/?token=ab12。Great", "<URL>。Great"),
        ("https://x.com/用户/a？token=ab12，谢谢", "<URL>，谢谢"),
        ("“https://x.com/?token=ab12”", "“<URL>”"),
        ("https://例子.com/?user=李明谢谢", "<URL>"),  # where a value ends nothing tells
        ("https://x.com/?name=李明&user=jo谢谢", "<URL>谢谢"),
        ("ดูhttps://x.com/?token=ab12นะ", "ดู<URL>นะ"),
        ("例子.com/?token=abc12", "<URL>"),
        ("很好。- Ada King", "很好。- <PERSON>"),
        ("ℹ\ufe0f+44 20 7946 0958", "ℹ\ufe0f<PHONE>"),
    ],
)
def test_letters_without_case_part_what_stands_between_them(text: str, masked: str) -> None:
    assert MASK.apply(text)[0] == masked
    assert MASK.apply(masked) == (masked, 0)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Great lamp. 电话13812345678", "Great lamp. 电话<PHONE>"),
        ("我的手机号码是 138 1234 5678。", "我的手机号码是 <PHONE>。"),
        ("手机13812345678wx同号", "手机<PHONE>wx同号"),
        ("微信：12345678", "微信：<PHONE>"),
        ("Tel13812345678", "Tel<PHONE>"),
        ("电话Tel13812345678", "电话Tel<PHONE>"),
        ("電話は5551-0234です", "電話は<PHONE>です"),
        ("โทรหาผมที่5551234ครับ", "โทรหาผมที่<PHONE>ครับ"),
        ("मेरा फोन नंबर है 5551234।", "मेरा फोन नंबर है <PHONE>।"),
        ("전화번호는 555-1234", "전화번호는 <PHONE>"),
        ("010-1234-5678로 전화 주세요", "<PHONE>로 전화 주세요"),
        ("звоните по номеру 5551234", "звоните по номеру <PHONE>"),
        ("zadzwoń pod 512.345.678", "zadzwoń pod <PHONE>"),
        ("erreichen Sie mich unter 5551234", "erreichen Sie mich unter <PHONE>"),
        ("reach me at 5551234", "reach me at <PHONE>"),
        ("ring til nr. 5551234", "ring til nr. <PHONE>"),
        ("LINE ID: 5551234", "LINE ID: <PHONE>"),
        ("bel 5551234", "bel <PHONE>"),
        ("truca'm al 5551234", "truca'm al <PHONE>"),
    ],
)
@pytest.mark.parametrize("regions", [(), ("US",), CleaningSettings().regions])
def test_words_of_any_language_name_a_number(text: str, masked: str, regions: tuple[str, ...]) -> None:
    assert PersonalDataMask(("phone",), regions).apply(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "手机型号12345678很好",
        "手机 2019-05-12 买的",
        "I got the phone on 2019-05-12",
        "买了手机。20240115 到货",
        "订单号12345678",
        "โทรทัศน์12345678",
        "휴대폰 케이스 12345678",
        "điện thoại 5.000.000 đồng",
        "휴대폰 1200000원",
        "手机2000-3000元",
        "スマホは10000-20000円",
        "Handphone 2.500.000 rupiah",
        "телефон 1250000 руб.",
        "มือถือ 1250000 บาท",
        "买了手机，20240115 到货",
        "mobile 1999-2005",
        "GSM 900/1800/1900",
        "reach 1000000 clicks",
        "bereiken 1000000 klanten",
        "product line 2015-2016",
        "the line: 12345678",
        "dial 0-100-200-300",
        "Ring 2012/2013",
        "Saw ring nr. 1234567",
        "Ringe Nr. 1234567",
        "erreicht 1.250.000 Umdrehungen",
        "marque 20150187",
        "la marca 1234567",
        "belt 754-04060",
        "Tonka truck 1234567",
        "Trucks 2012-2014",
    ],
)
@pytest.mark.parametrize("regions", [(), CleaningSettings().regions])
def test_numbers_of_things_to_call_with_stay(text: str, regions: tuple[str, ...]) -> None:
    assert PersonalDataMask(("phone",), regions).apply(text) == (text, 0)


def test_a_thai_word_names_a_number_that_follows_without_a_space() -> None:
    mask = PersonalDataMask(("national_id",), ("TH",))
    assert mask.apply("เลขประจำตัวประชาชน1234567890121ครับ")[0] == "เลขประจำตัวประชาชน<NATIONAL_ID>ครับ"


@pytest.mark.parametrize(
    "text",
    [
        "paid $1,299.00 and 1,499.00",
        "paid 1200 1300 1400 1500",
        "12.5 25.5 99.9 10.0",
        "1,25,000.00 rupees",
        "bought in 2012 2013 2014",
        "from 1998-2004, then 2005-2010",
        "2014-02-28 10:30 it came",
        "ordered 05-12-2019 08:37",
        "model 2125550187 is fine",
        "型番SM2015550187は",
        "кодé2015550187",
        "2024年01月15日, 12.500.000元",
        "the SM58-2015550187",
        "serial no. 020 7946 0958",
        "straps by Fender 099-0502-000",
        "4111 1111 1111 1112 is no card",
        "EAN 4006381333931",
        "7 days down the road",
        "5 minutes from the main road",
        "Featuring 3 modes, via USB 3",
        "@ 5 pm",
        "better at this point in time",
        "firmware 1.2.3.4, iOS 17.4.1.2",
        "ratio 16:9 at 12:30:45",
        "my name for it is trouble",
        "Regards to the designer",
        "Loved it. - Highly Recommended",
        "I'm Happy with the Harry Potter mug",
        "the handle is hard, installed as usual",
        "a license plate frame, 2 pack",
        "a passport cover, 100 x 140 mm",
        "Born in the USA, five stars",
        "https://example.com/products/2125550187?color=red",
        "https://www.instagram.com/p/abc/",
    ],
)
def test_other_numbers_and_words_stay(text: str) -> None:
    assert MASK.apply(text) == (text, 0)


def test_only_what_is_asked_for_is_masked() -> None:
    mask = PersonalDataMask(("email",), ("US",))
    assert mask.apply("a@b.com, 212-555-0187") == ("<EMAIL>, 212-555-0187", 1)


@pytest.mark.parametrize(
    ("region", "text", "kind"),
    [
        ("FI", "131052-308T", "national_id"),
        ("PL", "PESEL 44051401359", "national_id"),
        ("KR", "RRN 900101-1234567", "national_id"),
        ("ES", "X1234567L", "national_id"),
        ("DE", "DE136695976", "tax_id"),
        ("FR", "FR83404833048", "tax_id"),
        ("US", "1EG4-TE5-MK73", "health_id"),
    ],
)
def test_forms_of_a_country_count_where_the_settings_name_it(region: str, text: str, kind: PersonalData) -> None:
    assert [one.kind for one in PersonalDataMask((kind,), (region,)).find(text)] == [kind]
    if " " not in text:
        assert PersonalDataMask((kind,), ("TH",)).find(text) == []


def test_two_kinds_in_one_place_are_one_mark() -> None:
    assert MASK.apply("see https://example.com/?email=jo@example.com")[0] == "see <URL>"
    assert MASK.apply("card 4111 1111 1111 1111")[0] == "card <CARD>"


def test_marks_that_stand_in_a_text_already_stay() -> None:
    text = "my name is <PERSON>, call <PHONE> or 212-555-0187"
    assert MASK.apply(text)[0] == "my name is <PERSON>, call <PHONE> or <PHONE>"


def test_a_link_that_breaks_off_ever_again_takes_no_longer() -> None:
    text = " ".join(["https://" + "a谢" * 900] * 10)
    began = time.process_time()
    assert MASK.find(text) == []
    assert time.process_time() - began < 30  # a tenth of a second; minutes where each break is looked at for each start


def test_a_link_that_is_personal_behind_many_breaks_is_masked_as_a_whole() -> None:
    assert MASK.apply("看https://x.com/" + "a谢" * 40 + "?token=ab12 ok")[0] == "看<URL> ok"
