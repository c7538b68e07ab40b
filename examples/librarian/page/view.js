/**
 * A conversation on the page: its runs in the order of the records, and the questions that are still on their way.
 *
 * What is shown as a run comes from records alone. A question that was typed here stands below them, marked, until its
 * run has begun. The view knows no sockets: it is handed records and commands.
 */

import { PendingView, RunView } from "./run-view.js";
import { Story } from "./story.js";

export class Conversation {
  #log;
  #views = new Map();
  #pending = new Map();
  #newest = null;

  /**
   * @param {HTMLOListElement} log
   * @param {object} hooks
   * @param {() => void} hooks.changed something was drawn
   * @param {(text: string) => void} hooks.again the user wants a refused question sent again
   * @param {(words: string) => void} hooks.announce tells a screen reader
   */
  constructor(log, hooks) {
    this.#log = log;
    this.hooks = hooks;
    this.story = new Story();
  }

  /** Whether there is nothing to see. */
  get empty() {
    return this.#views.size === 0 && this.#pending.size === 0;
  }

  /** Drop all that came from records. Questions on their way stay; one that had arrived is no longer on its way. */
  reset() {
    for (const [command, { run }] of this.#pending) if (run !== null) this.#pending.delete(command);
    this.story = new Story();
    this.#views.clear();
    this.#newest = null;
    this.#log.replaceChildren(...[...this.#pending.values()].map((pending) => pending.view.node));
    this.hooks.changed();
  }

  /**
   * Draw the next records.
   *
   * @param {object[]} records
   * @param {boolean} replayed true while catching up: nothing of it is read out
   */
  records(records, replayed) {
    const touched = new Set();
    for (const record of records) {
      const run = this.story.apply(record);
      if (run !== null) touched.add(run);
    }
    for (const run of touched) {
      const isNew = !this.#views.has(run.id);
      if (isNew) this.#begin(run, replayed);
      const view = this.#views.get(run.id);
      if (!isNew) view.update();
      if (!replayed) this.#announce(run, view, isNew);
    }
    if (touched.size > 0) this.hooks.changed();
  }

  /** Say where records are missing. */
  gap(words) {
    const node = document.createElement("li");
    node.className = "gap";
    node.dataset.testid = "gap";
    node.textContent = words;
    this.#insert(node);
    this.hooks.changed();
  }

  /** Show the questions among a session's open commands. Each is shown once, and followed to its end. */
  pending(commands, connected) {
    for (const command of commands) {
      if (command.op !== "user_message" || this.#pending.has(command)) continue;
      const drop = () => this.#drop(command);
      const again = () => {
        drop();
        this.hooks.again(command.data.text);
      };
      const view = new PendingView(command.data.text, { again, drop });
      this.#pending.set(command, { view, run: null });
      this.#log.append(view.node);
      command.done.then(
        ({ run }) => this.#accepted(command, run),
        (error) => view.failed(error.message),
      );
      this.hooks.changed();
    }
    const note = connected ? "sending…" : "waiting for the connection…";
    for (const [command, { view }] of this.#pending) if (commands.includes(command)) view.waiting(note);
  }

  /** Move the clocks of the runs at work. */
  tick() {
    for (const run of this.story.working) this.#views.get(run.id)?.tick();
  }

  #begin(run, replayed) {
    const view = new RunView(run, !replayed || run.state === "working");
    this.#newest?.fold();
    this.#newest = view;
    this.#views.set(run.id, view);
    for (const [command, pending] of this.#pending) if (pending.run === run.id) this.#drop(command);
    this.#insert(view.node);
  }

  /** Before the questions on their way: those come last, whatever the records bring. */
  #insert(node) {
    const first = this.#pending.values().next().value;
    if (first === undefined) this.#log.append(node);
    else first.view.node.before(node);
  }

  #accepted(command, run) {
    const pending = this.#pending.get(command);
    if (pending === undefined) return;
    pending.run = run;
    if (this.#views.has(run)) this.#drop(command);
  }

  #drop(command) {
    this.#pending.get(command)?.view.node.remove();
    this.#pending.delete(command);
    this.hooks.changed();
  }

  /** An answer that streams is read out by its own live region; one that came at once has to be told. */
  #announce(run, view, isNew) {
    const last = run.steps.at(-1);
    if (run.state === "error") this.hooks.announce("The answer failed.");
    else if (run.state === "cancelled") this.hooks.announce("The answer was stopped.");
    else if (run.state === "completed" && isNew) this.hooks.announce(`Answer: ${view.spoken}`);
    else if (run.state === "working" && run.text === "" && last?.state === "running")
      this.hooks.announce(`Using ${last.tool}.`);
  }
}
