// What starts a restore: from a form, or from a run that is to be done again. Pure functions.

import { ApiError, BATCH, RESTORE } from "./airflow_api.mjs";
import { linesOf, readPasted } from "./pasted_ids.mjs";

/** As many runs as Airflow starts for one batch, unless its max_map_length is another. */
export const MOST = 1024;

/**
 * @typedef {object} Form
 * @property {string} ids as typed or pasted
 * @property {string} project
 * @property {string} include
 * @property {string} mode restore, dry_run or verify_only
 *
 * @typedef {object} Request
 * @property {string} dag
 * @property {Record<string, unknown>} conf
 */

/**
 * One raw file gets a run of its own; many, a project or a dry run are for the batch.
 * @param {Form} form
 * @returns {Request | null} null: nothing is asked for
 */
export function requestOf(form) {
  const { ids } = readPasted(form.ids);
  const project = form.project.trim();
  if (!ids.length && !project) return null;
  const include = form.include.trim();
  const chosen = { ...(include ? { include } : {}), ...(form.mode === "verify_only" ? { verify_only: true } : {}) };
  if (ids.length === 1 && !project && form.mode !== "dry_run") {
    return { dag: RESTORE, conf: { raw_file_id: withoutSignature(ids[0].given), ...chosen } };
  }
  return {
    dag: BATCH,
    conf: {
      ...(ids.length ? { raw_file_ids: linesOf(form.ids).join("\n") } : {}),
      ...(project ? { project_id: project } : {}),
      ...chosen,
      ...(form.mode === "dry_run" ? { dry_run: true } : {}),
    },
  };
}

/**
 * What was typed, as only the database knows which quotes and brackets belong to an id; without what lets others in.
 * @param {string} given
 */
function withoutSignature(given) {
  return /^\W*https?:/i.test(given) ? given.split("?")[0] : given;
}

/**
 * What was understood, in words; and what keeps it from being started.
 * @param {Form} form
 * @returns {{said: string, wrong: string}}
 */
export function understood(form) {
  const { ids, repeated } = readPasted(form.ids);
  const project = form.project.trim();
  const short = ids.find(({ id }) => id.length < 3);
  const wrong = short
    ? `“${short.id}” is too short for an id`
    : ids.length > MOST
      ? `${ids.length} raw files are more than Airflow starts at once: at most ${MOST}`
      : "";
  const parts = [];
  if (ids.length) parts.push(`${ids.length} raw file${ids.length === 1 ? "" : "s"}`);
  if (repeated) parts[parts.length - 1] += ` (${repeated} given more than once)`;
  if (project) parts.push(`all raw files of project ${project} that have a backup`);
  const what = parts.join(" and ");
  const files = form.include.trim() ? `, only files like ${form.include.trim()}` : "";
  return { said: what ? what + files : "Nothing yet", wrong };
}

/**
 * The same once more; it is always safe.
 * @param {{dag_id: string, conf: Record<string, any> | null}} run
 * @returns {Request}
 */
export function again(run) {
  const { batch: _batch, ...conf } = run.conf ?? {};
  return { dag: run.dag_id, conf };
}

/**
 * What a dry run looked at, now for real.
 * @param {{dag_id: string, conf: Record<string, any> | null}} run
 * @returns {Request}
 */
export function forReal(run) {
  const { dry_run: _dryRun, ...conf } = run.conf ?? {};
  return { dag: run.dag_id, conf };
}

/**
 * Those raw files of a batch that were not restored.
 * @param {{conf: Record<string, any> | null}} batch
 * @param {string[]} rawFileIds
 * @returns {Request}
 */
export function failedAgain(batch, rawFileIds) {
  const { include, verify_only } = batch.conf ?? {};
  const chosen = { ...(include ? { include } : {}), ...(verify_only ? { verify_only } : {}) };
  if (rawFileIds.length === 1) return { dag: RESTORE, conf: { raw_file_id: rawFileIds[0], ...chosen } };
  return { dag: BATCH, conf: { raw_file_ids: rawFileIds, ...chosen } };
}

/**
 * What came of a request that has failed: one that was not answered may have been done all the same.
 * @param {unknown} error
 */
export function whatWasStarted(error) {
  const isRefused = !(error instanceof ApiError) || (error.status >= 400 && error.status < 500);
  return isRefused ? "Nothing was started." : "It may have been started all the same: look at the list before you try again.";
}
