/**
 * Who is asking: the demonstration's login, and the list of a user's conversations.
 *
 * The token stays in this object's memory; only the name is kept by the page. It knows nothing of what is said.
 */

import { accepted, authorised, Refused } from "./tickets.js";

export class Account {
  #token = null;

  /** @param {string} user the name to log in with */
  constructor(user) {
    this.user = user;
  }

  /**
   * The JWT, fetched once, and anew when the node no longer takes it.
   *
   * @param {boolean} again whether the last one was refused
   * @throws {Refused} when the node does not let this user in
   */
  async token(again = false) {
    if (this.#token === null || again) {
      const answer = await fetch("/demo/login", {
        method: "POST",
        cache: "no-store",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ user: this.user }),
      });
      if (answer.status === 404) throw new Refused("This node has no demonstration login.", 404);
      this.#token = (await accepted(answer, "log in")).token;
    }
    return this.#token;
  }

  /** The names of this user's conversations that the node knows. */
  async conversations() {
    const answer = await authorised(
      (again) => this.token(again),
      (jwt) => fetch("/v1/sessions", { cache: "no-store", headers: { Authorization: `Bearer ${jwt}` } }),
    );
    return (await accepted(answer, "list your conversations")).sessions.map(({ name }) => name);
  }
}
