/**
 * A world for the page's client: a clock that stands still until it is told to move, and a node that speaks
 * `callboard.v1` over sockets in memory. It keeps the rules of the protocol's other end (tickets are single use, hello
 * comes first and once, a repeated command runs once) and throws where the client breaks one.
 */

import { createHash } from "node:crypto";

/** Time in milliseconds; timers run in order, and what they promise is done before the next one. */
export class Clock {
  now = 1_000_000;
  #timers = [];
  #count = 0;

  setTimeout = (action, delay_ms) => {
    const timer = { at: this.now + Math.max(0, delay_ms), number: ++this.#count, action };
    this.#timers.push(timer);
    this.#timers.sort((a, b) => a.at - b.at || a.number - b.number);
    return timer;
  };

  clearTimeout = (timer) => {
    this.#timers = this.#timers.filter((each) => each !== timer);
  };

  /** Let `ms` pass. */
  async pass(ms) {
    const end = this.now + ms;
    await settled();
    while (this.#timers.length > 0 && this.#timers[0].at <= end) {
      const timer = this.#timers.shift();
      this.now = timer.at;
      timer.action();
      await settled();
    }
    this.now = end;
  }
}

/** All promises that can go on have gone on. */
export function settled() {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Numbers from [0, 1) that are the same for the same seed (mulberry32's recurrence). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A tab's storage. */
export class TabStorage {
  #items = new Map();
  getItem(key) {
    return this.#items.get(key) ?? null;
  }
  setItem(key, value) {
    this.#items.set(key, String(value));
  }
  /** What a duplicated tab begins with. */
  copy() {
    const twin = new TabStorage();
    for (const [key, value] of this.#items) twin.setItem(key, value);
    return twin;
  }
}

/** The locks of one browser, shared by its tabs: exclusive, first come first served, and a wait can be given up. */
export class Locks {
  #queues = new Map();

  async request(name, { signal }, hold) {
    const queue = this.#queues.get(name) ?? this.#queues.set(name, []).get(name);
    let turn;
    const mine = new Promise((resolve) => {
      turn = resolve;
    });
    queue.push(turn);
    if (queue.length === 1) turn();
    const leave = () => {
      const first = queue[0] === turn;
      queue.splice(queue.indexOf(turn), 1);
      if (first) queue[0]?.();
    };
    const givenUp = new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(new DOMException("the wait was given up", "AbortError")));
    });
    try {
      await Promise.race([mine, givenUp]);
      return await hold();
    } finally {
      leave();
    }
  }
}

/** The other end: one session, in memory. */
export class VirtualNode {
  epoch = "00000000000000e1";
  log = [];
  first = 1;
  sockets = [];
  hellos = [];
  closed = []; // devices whose connection the client closed
  acks = [];
  tickets = new Set();
  ticketRequests = 0;
  ticketStatus = 201; // what POST /v1/tickets answers
  devices = new Map();
  ran = []; // texts of the messages that ran
  limits = { frame_bytes: 65_536, runs: 4, history: 1_000 };
  heartbeat_ms = 25_000;
  timeout_ms = 10_000;
  latency_ms = 5;
  mute = false; // takes everything and says nothing
  merges = false; // says a replay as one record, where that is of one run's deltas only

  constructor(clock) {
    this.clock = clock;
  }

  /** What a `Session` needs to live in this world. */
  env({ seed = 1, locks, window, document, online = () => true } = {}) {
    const random = seeded(seed);
    const node = this;
    return {
      fetch: (url, init) => this.#fetch(url, init),
      WebSocket: class extends Socket {
        constructor(url, protocols) {
          super(node, url, protocols);
        }
      },
      setTimeout: this.clock.setTimeout,
      clearTimeout: this.clock.clearTimeout,
      now: () => this.clock.now,
      random,
      randomBytes: (count) => Uint8Array.from({ length: count }, () => random() * 256),
      online,
      locks,
      window,
      document,
    };
  }

  /** Append an event and deliver it to whoever is welcome. */
  emit(type, run, data) {
    const seq = this.log.length + 1;
    const record = { seq, id: `${run}/${seq}`, type, run, at: this.clock.now, data };
    this.log.push(record);
    for (const socket of this.sockets) if (socket.welcomed) socket.say({ t: "events", events: [record] });
    return record;
  }

  /** End every connection with this close code, as the node would; 1006: the network broke. */
  cut(code = 1006) {
    for (const socket of [...this.sockets]) socket.end(code);
  }

  say(frame) {
    for (const socket of this.sockets) if (socket.welcomed) socket.say(frame);
  }

  /** Lose everything, as a node with a memory journal does when it starts anew. */
  forget() {
    this.epoch = createHash("sha256").update(this.epoch).digest("hex").slice(0, 16);
    this.log = [];
    this.first = 1;
    this.devices.clear();
    this.cut(1012);
  }

  async #fetch(url, { method, headers, body, signal }) {
    const path = new URL(url).pathname;
    if (path !== "/v1/tickets" || method !== "POST") throw new Error(`nobody asked for ${method} ${path}`);
    if (!headers.Authorization.startsWith("Bearer ")) throw new Error(`not a bearer: ${headers.Authorization}`);
    this.ticketRequests += 1;
    await new Promise((resolve) => this.clock.setTimeout(resolve, this.latency_ms));
    signal.throwIfAborted();
    const status = headers.Authorization === "Bearer stale" ? 401 : this.ticketStatus;
    const ticket = `ticket-${this.ticketRequests}`;
    if (status === 201) this.tickets.add(ticket);
    const answer =
      status === 201
        ? { ticket, session: `id-of-${JSON.parse(body).session}`, expires_in_s: 30, url: "ws://node.test/v1/connect" }
        : { title: "Refused", detail: `the node answers ${status}` };
    return new Response(JSON.stringify(answer), { status, headers: { "Content-Type": "application/json" } });
  }

  command(device, { id, op, run, data }) {
    const results = this.devices.get(device);
    if (results === undefined && id !== 1)
      return { error: { code: "expired_id", message: "who are you?", retry: false } };
    const known = results?.get(id);
    const fingerprint = JSON.stringify([op, run, data]);
    if (known !== undefined) {
      return known.fingerprint === fingerprint
        ? known.result
        : { error: { code: "id_conflict", message: "another body", retry: false } };
    }
    const result = op === "user_message" ? this.#message(data.text) : { ok: { state: "ended" } };
    if (results === undefined) this.devices.set(device, new Map());
    this.devices.get(device).set(id, { fingerprint, result });
    return result;
  }

  #message(text) {
    this.ran.push(text);
    const run = `run-${this.ran.length}`;
    this.emit("agent_started", run, { agent: "librarian", input: text, by: "session" });
    return { ok: { run }, seq: this.log.length };
  }
}

/** A WebSocket of the client's, with the node at its other end. */
class Socket extends EventTarget {
  readyState = 0;
  welcomed = false;
  told = false; // the client has the welcome
  #ping = null;

  constructor(node, url, protocols) {
    super();
    if (!url.startsWith("ws://") || protocols[0] !== "callboard.v1.json") throw new Error(`${url} ${protocols}`);
    this.node = node;
    node.sockets.push(this);
    node.clock.setTimeout(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.dispatchEvent(new Event("open"));
    }, node.latency_ms);
  }

  /** The client sends. */
  send(text) {
    if (this.readyState !== 1) throw new Error(`sent in state ${this.readyState}: ${text}`);
    this.node.clock.setTimeout(() => {
      if (this.readyState === 1 && !this.node.mute) this.#take(JSON.parse(text));
    }, this.node.latency_ms);
  }

  /** The client closes. */
  close(code) {
    if (this.readyState !== 3) this.node.closed.push(this.device);
    this.end(code, false);
  }

  /** The node sends. */
  say(frame) {
    if (this.node.mute) return;
    this.node.clock.clearTimeout(this.#ping);
    this.#ping = this.node.clock.setTimeout(
      () => this.say({ t: "ping", seq: this.node.log.length }),
      this.node.heartbeat_ms,
    );
    this.node.clock.setTimeout(() => {
      if (this.readyState !== 1) return;
      this.told ||= frame.t === "welcome";
      this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(frame) }));
    }, this.node.latency_ms);
  }

  end(code, told = true) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.node.clock.clearTimeout(this.#ping);
    this.node.sockets = this.node.sockets.filter((each) => each !== this);
    if (told) this.dispatchEvent(Object.assign(new Event("close"), { code, reason: "" }));
  }

  #take(frame) {
    const { node } = this;
    if (!this.welcomed) {
      if (frame.t !== "hello") throw new Error(`${frame.t} before hello`);
      this.#hello(frame);
    } else if (frame.t === "command") {
      if (!this.told) throw new Error(`a command before the welcome: ${frame.id}`);
      const result = node.command(this.device, frame);
      this.say({ t: "result", id: frame.id, ...result });
    } else if (frame.t === "ack") {
      node.acks.push({ at: node.clock.now, seq: frame.seq });
    } else if (frame.t !== "pong") {
      throw new Error(`a client may not send ${frame.t} here`);
    }
  }

  #hello({ ticket, device, start, merge }) {
    const { node } = this;
    if (!/^[0-9a-f]{32}$/.test(device)) throw new Error(`not a device: ${device}`);
    node.hellos.push({ at: node.clock.now, device, start, merge });
    if (!node.tickets.delete(ticket)) return this.end(4301);
    for (const twin of [...node.sockets]) if (twin !== this && twin.device === device) twin.end(4008);
    this.device = device;
    this.welcomed = true;
    const head = node.log.length;
    const holds = typeof start === "object" && start.epoch === node.epoch && start.seq <= head;
    const from = holds ? start.seq + 1 : node.first;
    const mode = holds ? "replay" : start.epoch === undefined ? "fresh" : "reset";
    this.say({
      t: "welcome",
      session: "s",
      connection: "c",
      epoch: node.epoch,
      first: node.first,
      head,
      from,
      mode,
      last_id: Math.max(0, ...(node.devices.get(device)?.keys() ?? [])),
      heartbeat_ms: node.heartbeat_ms,
      timeout_ms: node.timeout_ms,
      limits: node.limits,
      server: "virtual",
    });
    if (from < node.first) this.say({ t: "gap", from, to: node.first - 1, reason: "retention" });
    const records = node.log.slice(Math.max(from, node.first) - 1);
    if (records.length > 0) this.say({ t: "events", events: merge && node.merges ? [asOne(records)] : records });
  }
}

function asOne(records) {
  const text = records.map((record) => record.data.text).join("");
  return { ...records.at(-1), seq: [records[0].seq, records.at(-1).seq], data: { text } };
}
