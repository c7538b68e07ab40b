/**
 * A browser client for `callboard.v1`: one `Session` follows one conversation over any number of connections.
 *
 * It fetches a ticket for each connection, says hello, applies every record exactly once, answers pings, moves on
 * `goaway`, comes back after a loss, and repeats commands that have no result. It knows nothing of agents, of the page
 * or of how a user logs in. What it decides stands in `rules.js`; this file has the sockets and the clocks.
 *
 * Theory of operation: `#current` is the connection whose frames count, from the moment its hello is sent. `#opening`
 * is the one being set up; while a `goaway` is honoured both exist. The timer `attempt` is the next one to be set up.
 * Without a current connection there is exactly one of the two, unless the session is closed or refused.
 *
 *     const session = new Session({ name: "main", token: async () => jwt });
 *     session.addEventListener("records", (event) => event.detail.records.forEach(show));
 *     session.open();
 *     const { run } = await session.command("user_message", { text: "What does json.dumps do?" }).done;
 */

import { CommandError, Commands } from "./commands.js";
import { browser, claim, randomHex, tabStorage } from "./environment.js";
import { Identity } from "./identity.js";
import { Position, PROTOCOL, verdict } from "./rules.js";
import { fetchTicket, Refused } from "./tickets.js";

export { CommandError, Refused };

/** A ticket, a handshake or a welcome that takes longer than this is a lost attempt. */
const CONNECT_DEADLINE_MS = 10_000;
/** A connection that held this long was a good one: back-off begins anew after it. */
const LASTING_MS = 5_000;
/** At most one `ack` in this time; it feeds metrics only. */
const ACK_INTERVAL_MS = 1_000;
/** "Nobody said anything": what a lost connection is told as when there was no close code. */
const ABNORMAL = 1006;
const HEARTBEAT_LOST = 4201;

/**
 * Events (`CustomEvent`, what is listed is the `detail`): `state` {state, code?, message?, retry_at?}, `welcome` (the
 * frame), `reset` (drop all that is shown), `records` {records, replayed}, `gap` (the frame), `caughtup` {missed,
 * away_ms}, `commands` (the open ones changed), `problem` (a protocol error that the server reported).
 * Deltas that waited may come as one record: its `seq` is `[a, b]`, its text that of records a to b.
 *
 * States: `idle`, `connecting`, `live`, `reconnecting`, `offline` (as reconnecting, and the browser has no network),
 * `refused` (will not try again; `message` says why), `closed`.
 */
export class Session extends EventTarget {
  #token;
  #base;
  #start;
  #client;
  #env;
  #identity;
  #commands;
  #position = new Position();
  #status = { state: "idle" };
  #current = null;
  #opening = null;
  #timers = { attempt: null, goaway: null, silence: null, ack: null };
  #failures = 0; // connections in a row that did not last
  #catchUp = null; // {head, missed} from a welcome until applied >= head
  #lostAt = null;
  #acked = { seq: 0, at: -Infinity };
  #listening = null;
  #release = null;

  /**
   * @param {object} options
   * @param {string} [options.name] the conversation's name, `main` by default
   * @param {(again: boolean) => Promise<string>} options.token gives a JWT; `again` asks for a new one
   * @param {string} [options.base] the node's address; the page's own by default
   * @param {"first" | {last: number}} [options.start] where a client without a position begins
   * @param {string} [options.key] names this client's entry in `storage`
   * @param {Storage | null} [options.storage] where device and command ids are kept; null: in memory
   * @param {string} [options.client] what this client calls itself
   * @param {object} [options.env] replaces parts of the browser; see `environment.js`
   */
  constructor({
    name = "main",
    token,
    base,
    start = "first",
    key = `callboard:${name}`,
    storage = tabStorage(),
    client = "callboard.js/1",
    env = {},
  }) {
    super();
    this.name = name;
    this.#token = token;
    this.#base = base ?? globalThis.location?.href;
    this.#start = start;
    this.#client = client;
    this.#env = { ...browser(), ...env };
    this.#identity = new Identity(key, storage, () => randomHex(this.#env, 16));
    this.#commands = new Commands(
      this.#identity,
      (frame) => this.#send(frame),
      () => this.#reintroduce(),
    );
  }

  get state() {
    return this.#status.state;
  }
  /** The last `state` event's detail. */
  get status() {
    return this.#status;
  }
  get epoch() {
    return this.#position.epoch;
  }
  get applied() {
    return this.#position.applied;
  }
  get device() {
    return this.#identity.device;
  }
  /** Commands without a result, oldest first: `{id, op, run?, data, done}`. */
  get openCommands() {
    return this.#commands.open;
  }

  /** Connect, and stay connected until `close()` or a refusal. */
  async open() {
    if (!["idle", "refused", "closed"].includes(this.state)) return;
    this.#failures = 0;
    this.#say({ state: "connecting" });
    this.#listen();
    await this.#own();
    if (this.state === "connecting" && this.#opening === null) this.#connect();
  }

  /**
   * Leave. Runs go on: a closed socket cancels nothing. `done` of open commands is rejected, but they stay stored and
   * are repeated under their ids by the next session with this `key`.
   */
  close() {
    this.#shut({ state: "closed" });
    this.#commands.reject("The conversation was closed.", { keep: true });
  }

  /** Try now instead of waiting for the back-off. */
  retryNow() {
    if (this.#timers.attempt !== null) this.#connect();
  }

  /** Drop the socket as a broken network would: for demonstrations and tests. */
  cut() {
    if (this.#current !== null) this.#lost(this.#current, ABNORMAL);
  }

  /** Connect as a new device, after another tab took this one's place. */
  takeOver() {
    this.#identity.renew();
    return this.open();
  }

  /**
   * Send a command now, or as soon as there is a connection; it runs once, however often it has to be repeated.
   *
   * @param {string} op `user_message`, `cancel` or one of the session author's
   * @param {object} data what the op takes
   * @param {string} [run] the run that it is about
   * @returns {{id: number, op: string, run?: string, data: object, done: Promise<object>}} `done` gives the result's
   *   `ok`, or throws a `CommandError`
   */
  command(op, data = {}, run = undefined) {
    const ended = this.state === "refused" || this.state === "closed";
    const command = ended
      ? Commands.refused(op, data, run, "There is no connection to this conversation.")
      : this.#commands.add(op, data, run);
    this.#tell("commands");
    return command;
  }

  // ---- setting up a connection -----------------------------------------------------------------------------------

  async #connect() {
    this.#clear("attempt", "goaway");
    this.#abandon();
    const opening = { socket: null, welcomed: false, abort: new AbortController(), deadline: null };
    this.#opening = opening;
    opening.deadline = this.#env.setTimeout(() => this.#lost(opening, ABNORMAL), CONNECT_DEADLINE_MS);
    if (this.#current === null) {
      this.#say({ state: this.#failures === 0 ? "connecting" : this.#away() });
    }
    let grant;
    try {
      const { name } = this;
      grant = await fetchTicket(this.#env, {
        base: this.#base,
        name,
        token: this.#token,
        signal: opening.abort.signal,
      });
    } catch (error) {
      if (this.#opening !== opening) return;
      if (error instanceof Refused) this.#refuse(error.message, error.code);
      else this.#lost(opening, ABNORMAL);
      return;
    }
    if (this.#opening !== opening) return;
    const socket = new this.#env.WebSocket(grant.url, [PROTOCOL]);
    opening.socket = socket;
    socket.addEventListener("open", () => this.#hello(opening, grant.ticket));
    socket.addEventListener("message", (event) => this.#heard(opening, event.data));
    socket.addEventListener("close", (event) => this.#lost(opening, event.code));
  }

  #hello(connection, ticket) {
    if (connection !== this.#opening) return;
    const old = this.#current;
    this.#opening = null;
    this.#current = connection;
    this.#commands.pause();
    // From a new hello on nothing of the old connection is applied: its handlers look at #current.
    if (old !== null) this.#dispose(old);
    const start = this.#position.start ?? this.#start;
    const { device } = this.#identity;
    this.#send({ t: "hello", ticket, device, start, merge: true, client: this.#client });
  }

  // ---- frames ----------------------------------------------------------------------------------------------------

  #heard(connection, text) {
    if (connection !== this.#current) return;
    connection.heardAt = this.#env.now();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      this.#lost(connection, ABNORMAL);
      return;
    }
    switch (frame.t) {
      case "welcome":
        return this.#welcome(connection, frame);
      case "events":
        return this.#events(connection, frame.events);
      case "gap":
        return this.#gap(connection, frame);
      case "result":
        return this.#commands.result(frame) && this.#tell("commands");
      case "ping":
        return this.#send({ t: "pong", seq: this.applied });
      case "goaway":
        return this.#leaveLater(frame);
      case "error":
        return this.#tell("problem", frame);
      default: // A newer node may say more than this client knows; that is no reason to part.
    }
  }

  #welcome(connection, frame) {
    connection.welcomed = true;
    connection.welcomedAt = this.#env.now();
    connection.silence_ms = frame.heartbeat_ms + frame.timeout_ms;
    this.#env.clearTimeout(connection.deadline);
    if (this.#position.welcome(frame)) {
      this.#acked.seq = this.applied;
      this.#tell("reset", frame);
    }
    this.#catchUp = { head: frame.head, missed: 0 };
    this.#watchSilence(connection);
    this.#say({ state: "live" });
    this.#tell("welcome", frame);
    this.#commands.resume(frame);
    this.#tell("commands");
    this.#progress();
  }

  #events(connection, records) {
    const before = this.applied;
    const { fresh, broken } = this.#position.take(records);
    if (fresh.length > 0) {
      if (this.#catchUp !== null) this.#catchUp.missed += this.applied - before;
      this.#tell("records", { records: fresh, replayed: this.#catchUp !== null });
    }
    if (broken) this.#lost(connection, ABNORMAL);
    else this.#progress();
  }

  #gap(connection, frame) {
    const news = this.#position.gap(frame);
    if (news === "news") this.#tell("gap", frame);
    if (news === "broken") this.#lost(connection, ABNORMAL);
    else this.#progress();
  }

  #progress() {
    if (this.#catchUp !== null && this.applied >= this.#catchUp.head) {
      const away_ms = this.#lostAt === null ? null : this.#env.now() - this.#lostAt;
      const { missed } = this.#catchUp;
      this.#catchUp = null;
      this.#lostAt = null;
      this.#tell("caughtup", { missed, away_ms });
    }
    this.#ack();
  }

  #ack() {
    if (this.#timers.ack !== null || this.applied === this.#acked.seq) return;
    const wait_ms = this.#acked.at + ACK_INTERVAL_MS - this.#env.now();
    if (wait_ms > 0) {
      this.#after("ack", wait_ms, () => this.#ack());
    } else if (this.#current?.welcomed) {
      this.#acked = { seq: this.applied, at: this.#env.now() };
      this.#send({ t: "ack", seq: this.applied });
    }
  }

  // ---- losing and leaving ----------------------------------------------------------------------------------------

  #lost(connection, code) {
    if (connection !== this.#current && connection !== this.#opening) return;
    const now = this.#env.now();
    if (connection === this.#current) {
      this.#current = null;
      this.#catchUp = null;
      this.#commands.pause();
      this.#clear("silence");
      if (connection.welcomed) {
        this.#lostAt ??= now;
        if (now - connection.welcomedAt >= LASTING_MS) this.#failures = 0;
      }
    } else {
      this.#opening = null;
    }
    this.#dispose(connection);
    this.#failures += 1;
    const plan = verdict(code, this.#failures, this.#env.random);
    if (plan.action === "stop") return this.#refuse(plan.message, code);
    if (this.#current !== null) return this.#leaveLater({ in_ms: plan.delay_ms });
    // The current one ended while its successor is being set up (a goaway): that one decides.
    if (this.#opening !== null) return this.#say({ state: this.#away(), code });
    if (plan.delay_ms === 0) return this.#connect();
    this.#clear("goaway");
    this.#after("attempt", plan.delay_ms, () => this.#connect());
    this.#say({ state: this.#away(), code, retry_at: now + plan.delay_ms });
  }

  /** goaway: this connection delivers until the next one has said hello. */
  #leaveLater({ in_ms }) {
    if (this.#opening === null && this.#timers.goaway === null) this.#after("goaway", in_ms, () => this.#connect());
  }

  #refuse(message, code) {
    this.#shut({ state: "refused", code, message });
    this.#commands.reject(message, { keep: false });
    this.#tell("commands");
  }

  #shut(status) {
    this.#clear("attempt", "goaway", "silence", "ack");
    this.#abandon();
    if (this.#current !== null) this.#dispose(this.#current);
    this.#current = null;
    this.#catchUp = null;
    this.#commands.pause();
    this.#listening?.abort();
    this.#release?.();
    this.#say(status);
  }

  #abandon() {
    const opening = this.#opening;
    this.#opening = null;
    if (opening !== null) this.#dispose(opening);
  }

  #dispose(connection) {
    this.#env.clearTimeout(connection.deadline);
    connection.abort.abort();
    // On a dead network close() waits for an answer that never comes; nobody here waits for it.
    connection.socket?.close(1000);
  }

  /** Nothing heard for heartbeat + timeout means lost. It looks at the clock: timers of hidden tabs are late. */
  #watchSilence(connection) {
    this.#clear("silence");
    const wait_ms = connection.heardAt + connection.silence_ms - this.#env.now();
    if (wait_ms > 0) this.#after("silence", wait_ms, () => this.#watchSilence(connection));
    else this.#lost(connection, HEARTBEAT_LOST);
  }

  // ---- the browser around it -------------------------------------------------------------------------------------

  #listen() {
    this.#listening?.abort();
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    const back = () => {
      if (this.#current?.welcomed) this.#watchSilence(this.#current);
      this.retryNow();
    };
    this.#env.window?.addEventListener("online", back, { signal });
    // A live connection is not cut here: without a network a node on this machine still answers.
    this.#env.window?.addEventListener(
      "offline",
      () => {
        if (this.#timers.attempt !== null) this.#say({ ...this.#status, state: this.#away() });
      },
      { signal },
    );
    this.#env.document?.addEventListener(
      "visibilitychange",
      () => {
        if (!this.#env.document.hidden) back();
      },
      { signal },
    );
  }

  /** A duplicated tab begins with a copy of its twin's storage: who holds the lock keeps the identity. */
  async #own() {
    while (this.#env.locks !== undefined) {
      const release = await claim(this.#env, `${this.#identity.key}:${this.#identity.device}`);
      if (release !== null) {
        this.#release = release;
        if (this.state === "closed" || this.state === "refused") release();
        return;
      }
      this.#identity.renew();
    }
  }

  /** The device id has changed: let go of the old name, take the new one, and say hello under it. */
  async #reintroduce() {
    this.#release?.();
    await this.#own();
    if (this.#current !== null && this.#opening === null) this.#connect();
  }

  #away() {
    return this.#env.online() ? "reconnecting" : "offline";
  }

  #say(status) {
    this.#status = status;
    this.#tell("state", status);
  }

  #tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #send(frame) {
    if (this.#current.socket.readyState === 1) this.#current.socket.send(JSON.stringify(frame));
  }

  #after(name, delay_ms, action) {
    this.#timers[name] = this.#env.setTimeout(() => {
      this.#timers[name] = null;
      action();
    }, delay_ms);
  }

  #clear(...names) {
    for (const name of names) {
      this.#env.clearTimeout(this.#timers[name]);
      this.#timers[name] = null;
    }
  }
}
