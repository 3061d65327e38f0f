// Numbers and times in words. Pure functions.

const MIB = 1024 ** 2;
const UNITS = /** @type {const} */ ([["TB", 1024 ** 4], ["GB", 1024 ** 3], ["MB", MIB], ["kB", 1024]]);
export const UNKNOWN = "–";

/**
 * A size as the report counts it: 1 MB is 1024² bytes.
 * @param {number | null | undefined} bytes
 */
export function size(bytes) {
  if (typeof bytes !== "number" || !Number.isFinite(bytes)) return UNKNOWN;
  for (const [unit, factor] of UNITS) {
    if (bytes >= factor) return `${(bytes / factor).toFixed(bytes >= 100 * factor ? 0 : 1)} ${unit}`;
  }
  return `${bytes} B`;
}

/** @param {number | null | undefined} bytesPerSecond */
export function speed(bytesPerSecond) {
  if (typeof bytesPerSecond !== "number" || !Number.isFinite(bytesPerSecond)) return UNKNOWN;
  return `${(bytesPerSecond / MIB).toFixed(1)} MB/s`;
}

/**
 * How long something took or will take, in its two largest units.
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds) || seconds < 0) return UNKNOWN;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/**
 * Whole percents. 100 only when all is done: a bar that is full says "ended".
 * @param {number} done
 * @param {number} total
 */
export function percent(done, total) {
  if (!(total > 0)) return 0;
  return done >= total ? 100 : Math.max(0, Math.floor((100 * done) / total));
}

/**
 * @param {number} count
 * @param {string} noun
 */
export function counted(count, noun) {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * A moment in the visitor's time zone: only the time today, else with its date.
 * @param {string | null | undefined} iso
 * @param {Date} [now]
 */
export function when(iso, now = new Date()) {
  const moment = iso ? new Date(iso) : null;
  if (!moment || Number.isNaN(moment.getTime())) return UNKNOWN;
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const time = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
  if (moment.toDateString() === now.toDateString()) return `${time}:${two(moment.getSeconds())}`;
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())} ${time}`;
}

/**
 * Seconds from one moment to another, or until now.
 * @param {string | null | undefined} from
 * @param {string | null | undefined} to
 * @param {number} [now] milliseconds
 * @returns {number | null}
 */
export function secondsBetween(from, to, now = Date.now()) {
  if (!from) return null;
  return Math.max(0, ((to ? Date.parse(to) : now) - Date.parse(from)) / 1000);
}

// Marks of direction, other control characters and lone halves of characters would change how the text around them looks.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udfff](?![\udc00-\udfff])(?<![\ud800-\udbff][\udc00-\udfff])/g;

/**
 * Text of strangers in one line, with all that would hide or turn other text shown as what it is.
 * @param {unknown} text
 */
export function plain(text) {
  return String(text ?? "").replace(UNSEEN, (mark) => {
    const code = mark.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
