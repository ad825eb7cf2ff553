"""How a person is reached: e-mail addresses, telephone numbers, links to a person or an account, user names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from typing import Any

import regex

from core.languages import UNCASED
from core.words.telephones import JOINED_BEFORE, JOINED_BEHIND, is_date, is_quantity, names_telephone
from validation.masking.marks import Span
from validation.masking.normalisation import SIGN, Normalised
from validation.masking.suspects import WORDS

_AT = r"\s?(?:[(\[{<]\s?(?:at|ät|arroba|arobase|chiocciola)\s?[)\]}>]|@)\s?"
_DOT = r"\s?[(\[{<]\s?(?:dot|punkt|point|punto)\s?[)\]}>]\s?"
_WORD = r"[\w+-]{1,64}"
# "jo (dot) doe (at) example (dot) com", "jo at example dot com": a plain "at" needs a spelled dot.
_SPELLED = re.compile(
    rf"{_WORD}(?:(?:\.|{_DOT}){_WORD}){{0,4}}{_AT}[\w-]{{1,63}}(?:(?:\.|{_DOT})[\w-]{{1,63}}){{1,4}}"
    r"|[\w+.-]{2,64} (?:(?:at|ät) [\w-]{2,63}(?: (?:dot|punkt) [\w-]{2,63}){1,4}"
    r"|arobase [\w-]{2,63}(?: point [\w-]{2,63}){1,4}"
    r"|(?:arroba|chiocciola) [\w-]{2,63}(?: punto [\w-]{2,63}){1,4})",
    re.I,
)
_SPELLED_AT = re.compile(
    r"\s?[(\[{<]\s?(?:at|ät|arroba|arobase|chiocciola)\s?[)\]}>]\s?|\s(?:at|arroba|arobase|chiocciola)\s", re.I
)
_SPELLED_DOT = re.compile(r"\s?[(\[{<]\s?(?:dot|punkt|point|punto)\s?[)\]}>]\s?|\s(?:dot|punkt|point|punto)\s", re.I)

# What stands before an address of Latin letters and belongs to it: "राम." of "राम.k@example.com".
_JOINED = regex.compile(r"[\w.+-]*[.+_-]\Z")
_LAST_UNCASED = regex.compile(rf"(?:{UNCASED}|\p{{M}}|\.)\Z", regex.V1)

_BEGIN = "|".join((r"(?<![\w.,/=_-])(?<!\d )", *(rf"(?<=\b{word})" for word in JOINED_BEFORE)))
_NUMBER = re.compile(
    rf"(?=[+(]|\d)(?:{_BEGIN})(?P<number>(?:\+|\(\+|\()?\d(?:[ ]?[().+/-]{{0,3}}[ ]?\d){{6,16}})(?:\s?(?:x|ext\.?|poste"
    rf"|durchwahl)\s?\d{{1,5}})?(?:(?!\w|:\d)|(?=(?:{'|'.join(JOINED_BEHIND)})(?![a-z])))",
    re.I,
)
_NO_TELEPHONE = re.compile(
    r"(?:model|modell|modèle|modelo|modello|serial|serien|série|serie|part|teile?|pièce|pieza|pezzo|item|artikel"
    r"|article"
    r"|artículo|articolo|order|bestellung|bestell|commande|pedido|ordine|isbn|ean|asin|sku|upc|version|nummer|numero"
    r"|tracking|sendung|suivi|no|nr|id|n°|nº|n\.º|n\.|number|#|[$€£₹])[\s.:#-]*$",
    re.I,
)
_TELEPHONE_WORD = re.compile(
    r"(?:phone|call|cell|mobile|tel|text|contact|fax|whatsapp|sms|telefon\w*|handy\w*|mobil\w*|anruf\w*|rufen|ruft"
    r"|téléphon\w*|telephon\w*|portable|appel\w*|joindre|teléfono|móvil|movil|llam\w*|celular|telefono|cellulare"
    r"|chiam\w*)\W+(?:\w+\W+){0,3}$",
    re.I,
)
_AMOUNTS = re.compile(r"\d{1,4}(?:[.,]\d{2,3})+(?:\s+\d{1,4}(?:[.,]\d{2,3})+)*")
_YEARS = re.compile(r"(?:(?:19|20)\d\d\D*)+")
_DATE = re.compile(r"\d{1,4}[-/. ]\d{1,2}[-/. ]\d{1,4}(?:\D.*)?")
_LOCAL = 140  # characters on each side of a spelled @
_BEFORE = 40  # characters in which a word tells what a number is
_MAX_NATIONAL = 12  # digits of a number without a country code
_NO_TRUNK = frozenset({"US", "CA", "IN", "IT", "ES", "PL", "SG"})  # the others write a 0 first
# Numbers of one length, of which few are free: any grouping will do. Elsewhere the area code stands apart.
_CLOSED = frozenset({"US", "CA", "IN", "GB"})
_FIXED = frozenset({"FR", "IT"})  # nearly every number is one: only as the country groups it

# What a link is of: ASCII as browsers take it, letters and digits, and the sign of a letter without case.
_OF_LINK = rf"[!#-&(-;=?-~\w{SIGN}]"
_LINK = re.compile(
    rf"\b[a-z][a-z0-9+.-]{{1,10}}://{_OF_LINK}{{4,2000}}|(?<![\w@.-])(?:www\.)?[\w-]{{1,40}}\.com/{_OF_LINK}{{2,500}}",
    re.I,
)
_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?[^/?#]*", re.I)
# Signs of a sentence in full width, whose plain forms a link may have; in a host they are disguise, or a dot.
_FULL_WIDTH_END = re.compile(r"[\u3001\u3002\uff01\uff08\uff09\uff0c\uff1b\uff61\uff64]|\uff1f(?![\w-]+[=\uff1d])")
_UNCASED_RUN = re.compile(f"{SIGN}+")
_MOST_RUNS = 16  # a link that is personal by what stands behind more of them is taken as a whole
_PERSONAL_LINK = re.compile(
    r"^[a-z][a-z0-9+.-]*://[^/?#\s]*?[^/?#\s:@]@"  # a user name, perhaps with a password
    r"|[?&#;](?=[\w-]+=)[\w-]*?(?:token|secret|passw(?:or)?d|pwd|auth|session(?:id)?|sid|signature|sig|api[_-]?key|code"
    r"|user(?:name|_?id)?|e?-?mail|account|invite)"
    r"|[?&/=][^\s?&/=]+(?:@|%40)[\w-]+\."
    r"|^(?:[a-z]+://)?(?:[\w-]+\.)*(?:facebook|instagram|twitter|tiktok|snapchat|vk|pinterest|threads|xing)\.(?:com"
    r"|net)/(?!(?:p|reel|watch|pages|groups|marketplace|hashtag|explore|share|search|pin)/?\b)[\w.@-]{3,}/?$"
    r"|^(?:[a-z]+://)?(?:[\w-]+\.)*(?:linkedin\.com/in|reddit\.com/u(?:ser)?|youtube\.com/(?:@|user)|github\.com"
    r"|t\.me|x\.com)/?[\w.@-]{3,}/?$"
    r"|^(?:[a-z]+://)?(?:[\w-]+\.)*amazon\.[\w.]+/(?:gp/)?profile/",
    re.I,
)

_PLATFORM = (
    r"(?:instagram|insta(?!ll)|twitter|tik ?tok|discord|telegram|snapchat|skype|steam|reddit"
    r"|facebook|twitch|psn|xbox live)"
)
_USER_WORD = (
    r"(?:user[ _-]?(?:name|id)|log[ -]?in(?:[ _-]?name)?|screen[ _-]?name|my handle|gamer ?tag|nick(?:[ _-]?name)?"
    r"|benutzer(?:name|kennung)?|nutzername|anmeldename|identifiant|nom d'utilisateur|pseudo(?:nyme)?"
    r"|(?:nombre de )?usuario|apodo|nome utente|utente)"
)
_IS = r"(?:(?:on|auf|bei|sur|en|su|in) [\w ]{2,20}? )?(?:(?:is|was|ist|lautet|war|est|es|era)\b|è|:|=)"
_NAME = r"(?P<value>@?(?=[\w.-]*[a-z0-9_])[A-Za-z0-9_](?:[\w.-]{1,28}[\w])?)"
_NAMED = re.compile(
    rf"(?<!\w)(?:(?i:{_USER_WORD})[ ]?(?i:{_IS})[ ]?[\"'«„“]?"
    rf"|(?i:{_PLATFORM})(?:[^\n.,;!?]{{0,12}}?[ ](?i:as|under|bin ich|als|heiße ich|heisse ich|je suis|sous|soy"
    rf"|como|sono|come)[ ]|[ ]?[:=][ ]?)"
    rf"|(?i:{_PLATFORM})[,: ]{{1,2}}(?=\S+[ ](?i:is my (?:handle|user|nick|name|id)))){_NAME}(?![\w@])"
)
_HANDLE = re.compile(r"(?<![\w.@/])@[A-Za-z_][\w.]{2,28}\w(?![\w@])")
_NO_USERNAME = frozenset(
    {
        "the", "a", "an", "my", "your", "not", "in", "of", "is", "it", "to", "and", "so", "but", "too", "very",
        "required", "invalid", "wrong", "correct", "that", "this", "same", "das", "der", "die", "ein", "eine", "nicht",
        "falsch", "richtig", "le", "la", "les", "un", "une", "pas", "faux", "mon", "el", "los", "no", "una", "mal",
        "il", "lo", "non", "sbagliato", "uno", "home", "work", "night", "all", "best", "first", "least", "last"
    }
)  # fmt: skip


def find_emails(plain: Normalised) -> list[Span]:
    """E-mail addresses, written with @ or spelled out, whose domain can exist."""
    return _in_both(plain, _emails)


def _in_both(plain: Normalised, find: Callable[[Normalised, bool], list[Span]]) -> list[Span]:
    """What stands alone between letters without case, and in other places what such letters are part of.

    Args:
        find: Finds spans, with letters without case as parts of them or not.
    """
    spans = find(plain, False)
    if plain.spelled is plain.text:
        return spans
    return spans + [
        one for one in find(plain, True) if not any(one[0] < end and start < one[1] for start, end in spans)
    ]


def _emails(plain: Normalised, is_uncased: bool) -> list[Span]:
    text, spans = plain.text, []
    if "@" in text:
        recognizer = _email_recognizer()
        copy = plain.spelled if is_uncased else text
        found = recognizer.analyze(copy, recognizer.supported_entities, None) or []
        spans += [_address(plain, one.start, one.end, is_uncased) for one in found]
    copy = plain.joined if is_uncased else text
    for at in _SPELLED_AT.finditer(copy):
        for match in _SPELLED.finditer(copy, max(0, at.start() - _LOCAL), at.end() + _LOCAL):
            spans.append(_address(plain, *match.span(), is_uncased))
    return [span for span in spans if span]


def _address(plain: Normalised, start: int, end: int, is_uncased: bool) -> Span | None:
    """The part of a span that is an address; None where its domain cannot exist.

    Args:
        is_uncased: Whether letters without case behind a domain may be none of it.
    """
    written = plain.spelled
    while not _has_domain(written[start:end]):
        if not is_uncased or not _LAST_UNCASED.search(written, start, end):
            return None
        end -= 1
    before = _JOINED.search(written, max(0, start - _LOCAL), start) if written is not plain.text else None
    return (before.start() if before else start), end


def _has_domain(text: str) -> bool:
    address = _SPELLED_DOT.sub(".", _SPELLED_AT.sub("@", text)).replace(" ", "")
    return address.count("@") == 1 and bool(_domains()(address.rpartition("@")[2]).fqdn)


def find_links(plain: Normalised) -> list[Span]:
    """Links with a user name, a password, a token or an e-mail address in them, and links to a person's profile."""
    return _in_both(plain, _links)


def _links(plain: Normalised, is_uncased: bool) -> list[Span]:
    return [
        (match.start(), end)
        for match in _LINK.finditer(plain.joined if is_uncased else plain.text)
        if (end := _personal_end(plain, match))
    ]


def _personal_end(plain: Normalised, match: re.Match[str]) -> int | None:
    """Where a personal link ends; None for another one.

    Letters without case are of the link (RFC 3987) only as far as it is personal by them: text goes on behind a link
    without a space, so a link that is personal before them ends there (RFC 3986).
    """
    start, end = match.span()
    host = _HOST.match(match.string, start, end)
    if sign := _FULL_WIDTH_END.search(plain.written, host.end() if host else start, end):
        end = sign.start()
    runs = islice(_UNCASED_RUN.finditer(plain.text, start, end), _MOST_RUNS)
    ends = [place for run in runs for place in run.span()]
    for place in (*ends, end):
        link = match.string[start:place].rstrip(".,;:!?)]}")
        is_cut = link.endswith("=") and place < end  # a value that begins with such letters
        if not is_cut and _PERSONAL_LINK.search(link):
            return start + len(link)
    return None


def find_usernames(plain: Normalised) -> list[Span]:
    """Names of accounts: after a word that says so, and words that begin with @."""
    spans = [
        match.span("value")
        for match in plain.near(_NAMED, WORDS["username"])
        if match["value"].lstrip("@").lower() not in _NO_USERNAME
    ]
    if "@" in plain.text:
        spans += [match.span() for match in _HANDLE.finditer(plain.text) if match[0][1:].lower() not in _NO_USERNAME]
    return spans


def telephone_finder(regions: Sequence[str]) -> Callable[[Normalised], list[Span]]:
    """A function that finds telephone numbers.

    Args:
        regions: Whose numbers are known without a country code.
    """

    def find(plain: Normalised) -> list[Span]:
        return [match.span() for match in _NUMBER.finditer(plain.text) if _is_telephone(plain, match, regions)]

    return find


def _is_telephone(plain: Normalised, match: re.Match[str], regions: Sequence[str]) -> bool:
    """Whether digits are a telephone number: they can be dialled, and are written as one or named one."""
    import phonenumbers

    number, before = match["number"], plain.text[max(0, match.start() - _BEFORE) : match.start()]
    digits = sum(char.isdigit() for char in number)
    if is_date(number) or is_quantity(plain.spelled, *match.span()):
        return False
    if digits <= _MAX_NATIONAL and names_telephone(plain.spelled, *match.span()):
        return True
    named = bool(_TELEPHONE_WORD.search(before))
    if not named:
        if _NO_TELEPHONE.search(before):
            return False
        if _AMOUNTS.fullmatch(number) or _YEARS.fullmatch(number) or (_DATE.fullmatch(number) and digits <= 8):
            return False
        if digits < 9:
            return False
    dialled = number.lstrip("(").replace("(0)", "", 1)
    if dialled.startswith(("+", "00")):
        dialled = "+" + dialled.removeprefix("00") if not dialled.startswith("+") else dialled
        return digits >= 8 and _parsed(dialled, None, valid=True) is not None
    if digits > _MAX_NATIONAL:
        return False
    for region in regions:
        parsed = _parsed(number, region, valid=not named)
        if parsed is None:
            continue
        if named:
            return True
        if region not in _NO_TRUNK and not number.lstrip("(").startswith("0"):
            continue
        written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
        groups, usual = _groups(number), _groups(written)
        is_apart = groups[0] == usual[0] and region not in _FIXED
        if groups == usual or (digits >= 10 and (len(groups) == 1 or region in _CLOSED or is_apart)):
            return True
    return False


def _groups(number: str) -> list[str]:
    return re.findall(r"\d+", number)


def _parsed(number: str, region: str | None, *, valid: bool) -> Any:
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    if valid:
        fits = phonenumbers.is_valid_number(parsed) and (
            region is None or phonenumbers.is_valid_number_for_region(parsed, region)
        )
    else:
        fits = phonenumbers.is_possible_number(parsed)
    return parsed if fits else None


@cache
def _domains() -> Any:
    """The list of top-level domains that comes with the package: nothing is fetched."""
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


@cache
def _email_recognizer() -> Any:
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    class OfflineEmailRecognizer(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return True  # the domain is looked at with what stands beside it

    return OfflineEmailRecognizer()
