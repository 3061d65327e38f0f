// One restore: every file, its result, why it failed and what to do, its report.

import { startButton, stopButton } from "./actions.mjs";
import { BATCH, DOWNLOAD, VALIDATE } from "./airflow_api.mjs";
import { copyButton, element, setChildren, setHidden, setText } from "./dom.mjs";
import { FilesTable } from "./files_table.mjs";
import { pageOf } from "./frame.mjs";
import { learn } from "./list_data.mjs";
import { Poller } from "./poller.mjs";
import { filesOf, reasonIn, reportIn } from "./report_text.mjs";
import { again } from "./restore_requests.mjs";
import { describe, isActive } from "./restores.mjs";
import { fileRows } from "./restore_files.mjs";
import { RunHead } from "./run_head.mjs";
import { SpeedPlot } from "./speed_plot.mjs";
import { duration, plain, size, speed } from "./words.mjs";

/**
 * @typedef {import("./airflow_api.mjs").AirflowApi} AirflowApi
 * @typedef {import("./airflow_api.mjs").Run} Run
 */

export class RestorePage {
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
    /** @type {any} */
    this.plan = undefined;
    /** @type {any} */
    this.files = undefined;
    this.report = "";
    this.complete = "";
    this.head = new RunHead(dag, runId, DOWNLOAD);
    this.plot = new SpeedPlot();
    this.table = new FilesTable();
    this.text = element("pre", { tabIndex: 0, "aria-label": "Text of the report" });
    this.reportText = element("details", { class: "report", hidden: true }, element("summary", {}, "Text of the report"),
      copyButton(() => this.report, "the report"), this.text);
    this.poller = new Poller(() => this.refresh());
    this.again = mayChange ? startButton(api, "Restore again", () => again(/** @type {Run} */ (this.run))) : null;
    this.stop = mayChange ? stopButton(api, () => /** @type {Run} */ (this.run), () => this.poller.now()) : null;
    place.replaceChildren(this.head.node, this.plot.node, this.table.node, this.reportText, this.head.refreshed);
    this.poller.now();
  }

  async refresh() {
    const { dag_id: dag, dag_run_id: runId } = this.which;
    this.run = await this.api.run(dag, runId);
    try {
      await this.learn(this.run);
    } finally { // one question that is refused keeps nobody from seeing the rest
      this.render(this.run);
    }
    return isActive(this.run);
  }

  /** @param {Run} run */
  async learn(run) {
    this.known.tasks = await this.api.tasksOf(run);
    await learn(this.api, run, this.known);
    if (!this.known.checked) this.known.checked = await this.api.xcom(run, VALIDATE, "return_value");
    if (!this.plan) this.plan = await this.api.xcom(run, VALIDATE, "plan");
    if (isActive(run)) await this.learnOfFiles();
    else if (this.complete !== String(run.end_date)) await this.learnOfEnd(run);
  }

  async learnOfFiles() {
    this.complete = "";
    this.report = "";
    this.known.why = "";
    const done = this.known.progress?.files_done ?? 0;
    if (done !== countOf(this.files)) this.files = await this.api.xcom(this.which, DOWNLOAD, "files");
  }

  /** @param {Run} run */
  async learnOfEnd(run) {
    this.files = await this.api.xcom(run, DOWNLOAD, "files");
    const told = await this.api.xcom(run, DOWNLOAD, "report");
    const attempt = this.known.tasks?.find((task) => task.task_id === DOWNLOAD)?.try_number ?? 0;
    this.report = typeof told === "string" && told ? told
      : attempt ? reportIn((await this.api.log(run, DOWNLOAD, attempt)).map(({ event }) => event)) : "";
    const failed = this.known.tasks?.find((task) => task.state === "failed");
    if (failed) this.head.linkLog(failed.task_id);
    this.known.why = failed && !this.known.result ? reasonIn(await this.api.log(run, failed.task_id, failed.try_number)) : "";
    this.complete = String(run.end_date);
  }

  /** @param {Run} run */
  render(run) {
    const active = isActive(run);
    const { progress, result } = this.known;
    const restore = describe(run, this.known);
    this.head.update(restore, run, this.facts(run), this.api.now());
    const verifies = run.conf?.verify_only === true;
    if (this.again) setText(this.again, verifies ? "Verify again" : "Restore again");
    setChildren(this.head.buttons, [active ? this.stop : this.again].filter((button) => button !== null));
    if (active) this.plot.add(progress);
    const files = fileRows({
      plan: this.plan,
      progress: active ? progress : undefined,
      files: this.files,
      reported: this.files?.complete ? [] : filesOf(this.report),
      hasEnded: !active,
    });
    const total = result?.total_files ?? progress?.files_total ?? this.plan?.total_files ?? files.length;
    this.table.update(files, Math.max(0, total - files.length));
    setText(this.text, plainLines(this.report));
    setHidden(this.reportText, !this.report);
  }

  /**
   * @param {Run} run
   * @returns {[string, Node | string][]}
   */
  facts(run) {
    const { progress, result, checked } = this.known;
    const batch = run.conf?.batch;
    const bytes = checked?.bytes_total ?? progress?.bytes_total ?? result?.bytes_total; // the result's is of right files only
    const mean = result?.seconds > 0 && result.bytes_fetched > 0 ? result.bytes_fetched / result.seconds : progress?.bytes_per_s_mean;
    return [
      ["Size", typeof bytes === "number" ? size(bytes) : ""],
      ["Fetched", result ? `${size(result.bytes_fetched)} in ${duration(result.seconds)}` : progress ? `${size(progress.bytes_done)} done` : ""],
      ["On average", typeof mean === "number" ? speed(mean) : ""],
      ["Destination", plain(this.plan?.destination ?? checked?.destination ?? "")],
      ["Batch", typeof batch === "string" ? element("a", { href: pageOf(BATCH, batch) }, plain(batch)) : ""],
      ["Run", plain(run.dag_run_id)],
    ];
  }
}

/** @param {any} files how many it tells of, also of those that it has no room for */
function countOf(files) {
  return (files?.files?.length ?? 0) + (files?.left_out ?? 0);
}

/** @param {string} report its line breaks are its own */
function plainLines(report) {
  return report.split("\n").map(plain).join("\n");
}
