// HTML into nodes, and nodes into other nodes with as little change as possible. All of it was sanitised by the server.

export function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/** Makes an element's content that of `html`; what is equal at the beginning is not touched. */
export function become(element, html) {
  merge(element, fragment(html));
}

function merge(ours, theirs) {
  const mine = [...ours.childNodes];
  const fresh = [...theirs.childNodes];
  let same = 0;
  while (same < mine.length && same < fresh.length && mine[same].isEqualNode(fresh[same])) same += 1;
  if (same < mine.length && same < fresh.length && adapt(mine[same], fresh[same])) same += 1;
  for (const node of mine.slice(same)) node.remove();
  ours.append(...fresh.slice(same));
}

/** Changes a node in place when it is the same kind of node with other content. */
function adapt(mine, fresh) {
  if (mine.nodeType === Node.TEXT_NODE && fresh.nodeType === Node.TEXT_NODE) {
    if (fresh.data.startsWith(mine.data)) mine.appendData(fresh.data.slice(mine.data.length));
    else mine.data = fresh.data;
    return true;
  }
  if (mine.nodeType !== Node.ELEMENT_NODE || !mine.cloneNode(false).isEqualNode(fresh.cloneNode(false))) return false;
  merge(mine, fresh);
  return true;
}
