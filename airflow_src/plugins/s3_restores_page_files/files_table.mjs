// The table of the files of one restore. Of thousands, a few hundred are put on the page at a time.

import { Bar, element, setChildren, setHidden, setText } from "./dom.mjs";
import { fileMatches } from "./restore_files.mjs";
import { Badge, tableOf } from "./restore_row.mjs";
import { counted, duration, percent, plain, size } from "./words.mjs";

/** @typedef {import("./restore_files.mjs").FileRow} FileRow */

const AT_ONCE = 200;
const COLUMNS = ["File", "Result", "Size", "Fetched", "Took"];

class Row {
  /** @param {string} path */
  constructor(path) {
    this.reason = element("span", { class: "reason" });
    this.whatToDo = element("span", { class: "to-do" });
    this.badge = new Badge();
    this.bar = new Bar(`Progress of ${plain(path)}`);
    this.texts = COLUMNS.slice(2).map(() => element("td", { class: "number", role: "cell" }));
    this.node = element("tr", { role: "row" },
      element("th", { scope: "row", role: "rowheader" }, element("bdi", { class: "name" }, plain(path)), this.reason, this.whatToDo),
      element("td", { role: "cell" }, this.badge.node, this.bar.node), ...this.texts);
    [...this.node.cells].forEach((cell, column) => cell.setAttribute("data-column", COLUMNS[column]));
    this.shown = "";
  }

  /** @param {FileRow} file */
  update(file) {
    const shown = JSON.stringify(file);
    if (shown === this.shown) return;
    this.shown = shown;
    this.badge.set(file);
    setHidden(this.bar.node, file.tone !== "busy");
    if (file.tone === "busy") this.bar.set(file.total ? percent(file.done ?? 0, file.total) : null);
    setText(this.reason, plain(file.reason));
    setHidden(this.reason, !file.reason);
    setText(this.whatToDo, file.whatToDo ? `What to do: ${plain(file.whatToDo)}` : "");
    setHidden(this.whatToDo, !file.whatToDo);
    const texts = [size(file.size ?? file.total), size(file.fetched), duration(file.seconds)];
    this.texts.forEach((cell, index) => setText(cell, texts[index]));
  }
}

export class FilesTable {
  constructor() {
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {FileRow[]} */
    this.files = [];
    this.leftOut = 0;
    this.limit = AT_ONCE;
    this.find = element("input", { type: "search", id: "find-file", autocomplete: "off", oninput: () => this.render() });
    this.count = element("span", { class: "count", role: "status" });
    const { table, body } = tableOf("files", "Files of this restore, failed ones first", COLUMNS);
    this.body = body;
    this.more = element("button", { type: "button", class: "small", hidden: true, onclick: () => {
      this.limit += AT_ONCE;
      this.render();
    } });
    this.note = element("p", { class: "help", hidden: true });
    this.node = element("section", { "aria-labelledby": "files-title", hidden: true },
      element("h2", { id: "files-title" }, "Files"),
      element("p", { class: "filters" }, element("label", { for: "find-file" }, "Find"), this.find, this.count),
      table, this.more, this.note);
  }

  /**
   * @param {FileRow[]} files
   * @param {number} leftOut how many there are beside these
   */
  update(files, leftOut) {
    this.files = files;
    this.leftOut = leftOut;
    this.render();
  }

  render() {
    const found = this.files.filter((file) => fileMatches(file, this.find.value));
    const shown = found.slice(0, this.limit);
    setChildren(this.body, shown.map((file) => {
      const row = this.rows.get(file.path) ?? new Row(file.path);
      this.rows.set(file.path, row);
      row.update(file);
      return row.node;
    }));
    const failed = this.files.filter((file) => file.tone === "bad").length;
    setText(this.count, `${counted(found.length, "file")}${failed ? `, ${failed} failed` : ""}`);
    setHidden(this.more, found.length <= shown.length);
    setText(this.more, `Show ${Math.min(AT_ONCE, found.length - shown.length)} more of ${counted(found.length, "file")}`);
    setText(this.note, this.leftOut ? `${counted(this.leftOut, "more file")} did not fit into what Airflow keeps; the report names all.` : "");
    setHidden(this.note, !this.leftOut);
    setHidden(this.node, !this.files.length);
  }
}

