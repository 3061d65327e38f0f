import assert from "node:assert/strict";
import { test } from "node:test";
import { drawn, speedsOf } from "../../airflow_src/plugins/s3_restores_page_files/speed_plot.mjs";
import { fileMatches, fileRows } from "../../airflow_src/plugins/s3_restores_page_files/restore_files.mjs";
import { filesOf, reasonIn, reportIn } from "../../airflow_src/plugins/s3_restores_page_files/report_text.mjs";
import { describe, grouped, matches } from "../../airflow_src/plugins/s3_restores_page_files/restores.mjs";

const run = (change) => ({
  dag_id: "s3_downloader", dag_run_id: "manual__1", state: "running", run_after: "2026-01-01T00:00:00Z", start_date: null,
  end_date: null, triggering_user_name: "ada", note: null, conf: { raw_file_id: "sample.d" }, ...change,
});
const batch = (change) => run({ dag_id: "s3_batch_downloader", conf: { raw_file_ids: "a.raw\nb.raw\nc.raw" }, ...change });
const task = (task_id, state) => ({ dag_id: "s3_downloader", dag_run_id: "manual__1", task_id, state, try_number: 1, map_index: -1 });
const word = (one, known) => describe(one, known).word;

test("a restore that runs says in which stage it is", () => {
  const progress = { phase: "downloading", files_total: 12, files_done: 4, files_failed: 1, bytes_total: 200, bytes_done: 50, bytes_per_s: 7, eta_s: 20 };
  const shown = describe(run(), { tasks: [task("download_files", "running")], progress });
  assert.equal(shown.word, "Downloading");
  assert.deepEqual([shown.percent, shown.speed, shown.eta, shown.files], [25, 7, 20, "3 of 12"]);
  assert.equal(word(run({ state: "queued" }), {}), "Queued");
  assert.equal(word(run(), { tasks: [task("validate_parameters", "running")] }), "Checking");
  assert.equal(word(run(), { tasks: [task("download_files", "queued")] }), "Waiting for a free slot");
  assert.equal(word(run(), { tasks: [task("download_files", "up_for_retry")] }), "Waiting to try again");
  assert.equal(word(run(), { tasks: [task("download_files", "running")] }), "Starting");
  assert.equal(word(run(), { tasks: [task("download_files", "running")], progress: { ...progress, phase: "verifying" } }), "Verifying");
  const waiting = describe(run(), { tasks: [task("validate_parameters", "up_for_reschedule")], waiting: { reason: "4 objects" } });
  assert.deepEqual([waiting.word, waiting.reason], ["Waiting for an archive", "4 objects"]);
});

test("a restore that has ended says how, and what to do", () => {
  const good = describe(run({ state: "success" }), { result: { successful: 3, total_files: 3, report_path: "/data/PRID001/r.txt" } });
  assert.deepEqual([good.word, good.percent, good.files, good.project], ["Restored", 100, "3 of 3", "PRID001"]);
  assert.equal(word(run({ state: "success", conf: { raw_file_id: "x", verify_only: true } }), { result: { total_files: 1 } }), "Verified");
  const bad = describe(run({ state: "failed" }), { result: { successful: 2, total_files: 3, first_failure: "a: Hash mismatch", what_to_do: "Ask." } });
  assert.deepEqual([bad.word, bad.tone, bad.percent, bad.reason, bad.whatToDo], ["Failed", "bad", 66, "a: Hash mismatch", "Ask."]);
  const refused = describe(run({ state: "failed" }), { checked: { status: "REFUSED", reason: "RawFile not found", what_to_do: "Check." } });
  assert.deepEqual([refused.word, refused.reason, refused.whatToDo], ["Refused", "RawFile not found", "Check."]);
  assert.equal(word(run({ state: "failed", note: "Stopped on the page" }), {}), "Stopped");
});

test("a batch is as far as its bytes, else as its runs", () => {
  const progress = { runs_total: 30, runs_ended: 12, bytes_total: 1000, bytes_done: 200, bytes_per_s: 5, eta_s: 9 };
  const shown = describe(batch(), { progress });
  assert.deepEqual([shown.title, shown.percent, shown.files, shown.speed], ["Batch of 30 raw files", 20, "12 of 30 ended", 5]);
  assert.equal(describe(batch(), { progress: { ...progress, bytes_total: 0 } }).percent, 40);
  assert.equal(describe(batch(), {}).title, "Batch of 3 raw files");
  const children = [run({ state: "success" }), run({ state: "running" })];
  assert.equal(describe(batch(), { children }).percent, 50);
  const ended = describe(batch({ state: "failed" }), { result: { total: 3, successful: 2, failed: 1 } });
  assert.deepEqual([ended.reason, ended.files, ended.percent], ["1 of 3 raw files failed", "2 of 3", 66]);
  assert.equal(word(batch({ state: "success", conf: { dry_run: true } }), { result: { total: 3 } }), "Looked at");
});

test("nothing is green before its own task was asked", () => {
  for (const ended of [run({ state: "success" }), batch({ state: "success" })]) {
    const shown = describe(ended, {});
    assert.deepEqual([shown.word, shown.tone, shown.percent], ["Ended", "idle", 0]);
    for (const state of ["failed", "done"]) {
      assert.ok(matches({ run: ended, children: [] }, (each) => describe(each, {}), { text: "", state }), "it is shown, and so asked for");
    }
    const known = { endedAt: "1" };
    assert.ok(!matches({ run: ended, children: [] }, (each) => describe(each, known), { text: "", state: "done" }));
  }
});

test("runs of a batch stand below it, all newest first", () => {
  const runs = [
    run({ dag_run_id: "old", run_after: "2026-01-01T00:00:00Z" }),
    batch({ dag_run_id: "b", run_after: "2026-01-02T00:00:00Z" }),
    run({ dag_run_id: "b2", conf: { raw_file_id: "2", batch: "b" }, run_after: "2026-01-02T00:00:02Z" }),
    run({ dag_run_id: "b1", conf: { raw_file_id: "1", batch: "b" }, run_after: "2026-01-02T00:00:03Z" }),
    run({ dag_run_id: "new", run_after: "2026-01-03T00:00:00Z" }),
    run({ dag_run_id: "lost", conf: { raw_file_id: "3", batch: "gone" }, run_after: "2025-01-01T00:00:00Z" }),
  ];
  const groups = grouped(runs);
  assert.deepEqual(groups.map((group) => group.run.dag_run_id), ["new", "b", "old", "lost"]);
  assert.deepEqual(groups[1].children.map((child) => child.dag_run_id), ["b1", "b2"]);
});

test("a filter looks at id, project, person and state, and into batches", () => {
  const group = { run: batch({ state: "failed" }), children: [run({ conf: { raw_file_id: "20250115_x.RAW" } })] };
  const found = (filter) => matches(group, (each) => describe(each, {}), { text: "", state: "", ...filter });
  for (const text of ["", "20250115", "x.raw", "ADA", "b.raw"]) assert.ok(found({ text }), text);
  assert.ok(!found({ text: "nobody" }));
  assert.ok(found({ state: "failed" }) && !found({ state: "running" }) && !found({ state: "done" }));
});

test("files: failed first, then in work, then to come, then right; each with what is known of it", () => {
  const plan = { what_to_do: { gone: "Ask the uploader" }, files: [
    { path: "d", action: "download", size: 5 }, { path: "c", action: "trouble", size: 1, code: "gone", reason: "not in S3" },
    { path: "b", action: "there", size: 2 }, { path: "a", action: "download", size: 3 }] };
  const progress = { current: [{ path: "a", phase: "downloading", bytes_done: 1, bytes_total: 3 }] };
  const running = fileRows({ plan, progress });
  assert.deepEqual(running.map((row) => [row.path, row.word, row.tone]), [
    ["c", "Would fail", "bad"], ["a", "Downloading", "busy"], ["b", "Planned: verify what is on disk", "idle"], ["d", "Planned: fetch", "idle"]]);
  assert.equal(running[0].whatToDo, "Ask the uploader");
  const files = { what_to_do: { bad: "Upload it again" }, files: [
    { path: "a", result: "downloaded", size: 3, bytes_fetched: 3, seconds: 1 }, { path: "d", result: "failed", size: 5, code: "bad", reason: "Hash mismatch" }] };
  const ended = fileRows({ plan, files, hasEnded: true });
  assert.equal(ended.find((row) => row.path === "c").word, "Not attempted");
  assert.deepEqual(ended.find((row) => row.path === "d"), { path: "d", word: "Failed", tone: "bad", size: 5, done: null, total: null,
    fetched: null, seconds: null, reason: "Hash mismatch", whatToDo: "Upload it again" });
  assert.equal(ended.find((row) => row.path === "a").word, "Restored");
  assert.ok(fileMatches(ended[0], "HASH") && !fileMatches(ended[0], "nothing"));
});

const REPORT = `S3 Download Status Report
=========================
Raw File ID: x.d

Files:
------
x.d/a: OK - Skipped (already exists)
x.d/b: OK - Self-healed (hash mismatch detected, re-downloaded) (1.0 MB in 0.1s)
x.d/c: FAILURE - Hash mismatch after download: expected 0, got 1

Summary:
--------
Total files: 3
`;

test("the report is found in a log, and read", () => {
  assert.equal(reportIn(["S3 Download Status Report\nof somebody else", `Status report: /a/b.txt\n${REPORT}`, "Done"]), REPORT);
  assert.equal(reportIn([`Status report could not be written to /a (No space). It says:\n${REPORT}`]), REPORT);
  assert.equal(reportIn(["nothing"]), "");
  assert.deepEqual(filesOf(REPORT).map(({ path, result }) => [path, result]), [["x.d/a", "skipped"], ["x.d/b", "healed"], ["x.d/c", "failed"]]);
  assert.equal(filesOf(REPORT)[2].said, "Hash mismatch after download: expected 0, got 1");
  assert.deepEqual(filesOf("cut off"), []);
});

test("the plot says in words what it draws", () => {
  const { line, said } = drawn([{ at: 0, value: 0 }, { at: 30000, value: 2 * 1024 ** 2 }, { at: 60000, value: 1024 ** 2 }]);
  assert.equal(said, "The last 1 min 0 s: now 1.0 MB/s, at most 2.0 MB/s");
  assert.equal(line, "0.0,80.0 300.0,4.0 600.0,42.0");
});

test("the plot is whole for whoever opens the page late: the speeds between the points that the task tells", () => {
  assert.deepEqual(speedsOf([[0, 0], [2, 100], [4, 50], [4, 60], [10, 360]]), [
    { at: 2000, value: 50 }, { at: 4000, value: 0 }, { at: 10000, value: 50 },
  ]);
  for (const none of [undefined, null, "x", [], [[0, 0]], [[0, 0], ["1", 2], null, [NaN, 3]]]) assert.deepEqual(speedsOf(none), []);
});

test("a run that Airflow calls successful is a restore only where its last task says so", () => {
  const skipped = describe(run({ state: "success" }), { endedAt: "2026-01-01T00:00:00Z", checked: { raw_file_id: "sample.d" } });
  assert.deepEqual([skipped.word, skipped.tone, skipped.percent], ["Without a result", "bad", 0]);
  assert.match(skipped.reason, /left no result/);
  const note = "Stopped on the page S3 restores";
  const stopped = describe(run({ state: "success", note }), {});
  assert.deepEqual([stopped.word, stopped.tone, stopped.reason], ["Stopped", "bad", note]);
  const done = { endedAt: "2026-01-01T00:00:00Z", result: { successful: 3, total_files: 3 } };
  assert.equal(word(run({ state: "success", note }), done), "Restored");
  const half = { progress: { runs_total: 30, runs_ended: 4, bytes_total: 100, bytes_done: 7 } };
  const whole = describe(batch({ state: "success", note }), half);
  assert.deepEqual([whole.word, whole.tone, whole.percent], ["Stopped", "bad", 7]);
  assert.equal(word(batch({ state: "success" }), { ...half, endedAt: "2026-01-01T00:00:00Z" }), "Without a result");
  assert.equal(word(batch({ state: "success" }), { endedAt: "x", result: { total: 3, successful: 3, failed: 0 } }), "Restored");
});

test("one that was marked as successful by hand is none that is right: its last task has said what is not", () => {
  const result = { status: "PARTIAL FAILURE", successful: 1, total_files: 3, failed: 2, first_failure: "a: Hash mismatch", what_to_do: "Ask." };
  const one = describe(run({ state: "success" }), { endedAt: "x", result });
  assert.deepEqual([one.word, one.tone, one.percent, one.files, one.reason, one.whatToDo], ["Failed", "bad", 33, "1 of 3", "a: Hash mismatch", "Ask."]);
  const many = describe(batch({ state: "success" }), { endedAt: "x", result: { total: 3, successful: 1, failed: 2 } });
  assert.deepEqual([many.word, many.tone, many.reason], ["Failed", "bad", "2 of 3 raw files failed"]);
});

test("one that has failed without a result says so, or what its log says", () => {
  for (const failed of [run({ state: "failed" }), batch({ state: "failed" })]) {
    const killed = describe(failed, { endedAt: "x" });
    assert.match(killed.reason, /without saying why/);
    assert.match(killed.whatToDo, /log/);
    assert.equal(describe(failed, { endedAt: "x", why: "MongoDB cannot be reached" }).reason, "MongoDB cannot be reached");
    assert.equal(describe(failed, {}).reason, "", "not asked for yet");
  }
});

test("the reason in a log is our line above Airflow's, else the exception", () => {
  const end = { event: "Task failed with exception", level: "error", error_detail: [{ exc_value: "Project 'P' has no raw file" }] };
  const before = [{ event: "Worker startup parse complete", level: "info" }];
  const after = [{ event: "Task s3_batch_downloader.list_raw_files failed (run x): AirflowFailException: …", level: "error" }];
  assert.equal(reasonIn([...before, end, ...after]), "Project 'P' has no raw file");
  assert.equal(reasonIn([...before, { event: "MongoDB cannot be reached", level: "error" }, end, ...after]), "MongoDB cannot be reached");
  assert.equal(reasonIn([...before, ...after]), "");
  assert.equal(reasonIn([]), "");
});

test("the id of a batch's restore is shown as it is, whatever characters it has", () => {
  assert.equal(describe(run({ conf: { raw_file_id: "(QC) sample.raw", batch: "b" } }), {}).title, "(QC) sample.raw");
  assert.equal(describe(run({ conf: { raw_file_id: "/fs/pool/sample.raw" } }), {}).title, "sample.raw");
});

test("of a run that was ended before it could tell of its files, the report counts, and what nobody knows is not told", () => {
  const plan = { files: ["a", "b", "c"].map((path) => ({ path, action: "download", size: 1 })) };
  const files = { complete: false, files: [{ path: "a", result: "downloaded", size: 1 }, { path: "b", result: "downloaded", size: 1 }] };
  const reported = [{ path: "a", result: "failed", said: "Changed meanwhile" }, { path: "b", result: "downloaded", said: "Downloaded" }];
  const words = (told) => fileRows({ plan, files, hasEnded: true, ...told }).map((row) => [row.path, row.word, row.reason]);
  assert.deepEqual(words({ reported }), [["a", "Failed", "Changed meanwhile"], ["c", "Not known", ""], ["b", "Restored", ""]]);
  assert.deepEqual(words({}), [["c", "Not known", ""], ["a", "Restored", ""], ["b", "Restored", ""]]);
});

test("a list with many batches of a thousand pasted ids does not read them each time", () => {
  const ids = Array.from({ length: 1000 }, (_, number) => `20250117_sample_${number}.raw`).join("\n");
  const many = batch({ conf: { raw_file_ids: ids } });
  const begun = performance.now();
  for (let round = 0; round < 1000; round += 1) assert.equal(describe(many, {}).title, "Batch of 1,000 raw files");
  assert.ok(performance.now() - begun < 1000); // measured: 5 ms; read each time: 4 s
});
