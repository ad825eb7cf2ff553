"""Numbers that an authority gave a person: of identity, tax, health, passport and driving licence.

A number whose form and check digits say what it is counts by itself, for the countries of the settings; any other
counts after a word that names it, of whichever country.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from core.languages import goes_beyond_latin
from validation.masking.contextual import Contextual
from validation.masking.marks import Span
from validation.masking.normalisation import Normalised
from validation.masking.payment import has_luhn
from validation.masking.presidio import CONTEXT, analyze
from validation.masking.suspects import WORDS

IdKind = Literal["national_id", "tax_id", "health_id"]
_NEAR = 60  # characters before a number in which its country's word for it may stand

NAMED: dict[str, Contextual] = {
    "passport": Contextual(
        WORDS["passport"],
        "passport|reisepass\\w*|pass(?:-?nr|nummer)|passeport|pasaporte|passaporto|paspoort",
        min_digits=4,
        chars=(6, 12),
    ),
    "driver_license": Contextual(
        WORDS["driver_license"],
        "driv(?:er'?s?|ers'|ing)[ -]licen[cs]es?|licen[cs]e(?= (?:number|no|nr|#))|führerschein\\w*"
        "|fuehrerschein\\w*|fahrerlaubnis\\w*"
        "|permis(?: de conduire)?|carn[eé]t?(?: de conducir)?|(?:permiso|licencia) de conducir|patente(?: di guida)?"
        "|rijbewijs\\w*|prawo jazdy",
        min_digits=3,
        chars=(6, 20),
    ),
    "national_id": Contextual(
        (
            "ssn",
            "social",
            "national",
            "ni number",
            "nino",
            "identity",
            "id number",
            "id card",
            "id no",
            "id nr",
            "sozialvers",
            "sv-n",
            "rentenvers",
            "versicherungsn",
            "rvnr",
            "personalausweis",
            "ausweis",
            "sécu",
            "secu",
            "nir",
            "insee",
            "carte d'identit",
            "dni",
            "nie",
            "documento",
            "cédula",
            "cedula",
            "codice fiscale",
            "cod. fisc",
            "cod.fisc",
            "c. f.",
            "c.f.",
            "cf",
            "carta d'identit",
            "pesel",
            "personnummer",
            "hetu",
            "bsn",
            "aadhaar",
            "sin",
        ),
        "ssn|social security|social insurance|national insurance|ni number|nino|(?:national |identity "
        "|id )(?:number|card|no)"
        "|id nr|sozialversicherung\\w*|sv-nummer|rentenversicherung\\w*|versicherungsnummer|rvnr"
        "|personalausweis\\w*|ausweis\\w*"
        "|s[ée]curit[ée] sociale|s[ée]cu|nir|insee|carte d'identit[ée]|dni|nie"
        "|documento(?: nacional)?(?: de identidad)?"
        "|c[ée]dula|codice fiscale|cod\\. ?fisc\\w*|c\\. ?f\\.|cf|carta d'identit[àa]|pesel|personnummer|hetu|bsn"
        "|aadhaar|sin",
        min_digits=6,
    ),
    "tax_id": Contextual(
        (
            "tax",
            "tin",
            "ein",
            "itin",
            "tfn",
            "vat",
            "gstin",
            "steuer",
            "st.-nr",
            "st-nr",
            "stnr",
            "st.nr",
            "ust",
            "umsatzsteuer",
            "numéro fiscal",
            "numero fiscal",
            "tva",
            "siret",
            "siren",
            "cif",
            "nif",
            "número de iva",
            "numero de iva",
            "iva",
            "partita iva",
            "p.iva",
            "p. iva",
            "codice iva",
            "btw",
            "nip",
        ),
        "tax(?:payer)?[ -]?(?:id|identification|no|number|file number)|tin|ein|itin|tfn|vat(?:[ -]?(?:id|no|number"
        "|reg\\w*))?|gstin"
        "|steuer\\w*(?:-(?:id|nr|nummer))?|st\\.?-?nr|ust-?id(?:-?nr)?|umsatzsteuer\\w*(?:-id\\w*)?"
        "|num[ée]ro fiscal|tva"
        "|siret|siren|cif|nif|n[uú]mero de iva|iva|partita iva|p\\. ?iva|codice iva|btw|nip",
    ),
    "health_id": Contextual(
        (
            "nhs",
            "medicare",
            "medicaid",
            "mbi",
            "health",
            "insurance",
            "member",
            "krankenv",
            "krankenk",
            "versicherten",
            "gesundheitsk",
            "kvnr",
            "carte vitale",
            "vitale",
            "assur",
            "seguridad social",
            "número de afil",
            "numero de afil",
            "afiliaci",
            "nuss",
            "tarjeta sanitaria",
            "tessera",
            "team",
        ),
        "nhs|medicare|medicaid|mbi|health (?:insurance|card|plan)(?: number)?|insurance (?:member|id|no|number)\\w*"
        "|member (?:id|number)"
        "|krankenversicherung\\w*|krankenversicherten\\w*|krankenkasse\\w*|versicherten\\w*|gesundheitskarte|kvnr"
        "|(?:carte )?vitale|assur[ée]|assurance maladie|seguridad social|n[uú]mero de afiliaci[oó]n|afiliaci[oó]n|nuss"
        "|tarjeta sanitaria|tessera(?: sanitaria)?|team",
    ),
}


@dataclass(frozen=True)
class _Own:
    """The form of a number, and whether its check digits are right."""

    pattern: re.Pattern[str]
    check: Callable[[str], bool]


def _has_nir_key(number: str) -> bool:
    """France's social security number: the rest of 13 characters modulo 97 decides the last two."""
    plain = re.sub(r"\D", "", number.replace("2A", "19").replace("2B", "18").replace("2a", "19").replace("2b", "18"))
    return len(plain) == 15 and 97 - int(plain[:13]) % 97 == int(plain[13:])


def _has_french_vat_key(number: str) -> bool:
    plain = re.sub(r"\W", "", number)[2:]
    return plain.isdigit() and int(plain[:2]) == (12 + 3 * (int(plain[2:]) % 97)) % 97


def _has_nuss_key(number: str) -> bool:
    """Spain's social security number: ten digits modulo 97."""
    plain = re.sub(r"\D", "", number)
    body = int(plain[:2] + plain[3:10]) if plain[2] == "0" else int(plain[:10])
    return body % 97 == int(plain[10:])


def _of_any_digits(number: str) -> bool:
    """For numbers whose form alone says what they are."""
    return bool(number)


_MBI = "[AC-HJKMNP-RT-Y]"  # a letter of a Medicare number
_FORMS: tuple[tuple[str, IdKind, str, Callable[[str], bool]], ...] = (
    (
        "FR",
        "national_id",
        r"[12][ .]?\d{2}[ .]?(?:0[1-9]|1[0-2]|[2-9]\d)[ .]?(?:\d{2}|2[ABab])[ .]?\d{3}[ .]?\d{3}[ .]?\d{2}",
        _has_nir_key,
    ),
    ("FR", "tax_id", r"FR ?\d{2} ?\d{3} ?\d{3} ?\d{3}", _has_french_vat_key),
    ("IT", "health_id", r"80380 ?\d{15}", _of_any_digits),
    ("IT", "tax_id", r"IT ?\d{11}", has_luhn),
    ("ES", "health_id", r"\d{2}[/ -]\d{8}[/ -]\d{2}", _has_nuss_key),
    # Presidio's pattern of this one takes milliseconds per text.
    ("IN", "tax_id", r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]", _of_any_digits),
    (
        "GB",
        "national_id",
        r"(?!BG|GB|NK|KN|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] \d\d \d\d \d\d [A-D]",
        _of_any_digits,
    ),
    ("US", "health_id", rf"[1-9]{_MBI}(?:\d|{_MBI})\d-{_MBI}(?:\d|{_MBI})\d-{_MBI}{{2}}\d\d", _of_any_digits),
)
# Numbers that Presidio does not know, or not in this form.
_OWN: dict[str, list[tuple[IdKind, _Own]]] = {}
for _country, _kind, _form, _check in _FORMS:
    _OWN.setdefault(_country, []).append((_kind, _Own(re.compile(rf"(?<!\w)(?:{_form})(?!\w)"), _check)))

# Presidio's recognizers by country. Those of `_ALONE` say enough by form and check digits; of the others, one of their
# own words has to stand near.
_PRESIDIO: dict[str, tuple[tuple[IdKind, str], ...]] = {
    "US": (("national_id", "UsSsnRecognizer"), ("tax_id", "UsItinRecognizer")),
    "GB": (("national_id", "UkNinoRecognizer"), ("health_id", "NhsRecognizer")),
    "DE": (
        ("national_id", "DeSocialSecurityRecognizer"), ("tax_id", "DeTaxIdRecognizer"), ("tax_id", "DeVatIdRecognizer"),
    ),
    "ES": (("national_id", "EsNifRecognizer"), ("national_id", "EsNieRecognizer")),
    "IT": (("national_id", "ItFiscalCodeRecognizer"), ("tax_id", "ItVatCodeRecognizer")),
    "IN": (("national_id", "InAadhaarRecognizer"), ("tax_id", "InGstinRecognizer")),
    "AU": (("tax_id", "AuTfnRecognizer"), ("tax_id", "AuAbnRecognizer"), ("health_id", "AuMedicareRecognizer")),
    "CA": (("national_id", "CaSinRecognizer"),),
    "FI": (("national_id", "FiPersonalIdentityCodeRecognizer"),),
    "KR": (("national_id", "KrRrnRecognizer"), ("national_id", "KrFrnRecognizer")),
    "NG": (("national_id", "NgNinRecognizer"),),
    "PH": (("national_id", "PhUmidRecognizer"), ("tax_id", "PhTinRecognizer")),
    "PL": (("national_id", "PlPeselRecognizer"),),
    "SE": (("national_id", "SePersonnummerRecognizer"),),
    "SG": (("national_id", "SgFinRecognizer"),),
    "TH": (("national_id", "ThTninRecognizer"),),
    "TR": (("national_id", "TrNationalIdRecognizer"),),
    "ZA": (("national_id", "ZaIdNumberRecognizer"), ("tax_id", "ZaIncomeTaxNumberRecognizer")),
}  # fmt: skip
# Recognizer: the score from which a number counts by itself, and the shapes without one of which it is not asked.
_ALONE: dict[str, tuple[float, tuple[str, ...]]] = {
    "UsSsnRecognizer": (0.5, ("999-99-9999", "999 99 9999", "999.99.9999")),
    "UsItinRecognizer": (0.5, ("999-99-9999", "999 99 9999")),
    "DeSocialSecurityRecognizer": (1.0, ("99999999A999",)),
    "DeVatIdRecognizer": (1.0, ("AA999999999", "AA 999 999 999", "AA999 999 999")),
    "EsNifRecognizer": (1.0, ("99999999A", "99999999-A")),
    "EsNieRecognizer": (1.0, ("A9999999A", "A9999999-A")),
    "ItFiscalCodeRecognizer": (1.0, ("AAAAAA99A99A999A",)),
    "InGstinRecognizer": (1.0, ("99AAAAA9999A9A9",)),
    "FiPersonalIdentityCodeRecognizer": (1.0, ("999999-999", "999999A999", "999999+999")),
}
_OF_NO_PERSON = re.compile(
    r"(?:model\w*|modèle|part|serial\w*|serie\w*|série|sku|isbn|ean|order|bestell\w*|commande|pedido|ordine|version"
    r"|sendung|tracking)"
    r"\b[\s.:#-]*(?:\w{1,6}\W+)?$",
    re.I,
)


def known_regions() -> frozenset[str]:
    """Countries whose numbers are known by themselves."""
    return frozenset(_PRESIDIO) | frozenset(_OWN)


def id_finder(kind: IdKind, regions: Sequence[str]) -> Callable[[Normalised], list[Span]]:
    """A function that finds numbers of a kind: named ones of any country, and those in a form of these countries."""
    names = [name for region in regions for of, name in _PRESIDIO.get(region, ()) if of == kind]
    own = [one for region in regions for of, one in _OWN.get(region, ()) if of == kind]

    def find(plain: Normalised) -> list[Span]:
        text, spans = plain.text, NAMED[kind].find(plain)
        for name in names:
            spans += _found(name, plain)
        for one in own:
            spans += [match.span() for match in one.pattern.finditer(text) if one.check(match[0])]
        return [span for span in spans if not _OF_NO_PERSON.search(text[max(0, span[0] - 30) : span[0]])]

    return find


def _found(name: str, plain: Normalised) -> list[Span]:
    """What a recognizer of Presidio finds, where it needs no word or one of its words stands near."""
    least, shapes = _ALONE.get(name, (2.0, ()))
    is_named = any(word in plain.lower for word in CONTEXT[name]) and bool(_word_pattern(name).search(plain.text))
    is_named = is_named or _is_named_beyond(name, plain, 0, len(plain.text))
    if not is_named and not any(shape in plain.shape for shape in shapes):
        return []
    return [
        (one.start, one.end)
        for one in analyze(name, plain.text)
        if one.score >= least
        or (
            is_named
            and (
                _word_pattern(name).search(plain.text, max(0, one.start - _NEAR), one.start)
                or _is_named_beyond(name, plain, max(0, one.start - _NEAR), one.start)
            )
        )
    ]


def _is_named_beyond(name: str, plain: Normalised, start: int, end: int) -> bool:
    """Whether a word of a script without capitals names a number, which stands beside other words without a space."""
    return plain.spelled is not plain.text and any(
        word in plain.spelled[start:end] for word in CONTEXT[name] if goes_beyond_latin(word)
    )


@cache
def _word_pattern(name: str) -> re.Pattern[str]:
    words = sorted(CONTEXT[name], key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.I)
