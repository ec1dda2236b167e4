"""Ways out as what to click: words in “” are those that the window shows."""

from __future__ import annotations

from typing import assert_never

from studio.errors import StudioError
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
    Listing.DOCUMENTS: "The documents of a knowledge base are listed under “Ingest”.",
    Listing.GENERATIONS: "Those there are stand under “Generations”.",
    Listing.JOBS: "Those there are stand under “Ingest”.",
    Listing.PINS: "Those there are stand behind “Pinned queries…” under “Generations”.",
    Listing.QUERIES: "Those there are stand under “Quality”.",
    Listing.WATCHED: "Those there are stand behind “Watched folders…” in the menu of the knowledge base.",
}


def clickable(text: str) -> str:
    """A text whose ways out name what the window shows."""
    return worded(text, _words)


def sentences(error: StudioError) -> str:
    """Message and way out of an error, as the window says them."""
    return clickable(error.full_message)


def _words(way: WayOut) -> str:
    match way:
        case RunRepair():
            return (
                "The repair by doctor, on the command line, mends it; “Roll back” under “Generations” goes back to an "
                "older state."
            )
        case RestoreCatalog():
            return "Close RAG Studio; the repair by doctor, on the command line, restores it from its backups."
        case AdoptFiles():
            return "Close RAG Studio; the repair by doctor, on the command line, takes the files in."
        case FinishDeletion():
            return "Delete it again: “Delete…” in the menu of the knowledge base."
        case PutFileBack():
            return "Put the file back and choose “New generation” under “Generations”."
        case Diagnose():
            return "Start RAG Studio again; if it happens once more, doctor on the command line says what is wrong."
        case SeeWhatIsMissing():
            return "Search once more: what is missing stands above the results."
        case ExportAnother():
            return "Export another generation: “Export…” in its menu under “Generations”."
        case CollectGenerations():
            return "Only this older generation is affected; “Clean up…” under “Generations” deletes those not kept."
        case NameAdopted():
            return "Look at it and give it its name: “Rename…” in the menu of the knowledge base."
        case AnotherDataFolder(instead, that):
            folder = f"a data folder {that}" if that else "another data folder"
            return f"{instead} or start RAG Studio with {folder}." if instead else f"Start RAG Studio with {folder}."
        case GoOn(then=True):
            return "Then let the job go on: “Resume” under “Ingest”."
        case GoOn():
            return "What was done so far is kept; “Resume” under “Ingest” goes on with it."
        case ThenRepair():
            return "Then repair it once more."
        case AllowRemovals(gone=True):
            return (
                "If it is to go: add it as an empty folder (“Choose folder…” under “Ingest”), then “Remove” its "
                "documents there."
            )
        case AllowRemovals():
            return "If they are to go: “Remove” beside the job under “Ingest”."
        case PromoteAnyway():
            return (
                "Change what the gate demands (“Pinned queries…” under “Generations”), or “Promote” the generation "
                "all the same."
            )
        case _:
            return _words_of_names(way)


def _words_of_names(
    way: InstallModel | CopyModel | InstallReranker | ChooseReranker | SmallerReranker | FasterModel | Tune
    | AllowMemory | See | NameDocument | PassageIds | CreateKb | AnotherFile | JudgedQueries | BothFiles,
) -> str:  # fmt: skip
    match way:
        case InstallModel(model, again, check):
            what = f"Install {model} again" if again else f"Check the file of {model}" if check else f"Install {model}"
            return f"{what} on the command line; keyword search works meanwhile."
        case CopyModel():
            return (
                "Connect to the internet and try again, or copy the model's folder (or its wheel) to this computer and "
                "install it on the command line. Keyword search works meanwhile."
            )
        case InstallReranker(usable=""):
            return "A cross-encoder in GGUF format can be installed on the command line."
        case InstallReranker():
            return "Choose another one: “Order anew with” under “View”."
        case ChooseReranker(model):
            return f"Choose {model} for the order of results: “Order anew with” under “View”."
        case SmallerReranker():
            return "Choose a smaller reranker, or none: “Order anew with” under “View”."
        case FasterModel():
            return "A smaller embedding model answers more quickly; so do more threads for this one."
        case Tune():
            return "“New generation” under “Generations” makes its vector index anew."
        case AllowMemory(mib, instead):
            begin = f"{instead}, or allow more memory" if instead else "Allow more memory"
            return f"{begin}: a “Memory budget” of {mib:,} MiB in “Settings”."
        case See(what):
            return _LISTINGS[what]
        case NameDocument(unique):
            return f"Name one by {'its id or its whole path' if unique else 'its id, path or file name'}."
        case PassageIds():
            return "Search for it again."
        case CreateKb():
            return "Create one: “New knowledge base…” in the sidebar."
        case AnotherFile():
            return "Choose another name."
        case JudgedQueries():
            return "Mark results as relevant, or “Import queries and judgments…” under “Quality”."
        case BothFiles():
            return "Choose both files, the queries and their judgments."
        case _:
            assert_never(way)
