/**
 * The page's wiring: from the address to a login, from a login to a conversation, from buttons to commands.
 *
 * Address: `?user=ada` logs in at once, `&conversation=NAME` opens that one, `?split=ada,grace` shows two users,
 * `&pane=N` keeps the storage of two frames in one tab apart. Kept in sessionStorage are the user's name and, by the
 * client, device id and open commands; everything that is shown comes from the node.
 */

import { Account } from "./account.js";
import { Session } from "./callboard.js";
import { ConnectionView } from "./connection-view.js";
import { tabStorage } from "./environment.js";
import { Follow } from "./follow.js";
import { showLogin } from "./login.js";
import { Sidebar } from "./sidebar.js";
import { showSplit } from "./split.js";
import { Conversation } from "./view.js";
import { count, freshName, label } from "./words.js";

const EXAMPLES = [
  "What does json.dumps do?",
  "How do I run another program and read its output?",
  "How can I find all files that match a pattern?",
  "Which data structure gives me the smallest item first?",
];
const TICK_MS = 200;

const address = new URLSearchParams(location.search);
const pane = address.get("pane");
const storage = tabStorage();
const userKey = `callboard:${pane ?? "page"}:user`;

const part = (id) => document.getElementById(id);
const parts = {
  app: part("app"),
  question: part("question"),
  send: part("send"),
  stop: part("stop"),
  composer: part("composer"),
  empty: part("empty"),
  title: part("title"),
  subtitle: part("subtitle"),
};

let account = null;
let session = null;
let conversation = null;

const announce = (words) => {
  part("announcer").textContent = words;
};
const connection = new ConnectionView(announce);
const follow = new Follow(part("scroller"), part("latest"));
const sidebar = new Sidebar({
  choose: (name) => openConversation(name, true),
  create: () => openConversation(freshName(sidebar.names), true),
  leave: () => leave(),
});

// ---- from the address to a conversation ----------------------------------------------------------------------------

if (address.has("split")) {
  const [first = "ada", second = "grace"] = address
    .get("split")
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
  showSplit([first, second]);
} else {
  if (pane !== null) document.documentElement.classList.add("pane");
  const user = address.get("user")?.trim() || storage?.getItem(userKey);
  if (user) enter(user).catch((error) => login(error.message));
  else login();
}

function login(message = "") {
  parts.app.hidden = true;
  document.title = "callboard";
  showLogin({
    enter,
    message,
    split: (users) => location.assign(`./?split=${users.map(encodeURIComponent).join(",")}`),
  });
}

/** Log in and show the user's conversation. A node that cannot be reached now is what the session waits for. */
async function enter(user) {
  const next = new Account(user);
  try {
    await next.token();
  } catch (error) {
    if (error.name === "Refused") throw error;
    if (!address.has("user") && !storage?.getItem(userKey)) throw error;
  }
  account = next;
  storage?.setItem(userKey, user);
  sidebar.forget();
  part("who-name").textContent = user;
  part("who-mark").textContent = user.slice(0, 1).toUpperCase();
  part("split-link").href = `./?split=${encodeURIComponent(user)},${user === "grace" ? "ada" : "grace"}`;
  parts.app.hidden = false;
  openConversation(new URLSearchParams(location.search).get("conversation")?.trim() || "main", false);
}

function leave() {
  session?.close();
  session = null;
  account = null;
  storage?.removeItem(userKey);
  history.replaceState(null, "", pane === null ? "./" : `./?pane=${pane}`);
  login();
}

/** Show a conversation of the user's; the node makes it when it is new. */
function openConversation(name, byUser) {
  const query = new URLSearchParams({ user: account.user, conversation: name, ...(pane === null ? {} : { pane }) });
  const moves = byUser && pane === null && name !== session?.name;
  history[moves ? "pushState" : "replaceState"](null, "", `./?${query}`);
  if (session?.name === name && byUser) return;
  session?.close();

  const mine = new Session({
    name,
    token: (again) => account.token(again),
    storage,
    key: `callboard:${pane ?? "page"}:${account.user}:${name}`,
    client: "callboard-page/1",
  });
  session = mine;
  part("log").replaceChildren();
  conversation = new Conversation(part("log"), { changed: () => mine === session && changed(), again: ask, announce });
  const shown = conversation;
  mine.addEventListener("reset", () => shown.reset());
  mine.addEventListener("welcome", ({ detail }) => {
    if (detail.mode !== "replay" && detail.first > 1 && detail.from === detail.first)
      shown.gap(missing(1, detail.first - 1));
    refreshList();
  });
  mine.addEventListener("gap", ({ detail }) => shown.gap(missing(detail.from, detail.to)));
  mine.addEventListener("records", ({ detail }) => shown.records(detail.records, detail.replayed));
  mine.addEventListener("caughtup", () => {
    if (mine === session) changed();
  });
  for (const type of ["commands", "state"]) {
    mine.addEventListener(type, () => {
      shown.pending(mine.openCommands, mine.state === "live");
      if (mine === session) changed();
    });
  }
  connection.follow(mine);
  shown.pending(mine.openCommands, false);
  sidebar.show(sidebar.names, name);
  parts.title.textContent = label(name);
  parts.subtitle.textContent = account.user;
  document.title = `${label(name)} · ${account.user} · callboard`;
  changed();
  follow.toEnd();
  mine.open();
  if (matchMedia("(pointer: fine)").matches) parts.question.focus({ preventScroll: true });
}

function missing(from, to) {
  return `Earlier messages are no longer kept (${count(to - from + 1, "event")}).`;
}

async function refreshList() {
  const asked = account;
  try {
    const names = await asked.conversations();
    if (asked === account && session !== null) sidebar.show([...sidebar.names, ...names], session.name);
  } catch (error) {
    connection.toast(`Your conversations cannot be listed: ${error.message}`);
  }
}

// ---- asking and stopping -------------------------------------------------------------------------------------------

function ask(text) {
  session.command("user_message", { text });
  follow.toEnd();
}

parts.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = parts.question.value.trim();
  if (text === "" || parts.send.disabled) return;
  parts.question.value = "";
  ask(text);
  changed();
});

parts.question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  parts.composer.requestSubmit();
});

parts.question.addEventListener("input", () => changed());

parts.stop.addEventListener("click", () => {
  const run = conversation.story.working.at(-1);
  if (run === undefined) return;
  session.command("cancel", {}, run.id).done.catch((error) => connection.toast(`Not stopped: ${error.message}`));
});

part("examples").replaceChildren(
  ...EXAMPLES.map((text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "example";
    button.textContent = text;
    button.addEventListener("click", () => ask(text));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }),
);

/** Bring the page around the log in line with what is shown in it. */
function changed() {
  if (session === null) return;
  const working = conversation.story.working;
  const stopping = session.openCommands.some(
    (command) => command.op === "cancel" && command.run === working.at(-1)?.id,
  );
  parts.stop.hidden = working.length === 0;
  parts.stop.disabled = stopping;
  parts.stop.classList.toggle("busy", stopping);
  parts.question.disabled = session.state === "refused";
  parts.send.disabled = session.state === "refused" || parts.question.value.trim() === "";
  // Not before the node has told what there is: a conversation that loads is not an empty one.
  parts.empty.hidden = !conversation.empty || session.state !== "live" || session.applied > 0;
  sidebar.title(session.name, conversation.story.title);
  if (parts.empty.hidden) follow.grown();
  else follow.toStart();
}

setInterval(() => conversation?.tick(), TICK_MS);

addEventListener("popstate", () => {
  const query = new URLSearchParams(location.search);
  if (account !== null && query.get("user") === account.user)
    openConversation(query.get("conversation") ?? "main", false);
});
