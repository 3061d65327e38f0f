// Starting again and stopping.

import { ApiError } from "./airflow_api.mjs";
import { element, say } from "./dom.mjs";
import { goTo, pageOf } from "./frame.mjs";
import { forEachOf, showRefusal } from "./poller.mjs";
import { asked } from "./questions.mjs";
import { whatWasStarted } from "./restore_requests.mjs";
import { isActive, isBatch } from "./restores.mjs";
import { counted } from "./words.mjs";

/**
 * @typedef {import("./airflow_api.mjs").AirflowApi} AirflowApi
 * @typedef {import("./airflow_api.mjs").Run} Run
 * @typedef {import("./restore_requests.mjs").Request} Request
 */

// A task of the batch that is just ending may start one more run until Airflow has ended it.
const QUIET_MS = 15_000;
const PAUSE_MS = 2_500;
const LONGEST_MS = 300_000;
const NOTE = "Stopped on the page S3 restores";

/**
 * Stop a restore, or a batch with all that it has started. What does not work at once is tried again.
 * @param {AirflowApi} api
 * @param {Run} run
 * @returns {Promise<number>} how many runs were stopped
 */
export async function stop(api, run) {
  let stopped = 0;
  let lastGood = Date.now();
  /** @type {Error | null} */
  let failure = null;
  const tryAgain = (/** @type {unknown} */ error) => {
    if (!(error instanceof ApiError) || [401, 403].includes(error.status) || !isBatch(run)) throw error;
    failure = error;
  };
  const end = async (/** @type {Run} */ each) => {
    try {
      // Airflow would call a run failed, too, that was restored since it was asked for.
      if (!isActive(await api.run(each.dag_id, each.dag_run_id))) return true;
      await api.stop(each, NOTE);
      stopped += 1;
      lastGood = Date.now();
      return true;
    } catch (error) {
      tryAgain(error);
      return false;
    }
  };
  let isEnded = !isActive(run) || (await end(run)); // the batch first, so that it starts nothing more
  if (!isBatch(run)) return stopped;
  for (let quietSince = Date.now(); Date.now() - quietSince < QUIET_MS; await new Promise((go) => setTimeout(go, PAUSE_MS))) {
    const active = await api.runsOfBatch(run.dag_run_id, { active: true }).catch(tryAgain);
    if (active && !active.length && isEnded) {
      failure = null;
      continue;
    }
    if (failure && Date.now() - lastGood > LONGEST_MS) throw failure;
    isEnded ||= await end(run);
    await forEachOf(active ?? [], async (each) => void (await end(each)), 1); // several at once lock one another out where Airflow's database is SQLite
    quietSince = Date.now(); // after that, however long it took: those that could not be stopped are tried again
  }
  return stopped;
}

/**
 * A button that asks, stops, and has the page refreshed.
 * @param {AirflowApi} api
 * @param {() => Run} run
 * @param {() => void} onStopped
 */
export function stopButton(api, run, onStopped) {
  const button = element("button", { type: "button" }, "Stop");
  button.addEventListener("click", async () => {
    const text = isBatch(run())
      ? "All its restores that have not ended are ended too. Each that has begun writes its report; what was fetched is kept, and a later restore goes on from there."
      : "It writes its report. What was fetched is kept, and a later restore goes on from there.";
    if (!(await asked(isBatch(run()) ? "Stop the whole batch?" : "Stop this restore?", text, "Stop it"))) return;
    button.disabled = true;
    button.textContent = "Stopping …";
    showRefusal(null);
    try {
      say(`${counted(await stop(api, run()), "run")} stopped`);
    } catch (error) {
      showRefusal(/** @type {Error} */ (error), "Not all of it was stopped.");
    }
    button.disabled = false;
    button.textContent = "Stop";
    onStopped();
  });
  return button;
}

/**
 * A button that starts something at once, and leads to its page.
 * @param {AirflowApi} api
 * @param {string} name
 * @param {() => Request} request
 * @param {boolean} [isMain] whether it is what one is likely to want
 */
export function startButton(api, name, request, isMain = true) {
  const button = element("button", { type: "button", class: isMain ? "main" : undefined }, name);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const { dag, conf } = request();
      const run = await api.trigger(dag, conf);
      goTo(pageOf(run.dag_id, run.dag_run_id), () => (button.disabled = false));
    } catch (error) {
      showRefusal(/** @type {Error} */ (error), whatWasStarted(error));
      button.disabled = false;
    }
  });
  return button;
}
