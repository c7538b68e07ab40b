/**
 * The commands of one session on their way: given ids, sent, repeated after each welcome, answered once.
 *
 * It knows frames and results, and who this tab is (`Identity`); it knows no socket: `send` is handed in.
 */

/** A command that was not accepted. `code` is one of the protocol's, or `closed`; `retry`: may be sent again as new. */
export class CommandError extends Error {
  constructor({ code, message, retry = false }) {
    super(message);
    this.name = "CommandError";
    this.code = code;
    this.retry = retry;
  }
}

export class Commands {
  #identity;
  #send;
  #renewed;
  #limits = null; // set while commands may go out
  #expired = []; // refused to a forgotten device; they go out again under the next device id

  /**
   * @param {import("./identity.js").Identity} identity
   * @param {(frame: object) => void} send puts a frame on the current connection
   * @param {() => void} renewed tells that the device id has changed, so that a new hello is due
   */
  constructor(identity, send, renewed) {
    this.#identity = identity;
    this.#send = send;
    this.#renewed = renewed;
    for (const command of identity.open.values()) promising(command);
  }

  /** Those without a result, oldest first. */
  get open() {
    return [...this.#expired, ...this.#identity.open.values()];
  }

  /** Take a new command; it is sent now, or after the next welcome. */
  add(op, data, run) {
    const command = promising({ op, run, data });
    if (this.#expired.length > 0) {
      this.#expired.push(command);
    } else {
      this.#identity.add(command);
      if (this.#limits !== null) this.#put(command);
    }
    return command;
  }

  /** A command that cannot be sent any more. */
  static refused(op, data, run, message) {
    const command = promising({ op, run, data });
    command.reject(new CommandError({ code: "closed", message }));
    return command;
  }

  /** After a welcome: repeat, in order, what has no result. */
  resume({ last_id, limits }) {
    this.#limits = limits;
    this.#identity.atLeast(last_id);
    for (const command of [...this.#identity.open.values()]) this.#put(command);
  }

  /** Until the next welcome nothing is sent. */
  pause() {
    this.#limits = null;
  }

  /** Take a `result` frame. Returns false when it answers nothing that is open. */
  result(frame) {
    const command = this.#identity.settle(frame.id);
    if (command === undefined) return false;
    if (frame.error === undefined) {
      command.resolve(frame.ok);
    } else if (frame.error.code !== "expired_id") {
      command.reject(new CommandError(frame.error));
    } else if (command.sends === 1) {
      this.#expired.push(command);
    } else {
      // It went out before, and the session has forgotten what came of it: only the user can tell what to do.
      const message = "The connection was lost while this was sent, and the node no longer knows whether it arrived.";
      command.reject(new CommandError({ code: "expired_id", message }));
    }
    // Not before the others are answered: repeated by a new device they would be new commands.
    if (this.#expired.length > 0 && this.#identity.open.size === 0) this.#renew();
    return true;
  }

  /** Reject all that is open. What is kept stored is repeated by the next session with this identity. */
  reject(message, { keep }) {
    for (const command of this.open) {
      if (!keep) this.#identity.settle(command.id);
      command.reject(new CommandError({ code: "closed", message }));
    }
    this.#expired = [];
  }

  /** The session has forgotten this device: go on as a new one. What expired has not run. */
  #renew() {
    this.pause();
    this.#identity.renew();
    for (const command of this.#expired.splice(0)) this.#identity.add(command);
    this.#renewed();
  }

  #put(command) {
    const { id, op, run, data } = command;
    const frame = { t: "command", id, op, run, data };
    const size = new TextEncoder().encode(JSON.stringify(frame)).length;
    const most = this.#limits.frame_bytes ?? Infinity;
    if (size > most) {
      // Sent, it would end the connection for good (4007).
      const message = `The message has ${size} bytes; this node takes ${most} at most.`;
      this.#identity.settle(id).reject(new CommandError({ code: "too_big", message }));
      return;
    }
    command.sends += 1;
    this.#identity.save();
    this.#send(frame);
  }
}

function promising(command) {
  command.done = new Promise((resolve, reject) => Object.assign(command, { resolve, reject }));
  command.done.catch(() => {}); // who does not look at the outcome does not want it on the console either
  return command;
}
