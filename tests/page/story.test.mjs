/** What records add up to. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { answerText, Story } from "../../examples/librarian/page/story.js";

function tell(...events) {
  const story = new Story();
  events.forEach(([run, type, data], index) =>
    story.apply({ seq: index + 1, id: `${run}/${index}`, run, type, at: 1_000 + 100 * index, data }),
  );
  return story;
}

const STARTED = ["r", "agent_started", { agent: "librarian", input: "why?", by: "session" }];

test("a run from its question to its answer", () => {
  const story = tell(
    STARTED,
    ["r", "agent_thinking", { text: "hm" }],
    ["r", "tool_executing", { call: "c1", tool: "search", arguments: { q: "x" } }],
    ["r", "tool_completed", { call: "c1", tool: "search", ok: true, result: ["y"], duration_ms: 7 }],
    ["r", "agent_delta", { text: "be" }],
    ["r", "agent_delta", { text: "cause" }],
    ["r", "agent_completed", { result: "because.", duration_ms: 99 }],
  );
  assert.deepEqual(story.runs.get("r"), {
    id: "r",
    agent: "librarian",
    input: "why?",
    by: "session",
    at: 1_000,
    state: "completed",
    text: "because.",
    duration_ms: 99,
    ending: { result: "because.", duration_ms: 99 },
    steps: [
      { kind: "thinking", text: "hm", at: 1_100 },
      {
        kind: "tool",
        call: "c1",
        tool: "search",
        arguments: { q: "x" },
        state: "ok",
        result: ["y"],
        duration_ms: 7,
        by: undefined,
        at: 1_200,
      },
    ],
  });
  assert.deepEqual(story.working, []);
  assert.equal(story.title, "why?");
});

test("runs side by side do not mix, and keep the order in which they began", () => {
  const story = tell(
    STARTED,
    ["s", "agent_started", { agent: "librarian", input: "how?", by: "session" }],
    ["r", "agent_delta", { text: "R" }],
    ["s", "agent_delta", { text: "S" }],
    ["r", "agent_cancelled", { by: "user", reason: "stop" }],
  );
  assert.deepEqual(
    [...story.runs.values()].map(({ id, text, state }) => [id, text, state]),
    [
      ["r", "R", "cancelled"],
      ["s", "S", "working"],
    ],
  );
  assert.equal(story.runs.get("r").duration_ms, 400);
  assert.deepEqual(
    story.working.map(({ id }) => id),
    ["s"],
  );
});

test("a tool call that a supervisor closed has failed, and says by whom", () => {
  const story = tell(
    STARTED,
    ["r", "tool_executing", { call: "c", tool: "search", arguments: {} }],
    ["r", "tool_completed", { call: "c", tool: "search", ok: false, result: "gone", by: "supervisor" }],
    ["r", "agent_error", { code: "agent_failed", message: "it died", by: "supervisor" }],
  );
  const {
    steps: [step],
    state,
    ending,
  } = story.runs.get("r");
  assert.deepEqual([step.state, step.by, step.duration_ms], ["failed", "supervisor", 100]);
  assert.deepEqual([state, ending.code], ["error", "agent_failed"]);
});

test("a run met in its middle is shown as far as it is known", () => {
  const story = tell(
    ["r", "tool_completed", { call: "c", tool: "search", ok: true, result: 1, duration_ms: 3 }],
    ["r", "agent_delta", { text: "rest" }],
  );
  const run = story.runs.get("r");
  assert.deepEqual([run.input, run.text, run.steps[0].state], [null, "rest", "ok"]);
  assert.equal(story.title, null);
});

test("what it does not know changes nothing", () => {
  const story = tell(STARTED);
  assert.equal(story.apply({ seq: 2, id: "r/2", run: "r", type: "x.weather", at: 1, data: {} }), null);
  assert.equal(story.apply({ seq: 3, id: "x/3", run: null, type: "x.weather", at: 1, data: {} }), null);
  assert.equal(story.apply({ seq: 4, id: "w/4", run: "w", type: "x.weather", at: 1, data: {} }), null);
  assert.equal(story.runs.size, 1);
});

test("results that are no text", () => {
  assert.equal(answerText("x"), "x");
  assert.equal(answerText({ text: "x" }), "x");
  assert.equal(answerText({ answer: "x" }), "x");
  assert.equal(answerText(null), null);
  assert.equal(answerText([1]), "```json\n[\n  1\n]\n```");
});
