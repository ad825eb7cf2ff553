"""Words beside a number that name it a telephone's, by language.

Listed are the languages that have stop words here, and Thai: what a telephone, a messenger or a call is called, and the
few short words that may stand between that and the number ("me at", "number is"). Anything else between them breaks the
tie: "手机号是" names a number, "手机型号" (a model) does not. A word for a number alone names none, since orders and
parts have numbers too. Words that say much else besides ("ring", "reach", "line") count where a person or a number is
next to them.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import regex

from core.languages import CASED

_NEAR = 60  # characters beside a number that are looked at
# Words of letters with case, by language: those that name a number, and those that may stand between.
_WITH_CASE = {
    "english": (
        r"call(?:ed)?|dial(?:led)?|(?:tele)?phone|tel|text(?:ed)?|sms|whatsapp|wechat|viber|mobile|cell|fax|contact"
        r"|(?:ring|rang|reach)(?=\W{1,3}(?:me|us|him|her|my|our)(?!\w))",
        "at|by|him|her|is|it|me|my|no|nr|number|on|our|phone|the|them|under|us|via|was|your",
    ),
    "german": (
        r"(?:telefon|handy|mobil|festnetz)(?:nummer|nr)?|telefonisch|mobiltelefon|anrufen|ruf(?:t|en|e)?"
        r"|erreich\w*(?=(?:\W{1,3}sie)?\W{1,3}(?:mich|uns|ihn|unter)(?!\w))",
        "unter|an|auf|mich|ihn|sie|uns|ist|nummer|nr|die|der|den|meine|mein|unsere|lautet|am|bitte|mobil|oder|per",
    ),
    "french": (
        r"t[ée]l|t[ée]l[ée]phon\w*|portable|appel\w*|joindre|joignable|contact\w*",
        "au|moi|le|la|les|nous|est|numéro|numero|num|n°|mon|ma|notre|me|m|sur|à|lui|par|du|de",
    ),
    "spanish": (
        r"tel[ée]fono\w*|tfno|m[óo]vil|celular|ll[áa]m[ae]\w*|llamar\w*|contact\w*|marca[rd]",
        "a|al|me|nos|número|numero|núm|mi|es|el|por|en|nº|n|nuestro|su|de",
    ),
    "italian": (
        r"telefon\w*|cellulare|chiam\w*|contatt\w*",
        "al|mi|ci|numero|num|è|il|mio|nostro|lo|n|a|su|per|di",
    ),
    "portuguese": (
        r"telefone\w*|telem[óo]vel|celular|liguem?|ligar|chame|contat\w*|contact\w*|zap",
        "para|pro|o|me|número|numero|nº|meu|é|no|nosso|pelo|a|ao|de|mim",
    ),
    "catalan": (r"tel[èe]fon|mòbil|truca(?:'m|r|u|me)?|truqu\w+", "al|a|m|em|número|el|meu|és|nostre|per"),
    "romanian": (r"telefon\w*|mobil|suna[țţt]i|sun[ăa]|apela[țţt]i", "la|mă|ma|ne|numărul|numarul|este|nr|meu"),
    "dutch": (
        r"telefoon\w*|mobiel|gsm(?=\W{1,3}(?:nummer|nr)(?!\w))|bel(?:len)?"
        r"|bereik\w+(?=\W{1,3}(?:me|mij|ons|op|via|onder)(?!\w))",
        "op|me|mij|ons|nummer|is|mijn|naar|nr|via|het|onder|te|dan",
    ),
    "danish, norwegian, swedish": (
        r"telefon\w*|tlf|mobil\w*|ring[ea]?(?=\W{1,3}(?:til|till|meg|mig|mej|os|oss|på)(?!\w))|h[åa]ndtelefon",
        "på|meg|mig|mej|os|oss|til|till|nummer|er|är|min|mitt|mit|nr",
    ),
    "finnish": (r"puhelin\w*|puh|soit\w+|matkapuhelin\w*", "numeroon|numero|on|minulle|meille|p|nro"),
    "hungarian": (r"telefon\w*|mobil\w*|hív\w+", "a|az|engem|szám|száma|számom|számon|fel|minket"),
    "czech, slovak": (
        r"telefon\w*|mobil\w*|(?:za)?volejte|(?:za)?volaj(?:te)?|(?:za)?vol(?:ejte|at|ať)",
        "na|mi|me|ji|číslo|čísle|je|mé|moje|č|nám|mne",
    ),
    "polish": (
        r"telefon\w*|kom[óo]rk\w*|(?:za)?dzwo[nń]\w*",
        "pod|na|do|mnie|nas|numer|numerem|nr|to|mój|moj|jest|proszę",
    ),
    "turkish": (
        r"telefon\w*|cep|gsm(?=\W{1,3}(?:no|numara\w*)(?!\w))|arayın|arayabilirsiniz",
        r"no|numara\w*|numaram|numaramız|benim|bana|beni|bizi|telefonu",
    ),
    "indonesian, malay": (
        r"telepon\w*|telp|telpon|telefon|handphone|ponsel|hubungi|bimbit|(?:no|nomor|nombor)\W{1,3}(?:hp|wa)",
        "nomor|no|nombor|saya|kami|di|ke|adalah|ini",
    ),
    "vietnamese": (
        r"điện thoại|đt|sđt|sdt|di động|gọi|liên hệ|zalo|hotline",
        "số|cho|tôi|mình|qua|theo|là|của|vào|em|anh|chị|đến|tới",
    ),
    "russian, ukrainian, bulgarian": (
        r"тел|телефон\w*|моб|мобильн\w*|мобільн\w*|мобилен|звон\w+|позвон\w+|набер\w+|дзвон\w+|зателефон\w+|обад\w+"
        r"|вотсап\w*|ватсап\w*|вайбер\w*|сотов\w*|факс",
        "по|на|мне|мені|ми|нам|номер|номеру|номером|мой|мій|моят|это|це|е|за|его|її|наш|под|се",
    ),
    "greek": (r"τηλ|τηλέφων\w*|κινητό|κινητου|καλέστε|φαξ", "στο|μου|με|είναι|αριθμός|μας|το"),
    "of chinese, in letters": (r"qq|wx|vx|weixin|line(?=\W{0,3}(?:id|号|號))|kakao\w*", "id|号|號"),
}
# The same of letters without case, which need no space between words.
_WITHOUT_CASE = {
    "chinese": (
        "电话|電話|手机|手機|座机|座機|热线|熱線|传真|傳真|微信|致电|致電|拨打|撥打|打给|打給|联系|聯繫|聯絡|短信|来电|來電|扣扣",
        "号码|號碼|号|號|方式|是|为|為|就|请|請|我们|我們|我|的|你|给|給|到|在|一下|或|和|及|拨打|撥打|打|加|叫|人",
    ),
    "japanese": (
        "電話|携帯|ケータイ|スマホ|ファックス|ファクス|ライン|連絡先|連絡",
        "番号|は|を|へ|に|の|で|も|まで|お|ご|下さい|ください|または|か|私|僕|です|先",
    ),
    "korean": (
        "전화|휴대폰|핸드폰|연락처|연락|문자|팩스|카톡|카카오톡",
        "번호|는|은|이|가|를|을|로|으로|에|도|제|내|저의|주세요|하세요|해주세요|걸|걸어|처",
    ),
    "thai": (
        "โทรศัพท์|โทร|มือถือ|เบอร์|ไลน์|แฟกซ์|ติดต่อ|สายด่วน",
        "ที่|เบอร์|หมายเลข|หา|มา|ไป|ได้|คือ|ของ|ผม|ฉัน|ดิฉัน|เรา|กลับ|ผ่าน|ทาง|เป็น|โทร|ติดต่อ",
    ),
    "hindi": (
        "फोन|फ़ोन|फ़ोन|मोबाइल|मोबाईल|व्हाट्सएप|व्हाट्सऐप|व्हाट्सअप|वाट्सएप|कॉल|संपर्क|सम्पर्क|फैक्स|एसएमएस",
        "नंबर|नम्बर|नं|संख्या|है|पर|का|की|के|में|करें|करो|कीजिए|मेरा|मेरी|मुझे|हमें|हमारा|से|या|लिए",
    ),
    "gujarati": ("ફોન|મોબાઇલ|મોબાઈલ|વોટ્સએપ|કૉલ|કોલ|સંપર્ક", "નંબર|છે|પર|મારો|કરો|નો|મને"),
    "arabic": (
        "هاتف|تلفون|تليفون|جوال|موبايل|محمول|واتساب|واتس|اتصل|اتصلوا|للاتصال|للتواصل|فاكس",
        "رقمي|رقم|الرقم|على|هو|بي|بنا|ي",
    ),
    "persian": ("تلفن|موبایل|تماس|واتساپ|فکس", "شماره|با|بگیرید|من|ما|است|همراه"),
    "hebrew": ("טלפון|נייד|פלאפון|התקשרו|התקשר|וואטסאפ|ווטסאפ|פקס", "מספר|אל|הוא|שלי|אלי|ל|ב"),
}
# Behind a number, where a language says so: "010-1234-5678로 전화".
_BEHIND = (
    "(?:に|へ|まで)(?:お|ご)?(?:電話|連絡|かけ)|(?:으로|로|에) ?(?:전화|연락|문자|카톡)"
    "| ?पर (?:मुझे |हमें )?(?:फोन|फ़ोन|फ़ोन|कॉल|संपर्क|सम्पर्क|व्हाट्सएप|मैसेज)| ?પર (?:ફોન|કૉલ|કોલ|સંપર્ક)"
)
# No end of a sentence is among them, for letters without case.
_SIGNS = r"[\s\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}:：=＝#＃*、,，~～+＋/／|｜&\"']"
# What letters of a number's own line may be: "wx13812345678", "13812345678wx同号".
JOINED_BEFORE = (
    "tel", "phone", "mobile", "cell", "call", "whatsapp", "wechat", "weixin", "wx", "vx", "qq", "viber", "zalo", "sms",
    "fax",
)  # fmt: skip
JOINED_BEHIND = ("whatsapp", "wechat", "weixin", "wx", "vx", "qq", "viber", "zalo", "line")
_YEAR = r"(?:19|20)\d\d"
_DATE = regex.compile(rf"(?:{_YEAR}([-./])\d\d?\1\d\d?|\d\d?([-./])\d\d?\2{_YEAR})(?: \d\d?)?")
_COMPACT_DATE = regex.compile(rf"{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_YEARS = regex.compile(rf"{_YEAR}(?:(?: ?[-/] ?| ){_YEAR})+")
# Thousands in groups. Where three digits stand first, only with an end of zeros: "612.345.678" may be a number.
_AMOUNT = regex.compile(r"[1-9]\d?(?:\.\d{3})+|[1-9]\d\d(?:\.\d{3}){0,3}\.000")
_ROUND = 100  # what the numbers of a range or a scale are multiples of
_SERIES = regex.compile(r"(?:0|[1-9]\d{2,5})(?: ?([-/]) ?[1-9]\d{2,5})(?: ?\1 ?[1-9]\d{2,5}){0,4}")
_CURRENCY_BEFORE = regex.compile(r"\p{Sc}\s?\Z")
_CURRENCY_BEHIND = regex.compile(
    r"\s?(?:\p{Sc}(?!\s?\d)|元(?![旦月])|[円圆圓块塊]|원(?![하장])|บาท|रुपय|रुपए|રૂપિયા"
    r"|(?:đ|đồng|vn[dđ]|rupiah|rp|idr|ringgit|ft|forint|руб\w{0,4}|грн|гривень|лв|kč|zł|złotych|kr|kroner|kronor"
    r"|tl|lira|eur|euros?|usd|dollars?|dólares|ريال|درهم|دينار|جنيه|تومان|ریال|שקל|שקלים)(?!\w))",
    regex.IGNORECASE,
)


def names_telephone(text: str, start: int, end: int) -> bool:
    """Whether the words beside a number say that it is a telephone's, and nothing that it is another.

    Another are amounts, years, days and what `is_quantity` tells: a telephone has a price and a date too.

    >>> text = "我的手机号码是13812345678"
    >>> names_telephone(text, 7, len(text)), names_telephone("手机型号12345678", 4, 12)
    (True, False)

    Args:
        start, end: Where the number stands in the text.
    """
    number = text[start:end]
    if _AMOUNT.fullmatch(number) or _COMPACT_DATE.fullmatch(number) or is_quantity(text, start, end):
        return False
    before, behind = text[max(0, start - _NEAR) : start], text[end : end + _NEAR]
    return _before().search(before) is not None or _behind().match(behind) is not None


def is_quantity(text: str, start: int, end: int) -> bool:
    """Whether a number is a sum of money, years, or a range or scale of rising round numbers.

    >>> text = "手机2000-3000元"
    >>> is_quantity(text, 2, 11), is_quantity("mobile 1999-2005", 7, 16), is_quantity("call 555-1234", 5, 13)
    (True, True, False)

    Args:
        start, end: Where the number stands in the text.
    """
    number = text[start:end]
    if _YEARS.fullmatch(number):
        return True
    # No sum begins with a zero or a country code.
    before, behind = text[max(0, start - 2) : start], text[end : end + _NEAR]
    if number.startswith(tuple("123456789")) and (_CURRENCY_BEFORE.search(before) or _CURRENCY_BEHIND.match(behind)):
        return True
    if not _SERIES.fullmatch(number):
        return False
    parts = [int(part) for part in regex.findall(r"\d+", number)]
    return not any(part % _ROUND for part in parts) and all(one < next_one for one, next_one in pairwise(parts))


def is_date(number: str) -> bool:
    """Whether a number is a day with its year, perhaps with an hour: none to call, whatever stands beside it.

    >>> is_date("2024-01-15"), is_date("15.01.2024 12"), is_date("2024-0115")
    (True, True, False)
    """
    return _DATE.fullmatch(number) is not None


@cache
def _before() -> regex.Pattern[str]:
    with_case = "|".join(
        rf"(?:{words})(?:\W{{1,3}}(?:{between})(?!\w)){{0,4}}\W{{0,3}}" for words, between in _WITH_CASE.values()
    )
    without_case = "|".join(
        rf"(?:{words})(?:{_SIGNS}{{0,3}}(?:{between})){{0,4}}{_SIGNS}{{0,3}}"
        for words, between in _WITHOUT_CASE.values()
    )
    return regex.compile(rf"(?:(?<!{CASED})(?:{with_case})|{without_case})\Z", regex.V1 | regex.IGNORECASE)


@cache
def _behind() -> regex.Pattern[str]:
    return regex.compile(_BEHIND)
