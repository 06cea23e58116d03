/** Numbers and lists in words. */

export const whole = (number) => number.toLocaleString("en");
export const plural = (number, one, many = `${one}s`) => `${whole(number)} ${number === 1 ? one : many}`;
export const listed = (items) =>
  items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
export const shortened = (text, length) => (text.length <= length ? text : `${text.slice(0, length - 1).trimEnd()}…`);

export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1\u00a0%";
  const decimals = share === 0 || share >= 0.9995 || (share >= 0.0995 && share < 0.99) ? 0 : 1;
  return `${(100 * share).toFixed(decimals)}\u00a0%`;
}

export const decimal = (number) => number.toFixed(Math.abs(number) < 10 ? 2 : 1).replace("-", "\u2212");
export const milliseconds = (number) => `${number < 10 ? number.toFixed(1) : whole(Math.round(number))}\u00a0ms`;
export const priorName = (name) => (name === "bm25" ? "BM25" : name);
