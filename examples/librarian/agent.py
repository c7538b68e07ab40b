"""The librarian: an agent that answers questions about Python from the documentation that is installed beside it.

The shell around the pure parts: it makes a plan, calls tools by it, and streams what the answer functions write. On the
way it says what it looks for, what it decided and why. One index serves all runs of a node; the first one builds it.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import assert_never

import trio

from callboard import Agent, Message

from . import answers
from .index import build_index
from .opening import SourceChanged
from .pages import Excerpt, Found, Page
from .plan import Explain, Find, Plan, Talk, make_plan
from .tools import Tools
from .wording import Aspect
from .words import keywords, kin

__all__ = ["Librarian", "Library"]


class Library:
    """The tools over one index, made at first use and shared from then on; safe in any thread and on any loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tools: Tools | None = None

    @property
    def tools(self) -> Tools | None:
        """The tools, or None as long as nobody has opened the library."""
        return self._tools

    def open(self) -> Tools:
        """The tools; blocks for seconds while they are made, by whoever comes first. A failure is tried again."""
        with self._lock:
            if self._tools is None:
                self._tools = Tools(build_index())
            return self._tools


# What a search is given of a very long question.
_MAX_KEYWORDS = 40

# Runs that wait for the first index wait here and hold no worker thread, which others may need. One a loop.
_one_at_a_time: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("_one_at_a_time")


class Librarian(Agent):
    """Answers one question."""

    library = Library()

    async def run(self, message: Message) -> str:
        """Answer `message.text` in light Markdown; the same text goes out in `agent_delta` pieces before."""
        tools = self.library.tools or await self._open_library()
        plan = make_plan(message.text, message.history, tools.index)
        await self._think(_intention(plan))
        text = await self._answer(plan, tools)
        for piece in answers.pieces(text):
            await self.emit("agent_delta", {"text": piece})
        return text

    async def _answer(self, plan: Plan, tools: Tools) -> str:
        match plan:
            case Talk():
                return answers.talk(plan.about, tools.index.statistics)
            case Explain():
                return "\n".join([await self._explain(name, plan, tools) for name in plan.names])
            case Find():
                return await self._find(plan, tools)
            case _:
                assert_never(plan)

    async def _open_library(self) -> Tools:
        await self._think(
            "This is the first question on this node: I read the sources of the standard library and of the installed"
            " packages. It takes a few seconds, once."
        )
        try:
            limiter = _one_at_a_time.get()
        except LookupError:
            limiter = trio.CapacityLimiter(1)
            _one_at_a_time.set(limiter)
        # Abandoned when the run is cancelled: the thread goes on, and the next run finds what it made.
        tools = await trio.to_thread.run_sync(self.library.open, limiter=limiter, abandon_on_cancel=True)
        read = tools.index.statistics
        await self._think(
            f"I have read {read.files:,} files and know {read.entries:,} names in {read.modules:,} modules."
        )
        return tools

    async def _think(self, text: str) -> None:
        await self.emit("agent_thinking", {"text": text})

    async def _explain(self, name: str, plan: Explain, tools: Tools) -> str:
        result = await self.tool("search", {"name": name}, partial(tools.search_name, name))
        if not result["hits"]:
            near = f"; nearest in spelling: {', '.join(result['similar'])}" if result["similar"] else ""
            await self._think(f"There is no `{name}`{near}. I say so rather than guess.")
            return answers.unknown(name, result, tools.index.statistics)
        best = result["hits"][0]
        await self._think(_choice(name, result))
        try:
            page = await self.tool("open", {"name": best["name"]}, partial(tools.open, best["name"]))
            excerpt = None
            if plan.aspect in (Aspect.SOURCE, Aspect.RETURNS) and page["origin"] != "built-in":
                await self._think(f"For {plan.aspect.value} I read its code, too.")
                excerpt = await self.tool("source", {"name": best["name"]}, partial(tools.source, best["name"]))
        except SourceChanged as error:
            return answers.changed(best["name"], str(error))
        return _written(plan, page, excerpt, asked=name)

    async def _find(self, plan: Find, tools: Tools) -> str:
        query = " ".join(keywords(plan.words)[:_MAX_KEYWORDS])
        result = await self.tool("search", {"query": query}, partial(tools.search_words, query))
        trust = answers.trust(result)
        if trust == "nothing":
            await self._think("Nothing fits well enough to be an answer.")
            return answers.nothing_found(plan.words, result, tools.index.statistics)
        best = result["hits"][0]
        # A module is the answer if one was asked for, or while it is not sure that it is the right one.
        inside = [] if plan.module_wanted or trust == "unsure" else [i for i in best["inside"] if i["summary"]]
        chosen = inside[0]["name"] if inside else best["name"]
        await self._think(_judgement(result, chosen, sure=trust == "sure"))
        try:
            page = await self.tool("open", {"name": chosen}, partial(tools.open, chosen))
        except SourceChanged as error:
            return answers.changed(chosen, str(error))
        return answers.found(result, page)


def _written(plan: Explain, page: Page, excerpt: Excerpt | None, *, asked: str) -> str:
    match plan.aspect:
        case Aspect.WHAT:
            return answers.explained(page, asked=asked)
        case Aspect.MORE:
            return answers.explained(page, whole=True, asked=asked)
        case Aspect.ARGUMENTS:
            return answers.arguments(page, asked=asked)
        case Aspect.ARGUMENT:
            assert plan.argument is not None
            return answers.argument(page, plan.argument, asked=asked)
        case Aspect.RETURNS:
            return answers.returned(page, excerpt, asked=asked)
        case Aspect.WHERE:
            return answers.where(page, asked=asked)
        case Aspect.SOURCE:
            return answers.sourced(page, excerpt, asked=asked)
        case Aspect.EXAMPLE:
            return answers.example(page, asked=asked)
        case Aspect.MEMBERS:
            return answers.members(page, asked=asked)
        case _:
            assert_never(plan.aspect)


def _intention(plan: Plan) -> str:
    match plan:
        case Talk():
            return "There is nothing to look up for this."
        case Explain(names=names, aspect=aspect, follows=follows):
            named = ", ".join(f"`{name}`" for name in names)
            said = f"This goes on about {named}" if follows else f"The question names {named}"
            return f"{said}. Wanted: {aspect.value}. I look the name up."
        case Find(words=text):
            wanted = list(dict.fromkeys(keywords(text)))[:_MAX_KEYWORDS]
            also = [word for word in dict.fromkeys(k for w in wanted for k in kin(w)) if word not in wanted]
            said = f"No name is given, so I search by words: {', '.join(wanted) or 'there are none that I know'}."
            return f"{said} Documentation may also say {', '.join(also[:10])}." if also else said
        case _:
            assert_never(plan)


def _choice(name: str, result: Found) -> str:
    best, *others = result["hits"]
    at = f"{best['file']}:{best['line']}" if best["file"] else "C code"
    said = f"`{best['name']}` is a {best['kind']} in {at}. I open it."
    if others and "." not in name:
        named = ", ".join(f"`{hit['name']}`" for hit in others)
        said += f" {named} would fit, too; programs import the first one's module most."
    return said


def _judgement(result: Found, chosen: str, *, sure: bool) -> str:
    best, *others = result["hits"]
    said = f"`{best['name']}` fits best (score {best['score']:g}, it speaks of {best['coverage']:.0%} of the question)"
    if others:
        said += f", before `{others[0]['name']}` ({others[0]['score']:g})"
    doubt = "" if sure else " That is too little to be sure of, and I shall say so."
    return f"{said}.{doubt} I open `{chosen}` to quote it."
