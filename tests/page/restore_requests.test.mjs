import assert from "node:assert/strict";
import { test } from "node:test";
import { again, failedAgain, forReal, requestOf, understood } from "../../airflow_src/plugins/s3_restores_page_files/restore_requests.mjs";

const form = (change) => ({ ids: "", project: "", include: "", mode: "restore", ...change });

test("one raw file gets a run of its own, which reads what was typed: it knows which ids there are", () => {
  const sent = (ids) => requestOf(form({ ids }));
  for (const typed of ["s3://bucket/2025/sample.d/", "(QC) sample.raw", "my sample.raw"]) {
    assert.deepEqual(sent(` ${typed} \n`), { dag: "s3_downloader", conf: { raw_file_id: typed } });
  }
  assert.equal(sent("https://s3.example.org/b/sample.raw?X-Amz-Signature=1")?.conf.raw_file_id, "https://s3.example.org/b/sample.raw");
  assert.deepEqual(requestOf(form({ ids: "a.raw\na.raw", include: " *.tdf ", mode: "verify_only" })),
    { dag: "s3_downloader", conf: { raw_file_id: "a.raw", include: "*.tdf", verify_only: true } });
});

test("many, a project and a dry run are for the batch, which gets the text: it knows which ids there are", () => {
  assert.deepEqual(requestOf(form({ ids: "a.raw, b.raw\n\n  my sample.raw" })),
    { dag: "s3_batch_downloader", conf: { raw_file_ids: "a.raw, b.raw\nmy sample.raw" } });
  assert.deepEqual(requestOf(form({ project: " PRID001 ", mode: "verify_only" })),
    { dag: "s3_batch_downloader", conf: { project_id: "PRID001", verify_only: true } });
  assert.deepEqual(requestOf(form({ ids: "a.raw", mode: "dry_run" })),
    { dag: "s3_batch_downloader", conf: { raw_file_ids: "a.raw", dry_run: true } });
});

test("nothing asked for is no request", () => {
  for (const ids of ["", " \n\t", ",;", '""', "\ufeff"]) assert.equal(requestOf(form({ ids })), null);
});

test("what was understood is said", () => {
  assert.deepEqual(understood(form({})), { said: "Nothing yet", wrong: "" });
  assert.equal(understood(form({ ids: "a.raw b.raw a.raw", include: "*.d" })).said, "2 raw files (1 given more than once), only files like *.d");
  assert.equal(understood(form({ ids: "a.raw", project: "P" })).said, "1 raw file and all raw files of project P that have a backup");
  assert.match(understood(form({ ids: "ab" })).wrong, /too short/);
  const many = Array.from({ length: 1025 }, (_, number) => `file${number}.raw`).join("\n");
  assert.match(understood(form({ ids: many })).wrong, /at most 1024/);
});

test("again is the same, as a run of its own", () => {
  const run = { dag_id: "s3_downloader", conf: { raw_file_id: "a.raw", include: "*.d", batch: "b1" } };
  assert.deepEqual(again(run), { dag: "s3_downloader", conf: { raw_file_id: "a.raw", include: "*.d" } });
  assert.deepEqual(forReal({ dag_id: "s3_batch_downloader", conf: { project_id: "P", dry_run: true } }),
    { dag: "s3_batch_downloader", conf: { project_id: "P" } });
  assert.deepEqual(failedAgain({ conf: { include: "*.d", verify_only: true } }, ["my, sample.raw", "b.raw"]),
    { dag: "s3_batch_downloader", conf: { raw_file_ids: ["my, sample.raw", "b.raw"], include: "*.d", verify_only: true } });
  assert.deepEqual(failedAgain({ conf: {} }, ["a.raw"]), { dag: "s3_downloader", conf: { raw_file_id: "a.raw" } });
});
