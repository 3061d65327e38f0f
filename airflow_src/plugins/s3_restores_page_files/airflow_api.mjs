// Airflow's public REST API, asked with the visitor's own cookie and rights.

export const RESTORE = "s3_downloader";
export const BATCH = "s3_batch_downloader";
export const DOWNLOAD = "download_files";
export const VALIDATE = "validate_parameters";
export const LIST = "list_raw_files";
export const WAIT = "wait_for_restores";
export const SUMMARIZE = "summarize";
/** As many as Airflow gives at once. */
export const PAGE = 100;
const SLOW_MS = 30_000;

/**
 * @typedef {object} Run a run of one of the two DAGs, as Airflow tells of it
 * @property {string} dag_id
 * @property {string} dag_run_id
 * @property {string} state queued, running, success or failed
 * @property {string} run_after ISO 8601
 * @property {string | null} start_date
 * @property {string | null} end_date
 * @property {string | null} triggering_user_name
 * @property {string | null} note
 * @property {Record<string, any> | null} conf
 *
 * @typedef {object} Task
 * @property {string} dag_id
 * @property {string} dag_run_id
 * @property {string} task_id
 * @property {string | null} state
 * @property {number} try_number
 * @property {number} map_index
 *
 * @typedef {object} LogRecord
 * @property {string} event
 * @property {string} [level]
 * @property {{exc_value?: string}[] | null} [error_detail] exceptions, the last one first
 */

export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0: no answer of Airflow's
   * @param {string} message in words
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class AirflowApi {
  /** @param {URL} root address of Airflow, with whatever path a proxy puts before it; ends in a slash */
  constructor(root) {
    this.root = root;
    this.api = new URL("api/v2/", root);
    /** The server's clock at its last answer, in milliseconds: that of the visitor may be wrong. */
    this.serverTime = 0;
    /** By how much it is ahead of the visitor's. */
    this.ahead = 0;
  }

  /**
   * @param {string} path below api/v2/
   * @param {{method?: string, body?: unknown}} [options]
   * @returns {Promise<any>}
   */
  async ask(path, { method = "GET", body } = {}) {
    let answer;
    try {
      answer = await fetch(new URL(path, this.api), {
        method,
        credentials: "same-origin",
        headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(SLOW_MS),
      });
    } catch (error) {
      const slow = error instanceof DOMException && error.name === "TimeoutError";
      throw new ApiError(0, slow ? `Airflow did not answer within ${SLOW_MS / 1000} s` : "Airflow cannot be reached");
    }
    this.serverTime = Date.parse(answer.headers.get("date") ?? "") || Date.now();
    this.ahead = this.serverTime - Date.now();
    const text = await answer.text().catch(() => {
      throw new ApiError(0, "Airflow's answer broke off");
    });
    const said = parsed(text);
    // A proxy's "404" says nothing of what Airflow has: it would make a restore one that left no result.
    if (said === undefined && (answer.ok || answer.status === 404)) {
      throw new ApiError(0, "What answered is not Airflow's API: perhaps a proxy or a login page");
    }
    if (!answer.ok) throw new ApiError(answer.status, inWords(answer.status, said));
    return said;
  }

  /** What the server's clock says now, in milliseconds. */
  now() {
    return Date.now() + this.ahead;
  }

  /**
   * Runs of both DAGs, newest first.
   * @param {{before?: string, containing?: string}} [which] those that were asked for before; whose conf has this text
   * @returns {Promise<{runs: Run[], isLast: boolean}>}
   */
  async runs({ before, containing } = {}) {
    const body = {
      dag_ids: [RESTORE, BATCH],
      order_by: "-run_after",
      page_limit: PAGE,
      ...(before ? { run_after_lte: before } : {}),
      ...(containing ? { conf_contains: containing } : {}),
    };
    return some(await this.ask("dags/~/dagRuns/list", { method: "POST", body }));
  }

  /**
   * All runs that have changed since a moment of the server's clock: who looks away while a batch ends misses hundreds.
   * @param {number} since milliseconds
   * @returns {Promise<Run[]>}
   */
  async changedRuns(since) {
    const query = `order_by=-run_after&limit=${PAGE}&updated_at_gte=${encodeURIComponent(new Date(since).toISOString())}`;
    return ofBoth((dag) => this.allRuns(`dags/${dag}/dagRuns?${query}`));
  }

  /**
   * The newest runs of whatever age that have a text in their parameters, in their run id, or in the name of who started them.
   * @param {string} text
   * @param {string} [before] those that were asked for before
   * @returns {Promise<{runs: Run[], before: string}>} before: there may be more from there on; empty: these were all
   */
  async search(text, before = "") {
    const query = { order_by: "-run_after", limit: String(PAGE), ...(before ? { run_after_lte: before } : {}) };
    /** @type {{runs: Run[], isLast: boolean}[]} */
    const answers = [];
    const ask = async (/** @type {() => Promise<{runs: Run[], isLast: boolean}>} */ question) => {
      const answer = await question();
      answers.push(answer);
      return answer.runs;
    };
    await Promise.all([
      ...spellings(text).map((containing) => ask(() => this.runs({ before, containing }))),
      ...["run_id_pattern", "triggering_user_name_pattern"].map((name) => ofBoth((dag) => ask(async () =>
        some(await this.ask(`dags/${dag}/dagRuns?${new URLSearchParams({ ...query, [name]: text })}`))))),
    ]);
    // Each answer ends somewhere else: all is known only back to the latest of these ends.
    const ends = answers.flatMap(({ runs, isLast }) => (isLast ? [] : runs[runs.length - 1].run_after));
    ends.sort((one, other) => Date.parse(other) - Date.parse(one));
    return { runs: answers.flatMap(({ runs }) => runs), before: ends[0] ?? "" };
  }

  /**
   * All runs that have not ended.
   * @returns {Promise<Run[]>}
   */
  activeRuns() {
    return ofBoth((dag) => this.allRuns(`dags/${dag}/dagRuns?order_by=-run_after&limit=${PAGE}&state=queued&state=running`));
  }

  /**
   * Of the runs that have changed, those that a batch has started.
   * @param {string} batchRunId
   * @param {number} since milliseconds
   * @returns {Promise<Run[]>}
   */
  async changedRunsOfBatch(batchRunId, since) {
    const query = new URLSearchParams({ order_by: "-run_after", limit: String(PAGE), updated_at_gte: new Date(since).toISOString(),
                                        conf_contains: batchRunId });
    return (await this.allRuns(`dags/${RESTORE}/dagRuns?${query}`)).filter((run) => run.conf?.batch === batchRunId);
  }

  /**
   * @param {string} path of a list of runs
   * @returns {Promise<Run[]>}
   */
  async allRuns(path) {
    /** @type {Run[]} */
    const found = [];
    for (;;) {
      const { runs, isLast } = some(await this.ask(`${path}&offset=${found.length}`), found.length);
      found.push(...runs);
      if (isLast) return found;
    }
  }

  /**
   * All runs that a batch has started, or those of them that have not ended.
   * @param {string} batchRunId
   * @param {{active?: boolean}} [which]
   * @returns {Promise<Run[]>}
   */
  async runsOfBatch(batchRunId, { active = false } = {}) {
    /** @type {Map<string, Run>} */
    const found = new Map();
    const states = active ? { states: ["queued", "running"] } : {};
    for (let offset = 0; ;) {
      const body = { dag_ids: [RESTORE], order_by: "run_after", page_limit: PAGE, page_offset: offset, ...states,
                     conf_contains: batchRunId };
      const { runs, isLast } = some(await this.ask("dags/~/dagRuns/list", { method: "POST", body }), offset);
      offset += runs.length;
      for (const run of runs) if (run.conf?.batch === batchRunId) found.set(run.dag_run_id, run);
      if (isLast) return [...found.values()];
    }
  }

  /**
   * @param {string} dag
   * @param {string} runId
   * @returns {Promise<Run>}
   */
  run(dag, runId) {
    return this.ask(runPath(dag, runId));
  }

  /**
   * The tasks of restores that have begun or can begin, and have not ended. (Not by POST …/taskInstances/list, which
   * writes a line into the audit log each time.)
   * @returns {Promise<Task[]>}
   */
  async activeTasks() {
    const states = ["running", "queued", "scheduled", "up_for_reschedule", "up_for_retry", "restarting", "deferred"];
    const query = new URLSearchParams(states.map((state) => ["state", state]));
    return (await this.ask(`dags/${RESTORE}/dagRuns/~/taskInstances?limit=${PAGE}&${query}`)).task_instances;
  }

  /**
   * @param {Pick<Run, "dag_id" | "dag_run_id">} run
   * @returns {Promise<Task[]>}
   */
  async tasksOf(run) {
    return (await this.ask(`${runPath(run.dag_id, run.dag_run_id)}/taskInstances?limit=${PAGE}`)).task_instances;
  }

  /**
   * What a task has pushed; undefined for nothing, or nothing yet.
   * @param {Pick<Run, "dag_id" | "dag_run_id">} run
   * @param {string} task
   * @param {string} key
   * @returns {Promise<any>}
   */
  async xcom(run, task, key) {
    try {
      return (await this.ask(`${runPath(run.dag_id, run.dag_run_id)}/taskInstances/${task}/xcomEntries/${key}`)).value;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /**
   * @param {Pick<Run, "dag_id" | "dag_run_id">} run
   * @param {string} task one that is not mapped
   * @returns {Promise<Task>}
   */
  task(run, task) {
    return this.ask(`${runPath(run.dag_id, run.dag_run_id)}/taskInstances/${task}`);
  }

  /**
   * The records of a task's log; none where there is none.
   * @param {Run} run
   * @param {string} task
   * @param {number} attempt
   * @returns {Promise<LogRecord[]>}
   */
  async log(run, task, attempt) {
    const path = `${runPath(run.dag_id, run.dag_run_id)}/taskInstances/${task}/logs/${attempt}?full_content=true`;
    try {
      const { content } = await this.ask(path);
      return Array.isArray(content) ? content.map((line) => ({ ...line, event: String(line?.event ?? line) })) : [];
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return [];
      throw error;
    }
  }

  /**
   * @param {string} dag
   * @param {Record<string, unknown>} conf
   * @returns {Promise<Run>}
   */
  trigger(dag, conf) {
    return this.ask(`dags/${dag}/dagRuns`, { method: "POST", body: { logical_date: null, conf } });
  }

  /**
   * End a run that has not ended: its task gets SIGTERM, and writes its report.
   * @param {Pick<Run, "dag_id" | "dag_run_id">} run
   * @param {string} note
   */
  async stop(run, note) {
    await this.ask(runPath(run.dag_id, run.dag_run_id), { method: "PATCH", body: { state: "failed", note } });
  }

  /**
   * Whether the visitor may start and stop restores. Asked by a rehearsal ("dry run") of clearing a run that does not
   * exist: it changes nothing, leaves nothing in the audit log, and is refused before it is looked at.
   * @returns {Promise<boolean>}
   */
  async mayChange() {
    try {
      await this.ask(`${runPath(RESTORE, "may-i-change-runs")}/clear`, { method: "POST", body: { dry_run: true } });
    } catch (error) {
      if (error instanceof ApiError && error.status === 403) return false;
      if (error instanceof ApiError && error.status !== 404) throw error;
    }
    return true;
  }
}

/**
 * Some of a list of runs, and whether no more come after them: Airflow may be set to give fewer at once than are asked for.
 * @param {{dag_runs: Run[], total_entries?: number | null}} answer
 * @param {number} [before] how many came before them
 */
function some({ dag_runs: runs, total_entries: total }, before = 0) {
  return { runs, isLast: !runs.length || before + runs.length >= (total ?? (runs.length < PAGE ? 0 : Infinity)) };
}

/**
 * Runs of both DAGs; one that the visitor may not see, or that is not there, has none.
 * @param {(dag: string) => Promise<Run[]>} ask
 * @returns {Promise<Run[]>}
 */
async function ofBoth(ask) {
  /** @type {ApiError[]} */
  const refused = [];
  const answers = await Promise.all([RESTORE, BATCH].map((dag) => ask(dag).catch((error) => {
    if (!(error instanceof ApiError && [403, 404].includes(error.status))) throw error;
    refused.push(error);
    return [];
  })));
  if (refused.length === answers.length) throw refused[0];
  return answers.flat();
}

/**
 * A text as databases keep it within JSON: some as it is, others in ASCII.
 * @param {string} text
 */
function spellings(text) {
  const inJson = JSON.stringify(text).slice(1, -1);
  const inAscii = inJson.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return [...new Set([inJson, inAscii])];
}

/**
 * @param {string} dag
 * @param {string} runId
 */
function runPath(dag, runId) {
  return `dags/${encodeURIComponent(dag)}/dagRuns/${encodeURIComponent(runId)}`;
}

/**
 * @param {string} text
 * @returns {any} null for no text, undefined for one that is no JSON
 */
function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return undefined;
  }
}

/**
 * @param {number} status
 * @param {any} answer
 */
function inWords(status, answer) {
  if (status === 401) return "You are not signed in, or your session has ended";
  if (status === 403) return "You may not do this: your role in Airflow does not allow it";
  if (status === 404) return `Airflow has not got this: ${detail(answer) || "not found"}`;
  if (status === 429) return "Airflow has too much to do at the moment (429)";
  if (status >= 500) return `Airflow has an error of its own (${status})`;
  return `Airflow refused this (${status}): ${detail(answer) || "without a reason"}`;
}

/** @param {any} answer */
function detail(answer) {
  const said = answer?.detail;
  if (typeof said === "string") return said;
  if (Array.isArray(said)) return said.map((one) => one?.msg ?? "").filter(Boolean).join("; ");
  return said?.reason ?? "";
}
