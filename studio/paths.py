"""Where things lie on disk (see ARCHITECTURE.md, "On disk")."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from studio.private import tighten

HOME_VARIABLE = "RAG_STUDIO_HOME"


def default_data_dir() -> Path:
    """The user's data directory for this program, not created."""
    return Path(platformdirs.user_data_dir("rag-studio", appauthor=False))


def resources_dir() -> Path:
    """Icons, sample documents and other files that ship with the program."""
    here = Path(__file__).resolve().parent
    for candidate in (here.parent / "resources", here / "resources"):
        if candidate.is_dir():
            return candidate
    return here / "resources"


@dataclass(frozen=True, slots=True)
class DataPaths:
    """The layout below one data directory."""

    root: Path

    @classmethod
    def resolve(cls, explicit: Path | None = None) -> DataPaths:
        """`--data-dir`, else RAG_STUDIO_HOME, else the platform's user data directory."""
        chosen = explicit or (Path(os.environ[HOME_VARIABLE]) if os.environ.get(HOME_VARIABLE) else default_data_dir())
        return cls(chosen.expanduser().absolute())

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.sqlite3"

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def backups(self) -> Path:
        """Copies of the catalog."""
        return self.root / "backups"

    @property
    def lost_found(self) -> Path:
        """Where repair moves what is damaged or belongs to nothing."""
        return self.root / "lost+found"

    def tombstone(self, kb_id: str) -> Path:
        """Says that a knowledge base was deleted, from before its catalog row goes. It stays: a catalog that is put
        back from a backup would bring the base back.
        """
        return self.kb(kb_id).tombstone

    @property
    def instance_lock(self) -> Path:
        return self.root / "window.lock"

    @property
    def import_lock(self) -> Path:
        return self.root / "import.lock"

    def model_search_path(self) -> tuple[Path, ...]:
        """Where an installed model may lie: here, the default data directory, beside the program."""
        beside = Path(sys.executable).resolve().parent / "models"
        checkout = Path(__file__).resolve().parent.parent / "models"
        return tuple(dict.fromkeys((self.models, default_data_dir() / "models", beside, checkout)))

    def kb(self, kb_id: str) -> KbPaths:
        """The layout of one knowledge base."""
        return KbPaths(self.root / "kb" / kb_id)

    def create(self) -> None:
        """Make the directory tree, private to its owner. Raises OSError.

        One that cannot be changed is taken as it is when it has a catalog: it can still be read.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            tighten(self.root)
            folders = (self.root / "kb", self.models, self.logs)
            for path in folders:
                path.mkdir(exist_ok=True)
            # As a copy with another umask leaves them; what lies deeper is looked at by doctor.
            catalog = [self.catalog.with_name(self.catalog.name + end) for end in ("", "-wal", "-shm")]
            for path in (*folders, *catalog, self.config):
                tighten(path)
        except OSError:
            if not self.catalog.is_file():
                raise


@dataclass(frozen=True, slots=True)
class KbPaths:
    """The layout of one knowledge base."""

    root: Path

    @property
    def vectors(self) -> Path:
        return self.root / "vectors"

    @property
    def lexical(self) -> Path:
        return self.root / "lexical"

    @property
    def texts(self) -> Path:
        return self.root / "texts"

    @property
    def leases(self) -> Path:
        return self.root / "leases"

    @property
    def description(self) -> Path:
        """What the catalog knows of the knowledge base."""
        return self.root / "base.json"

    @property
    def tombstone(self) -> Path:
        """Says that the knowledge base was deleted; it outlives the folder."""
        return self.root.parent.parent / "deleted" / self.root.name

    @property
    def writer_lock(self) -> Path:
        return self.root / "writer.lock"

    @property
    def tuning(self) -> Path:
        """Clones of tables to try indexes on; there only while that is done."""
        return self.root / "tuning"

    @property
    def tuning_lock(self) -> Path:
        return self.root / "tuning.lock"

    def lexical_generation(self, number: int) -> Path:
        return self.lexical / f"g{number}"

    def lease(self, number: int) -> Path:
        return self.leases / f"g{number}"

    def journal(self, job_id: str) -> Path:
        """Where a job keeps the embeddings that no checkpoint holds yet."""
        return self.root / "jobs" / f"{job_id}.vectors"

    def create(self) -> None:
        """Make the directories of a new knowledge base."""
        for path in (self.vectors, self.lexical, self.texts, self.leases):
            path.mkdir(parents=True, exist_ok=True)
