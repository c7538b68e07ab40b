"""`callboard verify`: a node shows from outside that it keeps its laws.

Users of its own go through token, ticket, connection, messages and events as clients do; nothing of the node's own code
judges what they see.
"""

# General layout, bottom up:
#
#   lines                 what is claimed: one member for each line of the table
#   evidence              what was found for each line
#   wire, stream, grammar what comes from a node, and the pure judgments on it
#   socket, tickets       a WebSocket and a ticket, as a client has them
#   answer, story, link   the answer to a command, one session, one connection
#   plan, together        what is to be done; several things at the same time
#   world                 what all scenarios share
#   scenarios             what is done to a node
#   judge                 the judgment on all that was seen
#   report, run           the outcome; the whole of it

from .evidence import Evidence, Outcome, Status
from .lines import Line
from .plan import TEXT, Plan, Tokens, Watch
from .report import Report, evidence_lines, outcome_table
from .run import verify

__all__ = [
    "TEXT",
    "Evidence",
    "Line",
    "Outcome",
    "Plan",
    "Report",
    "Status",
    "Tokens",
    "Watch",
    "evidence_lines",
    "outcome_table",
    "verify",
]
