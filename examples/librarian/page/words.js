/**
 * How things are put into words: durations, times, JSON on one line, names of conversations. Pure functions.
 */

/** 0.4 ms, 87 ms, 1.4 s, 2 min 5 s. */
export function duration(ms) {
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** The time of day of a record. */
export function clock(at, locale = "en-GB") {
  return new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }).format(at);
}

/** A tool's arguments as in a call: `query: "json", limit: 5`. */
export function callArguments(value) {
  if (value === undefined || value === null) return "";
  if (typeof value !== "object" || Array.isArray(value)) return oneLine(value);
  return Object.entries(value)
    .map(([name, each]) => `${name}: ${oneLine(each)}`)
    .join(", ");
}

/** JSON on one line, cut after `most` characters. */
export function oneLine(value, most = 160) {
  const text = typeof value === "string" && value.includes("\n") ? JSON.stringify(value.trim()) : JSON.stringify(value);
  const spaced = (text ?? "").replaceAll('":', '": ').replaceAll(',"', ', "');
  return spaced.length > most ? spaced.slice(0, most - 1) + "…" : spaced;
}

/** What is shown of a value in full: text as it is, anything else as indented JSON. */
export function inFull(value) {
  if (value === undefined) return { text: "(not kept)", language: "" };
  if (typeof value === "string") return { text: value, language: "" };
  return { text: JSON.stringify(value, null, 2), language: "json" };
}

/** "1 step", "3 steps". */
export function count(number, singular, plural = `${singular}s`) {
  return `${number} ${number === 1 ? singular : plural}`;
}

/** A name for a new conversation that is not among the `taken`: `chat-2026-11-22-1`. */
export function freshName(taken, today = new Date()) {
  const day = isoDay(today);
  let number = 1;
  while (taken.includes(`chat-${day}-${number}`)) number += 1;
  return `chat-${day}-${number}`;
}

/** A conversation's name for a person: `main` is "Main", `chat-2026-11-22-1` is "Today, no. 1" on that day. */
export function label(name, today = new Date()) {
  if (name === "main") return "Main";
  const match = /^chat-(\d{4})-(\d\d)-(\d\d)-(\d+)$/.exec(name);
  if (match === null) return name;
  const [, year, month, day, number] = match;
  if (`${year}-${month}-${day}` === isoDay(today)) return `Today, no. ${number}`;
  const date = new Date(Number(year), Number(month) - 1, Number(day));
  const form = {
    day: "numeric",
    month: "long",
    ...(date.getFullYear() === today.getFullYear() ? {} : { year: "numeric" }),
  };
  return `${new Intl.DateTimeFormat("en-GB", form).format(date)}, no. ${number}`;
}

/** `main` first, then the newest: names carry their day and number. */
export function inOrder(names) {
  const rest = names.filter((name) => name !== "main");
  rest.sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  return ["main", ...rest];
}

function isoDay(date) {
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
