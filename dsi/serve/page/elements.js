/** The elements of the page. */

export const at = (id) => document.getElementById(id);

/** An element with properties, attributes (role, and names with a dash) and children; strings are text, never HTML. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

export const show = (id, visible) => {
  at(id).hidden = !visible;
};
