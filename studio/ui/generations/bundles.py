"""Dialogs around bundles: where an export goes, which file to import and under which name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QDir, Qt
from PySide6.QtWidgets import QFileDialog, QWidget

from studio.domain import KnowledgeBase
from studio.ui.parts import ask_name
from studio.viewmodels.generations import SUFFIX, TransfersViewModel


def _tr(text: str) -> str:
    return QCoreApplication.translate("bundles", text)


def ask_export(
    parent: QWidget, transfers: TransfersViewModel, kb: KnowledgeBase, generation: int | None = None
) -> QFileDialog:
    """Ask for a file and export there; the dialog itself asks before it replaces one."""
    dialog = _file_dialog(parent, _tr("Export “{0}”").format(kb.name))
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setFileMode(QFileDialog.FileMode.AnyFile)
    dialog.selectFile(transfers.suggested_name(kb))
    dialog.fileSelected.connect(lambda name: transfers.export(kb, Path(name), generation))
    dialog.open()
    return dialog


def ask_import(parent: QWidget, transfers: TransfersViewModel) -> QFileDialog:
    """Ask for a bundle, then for the name it is to have here."""
    dialog = _file_dialog(parent, _tr("Import a knowledge base"))
    dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
    dialog.fileSelected.connect(lambda name: offer_import(parent, transfers, Path(name)))
    dialog.open()
    return dialog


def offer_import(parent: QWidget, transfers: TransfersViewModel, file: Path) -> None:
    """Ask under which name a bundle is to be imported, and import it."""
    ask_name(
        parent,
        _tr("Import {0}").format(file.name),
        _tr("It becomes a knowledge base of its own, once all its checksums are verified. Nothing is embedded again."),
        transfers.free_name(file),
        _tr("Import"),
        partial(transfers.load, file),
    )


def _file_dialog(parent: QWidget, title: str) -> QFileDialog:
    dialog = QFileDialog(parent, title, QDir.homePath())
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setNameFilters([_tr("Knowledge bases (*{0})").format(SUFFIX), _tr("All files (*)")])
    dialog.setDefaultSuffix(SUFFIX.removeprefix("."))
    return dialog
