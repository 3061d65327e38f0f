// The dialog that starts restores: says what it understood before anything is started.

import { element, setChildren, setHidden, setText } from "./dom.mjs";
import { goTo, pageOf } from "./frame.mjs";
import { readPasted } from "./pasted_ids.mjs";
import { requestOf, understood, whatWasStarted } from "./restore_requests.mjs";
import { plain } from "./words.mjs";

const MOST_SHOWN = 200;
const MODES = [
  ["restore", "Restore", "fetch what is missing or wrong, verify all"],
  ["dry_run", "Dry run", "only say what would be fetched"],
  ["verify_only", "Verify only", "fetch and verify every byte of the backup, write nothing: before the instrument's copy is deleted"],
];

export class StartDialog {
  /** @param {import("./airflow_api.mjs").AirflowApi} api */
  constructor(api) {
    this.api = api;
    this.ids = element("textarea", { id: "ids", rows: 5, spellcheck: false, autocomplete: "off",
                                     placeholder: "20250115_sample.raw", "aria-describedby": "ids-help" });
    this.project = element("input", { type: "text", id: "project", autocomplete: "off", spellcheck: false });
    this.include = element("input", { type: "text", id: "include", autocomplete: "off", spellcheck: false, placeholder: "*.tdf*" });
    this.modes = MODES.map(([value], index) => element("input", { type: "radio", name: "mode", id: `mode-${value}`, value, checked: index === 0 }));
    this.summary = element("p", { class: "understood", role: "status" });
    this.list = element("ol", { class: "ids", tabIndex: 0, "aria-label": "What was understood" });
    this.wrong = element("p", { class: "wrong", role: "alert", hidden: true });
    this.start = element("button", { type: "submit", class: "main" }, "Start");
    const cancel = element("button", { type: "button", onclick: () => this.node.close() }, "Cancel");
    const form = element("form", { onsubmit: (/** @type {Event} */ event) => this.onSubmit(event), oninput: () => this.render() },
      element("h2", { id: "start-title" }, "Restore from S3"),
      element("label", { for: "ids" }, "Raw file ids"), this.ids,
      element("p", { id: "ids-help", class: "help" }, "One or hundreds, extension included, one a line or with commas between; pasted paths are fine."),
      element("label", { for: "project" }, "Or all raw files of a project"), this.project,
      element("label", { for: "include" }, "Only files like"), this.include,
      element("fieldset", {}, element("legend", {}, "What to do"), ...MODES.map(([value, name, meaning], index) =>
        element("div", {}, this.modes[index], element("label", { for: `mode-${value}` }, element("b", {}, name), ` – ${meaning}`)))),
      element("h3", {}, "Understood"), this.summary, this.list,
      this.wrong,
      element("p", { class: "buttons" }, cancel, this.start));
    this.node = element("dialog", { "aria-labelledby": "start-title" }, form);
    document.body.append(this.node);
  }

  /** @param {string} ids to begin with */
  show(ids) {
    if (ids) this.ids.value = ids;
    setHidden(this.wrong, true);
    this.render();
    this.node.showModal();
    this.ids.focus();
  }

  form() {
    const mode = this.modes.find((each) => each.checked)?.value ?? "restore";
    return { ids: this.ids.value, project: this.project.value, include: this.include.value, mode };
  }

  render() {
    const form = this.form();
    const { said, wrong } = understood(form);
    const { ids } = readPasted(form.ids);
    setText(this.summary, plain(said));
    const items = ids.slice(0, MOST_SHOWN).map(({ id, given }) => element("li", {}, element("bdi", {}, plain(id)),
      id === given ? null : element("span", { class: "about" }, ` from ${plain(given)}`)));
    if (ids.length > MOST_SHOWN) items.push(element("li", {}, `and ${ids.length - MOST_SHOWN} more`));
    setChildren(this.list, items);
    setHidden(this.list, items.length === 0);
    setText(this.wrong, plain(wrong));
    setHidden(this.wrong, !wrong);
    const names = { restore: "Restore", dry_run: "Look", verify_only: "Verify" };
    const what = form.project.trim() ? "" : ids.length > 1 ? ` ${ids.length} raw files` : "";
    setText(this.start, `${names[/** @type {keyof typeof names} */ (form.mode)]}${what}`);
    this.start.disabled = Boolean(wrong) || requestOf(form) === null;
  }

  /** @param {Event} event */
  async onSubmit(event) {
    event.preventDefault();
    const request = requestOf(this.form());
    if (!request || this.start.disabled) return;
    this.start.disabled = true;
    try {
      const run = await this.api.trigger(request.dag, request.conf);
      goTo(pageOf(run.dag_id, run.dag_run_id), () => this.node.close());
    } catch (error) {
      setText(this.wrong, `${plain(/** @type {Error} */ (error).message)}. ${whatWasStarted(error)}`);
      setHidden(this.wrong, false);
      this.start.disabled = false;
    }
  }
}
