"""What can be done with one result: the context menu of a card."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QMenu

from studio.domain import SearchResult
from studio.services.citations import CitationStyle
from studio.ui.plain_text import set_tip
from studio.ui.widgets import forbid, popup_menu
from studio.viewmodels.results import more_in_document

if TYPE_CHECKING:
    from studio.ui.search_pane import SearchPane

_STYLES = {"plain": "Plain text", "markdown": "Markdown", "bibtex": "BibTeX"}


def result_menu(pane: SearchPane, query: str, result: SearchResult, *, can_judge: bool, read_only: str) -> QMenu:
    """The menu of the selected result."""
    menu = popup_menu(pane)
    menu.addAction("Open source\tEnter", pane.open_wanted.emit)
    menu.addAction("Why is this here?\tCtrl+E", pane.explain)
    menu.addAction("Find similar\tCtrl+Shift+F", pane.find_similar)
    more = more_in_document(result)
    if more:
        menu.addAction(f"Show {more}", pane.look_in_document)
    menu.addSeparator()
    menu.addAction("Copy citation\tCtrl+C", pane.copy_wanted.emit)
    styles = menu.addMenu("Copy citation as")
    for style in CitationStyle:
        styles.addAction(_STYLES[style], partial(pane.copy_as_wanted.emit, style))
    menu.addAction("Copy as context\tCtrl+Shift+C", pane.copy_context_wanted.emit)
    menu.addAction("Verify citation", partial(pane.verify_wanted.emit, result))
    menu.addSeparator()
    relevant = menu.addAction("Mark relevant\tCtrl+D", partial(pane.judge, 1))
    irrelevant = menu.addAction("Mark not relevant\tCtrl+Shift+D", partial(pane.judge, 0))
    set_tip(relevant, "This document answers the query; such judgments measure how well settings find")
    set_tip(irrelevant, "This document does not answer the query")
    for action in (relevant, irrelevant):
        action.setEnabled(can_judge)
    pin = menu.addAction("Pin: this query must find this document")
    set_tip(pin, "No new generation becomes active unless it finds it too")
    pin.triggered.connect(lambda: pane.pin_wanted.emit(query, result))
    pin.setEnabled(bool(query))
    forbid(read_only, relevant, irrelevant, pin)
    return menu
