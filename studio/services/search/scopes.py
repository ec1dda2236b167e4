"""What a search is restricted to: knowledge bases pinned to generations, and in them the documents that may answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from studio.domain import KnowledgeBase, SearchRequest
from studio.errors import InvalidRequest
from studio.index.generations import Snapshot, Stores
from studio.index.keywords import ANY_OF, Condition, Operand, Query
from studio.services.search.filters import DocumentFilters


@dataclass(frozen=True, slots=True)
class Scope:
    """One knowledge base of a request, pinned.

    `documents` are the ids of those that may answer, None for all; `share` is how many of all they are. `holds` are the
    documents of each condition.
    """

    kb: KnowledgeBase
    snapshot: Snapshot
    documents: frozenset[str] | None = None
    share: float = 1.0
    holds: Mapping[Condition, frozenset[str]] = field(default_factory=dict)


async def open_scopes(
    stack: AsyncExitStack, stores: Stores, filters: DocumentFilters, request: SearchRequest, query: Query
) -> list[Scope]:
    """Pin the generations of a request while `stack` is open. Raises NotFound, InvalidRequest, StorageFault.

    An empty knowledge base has no results, which is not an error: it has no scope. A field that only some of several
    knowledge bases have finds nothing in the others.
    """
    scopes: list[Scope] = []
    refusals: list[InvalidRequest] = []
    for name in dict.fromkeys(request.knowledge_bases):
        kb = await stores.knowledge_base(name)
        if kb.active_generation is None and request.generation is None:
            continue
        snapshot = await stack.enter_async_context(stores.store(kb.id).reading(request.generation, kb))
        try:
            scopes.append(await _restricted(Scope(kb, snapshot), filters, request.filters, query))
        except InvalidRequest as refusal:
            refusals.append(refusal)
    if refusals and not scopes:
        raise refusals[0]
    return scopes


async def doubts(scopes: Sequence[Scope], filters: DocumentFilters) -> list[str]:
    """What is to be said of conditions that name documents: that several are called so, or nothing in any scope."""
    found: list[str] = []
    for condition in dict.fromkeys(condition for scope in scopes for condition in scope.holds):
        answering = [scope for scope in scopes if scope.holds.get(condition)] or scopes
        found += [await filters.doubt(scope.snapshot, condition.key, condition.value) for scope in answering]
    return list(filter(None, found))


async def _restricted(scope: Scope, filters: DocumentFilters, wanted: Sequence[tuple[str, str]], query: Query) -> Scope:
    groups: list[list[Condition]] = []
    for key, value in wanted:
        same = next((group for group in groups if key in ANY_OF and group[0].key == key), None)
        if same is None:
            groups.append([Condition(key, value)])
        else:
            same.append(Condition(key, value))
    holds: dict[Condition, frozenset[str]] = {}

    async def documents_of(condition: Condition) -> frozenset[str]:
        if condition not in holds:
            holds[condition] = await filters.matching(scope.snapshot, condition.key, condition.value)
        return holds[condition]

    for operands in query.required:
        conditions = conditions_in(operands)
        if len(conditions) == len(operands):
            groups.append(conditions)
        for condition in conditions:
            await documents_of(condition)
    documents: frozenset[str] | None = None
    for group in groups:
        passing = frozenset().union(*[await documents_of(condition) for condition in group])
        documents = passing if documents is None else documents & passing
    for condition in conditions_in(query.excluded):
        documents = (await filters.everything(scope.snapshot) if documents is None else documents) - (
            await documents_of(condition)
        )
    share = 1.0
    if documents is not None:
        share = len(documents) / max(1, await filters.count(scope.snapshot))
    return Scope(scope.kb, scope.snapshot, documents, share, holds)


def conditions_in(operands: Sequence[Operand]) -> list[Condition]:
    """Those that are judged by document."""
    return [operand for operand in operands if isinstance(operand, Condition)]
