// Starts the page: which of its views is asked for, by whom.

import { AirflowApi, ApiError, BATCH, RESTORE } from "./airflow_api.mjs";
import { BatchPage } from "./batch_page.mjs";
import { element } from "./dom.mjs";
import { airflowRoot, followColours } from "./frame.mjs";
import { ListPage } from "./list_page.mjs";
import { showTrouble } from "./poller.mjs";
import { RestorePage } from "./restore_page.mjs";
import { plain } from "./words.mjs";

const RETRY_MS = 10_000;

async function start() {
  const place = /** @type {Element} */ (document.querySelector("#content"));
  const asked = new URLSearchParams(location.search);
  const api = new AirflowApi(airflowRoot);
  let mayChange;
  try {
    mayChange = await api.mayChange();
  } catch (error) {
    const passes = !(error instanceof ApiError) || error.status === 0 || error.status >= 500;
    showTrouble(/** @type {Error} */ (error), passes ? `Trying again in ${RETRY_MS / 1000} s.` : "", start);
    place.replaceChildren(element("h1", {}, "S3 restores"));
    if (passes) setTimeout(start, RETRY_MS);
    return;
  }
  const dag = asked.get("dag") ?? RESTORE;
  const run = asked.get("run");
  if (run && ![RESTORE, BATCH].includes(dag)) { // its buttons would start and stop what is no restore
    showTrouble(new Error(`This page shows runs of ${RESTORE} and ${BATCH} only, not of ${plain(dag)}`));
    return place.replaceChildren(element("h1", {}, "S3 restores"), element("p", {}, element("a", { href: "./" }, "All restores")));
  }
  if (!run) new ListPage(api, place, mayChange, asked.get("restore") ?? "");
  else if (dag === BATCH) new BatchPage(api, place, mayChange, dag, run);
  else new RestorePage(api, place, mayChange, dag, run);
}

followColours();
start();
