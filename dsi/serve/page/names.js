/** What hits and branches are called. */

import { element } from "./elements.js";
import { listed } from "./numbers.js";

export const nameOf = (hit) => hit.title || hit.doc_id;
export const isLeaf = (branch) => branch.doc_ids.length > 0;

export const nameOfBranch = (branch) =>
  isLeaf(branch)
    ? branch.examples[0] || branch.doc_ids[0]
    : branch.words.join(", ") || branch.examples[0] || `branch ${branch.token}`;

export const leadsTo = (branch) =>
  branch.hits.length &&
  `leads to ${branch.hits.length === 1 ? "result" : "results"} ${listed(branch.hits.map(String))}`;

/** A token of a docid as a small box; none for an atomic docid. */
export const chip = (token) => (token ? element("span", { className: "token" }, token) : "");
