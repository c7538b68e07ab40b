"""The examples of `README.md` run as they are printed there."""

import re
from pathlib import Path
from typing import Any

import trio

import callboard

README = Path(__file__).parent.parent.parent / "README.md"
EMBED, AGENT = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


async def answer(board: callboard.Board, text: str) -> list[tuple[str, object]]:
    """The records of the run that this message starts in a session of its own, as type and data."""
    seen = []
    async with callboard.connect(board.url, token=board.authenticator.token("ada"), session=text) as session:
        await session.send(text)
        async for record in session:
            seen.append((record.type, record.data))
            if record.type in ("agent_completed", "agent_error"):
                break
    return seen


async def test_the_embedded_board_serves() -> None:
    """What is printed is where ada gets her answer."""
    printed: list[Any] = []
    said = trio.Event()

    def say(*words: Any) -> None:
        printed.extend(words)
        said.set()

    source = EMBED.replace("port=8765", "port=0").replace("trio.run(main)", "")
    names: dict[str, Any] = {"__name__": "example", "print": say}
    exec(compile(source, str(README), "exec"), names)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names["main"])
        with trio.fail_after(30):
            await said.wait()
            url, token = printed
            async with callboard.connect(url, token=token) as session:
                run = await session.send("hello")
                async for record in session:
                    if record.type == "agent_completed":
                        assert record.run == run
                        assert isinstance(record.data, dict)
                        assert record.data["result"] == "hello"
                        break
        nursery.cancel_scope.cancel()


async def test_the_agent_works_and_refuses_in_its_own_words() -> None:
    """Two tools in threads, the sentences, and the result; an unknown place is the agent's own error."""
    names: dict[str, Any] = {
        "__name__": "example",
        "geocode": lambda name: None if name == "Nowhere" else {"name": name},
        "forecast": lambda place: place["name"],
        "describe": lambda report: [f"{report} is dry.", "It stays so."],
    }
    exec(compile(AGENT, str(README), "exec"), names)
    with trio.fail_after(60):
        async with callboard.open(agents={"weather": names["Weather"]}, port=0, key=bytes(32)) as board:
            good, bad = await answer(board, "Oslo"), await answer(board, "Nowhere")
    types = ["agent_started", "agent_thinking", *("tool_executing", "tool_completed") * 2]
    assert [type for type, _ in good] == [*types, "agent_delta", "agent_delta", "agent_completed"]
    assert isinstance(good[-1][1], dict)
    assert good[-1][1]["result"] == "Oslo is dry. It stays so."
    assert bad[-1] == ("agent_error", {"code": "unknown_place", "message": "I do not know Nowhere.", "by": "agent"})
