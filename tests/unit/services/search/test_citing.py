"""Citations that can be pasted anywhere, and what became of what they cite."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain import Citation, CitationStyle, Explanation, SearchMode, SearchRequest, SearchResult
from studio.errors import InvalidRequest, NotFound
from studio.services.search import CitingService, VerificationStatus, locators
from studio.services.search.citations import Locator, citation, locator
from tests.helpers.ward import TEXTS, Ward

SAME, MOVED, CHANGED, GONE = VerificationStatus
LONG = " ".join(f"Sentence {number} tells of thing {number}." for number in range(60))


def result(path: str | Path, title: str = "", author: str = "", **place: object) -> SearchResult:
    where = replace(
        Citation(title, str(path), "CC-BY-4.0", "c" * 12, "Methods › Sampling", 12, 100, 106),
        **place,  # type: ignore[arg-type]
    )
    return SearchResult(
        "chunk", "d" * 32, "k" * 8, "My _base_", 3, 0.5, "content", "content", (),
        {"author": author, "sha256": "c" * 64}, where, Explanation("none", 0.0),
    )  # fmt: skip


def test_plain_and_markdown_citations_are_one_line() -> None:
    path = Path.cwd() / "docs" / "a (b).pdf"
    full = result(path, "On *Things*", "Ada\nLovelace")
    assert citation(full) == (
        f"“On *Things*”, Ada Lovelace, p. 12, Methods › Sampling, characters 100–106 ({path}, CC-BY-4.0, "
        f"SHA-256 cccccccccccc…, knowledge base “My _base_”, generation 3) <{locator(full)}>"
    )
    link = path.as_uri().replace("(", "%28").replace(")", "%29")
    assert citation(full, CitationStyle.MARKDOWN) == (
        rf"[On \*Things\*](<{link}>), Ada Lovelace, p. 12, Methods › Sampling, characters 100–106 (CC-BY-4.0, "
        rf"SHA-256 cccccccccccc…, knowledge base “My \_base\_”, generation 3) `{locator(full)}`"
    )
    bare = result("a b.txt", anchor="", page_number=None, licence="", also_at=("x", "y"))
    assert citation(bare).startswith("“a b”, characters 100–106 (a b.txt, also at 2 other places, SHA-256")
    assert citation(bare, CitationStyle.MARKDOWN).startswith("[a b](<a%20b.txt>), characters 100–106 (also at 2")


def test_bibtex_is_escaped_and_its_key_stays_the_same() -> None:
    full = result("/docs/50% {odd_name~.pdf", "A & B: 100 % of $x_1^2$ \\ {#1", "Doe, Jane; Roe, Max")
    text = citation(full, CitationStyle.BIBTEX)
    assert text.startswith("@misc{a-b-100-cccccccc-100,\n")
    title = r"title = {{A \& B: 100 \% of \$x\_1\textasciicircum{}2\$ \textbackslash{} \textbraceleft{}\#1}}"
    assert title in text
    assert "author = {Doe, Jane and Roe, Max}" in text
    assert "pages = {12}" in text
    assert r"howpublished = {/docs/50\% \textbraceleft{}odd\_name\textasciitilde{}.pdf}" in text
    assert "characters 100--106" in text
    depth = 0
    for character in text:  # BibTeX counts braces, whatever stands before them
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    other = replace(full, generation=9, kb_name="Another", score=1.0)
    assert citation(other, CitationStyle.BIBTEX).splitlines()[0] == text.splitlines()[0]
    assert citation(result("/a.pdf", "検索"), CitationStyle.BIBTEX).startswith("@misc{document-cccccccc-100,")


@pytest.mark.parametrize("style", CitationStyle)
@pytest.mark.parametrize(
    "path", ["/docs/a.pdf", "/docs/ä ö/{x}#1;text=0.pdf", "C:\\docs\\50% _a~b.pdf", "/docs/文書 👩‍🚀.md", "/a)>`.md."]
)
def test_every_style_carries_a_locator_that_reads_back(style: CitationStyle, path: str) -> None:
    cited = result(path, "Title rag-studio:x", "Author")
    assert locators(f"See ({citation(cited, style)}).") == [locator(cited)]
    assert locator(cited).path == path
    assert locator(cited).text_hash == hashlib.sha256(b"content").hexdigest()[:16]


@pytest.fixture
async def citing(ward: Ward) -> CitingService:
    return CitingService(ward.stores)


async def cited(ward: Ward, words: str, style: CitationStyle = CitationStyle.PLAIN) -> str:
    response = await ward.search.search(SearchRequest((ward.kb_id,), words, SearchMode.KEYWORD, limit=1))
    return citation(response.results[0], style)


async def test_what_nobody_touched_is_the_same(ward: Ward, citing: CitingService) -> None:
    text = await cited(ward, "hammers strike strings")
    found = await citing.verify(f"As they say: {text}.")
    assert found.status is SAME
    assert found.where is not None
    assert found.where.path == str(ward.folder / "piano.txt")
    assert TEXTS["piano.txt"][found.where.char_start : found.where.char_end] in TEXTS["piano.txt"]
    assert "changed" not in found.detail
    (ward.folder / "piano.txt").write_text("Something else.")  # and not indexed again
    again = await citing.verify(text)
    assert again.status is SAME
    assert "The file has changed since it was indexed" in again.detail
    (ward.folder / "piano.txt").unlink()
    assert "not there any more" in (await citing.verify(text)).detail


async def test_a_file_that_moved_is_found_at_its_new_path(ward: Ward, citing: CitingService) -> None:
    text = await cited(ward, "hammers strike strings")
    (ward.folder / "sub").mkdir()
    (ward.folder / "piano.txt").rename(ward.folder / "sub" / "grand.txt")
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    found = await citing.verify(text)
    assert found.status is MOVED
    assert found.where is not None
    assert found.where.path == str(ward.folder / "sub" / "grand.txt")
    assert found.where.path in found.detail


@pytest.mark.parametrize("kept", [True, False])
async def test_a_passage_in_an_edited_file_is_same_moved_or_changed(
    ward: Ward, citing: CitingService, kept: bool
) -> None:
    """Also when the text that was cited is kept nowhere, and only its hash is left."""
    file = ward.folder / "long.txt"
    file.write_text(LONG)
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    text = await cited(ward, "“Sentence 30 tells of thing 30”")
    (where,) = locators(text)

    async def verified(content: str) -> tuple[VerificationStatus, int | None]:
        file.write_text(content)
        await ward.ingest.ingest(ward.kb_id, [ward.folder])
        if not kept:
            for stored in ward.store.paths.texts.glob(f"{where.sha256}.*"):
                stored.unlink()
        found = await citing.verify(text)
        return found.status, found.where.char_start if found.where else None

    passage = LONG[where.char_start : where.char_end]
    assert await verified(LONG + " And more.") == (SAME, where.char_start)
    assert await verified("New. " + LONG) == (MOVED, where.char_start + 5)
    before = "Well, as they say, "  # no passage begins with it any more
    assert await verified(LONG.replace(passage, before + passage)) == (MOVED, where.char_start + len(before))
    assert await verified(LONG.replace(passage, "Gone.")) == (CHANGED, None)


async def test_a_passage_that_went_to_another_file_is_found_by_its_text(ward: Ward, citing: CitingService) -> None:
    text = await cited(ward, "hammers strike strings")
    (ward.folder / "piano.txt").unlink()
    (ward.folder / "keys.md").write_text(TEXTS["piano.txt"] + "\n\n" + LONG)
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    found = await citing.verify(text)
    assert found.status is MOVED
    assert found.where is not None
    assert found.where.path == str(ward.folder / "keys.md")


async def test_a_removed_document_is_gone_until_a_rollback(ward: Ward, citing: CitingService) -> None:
    text = await cited(ward, "hammers strike strings")
    (ward.folder / "piano.txt").unlink()
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    found = await citing.verify(text)
    assert (found.status, found.where) == (GONE, None)
    assert str(ward.folder / "piano.txt") in found.detail
    await ward.stores.catalog.promote(ward.kb_id, 3)
    assert (await citing.verify(text)).status is SAME
    await ward.library.delete(ward.kb_id)
    assert (await citing.verify(text)).status is GONE


async def test_a_row_of_a_table_is_verified_in_its_row(ward: Ward, citing: CitingService) -> None:
    text = await cited(ward, "Row number 3 speaks of subject 3")
    assert (await citing.verify(text)).status is SAME
    rows = (ward.folder / "rows.jsonl").read_text().splitlines(keepends=True)
    (ward.folder / "rows.jsonl").write_text("".join(reversed(rows)))
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    assert (await citing.verify(text)).status is SAME
    (ward.folder / "rows.jsonl").write_text("".join(row for row in rows if "number 3" not in row))
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    assert (await citing.verify(text)).status is CHANGED


async def test_text_that_is_no_citation_is_refused_and_a_false_one_is_gone(
    ward: Ward, citing: CitingService, write: Callable[[str, str], Path]
) -> None:
    text = await cited(ward, "hammers strike strings")
    rng = random.Random(5)
    for _ in range(150):
        spoilt = list(text[text.index("rag-studio:") :])
        for _ in range(rng.randrange(1, 4)):
            spoilt[rng.randrange(len(spoilt))] = rng.choice("0f9/;=#-%\x00é '\"\n")
        try:
            found = await citing.verify("".join(spoilt))
        except InvalidRequest as error:
            assert error.way_out
        else:
            assert found.detail
    for junk in ("", "rag-studio:", "rag-studio:x/1/y#0-0", text.replace("text=", "text=x"), "\x00" * 1000, "'; --"):
        with pytest.raises(InvalidRequest):
            await citing.verify(junk)
    (where,) = locators(text)
    huge = Locator(where.kb_id, 10**11, "a" * 32, 0, 10**11, "/no'where", "b" * 64, "c" * 16)
    assert (await citing.verify(str(huge))).status is GONE
    wrong = replace(where, char_start=0, char_end=2, text_hash="0" * 16)
    assert (await citing.verify(str(wrong))).status is CHANGED


async def test_a_passage_is_cited_by_its_id(ward: Ward, citing: CitingService) -> None:
    response = await ward.search.search(
        SearchRequest((ward.kb_id,), "hammers strike strings", SearchMode.KEYWORD, limit=1)
    )
    (first,) = response.results
    text = await citing.cite(ward.kb_id, first.chunk_id)
    assert text == citation(first)
    assert re.match(r"@misc\{piano-", await citing.cite(ward.kb_id, first.chunk_id, CitationStyle.BIBTEX))
    with pytest.raises(NotFound, match="nothing"):
        await citing.cite(ward.kb_id, "nothing")
