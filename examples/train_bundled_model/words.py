"""Names, numbers and wordings that fill the dialogues, split into a training and a held-out half."""

from __future__ import annotations

import random
import string
import zlib
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def listed(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


_ONSETS = listed("b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kr pl pr sh sk st th tr qu")
_VOWELS = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "ai", "ea", "ee", "ou", "y"]
_CODAS = ["", "", "", "", "n", "r", "l", "s", "m", "t", "x", "nd", "ck", "th"]

COMMON = listed(
    """time year people way day man thing woman life child world school state family student group country problem
hand part place case week company system program question work government number night point home water room mother
area money story fact month lot right study book eye job word business issue side kind head house service friend
father power hour game line end member law car city community name president team minute idea body information back
parent face level office door health person art war history party result change morning reason research girl guy
moment air teacher force education foot boy age policy process music market sense nation plan college interest
death experience effect class control care field development role effort rate heart drug show leader light voice
wife police mind price report decision son view relationship town road arm difference value building action season
society tax director position player record paper space ground form event official matter center couple site project
activity star table need court oil situation cost industry figure street image phone data picture practice piece land
product doctor wall patient worker news test movie north love book step south baby computer type attention film
blue red green black white small large old new young long short high low early late big great good best last first
run walk open close move turn start stop play stand hold bring write sit read lead grow draw send build fall cut
apple bread coffee sugar orange lemon cheese river mountain forest island ocean bridge train plane ship rocket moon
planet winter summer spring autumn garden flower tree bird horse tiger lion wolf rabbit turtle dragon castle tower
silver gold copper iron glass stone paper cotton velvet window mirror candle lamp chair kitchen pencil letter engine
wheel pocket jacket hammer basket bottle ticket station harbor village desert valley storm cloud thunder rain snow
hello banana kitten orange violin guitar piano drum trumpet chess soccer tennis hockey marathon"""
)
FIRST = listed(
    """James Mary John Linda Robert Anna David Sara Maria Kenji Wei Ahmed Olga Priya Luca Emma Noah Ivan Chloe Yuki
Peter Paul Alice Bob Carol Eve Frank Grace Henry Irene Jack Karen Leo Mona Nina Oscar Pablo Rosa Simon Tara Ursula
Victor Wendy Xavier Yara Zoe Fatima Hassan Ingrid Jorge Klaus Lars Mei Nadia Omar Pavel Quinn Ravi Sofia Tom"""
)
PLACES = listed(
    """Paris London Tokyo Berlin Madrid Rome Cairo Lima Oslo Delhi Seoul Quito Boston Chicago Sydney Toronto Nairobi
Vienna Prague Dublin Lisbon Athens Mumbai Bangkok France Germany Spain Italy Japan China India Brazil Canada Peru
Egypt Kenya Norway Sweden Poland Chile Mexico Texas Denver Milan Munich Lyon Porto Warsaw Zurich Geneva Havana Austin
Iceland Ireland Portugal Greece Turkey Iran Iraq Nepal Cuba Ghana Morocco Vietnam Thailand Amsterdam Barcelona"""
)
PIECES = [
    piece
    for piece in listed(Path(__file__).with_name("pieces.txt").read_text(encoding="utf-8"))
    if piece.islower()
]
"""The vocabulary's own pieces of words: joined at random, they make the model copy each of them."""

MONTHS = listed("January February March April May June July August September October November December")


def is_held_out(word: str) -> bool:
    """Whether a word belongs to the held-out half: one in eight, by a checksum of its lower-case letters."""
    return zlib.crc32(word.lower().encode()) % 8 == 0


class Source:
    """Draws every random thing of a dialogue from one seeded generator.

    With `held_out` the words come only from the held-out half and the wordings from the lists kept aside; without
    it never. With `odd` nearly half of the invented words cannot be pronounced: random letters and pieces of the
    vocabulary, which is practice in copying rather than anything that people ask.
    """

    def __init__(self, seed: int | str, *, held_out: bool = False, odd: bool | None = None) -> None:
        self.rng = random.Random(seed)
        self.held_out = held_out
        self.odd = not held_out if odd is None else odd

    def chance(self, p: float) -> bool:
        """True with probability `p`."""
        return self.rng.random() < p

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self.rng.random() * len(options))]

    def wording(self, train: Sequence[T], held_out: Sequence[T]) -> T:
        """A wording from the half in use."""
        return self.pick(held_out if self.held_out else train)

    def int(self, low: int, high: int) -> int:
        """An integer between both bounds, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def _split(self, options: Sequence[str]) -> str:
        for _ in range(200):
            word = self.pick(options)
            if is_held_out(word) == self.held_out:
                return word
        return self._invented()

    def _invented(self) -> str:
        while True:
            kind = self.rng.random()
            if self.odd and kind < 0.3:
                word = "".join(self.pick(PIECES) for _ in range(self.pick((1, 2, 2, 3))))
            elif not self.odd or kind < 0.85:
                word = "".join(
                    self.pick(_ONSETS) + self.pick(_VOWELS) + self.pick(_CODAS)
                    for _ in range(self.pick((1, 2, 2, 3)))
                )
            else:
                word = "".join(self.pick(string.ascii_lowercase) for _ in range(self.int(2, 6)))
            if is_held_out(word) == self.held_out:
                return word

    def word(self) -> str:
        """A lower-case word: three of five are real, the others invented."""
        return self._split(COMMON) if self.chance(0.6) else self._invented()

    def any_case(self, word: str) -> str:
        """The word in one of the usual cases."""
        kind = self.rng.random()
        if kind < 0.55:
            return word
        return word.capitalize() if kind < 0.93 else word.upper()

    def token(self) -> str:
        """One word in any case, now and then with digits or a hyphen."""
        word = self.any_case(self.word())
        if self.chance(0.04):
            word += self.pick(["", "-", "_"]) + str(self.int(1, 999))
        elif self.chance(0.03):
            word += "-" + self.word()
        return word

    def place(self) -> str:
        """A place: real or invented, of one or two words."""
        kind = self.rng.random()
        if kind < 0.4:
            return self._split(PLACES)
        word = self.word().capitalize()
        if kind < 0.8:
            return word
        return self.pick(["New", "North", "San", "Port", "Lake", "Upper"]) + " " + word

    def person(self) -> str:
        """A person's name of one to three words."""
        first = self._split(FIRST) if self.chance(0.6) else self.word().capitalize()
        if self.chance(0.25):
            return first
        return f"{first} {self.word().capitalize()}"

    def phrase(self, low: int = 1, high: int = 5) -> str:
        """Several words with spaces between them; while training, a word now and then stands twice."""
        kind = self.rng.random()
        count = self.int(low, high)
        make = self.word if kind < 0.55 else self.token
        if 0.55 <= kind < 0.75:
            make = self._capitalised
        words = [make() for _ in range(count)]
        if not self.held_out and count > 2 and self.chance(0.15):
            words[self.int(1, count - 1)] = self.pick(words)
        return " ".join(words)

    def _capitalised(self) -> str:
        return self.word().capitalize()

    def thing(self) -> str:
        """A string value such as a person, a place or a few words."""
        kind = self.rng.random()
        if kind < 0.25:
            return self.place()
        if kind < 0.45:
            return self.person()
        if kind < 0.7:
            return self.token()
        return self.phrase(1, 3)

    def number(self, digits: int = 5) -> int:
        """A positive integer of one to `digits` digits, each length as likely; now and then a round one."""
        size = self.int(1, digits)
        if self.chance(0.08):
            zeros = self.int(1, max(1, size - 1))
            return self.int(1, 10 ** (size - zeros) if size > zeros else 9) * 10**zeros
        return self.int(10 ** (size - 1) if size > 1 else 0, 10**size - 1)

    def decimal(self) -> str:
        """A decimal number of one to three places."""
        places = self.int(1, 3)
        return f"{self.number(4)}.{self.int(0, 10**places - 1):0{places}d}"

    def numbers(self, low: int = 2, high: int = 6) -> list[str]:
        """Several numbers, now and then with negative or decimal ones among them."""
        digits = self.int(1, 4)
        decimals = self.chance(0.12)
        out = [self.decimal() if decimals and self.chance(0.5) else str(self.number(digits)) for _ in
               range(self.int(low, high))]  # fmt: skip
        if self.chance(0.08):
            out = [n if self.chance(0.6) else "-" + n for n in out]
        return out

    def day(self) -> date:
        """A date between 1950 and 2060."""
        return date(1950, 1, 1) + timedelta(days=self.int(0, 40000))

    def scramble(self, text: str) -> str:
        """The same shape with other letters and digits: a result that cannot be guessed, only copied."""
        out = []
        for char in text:
            if char.isdigit():
                char = self.pick("0123456789")
            elif char.isalpha() and char.isascii():
                char = self.pick(string.ascii_uppercase if char.isupper() else string.ascii_lowercase)
            out.append(char)
        return "".join(out)

    def noisy(self, template: str) -> str:
        """A wording as people type it: case and closing mark vary; slots in braces are left alone."""
        kind = self.rng.random()
        if kind < 0.3:
            template = template[:1].lower() + template[1:]
        elif kind < 0.36 and "{" not in template:
            template = template.lower()
        if self.chance(0.22):
            template = template.rstrip("?.!")
        elif self.chance(0.06) and template[-1] not in "?.!":
            template += self.pick([".", "!", "?"])
        if self.chance(0.16):
            start = self.wording(
                [
                    "Please ",
                    "please ",
                    "Hey, ",
                    "OK, ",
                    "Hi, ",
                    "So, ",
                    "Now ",
                    "Could you tell me: ",
                    "Quick question: ",
                ],
                ["Well, ", "pls ", "One more: "],
            )
            template = start + (template if template[0] == "{" else template[:1].lower() + template[1:])
        if self.chance(0.06):
            template = template.rstrip("?.!") + self.wording(
                [" please", ", please", " thanks", ", please?"], [", thanks"]
            )
        return template
