// What a run is, in an operator's words: from what Airflow tells of it and what its tasks have pushed
// (design_docs/PAGE.md, "Data"). Pure functions.

import { BATCH, DOWNLOAD, VALIDATE } from "./airflow_api.mjs";
import { readOne, readPasted } from "./pasted_ids.mjs";
import { counted, percent, secondsBetween } from "./words.mjs";

/**
 * @typedef {import("./airflow_api.mjs").Run} Run
 * @typedef {import("./airflow_api.mjs").Task} Task
 *
 * @typedef {object} Known what was learnt of a run beside what the list of runs has
 * @property {Task[]} [tasks]
 * @property {any} [progress] XCom of download_files, or of wait_for_restores
 * @property {any} [waiting] XCom progress of validate_parameters
 * @property {any} [result] return value of download_files, or of summarize
 * @property {any} [checked] return value of validate_parameters
 * @property {string} [why] reason of one that left no result, from the log of its task
 * @property {Run[]} [children] runs of a batch
 * @property {string} [endedAt] when it ended, once all of this was asked for after that
 *
 * @typedef {"idle" | "busy" | "good" | "bad"} Tone
 *
 * @typedef {object} Restore a row of the list, the head of a page
 * @property {string} title
 * @property {string} about mode, glob
 * @property {string} project
 * @property {string} word its state in a word or two
 * @property {Tone} tone
 * @property {boolean} isKnown whether it can be said how it ended, if it has
 * @property {number | null} percent null: unknown
 * @property {number | null} speed bytes per second
 * @property {number | null} eta seconds
 * @property {string} files right of total
 * @property {string} reason of a failure
 * @property {string} whatToDo
 * @property {string} report its path
 */

/** @param {Pick<Run, "state">} run */
export function isActive(run) {
  return run.state === "queued" || run.state === "running";
}

/** @param {Pick<Run, "dag_id">} run */
export function isBatch(run) {
  return run.dag_id === BATCH;
}

/** @param {Pick<Run, "note">} run */
export function wasStopped(run) {
  return (run.note ?? "").startsWith("Stopped");
}

/** @param {Pick<Run, "dag_id" | "dag_run_id">} run */
export function keyOf(run) {
  return `${run.dag_id}/${run.dag_run_id}`;
}

/**
 * @param {Run} run
 * @param {Known} known
 * @returns {Restore}
 */
export function describe(run, known) {
  return isBatch(run) ? describeBatch(run, known) : describeOne(run, known);
}

/**
 * @param {Run} run
 * @param {Known} known
 * @returns {Restore}
 */
function describeOne(run, known) {
  const { progress, checked } = known;
  const refused = checked?.status === "REFUSED" ? checked : null;
  const result = refused ? undefined : known.result; // else that of a try before
  const report = text(result?.report_path);
  const verifies = run.conf?.verify_only === true;
  const given = text(run.conf?.raw_file_id);
  /** @type {Restore} */
  const restore = {
    title: text(checked?.raw_file_id) || (run.conf?.batch ? given : readOne(given)) || run.dag_run_id, // a batch has read it
    about: about(run),
    project: text(checked?.project_id) || folderOf(report),
    word: "Queued",
    tone: "idle",
    isKnown: isKnown(run, known),
    percent: 0,
    speed: null,
    eta: null,
    files: "",
    reason: "",
    whatToDo: "",
    report,
  };
  if (hasNoResult(run, known)) return { ...restore, ...withoutResult(run) };
  if (!restore.isKnown) return { ...restore, word: "Ended" };
  if (run.state === "success" && !hasFailures(known)) {
    const files = result ? `${result.successful} of ${result.total_files}` : "";
    return { ...restore, word: verifies ? "Verified" : "Restored", tone: "good", percent: 100, files };
  }
  if (run.state === "failed" || run.state === "success") {
    return {
      ...restore,
      ...wordless(known),
      word: wasStopped(run) ? "Stopped" : refused ? "Refused" : "Failed",
      tone: "bad",
      percent: result ? percent(result.successful, result.total_files) : shareOf(progress) ?? 0,
      files: result ? `${result.successful} of ${result.total_files}` : "",
      ...(refused || result?.first_failure || wasStopped(run) ? {
        reason: text(refused?.reason ?? result?.first_failure) || text(run.note),
        whatToDo: text(refused?.what_to_do ?? result?.what_to_do),
      } : {}),
    };
  }
  return run.state === "running" ? { ...restore, ...stage(known) } : restore;
}

/**
 * Whether it can be said how it ended: Airflow calls runs successful, too, whose tasks say otherwise.
 * @param {Run} run
 * @param {Known} known
 */
function isKnown(run, { result, endedAt }) {
  return run.state !== "success" || Boolean(result || endedAt);
}

/**
 * Whether its last task has said that something is not right: somebody may have marked the run as successful since.
 * @param {Known} known
 */
function hasFailures({ result }) {
  return result?.failed > 0;
}

/**
 * What is said of one that has failed without a word: killed, never started, or for a reason that only its log has.
 * @param {Known} known
 * @returns {Partial<Restore>}
 */
function wordless({ why, endedAt }) {
  if (why || !endedAt) return { reason: text(why) };
  return {
    reason: "It ended without saying why: its process was killed, it never started, or its log has the reason",
    whatToDo: "Look at its log in Airflow, then start it again: what is right is skipped",
  };
}

/**
 * Airflow calls a run successful when its last task was skipped or marked by hand: one that is stopped while that task
 * waits may end so. Only what the task itself says is a restore, or a batch of them.
 * @param {Run} run
 * @param {Known} known
 */
function hasNoResult(run, { result, endedAt }) {
  return run.state === "success" && !result && Boolean(endedAt || wasStopped(run));
}

/**
 * @param {Run} run
 * @returns {Partial<Restore>}
 */
function withoutResult(run) {
  const stopped = wasStopped(run);
  return {
    word: stopped ? "Stopped" : "Without a result",
    tone: "bad",
    reason: stopped ? text(run.note) : "Airflow calls it successful, but its last task has left no result: it was skipped or marked by hand",
    whatToDo: stopped ? "" : "Restore it again: what is right is skipped",
  };
}

/**
 * How far a single restore is that runs.
 * @param {Known} known
 * @returns {Partial<Restore>}
 */
function stage({ tasks = [], progress, waiting }) {
  const download = tasks.find((task) => task.task_id === DOWNLOAD)?.state;
  const validate = tasks.find((task) => task.task_id === VALIDATE)?.state;
  if (validate === "up_for_reschedule") {
    return { word: waiting ? "Waiting for an archive" : "Waiting", tone: "busy", percent: 0, reason: text(waiting?.reason) };
  }
  if (download === "up_for_retry") return { word: "Waiting to try again", tone: "busy", percent: shareOf(progress) };
  if (download === "running" || (progress && download === undefined)) {
    const words = { checking: "Checking", downloading: "Downloading", verifying: "Verifying", done: "Finishing" };
    return {
      word: words[/** @type {keyof typeof words} */ (progress?.phase)] ?? "Starting",
      tone: "busy",
      percent: progress ? shareOf(progress) : null,
      speed: number(progress?.bytes_per_s),
      eta: number(progress?.eta_s),
      files: progress ? `${progress.files_done - progress.files_failed} of ${progress.files_total}` : "",
    };
  }
  if (download === "success" || download === "failed") return { word: "Finishing", tone: "busy", percent: shareOf(progress) };
  if (download === "scheduled" || download === "queued") return { word: "Waiting for a free slot", tone: "idle", percent: 0 };
  return { word: validate === "running" ? "Checking" : "Starting", tone: "busy", percent: null };
}

/**
 * @param {Run} run
 * @param {Known} known
 * @returns {Restore}
 */
function describeBatch(run, known) {
  const { progress, result, children } = known;
  const isDry = run.conf?.dry_run === true;
  const total = result?.total ?? progress?.runs_total ?? (children?.length || countOf(run));
  const ended = progress?.runs_ended ?? children?.filter((child) => !isActive(child)).length ?? 0;
  const name = run.conf?.project_id
    ? `All of project ${text(run.conf.project_id)}`
    : `Batch${total ? ` of ${counted(total, "raw file")}` : ""}`;
  /** @type {Restore} */
  const batch = {
    title: name,
    about: about(run),
    project: text(run.conf?.project_id),
    word: "Queued",
    tone: "idle",
    isKnown: isKnown(run, known),
    percent: 0,
    speed: null,
    eta: null,
    files: !total ? "" : result ? `${result.successful} of ${total}` : `${ended} of ${total} ended`,
    reason: "",
    whatToDo: "",
    report: "",
  };
  if (hasNoResult(run, known)) return { ...batch, ...withoutResult(run), percent: shareOf(progress) ?? 0 };
  if (!batch.isKnown) return { ...batch, word: "Ended" };
  if (run.state === "success" && !hasFailures(known)) {
    const word = isDry ? "Looked at" : run.conf?.verify_only ? "Verified" : "Restored";
    return { ...batch, word, tone: "good", percent: 100 };
  }
  if (run.state === "failed" || run.state === "success") {
    const failed = result ? `${result.failed} of ${counted(result.total, "raw file")} ${isDry ? "would fail" : "failed"}` : "";
    return {
      ...batch,
      ...(failed || wasStopped(run) ? { reason: failed || text(run.note) } : wordless(known)),
      word: wasStopped(run) ? "Stopped" : "Failed",
      tone: "bad",
      percent: result && !isDry ? percent(result.successful, result.total) : shareOf(progress) ?? 0,
    };
  }
  if (run.state !== "running") return batch;
  return {
    ...batch,
    word: isDry ? "Looking" : progress || children?.length ? "Running" : "Starting",
    tone: "busy",
    percent: progress ? shareOf(progress) ?? percent(ended, total) : total && ended ? percent(ended, total) : null,
    speed: number(progress?.bytes_per_s),
    eta: number(progress?.eta_s),
  };
}

/** @param {Run} run */
function about(run) {
  const { conf } = run;
  return [
    conf?.verify_only === true ? "verify only" : "",
    conf?.dry_run === true ? "dry run" : "",
    conf?.include ? `only ${text(conf.include)}` : "",
  ].filter(Boolean).join(", ");
}

/** How many ids a text was read as: to read a thousand takes 4 ms, and a list has many such. @type {WeakMap<object, number>} */
const counts = new WeakMap();

/** @param {Run} run */
function countOf({ conf }) {
  const given = conf?.raw_file_ids;
  if (Array.isArray(given)) return given.length;
  if (!conf || typeof given !== "string") return 0;
  const count = counts.get(conf) ?? readPasted(given).ids.length;
  counts.set(conf, count);
  return count;
}

/**
 * @param {any} progress
 * @returns {number | null}
 */
function shareOf(progress) {
  if (!progress) return null;
  if (progress.bytes_total > 0) return percent(progress.bytes_done, progress.bytes_total);
  if (progress.files_total > 0) return percent(progress.files_done ?? 0, progress.files_total);
  return null;
}

/** @param {string} report path of one; its folder is named by the project */
function folderOf(report) {
  return report.split("/").at(-2) ?? "";
}

/** @param {unknown} value */
function text(value) {
  return typeof value === "string" ? value : value === undefined || value === null ? "" : String(value);
}

/**
 * @param {unknown} value
 * @returns {number | null}
 */
function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/**
 * Runs as the list has them, newest first: what a batch has started stands below it.
 * @param {Iterable<Run>} runs
 * @returns {{run: Run, children: Run[]}[]}
 */
export function grouped(runs) {
  const all = [...runs];
  const batches = new Set(all.filter(isBatch).map((run) => run.dag_run_id));
  /** @type {Map<string, Run[]>} */
  const children = new Map();
  const top = [];
  for (const run of all) {
    const batch = isBatch(run) ? "" : text(run.conf?.batch);
    if (!batch || !batches.has(batch)) top.push(run);
    else children.set(batch, [...(children.get(batch) ?? []), run]);
  }
  top.sort((one, other) => Date.parse(other.run_after) - Date.parse(one.run_after));
  return top.map((run) => ({
    run,
    children: (isBatch(run) ? children.get(run.dag_run_id) ?? [] : []).sort((one, other) =>
      one.dag_run_id < other.dag_run_id ? -1 : 1),
  }));
}

/**
 * Whether a row is one of those that are looked for. One of which it is not known yet how it ended may be: it is shown,
 * and so asked for.
 * @param {{run: Run, children: Run[]}} group
 * @param {(run: Run) => Restore} described
 * @param {{text: string, state: string}} filter
 */
export function matches({ run, children }, described, filter) {
  const restore = described(run);
  const mayBe = (/** @type {string} */ tone) => restore.tone === tone || !restore.isKnown;
  const states = { running: isActive(run), failed: mayBe("bad"), done: mayBe("good") };
  if (filter.state && !states[/** @type {keyof typeof states} */ (filter.state)]) return false;
  const wanted = filter.text.trim().toLowerCase();
  if (!wanted) return true;
  const told = [run, ...children].flatMap((one) => [one.dag_run_id, one.triggering_user_name ?? "", JSON.stringify(one.conf ?? {})]);
  return [restore.title, restore.project, restore.word, ...told].some((text_) => text_.toLowerCase().includes(wanted));
}

/**
 * How long it ran, or has been running.
 * @param {Run} run
 * @param {number} now milliseconds
 */
export function secondsOf(run, now) {
  return secondsBetween(run.start_date, isActive(run) ? null : run.end_date, now);
}
