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
        ("See https://shop.example/a?b=1 and www.shop.example.", "See <URL> and <URL>."),
    ],
)
def test_contacts_are_masked(text, masked):
    assert mask_contacts(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "I paid $1,299.99 in 2014 for a 100-watt amp, and 5/5 stars.",
        "Strings 10-13-17-26-36-46 fit.",
        "The SM58 and the DS-1 @ home.",
        "Bought 3 in 2012, 2 in 2013.",
    ],
)
def test_numbers_of_reviews_stay(text):
    assert mask_contacts(text) == text
