// The restores that the list shows: which runs there are, and what was learnt of those that are looked at.

import { DOWNLOAD, SUMMARIZE, VALIDATE, WAIT } from "./airflow_api.mjs";
import { forEachOf } from "./poller.mjs";
import { isActive, isBatch, keyOf } from "./restores.mjs";

/**
 * @typedef {import("./airflow_api.mjs").AirflowApi} AirflowApi
 * @typedef {import("./airflow_api.mjs").Run} Run
 * @typedef {import("./restores.mjs").Known} Known
 */

export const LOOK_ANEW_MS = 60_000;
const OVERLAP_MS = 5_000; // what was changed while an answer was made is asked for again

/**
 * From when on to ask for changes the next time: by the server's clock, from when it was asked, for an answer that took
 * long tells of what was when it was begun.
 * @param {AirflowApi} api
 * @param {number} begun when it was asked, by the visitor's clock, in milliseconds
 */
export function askedAt(api, begun) {
  return api.serverTime - (Date.now() - begun) - OVERLAP_MS;
}

/**
 * Bring up to date what is shown as going on and is not: a run that was deleted is no change, and a change that a host has
 * told whose clock is behind is missed.
 * @param {AirflowApi} api
 * @param {Map<string, Run>} runs
 * @param {() => Promise<Run[]>} askForActive all that go on
 */
export async function lookAnew(api, runs, askForActive) {
  const shown = [...runs].filter(([, run]) => isActive(run));
  if (!shown.length) return;
  const active = new Set((await askForActive()).map(keyOf));
  await forEachOf(shown.filter(([, run]) => !active.has(keyOf(run))), async ([key, run]) => {
    try {
      runs.set(key, await api.run(run.dag_id, run.dag_run_id));
    } catch (error) {
      if (/** @type {{status?: number}} */ (error).status !== 404) throw error;
      runs.delete(key);
    }
  });
}

/**
 * Ask for what is not known yet of a run, or has changed since.
 * @param {AirflowApi} api
 * @param {Run} run
 * @param {Known} known is filled in
 */
export async function learn(api, run, known) {
  const active = isActive(run);
  if (!active && known.endedAt === String(run.end_date)) return;
  if (isBatch(run)) {
    if (active) known.progress = await api.xcom(run, WAIT, "progress");
    else [known.progress, known.result] = await Promise.all([api.xcom(run, WAIT, "progress"), api.xcom(run, SUMMARIZE, "return_value")]);
  } else if (active) {
    await learnOfActive(api, run, known);
  } else {
    known.result = await api.xcom(run, DOWNLOAD, "return_value");
    if (run.state === "failed" || !known.result?.report_path) known.checked = await api.xcom(run, VALIDATE, "return_value");
  }
  known.endedAt = active ? undefined : String(run.end_date);
}

/**
 * @param {AirflowApi} api
 * @param {Run} run
 * @param {Known} known
 */
async function learnOfActive(api, run, known) {
  const state = (/** @type {string} */ id) => known.tasks?.find((task) => task.task_id === id)?.state;
  known.result = undefined;
  known.waiting = state(VALIDATE) === "up_for_reschedule" ? await api.xcom(run, VALIDATE, "progress") : undefined;
  if (state(DOWNLOAD) === "running") known.progress = await api.xcom(run, DOWNLOAD, "progress");
  if (state(DOWNLOAD) && !known.checked) known.checked = await api.xcom(run, VALIDATE, "return_value");
}

export class ListData {
  /** @param {AirflowApi} api */
  constructor(api) {
    this.api = api;
    /** @type {Map<string, Run>} */
    this.runs = new Map();
    /** @type {Map<string, Known>} */
    this.known = new Map();
    this.hasOlder = false;
    this.oldest = "";
    this.since = 0;
    this.lookedAnew = Date.now();
    /** What was searched for, and from when on there may be more; empty: all of it is there. */
    this.searched = { text: "", before: "" };
    /** Batches that runs name and Airflow has not, not any more, or not for this visitor. @type {Set<string>} */
    this.missing = new Set();
  }

  /** @param {Run} run */
  of(run) {
    const key = keyOf(run);
    const known = this.known.get(key) ?? {};
    this.known.set(key, known);
    return known;
  }

  /** The newest runs the first time, then what has changed. */
  async refresh() {
    const begun = Date.now();
    if (!this.since) {
      const page = await this.api.runs();
      this.since = askedAt(this.api, begun);
      this.addPage(page);
    } else {
      const runs = await this.api.changedRuns(this.since);
      this.since = askedAt(this.api, begun);
      this.add(runs);
    }
    if (begun - this.lookedAnew >= LOOK_ANEW_MS) {
      this.lookedAnew = begun;
      await lookAnew(this.api, this.runs, () => this.api.activeRuns());
    }
    await this.addBatches();
    const active = [...this.runs.values()].filter(isActive);
    const running = active.filter((run) => run.state === "running" && !isBatch(run));
    const tasks = running.length ? await this.api.activeTasks() : [];
    for (const run of running) this.of(run).tasks = tasks.filter((task) => task.dag_run_id === run.dag_run_id);
    return active.length > 0;
  }

  /** The next hundred before those that are there. */
  async older() {
    this.addPage(await this.api.runs({ before: this.oldest }));
    await this.addBatches();
  }

  /**
   * Runs of whatever age that have this text: the newest ones, and, asked again, those before them.
   * @param {string} text
   */
  async search(text) {
    const { runs, before } = await this.api.search(text, text === this.searched.text ? this.searched.before : "");
    this.searched = { text, before };
    this.add(runs);
    await this.addBatches();
  }

  /** @param {Run} batch */
  async addChildren(batch) {
    this.add(await this.api.runsOfBatch(batch.dag_run_id));
  }

  /**
   * Learn what rows show of these runs.
   * @param {Run[]} runs
   */
  learn(runs) {
    return forEachOf(runs, (run) => learn(this.api, run, this.of(run)));
  }

  /** @param {{runs: Run[], isLast: boolean}} page */
  addPage({ runs, isLast }) {
    this.add(runs);
    this.hasOlder = !isLast;
    this.oldest = runs.at(-1)?.run_after ?? this.oldest;
  }

  /** @param {Run[]} runs */
  add(runs) {
    for (const run of runs) this.runs.set(keyOf(run), run);
  }

  /** A batch begins before its runs, so it may be older than all that are there. */
  async addBatches() {
    const named = new Set([...this.runs.values()].map((run) => run.conf?.batch).filter((batch) => typeof batch === "string"));
    const unknown = [...named].filter((batch) => !this.runs.has(keyOf(batchRun(batch))) && !this.missing.has(batch));
    await forEachOf(unknown, async (batch) => {
      try {
        this.add([await this.api.run(batchRun(batch).dag_id, batch)]);
      } catch (error) {
        if (![403, 404].includes(/** @type {{status?: number}} */ (error).status ?? 0)) throw error;
        this.missing.add(batch);
      }
    });
  }
}

/** @param {string} runId */
function batchRun(runId) {
  return { dag_id: "s3_batch_downloader", dag_run_id: runId };
}
