/**
 * What the records of a conversation add up to: runs, their steps, their answers.
 *
 * It takes records in order and keeps plain data; it knows nothing of sockets and nothing of the page, which draws
 * what stands here. Records of a kind that it does not know change nothing.
 *
 * @typedef {{kind: "thinking", text: string, at: number}} Thought
 * @typedef {{kind: "tool", call: string, tool: string, arguments: *, state: "running" | "ok" | "failed",
 *            result?: *, duration_ms?: number, by?: string, at: number}} ToolCall
 * @typedef {{id: string, agent: string | null, input: string | null, by: string | null, at: number,
 *            state: "working" | "completed" | "error" | "cancelled", steps: (Thought | ToolCall)[], text: string,
 *            ending: object | null, duration_ms: number | null}} Run
 */

/** Terminal events, and the state in which they leave a run. */
const TERMINAL = new Map([
  ["agent_completed", "completed"],
  ["agent_error", "error"],
  ["agent_cancelled", "cancelled"],
]);
const KNOWN = new Set(["agent_thinking", "tool_executing", "tool_completed", "agent_delta", ...TERMINAL.keys()]);

export class Story {
  /** @type {Map<string, Run>} in the order in which they began */
  runs = new Map();

  /** The runs at work, oldest first. */
  get working() {
    return [...this.runs.values()].filter((run) => run.state === "working");
  }

  /** The first question, which names a conversation better than anything else; null when there is none. */
  get title() {
    for (const run of this.runs.values()) if (run.input) return run.input;
    return null;
  }

  /**
   * Take the next record.
   *
   * @returns {Run | null} the run that it changed
   */
  apply({ type, run: id, at, data }) {
    if (typeof id !== "string") return null;
    if (type === "agent_started") {
      return this.#begin(id, at, { agent: data.agent, input: data.input, by: data.by });
    }
    if (!KNOWN.has(type)) return null;
    // Where earlier records are no longer kept, a run is met in its middle.
    const run = this.runs.get(id) ?? this.#begin(id, at, { agent: null, input: null, by: null });
    switch (type) {
      case "agent_thinking":
        run.steps.push({ kind: "thinking", text: data.text, at });
        return run;
      case "tool_executing":
        run.steps.push({
          kind: "tool",
          call: data.call,
          tool: data.tool,
          arguments: data.arguments,
          state: "running",
          at,
        });
        return run;
      case "tool_completed":
        return this.#toolDone(run, at, data);
      case "agent_delta":
        run.text += data.text;
        return run;
      default:
        return this.#end(run, TERMINAL.get(type), at, data);
    }
  }

  #begin(id, at, { agent, input, by }) {
    const run = { id, agent, input, by, at, state: "working", steps: [], text: "", ending: null, duration_ms: null };
    this.runs.set(id, run);
    return run;
  }

  #toolDone(run, at, data) {
    let step = run.steps.find((each) => each.kind === "tool" && each.call === data.call);
    if (step === undefined) {
      step = { kind: "tool", call: data.call, tool: data.tool, arguments: undefined, at };
      run.steps.push(step);
    }
    step.state = data.ok ? "ok" : "failed";
    step.result = data.result;
    step.duration_ms = data.duration_ms ?? at - step.at;
    step.by = data.by;
    return run;
  }

  #end(run, state, at, data) {
    run.state = state;
    run.ending = data;
    run.duration_ms = data.duration_ms ?? at - run.at;
    if (state === "completed") run.text = answerText(data.result) ?? run.text;
    return run;
  }
}

/** An agent's result as Markdown: text as it is, `{text}` or `{answer}` likewise, anything else as JSON. */
export function answerText(result) {
  if (result === null || result === undefined) return null;
  if (typeof result === "string") return result;
  for (const key of ["text", "answer"]) if (typeof result[key] === "string") return result[key];
  return "```json\n" + JSON.stringify(result, null, 2) + "\n```";
}
