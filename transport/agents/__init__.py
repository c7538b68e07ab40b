"""Workers in Python: agents of a node that run in other processes. `callboard.agents`.

::

    class Researcher(callboard.agents.Agent):
        restartable = True

        async def run(self, message):
            await self.emit("agent_thinking", {"text": "Let me see."})
            return await self.tool("search", {"query": message.text}, partial(search, message.text))


    trio.run(partial(callboard.agents.connect, url, token=token, agents={"researcher": Researcher}))
"""

# General layout, bottom up:
#
#   work          what was said of one run and is not acknowledged
#   agent         what authors write
#   worker        from connection to connection; `connect`

from .agent import Agent, Receipt
from .worker import WorkerRefused, connect

__all__ = ["Agent", "Receipt", "WorkerRefused", "connect"]
