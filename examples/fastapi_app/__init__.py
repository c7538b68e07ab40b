"""A FastAPI application with a board inside: its own login, an agent on asyncio, callboard's WebSockets beside it.

::

    pip install fastapi uvicorn
    BOARD_USERS=ann:secret uvicorn --factory callboard.examples.fastapi_app:create_app

FastAPI listens where uvicorn does; the board serves WebSockets on a port of its own, 8765. A client logs in
(`POST /login`), asks for a ticket (`POST /ticket`), and connects to the url that came with it.
"""

from .app import create_app

__all__ = ["create_app"]
