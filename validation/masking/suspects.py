"""Which texts may hold personal data: quick patterns for SQL, and the same for Python, made from one list.

They let through more than is found behind them, and every text in which something is found: shapes of numbers and
codes, words that introduce a kind, and characters that an ASCII keyboard does not have.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from core.settings.validation import PersonalData
from core.sql import literal
from validation.masking.normalisation import Normalised, invisible_characters, plain_characters

_STREETS = (
    "[Ss]treet|[Ss][Tt]|[Aa]venue|[Aa]ve|[Rr]oad|[Rr][Dd]|[Bb]oulevard|[Bb]lvd|[Ll]ane|[Ll][Nn]|[Dd]rive|[Dd][Rr]"
    "|[Cc]ourt|[Cc][Tt]|[Ss]quare"
    "|[Ss][Qq]|[Hh]ighway|[Hh]wy|[Pp]arkway|[Pp]kwy|[Tt]errace|STREET|AVENUE|AVE|ROAD|BOULEVARD|BLVD|LANE|DRIVE"
    "|COURT|SQUARE|HIGHWAY|TERRACE"
)
# Shapes by name. In SQL each of these signs also stands for its lookalikes in other scripts: ~ (what parts the groups
# of a number), _ (a space or more), - . : / @ and '
_SHAPES = {
    "number": "[0-9](?:~*[0-9]){5}",
    "nino": "[A-Za-z]{2}_?[0-9]{2}_?[0-9]{2}_?[0-9]{2}_?[A-Za-z]",
    "mbi": "[0-9][A-Z][A-Z0-9][0-9]-[A-Z][A-Z0-9][0-9]-[A-Z]{2}[0-9]{2}",
    "code": "[A-Z0-9]{10}",
    "hex": "[0-9A-Fa-f]:[0-9A-Fa-f]{0,4}:|[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-"
    "|[0-9A-Fa-f]{4}\\.[0-9A-Fa-f]{4}\\.|::[0-9A-Fa-f]",
    "ipv4": "[0-9]\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]",
    "long": "[0-9A-Za-z]{26}",
    "at": "@",
    "spelled at": "[\\[({<]_?(?:[aA][tT]|ät|arroba|arobase|chiocciola)_?[\\])}>]|_(?:[dD][oO][tT]|[pP]unkt)_"
    "|_(?:arroba|arobase|chiocciola)_",
    "link": ":/|\\.com/",
    "presented": "(?:I'm|I_am|[Tt]his_is|[Ii]ch_bin|[Jj]e_suis|[Ss]oy|[Ss]ono)_[A-ZÀ-ÞŁŚŻŠČŽ]",
    "signed": "[.!?\\n]_?[-\\x7e]_?[A-ZÀ-ÞŁŚŻŠČŽ][^0-9]{3,60}$",
    "house": (
        "[0-9][A-Za-z]?,?_(?:(?:[NSEW]\\.?|[A-Z][a-z'.-]+|[0-9]{1,3}(?:st|nd|rd|th))_){1,4}(?:" + _STREETS + ")"
        "|[0-9][0-9a-zA-Z],?_(?:[A-Z][a-z'.-]+_){1,3}[A-Z][a-z]+"
    ),
    "hausnummer": "(?:[Ss]tra(?:ß|ss)e|[Ss]tr\\.|[Gg]asse|[Ww]eg|[Aa]llee|[Pp]latz|[Rr]ing|[Uu]fer|[Dd]amm"
    "|[Gg]raben|[Ss]teig|[Hh]of)_?[0-9]",
    "rue": "[0-9][a-zA-D]{0,3},?_(?:[Bb]d|[Pp]lace|[Cc]ours|[Rr]oute|[Ss]quare|[Pp]assage|[Aa]llée)|(?:[Rr]ue"
    "|[Aa]venue|[Bb]oulevard|[Cc]hemin|[Ii]mpasse|[Qq]uai)_[A-Zdl]",
    "calle": (
        "(?:[Cc]alle|[Cc]/|[Aa]venida|[Aa]vda|[Pp]laza|[Pp]aseo|[Pp]asaje|[Pp]asadizo|[Cc]amino|[Cc]arretera"
        "|[Cc]tra|[Rr]onda|[Tt]ravesía"
        "|[Uu]rbanización|[Vv]ía|[Gg]lorieta|[Cc]uesta|[Cc]allejón|[Aa]lameda|[Rr]ambla|[Vv]ial|[Aa]cceso|[Cc]añada"
        "|[Vv]ia|[Vv]iale|[Pp]iazza"
        "|[Pp]iazzale|[Cc]orso|[Ll]argo|[Vv]icolo|[Ss]trada|[Cc]ontrada|[Rr]otonda|[Bb]orgo|[Cc]anale|[Ii]ncrocio"
        "|[Ss]tretto)_?[A-ZÁÉÍÓÚÑd][^\\n]*[0-9]"
    ),
}
# Words that introduce a kind, of any case, at the beginning of a word.
WORDS: dict[PersonalData, tuple[str, ...]] = {
    "person": (
        "my name", "my full name", "ich hei", "mein name", "je m'appelle", "je me nomme", "mon nom", "mi nombre",
        "il mio nome", "me llamo", "mi chiamo",
        "regards", "sincerely", "yours faithfully", "yours truly", "respectfully", "grüße", "grüsse", "grüßen",
        "grüssen",
        "gruß", "gruss", "hochachtungsvoll", "mfg", "lg", "cordialement", "bien cordialement", "bien à vous",
        "salutations", "amicalement", "saludo", "saludos",
        "atentamente", "un abrazo", "saluti", "cordialmente", "hi i", "hi, i", "hi! i", "hi this", "hello i",
        "hello, i", "hello! i", "hey i", "hey, i",
        "hallo", "bonjour", "hola", "ciao", "buongiorno", "guten tag",
    ),
    "username": (
        "username", "user name", "user-name", "user_name", "user id", "user-id", "userid", "user_id", "login",
        "log in", "log-in", "screen name",
        "screen-name", "screen_name", "screenname", "my handle", "gamertag", "gamer tag", "nickname", "nick name",
        "nick-name", "nick ", "nick:", "benutzer", "nutzername", "anmeldename", "identifiant", "utilisateur",
        "nom d'utilisateur", "pseudo",
        "usuario", "apodo", "utente", "nome utente", "instagram", "insta ", "insta:", "insta,", "twitter",
        "tiktok", "tik tok", "discord", "telegram", "snapchat", "skype", "steam ", "steam:", "steam,",
        "reddit", "facebook", "twitch ", "twitch:", "twitch,", "psn", "xbox live",
    ),
    "birth_date": (
        "born", "birth", "dob", "d.o.b", "d.ob", "do.b", "geb.", "geb ", "geb:", "geboren", "geburts", "née le",
        "né le", "nee le", "ne le", "naissance", "anniversaire", "nací", "naci ", "nacid", "nacim",
        "cumpleaños", "nato il", "nata il", "nascita", "compleanno", "date of birth",
    ),
    "passport": (
        "passport", "reisepass", "passnr", "pass-nr", "passnummer", "passeport", "pasaporte", "passaporto", "paspoort",
    ),
    "driver_license": (
        "driver's li", "drivers li", "drivers' li", "driver li", "driver-li", "driving li", "driving-li",
        "licence", "license", "führerschein", "fuehrerschein", "fahrerlaubnis", "permis", "carne", "carné",
        "licencia de", "patente", "rijbewijs", "prawo jazdy",
    ),
    "vehicle_plate": (
        "license plate", "licence plate", "license-plate", "licence-plate", "number plate", "number-plate",
        "plate", "registration", "vrn", "kennzeichen",
        "kfz-kennzeichen", "nummernschild", "immatricul", "plaque", "matricula", "matrícula", "placa", "targa",
        "targat", "plaka", "rejestrac", "kenteken",
    ),
}  # fmt: skip
PRESENTED = ("i'm ", "i am ", "this is ", "ich bin ", "je suis ", "soy ", "sono ")
_OF_KIND: dict[PersonalData, tuple[str, ...]] = {
    "email": ("at", "spelled at"),
    "card": ("number",),
    "phone": ("number",),
    "address": ("house", "hausnummer", "rue", "calle"),
    "iban": ("number",),
    "bank_account": ("number",),
    "crypto": ("long",),
    "person": ("presented", "signed"),
    "username": ("at",),
    "birth_date": (),
    "national_id": ("number", "nino", "code"),
    "tax_id": ("number", "code"),
    "health_id": ("number", "mbi"),
    "passport": (),
    "driver_license": (),
    "vehicle_plate": (),
    "vin": ("code",),
    "ip": ("ipv4", "hex"),
    "mac": ("hex",),
    "url": ("link",),
}
# An automaton finds shapes that count far more quickly apart from the others.
_COUNTING = frozenset({"code", "long", "house", "calle"})
_AT_THE_END = frozenset({"signed"})
_OF_DIGITS = frozenset({"number", "nino", "mbi", "code", "ipv4"})
_DASHES = 3  # in a MAC address up to where it is told from a date
_LONG = 26
_SPELLED = (
    "(at",
    "( at",
    "[at",
    "[ at",
    "{at",
    "{ at",
    "<at",
    "< at",
    "(ät",
    "[ät",
    " dot ",
    " punkt ",
    "arroba",
    "arobase",
    "chiocciola",
)
# Nothing of these without a digit.
_WITH_DIGIT = ("birth_date", "passport", "driver_license", "vehicle_plate")
_PARTING = " ().+/-"


def suspect_sql(value: str, kinds: Collection[PersonalData], *, everything: bool = False) -> str:
    """SQL, true where a text may hold such data: it is where some is found, and for most other texts it is not.

    Args:
        value: SQL of the text.
        everything: Whether any text may hold some, as for a language model that knows names.
    """
    if not kinds:
        return "false"
    if everything and "person" in kinds:
        return f"{value} IS NOT NULL"
    shapes = dict.fromkeys(shape for kind in _OF_KIND if kind in kinds for shape in _OF_KIND[kind])
    patterns = [
        [_disguise(), *(_widen(_SHAPES[shape]) for shape in shapes if shape not in _COUNTING)],
        [_widen(_SHAPES[shape]) for shape in shapes if shape in _COUNTING],
        [_widen(_SHAPES[shape]) for shape in shapes if shape in _AT_THE_END],
        _widened_words([kind for kind in WORDS if kind in kinds]),
    ]
    return f"({' OR '.join(_matches(value, '|'.join(parts)) for parts in patterns if parts)})"


class Clues:
    """What a plain text shows at a glance: the same shapes and words as in SQL."""

    def __init__(self, plain: Normalised) -> None:
        self._plain = plain
        self._shapes: dict[str, bool] = {}

    def may_hold(self, kind: PersonalData) -> bool:
        """Whether there may be something of a kind."""
        # What words introduce is looked for at those words.
        return kind in WORDS or kind == "address" or any(self._has(shape) for shape in _OF_KIND[kind])

    def _has(self, shape: str) -> bool:
        if shape not in self._shapes:
            self._shapes[shape] = self._search(shape)
        return self._shapes[shape]

    def _search(self, shape: str) -> bool:
        text = self._plain.text
        if shape in _OF_DIGITS and not self._plain.has_digit:
            return False
        match shape:
            case "at":
                return "@" in text
            case "spelled at":
                return any(sign in self._plain.lower for sign in _SPELLED)
            case "long":
                return any(len(word) >= _LONG for word in text.split())
            case "code":  # people also shout
                return any(sum(map(str.isdigit, found[0])) > 1 for found in _plain_shapes()[shape].finditer(text))
            case "hex" if ":" not in text and text.count("-") < _DASHES and text.count(".") < 2:
                return False
            case "link" if "/" not in text:
                return False
            case "mbi" if "-" not in text:
                return False
        return bool(_plain_shapes()[shape].search(text))


@cache
def _plain_shapes() -> dict[str, re.Pattern[str]]:
    parting = f"[{re.escape(_PARTING)}]"
    # That begins with digits, which are rarer than letters; what is found behind it has the letters too.
    nino = "[0-9]{2}_?[0-9]{2}_?[0-9]{2}_?[A-Za-z]"
    shapes = {**_SHAPES, "code": "[A-Z0-9]{10,}", "nino": nino}
    return {name: re.compile(shape.replace("~", parting).replace("_", "(?: +)")) for name, shape in shapes.items()}


def _matches(value: str, pattern: str) -> str:
    return f"regexp_matches({value}, {literal(pattern)})"


def _widened_words(kinds: Collection[PersonalData]) -> list[str]:
    patterns = []
    for with_digit, after in ((False, ""), (True, "[^0-9]{0,60}[0-9]")):
        words = dict.fromkeys(word for kind in kinds if (kind in _WITH_DIGIT) is with_digit for word in WORDS[kind])
        if words:
            patterns.append(f"(?i:(?:^|[^A-Za-z0-9])(?:{'|'.join(map(_widen_word, words))})){after}")
    return patterns


@cache
def _lookalikes() -> dict[str, str]:
    """Each plain character, and the others that stand for it, as a part of a class of RE2."""
    others: dict[str, list[int]] = {}
    for number, plain in plain_characters().items():
        others.setdefault(plain, []).append(number)
    return {plain: _ranges(numbers) for plain, numbers in others.items()}


def _ranges(numbers: Collection[int]) -> str:
    parts, ordered = [], sorted(numbers)
    start = before = ordered[0]
    for number in [*ordered[1:], -1]:
        if number != before + 1:
            parts.append(f"\\x{{{start:x}}}" + (f"-\\x{{{before:x}}}" if before > start else ""))
            start = number
        before = number
    return "".join(parts)


def _class(chars: str) -> str:
    return f"[{''.join(re.escape(char) + _lookalikes().get(char, '') for char in chars)}]"


_PARTS = re.compile(r"\\x[0-9a-f]{2}|\\.|\[\^|\(\?:|\{\d+(?:,\d*)?\}|.", re.S)


def _widen(shape: str) -> str:
    """A shape with the lookalikes of its signs, in its classes too but for those that say what is not meant."""
    widened, opened = "", ""  # the bracket of the class that a sign stands in
    parts = _PARTS.findall(shape)
    for place, part in enumerate(parts):
        sign = chr(int(part[2:], 16)) if part[:2] == "\\x" else part.removeprefix("\\")
        is_range = sign == "-" and parts[place - 1] != "[" and parts[place + 1] != "]"
        wide = part
        if part == "]":
            opened = ""
        elif not opened and part in ("[", "[^"):
            opened = part
        elif opened == "[" and not sign.isalnum() and not is_range:
            wide = re.escape(sign) + _lookalikes().get(sign, "")
        elif not opened and part == "~":
            wide = _class(_PARTING)
        elif not opened and part == "_":
            wide = f"(?:(?:{_class(' ')}|\\s)+)"
        elif not opened and part in ("\\.", "@", ":", "/", "-", "'", ","):
            wide = _class(sign)
        widened += wide
    return widened


def _widen_word(word: str) -> str:
    return "".join(_class(char) + "+" * (char == " ") if char in " -'./,!" else re.escape(char) for char in word)


@cache
def _disguise() -> str:
    """Letters, digits and signs of other scripts that a plain copy changes, and characters of no width."""
    joiner = "\u200d"  # in emoji it stands between pictures
    letters = [number for number, plain in plain_characters().items() if plain.isalnum() or plain in "@+_=&?#%"]
    invisible = _ranges([ord(char) for char in invisible_characters() if char != joiner])
    spaces = "".join(_lookalikes()[char] for char in " -.")
    beside = f"[\\x00-\\x7f{spaces}]"
    return f"[{_ranges(letters)}{invisible}]|{beside}\\x{{200d}}|\\x{{200d}}{beside}"
