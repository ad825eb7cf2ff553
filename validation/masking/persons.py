"""Who a person is and where they live: names after words that introduce them, dates of birth, street addresses.

Names without such words need a language model that knows names; `recognisers` asks one where the settings name it.
"""

from __future__ import annotations

import re

from validation.masking.marks import Span
from validation.masking.normalisation import Normalised
from validation.masking.suspects import PRESENTED, WORDS

_CAP = r"[A-ZÀ-ÖØ-ÞŁŚŻŠČŽ](?:[\w'’]*[a-zß-öø-ÿłśżšč]|\.)(?:-[A-ZÀ-ÖØ-Þ][\w'’]*)*"
_PARTICLE = (
    r"(?:de la|de los|van der|van den|von der|de|da|do|dos|del|della|di|du|la|le|van|von|den|der|ter|zu|y|e|bin|al)"
)
_FULL = rf"(?P<value>{_CAP}(?:[ ](?:{_PARTICLE}[ ])?{_CAP}){{0,3}})"
_TWO = rf"(?P<value>{_CAP}(?:[ ](?:{_PARTICLE}[ ])?{_CAP}){{1,3}})"
_INTRODUCED = re.compile(
    r"(?<!\w)(?i:my (?:full )?name is|my name's|mein name ist|ich heiße|ich heisse|je m'appelle|je me nomme"
    r"|mon nom est|me llamo"
    rf"|mi nombre es|mi chiamo|il mio nome (?:è|e'))[: ]{{1,2}}{_FULL}"
)
_PRESENTED = re.compile(
    r"(?<!\w)(?i:(?:hi|hello|hey|hallo|bonjour|hola|ciao|buongiorno|guten tag)[,! ]{1,3}(?:i'm|i am|this is|ich bin"
    r"|je suis|soy|sono))[ ]"
    rf"{_FULL}|(?<!\w)(?:I'm|I am|[Tt]his is|[Ii]ch bin|[Jj]e suis|[Ss]oy"
    rf"|[Ss]ono)[ ](?P<other>{_CAP}(?:[ ](?:{_PARTICLE}[ ])?{_CAP}){{1,2}})"
    r"(?=[,.] (?:I|and|from|a|your|und|aus|ein|et|de|un|y|e|da)\b| (?:from|aus) [A-Z])"
)
_CLOSING = re.compile(
    r"(?<!\w)(?i:regards|sincerely(?: yours)?|yours (?:sincerely|faithfully|truly)|respectfully"
    r"|grüßen?|grüssen?|gruß|gruss|hochachtungsvoll|mfg|lg"
    r"|(?:bien )?cordialement|bien à vous|salutations(?: distinguées)?|amicalement"
    r"|saludos?(?: cordial(?:es)?)?|atentamente|un abrazo"
    rf"|saluti|cordialmente)[,.!: \n-]{{1,4}}{_FULL}"
)
_SIGNATURE = 70  # characters in which a text may end with a name
_SIGNED = re.compile(rf"(?:[.!?] ?|\n)[-~][ ]?(?P<value>{_CAP} (?:[A-Z]\.? )?{_CAP})\s*$")
_NO_NAMES = frozenset(
    {
        "very", "highly", "great", "good", "best", "five", "four", "three", "two", "one", "star", "stars", "product",
        "love", "loved", "recommended", "recommend", "excellent", "nice", "happy", "by", "for", "from", "with", "to",
        "in", "on", "at", "of", "and", "or", "if", "as", "is", "are", "was", "were", "it", "its", "we", "you", "they",
        "he", "she", "his", "her", "our", "your", "the", "this", "that", "not", "so", "too", "really", "much", "thank",
        "thanks", "thumbs", "well", "done", "awesome", "perfect", "amazing", "worth", "buy", "bottom", "line", "just",
        "my", "mine", "sehr", "gut", "gute", "tolle", "toll", "super", "klasse", "der", "die", "das", "ein", "eine",
        "leider", "nicht", "très", "bon", "bonne", "bien", "produit", "le", "la", "les", "un", "une", "pas", "muy",
        "buen", "bueno", "buena", "el", "los", "las", "una", "no", "molto", "ottimo", "buono", "il", "lo", "non",
        "prodotto", "produkt", "producto", "sure", "sorry", "glad", "trouble", "team"
    }
)  # fmt: skip
# Keys of a user's attributes that hold nothing but a name.
NAME_KEY = re.compile(
    r"(?:full|first|last|middle|given|family|sur|maiden|display|real|customer|contact|billing|shipping)[ _-]?name"
    r"|fore[ _-]?name|name"
    r"|vorname|nachname|familienname|prenom|prénom|nom|nom de famille|nombre|nombre completo|apellidos?|nome|cognome",
    re.I,
)

_MONTH = (
    r"(?:jan(?:uary|uar|vier|eiro)?|feb(?:ruary|ruar|rero|braio)?|f[ée]vr(?:ier)?|m(?:ar(?:ch|s|zo)?|ärz)|apr(?:il"
    r"|ile)?|avr(?:il)?|abr(?:il)?"
    r"|ma[iy]o?|mag(?:gio)?|june?|juni|juin|junio|giu(?:gno)?|july?|juli|juillet|julio|lug(?:lio)?|aug(?:ust)?"
    r"|ao[uû]t|ago(?:sto)?"
    r"|sep(?:t(?:ember|embre|iembre)?|tiembre)?|set(?:tembre)?|o[ck]t(?:ober|obre|ubre)?|ott(?:obre)?|nov(?:ember"
    r"|embre|iembre)?"
    r"|d[ei][czc](?:ember|embre|iembre)?|d[ée]c(?:embre)?|ene(?:ro)?|gen(?:naio)?|jun|jul|enero|dez(?:ember)?)\.?"
)
_DATE = (
    r"(?P<value>\d{1,4}[./ -]{1,2}\d{1,2}[./ -]{1,2}\d{2,4}"
    rf"|(?i:\d{{1,2}}(?:st|nd|rd|th|er|º|\.)?(?: de| of)? ?{_MONTH}(?: de| del|,)? ?\d{{2,4}}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{2,4}}))"
)
_BIRTH = re.compile(
    r"(?<!\w)(?i:born|birth ?(?:day|date)?|date of birth|d\.?o\.?b\.?|geboren|geb\.?|geburts(?:datum|tag)"
    r"|n[ée]e?(?= le)|naissance|anniversaire"
    r"|nac[ií]|nacid[oa]|nacimiento|cumpleaños|nat[oa](?= il)|nascita|compleanno)(?!\w)"
    rf"[^\d\n]{{0,24}}?(?<![^\W]){_DATE}(?!\d)"
)

_BORN_AFTER = re.compile(rf"(?<![\w]){_DATE} (?i:geboren|born)\b")
_BORN = ("geboren", "born")
_STREETS = (
    "street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|square|sq|highway|hwy|parkway|pkwy|terrace"
)
# These are words of every day too: only with a capital.
_NAMED_STREETS = (
    "Way|Ways|Walk|Walks|Place|Pl|Close|Crescent|Grove|Gardens?|Mews|Plaza|Heights|Hills?|Ridge|Circle|Cir|Trail"
    "|Loop|Point|Path|Row|Park"
    "|Alley|Bend|Bluffs?|Bridge|Bypass|Canyon|Cliffs?|Corners?|Coves?|Creek|Crossing|Dale|Estates?|Expressway|Falls"
    "|Ferry|Fields?|Flats?"
    "|Forest|Freeway|Glens?|Greens?|Harbors?|Haven|Hollow|Island|Isle|Junction|Knolls?|Lakes?|Landing|Manors?"
    "|Meadows?|Mills?|Motorway"
    "|Mountains?|Orchard|Pass|Pike|Pines|Plains?|Port|Prairie|Rapids?|River|Roads|Shores?|Springs?|Spur|Stream"
    "|Streets|Summit|Throughway"
    "|Track|Turnpike|Union|Valleys?|Views?|Villages?|Vista|Wells?"
)
_ENGLISH = r"(?-i:(?:(?:[NSEW]\.?|[A-Z][a-z'.-]+|[0-9]{1,3}(?:st|nd|rd|th)) +){1,4})"
_UNIT = r"(?:,? (?:apt|apartment|suite|unit|flat|#)\.? *[0-9A-Za-z-]{1,6}\b)?"
_WORDS_OF_NAME = r"(?:(?:[A-Z][a-z'-]+|[A-Z][a-z]{0,3}\.) +){1,3}"
_NUMBER_FIRST = (
    re.compile(rf"\b(?!0[0-9]?\b)[0-9]{{1,5}}[A-Za-z]?,? +{_ENGLISH}(?:{_STREETS})\b\.?{_UNIT}", re.I),
    re.compile(rf"\b[0-9]{{1,4}}[0-9A-Za-z],? +{_WORDS_OF_NAME}(?:{_NAMED_STREETS})\b\.?(?i:{_UNIT})"),
    re.compile(  # Studio 33, Henderson Plaza
        rf"\b(?:Flat|Studio|Apartment|Unit"
        rf"|Suite) \d{{1,4}}[A-Za-z]?,? (?:\d{{1,5}}[A-Za-z]? )?{_WORDS_OF_NAME}(?:(?i:{_STREETS})|{_NAMED_STREETS})\b"
    ),
    re.compile(  # 12 bis, rue de la Paix
        r"(?<!\w)\d{1,4}(?: ?(?:bis|ter|[A-D]))?,? (?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Bb]d|[Cc]hemin|[Pp]lace"
        r"|[Aa]llée|[Ii]mpasse|[Qq]uai"
        r"|[Cc]ours|[Rr]oute|[Ss]quare|[Pp]assage)(?: (?:de la|de l'|des|du|de|d'|la|le|les"
        r"|l'))?(?: ?[A-ZÀ-Ý][\w'’.-]*){1,4}"
    ),
)
_GERMAN_ENDINGS = (
    "straße",
    "strasse",
    "str.",
    "gasse",
    "weg",
    "allee",
    "platz",
    "ring",
    "ufer",
    "damm",
    "graben",
    "steig",
    "hof",
)
_GERMAN_ADDRESS = re.compile(  # Hauptstraße 12a
    r"(?<![\w-])(?:(?:Am|An der|Auf dem|Im|In der|Zum|Zur|Alte|Alter|Große|Kleine|Lange|Neue|Obere|Untere) )?"
    r"(?:[A-ZÄÖÜ][\w.-]*[ -]){0,3}?(?:[A-ZÄÖÜ][\w-]*)?"
    r"(?:[Ss]tra(?:ß|ss)e|[Ss]tr\.|[Gg]asse|[Ww]eg|[Aa]llee|[Pp]latz|(?<![aeiou])(?<!\bSp)(?<!\bSt)ring|Ring"
    r"|[Uu]fer|[Dd]amm|[Gg]raben"
    r"|[Ss]teig|[Hh]of) ?\d{1,4}(?: ?[a-z]\b)?(?: ?[/-] ?\d{1,4}[a-z]?)?(?!\w)"
)
# Of these the street comes first: rue Hubert Petit; Calle de Alcalá, 12, 3.º B; Via Roma, 12, Piano 1
_STREET_FIRST = re.compile(
    r"(?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Cc]hemin|[Ii]mpasse|[Qq]uai)(?: (?:de la|de l'|des|du|de"
    r"|d'))?(?: ?[A-ZÀ-Ý][\w'’-]+){2,3}(?!\w)"
    r"|[Rr]ue (?:de la|de l'|des|du|de) ?[A-ZÀ-Ý][\w'’-]+"
    r"|(?:[Cc]alle|[Cc]/|[Aa]venida|[Aa]vda\.?|[Pp]laza|[Pp]aseo|[Pp]asaje|[Pp]asadizo|[Cc]amino|[Cc]arretera"
    r"|[Cc]tra\.?|[Rr]onda"
    r"|[Tt]ravesía|[Uu]rbanización|[Vv]ía|[Gg]lorieta|[Cc]uesta|[Cc]allejón|[Aa]lameda|[Rr]ambla|[Vv]ial|[Aa]cceso"
    r"|[Cc]añada) ?"
    r"(?:(?:de los|de las|de la|del|de) )?(?:[A-ZÁÉÍÓÚÑ][\w'’-]+ ?){1,4},? ?(?:n\.?[ºo°] ?)?\d{1,4}"
    r"(?:,? (?:[Pp]iso|[Pp]uerta|[Aa]pt\.?|[Pp]ta\.?|[Ee]sc\.?|bajo) ?\w{0,3})?(?!\w)"
    r"|(?:Via|(?<=[Ii]n )via|(?<=[Dd]i )via|[Vv]iale|[Pp]iazza|[Pp]iazzale|[Cc]orso|[Ll]argo|[Vv]icolo|[Ss]trada"
    r"|[Cc]ontrada|[Rr]otonda"
    r"|[Bb]orgo|[Cc]anale|[Ii]ncrocio|[Ss]tretto) (?:(?:dei|degli|delle|della|dell'|del"
    r"|di) ?)?(?:[A-ZÀÈÌÒÙ][\w'’-]+ ?){1,4},? ?(?:n\.? ?)?"
    r"\d{1,4}(?:/?[A-Za-z])?(?:,? (?:[Pp]iano|[Aa]ppartamento|[Ii]nt\.?) \d{1,3})?(?!\w)"
)
_STREET_WORDS = (
    "rue ", "avenue ", "boulevard ", "chemin ", "impasse ", "quai ", "calle ", "c/", "avenida ", "avda", "plaza ",
    "paseo ", "pasaje ", "pasadizo ",
    "camino ", "carretera ", "ctra", "ronda ", "travesía ", "urbanización ", "vía ", "glorieta ", "cuesta ",
    "callejón ", "alameda ",
    "rambla ", "vial ", "acceso ", "cañada ", "via ", "viale ", "piazza ", "piazzale ", "corso ", "largo ",
    "vicolo ", "strada ", "contrada ",
    "rotonda ", "borgo ", "canale ", "incrocio ", "stretto ",
)  # fmt: skip
_DIGIT = re.compile(r"(?<![0-9])[0-9]")


def find_persons(plain: Normalised) -> list[Span]:
    """Names after words that introduce them, and under a text."""
    found = [match.span("value") for match in plain.near(_INTRODUCED, WORDS["person"])]
    found += [match.span("value") for match in plain.near(_CLOSING, WORDS["person"])]
    for match in (*plain.near(_PRESENTED, WORDS["person"]), *plain.near(_PRESENTED, PRESENTED)):
        found.append(match.span("value" if match["value"] is not None else "other"))
    if signed := _SIGNED.search(plain.text, max(0, len(plain.text) - _SIGNATURE)):
        found.append(signed.span("value"))
    return [span for span in (_names_alone(plain.text, *span) for span in found) if span]


def find_birth_dates(plain: Normalised) -> list[Span]:
    """Dates after a word of birth."""
    spans = [match.span("value") for match in plain.near(_BIRTH, WORDS["birth_date"])]
    if any(word in plain.lower for word in _BORN):
        spans += [match.span("value") for match in _BORN_AFTER.finditer(plain.text)]
    return spans


def find_streets(plain: Normalised) -> list[Span]:
    """A street with its number, as five languages write it."""
    text = plain.text
    spans = [match.span() for match in plain.near(_STREET_FIRST, _STREET_WORDS)]
    if not plain.has_digit:
        return spans
    spans += [match.span() for pattern in _NUMBER_FIRST for match in pattern.finditer(text)]
    for digit in _DIGIT.finditer(text):
        place = digit.start()
        if plain.lower[max(0, place - 9) : place].rstrip(" ").endswith(_GERMAN_ENDINGS):
            spans += [match.span() for match in _GERMAN_ADDRESS.finditer(text, max(0, place - 60), place + 15)]
    return spans


def _names_alone(text: str, start: int, end: int) -> Span | None:
    """A span up to the first word that is none of a name; None where it begins with one."""
    words = text[start:end].split(" ")
    n_names = next((place for place, word in enumerate(words) if word.lower().strip(".'") in _NO_NAMES), len(words))
    return (start, start + len(" ".join(words[:n_names]))) if n_names else None
