from __future__ import annotations

from pathlib import Path

import pytest

from studio.documents.parsers import rst
from studio.errors import FailureCode
from tests.unit.documents.making import fault, read_one

RST = """=========
The Guide
=========

:Author: Ann
:Date: 2024-05-06
:License: CC-BY-4.0

Intro with :ref:`a title <target>`, :class:`~pkg.Thing` and `a link <https://example.org/x>`_.

Methods
=======

- one
- two

1. first

.. note:: Mind it.

.. code-block:: python

   x = 1

   y = 2

.. method:: Thing.run(speed)
   :async:

   Runs the thing.

.. include:: /etc/hostname
.. raw:: html

   <b>raw</b>

.. |today| date::

Written |today|.

=====  =====
name   n
=====  =====
ann    1
=====  =====

.. a comment

Sub
---

Tail [1]_.

.. [1] The note.
"""


def test_restructured_text(tmp_path: Path) -> None:
    path = tmp_path / "a.rst"
    path.write_text(RST)
    parsed = read_one(path)
    assert parsed.text == (
        "The Guide\nAuthor: Ann\nDate: 2024-05-06\nLicense: CC-BY-4.0\n\n"
        "Intro with a title, Thing and a link.\n\nMethods\n\n- one\n- two\n\n1. first\n\nNote: Mind it.\n\n"
        "x = 1\n\ny = 2\n\nThing.run(speed)\n\nRuns the thing.\n\nWritten |today|.\n\nname | n\nann | 1\n\n"
        "Sub\n\nTail 1.\n\n[1] The note."
    )
    assert (parsed.kind, parsed.title, parsed.author) == ("rst", "The Guide", "Ann")
    assert (parsed.licence, parsed.created) == ("CC-BY-4.0", "2024-05-06")
    wholes = [parsed.text[span.start : span.end].strip() for span in parsed.spans if span.whole]
    assert wholes == ["x = 1\n\ny = 2", "name | n\nann | 1"]
    assert parsed.spans[-1].anchor == "The Guide › Methods › Sub"


def test_restructured_text_that_cannot_be_read_is_taken_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.rst"
    path.write_text("Heading\n=======\n\ntext :ref:`x`\n")
    for name, value in {"MAX_SOURCE_CHARS": 10, "TIME_LIMIT_S": -1.0}.items():
        with monkeypatch.context() as patch:
            patch.setattr(rst, name, value)
            parsed = read_one(path)
        assert (parsed.title, parsed.text) == ("Heading", "Heading\n=======\n\ntext :ref:`x`")
    path.write_text("\n".join("  " * depth + "- x\n" for depth in range(600)))  # too deep for docutils
    assert "- x" in read_one(path).text


ASCIIDOC = """// a comment
= The *Great* Guide
Ann Author <ann@example.org>
v1.2, 2024-05-06
:license: CC-BY-4.0
:product: Studio

Welcome to {product}: link:https://example.org[the site], https://x.example[] and <<sec,there>>.

include::other.adoc[]

== First

.A listing
[source,python]
----
def f():
    # == no heading
    return 1
----

NOTE: Mind the *gap*.

* one
* two

. first

term:: definition

[cols="1,2"]
|===
|Name |Age

|Ann
|3

|Bob |4
|===

////
hidden
////

Old style
---------

====
An example.
====
image::x.png[A picture]
"""


def test_asciidoc(tmp_path: Path) -> None:
    path = tmp_path / "a.adoc"
    path.write_text(ASCIIDOC)
    parsed = read_one(path)
    assert parsed.text == (
        "The Great Guide\nAnn Author <ann@example.org>\nv1.2, 2024-05-06\n\n"
        "Welcome to Studio: the site, https://x.example and there.\n\nFirst\n\nA listing\n\n"
        "def f():\n    # == no heading\n    return 1\n\nNote: Mind the gap.\n\n- one\n- two\n\n- first\n\n"
        "term: definition\n\nName | Age\nAnn | 3\nBob | 4\n\nOld style\n\nAn example.\n\nA picture"
    )
    assert (parsed.kind, parsed.title, parsed.author) == ("asciidoc", "The Great Guide", "Ann Author")
    assert (parsed.licence, parsed.created) == ("CC-BY-4.0", "2024-05-06")
    assert [span.anchor for span in parsed.spans if span.whole] == ["The Great Guide › First"] * 2
    assert parsed.spans[-1].anchor == "The Great Guide › Old style"
    path.write_text("----\nnever closed\n== no heading")
    assert read_one(path).text == "never closed\n== no heading"


LATEX = r"""\documentclass[a4paper]{article}
\usepackage{hyperref} % \title{Wrong}
\title{On \emph{Things} \\ of Note}
\author{Ann \and Bob}
\date{May 2024}
\begin{document}
\maketitle
\section{One \& All}\label{sec:one}
M\"uller said ``hi'' --- see \cite{knuth} and \href{https://example.org}{this page}\footnote{A note.}.
% dropped
A formula $a^2 + b^2$ and 100\% sure.

\begin{itemize}
\item first
\item[x] second
\end{itemize}
\input{/etc/hostname}
\subsection*{Sub}
\begin{equation}\label{e} E = mc^2 \end{equation}
\begin{lstlisting}[language=C]
int x; % kept
\end{lstlisting}
\begin{tabular}{lr}
\hline
name & n \\
ann & 1 \\
\end{tabular}
\unknown{kept} & all
\end{document}
after the end
"""


def test_latex(tmp_path: Path) -> None:
    path = tmp_path / "a.tex"
    path.write_text(LATEX)
    parsed = read_one(path)
    assert parsed.text == (
        "On Things of Note\nAnn, Bob\nMay 2024\n\nOne & All\n\n"
        "Müller said “hi” — see [knuth] and this page (A note.). A formula $a^2 + b^2$ and 100% sure.\n"
        "- first\n- x second\n\nSub\n\nE = mc^2\n\nint x; % kept\n\nname | n\nann | 1\n\nkept & all"
    )
    assert (parsed.kind, parsed.title, parsed.author, parsed.created) == (
        "latex",
        "On Things of Note",
        "Ann, Bob",
        "May 2024",
    )
    assert [(span.anchor, span.whole) for span in parsed.spans] == [
        ("", False),
        ("One & All", False),
        ("One & All › Sub", False),
        ("One & All › Sub", True),
        ("One & All › Sub", True),
        ("One & All › Sub", False),
    ]
    path.write_text("\\section{never closed and {nested " * 50)
    assert "never closed" in read_one(path).text


ORG = """#+TITLE: The Notes
#+AUTHOR: Ann
#+DATE: <2024-05-06 Mon>
#+LICENSE: CC0-1.0
* TODO [#A] First *bold* :tag:
:PROPERTIES:
:ID: 1
:END:
SCHEDULED: <2024-05-07>
A [[https://example.org][link]] and ~code~.
# a comment
- [X] one
- two
** Second
| a | b |
|---+---|
| 1 | 2 |
#+begin_src python
* no heading
#+end_src
"""


def test_org(tmp_path: Path) -> None:
    path = tmp_path / "a.org"
    path.write_text(ORG)
    parsed = read_one(path)
    assert parsed.text == (
        "The Notes\nAnn\n<2024-05-06 Mon>\n\nFirst bold\n\nA link and code.\n\n- one\n- two\n\n"
        "Second\n\na | b\n1 | 2\n\n* no heading"
    )
    assert (parsed.kind, parsed.title, parsed.author) == ("org", "The Notes", "Ann")
    assert (parsed.created, parsed.licence) == ("2024-05-06 Mon", "CC0-1.0")
    assert [(span.anchor, span.whole) for span in parsed.spans][-2:] == [("First bold › Second", True)] * 2


SUBRIP = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> there.

2
00:00:03,000 --> 00:00:05,000
{\\an8}General &amp; Kenobi!
42
3
00:01:05,000 --> 00:02:10,000
Later
"""
WEB_VTT = """WEBVTT - A name

NOTE hidden

00:01.000 --> 00:04.000 align:start
<v Ann>Hello <c.red>you</c>

second cue
01:00:05.000 --> 01:00:06.000
Hello again
"""
SUB_STATION = """[Script Info]
Title: Episode One
[Events]
Format: Layer, Start, End, Style, Text
Dialogue: 0,0:00:01.00,0:00:02.00,Default,{\\an8}Hi, you\\Nthere
"""


@pytest.mark.parametrize(
    ("name", "content", "text", "anchors"),
    [
        (
            "a.srt",
            SUBRIP,
            "Hello there.\nGeneral & Kenobi!\n42\nLater",
            ["00:00:01 – 00:00:05", "00:01:05 – 00:02:10"],
        ),
        ("a.vtt", WEB_VTT, "Ann: Hello you\nHello again", ["00:00:01 – 00:00:04", "01:00:05 – 01:00:06"]),
        ("a.ass", SUB_STATION, "Hi, you\nthere", ["00:00:01 – 00:00:02"]),
        (
            "a.sub",
            "{1}{1}25\n{25}{50}One|Two\n{2500}{2550}{y:i}Three\n",
            "One\nTwo\nThree",
            ["00:00:01 – 00:00:02", "00:01:40 – 00:01:42"],
        ),
        ("a.sbv", "0:00:00.599,0:00:04.160\nSaid[br]twice\n", "Said\ntwice", ["00:00:00 – 00:00:04"]),
        ("a.lrc", "[ti:Song]\n[00:12.00]La la\n", "La la", ["00:00:12 – 00:00:12"]),
    ],
)  # fmt: skip
def test_subtitles(tmp_path: Path, name: str, content: str, text: str, anchors: list[str]) -> None:
    path = tmp_path / name
    path.write_text(content)
    parsed = read_one(path)
    assert (parsed.kind, parsed.text) == ("subtitles", text)
    assert [span.anchor for span in parsed.spans] == anchors
    assert parsed.title == {"a.ass": "Episode One", "a.lrc": "Song"}.get(name, "a")


def test_rolling_captions_are_told_once_and_prose_is_no_subtitle(tmp_path: Path) -> None:
    path = tmp_path / "a.vtt"
    cues = ["one", "one\ntwo", "two\nthree"]
    path.write_text("WEBVTT\n\n" + "".join(f"00:0{i}.000 --> 00:0{i + 1}.000\n{cue}\n\n" for i, cue in enumerate(cues)))
    assert read_one(path).text == "one\ntwo\nthree"
    path.write_text("Only prose here.")
    assert (read_one(path).kind, read_one(path).text) == ("text", "Only prose here.")


def test_rtf_headings_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.rtf"
    path.write_text(
        r"{\rtf1\ansi\ansicpg1252{\info{\title On \'dcber}{\author Ann}{\creatim\yr2024\mo5\dy6}}"
        r"{\stylesheet{\s1\outlinelevel0 heading 1;}}"
        r"\pard\s1\outlinelevel0 Top\par\pard Text one.\par\par\pard\outlinelevel1 Sub\par\pard Text two.\par}"
    )
    parsed = read_one(path)
    assert (parsed.title, parsed.author, parsed.created) == ("On Über", "Ann", "2024-05-06")
    assert [(span.anchor, parsed.text[span.start : span.end].strip()) for span in parsed.spans] == [
        ("Top", "Top\n\nText one."),
        ("Top › Sub", "Sub\n\nText two."),
    ]


def test_markup_without_text(tmp_path: Path) -> None:
    for name, content in {
        "a.rst": ".. only a comment\n", "a.adoc": "// x\n", "a.org": "# x\n", "a.tex": "% x\n", "a.py": " \n"
    }.items():  # fmt: skip
        (tmp_path / name).write_text(content)
        assert fault(tmp_path / name).code is FailureCode.NO_TEXT
