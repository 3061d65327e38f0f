// A row of a table of restores: made once, then only what has changed is changed.

import { Bar, element, setHidden, setText } from "./dom.mjs";
import { isActive, secondsOf } from "./restores.mjs";
import { duration, plain, speed, UNKNOWN, when } from "./words.mjs";

/**
 * @typedef {import("./restores.mjs").Restore} Restore
 * @typedef {import("./restores.mjs").Run} Run
 */

// Roles are named, as a table that is laid out as cards would be none for screen readers.
const COLUMNS = ["Raw file", "State", "Progress", "Speed, time left", "Files right", "Project", "Started", "Took", "By"];

/** A word for a state, with a sign beside it: colour alone tells nothing to those who do not see it. */
export class Badge {
  constructor() {
    this.node = element("span", { class: "badge" });
  }

  /** @param {Pick<Restore, "word" | "tone">} restore */
  set({ word, tone }) {
    const signs = { idle: "○", busy: "◔", good: "✓", bad: "✗" };
    if (this.node.dataset.tone !== tone) this.node.dataset.tone = tone;
    if (this.node.dataset.word === word) return;
    this.node.dataset.word = word;
    this.node.replaceChildren(element("span", { "aria-hidden": "true" }, `${signs[tone]} `), word);
  }
}

export class RestoreRow {
  /**
   * @param {string} href page of the restore; empty: it has none
   * @param {{onToggle?: () => void, isChild?: boolean}} [options]
   */
  constructor(href, { onToggle, isChild } = {}) {
    this.link = href ? element("a", { href }) : element("span");
    this.link.classList.add("name");
    this.about = element("span", { class: "about" });
    this.reason = element("span", { class: "reason" });
    this.toggle = onToggle
      ? element("button", { type: "button", class: "toggle", "aria-expanded": "false", onclick: onToggle }, "▸")
      : null;
    this.badge = new Badge();
    this.bar = new Bar("");
    const head = element("th", { scope: "row", role: "rowheader" }, element("span", { class: "title" }, this.toggle, this.link, this.about), this.reason);
    this.texts = COLUMNS.slice(3).map(() => element("td", { role: "cell" }));
    this.node = element(
      "tr",
      { class: isChild ? "child" : undefined, role: "row" },
      head,
      element("td", { role: "cell" }, this.badge.node),
      element("td", { role: "cell" }, this.bar.node),
      ...this.texts,
    );
    [...this.node.cells].forEach((cell, column) => cell.setAttribute("data-column", COLUMNS[column]));
    this.shown = "";
  }

  /**
   * @param {Restore} restore
   * @param {Run | null} run
   * @param {number} now milliseconds
   * @param {boolean} [isOpen]
   */
  update(restore, run, now, isOpen = false) {
    const took = run ? duration(secondsOf(run, now)) : UNKNOWN;
    const shown = JSON.stringify([restore, took, isOpen]);
    if (shown === this.shown) return;
    this.shown = shown;
    const title = plain(restore.title);
    setText(this.link, title);
    setText(this.about, restore.about ? plain(restore.about) : "");
    setText(this.reason, plain(restore.reason));
    setHidden(this.reason, !restore.reason);
    this.toggle?.setAttribute("aria-expanded", String(isOpen));
    this.toggle?.setAttribute("aria-label", `Raw files of ${title}`);
    this.badge.set(restore);
    this.bar.bar.setAttribute("aria-label", `Progress of ${title}`);
    this.bar.set(restore.percent, restore.tone);
    const pace = restore.speed === null ? "" : `${speed(restore.speed)}${restore.eta === null ? "" : `, ${duration(restore.eta)}`}`;
    const texts = [
      pace,
      restore.files,
      plain(restore.project),
      run ? when(run.start_date ?? run.run_after) : "",
      run && (run.start_date || !isActive(run)) ? took : "",
      plain(run?.triggering_user_name ?? ""),
    ];
    this.texts.forEach((cell, index) => {
      setText(cell, texts[index] || UNKNOWN);
      cell.classList.toggle("none", !texts[index]);
    });
  }
}

/**
 * A table for such rows.
 * @param {string} caption
 */
export function restoreTable(caption) {
  return tableOf("restores", caption, COLUMNS);
}

/**
 * @param {string} name its class
 * @param {string} caption
 * @param {string[]} columns
 */
export function tableOf(name, caption, columns) {
  const body = element("tbody", { role: "rowgroup" });
  const head = element("tr", { role: "row" }, ...columns.map((column) => element("th", { scope: "col", role: "columnheader" }, column)));
  const table = element("table", { class: name, role: "table" }, element("caption", { class: "unseen" }, caption),
    element("thead", { role: "rowgroup" }, head), body);
  return { table, body };
}
