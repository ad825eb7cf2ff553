"""Personal data that nobody has: random values of 20 kinds in the forms of a language's countries, check digits right.

Names, streets, numbers and most ids come from Faker; what it lacks is made here by the public rule of the number.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable
from datetime import date

from faker import Faker

COUNTRIES = {"en": ("US", "GB"), "de": ("DE",), "fr": ("FR",), "es": ("ES",), "it": ("IT",)}
_LOCALES = {"US": "en_US", "GB": "en_GB", "DE": "de_DE", "FR": "fr_FR", "ES": "es_ES", "IT": "it_IT"}
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
}
_ACCOUNTS = {
    "US": "%#########", "GB": "########", "DE": "%#########", "FR": "##### ##### ########### ##",
    "ES": "#### #### ## ##########", "IT": "############",
}  # fmt: skip
_PASSPORTS = {
    "US": "%########", "GB": "%########", "DE": "C##X#####", "FR": "##??#####", "ES": "???######", "IT": "??#######",
}  # fmt: skip
_LICENCES = {
    "US": "?#######", "DE": "?###???##??", "FR": "############", "IT": "??#######?",
}  # fmt: skip
_HEALTH = {"DE": "kvnr", "FR": "ssn", "ES": "nuss"}


class Values:
    """Random values of a language.

    Args:
        language: A key of `COUNTRIES`.
        random: Decides everything.
    """

    def __init__(self, language: str, random: random.Random) -> None:
        self._language, self._random = language, random
        self._fakers = {country: Faker(_LOCALES[country]) for country in COUNTRIES[language]}
        for faker in self._fakers.values():
            faker.seed_instance(random.getrandbits(32))
        self._makers: dict[str, Callable[[Faker, str], str]] = {
            "email": lambda faker, _: faker.random_element((faker.free_email, faker.company_email))(),
            "phone": _phone,
            "card": lambda faker, _: self._card(faker),
            "iban": lambda faker, _: self._grouped(faker.iban()),
            "bank_account": lambda faker, country: faker.bothify(faker.numerify(_ACCOUNTS[country])),
            "crypto": lambda faker, _: self._wallet(),
            "address": lambda faker, _: faker.street_address().strip().replace("\n", ", "),
            "person": lambda faker, _: f"{faker.first_name()} {faker.last_name()}",
            "username": self._username,
            "birth_date": lambda faker, _: self._birth_date(),
            "national_id": _national_id,
            "tax_id": _tax_id,
            "health_id": self._health_id,
            "passport": lambda faker, country: _form(faker, _PASSPORTS[country]),
            "driver_license": self._licence,
            "vehicle_plate": lambda faker, _: faker.license_plate(),
            "vin": lambda faker, _: faker.vin(),
            "ip": lambda faker, _: faker.random_element((faker.ipv4_public, faker.ipv6))(),
            "mac": lambda faker, _: self._random.choice((str, _dashed))(faker.mac_address()),
            "url": lambda faker, _: self._link(faker),
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds that can be made."""
        return tuple(self._makers)

    def make(self, kind: str) -> str:
        """A value of a kind."""
        country = self._random.choice(tuple(self._fakers))
        return self._makers[kind](self._fakers[country], country)

    def _grouped(self, code: str, sizes: tuple[int, ...] = (4,) * 9) -> str:
        """A code in groups, or in one piece."""
        separator = self._random.choice(("", " ", " "))
        groups, start = [], 0
        for size in sizes:
            groups.append(code[start : start + size])
            start += size
        return separator.join(group for group in groups if group)

    def _card(self, faker: Faker) -> str:
        number = faker.credit_card_number(card_type=self._random.choice(("visa16", "mastercard", "amex")))
        separator = self._random.choice(("", " ", "-"))
        sizes = (4, 6, 5) if len(number) == 15 else (4, 4, 4, 4)
        places = [sum(sizes[:end]) for end in range(len(sizes) + 1)]
        return separator.join(number[start:end] for start, end in itertools.pairwise(places))

    def _wallet(self) -> str:
        body = bytes(self._random.randrange(256) for _ in range(20))
        if self._random.random() < 0.3:
            return "0x" + body.hex()
        payload = b"\0" + body
        payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
        number, digits = int.from_bytes(payload, "big"), ""
        while number:
            number, place = divmod(number, 58)
            digits = _BASE58[place] + digits
        return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + digits

    def _username(self, faker: Faker, _: str) -> str:
        name = faker.user_name() + str(self._random.choice(("", "_", self._random.randrange(1, 99))))
        return ("@" if self._random.random() < 0.4 else "") + name.rstrip("_")

    def _birth_date(self) -> str:
        day = date(self._random.randrange(1940, 2006), self._random.randrange(1, 13), self._random.randrange(1, 29))
        month = _MONTHS[self._language].split()[day.month - 1]
        if self._random.random() < 0.5:
            mark = {"en": "/", "de": ".", "fr": "/", "es": "/", "it": "/"}[self._language]
            return f"{day.day:02d}{mark}{day.month:02d}{mark}{day.year}"
        if self._language == "en":
            return f"{month} {day.day}, {day.year}"
        return f"{day.day}{'.' * (self._language == 'de')} {'de ' * (self._language == 'es')}{month} " + (
            f"de {day.year}" if self._language == "es" else str(day.year)
        )

    def _health_id(self, faker: Faker, country: str) -> str:
        if country == "US":  # Medicare: 1EG4-TE5-MK73
            letters = "ACDEFGHJKMNPQRTUVWXY"
            return "".join(
                self._random.choice(letters)
                if form == "?"
                else self._random.choice("123456789")
                if form == "#"
                else form
                for form in "#??#-??#-??##"
            )
        if country == "GB":
            return self._grouped(_nhs(self._random), (3, 3, 4))
        if country == "IT":
            return faker.numerify("80380###############")
        return str(getattr(faker, _HEALTH[country])())

    def _licence(self, faker: Faker, country: str) -> str:
        if country == "ES":
            return str(faker.nif())
        if country == "GB":
            year = self._random.randrange(50, 99)
            birth = f"{self._random.randrange(1, 13):02d}{self._random.randrange(1, 29):02d}"
            return _form(faker, f"?????{year // 10}{birth}{year % 10}??9??")
        return _form(faker, _LICENCES[country])

    def _link(self, faker: Faker) -> str:
        host, name = faker.domain_name(), faker.user_name()
        token = f"{self._random.getrandbits(96):024x}"
        return self._random.choice(
            (
                f"https://{name}:{faker.bothify('??##??##')}@{host}/files",
                f"https://{host}/download?id=7&token={token}",
                f"https://{host}/reset?email={name}@{host}",
                f"https://www.facebook.com/{name}",
                f"https://www.instagram.com/{name}/",
                f"https://www.linkedin.com/in/{name}",
            )
        )


def _dashed(address: str) -> str:
    return address.replace(":", "-").upper()


def _form(faker: Faker, form: str) -> str:
    return str(faker.bothify(form, letters="ABCDEFGHJKLMNPRSTVWXYZ"))


def _phone(faker: Faker, country: str) -> str:
    """A number that the country's numbering plan has; Faker alone makes many that no telephone can have."""
    import phonenumbers

    while True:
        number = str(faker.phone_number())
        plain = number.replace("(0)", "") if number.startswith("+") else number
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(plain, country)):
                return number
        except phonenumbers.NumberParseException:
            continue


def _national_id(faker: Faker, country: str) -> str:
    if country == "DE":
        return str(faker.rvnr())
    if country == "ES":
        return str(faker.random_element((faker.nif, faker.nie))())
    return str(faker.ssn())


def _tax_id(faker: Faker, country: str) -> str:
    if country == "US":
        return str(faker.ein())
    if country == "ES":
        return str(faker.cif())
    if country == "DE":
        return str(faker.random_element((faker.vat_id, lambda: faker.numerify("###/###/#####")))())
    return str(faker.vat_id()).removeprefix("IT")


def _nhs(random: random.Random) -> str:
    """Ten digits, the last of which is a checksum modulo 11."""
    while True:
        digits = [random.randrange(10) for _ in range(9)]
        check = 11 - sum(digit * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
        if check != 10:
            return "".join(map(str, digits)) + str(check % 11)
