/** What the page shows: the index, the answers, what is chosen in them. It is changed here alone. */

export let index = null;
export let query = "";
export let hits = [];
export let walk = null;
export let levels = [];
/** A hit, `{ rank }`, a branch, `{ node }`, or null. */
export let chosen = null;

export function setIndex(answer) {
  index = answer;
}

/** The hits of a new search, whose walk is not known yet. */
export function setHits(asked, found) {
  [query, hits, walk, levels, chosen] = [asked, found, null, [], null];
}

export function setWalk(answer, arranged) {
  [walk, levels] = [answer, arranged];
}

export function setChosen(choice) {
  chosen = choice;
}

export const everyBranch = () => levels.flatMap((level) => level.branches);
export const branchAt = (node) => everyBranch().find((branch) => branch.node === node);
