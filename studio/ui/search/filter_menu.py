"""The menus beside the search modes: what is looked at, and how the results are put in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial

from PySide6.QtCore import QDate, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QCheckBox, QDateEdit, QDialog, QDialogButtonBox, QGridLayout, QMenu, QPushButton, QWidget

from studio.domain import NOT_RERANKED
from studio.ui.parts import column, label, modal_dialog, number_field, popup_menu, set_tip
from studio.viewmodels.search import CLOSE_MATCHES, Filters, SearchViewModel, periods


def filter_menu(parent: QWidget, model: SearchViewModel) -> QMenu:
    """What the results can be restricted to: a submenu for each thing there is a choice of."""
    menu = popup_menu(parent)
    chosen, choices = model.filters, model.choices
    _choice(menu, model, "Type", "Any type", "kind", [(kind, kind) for kind in choices.kinds])
    if len(choices.folders) > 1 or chosen.folder:
        _choice(menu, model, "Folder", "Any folder", "folder", [(folder, folder) for folder in choices.folders])
    _choice(menu, model, "Tag", "Any tag", "tag", [(f"{tag} ({number:,})", tag) for tag, number in choices.tags])
    _choice(menu, model, "Author", "Any author", "author", [(author, author) for author in choices.authors])
    _dates(menu, parent, model)
    similarity = menu.addMenu("Similarity")
    _offer(similarity, model, "Any similarity", replace(chosen, minimum_similarity=None))
    for name, least in CLOSE_MATCHES:
        _offer(similarity, model, f"{name} only ({least:g} or more)", replace(chosen, minimum_similarity=least))
    menu.addSeparator()
    clear = menu.addAction("Clear all filters")
    clear.triggered.connect(lambda: model.set_filters(Filters()))
    clear.setEnabled(chosen != Filters())
    return menu


def view_menu(parent: QWidget, model: SearchViewModel) -> QMenu:
    """How the results are put in order."""
    menu = popup_menu(parent)
    now = model.arrangement
    entries = (
        ("Group by document", "Each document has one place, with its best passage", "group"),
        ("Fold near-identical passages", "Copies of a passage stand behind the first of them", "fold"),
        ("Diverse results", "Passages that say something new come before ones that repeat", "diverse"),
    )
    for text, tip, field in entries:
        action = QAction(text, menu, checkable=True, checked=getattr(now, field))
        set_tip(action, tip)
        action.toggled.connect(partial(_arrange, model, field))
        menu.addAction(action)
    if model.choices.rerankers:
        menu.addSeparator()
        submenu = menu.addMenu("Order anew with")
        chosen = now.reranker or model.choices.reranker or NOT_RERANKED
        for text, name in (("No reranker", NOT_RERANKED), *((name, name) for name in model.choices.rerankers)):
            action = QAction(text.replace("&", "&&"), submenu, checkable=True, checked=name == chosen)
            action.triggered.connect(partial(_rerank, model, name))
            submenu.addAction(action)
    return menu


def _rerank(model: SearchViewModel, name: str) -> None:
    model.set_arrangement(replace(model.arrangement, reranker=name))


def _arrange(model: SearchViewModel, field: str, on: bool) -> None:
    model.set_arrangement(replace(model.arrangement, **{field: on}))


def _choice(
    menu: QMenu, model: SearchViewModel, title: str, none: str, field: str, choices: list[tuple[str, str]]
) -> None:
    value = getattr(model.filters, field)
    if not choices and not value:
        return
    submenu = menu.addMenu(title)
    _offer(submenu, model, none, replace(model.filters, **{field: ""}))
    for text, choice in choices:
        _offer(submenu, model, text, replace(model.filters, **{field: choice}))


def _dates(menu: QMenu, parent: QWidget, model: SearchViewModel) -> None:
    chosen = model.filters
    submenu = menu.addMenu("Date")
    _offer(submenu, model, "Any time", replace(chosen, after="", before=""))
    offered = periods(date.today())
    for name, after in offered:
        _offer(submenu, model, name, replace(chosen, after=after, before=""))
    custom = QAction("Between two dates…", submenu, checkable=True)
    custom.setChecked(bool(chosen.before) or (bool(chosen.after) and chosen.after not in dict(offered).values()))
    custom.triggered.connect(lambda: ask_dates(parent, chosen, model.set_filters))
    submenu.addAction(custom)


def _offer(menu: QMenu, model: SearchViewModel, text: str, filters: Filters) -> None:
    action = QAction(text.replace("&", "&&"), menu, checkable=True, checked=filters == model.filters)
    action.triggered.connect(lambda: model.set_filters(filters))
    menu.addAction(action)


def ask_dates(parent: QWidget, filters: Filters, accepted: Callable[[Filters], None]) -> QDialog:
    """Ask for the first and the last day of the documents looked at; either may be left open."""
    dialog = modal_dialog(parent, "Dates")
    grid = QGridLayout()
    grid.setHorizontalSpacing(16)
    grid.setVerticalSpacing(10)
    fields: list[tuple[QCheckBox, QDateEdit]] = []
    for line, (name, value) in enumerate((("After", filters.after), ("Before", filters.before))):
        check = QCheckBox(name)
        check.setChecked(bool(value))
        day = QDateEdit(QDate.fromString(value, Qt.DateFormat.ISODate) if value else QDate.currentDate())
        day.setDisplayFormat("yyyy-MM-dd")
        day.setEnabled(bool(value))
        day.setMinimumWidth(150)
        number_field(day, f"{name} date")
        check.toggled.connect(day.setEnabled)
        grid.addWidget(check, line, 0)
        grid.addWidget(day, line, 1)
        fields.append((check, day))
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
    apply = QPushButton("Apply")
    apply.setObjectName("primary")
    apply.setDefault(True)
    buttons.addButton(apply, QDialogButtonBox.ButtonRole.AcceptRole)
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)

    def take() -> None:
        after, before = (
            day.date().toString(Qt.DateFormat.ISODate) if check.isChecked() else "" for check, day in fields
        )
        accepted(replace(filters, after=after, before=before))

    dialog.accepted.connect(take)
    text = label("Only documents between these dates.", "body")
    dialog.setLayout(column(label("Dates", "h2"), text, grid, 6, buttons, margins=(22, 20, 22, 18), spacing=12))
    dialog.open()
    fields[0][0].setFocus()
    return dialog
