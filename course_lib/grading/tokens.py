"""Cut Python text into tokens, whatever the text is.

Not `tokenize` or `ast`: the first stops at text that is not Python and cannot say what stood after it, the second can
take the interpreter down with it (deep nesting). This one never fails, and takes time in proportion to the text's
length: every pattern is possessive, and a string that nobody ends goes on to the end of its line, or of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

COMMENT, STRING, NAME, NUMBER, NEWLINE, OP = "comment", "string", "name", "number", "newline", "op"

_TOKEN = re.compile(
    r"""
      (?P<comment> \#[^\n]*+ )
    | (?P<string> (?:[rRbBuUfFtT]{1,2}(?=['"]))?+ (?:
          \"\"\" (?: [^\\"] | \\. | "(?!"") )*+ (?:\"\"\")?+
        | '''    (?: [^\\'] | \\. | '(?!'') )*+ (?:''')?+
        | "      (?: [^\\"\n] | \\. )*+ "?+
        | '      (?: [^\\'\n] | \\. )*+ '?+ ) )
    | (?P<number> \.?+\d[\w.]*+ )
    | (?P<name> (?: [^\W\d] | [^\x00-\x7f] ) (?: \w | [^\x00-\x7f] )*+ )
    | (?P<joined> \\\r?\n )
    | (?P<newline> \n )
    | (?P<space> [^\S\n]++ )
    | (?P<op> \*\*=? | //=? | >>=? | <<=? | -> | := | [-+*/%&|^@=!<>]= | \.\.\. | . )
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(source: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of each token but for spaces; names in the spelling (NFKC) by which Python knows them."""
    for found in _TOKEN.finditer(source):
        kind = found.lastgroup or OP
        if kind == NAME:
            text = found[0]
            yield NAME, text if text.isascii() else unicodedata.normalize("NFKC", text)
        elif kind not in ("space", "joined"):
            yield kind, found[0]


def content_of(string: str) -> tuple[str, str]:
    """(prefix in lower case, text between the quotes) of a string token."""
    start = next(i for i, char in enumerate(string) if char in "\"'")
    prefix, body = string[:start].lower(), string[start:]
    quote = body[0] * 3 if body[:3] == body[0] * 3 and len(body) > 3 else body[0]
    body = body[len(quote) :]
    return prefix, body.removesuffix(quote)
