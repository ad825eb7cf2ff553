"""Contacts never leave the writer."""

import pytest

from recommender.writing import contacts
from recommender.writing.contacts import mask_contacts
from validation.masking.marks import MARKS


def test_marks_are_those_of_the_data_gate():
    assert (MARKS["email"], MARKS["url"], MARKS["phone"]) == (contacts.EMAIL, contacts.URL, contacts.PHONE)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to joe.b+shop@mail.example.com, he knows.", "Write to <EMAIL>, he knows."),
        ("Write to joe.b+shop@mail.", "Write to <EMAIL>."),  # its end was cut off
        ("Call (555) 010-9999 or +44 20 7946 0018!", "Call <PHONE> or <PHONE>!"),
        ("Ring 01 23 45 67 89 or 5550109999.", "Ring <PHONE> or <PHONE>."),
        ("Call 5550199, or tel.: 12.345.678.", "Call <PHONE>, or tel.: <PHONE>."),
        ("He has 555-0199 or 612.345.678, or 555.010.9999.", "He has <PHONE> or <PHONE>, or <PHONE>."),
        ("He has 01.250.000 or 09.01.24.33.", "He has <PHONE> or <PHONE>."),
        ("My number is 5550199.", "My number is <PHONE>."),
        ("It says 2024-01-15 999 there.", "It says <PHONE> there."),  # a date and more
        ("โทรที่0812345678นะ", "โทรที่<PHONE>นะ"),
        ("电话13812345678谢谢", "电话<PHONE>谢谢"),
        ("邮件jo@example.com谢谢", "邮件<EMAIL>谢谢"),
        ("อีเมลjo@example.comครับ", "อีเมล<EMAIL>ครับ"),
        ("राम@example.com", "<EMAIL>"),
        ("मेल राम.कुमार@हिंदी.भारत पर", "मेल <EMAIL> पर"),
        ("देखें www.दुकान.भारत/हिंदी ठीक", "देखें <URL> ठीक"),
        ("用户@例子.com谢谢", "<EMAIL>谢谢"),
        ("见https://shop.example/a?b=1谢谢大家", "见<URL>谢谢大家"),
        ("见www.shop.example，谢谢", "见<URL>，谢谢"),
        ("见https://shop.example。Fine", "见<URL>。Fine"),
        ("见https://shop.example/用户/jo谢谢", "见<URL>谢谢"),
        ("见https://例子.example/用户 谢谢", "见<URL> 谢谢"),
        ("“https://shop.example/a”, he says", "“<URL>”, he says"),
        ("手机1234567, 手机12345678wx同号", "手机<PHONE>, 手机<PHONE>wx同号"),
        ("Mein Handy: 5551234, Tel5551234.", "Mein Handy: <PHONE>, Tel<PHONE>."),
        ("फोन नंबर 5551234 है", "फोन नंबर <PHONE> है"),
        ("5551234に電話して", "<PHONE>に電話して"),
        ("erreichbar unter 5551234, truca'm al 5551234", "erreichbar unter <PHONE>, truca'm al <PHONE>"),
        ("See https://shop.example/a?b=1 and www.shop.example.", "See <URL> and <URL>."),
    ],
)
def test_contacts_are_masked(text, masked):
    assert mask_contacts(text) == masked


@pytest.mark.parametrize("number", ["5551234", "91234567", "12.345.678"])
@pytest.mark.parametrize(
    "before",
    [
        "call me at", "call me", "Call us on", "text us at", "my number:", "phone number:", "telephone no.",
        "whatsapp me:", "my cell is", "contact me:", "reach me on", "SMS", "ring us on", "His no. is", "dial",
        "the number is", "texted him at",
    ],
)  # fmt: skip
def test_what_may_be_called_is_masked_whatever_stands_between(before: str, number: str) -> None:
    assert mask_contacts(f"They are nice, {before} {number}.") == f"They are nice, {before} <PHONE>."


@pytest.mark.parametrize(
    "text",
    [
        "A number of people, 1234567 of them, called it a toy of 1250000 parts.",
        "I paid $1,299.99 in 2014 for a 100-watt amp, and 5/5 stars.",
        "Strings 10-13-17-26-36-46 fit.",
        "The SM58 and the DS-1 @ home.",
        "Bought 3 in 2012, 2 in 2013.",
        "I bought it on 2024-01-15 for 1234567 people. Order 12.500.000 now",
        "On 05.01.2024 and 1-5-2023, at 2024-01-15 12:30, from 2012-2014 and 2012 - 2014.",
        "Part 12345678 of 1.250.000.",
        "I got the phone on 2024-01-15.",
        "手机型号12345678、手机 2024-01-15",
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
        "Tonka truck 1234567",
        "Trucks 2012-2014",
        "型番SM2015550187は、2024-01-15に12.500.000円",
    ],
)
def test_numbers_of_reviews_stay(text):
    assert mask_contacts(text) == text
