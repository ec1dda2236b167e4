"""The arguments of the command line."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from studio import __version__
from studio.config import SETTINGS
from studio.errors import InvalidRequest

Options = argparse.Namespace

MODES = ("hybrid", "vector", "keyword")
INDEXES = ("auto", "flat", "ivf_flat", "ivf_sq", "ivf_pq", "ivf_rq", "hnsw_flat", "hnsw_sq", "hnsw_pq")
DOCUMENT = "its id, path (a folder: all below), file name, or a pattern such as *.pdf; in an archive: box.zip/note.md"
FUSIONS = ("minmax", "rrf", "adaptive")


class _Commands:
    """Adds commands that all take the global options."""

    def __init__(self, parser: argparse.ArgumentParser, dest: str, metavar: str, *, required: bool) -> None:
        # Global options work before and after the command. After it they must have no default of their own, or it
        # would overwrite what was given before; and set_defaults on one parser would change the actions both share.
        self._shared = _global_options(argparse.SUPPRESS, argparse.SUPPRESS)
        self._commands = parser.add_subparsers(dest=dest, metavar=metavar, required=required)

    def add(self, name: str, text: str) -> argparse.ArgumentParser:
        """A command that `text` describes."""
        described = f"{text[0].upper()}{text[1:]}."
        return self._commands.add_parser(name, help=text, description=described, parents=[self._shared])

    def add_group(self, name: str, text: str) -> _Commands:
        """A command with actions of its own."""
        return _Commands(self.add(name, text), "action", "ACTION", required=True)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="rag-studio",
        description="Local-first knowledge bases with cited hybrid search.",
        parents=[_global_options(None, False)],
    )
    parser.add_argument("--version", action="version", version=f"rag-studio {__version__}")
    parser.add_argument("--sample", action="store_true", help="open the window on the sample knowledge base")
    commands = _Commands(parser, "command", "COMMAND", required=False)
    demo = commands.add("demo", "run the main job without a display and render the window to PNG files")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR")
    _add_knowledge_bases(commands)
    _add_contents(commands)
    _add_jobs(commands)
    _add_watch(commands)
    _add_questions(commands)
    _add_quality(commands)
    _add_generations(commands)
    _add_gate(commands)
    _add_tuning(commands)
    _add_bundles(commands)
    _add_program(commands)
    return parser


def _add_knowledge_bases(commands: _Commands) -> None:
    kb = commands.add_group("kb", "make, list, show, rename and delete knowledge bases")
    kb.add("list", "list the knowledge bases")
    create = kb.add("create", "make a knowledge base")
    create.add_argument("name")
    create.add_argument("--model", help="embedding model, see “model list”")
    create.add_argument("--metric", choices=("cosine", "l2", "dot"), help="distance of vectors")
    _add_chunking(create)
    change = kb.add("set", "change how passages are cut and indexed; the next ingest rebuilds the knowledge base")
    change.add_argument("name")
    _add_chunking(change)
    rename = kb.add("rename", "give a knowledge base another name")
    rename.add_argument("name")
    rename.add_argument("new_name")
    delete = kb.add("delete", "delete a knowledge base with all its generations; source files stay")
    delete.add_argument("name")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    kb.add("info", "show a knowledge base").add_argument("name")
    retention = kb.add("retention", "show or set which archived generations a knowledge base keeps")
    retention.add_argument("name")
    retention.add_argument("--keep", type=int, metavar="N", help="archived generations that stay")
    retention.add_argument("--min-age", type=_hours, metavar="HOURS", help="none goes earlier after it was archived")
    retention.add_argument("--max-size", type=int, metavar="MIB", help="what they may take together; 0: no limit")
    retention.add_argument("--default", action="store_true", help="follow the program's settings again")


def _add_chunking(command: argparse.ArgumentParser) -> None:
    command.add_argument("--chunk-tokens", type=int, metavar="N", help="length of a passage, at most")
    command.add_argument("--chunk-overlap", type=int, metavar="N", help="tokens that two passages share")
    command.add_argument(
        "--contextual",
        action=argparse.BooleanOptionalAction,
        help="put title and headings before what is embedded and looked up, never before what is shown",
    )
    command.add_argument("--language", metavar="CODE", help="language of the keyword side, for example en")
    command.add_argument(
        "--index", choices=INDEXES, help="vector index, by default chosen by size; changing it embeds nothing again"
    )


def _add_contents(commands: _Commands) -> None:
    ingest = commands.add("ingest", "make a knowledge base match files and folders")
    ingest.add_argument("kb")
    ingest.add_argument("paths", nargs="*", type=Path, help="files and folders")
    ingest.add_argument(
        "--recursive", action=argparse.BooleanOptionalAction, default=True, help="read folders in folders too"
    )
    ingest.add_argument(
        "--include", action="append", default=[], metavar="GLOB", help="read only files like this; can be repeated"
    )
    ingest.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="leave out what is like this; can be repeated"
    )
    ingest.add_argument(
        "--allow-removals",
        action="store_true",
        help="remove the documents of files that are gone, also where they look mislaid: of a folder that is empty, "
        "not there or kept elsewhere by a cloud, or very many at once",
    )
    ingest.add_argument("--hidden", action="store_true", help="read hidden and system files too")
    ingest.add_argument("--dry-run", action="store_true", help="only say what it would take and what would be skipped")
    ingest.add_argument("--no-promote", action="store_true", help="leave the new generation ready, not active")
    ingest.add_argument("--jobs", type=int, default=2, metavar="N", help="files read side by side")
    ingest.add_argument("--resume", action="store_true", help="go on with the last unfinished job, without paths")
    ingest.add_argument(
        "--password", action="append", default=[], metavar="PASSWORD",
        help="opens protected files; others may see it in the list of processes, so better:",
    )  # fmt: skip
    ingest.add_argument(
        "--password-file", action="append", default=[], type=Path, metavar="FILE",
        help="a file with a password on each line; - reads them from the standard input",
    )  # fmt: skip
    ingest.add_argument("--ask-password", action="store_true", help="ask for a password before reading")
    listed = commands.add("documents", "list documents")
    listed.add_argument("kb")
    listed.add_argument(
        "--unfold", action="store_true", help="list the rows of tables and the files in archives one by one"
    )
    tag = commands.add("tag", "list tags with the number of documents, or give tags to documents and take them away")
    tag.add_argument("kb")
    tag.add_argument("documents", nargs="*", metavar="DOCUMENT", help=DOCUMENT)
    tag.add_argument("--add", action="append", default=[], metavar="TAG", help="can be repeated")
    tag.add_argument("--remove", action="append", default=[], metavar="TAG", help="can be repeated")
    remove = commands.add("remove", "remove documents")
    remove.add_argument("kb")
    remove.add_argument("documents", nargs="+", metavar="DOCUMENT", help=DOCUMENT)


def _add_jobs(commands: _Commands) -> None:
    jobs = commands.add_group("jobs", "list and steer ingest jobs")
    listing = jobs.add("list", "list the jobs that wait or run")
    listing.add_argument("kb", nargs="?", help="of this knowledge base only")
    listing.add_argument("--all", action="store_true", help="and the last 50 that ended")
    show = jobs.add("show", "show a job and its files")
    show.add_argument("job")
    show.add_argument(
        "--failed", action="store_true", help="of the files, with --json, only those that could not be indexed"
    )
    for action, text in (
        ("pause", "let a job wait"),
        ("resume", "let a paused job go on"),
        ("retry", "make a new job for the files that failed, or for all when the job itself failed"),
    ):
        jobs.add(action, text).add_argument("job")
    cancel = jobs.add("cancel", "end a job; what was searchable before stays so")
    cancel.add_argument("job")
    cancel.add_argument("--keep", action="store_true", help="make the files that are finished searchable first")
    move = jobs.add("move", "put a job elsewhere in the queue")
    move.add_argument("job")
    move.add_argument("--before", metavar="JOB", help="directly before this one; without it: last")
    jobs.add("run", "run what waits, until nothing does")


def _add_watch(commands: _Commands) -> None:
    watch = commands.add_group("watch", "folders that a knowledge base follows by itself")
    watch.add("list", "list the watched folders").add_argument("kb", nargs="?", help="of this knowledge base only")
    for action, text in (("add", "follow folders"), ("remove", "follow folders no longer; their documents stay")):
        change = watch.add(action, text)
        change.add_argument("kb")
        change.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    for action in ("on", "off"):
        switch = watch.add(action, f"switch a watched folder {action}, or all of a knowledge base")
        switch.add_argument("kb")
        switch.add_argument("folder", nargs="?", type=Path)
    watch.add("run", "follow the watched folders and run what waits, until it is interrupted")


def _add_questions(commands: _Commands) -> None:
    search = commands.add("search", "search one or more knowledge bases")
    search.add_argument("kb", help="name, or several separated by commas")
    search.add_argument("query", help='words, "a phrase", -word, title: type: path: tag: after: before:, OR')
    search.add_argument("--mode", choices=MODES, default="hybrid")
    search.add_argument("--limit", type=int, default=10, metavar="N")
    search.add_argument("--offset", type=int, default=0, metavar="N")
    search.add_argument(
        "--filter", action="append", default=[], metavar="K=V", help="for example type=pdf or document=NAME"
    )
    search.add_argument(
        "--weight", type=float, metavar="0..1", help="share of the vector side (default: chosen by query)"
    )
    search.add_argument("--fusion", choices=FUSIONS, default="minmax")
    search.add_argument("--explain", action="store_true", help="print every score (JSON has them always)")
    search.add_argument("--generation", type=int, metavar="G")
    search.add_argument("--similar-to", default="", metavar="CHUNK", help="passages like this one; QUERY may be empty")
    search.add_argument("--min-similarity", type=float, metavar="S", help="only passages at least so similar, -1..1")
    search.add_argument("--group", action="store_true", help="the best passage of each document only")
    search.add_argument("--fold", action="store_true", help="leave out near-duplicates")
    search.add_argument("--diversity", type=float, default=0.0, metavar="0..1", help="prefer passages that differ")
    search.add_argument("--reranker", default="", metavar="NAME", help="let a reranker order the first results anew")
    search.add_argument("--exact", action="store_true", help="compare with every vector, without the index")
    search.add_argument("--depth", type=int, default=100, metavar="N", help="candidates of each side")


def _add_quality(commands: _Commands) -> None:
    cite = commands.add("cite", "cite a passage, or tell what became of a cited one")
    cite.add_argument("kb", nargs="?")
    cite.add_argument("chunk", nargs="?", metavar="CHUNK_ID", help="see: rag-studio --json search KB QUERY")
    cite.add_argument("--style", choices=("plain", "markdown", "bibtex"), default="plain")
    cite.add_argument("--verify", metavar="TEXT", help="citations as they were copied; “-” reads them from stdin")
    evaluate = commands.add("evaluate", "measure retrieval quality with judged queries")
    evaluate.add_argument("kb")
    evaluate.add_argument("--queries", type=Path, metavar="FILE", help="BEIR or TREC; by default the saved queries")
    evaluate.add_argument("--qrels", type=Path, metavar="FILE", help="judgments of the queries in that file")
    evaluate.add_argument("--modes", default=",".join(MODES), metavar="M,…")
    evaluate.add_argument("--k", type=int, default=10, metavar="N", help="measures look at the first N documents")
    evaluate.add_argument("--weights", "--weight", metavar="W,…", help="shares of the vector side, 0 to 1")
    evaluate.add_argument("--fusions", "--fusion", default="minmax", metavar="F,…", help=", ".join(FUSIONS))
    evaluate.add_argument("--indexes", default="ann", metavar="I,…", help="ann (the vector index) or exact")
    evaluate.add_argument("--generations", metavar="G,…", help="by default the active one")
    evaluate.add_argument("--rerankers", default="", metavar="R,…", help="by default none")
    evaluate.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="two settings with a paired test, for example hybrid/0.25/rrf"
    )
    evaluate.add_argument("--output", type=Path, metavar="FILE", help="write the rankings as a TREC run")
    evaluate.add_argument("--per-query", action="store_true", help="with --json, the values of every query too")
    judge = commands.add("judge", "say how relevant a document is to a query")
    judge.add_argument("kb")
    judge.add_argument("query", help="its text, or the name of a saved query")
    judge.add_argument("document", metavar="DOCUMENT", help=DOCUMENT)
    judge.add_argument("--grade", type=int, default=1, metavar="N", help="0: not relevant; more is better")
    judge.add_argument("--remove", action="store_true", help="take the judgment back")
    queries = commands.add_group("queries", "saved queries and their judgments")
    queries.add("list", "list the saved queries").add_argument("kb")
    load = queries.add("import", "add queries and judgments from files in BEIR or TREC form")
    load.add_argument("kb")
    load.add_argument("file", type=Path, help="JSON lines, TREC topics, or lines of id, tab and text")
    load.add_argument("qrels", type=Path, nargs="?", help="judgments in three or four columns")
    export = queries.add("export", "write all saved queries and judgments into a folder")
    export.add_argument("kb")
    export.add_argument("folder", type=Path)
    export.add_argument("--format", choices=("beir", "trec"), default="beir")
    rename = queries.add("rename", "give a saved query another name")
    rename.add_argument("kb")
    rename.add_argument("query", help="its name or text")
    rename.add_argument("name")
    delete = queries.add("delete", "forget a saved query and its judgments")
    delete.add_argument("kb")
    delete.add_argument("query", help="its name or text")


def _add_generations(commands: _Commands) -> None:
    generations = commands.add("generations", "list the generations of a knowledge base, or note something on one")
    generations.add_argument("kb")
    generations.add_argument("--note", nargs=2, metavar=("GEN", "TEXT"), help="set the note of a generation")
    promote = commands.add("promote", "make a generation active, if it finds what its pinned queries demand")
    promote.add_argument("kb")
    promote.add_argument("generation", type=int)
    promote.add_argument("--force", action="store_true", help="promote it even when pinned queries fail")
    rollback = commands.add("rollback", "go back to an older generation, by default to the one before the active one")
    rollback.add_argument("kb")
    target = rollback.add_mutually_exclusive_group()
    target.add_argument("generation", type=int, nargs="?")
    target.add_argument("--forward", action="store_true", help="go to the next newer generation instead")
    diff = commands.add("diff", "compare two generations: their documents, and what queries find in them")
    diff.add_argument("kb")
    diff.add_argument("a", type=int, metavar="GEN_A")
    diff.add_argument("b", type=int, metavar="GEN_B")
    diff.add_argument("--queries", type=Path, metavar="FILE", help="JSON lines with “text”, or one query a line")
    diff.add_argument("--limit", type=int, default=10, metavar="N", help="hits of each query that are compared")
    diff.add_argument("--mode", choices=MODES, default="hybrid")
    gc = commands.add("gc", "delete generations that are not kept any more, of one knowledge base or of all")
    gc.add_argument("kb", nargs="?")
    gc.add_argument("--dry-run", action="store_true", help="only say what would go")


def _add_gate(commands: _Commands) -> None:
    gate = commands.add_group("gate", "queries that a generation must answer before it becomes active")
    gate.add("list", "list the pinned queries").add_argument("kb")
    add = gate.add("add", "pin a query and the documents that it must find")
    add.add_argument("kb")
    add.add_argument("query")
    add.add_argument(
        "--must-find", action="append", required=True, metavar="DOCUMENT", help=f"{DOCUMENT}; can be repeated"
    )
    add.add_argument("--top", type=int, default=10, metavar="N", help="among the first N documents")
    remove = gate.add("remove", "unpin a query")
    remove.add_argument("kb")
    remove.add_argument("id", type=int)
    check = gate.add("check", "try the pinned queries; exit code 1 when one fails")
    check.add_argument("kb")
    check.add_argument("generation", type=int, nargs="?", help="by default the active one")
    rule = gate.add("set", "show or set how far quality may fall at a promotion")
    rule.add_argument("kb")
    choice = rule.add_mutually_exclusive_group()
    choice.add_argument(
        "--max-ndcg-drop", type=float, nargs="?", const=0.02, metavar="X",
        help="mean nDCG@10 of the saved queries may fall by no more (0.02 without a number)",
    )  # fmt: skip
    choice.add_argument("--off", action="store_true", help="demand nothing of the saved queries")


def _add_tuning(commands: _Commands) -> None:
    tune = commands.add("tune", "find the cheapest vector index that finds enough, and use it")
    tune.add_argument("kb")
    tune.add_argument("--recall", type=float, default=0.95, metavar="0..1", help="recall@10 that it has to reach")
    tune.add_argument(
        "--indexes", metavar="A,B", help="types to try, or all; by default flat and those that build within seconds"
    )
    tune.add_argument("--samples", type=int, default=100, metavar="N", help="queries made of the passages' own vectors")
    tune.add_argument(
        "--apply", action=argparse.BooleanOptionalAction, default=True, help="use what was found, or only say it"
    )


def _add_bundles(commands: _Commands) -> None:
    export = commands.add("export", "write one generation to a file that other machines can import")
    export.add_argument("kb")
    export.add_argument("file", type=Path)
    export.add_argument("--generation", type=int, metavar="G", help="by default the active one")
    export.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    verify = commands.add("verify", "check every checksum of an exported file")
    verify.add_argument("file", type=Path)
    load = commands.add("import", "make a knowledge base from an exported file, without embedding anything again")
    load.add_argument("file", type=Path)
    load.add_argument(
        "--name", help="name of the new knowledge base, by default the exported one’s, with a number if that is taken"
    )


def _add_program(commands: _Commands) -> None:
    model = commands.add_group("model", "list, install, choose and remove embedding models")
    model.add("list", "list the models")
    install = model.add("install", "install a model")
    install.add_argument("source", help="name, file, folder or URL")
    install.add_argument("--query-prefix", help="what the model wants before a query, instead of what it is known for")
    install.add_argument("--passage-prefix", help="what it wants before a passage")
    install.add_argument("--dimension", type=int, help="cut its vectors to this length, if it was trained for that")
    use = model.add("use", "let a knowledge base use a model from its next build on")
    use.add_argument("kb")
    use.add_argument("name")
    model.add("remove", "remove a model").add_argument("name")
    doctor = commands.add("doctor", "check what must always hold")
    doctor.add_argument("--repair", action="store_true", help="mend what can be mended, then check again")
    doctor.add_argument(
        "--health", nargs="?", const="", metavar="KB", help="instead say how quick, complete and fresh searching is"
    )
    commands.add("memory", "show the memory budget, how short memory is, and which part holds how much")
    config = commands.add_group("config", "read and write the program's settings")
    config.add("get", "show one setting or all").add_argument("key", nargs="?")
    setting = config.add("set", "change a setting")
    setting.formatter_class = argparse.RawDescriptionHelpFormatter
    setting.epilog = "settings, with their defaults:\n" + "\n".join(item.described for item in SETTINGS)
    setting.add_argument("key")
    setting.add_argument("value")
    config.add("path", "show where the settings lie")


def _hours(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"“{text}” is not a number of hours")
    return number


def _global_options(data_dir: object, as_json: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", default=data_dir, help="where everything is kept")
    parser.add_argument("--json", action="store_true", default=as_json, help="one JSON document on stdout")
    return parser


def key_value(text: str) -> tuple[str, str]:
    """A KEY=VALUE argument. Raises InvalidRequest."""
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise InvalidRequest(f"“{text}” is not a filter.", way_out="Write KEY=VALUE, for example type=pdf.")
    return key, value
