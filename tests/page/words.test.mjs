import assert from "node:assert/strict";
import { test } from "node:test";
import { counted, duration, percent, plain, secondsBetween, size, speed, when } from "../../airflow_src/plugins/s3_restores_page_files/words.mjs";

test("sizes are those of the report: 1 MB is 1024² bytes", () => {
  assert.equal(size(0), "0 B");
  assert.equal(size(1023), "1023 B");
  assert.equal(size(1024 ** 2), "1.0 MB");
  assert.equal(size(1536 * 1024 ** 2), "1.5 GB");
  assert.equal(size(250 * 1024 ** 3), "250 GB");
  for (const unknown of [null, undefined, NaN, Infinity, "12"]) assert.equal(size(unknown), "–");
});

test("speeds and durations", () => {
  assert.equal(speed(104857600), "100.0 MB/s");
  assert.equal(speed(null), "–");
  assert.equal(duration(0.44), "0.4 s");
  assert.equal(duration(59.6), "1 min 0 s");
  assert.equal(duration(3725), "1 h 2 min");
  assert.equal(duration(90000), "1 d 1 h");
  for (const unknown of [null, undefined, -1, NaN]) assert.equal(duration(unknown), "–");
});

test("a bar is full only when all is done", () => {
  assert.equal(percent(999, 1000), 99);
  assert.equal(percent(9999, 10000), 99);
  assert.equal(percent(1000, 1000), 100);
  assert.equal(percent(1, 1e9), 0);
  assert.equal(percent(5, 0), 0);
  assert.equal(percent(-5, 10), 0);
});

test("moments", () => {
  const now = new Date(2026, 10, 26, 12, 0, 0);
  assert.equal(when(new Date(2026, 10, 26, 9, 5, 7).toISOString(), now), "09:05:07");
  assert.equal(when(new Date(2026, 0, 2, 9, 5, 7).toISOString(), now), "2026-01-02 09:05");
  for (const unknown of [null, undefined, "", "soon"]) assert.equal(when(unknown, now), "–");
  assert.equal(secondsBetween("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"), 60);
  assert.equal(secondsBetween(null, null), null);
  assert.equal(counted(1, "file"), "1 file");
  assert.equal(counted(5000, "file"), "5,000 files");
});

test("what would hide or turn text is shown as what it is", () => {
  assert.equal(plain("a\u202egpj.exe"), "a\\u202egpj.exe");
  assert.equal(plain("line\nbreak\x1b[31m"), "line\\x0abreak\\x1b[31m");
  assert.equal(plain("zero\u200bwidth\ufeff"), "zero\\u200bwidth\\ufeff");
  assert.equal(plain("half \ud800 of"), "half \\ud800 of");
  assert.equal(plain("<img src=x onerror=alert(1)> \\u202e Ü 日本 🧪"), "<img src=x onerror=alert(1)> \\u202e Ü 日本 🧪");
  assert.equal(plain(null), "");
});
