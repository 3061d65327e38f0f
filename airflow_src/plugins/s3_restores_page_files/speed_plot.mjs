// A small plot of MB/s: of a restore over all of its time, of a batch since the page was opened, as it keeps only its last reading.

import { duration, speed } from "./words.mjs";

const WIDTH = 600;
const HEIGHT = 80;
const MOST = 720; // an hour of readings
const SVG = "http://www.w3.org/2000/svg";

export class SpeedPlot {
  constructor() {
    /** @type {{at: number, value: number}[]} */
    this.readings = [];
    this.node = document.createElement("figure");
    this.node.className = "plot";
    this.node.hidden = true;
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.area = svg("polygon", { class: "area" });
    this.line = svg("polyline", { class: "line" });
    this.picture.append(this.area, this.line);
    this.caption = document.createElement("figcaption");
    this.node.append(this.picture, this.caption);
  }

  /** @param {{at?: string, bytes_per_s?: number, history?: unknown} | undefined} progress */
  add(progress) {
    const told = speedsOf(progress?.history);
    const at = Date.parse(progress?.at ?? "");
    const value = progress?.bytes_per_s;
    if (told.length) this.readings = told;
    else if (Number.isNaN(at) || typeof value !== "number" || at === this.readings.at(-1)?.at) return;
    else this.readings = [...this.readings, { at, value }].slice(-MOST);
    if (this.readings.length < 2) return;
    const { line, area, said } = drawn(this.readings);
    this.line.setAttribute("points", line);
    this.area.setAttribute("points", area);
    this.picture.setAttribute("aria-label", said);
    this.caption.textContent = said;
    this.node.hidden = false;
  }
}

/**
 * The speed between two points each, at the time of the second; it goes on at zero where bytes were taken back.
 * @param {unknown} history pairs of seconds since the beginning and bytes done by then
 * @returns {{at: number, value: number}[]} times in ms
 */
export function speedsOf(history) {
  const points = (Array.isArray(history) ? history : []).filter((point) =>
    Array.isArray(point) && Number.isFinite(point[0]) && Number.isFinite(point[1]));
  return points.slice(1).flatMap(([at, bytes], index) => {
    const [before, had] = points[index];
    return at > before ? [{ at: at * 1000, value: Math.max(0, (bytes - had) / (at - before)) }] : [];
  });
}

/**
 * Points of the plot, and the same in words.
 * @param {{at: number, value: number}[]} readings at least two
 */
export function drawn(readings) {
  const first = readings[0].at;
  const last = readings[readings.length - 1].at;
  const highest = Math.max(...readings.map(({ value }) => value), 1);
  const points = readings.map(({ at, value }) =>
    `${((WIDTH * (at - first)) / Math.max(1, last - first)).toFixed(1)},${(HEIGHT - (HEIGHT - 4) * (value / highest)).toFixed(1)}`);
  return {
    line: points.join(" "),
    area: `0,${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}`,
    said: `The last ${duration((last - first) / 1000)}: now ${speed(readings[readings.length - 1].value)}, at most ${speed(highest)}`,
  };
}

/**
 * @param {string} name
 * @param {Record<string, string>} attributes
 */
function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
