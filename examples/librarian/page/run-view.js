/**
 * One run on the page: the question, the steps of the work, the answer. It draws what a `Run` of `story.js` says.
 *
 * It changes only what has changed, so that an answer can stream while its reader selects text or has opened a step.
 * It knows nothing of sockets, nor of the list that it stands in.
 */

import { codeBlock, inline, parse, render, renderInline, topLevel } from "./markdown.js";
import { callArguments, clock, count, duration, inFull, oneLine } from "./words.js";

const TAGS = { working: "Working", completed: "Done", error: "Failed", cancelled: "Stopped" };
const TOOL_ICONS = { running: "", ok: "#i-check", failed: "#i-cross" };
const TOOL_WORDS = { running: "running", ok: "done", failed: "failed" };

export class RunView {
  #run;
  #parts;
  #steps = [];
  #blocks = [];
  #text = null;
  #touched = false;

  /**
   * @param {import("./story.js").Run} run
   * @param {boolean} spoken whether a screen reader is told of the answer: not for one that was read long ago
   */
  constructor(run, spoken) {
    this.#run = run;
    this.node = clone("run-template");
    const find = (selector) => this.node.querySelector(selector);
    this.#parts = {
      question: find(".question"),
      answer: find(".answer"),
      name: find(".agent-name"),
      tag: find(".tag"),
      elapsed: find(".elapsed"),
      steps: find(".steps"),
      stepsTitle: find(".steps-title"),
      list: find(".step-list"),
      text: find(".answer-text"),
      ending: find(".ending"),
      foot: find(".answer-foot"),
    };
    const { question, answer, name, text, steps } = this.#parts;
    answer.dataset.run = run.id;
    question.hidden = run.input === null;
    question.querySelector(".question-text").textContent = run.input ?? "";
    name.textContent = title(run.agent);
    steps.open = true;
    steps.querySelector("summary").addEventListener("click", () => {
      this.#touched = true;
    });
    if (spoken) {
      // Pieces of a streaming answer are not read out one by one: while busy, a live region keeps silent.
      text.setAttribute("aria-live", "polite");
      text.setAttribute("aria-busy", "true");
    }
    this.update();
  }

  /** The answer as it would be read out. */
  get spoken() {
    return this.#parts.text.textContent;
  }

  /** Draw what the run has become. */
  update() {
    const run = this.#run;
    const { answer, tag, text } = this.#parts;
    const working = run.state === "working";
    answer.dataset.state = run.state;
    tag.textContent = TAGS[run.state];
    this.#drawSteps();
    this.#drawText();
    this.#drawEnding();
    this.#drawFoot();
    if (text.hasAttribute("aria-busy")) text.setAttribute("aria-busy", String(working));
    this.tick();
  }

  /** Move the clocks of what is still at work. */
  tick(now = Date.now()) {
    const run = this.#run;
    const ms = run.state === "working" ? Math.max(0, now - run.at) : run.duration_ms;
    this.#parts.elapsed.textContent = run.state === "working" && ms < 1_000 ? "" : duration(ms);
    for (const [step, node] of this.#steps) {
      if (step.state === "running" && now - step.at >= 1_000) {
        node.querySelector(".tool-state").textContent = duration(now - step.at);
      }
    }
  }

  /** Fold the steps, unless the reader has opened or closed them. */
  fold() {
    if (!this.#touched) this.#parts.steps.open = false;
  }

  #drawSteps() {
    const { steps, stepsTitle, list } = this.#parts;
    const run = this.#run;
    run.steps.forEach((step, index) => {
      const known = this.#steps[index];
      if (known === undefined) {
        const node = step.kind === "tool" ? toolNode(step) : thoughtNode(step);
        list.append(node);
        this.#steps.push([step, node, step.state]);
      } else if (known[2] !== step.state) {
        drawTool(known[1], step);
        known[2] = step.state;
      }
    });
    steps.hidden = run.steps.length === 0;
    const tools = run.steps.filter((step) => step.kind === "tool").length;
    const parts = [count(run.steps.length, "step")];
    if (tools > 0) parts.push(count(tools, "tool call"));
    stepsTitle.textContent = parts.join(", ");
  }

  #drawText() {
    const { text } = this.#parts;
    const run = this.#run;
    if (run.text === this.#text) return;
    this.#text = run.text;
    const parsed = parse(run.text);
    const top = topLevel(parsed);
    const blocks = parsed.map((block) => [JSON.stringify([top, block]), block]);
    let same = 0;
    while (same < blocks.length && this.#blocks[same]?.[0] === blocks[same][0]) same += 1;
    for (const [, node] of this.#blocks.slice(same)) node.remove();
    const fresh = blocks.slice(same);
    const nodes = render(
      fresh.map(([, block]) => block),
      top,
    );
    text.append(...nodes);
    this.#blocks = [...this.#blocks.slice(0, same), ...fresh.map(([key], index) => [key, nodes[index]])];
  }

  #drawEnding() {
    const { ending } = this.#parts;
    const { state, ending: data } = this.#run;
    ending.hidden = state !== "error" && state !== "cancelled";
    if (state === "error") {
      const detail = document.createElement("span");
      detail.className = "ending-detail";
      detail.textContent = [data.code, by(data.by)].filter(Boolean).join(", ");
      ending.replaceChildren(sentence(data.message || "The agent failed"), " ", detail);
    } else if (state === "cancelled") {
      // "cancelled by the user" need not be said twice.
      const reason = data.reason && !data.reason.includes(data.by) ? `: ${data.reason}` : "";
      ending.textContent = `Stopped${data.by ? ` ${by(data.by)}` : ""}${reason}.`;
    }
  }

  #drawFoot() {
    const { foot } = this.#parts;
    const { at, by: starter, id } = this.#run;
    const time = document.createElement("time");
    time.dateTime = new Date(at).toISOString();
    time.textContent = clock(at);
    foot.replaceChildren(
      time,
      starter ? ` · started ${by(starter)}` : "",
      " · run ",
      Object.assign(document.createElement("code"), {
        textContent: id.length > 12 ? `${id.slice(0, 8)}…` : id,
        title: id,
      }),
    );
  }
}

/** A question that is on its way: it gives place to its run, or says why it was refused. */
export class PendingView {
  constructor(text, { again, drop }) {
    this.node = clone("pending-template");
    this.node.querySelector(".question-text").textContent = text;
    this.note = this.node.querySelector(".pending-text");
    this.againButton = this.node.querySelector(".pending-again");
    this.dropButton = this.node.querySelector(".pending-drop");
    this.againButton.addEventListener("click", again);
    this.dropButton.addEventListener("click", drop);
    this.waiting("sending…");
  }

  waiting(note) {
    this.note.textContent = note;
  }

  failed(message) {
    this.node.querySelector(".question").dataset.state = "failed";
    this.note.textContent = `Not sent. ${sentence(message)}`;
    this.againButton.hidden = false;
    this.dropButton.hidden = false;
  }
}

function thoughtNode(step) {
  const node = clone("thinking-template");
  node.querySelector(".thought").append(...renderInline(inline(step.text)));
  return node;
}

function toolNode(step) {
  const node = clone("tool-template");
  node.dataset.tool = step.tool;
  node.querySelector(".tool-name").textContent = step.tool;
  node.querySelector(".tool-arguments").textContent = callArguments(step.arguments);
  node.querySelector(".tool-full-arguments").append(block(step.arguments));
  drawTool(node, step);
  return node;
}

function drawTool(node, step) {
  node.dataset.state = step.state;
  node.querySelector("use").setAttribute("href", TOOL_ICONS[step.state]);
  const done = step.state !== "running";
  const words = document.createElement("span");
  words.className = "visually-hidden";
  words.textContent = TOOL_WORDS[step.state];
  node.querySelector(".tool-state").replaceChildren(words, done ? ` ${duration(step.duration_ms)}` : "");
  node.querySelector(".tool-preview").textContent = done ? oneLine(step.result) : "";
  node.querySelector(".tool-result-title").hidden = !done;
  const failed = step.by ? `Result, ended ${by(step.by)}` : "Result";
  node.querySelector(".tool-result-title").textContent = failed;
  node.querySelector(".tool-result").replaceChildren(...(done ? [block(step.result)] : []));
}

function block(value) {
  const { text, language } = inFull(value);
  return codeBlock(text, language);
}

function by(who) {
  if (!who) return "";
  return ["session", "supervisor", "agent", "user"].includes(who) ? `by the ${who}` : `by ${who}`;
}

/** A message of the node's as a sentence of the page's. */
function sentence(text) {
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** `librarian` heads an answer as "Librarian". */
function title(agent) {
  if (!agent) return "Agent";
  return agent[0].toUpperCase() + agent.slice(1).replaceAll(/[_-]/g, " ");
}

function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}
