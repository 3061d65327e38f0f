"""What people type and paste, read as raw file ids. Pure functions: which ids there are, the caller asks the database.

An id that is right is taken as it is, whatever characters it has. Only what is no id is looked at more closely: blanks,
quotes and bullets around it, and the way to a file in front of it, as in ``s3://bucket/20250115_sample.d/``.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any
from urllib.parse import unquote

_LONGEST_ID = 255
_SHORTEST_NAME = 3
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad"  # a BOM and the like: str.strip() knows only blanks
_AROUND = "\"'`´‘’‚“”„«»‹›[](){}<>,;"  # noqa: RUF001 (quotes as text programs set them)
_BULLET = re.compile(r"^[-*•–]\s+")  # noqa: RUF001
_SEPARATORS = re.compile(r"[\s,;]+")
_ROOT = re.compile(r"[/\\~]|\w+://|[A-Za-z]:[/\\]|\.{1,2}[/\\]|[\"'`]")
_EXTENSION = re.compile(r"\.\w{1,8}[\"'`]?$")
_MOST_WORDS = 6  # of one id in a text of many; more would make a long paste slow
_HIGHEST = "\U0010ffff"
_JOINTS = "[ _-]"  # are easily taken for one another
_SHORTEST_HEAD = 6  # of an id, in digits, mostly a date: few ids begin with the same one
_NO_UNICODE = re.compile("[\ud800-\udfff]")  # JSON can carry it, a database cannot


@dataclass(frozen=True)
class ReadId:
    """One id out of a text.

    Attributes:
        raw_file_id: what it was read as; where nothing is known, the text without blanks around it.
        given: the piece of the text.

    """

    raw_file_id: str
    given: str

    @property
    def note(self) -> str:
        """A line for the log, for what was not taken as it is; else empty."""
        return "" if self.raw_file_id == self.given else f"Read {shown(self.given)} as {shown(self.raw_file_id)}"


def shown(text: str) -> str:
    """Show what was typed, in one line that has an end."""
    longest = 200
    return repr(text) if len(text) <= longest else f"{text[:longest]!r}…"


def looks_like_several(given: str) -> bool:
    """Whether a text that is no id may be more than one; an id may have blanks, and a bullet before it."""
    pieces = _SEPARATORS.split(_without_quotes(_stripped(given)))
    return sum(bool(_EXTENSION.search(piece)) for piece in pieces) > 1


def spellings(given: str) -> list[str]:
    """Ids that a text may mean, the most literal one first."""
    bare = _stripped(given)
    reduced = [name for text in dict.fromkeys([bare, _without_quotes(bare)]) for name in _last_components(text)]
    return list(dict.fromkeys([*_literal_spellings(given), *_storable(reduced)]))


def _literal_spellings(given: str) -> list[str]:
    bare = _stripped(given)
    return _storable([given, bare, _without_quotes(bare)])


def _storable(texts: Sequence[str]) -> list[str]:
    """Those that can be ids, and the same in the other Unicode form, as text from a Mac has it."""
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD") for text in texts]
    return [text for text in dict.fromkeys([*texts, *forms]) if can_be_id(text)]


def can_be_id(text: str) -> bool:
    """Whether the database can have it."""
    return 0 < len(text) <= _LONGEST_ID and not _NO_UNICODE.search(text)


def _stripped(text: str) -> str:
    before = None
    while before != text:
        before, text = text, text.strip().strip(_INVISIBLE)
    return text


def _without_quotes(text: str) -> str:
    before = None
    while before != text:
        before, text = text, _stripped(_BULLET.sub("", text).strip(_AROUND))
    return text


def _last_components(path: str) -> Iterator[str]:
    """Of a path, as Linux or Windows writes it, or of a URL, also with what a signed one has behind its ``?``."""
    is_url = "://" in path
    for text in (path, unquote(re.split(r"[?#]", path)[0])) if is_url else (path,):
        way, component = _at_last_slash(text)
        if component == text or not component.strip(_AROUND) or _may_be_several(way):
            continue
        if not (is_url and way.endswith("://")):
            yield _without_quotes(component)
            yield component


def _at_last_slash(path: str) -> tuple[str, str]:
    bare = path.rstrip("/\\")
    cut = max(bare.rfind("/"), bare.rfind("\\")) + 1
    return bare[:cut], bare[cut:]


def _may_be_several(way: str) -> bool:
    """Whether the way to a file may hold another file, which must not be dropped in silence."""
    words = [word for word in _SEPARATORS.split(way) if word]
    return any(_ROOT.match(word) for word in words[1:]) or any(_EXTENSION.search(word) for word in words[:-1])


# --- many in one text ------------------------------------------------------------------------------------------------


def possible_ids(given: str | Sequence[str]) -> set[str]:
    """All that could be an id in what was given: what ``read_ids`` wants to know of."""
    found: set[str] = set()
    for _, line in _lines(given):
        found |= set(spellings(line))
        words = _words(line)
        for first in range(len(words)):
            for last in range(first, min(first + _MOST_WORDS, len(words))):
                found |= set(spellings(line[words[first].start : words[last].end]))
    return found


def read_ids(given: str | Sequence[str], known: Collection[str]) -> list[ReadId]:
    """Read ids from a list, or from a text, each id once.

    A text is cut at its lines, commas and semicolons, and at blanks only where all that comes of it are known ids, as
    an id may hold any of these. An element of a list is one id; where it is none, and cutting it gives known ids only,
    it is several.

    Args:
        given: list or text.
        known: those of ``possible_ids(given)`` that are ids.

    """
    found: dict[str, ReadId] = {}
    for is_element, line in _lines(given):
        pieces = _cut(line, known)
        if is_element and not all(_known_spelling(piece, known) for piece in pieces):
            pieces = [line]
        for piece in pieces:
            read = _known_spelling(piece, known) or _stripped(piece)
            if read.strip(_AROUND + " "):
                found.setdefault(read, ReadId(read, piece))
    return list(found.values())


@dataclass(frozen=True)
class _Word:
    start: int
    end: int
    begins_piece: bool
    ends_piece: bool


def _lines(given: str | Sequence[str]) -> Iterator[tuple[bool, str]]:
    if isinstance(given, str):
        yield from ((False, line) for line in given.splitlines() if _stripped(line))
    else:
        yield from ((True, element) for element in given if _stripped(element))


def _words(line: str) -> list[_Word]:
    """Where the words of a line are; a piece is what lies between commas or semicolons."""
    spans: list[tuple[int, int]] = []
    cuts: list[bool] = []  # whether a comma or semicolon stands before
    begin = 0
    new_piece = True
    for separator in [*_SEPARATORS.finditer(line), None]:
        end = separator.start() if separator else len(line)
        if end > begin:
            spans.append((begin, end))
            cuts.append(new_piece)
            new_piece = False
        if separator:
            new_piece = new_piece or not separator[0].isspace()
            begin = separator.end()
    return [
        _Word(start, end, cuts[number], number + 1 == len(spans) or cuts[number + 1])
        for number, (start, end) in enumerate(spans)
    ]


def _cut(line: str, known: Collection[str]) -> list[str]:
    """Cut a line into as few pieces as can be, all of them known ids or whole pieces between commas."""
    if any(spelling in known for spelling in _literal_spellings(line)):
        return [line]
    words = _words(line)
    unknown = 3 * len(words) + 1  # what an unknown piece costs: more than any number of known ids
    # For each word: the cheapest way to cut all before it, as its cost and where its last piece begins.
    ways: list[tuple[int, int] | None] = [(0, 0), *([None] * len(words))]
    piece_begins = 0
    for last, word in enumerate(words):
        piece_begins = last if word.begins_piece else piece_begins
        for first in range(max(0, last + 1 - _MOST_WORDS), last + 1):
            way = ways[first]
            cost = _cost(line[words[first].start : word.end], last + 1 - first, known) if way else 0
            if way and cost:
                ways[last + 1] = min(ways[last + 1] or (way[0] + cost, first), (way[0] + cost, first))
        way = ways[piece_begins]
        if word.ends_piece and way and ways[last + 1] is None:
            ways[last + 1] = (way[0] + unknown, piece_begins)
    return _pieces_of(line, words, ways)


def _cost(run: str, words: int, known: Collection[str]) -> int:
    """What taking a run of words as one id costs; 0 for none. Two known words are likelier than a path with a blank."""
    if any(spelling in known for spelling in _literal_spellings(run)):
        return 1
    return 3 * words - 2 if _known_spelling(run, known) else 0


def _pieces_of(line: str, words: Sequence[_Word], ways: Sequence[tuple[int, int] | None]) -> list[str]:
    pieces: list[str] = []
    end = len(words)
    while end > 0:
        way = ways[end]
        begin = way[1] if way else 0
        pieces.append(line[words[begin].start : words[end - 1].end])
        end = begin
    return pieces[::-1]


def _known_spelling(piece: str, known: Collection[str]) -> str:
    return next((spelling for spelling in spellings(piece) if spelling in known), "")


# --- near ids --------------------------------------------------------------------------------------------------------


def names_in(given: str) -> list[str]:
    """What a text without a match may be about, the likeliest first: its spellings, words and parts of its path."""
    unquoted = _without_quotes(_stripped(given))
    found = list(reversed(spellings(given)))
    found += [part for part in reversed(re.split(r"[/\\]+", unquoted)) if can_be_id(part)]
    found += [word for word in _SEPARATORS.split(unquoted) if can_be_id(word)]
    return [name for name in dict.fromkeys(found) if len(name) >= _SHORTEST_NAME][:50]


def query_of_near_ids(given: str) -> dict[str, Any] | None:
    """A question to MongoDB for ids like a text that is none; None when there is nothing to ask for.

    Each of its branches is a range or a list of values of ``_id``, so that its index answers it: ids that begin so (an
    extension is missing), that it begins with (``x.wiff.scan`` belongs to ``x.wiff``), with another extension, and in
    other case among those with the same beginning.
    """
    names = names_in(given)
    if not names:
        return None
    name = names[0]
    stem = name.rpartition(".")[0] or name
    values = {value for each in names for value in _respelt(each)}
    values |= {each[:length] for each in names[:5] for length in range(_SHORTEST_NAME, len(each))}
    branches: list[dict[str, Any]] = [{"_id": {"$in": sorted(values)}}, {"_id": beginning_with(name)}]
    if len(stem) >= _SHORTEST_NAME:
        branches.append({"_id": beginning_with(f"{stem}.")})
    head = re.split(_JOINTS, name)[0]
    if len(head) >= _SHORTEST_HEAD and not any(character.isalpha() for character in head):
        like_stem = _JOINTS.join(re.escape(part) for part in re.split(_JOINTS, stem))
        branches.append({"_id": {**beginning_with(head), "$regex": f"^{like_stem}", "$options": "i"}})
    return {"$or": branches}


def beginning_with(text: str) -> dict[str, str]:
    """Condition on a text of the database that begins so; a range, which an index answers."""
    return {"$gte": text, "$lt": text + _HIGHEST}


def _respelt(name: str) -> set[str]:
    """The same in the usual cases, and with blanks for underscores."""
    stem, dot, extension = name.rpartition(".")
    stems = {stem, stem.lower(), stem.upper(), stem.capitalize()}
    respelt = {f"{each}{dot}{end}" for each in stems for end in (extension, extension.lower(), extension.upper())}
    return respelt | {name, name.replace(" ", "_"), name.replace("_", " ")}


def nearest(given: str, found: Collection[str], most: int) -> list[str]:
    """The ids most like a text, the nearest first; where one differs in case and joints only, that one."""
    names = [_folded(name) for name in names_in(given)[:8]]
    the_same = sorted(raw_file_id for raw_file_id in found if _folded(raw_file_id) in names[:3])
    if the_same:
        return the_same[:most]

    def likeness(raw_file_id: str) -> float:
        folded = _folded(raw_file_id)
        return max((SequenceMatcher(None, name, folded).ratio() for name in names), default=0.0)

    return sorted(found, key=lambda raw_file_id: (-likeness(raw_file_id), raw_file_id))[:most]


def _folded(name: str) -> str:
    return re.sub(_JOINTS, "_", name.casefold())
