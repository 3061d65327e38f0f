// The files of one restore: what was planned, what is being done, what came of it, as one list. Pure functions.

/**
 * @typedef {object} FileRow
 * @property {string} path
 * @property {string} word
 * @property {"idle" | "busy" | "good" | "bad"} tone
 * @property {number | null} size bytes
 * @property {number | null} done bytes, while it is in work
 * @property {number | null} total bytes, while it is in work
 * @property {number | null} fetched bytes
 * @property {number | null} seconds
 * @property {string} reason
 * @property {string} whatToDo
 */

const RESULTS = {
  downloaded: "Restored",
  skipped: "Was right already",
  healed: "Healed",
  verified: "Backup verified",
  failed: "Failed",
};
// Said while it runs, too, where the task has not told yet of files that are done.
const ACTIONS = {
  there: "Planned: verify what is on disk",
  download: "Planned: fetch",
  archived: "In an archive",
  trouble: "Would fail",
  verify: "Planned: verify",
};
const PHASES = { checking: "Checking", downloading: "Downloading", verifying: "Verifying" };
const ORDER = { bad: 0, busy: 1, idle: 2, good: 3 };

/**
 * Failed ones first, then those in work, those to come, those that are right; each group by path.
 * @param {object} told
 * @param {any} [told.plan] XCom of validate_parameters
 * @param {any} [told.progress] XCom of download_files
 * @param {any} [told.files] XCom of download_files
 * @param {{path: string, result: string, said: string}[]} [told.reported] what the report says, where the XCom is not that of the end
 * @param {boolean} [told.hasEnded] whether nothing more will come
 * @returns {FileRow[]}
 */
export function fileRows({ plan, progress, files, reported = [], hasEnded = false }) {
  /** @type {Map<string, FileRow>} */
  const rows = new Map();
  for (const planned of plan?.files ?? []) {
    rows.set(planned.path, hasEnded ? {
      ...bare(planned.path),
      word: files?.left_out ? "See the report" : files?.complete === false ? "Not known" : "Not attempted",
      size: planned.size ?? null,
    } : {
      ...bare(planned.path),
      word: ACTIONS[/** @type {keyof typeof ACTIONS} */ (planned.action)] ?? String(planned.action),
      tone: planned.action === "trouble" ? "bad" : "idle",
      size: planned.size ?? null,
      reason: planned.reason ?? "",
      whatToDo: plan.what_to_do?.[planned.code] ?? "",
    });
  }
  for (const current of progress?.current ?? []) {
    rows.set(current.path, {
      ...(rows.get(current.path) ?? bare(current.path)),
      word: PHASES[/** @type {keyof typeof PHASES} */ (current.phase)] ?? String(current.phase),
      tone: "busy",
      done: current.bytes_done ?? null,
      total: current.bytes_total ?? null,
      reason: "",
      whatToDo: "",
    });
  }
  for (const file of files?.files ?? []) {
    rows.set(file.path, {
      ...bare(file.path),
      ...ended(file.result),
      size: file.size ?? null,
      fetched: file.bytes_fetched ?? null,
      seconds: file.seconds ?? null,
      reason: file.reason ?? (file.older_version_of ? `from the object's version of ${file.older_version_of}` : ""),
      whatToDo: files.what_to_do?.[file.code] ?? "",
    });
  }
  for (const { path, result, said } of reported) { // the last look of a run may find what was right before to be changed
    const row = rows.get(path) ?? bare(path);
    const reason = result === "failed" ? said : "";
    rows.set(path, { ...row, ...ended(result), reason, whatToDo: reason && reason === row.reason ? row.whatToDo : "" });
  }
  return [...rows.values()].sort((one, other) =>
    ORDER[one.tone] - ORDER[other.tone] || (one.path < other.path ? -1 : 1));
}

/**
 * @param {string} result
 * @returns {Pick<FileRow, "word" | "tone" | "done" | "total">}
 */
function ended(result) {
  const word = RESULTS[/** @type {keyof typeof RESULTS} */ (result)] ?? String(result);
  return { word, tone: result === "failed" ? "bad" : "good", done: null, total: null };
}

/**
 * @param {string} path
 * @returns {FileRow}
 */
function bare(path) {
  return { path, word: "", tone: "idle", size: null, done: null, total: null, fetched: null, seconds: null, reason: "", whatToDo: "" };
}

/**
 * @param {FileRow} row
 * @param {string} wanted in its path, state or reason
 */
export function fileMatches(row, wanted) {
  const text = wanted.trim().toLowerCase();
  return !text || [row.path, row.word, row.reason].some((one) => one.toLowerCase().includes(text));
}
