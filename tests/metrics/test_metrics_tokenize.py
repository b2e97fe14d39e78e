"""Expected tokens of `ptb` are what the PTBTokenizer of pycocoevalcap 1.2 prints for these texts."""

import pytest

from rsmoe.errors import UserError
from rsmoe.metrics.captions.tokenize import ptb, tokenizer, whitespace, word_ids, word_vocabulary

PTB = {
    "There's a ship. It's here.": "there 's a ship it 's here",
    "don't, can't; won't haven't cannot shan't": "do n't ca n't wo n't have n't can not sha n't",
    "the planes' wings, they're 'eagles' \"x\" `y'": "the planes wings they 're eagles x y",
    "it’s “curly” and ‘single’": "it 's curly and single",
    "gonna wanna lemme 'tis": "gon na wan na lem me 't is",
    "semi-surrounded by a four-way road -- and more - less": "semi-surrounded by a four-way road and more less",
    "criss_crossing high/low and/or": "criss_crossing high/low and/or",
    "well–known and well—known … end ...": "well known and well known end",
    "Mr. Smith at St. Louis, e.g. here, i.e. there, etc. at 5 p.m. today": (
        "mr. smith at st. louis e.g. here i.e. there etc. at 5 p.m. today"
    ),
    "the U.S. and part a.": "the u.s. and part a.",
    "no. 5 and fig. 3, but there is no. It": "no. 5 and fig. 3 but there is no it",
    "max. 3 km. at sq. 4, approx. 5": "max 3 km at sq. 4 approx 5",
    "1,000 ships 3.5 m 10-20 1/2 10:30 .5 -5 10,000.50": "1,000 ships 3.5 m 10-20 1/2 10:30 .5 -5 10,000.50",
    "3.5m 2km 5m2 10:30pm 5km/h 50% $5 2.5-m": "3.5 m 2km 5m2 10:30 pm 5km/h 50 % $ 5 2.5-m",
    "12:30, 2020-01-05. B-52 747-400 1960s 1960's '60s": "12:30 2020-01-05 b-52 747-400 1960s 1960 's '60s",
    "(left) [middle] {right}": "-lrb- left -rrb- -lsb- middle -rsb- -lcb- right -rcb-",
    "two-(2) a(b)c": "two -lrb- 2 -rrb- a -lrb- b -rrb- c",
    "wow!! what?! wow!": "wow !! what ?! wow",
    "sea,there trees.the end trees.2": "sea there trees.the end trees .2",
    "10m² 45° 5×5 ½ ± café": "10m ² 45 ° 5 × 5 1/2 ± café",
    "€5 £3 ¢ &amp; &lt;": "$ 5 # 3 cents & <",
    "o'clock field'and": "o'clock field and",
    "a*b ~50 a+b _a_ # @x": "a * b ~ 50 a + b _ a _ # @x",
    "<b>bold</b> http://a.b/c. www.test.org, foo@bar.com": "<b> bold </b> http://a.b/c www.test.org foo@bar.com",
    "hello😀world": "hello world",
    "**Overview**: 3 planes\n- item\n# Heading | a |": "** overview ** 3 planes item # heading | a |",
    "1. A road; 2. a river": "1 a road 2 a river",
    "approx. 3,000 m² (0.5 km × 6 km)": "approx 3,000 m ² -lrb- 0.5 km × 6 km -rrb-",
    "it's ~50% water, i.e., a lake": "it 's ~ 50 % water i.e. a lake",
    "image_001.png is shown": "image_001 png is shown",
    "x=5, y=10 a+b=c m/s^2 1:1000": "x = 5 y = 10 a + b = c m/s ^ 2 1:1000",
    "[0.25, 0.31, 0.40, 0.52]": "-lsb- 0.25 0.31 0.40 0.52 -rsb-",
    "<box>12 34</box> {<10><20>} </s>": "<box> 12 34 </box> -lcb- < 10 > < 20 > -rcb- </s>",
    "lat 45.3°N, lon -122.5°W at 50°C": "lat 45.3 ° n lon -122.5 ° w at 50 ° c",
    "100,000+ people #1 $5.00 €5": "100,000 + people # 1 $ 5.00 $ 5",
    "rock'n'roll isn't it? I'd've you'll d'accord": "rock 'n' roll is n't it i 'd 've you 'll d'accord",
    "café naïve straße ﬁeld": "café naïve straße ﬁeld",
    "建筑物 дома и дороги": "建筑物 дома и дороги",
    "(see Fig. 2) Dr. Who, Mt. Fuji, St. Mary's": "-lrb- see fig. 2 -rrb- dr. who mt. fuji st. mary 's",
    "re- -ed co-operate u.k.-based north-west-facing": "re ed co-operate u.k.-based north-west-facing",
    "[INST] hi [/INST] (A) yes": "-lsb- inst -rsb- hi -lsb- / inst -rsb- -lrb- a -rrb- yes",
    "80's '80s 24/7 2x2 2.0.1 3.": "80 's '80s 24/7 2x2 2.0.1 3",
    "non\u00a0breaking zero\u200bwidth • → ≈10": "non breaking zero width • → ≈ 10",
    "": "",
    " . , ; ": "",
}


@pytest.mark.parametrize("text", PTB)
def test_ptb_hard_cases(text: str) -> None:
    assert " ".join(ptb(text)) == PTB[text]


def test_whitespace() -> None:
    assert whitespace(" A sea,there is.  Semi-circle's\n") == ["a", "sea", "there", "is", "semi-circle's"]
    assert whitespace(" . ,") == []


def test_word_ids_of_unknown_words_match_each_other() -> None:
    tokens = word_ids({"a": 2, "tree": 3})
    assert tokens("A tree, whatever.") == ["2", "3", "1"]
    assert tokens("zzz") == tokens("yyy")


def test_word_vocabulary_keeps_what_is_frequent() -> None:
    assert word_vocabulary(["A tree.", "a tree", "a lake"], min_count=2) == {"a": 2, "tree": 3}


def test_unknown_tokenizer_names_the_known() -> None:
    with pytest.raises(UserError, match="whitespace"):
        tokenizer("whitespce")
