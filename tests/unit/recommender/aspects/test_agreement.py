"""On what reviewers agree."""

from recommender.aspects.agreement import Agreement, ReviewedItem
from recommender.aspects.aspect import Aspect

GREAT, NICE, BAD = (Aspect("tone", word, polarity) for word, polarity in (("great", 0.8), ("nice", 0.6), ("bad", -0.7)))


def item(*reviews):
    reviewed = ReviewedItem()
    for reviewer, *aspects in reviews:
        reviewed.add(reviewer, aspects)
    return reviewed


def test_several_reviewers_have_to_agree():
    assert item(("ann", GREAT), ("bob", GREAT)).agreed(3) == []
    assert item(("ann", GREAT), ("bob", NICE), ("cas", GREAT)).agreed(3) == [
        Agreement("tone", "tone", 3, 0, ("great", "nice"))
    ]


def test_a_reviewer_counts_once():
    assert item(("ann", GREAT), ("ann", NICE), ("ann", GREAT)).agreed(2) == []


def test_who_praises_and_blames_says_neither():
    reviewed = item(("ann", GREAT), ("bob", GREAT), ("bob", BAD), ("cas", GREAT))
    assert reviewed.agreed(1) == [Agreement("tone", "tone", 2, 0, ("great",))]


def test_an_aspect_that_others_blame_is_not_agreed_on():
    praise = [(str(n), GREAT) for n in range(4)]
    assert item(*praise, ("x", BAD)).agreed(2) == [Agreement("tone", "tone", 4, 1, ("great",))]
    assert item(*praise, ("x", BAD), ("y", BAD)).agreed(2) == []


def test_one_reviewer_can_be_left_out():
    reviewed = item(("ann", GREAT), ("bob", NICE), ("cas", NICE))
    assert reviewed.agreed(2, without="ann") == [Agreement("tone", "tone", 2, 0, ("nice",))]
    assert reviewed.agreed(3, without="ann") == []
    assert reviewed.agreed(3, without="somebody else") == reviewed.agreed(3)


def test_a_name_of_two_nouns_counts_for_the_second_where_that_stands_alone():
    sound = [("ann", Aspect("sound quality", "great", 0.8)), ("bob", Aspect("sound quality", "good", 0.7))]
    assert [one.term for one in item(*sound).agreed(2)] == ["sound quality"]
    both = item(*sound, ("cas", Aspect("quality", "good", 0.7)))
    assert [(one.term, one.n_praise) for one in both.agreed(2)] == [("quality", 3), ("sound quality", 2)]


def test_an_aspect_is_called_as_most_reviewers_write_it():
    written = [Aspect("string", "great", 0.8, name) for name in ("strings", "strings", "string")]
    (one,) = item(*((str(n), aspect) for n, aspect in enumerate(written))).agreed(3)
    assert (one.term, one.name) == ("string", "strings")
