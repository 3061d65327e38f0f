// One batch: a row for each raw file, with its reason and what to do.

import { startButton, stopButton } from "./actions.mjs";
import { LIST, RESTORE, SUMMARIZE } from "./airflow_api.mjs";
import { BatchChildren } from "./batch_children.mjs";
import { element, setChildren, setHidden, setText } from "./dom.mjs";
import { pageOf } from "./frame.mjs";
import { learn } from "./list_data.mjs";
import { Poller } from "./poller.mjs";
import { reasonIn } from "./report_text.mjs";
import { again, failedAgain, forReal } from "./restore_requests.mjs";
import { RestoreRow, restoreTable } from "./restore_row.mjs";
import { describe, isActive } from "./restores.mjs";
import { RunHead } from "./run_head.mjs";
import { SpeedPlot } from "./speed_plot.mjs";
import { counted, plain } from "./words.mjs";

/**
 * @typedef {import("./airflow_api.mjs").AirflowApi} AirflowApi
 * @typedef {import("./airflow_api.mjs").Run} Run
 * @typedef {import("./restores.mjs").Restore} Restore
 */

const AT_ONCE = 200;

export class BatchPage {
  /**
   * @param {AirflowApi} api
   * @param {Element} place
   * @param {boolean} mayChange
   * @param {string} dag
   * @param {string} runId
   */
  constructor(api, place, mayChange, dag, runId) {
    this.api = api;
    this.which = { dag_id: dag, dag_run_id: runId };
    /** @type {Run | undefined} */
    this.run = undefined;
    /** @type {import("./restores.mjs").Known} */
    this.known = {};
    this.children = new BatchChildren(api, runId);
    /** @type {any[] | undefined} */
    this.started = undefined;
    /** @type {Map<string, RestoreRow>} */
    this.rows = new Map();
    this.limit = AT_ONCE;
    this.complete = "";
    this.head = new RunHead(dag, runId, SUMMARIZE);
    this.plot = new SpeedPlot();
    const { table, body } = restoreTable("Raw files of this batch, failed ones first");
    this.body = body;
    this.more = element("button", { type: "button", class: "small", hidden: true, onclick: () => {
      this.limit += AT_ONCE;
      this.render();
    } });
    this.poller = new Poller(() => this.refresh());
    this.buttons = mayChange ? this.makeButtons() : null;
    this.files = element("section", { "aria-labelledby": "raw-files" }, element("h2", { id: "raw-files" }, "Raw files"), table, this.more);
    place.replaceChildren(this.head.node, this.plot.node, this.files, this.head.refreshed);
    this.poller.now();
  }

  makeButtons() {
    const run = () => /** @type {Run} */ (this.run);
    return {
      stop: stopButton(this.api, run, () => this.poller.now()),
      again: startButton(this.api, "Whole batch again", () => again(run()), false),
      failed: startButton(this.api, "Restore the failed ones again", () => failedAgain(run(), this.failedIds())),
      real: startButton(this.api, "Restore now", () => forReal(run())),
    };
  }

  async refresh() {
    this.run = await this.api.run(this.which.dag_id, this.which.dag_run_id);
    const active = isActive(this.run) || Boolean(this.known.children?.some(isActive));
    try {
      if (active || this.complete !== String(this.run.end_date)) await this.learn(this.run);
    } finally { // one question that is refused keeps nobody from seeing the rest
      this.render();
    }
    return isActive(this.run) || this.children.isMoreToLearn || Boolean(this.known.children?.some(isActive));
  }

  /** @param {Run} run */
  async learn(run) {
    await learn(this.api, run, this.known);
    if (!this.started?.length) this.started = await this.api.xcom(run, LIST, "return_value");
    if (!run.conf?.dry_run) {
      const rows = this.known.result?.files ?? [];
      await this.children.refresh(new Set(rows.map((/** @type {any} */ row) => row.run_id)));
      this.known.children = [...this.children.runs.values()];
    }
    this.known.why = run.state === "failed" && !this.known.result ? await this.whyNotListed(run) : "";
    this.complete = isActive(run) || this.children.isMoreToLearn ? "" : String(run.end_date);
  }

  /**
   * The reason of a batch that came to no list: what the log of its first task says.
   * @param {Run} run
   */
  async whyNotListed(run) {
    const { state, try_number: attempt } = await this.api.task(run, LIST);
    if (state !== "failed") return "";
    this.head.linkLog(LIST);
    return reasonIn(await this.api.log(run, LIST, attempt));
  }

  failedIds() {
    return this.entries().filter(({ restore }) => restore.tone === "bad").map(({ restore }) => restore.title);
  }

  /**
   * What each row shows: by the summary where there is one, else by its run, else by the list of what is started.
   * @returns {{key: string, run: Run | null, restore: Restore}[]}
   */
  entries() {
    const run = /** @type {Run} */ (this.run);
    const children = this.children.runs;
    const summary = this.known.result?.files;
    if (summary) return summary.map((/** @type {any} */ row) => ({ key: row.run_id || row.raw_file_id, run: children.get(row.run_id) ?? null, restore: ofSummary(row, run) }));
    const entries = [...children.values()].map((child) => ({
      key: child.dag_run_id, run: child, restore: describe(child, this.children.known(child)) }));
    for (const each of this.started ?? []) {
      if (!children.has(each.trigger_run_id)) entries.push({ key: each.trigger_run_id, run: /** @type {any} */ (null), restore: notStarted(each, run) });
    }
    return entries;
  }

  render() {
    const run = /** @type {Run} */ (this.run);
    const restore = describe(run, this.known);
    this.head.update(restore, run, [["Run", plain(run.dag_run_id)], ["Only files like", plain(run.conf?.include ?? "")]], this.api.now());
    if (isActive(run)) this.plot.add(this.known.progress);
    const entries = this.entries();
    const order = { bad: 0, busy: 1, idle: 2, good: 3 };
    entries.sort((one, other) => order[one.restore.tone] - order[other.restore.tone] || (one.key < other.key ? -1 : 1));
    const now = this.api.now();
    setChildren(this.body, entries.slice(0, this.limit).map(({ key, run: child, restore: each }) => {
      const kept = child ? `run ${key}` : key; // what is started later gets another row, with a link
      const row = this.rows.get(kept) ?? new RestoreRow(child ? pageOf(RESTORE, child.dag_run_id) : "");
      this.rows.set(kept, row);
      row.update(each, child, now);
      return row.node;
    }));
    setHidden(this.more, entries.length <= this.limit);
    setText(this.more, `Show more of ${counted(entries.length, "raw file")}`);
    setHidden(this.files, entries.length === 0);
    this.showButtons(run, entries);
  }

  /**
   * @param {Run} run
   * @param {{run: Run | null, restore: Restore}[]} entries
   */
  showButtons(run, entries) {
    if (!this.buttons) return;
    const { stop, again: whole, failed, real } = this.buttons;
    const runs = isActive(run) || entries.some((entry) => entry.run && isActive(entry.run));
    const isDry = run.conf?.dry_run === true;
    const bad = entries.filter(({ restore }) => restore.tone === "bad").length;
    setText(failed, bad === 1 ? "Restore the failed one again" : `Restore the ${bad} failed ones again`);
    const wanted = runs ? [stop] : isDry ? [real] : bad && bad < entries.length ? [failed, whole] : [whole];
    setChildren(this.head.buttons, wanted);
  }
}

/**
 * @param {any} row of the summary
 * @param {Run} batch
 * @returns {Restore}
 */
function ofSummary(row, batch) {
  const good = row.status === "SUCCESS" || row.status === "PLANNED";
  const words = { SUCCESS: batch.conf?.verify_only ? "Verified" : "Restored", PLANNED: "Would work", REFUSED: "Refused", "NOT STARTED": "Not started" };
  return {
    title: String(row.raw_file_id),
    about: "",
    project: String(row.report_path ?? "").split("/").at(-2) ?? "",
    word: words[/** @type {keyof typeof words} */ (row.status)] ?? "Failed",
    tone: good ? "good" : "bad",
    isKnown: true,
    percent: good && row.status !== "PLANNED" ? 100 : 0,
    speed: null,
    eta: null,
    files: String(row.files ?? "").replace("/", " of "),
    reason: [row.reason, row.what_to_do ? `What to do: ${row.what_to_do}` : ""].filter(Boolean).join(" — "),
    whatToDo: row.what_to_do ?? "",
    report: row.report_path ?? "",
  };
}

/**
 * @param {any} started what list_raw_files has returned for it
 * @param {Run} batch
 * @returns {Restore}
 */
function notStarted(started, batch) {
  const isToCome = isActive(batch);
  return {
    title: String(started.conf?.raw_file_id ?? started.trigger_run_id), about: "", project: "",
    word: isToCome ? "To be started" : "Not started", tone: isToCome ? "idle" : "bad", isKnown: true, percent: 0, speed: null, eta: null, files: "",
    reason: isToCome ? "" : "Its batch ended before it was started", whatToDo: "", report: "",
  };
}
