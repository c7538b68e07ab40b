/** The list of a user's conversations; on a narrow screen a drawer. It knows names, and tells which was chosen. */

import { inOrder, label } from "./words.js";

export class Sidebar {
  #names = [];
  #titles = new Map();
  #current = null;

  /**
   * @param {object} hooks
   * @param {(name: string) => void} hooks.choose
   * @param {() => void} hooks.create
   * @param {() => void} hooks.leave
   */
  constructor({ choose, create, leave }) {
    this.choose = choose;
    const part = (id) => document.getElementById(id);
    this.parts = {
      list: part("conversations"),
      sidebar: part("sidebar"),
      main: part("main"),
      open: part("drawer-open"),
      scrim: part("scrim"),
      close: part("drawer-close"),
    };
    part("new-conversation").addEventListener("click", () => {
      this.drawer(false);
      create();
    });
    part("leave").addEventListener("click", () => {
      this.drawer(false);
      leave();
    });
    this.parts.open.addEventListener("click", () => this.drawer(true));
    this.parts.close.addEventListener("click", () => this.drawer(false));
    this.parts.scrim.addEventListener("click", () => this.drawer(false));
    this.parts.sidebar.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.drawer(false);
    });
    // Widened while open, the drawer becomes a column: nothing may stay out of reach behind it.
    matchMedia("(min-width: 56rem)").addEventListener("change", () => this.drawer(false));
  }

  get names() {
    return this.#names;
  }

  /** Show these conversations, and `current` among them. */
  show(names, current) {
    this.#current = current;
    this.#names = inOrder([...new Set([...names, current])]);
    this.#draw();
  }

  /** The first question says more than a name. Titles are known for what was opened in this page only. */
  title(name, title) {
    if (title === null || this.#titles.get(name) === title) return;
    this.#titles.set(name, title);
    this.#draw();
  }

  /** Another user: what was known is none of theirs. */
  forget() {
    this.#names = [];
    this.#titles.clear();
  }

  drawer(open) {
    const { sidebar, main, open: opener } = this.parts;
    const was = sidebar.classList.contains("open");
    if (was === open) return;
    sidebar.classList.toggle("open", open);
    opener.setAttribute("aria-expanded", String(open));
    main.inert = open;
    if (open) this.parts.close.focus();
    else opener.focus();
  }

  #draw() {
    this.parts.list.replaceChildren(
      ...this.#names.map((name) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "conversation";
        button.dataset.conversation = name;
        button.title = name;
        if (name === this.#current) button.setAttribute("aria-current", "page");
        const first = document.createElement("span");
        first.className = "conversation-name";
        first.textContent = label(name);
        button.append(first);
        const title = this.#titles.get(name);
        if (title !== undefined) {
          const second = document.createElement("span");
          second.className = "conversation-title";
          second.textContent = title;
          button.append(second);
        }
        button.addEventListener("click", () => {
          this.drawer(false);
          this.choose(name);
        });
        const item = document.createElement("li");
        item.append(button);
        return item;
      }),
    );
  }
}
