// The head of a page about one run: what it is, how far, why it failed and what to do, and where else it is shown.

import { Bar, copyButton, element, say, setChildren, setHidden, setText } from "./dom.mjs";
import { airflowLink, airflowPageOf } from "./frame.mjs";
import { Badge } from "./restore_row.mjs";
import { isActive, secondsOf } from "./restores.mjs";
import { duration, plain, speed, UNKNOWN, when } from "./words.mjs";

/**
 * @typedef {import("./restores.mjs").Restore} Restore
 * @typedef {import("./restores.mjs").Run} Run
 */

export class RunHead {
  /**
   * @param {string} dag
   * @param {string} runId
   * @param {string} logTask the task whose log says most
   */
  constructor(dag, runId, logTask) {
    this.title = element("h1", {});
    this.about = element("span", { class: "about" });
    this.badge = new Badge();
    this.bar = new Bar("Progress");
    this.pace = element("span", { class: "pace" });
    this.reason = element("p", { class: "reason" });
    this.whatToDo = element("p", { class: "to-do" });
    this.why = element("section", { class: "why", "aria-label": "Why it failed", hidden: true }, this.reason, this.whatToDo);
    this.buttons = element("div", { class: "buttons" });
    this.facts = element("dl", { class: "facts" });
    this.reportPath = element("code", {});
    this.report = element("p", { class: "report-path", hidden: true }, "Report: ", this.reportPath, " ",
      copyButton(() => this.copied, "the path of the report"));
    this.copied = "";
    this.links = element("p", { class: "links" });
    this.linkLog = (/** @type {string} */ task) => this.links.replaceChildren(
      airflowLink(airflowPageOf(dag, runId), "Run in Airflow"), " ",
      airflowLink(airflowPageOf(dag, runId, task), `Log of ${task}`));
    this.linkLog(logTask);
    this.refreshed = element("p", { class: "foot" });
    this.word = "";
    this.node = element("div", {},
      element("p", {}, element("a", { href: "./" }, "← All restores")),
      element("header", { class: "top" }, this.title, this.about, this.badge.node, this.buttons),
      this.why, element("p", { class: "progress" }, this.bar.node, this.pace), this.facts, this.report, this.links);
  }

  /**
   * @param {Restore} restore
   * @param {Run} run
   * @param {[string, Node | string][]} more facts
   * @param {number} now milliseconds
   */
  update(restore, run, more, now) {
    const title = plain(restore.title);
    setText(this.title, title);
    document.title = `${title} – S3 restores`;
    setText(this.about, plain(restore.about));
    this.badge.set(restore);
    this.bar.set(restore.percent, restore.tone);
    setText(this.pace, pace(restore));
    setText(this.reason, plain(restore.reason));
    setText(this.whatToDo, restore.whatToDo ? `What to do: ${plain(restore.whatToDo)}` : "");
    setHidden(this.whatToDo, !restore.whatToDo);
    setHidden(this.why, !restore.reason);
    this.why.classList.toggle("bad", restore.tone === "bad");
    this.why.setAttribute("aria-label", restore.tone === "bad" ? "Why it failed" : "What it waits for");
    this.copied = restore.report; // as it is; what is shown says what it hides
    setText(this.reportPath, plain(restore.report));
    setHidden(this.report, !restore.report);
    this.setFacts([
      ["Project", plain(restore.project)],
      ["Right", restore.files],
      ["Started", when(run.start_date ?? run.run_after)],
      ["Took", run.start_date ? duration(secondsOf(run, now)) : UNKNOWN],
      ["By", plain(run.triggering_user_name ?? "")],
      ...more,
    ]);
    if (this.word && this.word !== restore.word && !isActive(run)) say(`${title}: ${restore.word}. ${plain(restore.reason)}`);
    this.word = restore.word;
  }

  /** @param {[string, Node | string][]} facts */
  setFacts(facts) {
    const shown = facts.map(([name, value]) => `${name}: ${value instanceof Node ? value.textContent : value}`).join("\n");
    if (this.facts.dataset.shown === shown) return;
    this.facts.dataset.shown = shown;
    setChildren(this.facts, facts.filter(([, value]) => value !== "").map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }
}

/** @param {Restore} restore */
function pace({ speed: bytes, eta }) {
  if (bytes === null) return "";
  return eta === null ? speed(bytes) : `${speed(bytes)}, about ${duration(eta)} left`;
}
