// Asks again and again: soon while something runs, seldom else, not at all while nobody looks; says when it could not.

import { ApiError } from "./airflow_api.mjs";
import { append, element, setHidden } from "./dom.mjs";
import { loginLink } from "./frame.mjs";
import { plain, when } from "./words.mjs";

const SOON_MS = 3_000;
const SELDOM_MS = 20_000;
const LONGEST_MS = 60_000;

export class Poller {
  /**
   * @param {() => Promise<boolean>} refresh asks for what is shown, and shows it; says whether something runs
   */
  constructor(refresh) {
    this.refresh = refresh;
    this.failures = 0;
    this.lastGood = "";
    this.running = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.now();
    });
  }

  /** Ask now; where it asks already, that answer will do. */
  async now() {
    if (this.running) return;
    this.running = true;
    clearTimeout(this.timer);
    let wait;
    try {
      const somethingRuns = await this.refresh();
      this.failures = 0;
      this.lastGood = when(new Date().toISOString());
      showTrouble(null);
      wait = somethingRuns ? SOON_MS : SELDOM_MS;
    } catch (error) {
      if (!(error instanceof ApiError)) console.error(error);
      this.failures += 1;
      wait = Math.min(LONGEST_MS, SOON_MS * 2 ** Math.min(this.failures, 5));
      const since = this.lastGood ? `What is shown is as of ${this.lastGood}. ` : "";
      showTrouble(/** @type {Error} */ (error), `${since}Trying again in ${Math.round(wait / 1000)} s.`, () => this.now());
    } finally {
      this.running = false;
    }
    this.timer = setTimeout(() => (document.hidden ? undefined : this.now()), wait);
  }
}

/**
 * Show what is wrong at the top of the page; null: nothing any more.
 * @param {Error | null} error
 * @param {string} [more]
 * @param {() => void} [retry]
 */
export function showTrouble(error, more = "", retry) {
  const place = /** @type {HTMLElement} */ (document.querySelector("#trouble"));
  const told = error ? `${plain(error.message)}. ${more}` : "";
  if (place.dataset.told === told) return;
  place.dataset.told = told;
  place.replaceChildren();
  setHidden(place, !error);
  if (!error) return;
  append(place, element("span", {}, told));
  if (error instanceof ApiError && error.status === 401) append(place, " ", loginLink());
  else if (retry) append(place, " ", element("button", { type: "button", class: "small", onclick: retry }, "Try now"));
}

/**
 * Show why something that the visitor has asked for was not done; it stays until it is closed, or asked for again.
 * @param {Error | null} error
 * @param {string} [more]
 */
export function showRefusal(error, more = "") {
  const place = /** @type {HTMLElement} */ (document.querySelector("#refusal"));
  place.replaceChildren();
  if (!error) return;
  append(place, element("span", {}, `${plain(error.message)}. ${more}`), " ",
    element("button", { type: "button", class: "small", onclick: () => showRefusal(null) }, "Close"));
}

/**
 * Do something for each of many, a few at a time. One that is refused keeps none of the others from it, and is told of in the end.
 * @template T
 * @param {T[]} items
 * @param {(item: T) => Promise<void>} act
 * @param {number} [atOnce]
 */
export async function forEachOf(items, act, atOnce = 4) {
  const left = [...items];
  /** @type {unknown[]} */
  const failures = [];
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) {
      await act(item).catch((error) => {
        if (!(error instanceof ApiError) || ![403, 404, 500].includes(error.status)) throw error; // of Airflow, not of this one
        failures.push(error);
      });
    }
  }));
  if (failures.length) throw failures[0];
}
