"""Every text that a model reads is built here, for training and for serving."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Literal

WritingTask = Literal["review", "reason"]
# How the next word is found: drawn from the likeliest, the likeliest, or as of the likeliest whole texts.
Strategy = Literal["nucleus", "greedy", "beam"]
TextStyle = Literal["short", "medium", "long"]

_OPINIONS = {1: "very bad", 2: "bad", 3: "mixed", 4: "good", 5: "very good"}
_QUESTION = "Write the review that this customer writes of this item."
_ANSWER = "Review:"
_VERDICTS = {1: "bad", 2: "bad", 3: "mixed", 4: "good", 5: "good"}
# What a writer's prompt has of the item and of the user; the small writer sees less.
ITEM_CHARS = 160
PROFILE_CHARS, SHORT_PROFILE_CHARS = 200, 120
MENTIONS_CHARS = 80
# Of each item that a profile names.
NAMED_CHARS = 30
PART_END = "\n"  # of a profile
_SPACE = re.compile(r"\s+")
# What stands between white space; Chinese and Japanese have none, and each character counts there.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+")
_GLUED_SENTENCES = re.compile(r"(?<=[a-z][.!?])(?=[A-Z])")


def tidy(text: str | None) -> str:
    """Undo HTML entities, put back the space after a full stop, and collapse white space."""
    if not text:
        return ""
    return _SPACE.sub(" ", _GLUED_SENTENCES.sub(" ", html.unescape(text))).strip()


def shorten(text: str, max_chars: int) -> str:
    """Cut at a word's end."""
    if len(text) <= max_chars:
        return text
    return text[: max_chars + 1].rsplit(" ", 1)[0][:max_chars]


def count_words(text: str) -> int:
    """How many words a text has, as who asks for at most so many counts them.

    >>> count_words("It's good, mail <EMAIL>"), count_words("很好喝。")
    (4, 3)
    """
    return len(_WORD.findall(text))


def first_words(text: str, n: int) -> str:
    """The first n words of a text that has as many, with the punctuation behind them.

    >>> first_words("Well-made, sturdy, cheap.", 2)
    'Well-made, sturdy,'
    """
    ends = [found.end() for found in _WORD.finditer(text)]
    return text[: ends[n - 1]]


def item_text(
    title: str | None,
    brand: str | None,
    category: str | None,
    description: str | None,
    reviews: Sequence[str],
    max_chars: int,
) -> str:
    """What the encoder reads of an item: "title. brand, category. description"; reviews where the shop gives no words.

    Args:
        reviews: Texts of reviews before the cut-off, most helpful first; read only if there is neither title nor
            description.
        max_chars: The text's length at most.
    """
    head = ", ".join(part for part in (tidy(brand), tidy(category)) if part)
    parts = [tidy(title), head, tidy(description)]
    if not parts[0] and not parts[2]:
        parts += [shorten(tidy(review), max_chars // 3) for review in reviews]
    return shorten(". ".join(part.rstrip(".") for part in parts if part), max_chars)


def profile_text(
    attributes: str,
    own_words: str,
    recent_labels: Sequence[str],
    mean_rating: float | None = None,
    likes: Sequence[str] = (),
    dislikes: Sequence[str] = (),
) -> str:
    """What is known of a user in words, a line for each part; `fit_profile` makes of it what a prompt has room for.

    Args:
        attributes: Of the user, as the source has them.
        own_words: That come back in the user's reviews.
        recent_labels: The newest items' names, newest first.
        mean_rating: The usual rating.
        likes: Brands and categories that the user comes back to, most frequent first.
        dislikes: Names of items that the user rated low, newest first.
    """
    recent, low = ("; ".join(shorten(tidy(name), NAMED_CHARS) for name in names) for names in (recent_labels, dislikes))
    parts = [
        tidy(attributes),
        "" if mean_rating is None else f"gives {mean_rating:.1f} stars",
        f"often says {tidy(own_words)}" if own_words else "",
        f"likes {', '.join(tidy(name) for name in likes)}" if likes else "",
        f"disliked {low}" if dislikes else "",
        f"lately {recent}" if recent_labels else "",
    ]
    return PART_END.join(part for part in parts if part)


def fit_profile(profile: str, max_chars: int) -> str:
    """The parts of a profile as one text. Where there is little room, the longest are shortened, and none is lost.

    >>> fit_profile("gives 4.5 stars\\nlikes tea\\nlately A large kettle of iron; A cup", 50)
    'gives 4.5 stars. likes tea. lately A large kettle'
    """
    parts = profile.split(PART_END)
    left, fitted = max_chars - 2 * (len(parts) - 1), dict[int, str]()
    for n_done, place in enumerate(sorted(range(len(parts)), key=lambda one: len(parts[one]))):
        room = max(0, left // (len(parts) - n_done))
        whole = parts[place]
        fitted[place] = whole if len(whole) <= room else shorten(whole, room).rstrip(" ,;")
        left -= len(fitted[place])
    return ". ".join(fitted[place] for place in range(len(parts)) if fitted[place])


def taste_text(mean_rating: float | None, liked: Sequence[str], disliked: Sequence[str]) -> str:
    """What the pair scorer's language model reads of a user: the usual rating, liked and disliked items.

    Args:
        liked: Names of items that the user liked, newest first.
        disliked: Names of those that the user did not like, newest first.
    """
    parts = [
        "" if mean_rating is None else f"gives {mean_rating:.1f} stars",
        f"liked {'; '.join(liked)}" if liked else "",
        f"disliked {'; '.join(disliked)}" if disliked else "",
    ]
    return ". ".join(part for part in parts if part)


def writer_prompt(rating: float | None, profile: str, item: str) -> str:
    """What the feedback writer continues: the rating in words, the item, the user.

    The rating's word joins ratings of a kind: in most shops 1 star is too rare to be learned alone.
    """
    stars = "unrated" if rating is None else f"{_VERDICTS[round(rating)]}, {round(rating)} stars"
    user = fit_profile(profile, SHORT_PROFILE_CHARS)
    return f"review {stars} | item: {shorten(item, ITEM_CHARS)} | user: {user} | text:"


def language_model_prompt(rating: float | None, profile: str, item: str, mentions: str = "") -> tuple[str, str]:
    """What a pretrained language model continues, in the words that such models have read: the part that may be cut at
    its end where it is too long, and the rest.

    Args:
        mentions: What several reviewers of the item speak of; no line where there is nothing.
    """
    head = _described(profile, item, mentions)
    return head, f"{_rating_line(rating)}\n{_ANSWER}"


def language_model_question(rating: float | None, profile: str, item: str, mentions: str = "") -> tuple[str, str]:
    """The same as a question to an assistant, likewise in two parts."""
    return f"{_QUESTION}\n{_described(profile, item, mentions)}", _rating_line(rating)


def _described(profile: str, item: str, mentions: str) -> str:
    said = f"\nReviewers mention: {shorten(mentions, MENTIONS_CHARS)}" if mentions else ""
    return f"Item: {shorten(item, ITEM_CHARS)}{said}\nCustomer: {fit_profile(profile, PROFILE_CHARS)}"


def _rating_line(rating: float | None) -> str:
    return "" if rating is None else f"\nRating: {round(rating)} out of 5 stars, {_OPINIONS[round(rating)]}"
