"""Does an answer use a name that the assignment denies it: the library's own solution of the exercise?

A hint, not a wall. It sees names in plain sight: through `import ... as`, `from ... import`, `d = torch.distributions`,
text in f-strings, and `getattr(torch, "stft")`. It does not see names that are put together (`"st" + "ft"`), that are
hidden in brackets (`(torch).stft`), or that come out of a list or another function. A denied name without a dot
("stft") is denied wherever it stands, which also finds methods (`wave.stft()`) and brackets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from course_lib.grading.sandbox.answering import without_commands
from course_lib.grading.tokens import COMMENT, NAME, NEWLINE, STRING, content_of, tokens

_READY = {"nn": "torch.nn", "F": "torch.nn.functional", "np": "numpy"}  # what every answer finds imported
_REFLECTION = frozenset(
    ("getattr", "__import__", "import_module", "eval", "exec", "vars", "globals", "modules", "__dict__", "attrgetter")
)
_MAX_ALIASES = 1_000

_Token = tuple[str, str]


def denied_name(source: str, deny: Iterable[str]) -> str:
    """The first of the dotted names `deny` that the source uses, or "".

    A denied name denies what is below it, too: "torch.distributions" denies torch.distributions.kl_divergence.
    """
    deny = tuple(deny)
    # Both ways in which it may be run: a command that begins a string would hide what follows it from one of them.
    forms = dict.fromkeys((source, without_commands(source))) if deny else ()
    return next((name for form in forms if (name := _denied_name(form, deny))), "")


def _denied_name(source: str, deny: tuple[str, ...]) -> str:
    found = [one for one in _all_tokens(source) if one[0] not in (COMMENT, NEWLINE)]
    aliases, stars = dict(_READY), []
    used = list(_dotted_names(found))
    _read_imports(found, aliases, stars)
    _read_assignments(found, aliases)
    full = {form for name in {*used, *aliases.values()} for form in _forms(name, aliases, stars)}
    parts = {part for name in full for part in name.split(".")}
    texts = {content_of(text)[1].strip() for kind, text in found if kind == STRING}
    full |= {text for text in texts if "." in text}  # sys.modules["torch.distributions"]
    if parts & _REFLECTION:
        parts |= texts
    in_pattern = {"match", "case"} <= parts  # match torch: case object(distributions=d)
    for entry in deny:
        last = entry.rpartition(".")[2]
        if entry in parts or any(name == entry or name.startswith(entry + ".") for name in full):
            return entry
        if (parts & _REFLECTION and last in texts) or (in_pattern and last in parts):
            return entry
    return ""


def _all_tokens(source: str) -> Iterator[_Token]:
    """The tokens, and those of what f-strings hold."""
    for kind, text in tokens(source):
        yield kind, text
        if kind == STRING:
            prefix, content = content_of(text)
            if "f" in prefix or "t" in prefix:
                yield from tokens(content)


def _dotted_names(found: Sequence[_Token]) -> Iterator[str]:
    i = 0
    while i < len(found):
        if found[i][0] == NAME:
            name, i = _dotted(found, i)
            yield name
        else:
            i += 1


def _dotted(found: Sequence[_Token], i: int) -> tuple[str, int]:
    """The dotted name that begins at token i, and where it ends."""
    parts = [found[i][1]]
    i += 1
    while i + 1 < len(found) and found[i][1] == "." and found[i + 1][0] == NAME:
        parts.append(found[i + 1][1])
        i += 2
    return ".".join(parts), i


def _read_imports(found: Sequence[_Token], aliases: dict[str, str], stars: list[str]) -> None:
    done = -1
    for i, (kind, text) in enumerate(found[:-1]):
        if kind != NAME or found[i + 1][0] != NAME or i == done:
            continue
        if text == "import":
            _read_names(found, i + 1, "", aliases, stars)
        elif text == "from":
            name, done = _dotted(found, i + 1)
            if done < len(found) and found[done][1] == "import":
                _read_names(found, done + 1, name + ".", aliases, stars)


def _read_names(found: Sequence[_Token], i: int, base: str, aliases: dict[str, str], stars: list[str]) -> None:
    """`a, b as c` after an import; names that are imported under their own, undotted name need no alias."""
    while i < len(found) and len(aliases) < _MAX_ALIASES:
        kind, text = found[i]
        if text == "*" and base:
            stars.append(base)
        if text == "(":
            i += 1
            continue
        if kind != NAME:
            return
        name, i = _dotted(found, i)
        if i + 1 < len(found) and found[i][1] == "as" and found[i + 1][0] == NAME:
            aliases[found[i + 1][1]] = base + name
            i += 2
        elif base:
            aliases[name] = base + name
        if i >= len(found) or found[i][1] != ",":
            return
        i += 1


def _read_assignments(found: Sequence[_Token], aliases: dict[str, str]) -> None:
    """`d = torch.distributions` makes d an alias."""
    for i in range(len(found) - 2):
        if found[i][0] == NAME and found[i + 1][1] in ("=", ":=") and found[i + 2][0] == NAME:
            name, end = _dotted(found, i + 2)
            called = end < len(found) and found[end][1] in ("(", "[")
            if name != found[i][1] and not called and len(aliases) < _MAX_ALIASES:
                aliases.setdefault(found[i][1], name)


def _forms(name: str, aliases: dict[str, str], stars: Sequence[str]) -> Iterator[str]:
    """The name as it stands, and what it stands for."""
    yield name
    for base in stars[:10]:
        yield base + name
    for _ in range(5):
        first, dot, rest = name.partition(".")
        if first not in aliases:
            return
        name = aliases[first] + dot + rest
        if len(name) > 1_000:
            return
        yield name
