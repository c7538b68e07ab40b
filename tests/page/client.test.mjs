/** The browser client against a node in memory, on virtual time. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Refused, Session } from "../../examples/librarian/page/callboard.js";
import { Clock, Locks, seeded, settled, TabStorage, VirtualNode } from "./virtual.mjs";

/** A client and what it was told. */
function follow(node, { storage = new TabStorage(), seed = 1, token = async () => "jwt", env = {} } = {}) {
  const session = new Session({
    name: "main",
    token,
    base: "http://node.test/",
    storage,
    env: { ...node.env({ seed, ...env }) },
  });
  const seen = { session, storage, records: [], states: [], gaps: [], caughtup: [], resets: 0 };
  session.addEventListener("reset", () => {
    seen.records = [];
    seen.resets += 1;
  });
  session.addEventListener("records", ({ detail }) => seen.records.push(...detail.records));
  session.addEventListener("state", ({ detail }) => seen.states.push(detail));
  session.addEventListener("gap", ({ detail }) => seen.gaps.push(detail));
  session.addEventListener("caughtup", ({ detail }) => seen.caughtup.push(detail));
  return seen;
}

async function live(options = {}) {
  const clock = new Clock();
  const node = new VirtualNode(clock);
  const seen = follow(node, options);
  seen.session.open();
  await clock.pass(100);
  assert.equal(seen.session.state, "live");
  return { clock, node, seen, session: seen.session };
}

const seqs = (records) => records.map((record) => record.seq);

test("a first connection gets all that is kept, and what comes", async () => {
  const clock = new Clock();
  const node = new VirtualNode(clock);
  node.emit("agent_started", "r", { agent: "a", input: "q", by: "session" });
  const seen = follow(node);
  seen.session.open();
  await clock.pass(100);
  node.emit("agent_completed", "r", { result: "x", duration_ms: 1 });
  await clock.pass(100);
  assert.deepEqual(seqs(seen.records), [1, 2]);
  assert.equal(node.hellos[0].start, "first");
  assert.deepEqual(
    seen.states.map(({ state }) => state),
    ["connecting", "connecting", "live"],
  );
});

test("a lost connection resumes where it was, after a second at least", async () => {
  const { clock, node, seen } = await live();
  node.emit("agent_started", "r", {});
  await clock.pass(100);
  node.cut();
  node.emit("agent_delta", "r", { text: "while away" });
  assert.equal(seen.session.state, "reconnecting");
  await clock.pass(999);
  assert.equal(node.ticketRequests, 1);
  await clock.pass(1_100);
  assert.equal(seen.session.state, "live");
  assert.deepEqual(node.hellos[1].start, { epoch: node.epoch, seq: 1 });
  assert.equal(node.hellos[1].device, node.hellos[0].device);
  assert.deepEqual(seqs(seen.records), [1, 2]);
  assert.equal(seen.caughtup.at(-1).missed, 1);
  assert.equal(seen.resets, 1); // the first welcome's
});

test("what waited may come merged, and counts as all that it stands for", async () => {
  const { clock, node, seen } = await live();
  node.merges = true;
  node.emit("agent_delta", "r", { text: "one " });
  await clock.pass(100);
  node.cut();
  for (const text of ["two ", "three ", "four"]) node.emit("agent_delta", "r", { text });
  await clock.pass(2_100);
  assert.deepEqual(seqs(seen.records), [1, [2, 4]]);
  assert.equal(seen.records.map((record) => record.data.text).join(""), "one two three four");
  assert.equal(seen.session.applied, 4);
  assert.equal(seen.caughtup.at(-1).missed, 3);
});

test("cut() is a loss like any other", async () => {
  const { clock, node, session } = await live();
  session.cut();
  assert.equal(session.state, "reconnecting");
  await clock.pass(2_100);
  assert.equal(session.state, "live");
  assert.equal(node.hellos.length, 2);
});

test("S4, S5: whatever breaks, each record is seen once and each message runs once", async () => {
  for (let seed = 1; seed <= 150; seed += 1) {
    const random = seeded(seed);
    const { clock, node, seen, session } = await live({ seed });
    const asked = [];
    const done = [];
    for (let step = 0; step < 40; step += 1) {
      const dice = random();
      if (dice < 0.35) node.emit("agent_delta", "r", { text: "x" });
      else if (dice < 0.55) {
        asked.push(`message ${step}`);
        done.push(session.command("user_message", { text: asked.at(-1) }).done);
      } else if (dice < 0.7) node.cut([1006, 1001, 4100, 4200, 4202, 4300][Math.floor(random() * 6)]);
      else if (dice < 0.78)
        node.say({ t: "goaway", reason: "draining", in_ms: Math.floor(random() * 300), by_ms: 5_000 });
      else if (dice < 0.82) node.ticketStatus = node.ticketStatus === 201 ? 503 : 201;
      await clock.pass(Math.floor(random() * 200) + 1);
    }
    node.ticketStatus = 201;
    await clock.pass(60_000);
    const runs = (await Promise.all(done)).map(({ run }) => run);
    assert.deepEqual(seqs(seen.records), seqs(node.log), `seed ${seed}`);
    assert.deepEqual(node.ran, asked, `seed ${seed}`);
    assert.equal(new Set(runs).size, asked.length, `seed ${seed}`);
    assert.equal(session.openCommands.length, 0, `seed ${seed}`);
    assert.equal(node.sockets.length, 1, `seed ${seed}`);
    session.close();
  }
});

for (const code of [4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4042, 1002, 1007, 1009]) {
  test(`after ${code} it does not try again, and says why`, async () => {
    const { clock, node, session } = await live();
    node.cut(code);
    assert.equal(session.state, "refused");
    assert.equal(session.status.code, code);
    assert.match(session.status.message, /\w+.*\./);
    await clock.pass(120_000);
    assert.equal(node.ticketRequests, 1);
  });
}

for (const code of [4200, 4201, 4202, 4300, 4301, 4302, 4303]) {
  test(`after ${code} it asks for a new ticket at once, and backs off when that happens again`, async () => {
    const { clock, node, session } = await live();
    node.cut(code);
    await clock.pass(100);
    assert.equal(node.ticketRequests, 2);
    assert.equal(session.state, "live");
    node.cut(code);
    await clock.pass(999);
    assert.equal(node.ticketRequests, 2);
    await clock.pass(4_000);
    assert.equal(node.ticketRequests, 3);
  });
}

test("attempts that fail are spread out, up to twenty seconds", async () => {
  const { clock, node } = await live();
  node.ticketStatus = 503;
  node.cut(4101);
  await clock.pass(300_000);
  assert.ok(node.ticketRequests > 15 && node.ticketRequests < 60, `${node.ticketRequests} requests`);
});

test("a connection that held resets the back-off", async () => {
  const { clock, node, seen } = await live();
  for (let round = 0; round < 6; round += 1) {
    await clock.pass(10_000);
    node.cut();
    const wait_ms = seen.states.at(-1).retry_at - clock.now;
    assert.ok(wait_ms >= 1_000 && wait_ms <= 2_000, `${wait_ms} ms`);
    await clock.pass(2_100);
  }
});

test("silence for heartbeat and time-out together is a loss", async () => {
  const { clock, node, session } = await live();
  await clock.pass(200_000); // pings keep it alive
  assert.equal(session.state, "live");
  node.mute = true;
  await clock.pass(34_000);
  node.mute = false;
  await clock.pass(3_000);
  assert.equal(node.hellos.length, 2);
  assert.equal(session.state, "live");
});

test("goaway: the old connection delivers until the new one has said hello", async () => {
  const { clock, node, seen } = await live();
  node.say({ t: "goaway", reason: "draining", in_ms: 500, by_ms: 5_000 });
  await clock.pass(400);
  node.emit("agent_started", "r", {});
  await clock.pass(50);
  assert.deepEqual(seqs(seen.records), [1]);
  assert.equal(node.ticketRequests, 1);
  await clock.pass(200);
  node.emit("agent_delta", "r", { text: "x" });
  await clock.pass(100);
  assert.deepEqual(seqs(seen.records), [1, 2]);
  assert.equal(node.hellos.length, 2);
  assert.equal(node.hellos[1].device, node.hellos[0].device);
  assert.deepEqual(node.closed, [node.hellos[0].device]); // the client does not leave that to the node
  assert.equal(node.sockets.length, 1);
  assert.ok(!seen.states.some(({ state }) => state === "reconnecting"));
});

test("between hello and welcome no command is sent", async () => {
  const { clock, node, session } = await live();
  node.say({ t: "goaway", reason: "draining", in_ms: 0, by_ms: 5_000 });
  await clock.pass(16); // 5 for the word, 5 for the ticket, 5 for the handshake
  assert.equal(node.hellos.length, 1);
  const { done } = session.command("user_message", { text: "now" });
  await clock.pass(100);
  assert.deepEqual(await done, { run: "run-1" });
  assert.deepEqual([node.hellos.length, node.ran.length], [2, 1]);
});

test("a second goaway changes nothing", async () => {
  const { clock, node } = await live();
  node.say({ t: "goaway", reason: "draining", in_ms: 100, by_ms: 5_000 });
  node.say({ t: "goaway", reason: "draining", in_ms: 300, by_ms: 5_000 });
  await clock.pass(1_000);
  assert.equal(node.hellos.length, 2);
});

test("told to try now, it does, and not a second time when the wait would have ended", async () => {
  const { clock, node, session } = await live();
  node.cut();
  session.retryNow();
  await clock.pass(60_000);
  assert.equal(session.state, "live");
  assert.equal(node.ticketRequests, 2);
});

test("goaway with nowhere to go: the old connection is used to its end, then the new one found", async () => {
  const { clock, node, seen, session } = await live();
  node.ticketStatus = 503;
  node.say({ t: "goaway", reason: "draining", in_ms: 0, by_ms: 3_000 });
  await clock.pass(2_500);
  node.emit("agent_started", "r", {});
  await clock.pass(100);
  assert.deepEqual(seqs(seen.records), [1]);
  assert.equal(session.state, "live");
  node.cut(1012);
  node.ticketStatus = 201;
  await clock.pass(25_000);
  assert.equal(session.state, "live");
  assert.equal(node.hellos.length, 2);
});

test("acks come at most once a second, and say how far it has come", async () => {
  const { clock, node } = await live();
  for (let count = 0; count < 50; count += 1) {
    node.emit("agent_delta", "r", { text: "x" });
    await clock.pass(100);
  }
  await clock.pass(2_000);
  assert.equal(node.acks.at(-1).seq, 50);
  for (let index = 1; index < node.acks.length; index += 1) {
    assert.ok(node.acks[index].at - node.acks[index - 1].at >= 1_000);
  }
});

test("a declared gap is applied, an undeclared one is a broken connection", async () => {
  const { clock, node, seen, session } = await live();
  node.emit("agent_started", "r", {});
  await clock.pass(50);
  node.say({ t: "gap", from: 2, to: 4, reason: "retention" });
  await clock.pass(50);
  assert.equal(session.applied, 4);
  assert.deepEqual(
    seen.gaps.map(({ from, to }) => [from, to]),
    [[2, 4]],
  );
  node.say({ t: "events", events: [{ seq: 6, id: "r/6", type: "agent_delta", run: "r", at: 1, data: { text: "?" } }] });
  await clock.pass(50);
  assert.equal(session.state, "reconnecting");
  assert.deepEqual(seqs(seen.records), [1]);
});

test("another epoch: all is dropped and read anew", async () => {
  const { clock, node, seen } = await live();
  node.emit("agent_started", "old", {});
  await clock.pass(50);
  node.forget();
  node.emit("agent_started", "new", {});
  await clock.pass(5_000);
  assert.deepEqual(
    seen.records.map(({ run }) => run),
    ["new"],
  );
  assert.equal(seen.resets, 2);
  assert.ok(node.acks.every(({ seq }) => seq === 1)); // "applied none" is nothing to tell
});

test("a command given while there is no connection is sent after the welcome", async () => {
  const { clock, node, session } = await live();
  node.cut();
  const { done } = session.command("user_message", { text: "later" });
  await clock.pass(5_000);
  assert.deepEqual(await done, { run: "run-1" });
});

test("after a reload ids go on, and what had no result is repeated under its id", async () => {
  const storage = new TabStorage();
  const { clock, node, session } = await live({ storage });
  await Promise.all([session.command("user_message", { text: "one" }).done, clock.pass(100)]);
  const lost = session.command("user_message", { text: "two" });
  await clock.pass(7); // it has reached the node, its result is on the way
  assert.deepEqual(node.ran, ["one", "two"]);
  session.close();
  await assert.rejects(lost.done, { code: "closed" });

  const again = follow(node, { storage, seed: 9 });
  assert.deepEqual(
    again.session.openCommands.map(({ id, data }) => [id, data.text]),
    [[2, "two"]],
  );
  const [{ done }] = again.session.openCommands;
  again.session.open();
  await clock.pass(100);
  assert.deepEqual(await done, { run: "run-2" });
  assert.equal(again.session.command("user_message", { text: "three" }).id, 3);
  await clock.pass(100);
  assert.deepEqual(node.ran, ["one", "two", "three"]);
  assert.equal(again.session.device, session.device);
});

test("a reload before any command keeps the device; one without a connection goes on counting", async () => {
  const storage = new TabStorage();
  const { node, session } = await live({ storage });
  session.close();
  const offline = follow(node, { storage, seed: 9 });
  assert.equal(offline.session.device, session.device);
  assert.equal(offline.session.command("user_message", { text: "one" }).id, 1);
  const again = follow(node, { storage, seed: 10 });
  assert.equal(again.session.command("user_message", { text: "two" }).id, 2);
});

test("a forgotten device becomes a new one, and its new commands run once", async () => {
  const { clock, node, session } = await live();
  await Promise.all([session.command("user_message", { text: "before" }).done, clock.pass(100)]);
  const old = session.device;
  node.forget();
  await clock.pass(5_000);
  const first = session.command("user_message", { text: "first" });
  const second = session.command("user_message", { text: "second" });
  await clock.pass(5_000);
  await Promise.all([first.done, second.done]);
  assert.deepEqual(node.ran, ["before", "first", "second"]);
  assert.notEqual(session.device, old);
  assert.equal(node.hellos.length, 3);
});

test("a command given while the device changes waits for the new one", async () => {
  const { clock, node, session } = await live();
  await Promise.all([session.command("user_message", { text: "before" }).done, clock.pass(100)]);
  node.forget();
  await clock.pass(5_000);
  const first = session.command("user_message", { text: "first" });
  await clock.pass(12); // its refusal is here, the new connection is not
  const second = session.command("user_message", { text: "second" });
  await clock.pass(5_000);
  await Promise.all([first.done, second.done]);
  assert.deepEqual(node.ran, ["before", "first", "second"]);
  assert.equal(node.hellos.length, 3);
});

test("a command that may have run before the device was forgotten is not run again", async () => {
  const { clock, node, session } = await live();
  await Promise.all([session.command("user_message", { text: "before" }).done, clock.pass(100)]);
  const { done } = session.command("user_message", { text: "unclear" });
  await clock.pass(7);
  assert.deepEqual(node.ran, ["before", "unclear"]);
  node.forget();
  const outcome = assert.rejects(done, { code: "expired_id" });
  await clock.pass(5_000);
  await outcome;
  assert.deepEqual(node.ran, ["before", "unclear"]);
});

test("a message that is too large is refused here and never sent", async () => {
  const { clock, node, session } = await live();
  const { done } = session.command("user_message", { text: "ä".repeat(33_000) });
  const outcome = assert.rejects(done, { code: "too_big", message: /66\d{3} bytes.*65536/ });
  await clock.pass(100);
  await outcome;
  assert.equal(session.state, "live");
  assert.deepEqual(node.ran, []);
});

test("a stale token is renewed once; one that stays refused ends it", async () => {
  const clock = new Clock();
  const node = new VirtualNode(clock);
  const asked = [];
  const seen = follow(node, {
    token: async (again) => {
      asked.push(again);
      return again ? "jwt" : "stale";
    },
  });
  seen.session.open();
  await clock.pass(100);
  assert.equal(seen.session.state, "live");
  assert.deepEqual(asked, [false, true]);

  const hopeless = follow(node, { token: async () => "stale" });
  hopeless.session.open();
  await clock.pass(60_000);
  assert.equal(hopeless.session.state, "refused");
  assert.equal(hopeless.session.status.message, "the node answers 401");
  assert.equal(node.ticketRequests, 4);
});

test("a login that is refused ends it; one that cannot be reached is tried again", async () => {
  const clock = new Clock();
  const node = new VirtualNode(clock);
  const refused = follow(node, {
    token: async () => {
      throw new Refused("not you", 403);
    },
  });
  refused.session.open();
  await clock.pass(60_000);
  assert.deepEqual(refused.session.status, { state: "refused", code: 403, message: "not you" });

  let reachable = false;
  const patient = follow(node, {
    token: async () => {
      if (!reachable) throw new TypeError("no network");
      return "jwt";
    },
  });
  patient.session.open();
  await clock.pass(30_000);
  assert.equal(patient.session.state, "reconnecting");
  reachable = true;
  await clock.pass(20_000);
  assert.equal(patient.session.state, "live");
});

test("a node that never welcomes is left after ten seconds", async () => {
  const clock = new Clock();
  const node = new VirtualNode(clock);
  node.mute = true;
  const seen = follow(node);
  seen.session.open();
  await clock.pass(10_100);
  assert.equal(seen.session.state, "reconnecting");
  assert.equal(node.sockets.length, 0);
});

test("without a network it says offline, and the network's return ends the wait", async () => {
  const window = new EventTarget();
  let network = true;
  const { clock, node, session } = await live({ env: { window, online: () => network } });
  node.ticketStatus = 503;
  node.cut();
  await clock.pass(30_000);
  network = false;
  window.dispatchEvent(new Event("offline"));
  await clock.pass(15_000);
  assert.equal(session.state, "offline");
  node.ticketStatus = 201;
  network = true;
  window.dispatchEvent(new Event("online"));
  await clock.pass(50);
  assert.equal(session.state, "live");
});

test("a page that is looked at again does not wait, and notices at once what its late timers missed", async () => {
  const document = Object.assign(new EventTarget(), { hidden: false });
  const { clock, node, session } = await live({ env: { document } });
  node.mute = true;
  clock.now += 60_000; // asleep: time has passed, and no timer has run
  document.dispatchEvent(new Event("visibilitychange"));
  node.mute = false;
  await clock.pass(100);
  assert.equal(session.state, "live");
  assert.equal(node.hellos.length, 2);
});

test("a duplicated tab becomes a device of its own and repeats none of its twin's commands", async () => {
  const locks = new Locks();
  const storage = new TabStorage();
  const { clock, node, session } = await live({ storage, env: { locks } });
  node.cut();
  session.command("user_message", { text: "once" });
  const twin = follow(node, { storage: storage.copy(), seed: 5, env: { locks } });
  twin.session.open();
  await clock.pass(10_000);
  assert.notEqual(twin.session.device, session.device);
  assert.deepEqual([session.state, twin.session.state], ["live", "live"]);
  assert.deepEqual(node.ran, ["once"]);
});

test("a reloaded page keeps its device, though the old page lets go a moment later", async () => {
  const locks = new Locks();
  const storage = new TabStorage();
  const { clock, node, session } = await live({ storage, env: { locks } });
  const again = follow(node, { storage, seed: 5, env: { locks } });
  again.session.open();
  await clock.pass(100);
  session.close();
  await clock.pass(100);
  assert.equal(again.session.state, "live");
  assert.equal(again.session.device, session.device);
});

test("superseded by its own device it waits to be told, and then goes on as another", async () => {
  const { clock, node, session } = await live();
  const old = session.device;
  node.cut(4008);
  assert.equal(session.state, "refused");
  session.takeOver();
  await clock.pass(100);
  assert.equal(session.state, "live");
  assert.notEqual(session.device, old);
});

test("what a newer node adds is ignored", async () => {
  const { clock, node, session } = await live();
  node.say({ t: "weather", sky: "blue" });
  await clock.pass(50);
  node.emit("x.weather", "r", { sky: "blue" });
  await clock.pass(50);
  assert.equal(session.state, "live");
  assert.equal(session.applied, 1);
});

test("a closed session leaves nothing behind", async () => {
  const { clock, node, session } = await live();
  session.close();
  await settled();
  await clock.pass(120_000);
  assert.equal(session.state, "closed");
  assert.equal(node.sockets.length, 0);
  assert.equal(node.ticketRequests, 1);
  await assert.rejects(session.command("cancel", {}, "r").done, { code: "closed" });
});
