"""A stream to a node: name, TCP, and TLS where the address says so. Knows nothing of what is spoken over it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable

import trio

from .urls import Target

__all__ = ["NotReached", "StreamOpener", "dial"]

StreamOpener = Callable[[str, int], Awaitable[trio.abc.Stream]]


class NotReached(Exception):
    """There is no such stream to be had; says why not."""


async def dial(where: Target, tls: ssl.SSLContext | None, open_stream: StreamOpener) -> trio.abc.Stream:
    """Open a stream; when cancelled, none is left open. It waits for as long as the system does.

    Args:
        where: the host and port, and whether it is TLS.
        tls: how to verify the host's certificate; the system's authorities if None.
        open_stream: opens a stream to a host and port.

    Raises:
        NotReached: there is nobody, or nobody who can be trusted.
    """
    try:
        stream = await open_stream(where.host, where.port)
    except OSError as error:
        raise NotReached(_reason(error)) from None
    if not where.secure:
        return stream
    secured = trio.SSLStream(
        stream,
        tls if tls is not None else ssl.create_default_context(),
        server_hostname=where.host,
        https_compatible=True,  # what is spoken over it says itself where it ends
    )
    try:
        await secured.do_handshake()
    except BaseException as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error, trio.BrokenResourceError):
            raise NotReached(f"no TLS: {error.__cause__ or error}") from None
        raise
    return secured


def _reason(error: OSError) -> str:
    """The system's own words, of which trio makes longer ones; several if there are several addresses."""
    cause = error.__cause__
    errors = cause.exceptions if isinstance(cause, ExceptionGroup) else (cause or error,)
    return "; ".join(dict.fromkeys(_words(one) for one in errors))


def _words(error: BaseException) -> str:
    if not isinstance(error, OSError):
        return str(error)
    # Names that are not found have numbers of their own, below 0.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)
