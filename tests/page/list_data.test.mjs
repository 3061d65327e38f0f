import assert from "node:assert/strict";
import { test } from "node:test";

// What the modules look at when they are loaded, outside of a browser.
globalThis.window = /** @type {any} */ ({});
globalThis.window.parent = globalThis.window;
globalThis.document = /** @type {any} */ ({ baseURI: "http://airflow/s3-restores/" });
const { learn, ListData } = await import("../../airflow_src/plugins/s3_restores_page_files/list_data.mjs");
const { AirflowApi } = await import("../../airflow_src/plugins/s3_restores_page_files/airflow_api.mjs");
const { describe } = await import("../../airflow_src/plugins/s3_restores_page_files/restores.mjs");

const run = (change) => ({
  dag_id: "s3_downloader", dag_run_id: "manual__1", state: "running", run_after: "2026-01-01T00:00:00Z", start_date: null,
  end_date: null, triggering_user_name: "ada", note: null, conf: { raw_file_id: "sample.d" }, ...change,
});

/** An Airflow with these runs, all changed just now, that gives a hundred at once. @param {any[]} runs newest first */
function airflow(runs, seconds = 0) {
  const asked = [];
  globalThis.fetch = /** @type {any} */ (async (/** @type {URL} */ url, /** @type {any} */ { body }) => {
    asked.push(url);
    await new Promise((go) => setTimeout(go, seconds * 1000));
    const at = Number(url.searchParams.get("offset") ?? 0);
    let found = [];
    if (body) found = runs.filter((each) => each.run_after <= (JSON.parse(body).run_after_lte ?? "9"));
    else if (url.pathname.includes("/s3_downloader/")) found = runs.slice(at);
    const said = url.pathname.endsWith("taskInstances") ? { task_instances: [] } : { dag_runs: found.slice(0, 100) };
    return new Response(JSON.stringify(said), { headers: { date: new Date().toUTCString() } });
  });
  return { api: new AirflowApi(new URL("http://airflow/")), asked };
}

test("who looks away while hundreds end sees that all of them have", async () => {
  const runs = Array.from({ length: 250 }, (_, number) => run({ dag_run_id: `run${number}`, run_after: `2026-01-01T00:00:00.${999 - number}Z` }));
  const list = new ListData(airflow(runs).api);
  await list.refresh();
  await list.older();
  await list.older();
  assert.equal(list.runs.size, 250);
  runs.forEach((each, number) => (runs[number] = { ...each, state: "success" }));
  assert.equal(await list.refresh(), false);
  assert.ok([...list.runs.values()].every((each) => each.state === "success"));
});

test("what changes while a slow answer is made is asked for again", async () => {
  const { api } = airflow([run({})], 1.5);
  const list = new ListData(api);
  const begun = Date.now();
  await list.refresh();
  assert.ok(list.since <= begun - 5_000, `${list.since - begun} ms after it was asked`);
});

test("a restore that was refused, and then failed in its download, gives the reason of that", async () => {
  const told = { "validate_parameters return_value": { status: "REFUSED", reason: "Output location missing" } };
  const api = /** @type {any} */ ({ xcom: async (/** @type {any} */ _run, /** @type {string} */ task, /** @type {string} */ key) => told[`${task} ${key}`] });
  const known = {};
  await learn(api, run({ state: "failed", end_date: "1" }), known);
  assert.equal(describe(run({ state: "failed" }), known).word, "Refused");
  Object.assign(told, {
    "validate_parameters return_value": { raw_file_id: "sample.d" },
    "download_files return_value": { successful: 1, total_files: 3, failed: 2, first_failure: "a: Hash mismatch", report_path: "/o/P/r.txt" },
  });
  await learn(api, run({ state: "running" }), Object.assign(known, { tasks: [{ task_id: "download_files", state: "running" }] }));
  await learn(api, run({ state: "failed", end_date: "2" }), known);
  const shown = describe(run({ state: "failed" }), known);
  assert.deepEqual([shown.word, shown.reason], ["Failed", "a: Hash mismatch"]);
});

test("a search looks at parameters, run ids and who it was, in every spelling, and says how far back it went", async () => {
  const hits = Array.from({ length: 250 }, (_, number) => run({ dag_run_id: `hit${number}`, run_after: `2026-01-01T00:00:00.${999 - number}Z` }));
  const asked = [];
  globalThis.fetch = /** @type {any} */ (async (/** @type {URL} */ url, /** @type {any} */ { body }) => {
    const { conf_contains: text, run_after_lte: before = "9" } = body ? JSON.parse(body) : {};
    asked.push(text ?? decodeURIComponent(url.search));
    if (url.pathname.includes("/s3_batch_downloader/")) return new Response(JSON.stringify({ detail: "no such DAG" }), { status: 404 });
    const found = text === "m\\u00fcll" ? hits.filter((each) => each.run_after <= before) : [];
    return new Response(JSON.stringify({ dag_runs: found.slice(0, 100) }));
  });
  const list = new ListData(new AirflowApi(new URL("http://airflow/")));
  await list.search("müll");
  assert.deepEqual([list.runs.size, list.searched.before], [100, "2026-01-01T00:00:00.900Z"]);
  for (const part of ["müll", "m\\u00fcll"]) assert.ok(asked.includes(part), part);
  for (const part of ["run_id_pattern=müll", "triggering_user_name_pattern=müll"]) assert.ok(asked.some((each) => each.includes(part)), part);
  await list.search("müll");
  await list.search("müll");
  assert.deepEqual([list.runs.size, list.searched.before], [250, ""]);
});

test("who may see one of the two DAGs only is told of its changes", async () => {
  const { api } = airflow([run({})]);
  const list = new ListData(api);
  await list.refresh();
  const others = globalThis.fetch;
  globalThis.fetch = /** @type {any} */ (async (/** @type {URL} */ url, /** @type {any} */ options) =>
    url.pathname.includes("/s3_batch_downloader/") ? new Response("{}", { status: 403 }) : others(url, options));
  assert.equal(await list.refresh(), true);
  globalThis.fetch = /** @type {any} */ (async () => new Response("{}", { status: 403 }));
  await assert.rejects(list.refresh(), /You may not do this/);
});

test("a run that was deleted is shown no more, and one whose end was missed has ended", async () => {
  const { api } = airflow([run({ dag_run_id: "deleted" }), run({ dag_run_id: "missed" }), run({ dag_run_id: "goes on" })]);
  const list = new ListData(api);
  await list.refresh();
  globalThis.fetch = /** @type {any} */ (async (/** @type {URL} */ url) => {
    if (url.pathname.endsWith("/deleted")) return new Response(JSON.stringify({ detail: "no such run" }), { status: 404 });
    if (url.pathname.endsWith("/missed")) return new Response(JSON.stringify(run({ dag_run_id: "missed", state: "success", end_date: "1" })));
    const isAsked = url.searchParams.has("state") && url.pathname.includes("/s3_downloader/") && !url.pathname.endsWith("taskInstances");
    return new Response(JSON.stringify({ task_instances: [], dag_runs: isAsked ? [run({ dag_run_id: "goes on" })] : [] }));
  });
  await list.refresh();
  assert.equal(list.runs.size, 3); // not with each look
  list.lookedAnew -= 60_000;
  await list.refresh();
  assert.deepEqual([...list.runs.values()].map((each) => [each.dag_run_id, each.state]), [["missed", "success"], ["goes on", "running"]]);
});

test("one row that is refused keeps nobody from the others", async () => {
  const runs = Array.from({ length: 30 }, (_, number) => run({ dag_run_id: `run${number}`, state: "success", end_date: "1" }));
  const { api } = airflow(runs);
  const list = new ListData(api);
  await list.refresh();
  globalThis.fetch = /** @type {any} */ (async (/** @type {URL} */ url) =>
    /run[0-9][/]/.test(url.pathname) ? new Response("{}", { status: 500 }) : new Response(JSON.stringify({ value: { report_path: "/r" } })));
  await assert.rejects(list.learn(runs), /error of its own/);
  assert.equal(runs.filter((each) => list.of(each).result).length, 20);
});

test("an Airflow that gives fewer at once than are asked for has them all the same", async () => {
  const runs = Array.from({ length: 120 }, (_, number) => run({ dag_run_id: `run${number}`, run_after: `2026-01-01T00:00:00.${999 - number}Z`, conf: { batch: "b" } }));
  globalThis.fetch = /** @type {any} */ (async (/** @type {URL} */ url, /** @type {any} */ { body }) => {
    const { page_offset: offset, run_after_lte: before = "9" } = body ? JSON.parse(body) : {};
    const found = runs.filter((each) => each.run_after <= before);
    const at = offset ?? Number(url.searchParams.get("offset"));
    const isOther = !body && !url.pathname.includes("/s3_downloader/");
    return new Response(JSON.stringify({ dag_runs: isOther ? [] : found.slice(at, at + 50), total_entries: isOther ? 0 : found.length }));
  });
  const api = new AirflowApi(new URL("http://airflow/"));
  assert.equal((await api.runsOfBatch("b")).length, 120);
  assert.equal((await api.changedRuns(0)).length, 120);
  const list = new ListData(api);
  list.missing.add("b");
  list.addPage(await api.runs());
  for (let page = 0; list.hasOlder; page += 1) {
    assert.ok(page < 4);
    await list.older();
  }
  assert.equal(list.runs.size, 120);
});

test("a proxy's 404 is none of Airflow's", async () => {
  globalThis.fetch = /** @type {any} */ (async () => new Response("<html>404 page not found</html>", { status: 404 }));
  await assert.rejects(new AirflowApi(new URL("http://airflow/")).xcom(run({}), "download_files", "return_value"), /perhaps a proxy/);
});
