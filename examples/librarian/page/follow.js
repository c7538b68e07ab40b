/** Keeps the newest line in view while the reader is at the end, and offers the way back when they are not. */

/** This near to the end, in CSS pixels, counts as being there. */
const NEAR_PX = 80;

export class Follow {
  #pinned = true;
  #idle = true; // there is nothing to follow yet

  constructor(scroller, button) {
    this.scroller = scroller;
    this.button = button;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    // Who opens a step wants to read it: that alone must not move the page.
    scroller.addEventListener("toggle", () => this.#look(), { capture: true });
    button.addEventListener("click", () => this.toEnd());
    // A phone's keyboard takes height away: what was at the end stays there.
    new ResizeObserver(() => {
      if (!this.#idle) this.grown();
    }).observe(scroller);
  }

  /** Go to the end, and stay there. */
  toEnd() {
    this.#pinned = true;
    this.grown();
  }

  /** Show the beginning, until there is something to follow. */
  toStart() {
    this.#idle = true;
    this.#pinned = true;
    this.scroller.scrollTop = 0;
    this.button.hidden = true;
  }

  /** The content has grown. */
  grown() {
    this.#idle = false;
    if (this.#pinned) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#look();
  }

  #look() {
    if (this.#idle) return;
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.#pinned = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.button.hidden = this.#pinned;
  }
}
