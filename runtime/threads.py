"""Stock `pykka.ThreadingActor`s as children: the home of blocking code.

The actor's class is used as it is: its hooks run on its own thread, which pykka itself starts, and `self.actor_ref` is
callboard's ref, so what it gives away stays good through restarts. The loop on that thread is ours, because the rules
are: under a supervisor an exception is a failure in an ask too, and an end is reported.

The thread's own inbox holds one message of the bridge at most. What code of the actor's own puts there (a proxy to
itself that was made in `__init__`) is handled too, by the same rules.
"""

from __future__ import annotations

import threading
from typing import Any

import pykka
import pykka.messages
from pykka._envelope import Envelope

from .bridge import Bridge
from .calls import Call, at_work
from .errors import Refusal
from .mailbox import ActorStop
from .tracebacks import log_traceback
from .waits import Turn

__all__ = ["ThreadBridge"]


class _Forsaken:
    """Wakes the thread of an actor that nobody wants any more."""


class ThreadBridge(Bridge):
    """Stands for a stock `pykka.ThreadingActor`, made and not started."""

    subject: pykka.ThreadingActor

    def __init__(self, subject: pykka.ThreadingActor) -> None:
        super().__init__(subject)
        own: Any = subject
        own._actor_ref = self.actor_ref
        own.actor_urn = self.actor_urn
        own.stop = self.stop_own
        # Pykka's way to start its thread reads both: a daemon, because one that overruns its deadline is left behind.
        own.use_daemon_thread = True
        own._actor_loop = self._loop

    def open(self) -> None:
        """Start the thread."""
        self.subject._start_actor_loop()
        self.system.threads += 1

    def give(self, call: Call) -> None:
        """Put a message into the thread's inbox."""
        self.subject.actor_inbox.put(Envelope(call))

    def close(self) -> None:
        """Tell the thread to run `on_stop` and end."""
        self.subject.actor_inbox.put(Envelope(ActorStop()))

    def forsake(self) -> None:
        """Leave the thread behind: it ends when what it does just now ends."""
        self.subject.actor_stopped.set()
        self.subject.actor_inbox.put(Envelope(_Forsaken()))

    def _on_ended(self, error: BaseException | None) -> None:
        self.system.threads -= 1
        super()._on_ended(error)

    # -- on the thread ----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        at_work.worker = self
        subject = self.subject
        error: BaseException | None = None
        try:
            subject.on_start()
            self.report_started()
            while not subject.actor_stopped.is_set():
                self._handle(subject.actor_inbox.get())
        except BaseException as raised:  # noqa: BLE001 - the thread's part of the cell: the supervisor decides
            error = raised
        subject.actor_stopped.set()
        self._empty_inbox()
        self.report_ended(error)

    def _handle(self, envelope: Envelope[Any]) -> None:
        """Handle one message; raises what ends the actor."""
        message, reply = envelope.message, envelope.reply_to
        if message.__class__ is ActorStop:
            self.subject.actor_stopped.set()
            try:
                self.subject.on_stop()
            finally:
                if reply is not None:
                    reply.set(None)
        elif message.__class__ is Call:
            at_work.call = message
            # So that its waits are its actor's (law A10).
            turn = Turn(self._cell, self.system.waits, threading.get_ident())
            turn.enter(message.context)
            try:
                value = message.context.run(self.subject._handle_receive, message.message)
            except Refusal as refusal:
                self.report_done(message, None, refusal)
            except BaseException as error:
                if message.cancelled and isinstance(error, Exception):
                    # No failure (law A5). What blocks is interrupted by taking away what it waits for, and then raises
                    # anything: an ask that was given up, a socket that was closed.
                    log_traceback(error, "%s raised when nobody waited for it", self.actor_ref)
                    self.report_done(message, None, error)
                    return
                # Before the answer: when the next incarnation starts, this one has cleaned up.
                self._on_failure(error)
                self.report_done(message, None, error)
                raise
            else:
                self.report_done(message, value, None)
            finally:
                at_work.call = None
                self.system.run_soon(turn.ends)
        elif message.__class__ is not _Forsaken:
            try:
                value = self.subject._handle_receive(message)
            except Exception as error:
                if reply is not None:
                    reply.set_exception()
                if isinstance(error, Refusal):
                    return
                self._on_failure(error)
                raise
            if reply is not None:
                reply.set(value)

    def _on_failure(self, error: BaseException) -> None:
        try:
            self.subject.on_failure(type(error), error, error.__traceback__)
        except Exception as second:  # noqa: BLE001 - it has failed already, so this is only told
            self.system.run_soon(self.system.report, self._cell, second)

    def _empty_inbox(self) -> None:
        inbox = self.subject.actor_inbox
        while not inbox.empty():
            envelope = inbox.get()
            if envelope.reply_to is None:
                continue
            if envelope.message.__class__ is ActorStop:
                envelope.reply_to.set(None)
            else:
                text = f"{self.actor_ref} stopped before handling the message"
                envelope.reply_to.set_exception((pykka.ActorDeadError, pykka.ActorDeadError(text), None))
