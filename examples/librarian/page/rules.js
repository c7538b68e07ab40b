/**
 * What a client of `callboard.v1` decides, without any I/O: what to do when a connection has ended (`verdict`) and
 * which records of a frame are new (`Position`). It knows no sockets, timers or page; `callboard.js` carries it out.
 */

/** The WebSocket subprotocol: one text message is one JSON frame. */
export const PROTOCOL = "callboard.v1.json";

const BACKOFF_MIN_MS = 1_000;
const BACKOFF_CAP_MS = 20_000;

/** Why a connection may not be tried again, in words for a person. Unknown codes of the range get the last one. */
const REFUSALS = {
  1002: "The node did not accept what this page sent.",
  1007: "The node did not accept what this page sent.",
  1009: "A message was larger than the node accepts.",
  4000: "This page and the node speak different versions of the protocol. Reload the page.",
  4001: "The node could not read what this page sent.",
  4002: "The node expected a greeting and did not get one.",
  4003: "You may not open this conversation.",
  4004: "This conversation no longer exists.",
  4005: "The node does not accept connections from this address.",
  4006: "Your access was withdrawn.",
  4007: "A message was larger than the node accepts.",
  4008: "This conversation was continued in another tab.",
};

/**
 * The wait before attempt number `failures` + 1: at least a second, full jitter, capped.
 *
 * @param {number} failures attempts that failed in a row, 1 or more
 * @param {() => number} random numbers from [0, 1)
 * @returns {number} milliseconds
 */
export function backoff(failures, random) {
  const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_MIN_MS * 2 ** Math.min(failures, 10));
  return Math.round(BACKOFF_MIN_MS + random() * (ceiling - BACKOFF_MIN_MS));
}

/**
 * What to do after a close. The range decides, so that a code that is not listed is handled as well.
 *
 * @param {number} code the WebSocket close code; 1006 where there was none
 * @param {number} failures connections in a row, with this one, that did not last
 * @param {() => number} random numbers from [0, 1)
 * @returns {{action: "stop", message: string} | {action: "retry", delay_ms: number}}
 */
export function verdict(code, failures, random) {
  const refused = (code >= 4000 && code < 4100) || code === 1002 || code === 1007 || code === 1009;
  if (refused) return { action: "stop", message: REFUSALS[code] ?? "The node refused this connection." };
  // 42xx and 43xx say "now", and mean the first time: a node that repeats itself must not be met with a busy loop.
  if (code >= 4200 && code < 4400 && failures <= 1) return { action: "retry", delay_ms: 0 };
  // A node that goes away cleanly is soon back, or has a neighbour: jitter alone spreads its clients.
  if ((code === 1001 || code === 1012) && failures <= 1) {
    return { action: "retry", delay_ms: Math.round(random() * BACKOFF_MIN_MS) };
  }
  return { action: "retry", delay_ms: backoff(failures, random) };
}

/** How far this client has come in one history of a session: `(epoch, applied)`. */
export class Position {
  epoch = null;
  applied = 0;

  /** What a `hello` says as `start`: this position, or null before the first welcome. */
  get start() {
    return this.epoch === null ? null : { epoch: this.epoch, seq: this.applied };
  }

  /**
   * Take the server's verdict.
   *
   * @returns {boolean} true when everything shown so far must be dropped
   */
  welcome(frame) {
    const kept = frame.mode === "replay";
    this.epoch = frame.epoch;
    this.applied = frame.from - 1;
    return !kept;
  }

  /**
   * Sort a frame's records: apply one iff it is the next, drop it iff it was applied, else the order is broken.
   *
   * @returns {{fresh: object[], broken: boolean}} `fresh` may be applied even when `broken` is true
   */
  take(records) {
    const fresh = [];
    for (const record of records) {
      const [first, last] = Array.isArray(record.seq) ? record.seq : [record.seq, record.seq];
      if (last <= this.applied) continue;
      if (first !== this.applied + 1) return { fresh, broken: true };
      this.applied = last;
      fresh.push(record);
    }
    return { fresh, broken: false };
  }

  /**
   * Take a declared gap.
   *
   * @returns {"news" | "known" | "broken"} broken: it does not begin where this client stands
   */
  gap(frame) {
    if (frame.to <= this.applied) return "known";
    if (frame.from !== this.applied + 1) return "broken";
    this.applied = frame.to;
    return "news";
  }
}
