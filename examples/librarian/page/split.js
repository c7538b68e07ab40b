/** Two users side by side: each is this same page in a frame, with a user and storage keys of its own. */

/** @param {string[]} users the two names; the same one twice shows two devices of one user */
export function showSplit(users) {
  document.title = `${users.join(" and ")} · callboard`;
  document.getElementById("panes").replaceChildren(
    ...users.map((user, index) => {
      const frame = document.createElement("iframe");
      frame.title = `Conversations of ${user}`;
      frame.dataset.testid = `pane-${index + 1}`;
      // Frames of one origin share the tab's sessionStorage: the pane's number keeps their entries apart.
      frame.src = `./?${new URLSearchParams({ user, pane: String(index + 1) })}`;
      return frame;
    }),
  );
  document.getElementById("split").hidden = false;
}
