// The runs that one batch has started: which there are, and what was learnt of each.

import { askedAt, learn, lookAnew, LOOK_ANEW_MS } from "./list_data.mjs";
import { forEachOf } from "./poller.mjs";
import { isActive } from "./restores.mjs";

/**
 * @typedef {import("./airflow_api.mjs").AirflowApi} AirflowApi
 * @typedef {import("./airflow_api.mjs").Run} Run
 * @typedef {import("./restores.mjs").Known} Known
 */

/** Of those that have ended, so many are asked for their results in one round: a page may be opened when 1,000 have. */
const ENDED_AT_ONCE = 40;

export class BatchChildren {
  /**
   * @param {AirflowApi} api
   * @param {string} batchRunId
   */
  constructor(api, batchRunId) {
    this.api = api;
    this.batchRunId = batchRunId;
    /** @type {Map<string, Run>} */
    this.runs = new Map();
    /** @type {Map<string, Known>} */
    this.knownOf = new Map();
    this.since = 0;
    this.lookedAnew = Date.now();
    /** Whether results of ended ones are still to be asked for. */
    this.isMoreToLearn = false;
  }

  /**
   * All runs the first time, then those that have changed.
   * @param {Set<string>} summarized those whose results are known already
   */
  async refresh(summarized) {
    const begun = Date.now();
    const runs = this.since ? await this.api.changedRunsOfBatch(this.batchRunId, this.since) : await this.api.runsOfBatch(this.batchRunId);
    this.since = askedAt(this.api, begun);
    for (const run of runs) this.runs.set(run.dag_run_id, run);
    if (begun - this.lookedAnew >= LOOK_ANEW_MS) {
      this.lookedAnew = begun;
      await lookAnew(this.api, this.runs, () => this.api.runsOfBatch(this.batchRunId, { active: true }));
    }
    const begunRuns = [...this.runs.values()].filter((run) => run.state !== "queued" && !summarized.has(run.dag_run_id));
    const running = begunRuns.filter(isActive);
    const ended = begunRuns.filter((run) => !isActive(run) && this.known(run).endedAt !== String(run.end_date));
    this.isMoreToLearn = ended.length > ENDED_AT_ONCE;
    const tasks = running.length ? await this.api.activeTasks() : [];
    await forEachOf([...running, ...ended.slice(0, ENDED_AT_ONCE)], async (run) => {
      const known = this.known(run);
      known.tasks = tasks.filter((task) => task.dag_run_id === run.dag_run_id);
      await learn(this.api, run, known);
    });
  }

  /** @param {Run} run */
  known(run) {
    const known = this.knownOf.get(run.dag_run_id) ?? {};
    this.knownOf.set(run.dag_run_id, known);
    return known;
  }
}
