"""The window: sidebar, panes, preview, status bar, and the keys that work everywhere in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QByteArray, QEvent, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QCloseEvent, QDragEnterEvent, QDropEvent, QHideEvent, QKeySequence, QShowEvent
from PySide6.QtWidgets import QMainWindow, QPlainTextEdit, QSplitter, QStackedWidget, QWidget

from studio.domain import KnowledgeBase
from studio.ui.generations import GenerationsPane, ask_export, ask_import, offer_import
from studio.ui.ingest import IngestPane, WatchedDialog
from studio.ui.parts import (
    Banner,
    Theme,
    ThemeChoice,
    accept_files,
    column,
    dropped_paths,
    open_folder,
    row,
    set_flag,
    show_shortcuts,
)
from studio.ui.quality import QualityPane
from studio.ui.search import PreviewPane, SearchPane
from studio.ui.settings import MemoryPopover, SettingsDialog
from studio.ui.window.drops import ask_target
from studio.ui.window.sidebar import Sidebar
from studio.ui.window.status_bar import StatusBar
from studio.ui.window.toast import Toast
from studio.ui.window.welcome import WelcomePane
from studio.viewmodels.workspace import Workspace

SEARCH, INGEST, GENERATIONS, QUALITY = range(4)
_WELCOME = 4


class MainWindow(QMainWindow):
    """Puts the panes together over one workspace."""

    closing = Signal()
    """The person closes the window; `app` ends the program."""
    painted = Signal()
    """The window is on screen for the first time."""

    def __init__(self, workspace: Workspace, theme: Theme) -> None:
        super().__init__()
        self.setWindowTitle("RAG Studio")
        self.setAcceptDrops(True)
        self.resize(1440, 900)
        self._workspace = workspace
        self._theme = theme
        self._shown = False
        self._pane = SEARCH
        self.sidebar = Sidebar(workspace.library, theme)
        self.preview = PreviewPane(workspace.preview, theme)
        self.search = SearchPane(workspace.search, workspace.library, workspace.preview, theme)
        self.ingest = IngestPane(workspace, theme)
        self.generations = GenerationsPane(workspace, theme)
        self.quality = QualityPane(workspace, theme)
        self.welcome = WelcomePane(theme)
        self.status = StatusBar(workspace.status, theme)
        self._stack = QStackedWidget()
        for pane in (self.search, self.ingest, self.generations, self.quality, self.welcome):
            self._stack.addWidget(pane)
        self._splitter = QSplitter()
        self._splitter.addWidget(self._stack)
        self._splitter.addWidget(self.preview)
        self._splitter.setChildrenCollapsible(False)
        self._splitter.setHandleWidth(1)
        self._splitter.setSizes([690, 502])
        self._splitter.setStretchFactor(0, 1)
        body = QWidget()
        body.setObjectName("center")
        top = row(self.sidebar, self._splitter, spacing=0)
        top.setStretch(1, 1)
        self.read_only = Banner(theme, self.tr("Try again"))
        self.read_only.acted.connect(workspace.library.try_writing)
        set_flag(self.read_only, "kind", "strip")
        body.setLayout(column(self.read_only, top, self.status, spacing=0))
        self.setCentralWidget(body)
        self.toast = Toast(theme, body)
        self.memory = MemoryPopover(workspace.memory, theme, body, self.status.gauge)
        self._connect()
        self._add_shortcuts()
        self._restore_geometry()
        self.show_pane(SEARCH)
        self._show_writability()

    def _connect(self) -> None:
        workspace = self._workspace
        workspace.failed.connect(self.toast.warn)
        workspace.library.loaded.connect(self._show_right_page)
        workspace.library.changed.connect(self._show_right_page)
        self.sidebar.pane_chosen.connect(self.show_pane)
        self.sidebar.settings_wanted.connect(self.open_settings)
        self.sidebar.theme_toggled.connect(self._toggle_theme)
        self.sidebar.import_wanted.connect(self.import_bundle)
        self.sidebar.export_wanted.connect(self.export)
        self.sidebar.watched_wanted.connect(self.show_watched)
        self.generations.export_wanted.connect(self.export)
        self.search.open_wanted.connect(self.preview.open_external)
        self.search.copy_wanted.connect(self.preview.copy_citation)
        self.search.copy_as_wanted.connect(self.preview.copy_citation_as)
        self.search.copy_context_wanted.connect(self.preview.copy_context)
        self.preview.copied.connect(self.toast.inform)
        self.preview.failed.connect(self.toast.warn)
        self.search.verify_wanted.connect(workspace.citing.verify)
        workspace.citing.confirmed.connect(self.toast.inform)
        workspace.citing.doubted.connect(self.toast.warn)
        self.search.pin_wanted.connect(workspace.gate.pin)
        self.ingest.copied.connect(self.toast.inform)
        self.ingest.generations_wanted.connect(self.show_generations)
        workspace.ingest.held_back.connect(self._say_held)
        workspace.jobs.continued.connect(self.toast.inform)
        workspace.library.writability_changed.connect(self._show_writability)
        for done in (workspace.generations.done, workspace.cleanup.done, workspace.gate.done):
            done.connect(self.toast.inform)
        workspace.taken.connect(lambda: self.show_pane(INGEST))
        workspace.target_wanted.connect(self._ask_target)
        workspace.bundle_given.connect(lambda path: offer_import(self, workspace.transfers, path))
        workspace.drops.done.connect(self.toast.inform)
        for undoable in (
            workspace.drops.added,
            workspace.jobs.cancelled,
            workspace.ingest.cleared,
            workspace.transfers.cancelled,
            workspace.quality.judged,
            workspace.quality.stopped,
        ):
            undoable.connect(lambda said, undo: self.toast.inform(said, self.tr("Undo"), undo))
        self.sidebar.files_given.connect(workspace.take)
        workspace.quality.done.connect(self.toast.inform)
        self.quality.query_wanted.connect(self.search_for)
        self.quality.search_wanted.connect(self._focus_search)
        workspace.transfers.exported.connect(self._say_exported)
        workspace.transfers.imported.connect(self._say_imported)
        self.status.generations_wanted.connect(lambda: self.show_pane(GENERATIONS))
        self.status.gauge.clicked.connect(self.memory.toggle)
        self.ingest.memory_wanted.connect(self.memory.open)
        self.memory.settings_wanted.connect(lambda: self.open_settings().budget.focus())
        self.welcome.drop.chosen.connect(lambda paths: workspace.take(paths))
        self.welcome.sample_wanted.connect(self.load_sample)

    def _add_shortcuts(self) -> None:
        actions: tuple[tuple[tuple[str, ...], Callable[[], object]], ...] = (
            (("Ctrl+K", "Ctrl+L"), self._focus_search),
            (("Ctrl+1",), lambda: self.show_pane(SEARCH)),
            (("Ctrl+2",), lambda: self.show_pane(INGEST)),
            (("Ctrl+3",), lambda: self.show_pane(GENERATIONS)),
            (("Ctrl+4",), lambda: self.show_pane(QUALITY)),
            (("Esc",), self._escape),
            (("Ctrl+C",), self._copy),
            (("Ctrl+Shift+C",), self.preview.copy_context),
            (("Ctrl+O",), self.preview.open_external),
            (("Alt+Left",), lambda: self.preview.step(-1)),
            (("Alt+Right",), lambda: self.preview.step(1)),
            (("Ctrl++", "Ctrl+="), lambda: self.preview.magnify(1)),
            (("Ctrl+-",), lambda: self.preview.magnify(-1)),
            (("Ctrl+N",), lambda: self._refused() or self.sidebar.create()),
            (("F2",), lambda: self._refused() or self.sidebar.rename()),
            (("Ctrl+I",), self.import_bundle),
            (("Ctrl+,",), self.open_settings),
            (("F1",), lambda: show_shortcuts(self)),
            (("Ctrl+Q",), self.close),
        )
        for keys, call in actions:
            action = QAction(self)
            action.setShortcuts([QKeySequence(key) for key in keys])
            action.triggered.connect(call)
            self.addAction(action)

    # ------------------------------------------------------------ panes

    @property
    def pane(self) -> int:
        """The pane that is shown: SEARCH, INGEST, GENERATIONS or QUALITY."""
        return self._pane

    def show_pane(self, pane: int) -> None:
        """Switch to a pane and give it the keyboard."""
        self._pane = pane
        self.sidebar.set_pane(pane)
        self._show_right_page()
        focus = (self.search.box.edit, self.ingest.queue, self.generations.list, self.quality.focus())[pane]
        focus.setFocus()

    def _show_right_page(self) -> None:
        library = self._workspace.library
        empty = library.is_loaded and not library.knowledge_bases
        page = _WELCOME if empty and self._pane == SEARCH else self._pane
        self._stack.setCurrentIndex(page)
        self.preview.setVisible(page == SEARCH)

    def open_settings(self) -> SettingsDialog:
        """Show the settings."""
        dialog = SettingsDialog(self._workspace.settings, self._theme, self)
        dialog.open()
        return dialog

    def take_files(self, paths: list[Path]) -> None:
        """Index files that were dropped somewhere on the window; bundles are offered for import."""
        self._workspace.take(paths)

    def _ask_target(self, paths: list[Path]) -> None:
        bases = self._workspace.library.knowledge_bases
        ask_target(self, bases, paths, lambda target: self._workspace.take(paths, target))

    def import_bundle(self) -> None:
        """Choose a bundle to import."""
        if not self._refused():
            ask_import(self, self._workspace.transfers)

    def export(self, kb: KnowledgeBase, generation: int | None = None) -> None:
        """Choose where a knowledge base goes as a file."""
        ask_export(self, self._workspace.transfers, kb, generation)

    def show_watched(self, kb: KnowledgeBase) -> None:
        """Show the folders a knowledge base follows."""
        self._workspace.watched.open(kb)
        dialog = WatchedDialog(self._workspace.watched, self._theme, self, self._workspace.library.read_only)
        dialog.open()
        dialog.list.setFocus()

    def show_generations(self, kb_id: str) -> None:
        """Show the generations of a knowledge base."""
        self._workspace.library.select(kb_id)
        self.show_pane(GENERATIONS)

    def _say_held(self, kb_id: str, reason: str) -> None:
        self.toast.alert(reason, self.tr("Show generations"), lambda: self.show_generations(kb_id))

    def _say_exported(self, said: str, file: Path) -> None:
        self.toast.inform(said, self.tr("Open folder"), lambda: open_folder(file))

    def _say_imported(self, said: str, without_model: str) -> None:
        if without_model:
            self.toast.warn(said, without_model)
        else:
            self.toast.inform(said)

    # ------------------------------------------------------------ read-only data directory

    def _show_writability(self) -> None:
        reason = self._workspace.library.read_only
        self.read_only.show_text(reason)
        self.welcome.forbid(reason)

    def _refused(self) -> bool:
        """Whether nothing can be changed for now; then it is said why."""
        reason = self._workspace.library.read_only
        if reason:
            self.toast.warn(reason)
        return bool(reason)

    def load_sample(self) -> None:
        """Make the sample knowledge base and show how it comes along."""
        self.show_pane(INGEST)
        self._workspace.ingest.ensure_sample()

    def _toggle_theme(self) -> None:
        choice = ThemeChoice.LIGHT if self._theme.dark else ThemeChoice.DARK
        self._theme.apply(choice)
        self._workspace.settings.set("theme", choice)

    def search_for(self, query: str) -> None:
        """Search a query in the search pane."""
        self._workspace.search.find_similar(None)
        self._focus_search()
        self.search.box.edit.setText(query)

    def _focus_search(self) -> None:
        self.show_pane(SEARCH)
        self.search.focus_query()

    def _escape(self) -> None:
        if self.memory.leave():
            return
        if self.toast.isVisible():
            self.toast.hide()
        elif self._pane == SEARCH:
            self.search.escape()
        elif self._pane != INGEST or not self.ingest.leave():
            self.show_pane(SEARCH)

    def _copy(self) -> None:
        # Text that is selected somewhere wins over the citation.
        edit = self.search.box.edit
        if edit.hasFocus() and edit.hasSelectedText():
            edit.copy()
            return
        view = self.focusWidget()
        if isinstance(view, QPlainTextEdit) and view.textCursor().hasSelection():
            view.copy()
            return
        self.preview.copy_citation()

    # ------------------------------------------------------------ events

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        accept_files(event)

    def dropEvent(self, event: QDropEvent) -> None:
        if accept_files(event):
            self.take_files(list(dropped_paths(event)))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._shown:
            self._shown = True
            QTimer.singleShot(0, self.painted.emit)

        self._tell_shown()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._tell_shown()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange:
            self._tell_shown()

    def _tell_shown(self) -> None:
        self._workspace.set_shown(self.isVisible() and not self.isMinimized())

    def closeEvent(self, event: QCloseEvent) -> None:
        self._workspace.settings.set("window_geometry", bytes(self.saveGeometry().toBase64().data()).decode("ascii"))
        # The program ends in order: it hides the window itself once it has begun to.
        event.ignore()
        self.closing.emit()

    def bring_to_front(self) -> None:
        """Another start of the program asks for this window."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    def _restore_geometry(self) -> None:
        saved = self._workspace.settings.get("window_geometry")
        if saved:
            self.restoreGeometry(QByteArray.fromBase64(saved.encode("ascii", "replace")))
