"""Presidio is asked where a text looks like what it finds, and nowhere else."""

import subprocess
import sys

import pytest

from validation.masking.devices import find_addresses, find_macs
from validation.masking.identities import _PRESIDIO
from validation.masking.normalisation import normalise
from validation.masking.payment import find_cards, find_wallets
from validation.masking.presidio import CONTEXT, analyze

PLAIN = """
import sys
from validation.masking.mask import PersonalDataMask
from validation.masking.identities import known_regions
from validation.masking.marks import MARKS
mask = PersonalDataMask(tuple(MARKS), sorted(known_regions()))
texts = ["A fine pan: 24 cm, 1.5 kg, bought on 2024-05-01 for 39.90.", "Wine no. 7", "He said: nice; she: no."]
assert [mask.apply(text) for text in texts]
print(sorted(name for name in ("presidio_analyzer", "torch") if name in sys.modules))
"""


def test_the_words_that_announce_a_number_are_presidios():
    from presidio_analyzer import predefined_recognizers

    names = {name for numbers in _PRESIDIO.values() for _, name in numbers}
    assert CONTEXT.keys() == names
    for name in names:
        words = getattr(predefined_recognizers, name)().context or ()
        assert set(CONTEXT[name]) == {word.lower() for word in words}, name


def test_ordinary_texts_load_no_presidio():
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Each form that Presidio's patterns have: what comes before Presidio lets it through.
@pytest.mark.parametrize(
    ("name", "find", "text"),
    [
        ("IpRecognizer", find_addresses, "from 192.168.10.1 on"),
        ("IpRecognizer", find_addresses, "from 1.2.3.4/24 on"),
        ("IpRecognizer", find_addresses, "from 2001:db8::1 on"),
        ("IpRecognizer", find_addresses, "from fe80::1ff:fe23:4567:890a%eth2 on"),
        ("IpRecognizer", find_addresses, "from 2001:0db8:85a3:0000:0000:8a2e:0370:7334 on"),
        ("IpRecognizer", find_addresses, "from ::ffff:10.0.0.1 on"),
        ("IpRecognizer", find_addresses, "from 64:ff9b::192.0.2.33 on"),
        ("MacAddressRecognizer", find_macs, "is 00:1A:2b:3C:4d:5E"),
        ("MacAddressRecognizer", find_macs, "is 00-1A-2B-3C-4D-5E"),
        ("MacAddressRecognizer", find_macs, "is 001a.2b3c.4d5e"),
        ("CreditCardRecognizer", find_cards, "card 4111 1111 1111 1111"),
        ("CreditCardRecognizer", find_cards, "card 4111-1111-1111-1111"),
        ("CreditCardRecognizer", find_cards, "card 378282246310005"),
        ("CreditCardRecognizer", find_cards, "card 30569309025904"),
        ("CryptoRecognizer", find_wallets, "to 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
        ("CryptoRecognizer", find_wallets, "to 3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
        ("CryptoRecognizer", find_wallets, "to bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    ],
)
def test_what_presidio_finds_is_found(name, find, text):
    found = analyze(name, text)
    assert found
    assert find(normalise(text))
