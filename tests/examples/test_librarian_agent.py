"""The agent at work on a real board: what it says on the way, what it answers, what it costs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from callboard.examples.librarian import Librarian, Library, board
from tests.examples.library import tools
from tests.integration.boards import open_board
from tests.transport.peer import Peer

Record = dict[str, Any]
# A warm answer's processor time, board and client included. Measured: 5 to 20 ms.
MAX_WARM_CPU_SECONDS = 0.1


class Conversation:
    """A user who asks and waits for the answer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._commands = 0

    async def ask(self, text: str) -> list[Record]:
        """All records of the run that a question starts."""
        self._commands += 1
        await self._peer.send({"t": "command", "id": self._commands, "op": "user_message", "data": {"text": text}})
        run = (await self._peer.result(self._commands))["ok"]["run"]
        while True:
            records = [record for record in self._peer.records if record["run"] == run]
            if records and records[-1]["type"] in ("agent_completed", "agent_error", "agent_cancelled"):
                return records
            await self._peer.receive()


def converse(talk: Callable[[Conversation], Awaitable[None]], agent: type[Librarian] = Librarian) -> None:
    """Have a conversation with an agent on a board of its own, over a socket and on the real clock."""

    async def main() -> None:
        with trio.fail_after(90):
            async with open_board({"librarian": agent}) as opened:
                peer = await Peer.connect(opened.port)
                await peer.hello(await opened.ticket("reader"))
                await talk(Conversation(peer))
                await peer.leave()

    trio.run(main)


def said(records: list[Record], type: str) -> list[dict[str, Any]]:
    """The data of all records of a type."""
    return [record["data"] for record in records if record["type"] == type]


def answer(records: list[Record]) -> str:
    """The result of a run, which is what was streamed."""
    assert records[-1]["type"] == "agent_completed", records[-1]
    result = records[-1]["data"]["result"]
    assert "".join(delta["text"] for delta in said(records, "agent_delta")) == result
    return str(result)


def test_a_question_is_looked_up_opened_and_quoted() -> None:
    """Thoughts, two tool calls with their real results, and the answer in pieces."""
    tools()

    async def talk(with_librarian: Conversation) -> None:
        records = await with_librarian.ask("What does json.dumps do?")
        calls = [(call["tool"], call["arguments"]) for call in said(records, "tool_executing")]
        assert calls == [("search", {"name": "json.dumps"}), ("open", {"name": "json.dumps"})]
        found, page = (done["result"] for done in said(records, "tool_completed"))
        assert found["hits"][0]["name"] == "json.dumps"
        assert page["doc"][0] == "Serialize ``obj`` to a JSON formatted ``str``."
        assert len(said(records, "agent_thinking")) == 2
        text = answer(records)
        assert "> Serialize ``obj`` to a JSON formatted ``str``." in text.splitlines()
        assert f"File: `json/__init__.py:{page['line']}`" in text

    converse(talk)


def test_a_conversation_is_followed() -> None:
    """Second argument, result, place and source of what was explained before; and a search in between."""
    tools()

    async def talk(with_librarian: Conversation) -> None:
        await with_librarian.ask("explain textwrap.shorten")
        assert "Argument 2 of 3 is `width`" in answer(await with_librarian.ask("And its second argument?"))
        assert "It is defined in line" in answer(await with_librarian.ask("where is it defined?"))
        source = await with_librarian.ask("show me the source")
        assert [call["tool"] for call in said(source, "tool_executing")] == ["search", "open", "source"]
        assert "def shorten(text, width, **kwargs):" in answer(source)
        found = answer(await with_librarian.ask("how do I run another program and read its output?"))
        assert found.startswith("Module `subprocess` fits best.")
        assert answer(await with_librarian.ask("what does it return?")).startswith("### `subprocess.")

    converse(talk)


def test_what_is_not_there_is_said_so() -> None:
    """Unknown names, questions about the world, greetings and very long texts get true answers."""
    tools()

    async def talk(with_librarian: Conversation) -> None:
        assert answer(await with_librarian.ask("what does json.frobnicate do")).startswith("I cannot find")
        assert answer(await with_librarian.ask("who won the football world cup")).startswith("I found nothing")
        assert answer(await with_librarian.ask("¿Cómo leo un archivo?")).startswith("I found nothing")
        assert answer(await with_librarian.ask("hello")).startswith("Hello.")
        assert answer(await with_librarian.ask("lorem ipsum " * 2_000)).startswith("I found nothing")

    converse(talk)


def test_a_warm_answer_costs_little() -> None:
    """On average, over explanations and searches, under 100 ms of processor time for the whole process."""
    tools()
    questions = ["What does os.path.join do?", "and its arguments?", "download a web page", "unpack a zip archive"] * 5

    async def talk(with_librarian: Conversation) -> None:
        await with_librarian.ask("sort a list of numbers")
        started = time.process_time()
        for question in questions:
            answer(await with_librarian.ask(question))
        assert (time.process_time() - started) / len(questions) < MAX_WARM_CPU_SECONDS

    converse(talk)


def test_the_first_question_opens_the_library_for_all() -> None:
    """It says so and what it read; the next run finds the same tools."""

    class Newcomer(Librarian):
        library = Library()

    async def talk(with_librarian: Conversation) -> None:
        first = await with_librarian.ask("hello")
        opened = Newcomer.library.tools
        assert opened is not None
        thoughts = [thought["text"] for thought in said(first, "agent_thinking")]
        assert thoughts[0].startswith("This is the first question on this node")
        assert thoughts[1].startswith(f"I have read {opened.index.statistics.files:,} files")
        second = await with_librarian.ask("hello")
        assert len(said(second, "agent_thinking")) == 1
        assert Newcomer.library.tools is opened

    converse(talk, Newcomer)


def test_the_board_offers_the_librarian() -> None:
    """What `callboard serve --app callboard.examples.librarian:board` serves."""
    assert board.default_agent == "librarian"
    assert isinstance(board.agents["librarian"], type)
    assert issubclass(board.agents["librarian"], Librarian)
