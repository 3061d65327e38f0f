// The report of a restore as text: found in the log of its task, and read; and why a task failed. Pure functions.

/**
 * The report in the lines of a log; empty for none. The last one counts.
 * @param {string[]} lines
 */
export function reportIn(lines) {
  const head = "S3 Download Status Report\n";
  for (const line of [...lines].reverse()) {
    const begin = line.indexOf(head);
    if (begin >= 0 && /^Status report/.test(line)) return line.slice(begin);
  }
  return "";
}

/**
 * Why a task failed, by its log: our own line above Airflow's, else the exception; empty for neither.
 * @param {import("./airflow_api.mjs").LogRecord[]} records
 */
export function reasonIn(records) {
  const end = records.findLastIndex(({ event }) => event.startsWith("Task failed with exception"));
  if (end < 0) return "";
  const said = records.slice(0, end).findLast(({ level }) => level === "error")?.event;
  return said ?? String(records[end].error_detail?.[0]?.exc_value ?? "");
}

/**
 * What a report says of each file: for runs that have left no XCom `files`. Paths and reasons are escaped in it, so each
 * file is one line.
 * @param {string} report
 * @returns {{path: string, result: string, said: string}[]}
 */
export function filesOf(report) {
  const lines = report.split("\n");
  const begin = lines.indexOf("Files:");
  const end = lines.lastIndexOf("Summary:");
  if (begin < 0 || end < begin) return [];
  return lines.slice(begin + 2, end).flatMap((line) => {
    const match = /^(.*?): (OK|FAILURE) - (.*)$/.exec(line);
    return match ? [{ path: match[1], result: match[2] === "OK" ? resultOf(match[3]) : "failed", said: match[3] }] : [];
  });
}

/** @param {string} said after "OK - " */
function resultOf(said) {
  if (said.startsWith("Skipped")) return "skipped";
  if (said.startsWith("Self-healed")) return "healed";
  return said.startsWith("Backup verified") ? "verified" : "downloaded";
}
