"""Quality: saved queries with their judgments, and how well different settings answer them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.domain import KnowledgeBase, SearchResult
from studio.errors import StudioError
from studio.services.quality import AbReport, Evaluation, JudgedForm, RunSummary, side_by_side
from studio.viewmodels.base import ViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Quality
from studio.viewmodels.quality.measured import (
    Choice,
    MeasuredModel,
    MoveModel,
    QueryModel,
    measured_rows,
    move_rows,
    query_rows,
)
from studio.viewmodels.text import count
from studio.viewmodels.ways_out import sentences

TOP_MOVES = 10


class QualityViewModel(ViewModel):
    """The saved queries of the selected knowledge base, its evaluations, and the judgments made while searching."""

    changed = Signal()
    """Something of what is shown changed."""
    progressed = Signal()
    """A run is further on."""
    done = Signal(str)
    """What was done, in words."""
    judged = Signal(str, object)
    """(what was judged, in words; the call that takes it back)"""
    stopped = Signal(str, object)
    """(in words, the call that begins it again) of a run that was given up."""
    replacing = Signal(object, str, list)
    """(folder, form, names): an export would replace these files there; `export` it again with `replace`."""
    grades_known = Signal(str, object)
    """(query, `Grades`) of results that are shown."""

    def __init__(self, quality: Quality, sources: LibraryViewModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._quality = quality
        self._judging = quality.judging
        self._sources = sources
        self._shown_kb: str | None = None
        self._seen: tuple[str, Sequence[SearchResult]] = ("", ())
        self.queries = QueryModel(self)
        self.measured = MeasuredModel(self)
        self.moves = MoveModel(self)
        self.choice = Choice()
        self.runs: tuple[RunSummary, ...] = ()
        self.evaluation: Evaluation | None = None
        self.sides: tuple[str, ...] = ()
        self.report_ab: AbReport | None = None
        self.running = False
        self._run_of = ""
        self.progress = (0, 0)
        self.error = ""
        sources.selection_changed.connect(self.refresh)
        sources.changed.connect(self.refresh)
        sources.writability_changed.connect(self.changed)

    @property
    def kb(self) -> KnowledgeBase | None:
        """The knowledge base whose queries are shown."""
        return self._sources.selected

    @property
    def read_only(self) -> str:
        """Why nothing can be changed for now, "" when it can."""
        return self._sources.read_only

    @property
    def usable(self) -> int:
        """Saved queries that have a relevant document: those a run asks."""
        return sum(item.relevant > 0 for item in self.queries.items)

    # ------------------------------------------------------------ saved queries

    def refresh(self) -> None:
        """Read queries and runs again; of another knowledge base its last run is shown."""
        self.launch("read", self._read())

    def add(self, query: str) -> None:
        """Save a query, to be judged later."""
        self._change("add", lambda kb: self._judging.save(kb, query))

    def rename(self, query_id: int, name: str) -> None:
        """Give a saved query another name."""
        self._change(f"rename {query_id}", lambda kb: self._judging.rename(kb, query_id, name))

    def delete(self, query_id: int) -> None:
        """Forget a saved query and its judgments."""
        self._change(f"delete {query_id}", lambda kb: self._judging.delete(kb, query_id))

    def load(self, queries: Path, qrels: Path | None) -> None:
        """Add the queries and judgments of files."""
        if self.kb is not None:
            self.launch("load", self._load(self.kb.id, queries, qrels))

    def export(self, folder: Path, form: str, *, replace: bool = False) -> None:
        """Write queries and judgments into a folder, in the form "beir" or "trec"; what is there needs `replace`."""
        if self.kb is not None:
            self.launch("export", self._export(self.kb.id, folder, form, replace))

    def _change(self, key: str, change: Callable[[str], Awaitable[object]]) -> None:
        if self.kb is not None:
            self.launch(key, self._changed(self.kb.id, change))

    async def _changed(self, kb_id: str, change: Callable[[str], Awaitable[object]]) -> None:
        await change(kb_id)
        await self._read_queries(kb_id)

    async def _load(self, kb_id: str, queries: Path, qrels: Path | None) -> None:
        found = await self._judging.load(kb_id, queries, qrels)
        await self._read_queries(kb_id)
        said = f"Imported {count(found.queries, 'query', 'queries')} with {count(found.judgments, 'judgment')}."
        if found.unknown:
            said += f" {count(found.unknown, 'judgment')} of other queries left out."
        self.done.emit(said)

    async def _export(self, kb_id: str, folder: Path, form: str, replace: bool) -> None:
        names = JudgedForm(form).files
        taken = await asyncio.to_thread(lambda: [name for name in names if (folder / name).exists()])
        if taken and not replace:
            self.replacing.emit(folder, form, taken)
            return
        files = await self._judging.export(kb_id, folder, form)
        self.done.emit(f"Wrote {' and '.join(file.name for file in files)} to {folder}.")

    async def _read(self) -> None:
        kb = self.kb
        if (kb.id if kb is not None else None) != self._shown_kb:
            self._shown_kb = kb.id if kb is not None else None
            self.stop()
            self.runs, self.error = (), ""
            self.queries.reset([])
            self._show(None)
        if kb is None:
            self.changed.emit()
            return
        await self._read_queries(kb.id)
        self.runs = tuple(await self._quality.runs(kb.id))
        if self.evaluation is None and self.runs and not self.running:
            self._show(await self._quality.run(kb.id, self.runs[0].id))
        self.changed.emit()

    async def _read_queries(self, kb_id: str) -> None:
        rows = query_rows(await self._judging.queries(kb_id))
        if self._shown_kb == kb_id:
            self.queries.replace(rows)
            self.changed.emit()

    # ------------------------------------------------------------ judgments made while searching

    def judge(self, query: str, result: SearchResult, grade: int) -> None:
        """Say of a result whether it answers the query: 1 it does, 0 it does not."""
        self.launch(f"judge {query}\n{result.document_id}", self._judge(query, result, grade))

    def look_up(self, query: str, results: Sequence[SearchResult]) -> None:
        """Find out what the documents of these results were judged for the query."""
        self._seen = (query, tuple(results))
        if query.strip() and results:
            self.launch("grades", self._look_up(query, results))

    async def _judge(self, query: str, result: SearchResult, grade: int | None, *, taken_back: bool = False) -> None:
        kb_id, document = result.kb_id, result.document_id
        try:
            before = (await self._judging.grades(kb_id, query, [document])).get(document)
            if grade is None:
                await self._judging.unjudge(kb_id, query, document)
            else:
                await self._judging.judge(kb_id, query, document, grade)
        except StudioError:
            await self._look_up(query)  # it is marked already
            raise
        saved = await self._judging.queries(kb_id)
        if self._shown_kb == kb_id:
            self.queries.replace(query_rows(saved))
            self.changed.emit()
        if taken_back:
            await self._look_up(query)
            self.done.emit("Taken back.")
            return
        usable = sum(item.relevant > 0 for item in saved)
        word = "relevant" if grade else "not relevant"
        undo = partial(self._undo, query, result, before)
        self.judged.emit(f"Marked {word} · {count(usable, 'judged query', 'judged queries')}", undo)

    def _undo(self, query: str, result: SearchResult, before: int | None) -> None:
        self.launch(f"judge {query}\n{result.document_id}", self._judge(query, result, before, taken_back=True))

    async def _look_up(self, query: str, results: Sequence[SearchResult] | None = None) -> None:
        if results is None:
            results = self._seen[1] if self._seen[0] == query else ()
        documents: dict[tuple[str, int], list[str]] = defaultdict(list)
        for result in results:
            documents[result.kb_id, result.generation].append(result.document_id)
        grades: dict[tuple[str, str], int] = {}
        for (kb_id, generation), ids in documents.items():
            with suppress(StudioError):  # the generation went away; the next search finds another
                known = await self._judging.grades(kb_id, query, list(dict.fromkeys(ids)), generation)
                grades |= {(kb_id, document): grade for document, grade in known.items()}
        self.grades_known.emit(query, grades)

    # ------------------------------------------------------------ runs

    def choose(self, choice: Choice) -> None:
        """What the next run compares."""
        self.choice = choice
        self.changed.emit()

    def run(self) -> None:
        """Ask every judged query with every chosen setting."""
        if self.kb is not None and not self.running:
            self.running, self.progress, self.error = True, (0, 0), ""
            self.changed.emit()
            self._run_of = self.kb.id
            self.launch("run", self._run(self.kb.id))

    def stop(self) -> None:
        """Give a run up; nothing of it is kept."""
        self.cancel("run")
        if self.running:
            self.running = False
            self.changed.emit()
            self.stopped.emit("The run is given up", partial(self._begin_again, self._run_of, self.choice))

    def _begin_again(self, kb_id: str, choice: Choice) -> None:
        """The run that was given up, of its knowledge base."""
        self.launch("begin again", self._run_again(kb_id, choice))

    async def _run_again(self, kb_id: str, choice: Choice) -> None:
        self._sources.select(kb_id)
        await self._read()  # of another knowledge base, this ends what runs; so it comes first
        if self.kb is not None and self.kb.id == kb_id:
            self.choose(choice)
            self.run()

    def open_run(self, run_id: int) -> None:
        """Show an earlier run."""
        if self.kb is not None:
            self.launch("open", self._open_run(self.kb.id, run_id))

    def delete_run(self, run_id: int) -> None:
        """Forget an earlier run."""
        if self.kb is not None:
            self.launch("open", self._delete_run(self.kb.id, run_id))

    def compare(self, sides: Sequence[str]) -> None:
        """Put two settings side by side, the first as A; with fewer there is nothing to compare."""
        chosen = tuple(sides)[:2]
        if chosen != self.sides:
            self.sides, self.report_ab = chosen, None
            self._list()
            self._compare()

    async def _run(self, kb_id: str) -> None:
        try:
            found = await self._quality.evaluate(
                kb_id, settings=self.choice.settings(), store=not self.read_only, progress=self._progressed
            )
        except StudioError as error:
            self.running, self.error = False, sentences(error)
            self.changed.emit()
            return
        except Exception:
            self.running = False
            self.changed.emit()
            raise
        self.running = False
        self._show(found)
        self.runs = tuple(await self._quality.runs(kb_id))
        self.changed.emit()

    def _progressed(self, done: int, total: int) -> None:
        self.progress = (done, total)
        self.progressed.emit()

    async def _open_run(self, kb_id: str, run_id: int) -> None:
        self._show(await self._quality.run(kb_id, run_id))

    async def _delete_run(self, kb_id: str, run_id: int) -> None:
        await self._quality.delete_run(kb_id, run_id)
        if self.evaluation is not None and self.evaluation.id == run_id:
            self._show(None)
        await self._read()

    def _show(self, evaluation: Evaluation | None) -> None:
        """Show an evaluation, its first setting against the best of the others."""
        self.evaluation, self.report_ab = evaluation, None
        names = list(evaluation.modes) if evaluation is not None else []
        self.sides = tuple(names[:1])
        if evaluation is not None and len(names) > 1:
            self.sides = (names[0], max(names[1:], key=lambda name: evaluation.modes[name].ndcg))
        self._list()
        self._compare()

    def _list(self) -> None:
        self.measured.k = self.evaluation.k if self.evaluation is not None else 10
        self.measured.replace(measured_rows(self.evaluation, self.sides) if self.evaluation is not None else [])
        self.changed.emit()

    def _compare(self) -> None:
        self.moves.reset([])
        self.cancel("compare")
        if self.evaluation is not None and len(self.sides) == 2:
            self.launch("compare", self._side_by_side(self.evaluation, *self.sides))

    async def _side_by_side(self, evaluation: Evaluation, a: str, b: str) -> None:
        self.report_ab = await asyncio.to_thread(side_by_side, evaluation, a, b, TOP_MOVES)
        self.moves.reset(move_rows(self.report_ab))
        self.changed.emit()
