/**
 * A light Markdown, in two steps: `parse` gives plain data, `render` gives DOM nodes.
 *
 * Text becomes text nodes only and never markup, so nothing that an agent or a tool says can become an element.
 * Known: headings, paragraphs, bold, emphasis with `*`, inline code, fenced code, block quotes, lists, rules and links
 * to http(s). Underscores mean nothing: in answers about Python `__init__` is a name.
 *
 * Blocks: `{type: "heading", level, inline}`, `{type: "paragraph", inline}`, `{type: "code", language, text}`,
 * `{type: "quote", blocks}`, `{type: "list", ordered, start, items: blocks[]}`, `{type: "rule"}`.
 * Inline: `{type: "text" | "code", text}`, `{type: "strong" | "em", inline}`, `{type: "link", href, inline}`.
 */

import { highlight } from "./highlight.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(\s+|$)/;

/** Block quotes and lists deeper than this are shown as text: no input may exhaust the stack. */
const MAX_DEPTH = 8;

/** @returns {object[]} blocks; unfinished Markdown (an answer that still streams) is read as far as it goes */
export function parse(text, depth = 0) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let match;
    if (line.trim() === "") {
      at += 1;
    } else if ((match = FENCE.exec(line))) {
      const [block, next] = fenced(lines, at, match);
      blocks.push(block);
      at = next;
    } else if ((match = HEADING.exec(line))) {
      blocks.push({ type: "heading", level: match[1].length, inline: inline(match[2]) });
      at += 1;
    } else if (RULE.test(line)) {
      blocks.push({ type: "rule" });
      at += 1;
    } else if (QUOTE.test(line) && depth < MAX_DEPTH) {
      const inside = [];
      while (at < lines.length && QUOTE.test(lines[at])) inside.push(lines[at++].replace(QUOTE, ""));
      blocks.push({ type: "quote", blocks: parse(inside.join("\n"), depth + 1) });
    } else if (ITEM.test(line) && depth < MAX_DEPTH) {
      const [block, next] = list(lines, at, depth);
      blocks.push(block);
      at = next;
    } else {
      let end = at + 1;
      while (end < lines.length && !interrupts(lines[end])) end += 1;
      blocks.push({
        type: "paragraph",
        inline: inline(
          lines
            .slice(at, end)
            .map((each) => each.trim())
            .join("\n"),
        ),
      });
      at = end;
    }
  }
  return blocks;
}

/** Does this line end the paragraph before it? */
function interrupts(line) {
  return line.trim() === "" || [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));
}

function fenced(lines, at, [, fence, language]) {
  const closing = new RegExp(`^ {0,3}${fence[0]}{${fence.length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  return [{ type: "code", language: language.toLowerCase(), text: lines.slice(at + 1, end).join("\n") }, end + 1];
}

function list(lines, at, depth) {
  const [, indent, marker] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(marker);
  const items = [];
  while (at < lines.length) {
    const match = ITEM.exec(lines[at]);
    if (!match || match[1].length < indent.length || /\d/.test(match[2]) !== ordered) break;
    const body = [lines[at].slice(match[0].length)];
    const inner = match[1].length + match[2].length + 1;
    at += 1;
    while (at < lines.length && belongs(lines, at, inner)) {
      body.push(lines[at].slice(Math.min(inner, lines[at].search(/\S|$/))));
      at += 1;
    }
    items.push(parse(body.join("\n"), depth + 1));
    while (at < lines.length && lines[at].trim() === "" && ITEM.test(lines[at + 1] ?? "")) at += 1;
  }
  return [{ type: "list", ordered, start: ordered ? parseInt(marker, 10) : 1, items }, at];
}

/** Is this line part of a list item whose text begins in column `inner`? */
function belongs(lines, at, inner) {
  const indented = (line) => line.search(/\S/) >= Math.min(inner, 2);
  if (lines[at].trim() === "") return at + 1 < lines.length && indented(lines[at + 1]);
  return indented(lines[at]) || (lines[at - 1].trim() !== "" && !interrupts(lines[at]));
}

/**
 * Inline marks, in the order in which they are tried. Emphasis opens before a non-space and closes behind one, so
 * that `f(*args, **kwargs)` stays as it is.
 */
const INLINE = new RegExp(
  [
    "(?<ticks>`+)(?<code>.+?)(?<!`)\\k<ticks>(?!`)",
    "\\*\\*(?=[^\\s*])(?<strong>(?:(?!\\*\\*).)+)(?<=[^\\s(,])\\*\\*(?!\\w)",
    "(?<![\\w*(,])\\*(?=[^\\s*])(?<em>[^*\\n]+?)(?<=[^\\s*])\\*(?![\\w*])",
    "\\[(?<label>[^\\]\\n]{1,300})\\]\\((?<href>[^\\s()]+(?:\\([^\\s()]*\\)[^\\s()]*)*)\\)",
    "(?<bare>https?://[^\\s<>\"'`]*[^\\s<>\"'`.,;:!?)\\]])",
  ].join("|"),
  "s",
);

/** @returns {object[]} inline nodes */
export function inline(text) {
  const nodes = [];
  let rest = text;
  while (rest !== "") {
    const match = INLINE.exec(rest);
    if (match === null) break;
    const node = mark(match.groups);
    const end = match.index + match[0].length;
    addText(nodes, rest.slice(0, node === null ? end : match.index));
    if (node !== null) nodes.push(node);
    rest = rest.slice(end);
  }
  addText(nodes, rest);
  return nodes;
}

function mark({ code, strong, em, label, href, bare }) {
  if (code !== undefined) return { type: "code", text: code.replace(/^ (.*\S.*) $/s, "$1") };
  if (strong !== undefined) return { type: "strong", inline: inline(strong) };
  if (em !== undefined) return { type: "em", inline: inline(em) };
  const target = webAddress(href ?? bare);
  if (target === null) return null;
  return { type: "link", href: target, inline: label === undefined ? [{ type: "text", text: bare }] : inline(label) };
}

/** The address, when it is one of the web; every other scheme is left as text. */
function webAddress(text) {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return null;
  return new URL(text).href;
}

function addText(nodes, text) {
  if (text === "") return;
  const last = nodes.at(-1);
  if (last?.type === "text") last.text += text;
  else nodes.push({ type: "text", text });
}

/** The highest rank of heading that a text uses; 7 when it uses none. */
export function topLevel(blocks) {
  return blocks.reduce((top, block) => (block.type === "heading" ? Math.min(top, block.level) : top), 7);
}

/** Draw blocks as DOM nodes. Headings of rank `top` become h3, which is what the page leaves to a text. */
export function render(blocks, top) {
  return blocks.map((block) => renderBlock(block, top));
}

function renderBlock(block, top) {
  switch (block.type) {
    case "heading":
      return element(`h${Math.min(6, Math.max(3, block.level - top + 3))}`, renderInline(block.inline));
    case "paragraph":
      return element("p", renderInline(block.inline));
    case "code":
      return codeBlock(block.text, block.language);
    case "quote":
      return element("blockquote", render(block.blocks, top));
    case "list": {
      const node = element(
        block.ordered ? "ol" : "ul",
        block.items.map((item) => element("li", tight(item, top))),
      );
      if (block.ordered && block.start !== 1) node.start = block.start;
      return node;
    }
    default:
      return element("hr", []);
  }
}

/** An item of one paragraph needs no paragraph around it. */
function tight(blocks, top) {
  const [first, ...others] = blocks;
  if (first?.type !== "paragraph") return render(blocks, top);
  return [...renderInline(first.inline), ...render(others, top)];
}

/** Code with its colours, in a box that scrolls sideways, by keyboard too. */
export function codeBlock(text, language) {
  const node = element("pre", [
    element(
      "code",
      highlight(text, language).map(([kind, piece]) => {
        return kind === null ? document.createTextNode(piece) : element("span", [piece], `hl-${kind}`);
      }),
    ),
  ]);
  node.tabIndex = 0;
  return node;
}

/** Draw inline nodes, for a text of one line. */
export function renderInline(nodes) {
  return nodes.map((node) => {
    switch (node.type) {
      case "text":
        return document.createTextNode(node.text);
      case "code":
        return element("code", [node.text]);
      case "link": {
        const link = element("a", renderInline(node.inline));
        return Object.assign(link, { href: node.href, target: "_blank", rel: "noopener noreferrer" });
      }
      default:
        return element(node.type, renderInline(node.inline));
    }
  });
}

function element(name, children, className = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}
