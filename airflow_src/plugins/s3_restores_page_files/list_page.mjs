// The list of restores: newest first, a batch as one row that opens.

import { element, say, setChildren, setHidden, setText } from "./dom.mjs";
import { pageOf } from "./frame.mjs";
import { ListData } from "./list_data.mjs";
import { Poller, showRefusal, showTrouble } from "./poller.mjs";
import { RestoreRow, restoreTable } from "./restore_row.mjs";
import { describe, grouped, isActive, isBatch, keyOf, matches } from "./restores.mjs";
import { StartDialog } from "./start_dialog.mjs";
import { counted, plain, when } from "./words.mjs";

/**
 * @typedef {import("./airflow_api.mjs").AirflowApi} AirflowApi
 * @typedef {import("./airflow_api.mjs").Run} Run
 */

const LOOK_AGAIN_MS = 150;
const AT_ONCE = 150; // rows; a thousand put on the page at a time would hold it for a second

export class ListPage {
  /**
   * @param {AirflowApi} api
   * @param {Element} place
   * @param {boolean} mayChange
   * @param {string} prefilled raw file ids that a link has brought
   */
  constructor(api, place, mayChange, prefilled) {
    this.data = new ListData(api);
    this.filter = { text: "", state: "" };
    /** @type {Map<string, RestoreRow>} */
    this.rows = new Map();
    /** @type {Set<string>} */
    this.open = new Set();
    /** @type {Map<string, string>} */
    this.told = new Map();
    this.dialog = mayChange ? new StartDialog(api) : null;
    this.count = element("span", { class: "count", role: "status" });
    this.refreshed = element("span");
    this.olderButton = this.button("Older restores", () => this.data.older());
    this.limit = AT_ONCE;
    this.moreButton = element("button", { type: "button", class: "small", hidden: true, onclick: () => this.showMore() });
    this.searchButton = this.button("", () => this.data.search(this.filter.text.trim()));
    this.searched = element("span", { role: "status" });
    const { table, body } = restoreTable("Restores, newest first");
    this.body = body;
    this.empty = element("p", { class: "empty", hidden: true });
    place.replaceChildren(
      element("header", { class: "top" }, element("h1", {}, "S3 restores"),
        this.dialog && element("button", { type: "button", class: "main", onclick: () => this.dialog?.show("") }, "Restore …")),
      this.filters(),
      table,
      this.moreButton,
      this.empty,
      element("p", { class: "foot" }, this.refreshed, " ", this.olderButton, " ", this.searchButton, " ", this.searched),
    );
    this.observer = new IntersectionObserver((entries) => this.onSeen(entries), { rootMargin: "200px" });
    this.atEnd = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) this.showMore();
    }, { rootMargin: "400px" });
    this.atEnd.observe(this.moreButton);
    /** @type {Map<Element, Run>} */
    this.runOf = new Map();
    /** @type {Set<Element>} */
    this.seen = new Set();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.looking = undefined;
    this.poller = new Poller(() => this.refresh());
    this.poller.now();
    if (prefilled) this.dialog?.show(prefilled);
  }

  filters() {
    const text = element("input", { type: "search", id: "filter", placeholder: "raw file, project, who …", autocomplete: "off" });
    text.addEventListener("input", () => this.filterBy({ text: text.value }));
    const states = [["", "All"], ["running", "Running"], ["failed", "Failed"], ["done", "Done"]];
    const state = element("select", { id: "state" }, ...states.map(([value, name]) => element("option", { value }, name)));
    state.addEventListener("change", () => this.filterBy({ state: state.value }));
    const form = element("form", { class: "filters", role: "search" },
      element("label", { for: "filter" }, "Find"), text, element("label", { for: "state" }, "State"), state, this.count);
    form.addEventListener("submit", (event) => event.preventDefault());
    return form;
  }

  /** @param {Partial<{text: string, state: string}>} change */
  filterBy(change) {
    Object.assign(this.filter, change);
    this.limit = AT_ONCE;
    this.render();
  }

  showMore() {
    this.limit += AT_ONCE;
    this.render();
  }

  /**
   * @param {string} name
   * @param {() => Promise<void>} act
   */
  button(name, act) {
    const button = element("button", { type: "button", class: "small", hidden: true }, name);
    button.addEventListener("click", async () => {
      button.disabled = true;
      await act().catch((error) => showRefusal(error));
      button.disabled = false;
      this.render();
    });
    return button;
  }

  /** Ask what has changed, show it, then ask for more of what is on the screen. */
  async refresh() {
    let somethingRuns;
    try {
      somethingRuns = await this.data.refresh();
    } finally { // one question that is refused keeps nobody from seeing the rest
      if (this.data.since) this.render();
    }
    await this.look(true);
    setText(this.refreshed, `Updated ${when(new Date().toISOString())}.`);
    return somethingRuns;
  }

  /** @param {IntersectionObserverEntry[]} entries */
  onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.seen.add(target);
      else this.seen.delete(target);
    }
    clearTimeout(this.looking);
    this.looking = setTimeout(() => this.look(false).catch((error) => showTrouble(error)), LOOK_AGAIN_MS);
  }

  /** @param {boolean} withActive whether those that run are asked again */
  async look(withActive) {
    const runs = [...this.seen].flatMap((row) => this.runOf.get(row) ?? []);
    await this.data.learn(runs.filter((run) => !isActive(run) || withActive || !this.data.known.has(keyOf(run))));
    this.render();
  }

  /** @param {Run} run */
  describe(run) {
    return describe(run, this.data.of(run));
  }

  render() {
    const groups = grouped(this.data.runs.values());
    for (const { run, children } of groups) if (isBatch(run)) this.data.of(run).children = children;
    const shown = groups.filter((group) => matches(group, (run) => this.describe(run), this.filter));
    const now = this.data.api.now();
    const nodes = [];
    for (const { run, children } of shown.slice(0, this.limit)) {
      nodes.push(this.row(run, now, false));
      if (this.open.has(keyOf(run))) nodes.push(...children.map((child) => this.row(child, now, true)));
    }
    setChildren(this.body, nodes);
    this.announce(groups.map(({ run }) => run));
    const running = groups.filter(({ run }) => isActive(run)).length;
    setText(this.count, `${counted(shown.length, "restore")}${shown.length < groups.length ? ` of ${groups.length.toLocaleString("en-US")}` : ""}, ${running} running`);
    setHidden(this.moreButton, shown.length <= this.limit);
    setText(this.moreButton, `Show more of ${counted(shown.length, "restore")}`);
    setHidden(this.empty, nodes.length > 0);
    setText(this.empty, groups.length ? "None of these restores is like this." : "Nothing was restored yet.");
    setHidden(this.olderButton, !this.data.hasOlder);
    this.showSearch(this.filter.text.trim());
  }

  /** @param {string} text that is looked for */
  showSearch(text) {
    const { text: searched, before } = this.data.searched;
    const isSearched = Boolean(text) && text === searched;
    setHidden(this.searchButton, !text || (isSearched ? !before : !this.data.hasOlder));
    setText(this.searchButton, isSearched ? "Search further back" : "Search all restores");
    const where = `that name “${plain(text)}” in what was asked for, in their run id or by who started them`;
    setText(this.searched, !isSearched ? ""
      : before ? `The newest restores ${where} are here, back to ${when(before)}; there may be older ones.`
        : `All restores ${where} are here.`);
  }

  /**
   * @param {Run} run
   * @param {number} now
   * @param {boolean} isChild
   */
  row(run, now, isChild) {
    const key = keyOf(run);
    let row = this.rows.get(key);
    if (!row) {
      row = new RestoreRow(pageOf(run.dag_id, run.dag_run_id), {
        isChild,
        onToggle: isBatch(run) && !run.conf?.dry_run ? () => this.toggle(run) : undefined,
      });
      this.rows.set(key, row);
      this.observer.observe(row.node);
    }
    this.runOf.set(row.node, run);
    row.update(this.describe(run), run, now, this.open.has(key));
    return row.node;
  }

  /** @param {Run} batch */
  async toggle(batch) {
    const key = keyOf(batch);
    if (this.open.delete(key)) return this.render();
    this.open.add(key);
    this.render();
    try {
      await this.data.addChildren(batch);
    } catch (error) {
      showRefusal(/** @type {Error} */ (error));
    }
    this.render();
  }

  /** @param {Run[]} runs */
  announce(runs) {
    for (const run of runs) {
      const key = keyOf(run);
      const before = this.told.get(key);
      const { title, word, isKnown } = this.describe(run);
      if (before && !isKnown) continue; // it is told when its row is looked at
      this.told.set(key, run.state);
      if (before && before !== run.state && !isActive(run)) say(`${plain(title)}: ${word}`);
    }
  }
}
