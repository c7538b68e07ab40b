/** What the client decides, and what a tab remembers: pure, so every case is named. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Identity } from "../../examples/librarian/page/identity.js";
import { backoff, Position, verdict } from "../../examples/librarian/page/rules.js";
import { seeded, TabStorage } from "./virtual.mjs";

const welcome = { epoch: "e1", from: 1, head: 0, first: 1, mode: "fresh" };
const record = (seq) => ({ seq });

function position(applied = 0) {
  const here = new Position();
  here.welcome({ ...welcome, from: applied + 1 });
  return here;
}

test("the back-off has full jitter between one second and its ceiling, which is capped", () => {
  const random = seeded(3);
  for (let failures = 1; failures < 60; failures += 1) {
    const ceiling = Math.min(20_000, 1_000 * 2 ** failures);
    assert.equal(
      backoff(failures, () => 0),
      1_000,
    );
    assert.ok(Math.abs(backoff(failures, () => 0.999999) - ceiling) <= 1);
    const wait = backoff(failures, random);
    assert.ok(wait >= 1_000 && wait <= ceiling);
  }
});

test("the range of a close code decides", () => {
  const at = (code, failures = 1) => verdict(code, failures, () => 0.5);
  for (const code of [4000, 4099, 1002, 1007, 1009]) assert.equal(at(code).action, "stop");
  for (const code of [4100, 4199, 1013, 1006, 1011, 1005, 4999])
    assert.deepEqual(at(code), { action: "retry", delay_ms: 1_500 });
  for (const code of [4200, 4299, 4300, 4399]) assert.deepEqual(at(code), { action: "retry", delay_ms: 0 });
  for (const code of [4200, 4399, 1001, 1012]) assert.deepEqual(at(code, 2), { action: "retry", delay_ms: 2_500 });
  for (const code of [1001, 1012]) assert.deepEqual(at(code), { action: "retry", delay_ms: 500 });
});

test("a record is applied iff it is the next, and dropped iff it was applied", () => {
  const here = position(4);
  assert.deepEqual(here.take([3, 4, 5, 6].map(record)), { fresh: [5, 6].map(record), broken: false });
  assert.deepEqual(here.take([6, 7, 9].map(record)), { fresh: [record(7)], broken: true });
  assert.equal(here.applied, 7);
});

test("a merged record counts from its first to its last", () => {
  const here = position(4);
  assert.deepEqual(here.take([record([5, 8])]).fresh, [record([5, 8])]);
  assert.equal(here.applied, 8);
  assert.deepEqual(here.take([record([6, 8])]), { fresh: [], broken: false });
  assert.equal(here.take([record([8, 9])]).broken, true);
});

test("a gap begins where we stand", () => {
  const here = position(4);
  assert.equal(here.gap({ from: 2, to: 4 }), "known");
  assert.equal(here.gap({ from: 6, to: 7 }), "broken");
  assert.equal(here.applied, 4);
  assert.equal(here.gap({ from: 5, to: 9 }), "news");
  assert.equal(here.applied, 9);
});

test("only a replay keeps what is shown", () => {
  const here = new Position();
  assert.equal(here.start, null);
  assert.equal(here.welcome(welcome), true);
  here.take([1, 2].map(record));
  assert.deepEqual(here.start, { epoch: "e1", seq: 2 });
  assert.equal(here.welcome({ ...welcome, mode: "replay", from: 3 }), false);
  assert.equal(here.welcome({ ...welcome, mode: "reset", epoch: "e2", from: 10 }), true);
  assert.deepEqual(here.start, { epoch: "e2", seq: 9 });
});

test("ids go up, whatever the storage or the node remembers", () => {
  const storage = new TabStorage();
  const here = new Identity("k", storage, () => "d1");
  assert.equal(here.add({ op: "x", data: {} }).id, 1);
  here.atLeast(7);
  here.atLeast(3);
  assert.equal(here.add({ op: "y", data: {} }).id, 8);
  here.settle(1);
  const again = new Identity("k", storage, () => "d2");
  assert.equal(again.device, "d1");
  assert.deepEqual([...again.open.keys()], [8]);
  assert.equal(again.add({ op: "z", data: {} }).id, 9);
  again.renew();
  assert.equal(again.device, "d2");
  assert.equal(again.add({ op: "z", data: {} }).id, 1);
});
