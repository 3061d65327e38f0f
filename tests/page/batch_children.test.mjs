import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.window = /** @type {any} */ ({});
globalThis.window.parent = globalThis.window;
globalThis.document = /** @type {any} */ ({ baseURI: "http://airflow/s3-restores/" });
const { BatchChildren } = await import("../../airflow_src/plugins/s3_restores_page_files/batch_children.mjs");
const { AirflowApi } = await import("../../airflow_src/plugins/s3_restores_page_files/airflow_api.mjs");

const BATCH = "batch+1";
const child = (number, state) => ({
  dag_id: "s3_downloader", dag_run_id: `run${number}`, state, run_after: "2026-01-01T00:00:00Z", start_date: null,
  end_date: state === "queued" || state === "running" ? null : `end of ${number}`, triggering_user_name: "ada", note: null,
  conf: { raw_file_id: `${number}.d`, batch: BATCH },
});

/** An Airflow that counts its requests; `changed` are given to who asks for what has changed. */
function airflow(runs, changed) {
  const asked = [];
  globalThis.fetch = /** @type {any} */ (async (/** @type {URL} */ url, /** @type {any} */ { body }) => {
    asked.push(`${url.pathname}${url.search}`);
    let said = {};
    if (url.pathname.includes("/xcomEntries/")) said = { value: { status: "SUCCESS", report_path: "/r" } };
    else if (url.pathname.endsWith("/taskInstances")) said = { task_instances: [] };
    else if (body) said = { dag_runs: runs.slice(JSON.parse(body).page_offset).slice(0, 100) };
    else said = { dag_runs: url.searchParams.get("conf_contains") === BATCH ? changed.splice(0) : assert.fail(url.href) };
    return new Response(JSON.stringify(said), { headers: { date: new Date().toUTCString() } });
  });
  return { api: new AirflowApi(new URL("http://airflow/")), asked };
}

test("a batch of a thousand is listed once, and then costs a request for what has changed", async () => {
  const runs = Array.from({ length: 1024 }, (_, number) => child(number, number ? "queued" : "running"));
  const changed = /** @type {any[]} */ ([]);
  const { api, asked } = airflow(runs, changed);
  const children = new BatchChildren(api, BATCH);
  await children.refresh(new Set());
  assert.equal(children.runs.size, 1024);
  for (let round = 0; round < 5; round += 1) {
    asked.length = 0;
    await children.refresh(new Set());
    assert.ok(asked.length <= 4, asked.join("\n"));
  }
  changed.push(child(0, "success"), child(1, "running"), { ...child(2, "failed"), conf: { batch: `${BATCH}1` } });
  await children.refresh(new Set());
  assert.deepEqual([0, 1, 2].map((number) => children.runs.get(`run${number}`)?.state), ["success", "running", "queued"]);
  assert.equal(children.known(child(0, "success")).result?.status, "SUCCESS");
});

test("who opens a batch in which hundreds have ended asks for their results bit by bit, and then no more", async () => {
  const runs = Array.from({ length: 300 }, (_, number) => child(number, "success"));
  const { api, asked } = airflow(runs, []);
  const children = new BatchChildren(api, BATCH);
  let rounds = 0;
  do {
    asked.length = 0;
    await children.refresh(new Set());
    assert.ok(asked.length <= 50, `${asked.length} requests`);
    rounds += 1;
  } while (children.isMoreToLearn);
  assert.ok(rounds > 3);
  assert.ok(runs.every((run) => children.known(run).result?.status === "SUCCESS"));
  asked.length = 0;
  await children.refresh(new Set());
  assert.equal(asked.length, 1);
});

test("what the summary tells is not asked for", async () => {
  const { api, asked } = airflow([child(1, "success"), child(2, "failed")], []);
  await new BatchChildren(api, BATCH).refresh(new Set(["run1", "run2"]));
  assert.equal(asked.length, 1);
});
