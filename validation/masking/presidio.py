"""Presidio's recognizers, loaded once a text looks like what they find.

Presidio brings torch, spaCy and transformers with it, seconds of imports, which most shops' texts never need.
"""

from __future__ import annotations

from functools import cache
from typing import Any

# Recognizer to the words that announce its number, lower case: Presidio's own context words.
CONTEXT: dict[str, tuple[str, ...]] = {
    "AuAbnRecognizer": ("australian business number", "abn"),
    "AuMedicareRecognizer": ("medicare",),
    "AuTfnRecognizer": ("tax file number", "tfn"),
    "CaSinRecognizer": (
        "sin", "sin number", "social insurance", "social insurance number", "canada", "nas", "numéro nas",
        "numéro d'assurance sociale", "assurance sociale",
    ),
    "DeSocialSecurityRecognizer": (
        "rentenversicherungsnummer", "sozialversicherungsnummer", "versicherungsnummer", "rvnr", "svnr",
        "sv-nummer", "rente", "rentenversicherung", "deutsche rentenversicherung", "drv",
        "sozialversicherung", "sozialversicherungsausweis", "rentenausweis",
    ),
    "DeTaxIdRecognizer": (
        "steueridentifikationsnummer", "steuer-id", "steuerid", "steuerliche identifikationsnummer",
        "steuerliche identifikation", "persönliche identifikationsnummer", "steuer identifikation", "idnr",
        "steuer-idnr", "steuernummer", "bzst",
    ),
    "DeVatIdRecognizer": (
        "umsatzsteuer-identifikationsnummer", "umsatzsteueridentifikationsnummer", "ust-idnr", "ust-id",
        "ustidnr", "umsatzsteuer-id", "mehrwertsteuer", "vat", "vat-id", "vat id", "steueridentifikation",
        "bzst", "bundeszentralamt für steuern", "finanzamt", "invoice", "rechnung",
    ),
    "EsNieRecognizer": ("número de identificación de extranjero", "nie"),
    "EsNifRecognizer": ("documento nacional de identidad", "dni", "nif", "identificación"),
    "FiPersonalIdentityCodeRecognizer": ("hetu", "henkilötunnus", "personbeteckningen", "personal identity code"),
    "InAadhaarRecognizer": ("aadhaar", "uidai"),
    "InGstinRecognizer": (
        "gstin", "gst", "goods and services tax", "tax identification", "gst number", "gst registration",
    ),
    "ItFiscalCodeRecognizer": ("codice fiscale", "cf"),
    "ItVatCodeRecognizer": ("piva", "partita iva", "pi"),
    "KrFrnRecognizer": (
        "외국인등록번호", "korean frn", "frn", "foreigner registration number",
        "korean foreigner registration number", "외국인번호",
    ),
    "KrRrnRecognizer": (
        "korean rrn", "korean resident registration number", "resident registration number", "rrn", "rrn#",
    ),
    "NgNinRecognizer": (
        "nin", "national identification number", "national identity number", "nimc", "national identity",
        "nigeria id", "nigerian identification",
    ),
    "NhsRecognizer": ("national health service", "nhs", "health services authority", "health authority"),
    "PhTinRecognizer": (
        "tin", "taxpayer identification number", "bir", "taxpayer id", "tax id", "rdo",
        "revenue district office",
    ),
    "PhUmidRecognizer": (
        "umid", "unified multi-purpose id", "crn", "common reference number", "sss", "gsis", "philhealth",
        "pag-ibig", "umid number", "umid card", "unified multipurpose id",
    ),
    "PlPeselRecognizer": ("pesel",),
    "SePersonnummerRecognizer": (
        "personnummer", "svenskt personnummer", "svensk id", "ssn", "personal identity number",
        "samordningsnummer",
    ),
    "SgFinRecognizer": ("fin", "fin#", "nric", "nric#"),
    "ThTninRecognizer": (
        "thai national id", "thai id number", "tnin", "เลขประจำตัวประชาชน", "เลขบัตรประชาชน", "รหัสปชช",
    ),
    "TrNationalIdRecognizer": (
        "tc kimlik", "kimlik no", "kimlik numarası", "tckn", "tc no", "nüfus cüzdanı", "national id",
        "turkish id", "türk kimlik",
    ),
    "UkNinoRecognizer": ("national insurance", "ni number", "nino"),
    "UsItinRecognizer": ("individual", "taxpayer", "itin", "tax", "payer", "taxid", "tin"),
    "UsSsnRecognizer": ("social", "security", "ssn", "ssns", "ssid"),
    "ZaIdNumberRecognizer": (
        "id", "identity", "identity number", "id number", "south african id", "rsa id", "smart id",
        "national id",
    ),
    "ZaIncomeTaxNumberRecognizer": (
        "sars", "tax reference", "income tax", "tax number", "itr", "taxpayer", "tax registration",
    ),
}  # fmt: skip


def analyze(name: str, text: str) -> list[Any]:
    """What the recognizer of this class finds in a text: `start`, `end` and `score` each."""
    found = _recognizer(name)
    return found.analyze(text, found.supported_entities, None) or []


@cache
def _recognizer(name: str) -> Any:
    from presidio_analyzer import predefined_recognizers

    return getattr(predefined_recognizers, name)()
