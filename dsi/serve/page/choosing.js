/** Choosing a hit or a branch: what belongs to it is lit. */

import { at } from "./elements.js";
import * as shown from "./shown.js";
import { wayTo, wordsFor } from "./way.js";

/** Makes a hit or branch chosen by click and focus, and lit while the pointer is over it. */
export function choosable(area, button, choice) {
  button.addEventListener("click", () => choose(choice));
  button.addEventListener("focus", () => choose(choice));
  area.addEventListener("pointerenter", () => light(choice));
  area.addEventListener("pointerleave", () => light(shown.chosen));
}

export function choose(choice) {
  shown.setChosen(choice);
  light(choice);
}

/** The nodes and the ranks of hits that belong to a choice: the way to a hit, or what is above and below a branch. */
function belonging(choice) {
  const nodes = new Set();
  if (!choice) return { nodes, ranks: new Set() };
  if ("rank" in choice) {
    for (const branch of shown.everyBranch()) if (branch.hits.includes(choice.rank)) nodes.add(branch.node);
    return { nodes, ranks: new Set([choice.rank]) };
  }
  for (const branch of shown.everyBranch())
    if (branch.node === choice.node || nodes.has(branch.parent)) nodes.add(branch.node);
  for (let branch = shown.branchAt(choice.node); branch; branch = shown.branchAt(branch.parent)) nodes.add(branch.node);
  return { nodes, ranks: new Set(shown.branchAt(choice.node)?.hits ?? []) };
}

export function light(choice) {
  const { nodes, ranks } = belonging(choice);
  for (const part of at("picture").querySelectorAll("[data-node]")) {
    part.classList.toggle("lit", nodes.has(Number(part.dataset.node)));
    if (part.localName === "button") current(part, choice?.node === Number(part.dataset.node));
  }
  for (const item of at("hits").children) {
    item.classList.toggle("lit", ranks.has(Number(item.dataset.rank)));
    current(item.querySelector(".title"), choice?.rank === Number(item.dataset.rank));
  }
  if (shown.walk)
    at("way").replaceChildren(
      ...(choice ? ("rank" in choice ? wayTo(choice.rank) : wordsFor(shown.branchAt(choice.node))) : []),
    );
}

function current(button, is) {
  if (is) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}
