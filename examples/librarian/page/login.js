/** The card on which a user says who is asking. It knows the card only: what a name opens is decided by its caller. */

const SUGGESTED = ["ada", "grace", "alan", "barbara"];

/**
 * Show the card until somebody has come in.
 *
 * @param {object} hooks
 * @param {(user: string) => Promise<void>} hooks.enter logs in, or throws with the reason
 * @param {(users: string[]) => void} hooks.split shows two users side by side
 * @param {string} [hooks.message] why the card is shown again
 */
export function showLogin({ enter, split, message = "" }) {
  const card = document.getElementById("login");
  const input = document.getElementById("login-user");
  const error = document.getElementById("login-error");
  const names = document.getElementById("login-names");
  let busy = false;

  const go = async (user) => {
    if (busy || user === "") return;
    busy = true;
    error.textContent = "";
    try {
      await enter(user);
      card.hidden = true;
    } catch (problem) {
      error.textContent = problem instanceof TypeError ? "The node cannot be reached." : problem.message;
    } finally {
      busy = false;
    }
  };

  names.replaceChildren(
    ...SUGGESTED.map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "name";
      button.textContent = name;
      button.addEventListener("click", () => {
        input.value = name;
        go(name);
      });
      return button;
    }),
  );
  document.getElementById("login-form").onsubmit = (event) => {
    event.preventDefault();
    go(input.value.trim());
  };
  document.getElementById("login-split").onclick = () => {
    const first = input.value.trim() || SUGGESTED[0];
    split([first, SUGGESTED.find((name) => name !== first)]);
  };
  error.textContent = message;
  card.hidden = false;
  // On a phone that would open the keyboard over the suggestions.
  if (matchMedia("(pointer: fine)").matches) input.focus({ preventScroll: true });
}
