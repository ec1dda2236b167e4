"""The command around tags."""

from __future__ import annotations

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE
from studio.cli.output import say, table


async def tag(services: Services, options: Options) -> int:
    """List the tags of all or some documents; give tags to files, or take them away."""
    if options.add or options.remove:
        tagged = await services.tags.change(options.kb, options.documents, add=options.add, remove=options.remove)
        lines = [f"{path}: {', '.join(tags) or '-'}" for path, tags in tagged.items()]
        say(options, [{"path": path, "tags": tags} for path, tags in tagged.items()], "\n".join(lines))
        return DONE
    counts = await services.tags.counts(options.kb, options.documents)
    rows = [[item.tag, item.documents, item.given] for item in counts]
    say(options, counts, table(rows, ("TAG", "DOCUMENTS", "GIVEN BY YOU")) if rows else "No tags yet.")
    return DONE
