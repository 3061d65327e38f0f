// A question before something is ended. Airflow's frame blocks confirm().

import { element } from "./dom.mjs";

/**
 * @param {string} title
 * @param {string} text
 * @param {string} yes what the button that goes on says
 * @returns {Promise<boolean>}
 */
export function asked(title, text, yes) {
  return new Promise((resolve) => {
    const heading = element("h2", { id: "question" }, title);
    const go = element("button", { type: "button", class: "main bad" }, yes);
    const back = element("button", { type: "button", autofocus: true }, "Go back");
    const dialog = element("dialog", { "aria-labelledby": "question" }, heading, element("p", {}, text),
      element("p", { class: "buttons" }, back, go));
    let answer = false;
    go.addEventListener("click", () => {
      answer = true;
      dialog.close();
    });
    back.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
