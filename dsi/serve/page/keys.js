/** Moving along results and branches with keys. */

import { cardOf } from "./card.js";
import { at } from "./elements.js";
import * as shown from "./shown.js";

/** Moves along results and branches with the arrow keys; / goes to the search box. */
export function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  const next = event.key === "/" && !typing ? at("query") : neighbour(event.target, event.key);
  if (!next) return;
  event.preventDefault();
  next.focus();
  if (next === at("query")) next.select();
}

function neighbour(from, key) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[key];
  const titles = [...at("hits").querySelectorAll(".title")];
  if (from === at("query")) return key === "ArrowDown" ? titles[0] : null;
  if (from.matches(".title") && step) return titles[titles.indexOf(from) + step] ?? (step < 0 ? at("query") : null);
  if (!from.matches(".branch")) return null;
  if (step) {
    const siblings = [...from.closest("ol").querySelectorAll(".branch")];
    return siblings[siblings.indexOf(from) + step];
  }
  const branch = shown.branchAt(Number(from.dataset.node));
  const towards = {
    ArrowLeft: branch.parent,
    ArrowRight: shown.everyBranch().find((one) => one.parent === branch.node)?.node,
  }[key];
  return towards ? cardOf(towards) : null;
}
