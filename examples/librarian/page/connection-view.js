/**
 * The state of the connection, in words: the chip in the header, the banner of a refusal, the note after a return.
 *
 * It follows a `Session` by its events and steers it by its buttons only.
 */

import { count, duration } from "./words.js";

const WORDS = {
  idle: "Connecting…",
  connecting: "Connecting…",
  live: "Live",
  offline: "Offline",
  refused: "Refused",
  closed: "Closed",
  reconnecting: "Reconnecting…",
};
const SUPERSEDED = 4008;
const TOAST_MS = 5_000;

export class ConnectionView {
  #session = null;
  #timer = null;
  #toastTimer = null;
  #anew = false;

  /** @param {(words: string) => void} announce tells a screen reader */
  constructor(announce) {
    this.announce = announce;
    const part = (id) => document.getElementById(id);
    this.parts = {
      chip: part("connection"),
      text: part("connection-text"),
      retry: part("retry"),
      cut: part("cut"),
      banner: part("banner"),
      why: part("banner-text"),
      action: part("banner-action"),
      toast: part("toast"),
    };
    this.parts.retry.addEventListener("click", () => this.#session.retryNow());
    this.parts.cut.addEventListener("click", () => this.#session.cut());
    this.parts.action.addEventListener("click", () => {
      if (this.#session.status.code === SUPERSEDED) this.#session.takeOver();
      else this.#session.open();
    });
  }

  /** Follow this session from now on. */
  follow(session) {
    this.#session = session;
    const mine = (handle) => (event) => {
      if (session === this.#session) handle(event.detail);
    };
    session.addEventListener(
      "state",
      mine(() => this.#draw(true)),
    );
    session.addEventListener(
      "reset",
      mine(({ mode }) => {
        this.#anew = mode === "reset";
      }),
    );
    session.addEventListener(
      "caughtup",
      mine((detail) => this.#back(detail)),
    );
    session.addEventListener(
      "problem",
      mine(({ code, message }) => this.toast(`The node reports: ${message} (${code})`)),
    );
    this.toast("");
    this.#draw(false);
  }

  /** A short note above the composer. */
  toast(words) {
    clearTimeout(this.#toastTimer);
    this.parts.toast.textContent = words;
    this.parts.toast.classList.toggle("shown", words !== "");
    if (words !== "") this.#toastTimer = setTimeout(() => this.toast(""), TOAST_MS);
  }

  #draw(changed) {
    const { chip, text, retry, cut, banner, why, action } = this.parts;
    const { state, retry_at, message, code } = this.#session.status;
    const before = chip.dataset.state;
    chip.dataset.state = state;
    text.textContent = WORDS[state];
    if (changed && before !== state) this.announce(`Connection: ${WORDS[state]}`);
    retry.hidden = retry_at === undefined;
    cut.disabled = state !== "live";
    banner.hidden = state !== "refused";
    if (state === "refused") {
      why.textContent = `${message} (${code})`;
      action.textContent = code === SUPERSEDED ? "Continue here" : "Try again";
    }
    clearTimeout(this.#timer);
    if (retry_at !== undefined) this.#countDown(state, retry_at);
  }

  #countDown(state, retry_at) {
    const seconds = Math.max(1, Math.ceil((retry_at - Date.now()) / 1_000));
    this.parts.text.textContent =
      state === "offline" ? `Offline, next try in ${seconds} s` : `Reconnecting in ${seconds} s`;
    this.#timer = setTimeout(() => this.#countDown(state, retry_at), 250);
  }

  #back({ missed, away_ms }) {
    if (this.#anew) {
      this.#anew = false;
      this.toast("The node has begun a new history of this conversation; what it no longer has is gone from here too.");
      return;
    }
    if (away_ms === null) return;
    const events = missed === 0 ? "Nothing was missed" : `${count(missed, "event")} caught up, none lost`;
    this.toast(`Back after ${duration(away_ms)}. ${events}.`);
  }
}
