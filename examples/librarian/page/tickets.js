/**
 * The right to open one connection, over HTTP; and what a node's refusal over HTTP means. It knows no sockets.
 */

/** Asking again will not help: `code` is the HTTP status. A `token` callback may throw it as well. */
export class Refused extends Error {
  constructor(message, code) {
    super(message);
    this.name = "Refused";
    this.code = code;
  }
}

/**
 * Ask for a ticket to the conversation `name`. A ticket is good for one connection, so each attempt asks for its own.
 *
 * @param {object} env gives `fetch`
 * @param {{base: string, name: string, token: (again: boolean) => Promise<string>, signal: AbortSignal}} what
 * @returns {Promise<{ticket: string, session: string, url: string}>}
 * @throws {Refused} for good
 * @throws {Error} for now
 */
export async function fetchTicket(env, { base, name, token, signal }) {
  const answer = await authorised(token, (jwt) =>
    env.fetch(new URL("/v1/tickets", base).href, {
      method: "POST",
      signal,
      cache: "no-store",
      headers: { Authorization: `Bearer ${jwt}`, "Content-Type": "application/json" },
      body: JSON.stringify({ session: name }),
    }),
  );
  return accepted(answer, "connect");
}

/** Ask with the token at hand, and once more with a new one when the node no longer takes it. */
export async function authorised(token, ask) {
  const answer = await ask(await token(false));
  return answer.status === 401 ? ask(await token(true)) : answer;
}

/**
 * The JSON of an answer, or the reason why there is none, in the node's own words (RFC 9457) where it gives some.
 *
 * @throws {Refused} for good
 * @throws {Error} for now: the node is busy, or starts, or stops
 */
export async function accepted(answer, what) {
  if (answer.ok) return answer.json();
  const problem = (answer.headers.get("content-type") ?? "").includes("json") ? await answer.json() : {};
  const message = problem.detail ?? problem.title ?? `The node answered ${answer.status} to the request to ${what}.`;
  if (answer.status >= 500 || answer.status === 429 || answer.status === 408) throw new Error(message);
  throw new Refused(message, answer.status);
}
