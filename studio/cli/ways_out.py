"""Ways out as what to type."""

from __future__ import annotations

import shlex
from typing import assert_never

from studio.ways_out import (
    AdoptFiles,
    AllowMemory,
    AllowRemovals,
    AnotherDataFolder,
    AnotherFile,
    BothFiles,
    ChooseReranker,
    CollectGenerations,
    CopyModel,
    CreateKb,
    Diagnose,
    ExportAnother,
    FasterModel,
    FinishDeletion,
    GoOn,
    InstallModel,
    InstallReranker,
    JudgedQueries,
    Listing,
    NameAdopted,
    NameDocument,
    PassageIds,
    PromoteAnyway,
    PutFileBack,
    RestoreCatalog,
    RunRepair,
    See,
    SeeWhatIsMissing,
    SmallerReranker,
    ThenRepair,
    Tune,
    WayOut,
    worded,
)

_LISTINGS = {
    Listing.DOCUMENTS: "documents KB",
    Listing.GENERATIONS: "generations KB",
    Listing.JOBS: "jobs list",
    Listing.PINS: "gate list KB",
    Listing.QUERIES: "queries list KB",
    Listing.WATCHED: "watch list",
}
_REPAIR = "rag-studio doctor --repair"


def typed(text: str) -> str:
    """A text whose ways out name commands."""
    return worded(text, _words)


def _words(way: WayOut) -> str:
    match way:
        case RunRepair(effect=""):
            return f"Run: {_REPAIR}."
        case RunRepair(effect):
            return f"{_REPAIR} {effect}."
        case RestoreCatalog(running=True):
            return f"End every RAG Studio, then restore it from the backups it keeps: {_REPAIR}"
        case RestoreCatalog():
            return f"Restore it from its backups and the knowledge bases' own files: {_REPAIR}"
        case AdoptFiles():
            return f"Let the files be adopted before anything changes: {_REPAIR}"
        case FinishDeletion():
            return f"Delete it again, or let it be finished: {_REPAIR}"
        case PutFileBack():
            return f"Put the file back and run: {_REPAIR}. Or remove the document."
        case Diagnose():
            return "Run: rag-studio doctor."
        case SeeWhatIsMissing():
            return "See what is missing: rag-studio doctor"
        case ExportAnother():
            return "Run: rag-studio doctor, or export another generation."
        case CollectGenerations():
            return "Only this older generation is affected; rag-studio gc deletes it when it is no longer kept."
        case NameAdopted(kb_id):
            named = shlex.quote(kb_id)
            return f"Look at its settings (rag-studio kb info {named}), and name it: rag-studio kb rename {named} NAME"
        case AnotherDataFolder(instead, that):
            folder = f"a --data-dir {that}" if that else "another --data-dir"
            return f"{instead} or choose {folder}." if instead else f"Choose {folder}."
        case GoOn(then=True):
            return "Then run: rag-studio ingest KB --resume"
        case GoOn():
            return "What was done so far is kept; go on with: rag-studio ingest KB --resume."
        case ThenRepair():
            return f"Then run: {_REPAIR}"
        case AllowRemovals(kb, folders, gone):
            command = shlex.join(("rag-studio", "ingest", kb, *folders, "--allow-removals"))
            return f"If {'it is' if gone else 'they are'} to go: {command}"
        case PromoteAnyway(number):
            demand = "Change what the gate demands, or promote it all the same"
            return f"{demand}: rag-studio promote KB {number} --force."
        case _:
            return _words_of_names(way)


def _words_of_names(
    way: InstallModel | CopyModel | InstallReranker | ChooseReranker | SmallerReranker | FasterModel | Tune
    | AllowMemory | See | NameDocument | PassageIds | CreateKb | AnotherFile | JudgedQueries | BothFiles,
) -> str:  # fmt: skip
    match way:
        case InstallModel(model, again, check):
            begin = "Install it again" if again else "Check the model file with" if check else "Install it with"
            return f"{begin}: rag-studio model install {shlex.quote(model)}"
        case CopyModel():
            return (
                "Connect to the internet and try again, or copy the model's folder (or its wheel) to this machine and "
                "run: rag-studio model install FOLDER. Keyword search works meanwhile."
            )
        case InstallReranker(usable="", others=""):
            return "Install a cross-encoder in GGUF format: rag-studio model install FILE"
        case InstallReranker(usable, others):
            return (
                f"Usable now: {usable or 'none yet'}. Install a cross-encoder with: rag-studio model install "
                f"FILE.gguf; or use LanceDB's {others}."
            )
        case ChooseReranker(model):
            command = f"rag-studio config set reranker {shlex.quote(model)}"
            return f"Choose it for the order of results with: {command}"
        case SmallerReranker():
            return "Choose a smaller reranker, or none: rag-studio config set reranker ''"
        case FasterModel():
            return "Choose a smaller model, or more threads: rag-studio config set embed_threads N"
        case Tune(kb):
            return f"Run: rag-studio tune {shlex.quote(kb)}"
        case AllowMemory(mib, instead):
            begin = f"{instead}, or allow more memory" if instead else "Allow more memory"
            return f"{begin}: rag-studio config set memory_budget_mib {mib}"
        case See(what):
            return f"See: rag-studio {_LISTINGS[what]}."
        case NameDocument(unique):
            names = "its id or its whole path" if unique else "its id, path or file name"
            return f"Name one by {names}; see: rag-studio documents KB."
        case PassageIds():
            return "The ids are in: rag-studio --json search KB QUERY."
        case CreateKb():
            return "Create one with: rag-studio kb create NAME."
        case AnotherFile():
            return "Choose another name, or add --overwrite."
        case JudgedQueries():
            return "Mark results as relevant, or name files with --queries and --qrels."
        case BothFiles():
            return "Give --queries and --qrels."
        case _:
            assert_never(way)
