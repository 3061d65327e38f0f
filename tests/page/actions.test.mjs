import assert from "node:assert/strict";
import { mock, test } from "node:test";

// What the modules look at when they are loaded, outside of a browser.
globalThis.window = /** @type {any} */ ({});
globalThis.window.parent = globalThis.window;
globalThis.document = /** @type {any} */ ({ baseURI: "http://airflow/s3-restores/" });
const { stop } = await import("../../airflow_src/plugins/s3_restores_page_files/actions.mjs");
const { ApiError } = await import("../../airflow_src/plugins/s3_restores_page_files/airflow_api.mjs");

const batch = { dag_id: "s3_batch_downloader", dag_run_id: "manual__1", state: "running" };

/** An Airflow with so many runs of a batch, which takes its time and refuses the first request to stop each of some. */
function airflow(count, secondsEach, refusedOnce) {
  const active = new Set(Array.from({ length: count }, (_, number) => `batch__${number}`));
  const refused = new Set();
  let isBatchStopped = false;
  return {
    active,
    async stop({ dag_run_id: runId }) {
      await new Promise((go) => setTimeout(go, secondsEach * 1000));
      if (refusedOnce.includes(runId) && !refused.has(runId)) {
        refused.add(runId);
        throw new ApiError(500, "database is locked");
      }
      active.delete(runId);
      isBatchStopped ||= runId === batch.dag_run_id;
    },
    async run(_dag, runId) {
      const isActive = runId === batch.dag_run_id ? !isBatchStopped : active.has(runId);
      return { ...batch, dag_run_id: runId, state: isActive ? "running" : "failed" };
    },
    async runsOfBatch() {
      return [...active].map((runId) => ({ dag_id: "s3_downloader", dag_run_id: runId, state: "running" }));
    },
  };
}

/** Let time pass until a promise is settled. */
async function inNoTime(promise) {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  try {
    let settled = false;
    const done = promise().finally(() => (settled = true));
    for (let step = 0; !settled && step < 5000; step += 1) {
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
      mock.timers.tick(500);
    }
    return await done;
  } finally {
    mock.timers.reset();
  }
}

test("stopping a batch ends all of it, however long a round of requests takes, and what was refused is tried again", async () => {
  for (const secondsEach of [0.1, 2, 30]) {
    const api = airflow(30, secondsEach, ["batch__3", "batch__17"]);
    assert.equal(await inNoTime(() => stop(/** @type {any} */ (api), /** @type {any} */ (batch))), 31, `${secondsEach} s each`);
    assert.deepEqual([...api.active], []);
  }
});

test("what cannot be stopped is said in the end", async () => {
  const api = airflow(2, 1, []);
  api.stop = async ({ dag_run_id: runId }) => {
    if (runId === "batch__1") throw new ApiError(500, "Airflow has an error of its own (500)");
    api.active.delete(runId);
  };
  await assert.rejects(inNoTime(() => stop(/** @type {any} */ (api), /** @type {any} */ (batch))), /error of its own/);
});

test("a batch that was not stopped at once is tried again, also when nothing of it runs", async () => {
  for (const count of [0, 3]) {
    const api = airflow(count, 0.1, [batch.dag_run_id]);
    assert.equal(await inNoTime(() => stop(/** @type {any} */ (api), /** @type {any} */ (batch))), count + 1);
    assert.equal((await api.run(batch.dag_id, batch.dag_run_id)).state, "failed");
  }
});

test("what was restored since it was asked for stays so: it is not called failed", async () => {
  const api = airflow(3, 0.1, []);
  const listed = await api.runsOfBatch();
  api.runsOfBatch = async () => (api.active.size ? listed : []); // as it was when it was asked for
  api.active.delete("batch__1");
  const restored = { ...batch, dag_id: "s3_downloader", dag_run_id: "batch__1" };
  assert.equal(await stop(/** @type {any} */ (api), /** @type {any} */ (restored)), 0);
  assert.equal(await inNoTime(() => stop(/** @type {any} */ (api), /** @type {any} */ (batch))), 3);
});

test("a proxy that refuses one look while a batch is stopped does not end that", async () => {
  const api = airflow(5, 0.1, []);
  const { runsOfBatch } = api;
  let looks = 0;
  api.runsOfBatch = async () => {
    looks += 1;
    if (looks < 3) throw new ApiError(502, "Airflow has an error of its own (502)");
    return runsOfBatch();
  };
  assert.equal(await inNoTime(() => stop(/** @type {any} */ (api), /** @type {any} */ (batch))), 6);
});
