"""LaTeX as readable text: commands go, what they say stays; formulas are kept as they are written.

No macro is expanded and no other file is read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import TextBuilder, choose_title, clean, make_document, one_line, read_all
from studio.documents.parsers.encodings import decode
from studio.domain import ParsedDocument

MAX_ARGUMENT_CHARS = 20_000
MAX_UNCLOSED = 200
"""After so many braces that never close no argument is looked for any more: each search costs its full length."""
MAX_DEPTH = 12
"""Arguments nested deeper than this are left out."""

_HEADINGS = {
    "part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "paragraph": 6, "subparagraph": 7,
    "frametitle": 5, "framesubtitle": 6, "addchap": 2, "addsec": 3,
}  # fmt: skip
_CODE = frozenset({"verbatim", "verbatim*", "lstlisting", "minted", "Verbatim", "alltt", "code", "filecontents"})
_MATH_WORDS = """
    equation eqnarray align alignat gather multline flalign displaymath math dmath subequations
"""
_MATH = frozenset(_MATH_WORDS.split())
_LEFT_OUT = frozenset({"comment", "tikzpicture", "pgfpicture", "picture", "axis", "CCSXML", "filecontents*"})
_TABLES_WORDS = """
    tabular tabular* tabularx tabulary longtable array supertabular tabu tblr longtblr
"""
_TABLES = frozenset(_TABLES_WORDS.split())
_SILENT_WORDS = """
    label ref eqref pageref autoref cref Cref nameref vref includegraphics input include includeonly subfile
    import bibliography bibliographystyle addbibresource usepackage RequirePackage documentclass documentstyle
    vspace hspace setlength addtolength newlength newcommand renewcommand providecommand DeclareMathOperator
    newenvironment renewenvironment newtheorem theoremstyle def let index glossary hypersetup pagestyle
    thispagestyle pagenumbering setcounter addtocounter stepcounter newcounter definecolor color rowcolor
    cellcolor columncolor graphicspath geometry lstset tikzset pgfplotsset usetikzlibrary cmidrule cline
    multirowsetup setmainfont setsansfont setmonofont fontsize selectfont hyphenation citestyle nocite
    PassOptionsToPackage newsavebox title author date markboth markright phantom hphantom vphantom rule raisebox
    bibitem titleformat titlespacing captionsetup AtBeginDocument sisetup newglossaryentry newacronym input@path
"""
_SILENT = frozenset(_SILENT_WORDS.split())
_ARGUMENTS = {
    "setlength": 2, "addtolength": 2, "newcommand": 2, "renewcommand": 2, "providecommand": 2, "newenvironment": 3,
    "renewenvironment": 3, "newtheorem": 2, "setcounter": 2, "addtocounter": 2, "definecolor": 3, "fontsize": 2,
    "markboth": 2, "rule": 2, "DeclareMathOperator": 2, "titleformat": 5, "titlespacing": 4, "newglossaryentry": 2,
    "newacronym": 3, "import": 2, "captionsetup": 1,
}  # fmt: skip
_FIRST_LEFT_OUT = {"textcolor": 1, "colorbox": 1, "href": 1, "multicolumn": 2, "multirow": 2, "resizebox": 2,
                   "scalebox": 1, "parbox": 1, "foreignlanguage": 1, "selectlanguage": 1, "hyperref": 0,
                   "adjustbox": 1, "rotatebox": 1, "hypertarget": 1, "hyperlink": 1, "fcolorbox": 2}  # fmt: skip
_CITATIONS = re.compile(r"(?:no|foot|paren|text|auto|full|[Cc])?cite[a-zA-Z]*\Z")
_SYMBOLS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł",
    "L": "Ł", "i": "ı", "j": "ȷ", "dots": "…", "ldots": "…", "textellipsis": "…", "S": "§", "P": "¶", "dag": "†",
    "copyright": "©", "textcopyright": "©", "pounds": "£", "euro": "€", "texteuro": "€", "textdegree": "°",
    "textendash": "–", "textemdash": "—", "textquoteleft": "‘", "textquoteright": "’", "textquotedblleft": "“",
    "textquotedblright": "”", "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^",
    "textunderscore": "_", "textbar": "|", "textless": "<", "textgreater": ">", "textregistered": "®",
    "texttrademark": "™", "LaTeX": "LaTeX", "LaTeXe": "LaTeX2e", "TeX": "TeX", "BibTeX": "BibTeX", "today": "",
    "quad": " ", "qquad": " ", "space": " ", "slash": "/", "guillemotleft": "«", "guillemotright": "»", "og": "«",
    "fg": "»", "enspace": " ", "thinspace": " ", "newline": "\n", "linebreak": "\n", "tabularnewline": "\n",
}  # fmt: skip
_ACCENTS = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "c": "\u0327", "v": "\u030c", "H": "\u030b", "u": "\u0306", "r": "\u030a", "k": "\u0328", "d": "\u0323",
    "b": "\u0331",
}  # fmt: skip
_TYPOGRAPHY = {"~": " ", "``": "“", "''": "”", "---": "—", "--": "–"}

_TOKEN = re.compile(
    r"""\\(?P<name>[a-zA-Z@]+)(?P<star>\*?)[ \t]*\n?[ \t]*
      | \\(?P<sign>.)
      | (?P<comment>%[^\n]*\n?[ \t]*)
      | (?P<math>\$\$(?:[^$\\]|\\.)*+\$\$ | \$(?:[^$\\\n]|\\.|\n(?![ \t]*\n))++\$)
      | (?P<blank>\n[ \t]*\n\s*)
      | (?P<type>~|``|''|---?)
      | (?P<brace>[{}])
      | (?P<cell>&)
      | (?P<text>[^\\%$\n~`'{}&-]+|.|\n)""",
    re.VERBOSE | re.DOTALL,
)
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_OPTION = re.compile(r"[ \t]*\[[^\[\]\n]{0,1000}\]")
_VERB = re.compile(r"\*?([^a-zA-Z\s])([^\n]*?)\1")
_PREAMBLE_COMMENT = re.compile(r"(?<!\\)%[^\n]*")
_BEGIN = re.compile(r"\\begin\s*\{document\}")
_END = re.compile(r"\\end\s*\{document\}")
_LABEL = re.compile(r"\\(?:label|tag)\*?\{[^{}]*\}|\\nonumber\b|\\notag\b")
_LICENCE = re.compile(
    r"SPDX-License-Identifier:[ \t]*([\w.+() -]{2,80})|\\(?:license|licence|setcclicense)\{([^{}]{2,120})\}"
)
_CODE_OPTIONS = re.compile(r"\A(?:\[[^\]\n]*\]|\{[^{}\n]*\})*[ \t]*\n?")
_SPACES = re.compile(r"[ \t]*\n[ \t]*|[ \t]+")


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; spans follow the headings."""
    source = clean(decode(read_all(path)))
    begin = _BEGIN.search(source)
    end = _END.search(source, begin.end()) if begin else None
    body = source[begin.end() : end.start() if end else len(source)] if begin else source
    front = _PREAMBLE_COMMENT.sub("", source[:100_000])
    builder = TextBuilder()
    title, author, date = (_declared(front, name) for name in ("title", "author", "date"))
    for line in (title, author, date):
        builder.line(line)
    _Reader(builder).read(body)
    licence = _LICENCE.search(source[:100_000])
    text, spans = builder.build()
    yield make_document(
        text,
        spans,
        "latex",
        title=choose_title(title, builder.first_heading, path),
        author=author,
        licence=next(filter(None, licence.groups()), "") if licence else "",
        created=date,
    )


def _declared(front: str, name: str) -> str:
    """The plain text of `\\title{…}` and its like, else ""."""
    found = re.search(rf"\\{name}\s*(?:\[[^\[\]]*\]\s*)?\{{", front)
    if found is None:
        return ""
    argument, _ = _braced(front, found.end() - 1)
    return one_line(plain(argument.replace("\\and", ", ").replace("\\\\", " ")).replace(" ,", ","))


def plain(source: str, depth: int = 0) -> str:
    """A piece of LaTeX as text, headings and all."""
    builder = TextBuilder()
    _Reader(builder, depth).read(source)
    return builder.build()[0]


def _braced(source: str, at: int) -> tuple[str, int]:
    """The argument whose brace opens at `at`, and where reading goes on; ("", at) if there is none."""
    if source[at : at + 1] != "{":
        return "", at
    depth = 0
    for match in _BRACES.finditer(source, at, at + MAX_ARGUMENT_CHARS):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return source[at + 1 : match.start()], match.end()
    return "", at + 1


class _Reader:
    """Reads LaTeX from left to right and adds its text to a builder."""

    def __init__(self, builder: TextBuilder, depth: int = 0) -> None:
        self._builder = builder
        self._depth = depth
        self._parts: list[str] = []
        self._tables = 0
        self._tight = False
        self._unclosed = 0

    def read(self, source: str) -> None:
        """Add the text of `source`."""
        at = 0
        while match := _TOKEN.match(source, at):
            at = match.end()
            kind = match.lastgroup
            if kind == "star":
                at = self._command(source, match, at)
            elif kind == "sign":
                at = self._sign(source, match["sign"], at)
            elif kind == "blank":
                self._flush()
            elif kind == "math":
                self._parts.append(match["math"])
            elif kind == "type":
                self._parts.append(_TYPOGRAPHY[match["type"]])
            elif kind == "cell":
                self._parts.append(" | " if self._tables else "&")
            elif kind == "text":
                self._parts.append(match["text"])
        self._flush()

    def _argument(self, source: str, at: int) -> tuple[str, int]:
        """The argument that opens at `at`, and where reading goes on; ("", at) if there is none."""
        if source[at : at + 1] == "{" and self._unclosed < MAX_UNCLOSED:
            argument, after = _braced(source, at)
            self._unclosed += after == at + 1
            return argument, after
        return "", at

    def _flush(self, *, whole: bool = False) -> None:
        lines = (_SPACES.sub(" ", line).strip() for line in "".join(self._parts).split("\x00"))
        self._parts.clear()
        text = "\n".join(line for line in lines if line.strip(" |"))
        if text:
            self._builder.block(text, "\n" if self._tight else "\n\n", whole=whole)
            self._tight = False

    def _break(self) -> None:
        self._parts.append("\x00")  # a line end that stays; those of the source are spaces

    def _sign(self, source: str, sign: str, at: int) -> int:
        if sign == "\\":
            self._break()
            return _after_option(source, at + (source[at : at + 1] == "*"))
        if sign in "([":
            return self._formula(source, at, "\\)" if sign == "(" else "\\]", sign == "[")
        if sign in _ACCENTS:
            return self._accent(source, sign, at)
        self._parts.append(" " if sign in " \n\t,;:/" else "" if sign in "-!@)]" else sign)
        return at

    def _accent(self, source: str, accent: str, at: int) -> int:
        letter, after = self._argument(source, at)
        if after == at:
            command = re.compile(r"\\?[^\W\d_]").match(source, at)
            letter, after = (command.group(), command.end()) if command else ("", at)
        letter = {"\\i": "i", "\\j": "j"}.get(letter.strip(), letter.strip())
        self._parts.append(unicodedata.normalize("NFC", letter[:1] + _ACCENTS[accent]) + letter[1:] if letter else "")
        return after

    def _formula(self, source: str, at: int, close: str, display: bool) -> int:
        end = source.find(close, at, at + MAX_ARGUMENT_CHARS) if self._unclosed < MAX_UNCLOSED else -1
        if end < 0:
            self._unclosed += 1
            return at
        formula = _LABEL.sub("", source[at:end]).strip()
        if display:
            self._flush()
            self._builder.block(formula)
        else:
            self._parts.append(formula)
        return end + len(close)

    def _command(self, source: str, match: re.Match[str], at: int) -> int:
        name = match["name"]
        if name in ("begin", "end"):
            return self._environment(source, name, at)
        if name in _HEADINGS:
            title, at = self._argument(source, _after_option(source, at))
            self._flush()
            self._builder.heading(_HEADINGS[name], self._inner(title))
        elif name == "verb" or name == "lstinline":
            quoted = _VERB.match(source, match.end("name"))
            self._parts.append(quoted.group(2) if quoted else "")
            at = quoted.end() if quoted else at
        elif name in _SYMBOLS:
            self._parts.append(_SYMBOLS[name])
            if match.group().endswith((" ", "\n")) and source[at : at + 1].isalnum():
                self._parts.append(" ")
        elif name in _ACCENTS and source[at : at + 1] == "{":
            at = self._accent(source, name, at)
        elif name == "item":
            self._item(source, at)
            at = _after_option(source, at)
        elif name in ("caption", "footnote", "footnotetext", "thanks", "par", "abstract"):
            at = self._aside(source, name, at)
        elif _CITATIONS.match(name):
            while (after := _after_option(source, at)) != at:
                at = after
            keys, at = self._argument(source, at)
            self._parts.append(f"[{keys}]" if keys else "")
        elif name in _SILENT:
            if name == "bibitem":
                self._flush()
            at = self._skip(source, at, _ARGUMENTS.get(name, 1))
        else:
            at = self._skip(source, at, _FIRST_LEFT_OUT[name]) if name in _FIRST_LEFT_OUT else _after_option(source, at)
            if match.group().endswith((" ", "\n")) and name not in _FIRST_LEFT_OUT:
                self._parts.append(" ")
        return at

    def _inner(self, argument: str) -> str:
        return plain(argument, self._depth + 1) if self._depth < MAX_DEPTH else ""

    def _item(self, source: str, at: int) -> None:
        self._flush()
        self._tight = True
        option = _OPTION.match(source, at)
        label = self._inner(option.group().strip()[1:-1]) if option else ""
        self._parts.append(f"- {label} " if label else "- ")

    def _aside(self, source: str, name: str, at: int) -> int:
        argument, at = self._argument(source, _after_option(source, at))
        if name in ("caption", "par", "abstract"):
            self._flush()
            self._builder.block(self._inner(argument))
        elif argument:
            self._parts.append(f" ({one_line(self._inner(argument))})")
        return at

    def _skip(self, source: str, at: int, arguments: int) -> int:
        """Past options and up to `arguments` arguments; an argument may be a bare command (`\\def\\x{…}`)."""
        at = _after_option(source, at)
        bare = re.compile(r"\*?\\[a-zA-Z@]+[ \t]*(?:#\d)*").match(source, at)
        if bare:
            at, arguments = _after_option(source, bare.end()), max(1, arguments - 1)
        for _ in range(arguments):
            at = _after_option(source, at)
            _, at = self._argument(source, at)
        return at

    def _environment(self, source: str, edge: str, at: int) -> int:
        name, at = self._argument(source, at)
        bare = name.rstrip("*")
        if edge == "end":
            self._flush(whole=name in _TABLES)
            self._tables -= name in _TABLES and self._tables > 0
            return at
        self._flush()
        if name in _CODE or bare in _MATH or name in _LEFT_OUT:
            close = f"\\end{{{name}}}"
            end = source.find(close, at)
            inside = source[at : end if end >= 0 else len(source)]
            if name in _CODE:
                self._builder.block(_CODE_OPTIONS.sub("", inside).rstrip(), whole=True)
            elif bare in _MATH:
                self._builder.block(_LABEL.sub("", re.sub(r"\A\{\d+\}", "", inside)).strip())
            return end + len(close) if end >= 0 else len(source)
        if name in _TABLES:
            self._tables += 1
            return self._skip(source, at, 2 if name in ("tabularx", "tabulary", "tabular*") else 1)
        return self._skip(source, at, 1 if name in ("thebibliography", "minipage", "multicols", "wrapfigure") else 0)


def _after_option(source: str, at: int) -> int:
    option = _OPTION.match(source, at)
    return option.end() if option else at
