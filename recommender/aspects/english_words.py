"""Lists of English words that the rules for aspects look at."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Frequent, and in no other language: they tell an English text.
FUNCTION_WORDS = _words(
    "the and is it of to for that this with was are have has had but not you my they be from will can very so these "
    "when just which there were been did does i'm it's don't"
)
# Verbs that link a noun to what is said of it, beside those of perception.
LINKS = _words(
    "is are was were be been sounds sound sounded looks look looked feels feel felt seems seem seemed"
)  # fmt: skip
# Verbs of perception, and what they speak of.
PERCEIVED: dict[str, str] = {
    **dict.fromkeys(("sounds", "sound", "sounded"), "sound"),
    **dict.fromkeys(("looks", "look", "looked"), "look"),
    **dict.fromkeys(("feels", "feel", "felt"), "feel"),
    **dict.fromkeys(("fits", "fit"), "fit"),
}
PRONOUNS = _words("it they this these that those")
# Verbs of liking: the opinion, and its polarity.
LIKING: dict[str, tuple[str, float]] = {
    **dict.fromkeys(("love", "loved", "adore"), ("loved", 0.8)),
    **dict.fromkeys(("like", "liked", "enjoy", "enjoyed"), ("liked", 0.5)),
    **dict.fromkeys(("hate", "hated", "dislike", "disliked"), ("disliked", -0.7)),
}
WRITER = _words("i we")
DENIALS = _words("not no never without hardly neither nor nothing lacks lack lacking")
EXCESS = _words("too overly")
# What follows them in a sentence is wished for, expected or compared, not found.
UNREAL = _words(
    "wish wished wishing would could should might if unless whether hope hoped hoping expect expected expecting than "
    "instead looking searching needed need want wanted supposed"
)
# Who denies these says nothing good of what follows, and nothing bad; nor does who doubts.
THINKING = _words(
    "think thinks thinking thought say says saying said believe believes believed find finds finding found feel felt "
    "claim call sure certain convinced"
)
DOUBTING = _words("doubt doubted")
# A clause behind them is said of its own.
CONTRASTS = _words("but though although however yet ;")
# Adjectives of the lexicon that describe a thing, or count it, and do not say how good it is.
NO_JUDGEMENT = _words(
    "more most much many less least few own sure able first last new old other only main whole full real true cheap "
    "expensive live free ready available dead electric mad crazy possible certain total complete normal average fair "
    "straight pure gold golden black white dark ultimate professional modern creative rich primary latest popular "
    "important significant top serious distinct original hot thin thick tough dirty negative positive special mild "
    "huge okay ok adequate wise quick genuine unique super fresh single double multiple particular favorite favourite "
    "clean sweet static secondary advanced famous cold rare fake experienced grand deluxe"
)
# Nouns that name the item as such, its buyer, an occasion or a turn of speech, and no side of it.
NO_SIDE = _words(
    "product item thing stuff one ones buy purchase deal choice idea way lot bit time times day days week month year "
    "job work part kind sort type reason problem issue complaint review reviews reviewer star stars amazon seller "
    "company brand person people guy guys man woman kid kids friend wife husband son daughter brother sister mother "
    "father boy baby player players musician musicians beginner beginners customer customers everyone anyone someone "
    "everything anything something nothing luck news experience result results addition gift present christmas "
    "birthday place home house world lifetime rest end start beginning side hand hands point fact case cases "
    "example word words thanks thank order shipping delivery package packaging alternative option replacement upgrade "
    "investment money dollar dollars buck bucks success hit fun love shape condition pair set couple number amount "
    "level piece solution tool gadget device unit units use uses user users starter fan bet difference bang spot right "
    "high low bargain touch surprise bonus improvement change concept statement download sense ability opinion chance "
    "while thought instrument accessory model gripe downside upside pro con mood tune"
)
