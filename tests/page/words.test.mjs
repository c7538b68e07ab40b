/** Text as the page shows it: Markdown, colours, words. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { highlight } from "../../examples/librarian/page/highlight.js";
import { inline, parse } from "../../examples/librarian/page/markdown.js";
import {
  callArguments,
  duration,
  freshName,
  inFull,
  inOrder,
  label,
  oneLine,
} from "../../examples/librarian/page/words.js";
import { seeded } from "./virtual.mjs";

const text = (value) => ({ type: "text", text: value });
const paragraph = (...nodes) => ({ type: "paragraph", inline: nodes });

test("blocks", () => {
  assert.deepEqual(parse("# Title #\none\ntwo\n> said\n> more\n---\nend"), [
    { type: "heading", level: 1, inline: [text("Title")] },
    paragraph(text("one\ntwo")),
    { type: "quote", blocks: [paragraph(text("said\nmore"))] },
    { type: "rule" },
    paragraph(text("end")),
  ]);
});

test("lists, nested and numbered", () => {
  assert.deepEqual(parse("3. three\n   goes on\n   - inner\n4. four\n\nafter"), [
    {
      type: "list",
      ordered: true,
      start: 3,
      items: [
        [
          paragraph(text("three\ngoes on")),
          { type: "list", ordered: false, start: 1, items: [[paragraph(text("inner"))]] },
        ],
        [paragraph(text("four"))],
      ],
    },
    paragraph(text("after")),
  ]);
});

test("code keeps every character, also before its fence is closed", () => {
  const code = (value) => [{ type: "code", language: "python", text: value }];
  assert.deepEqual(parse("```python\n# no heading\n> **no** quote\n```"), code("# no heading\n> **no** quote"));
  assert.deepEqual(parse("```python\nx = 1"), code("x = 1"));
});

test("inline marks", () => {
  assert.deepEqual(inline("a **b `c`** *d* ``e`f``"), [
    text("a "),
    { type: "strong", inline: [text("b "), { type: "code", text: "c" }] },
    text(" "),
    { type: "em", inline: [text("d")] },
    text(" "),
    { type: "code", text: "e`f" },
  ]);
});

test("Python's own stars and underscores are no marks", () => {
  for (const source of [
    "f(*args, **kwargs)",
    "__init__ and __name__",
    "2 * 3 * 4",
    "(*a, *b)",
    "**kwargs are passed",
  ]) {
    assert.deepEqual(inline(source), [text(source)]);
  }
});

test("only addresses of the web become links", () => {
  const [link] = inline("[docs](https://docs.python.org/3/a_(b))");
  assert.deepEqual(link, { type: "link", href: "https://docs.python.org/3/a_(b)", inline: [text("docs")] });
  assert.equal(inline("see https://docs.python.org/3/, then")[1].href, "https://docs.python.org/3/");
  for (const evil of [
    "[x](javascript:alert(1))",
    "[x](data:text/html,hi)",
    "[x](//evil.test)",
    "[x](vbscript:x)",
    "[x](https://)",
  ]) {
    assert.ok(
      inline(evil).every((node) => node.type === "text"),
      evil,
    );
    assert.equal(
      inline(evil)
        .map((node) => node.text)
        .join(""),
      evil,
    );
  }
});

test("markup is text", () => {
  const source = "<img src=x onerror=alert(1)> & <b>";
  assert.deepEqual(parse(source), [paragraph(text(source))]);
});

test("no text makes it slow or deep", () => {
  const began = process.cpuUsage().user;
  for (const piece of [
    "*a ",
    "**a ",
    "> ",
    "[",
    "`a ``b ",
    "- a\n",
    "  - a\n",
    "> a\n\n",
    "[a](",
    "word\n",
    "1. ",
    "# a\n",
  ]) {
    parse(piece.repeat(64_000 / piece.length));
  }
  parse(Array.from({ length: 300 }, (_, depth) => `${" ".repeat(depth * 2)}- a`).join("\n"));
  assert.ok(process.cpuUsage().user - began < 5_000_000, "5 s of CPU");
});

test("whatever is cut off in mid-stream can be drawn", () => {
  const source = "# T\n\n> q **b** `c`\n\n1. x\n   ```python\n   y\n   ```\n- [l](https://a.b/) *e*\n\n~~~\nz\n~~~\n";
  for (let end = 0; end <= source.length; end += 1) assert.ok(Array.isArray(parse(source.slice(0, end))));
});

test("colours leave the text as it is", () => {
  const random = seeded(11);
  const alphabet = ["def ", '"', "'", "\\", "#", "\n", "12", "x", "{", ": ", '"""', "None", ">>> "];
  for (let round = 0; round < 500; round += 1) {
    const source = Array.from({ length: 30 }, () => alphabet[Math.floor(random() * alphabet.length)]).join("");
    for (const language of ["python", "json", "", "constructor"]) {
      assert.equal(
        highlight(source, language)
          .map(([, piece]) => piece)
          .join(""),
        source,
      );
    }
  }
  assert.deepEqual(highlight("return 1 # x", "python"), [
    ["keyword", "return"],
    [null, " "],
    ["number", "1"],
    [null, " "],
    ["comment", "# x"],
  ]);
  assert.deepEqual(highlight('{"a": true}', "json"), [
    [null, "{"],
    ["key", '"a"'],
    [null, ": "],
    ["keyword", "true"],
    [null, "}"],
  ]);
});

test("strings of three quotes go over lines, and to the end while they stream", () => {
  assert.deepEqual(highlight('x = r"""a\n"b" # c\n"""\n# d', "python"), [
    [null, "x = "],
    ["string", 'r"""a\n"b" # c\n"""'],
    [null, "\n"],
    ["comment", "# d"],
  ]);
  assert.deepEqual(highlight("x = '''a\nb", "python").at(-1), ["string", "'''a\nb"]);
  assert.deepEqual(highlight("'it\\'s' + \"x", "python")[0], ["string", "'it\\'s'"]);
});

test("durations", () => {
  assert.deepEqual([0.42, 9.96, 87.4, 1_449, 125_000].map(duration), [
    "0.4 ms",
    "10 ms",
    "87 ms",
    "1.4 s",
    "2 min 5 s",
  ]);
});

test("values on one line and in full", () => {
  assert.equal(callArguments({ query: "json", limit: 5 }), 'query: "json", limit: 5');
  assert.equal(callArguments(undefined), "");
  assert.equal(oneLine("x".repeat(500)).length, 160);
  assert.deepEqual(inFull("a\nb"), { text: "a\nb", language: "" });
  assert.deepEqual(inFull([1]), { text: "[\n  1\n]", language: "json" });
});

test("names of conversations", () => {
  const today = new Date(2026, 10, 22);
  assert.equal(freshName(["main"], today), "chat-2026-11-22-1");
  assert.equal(freshName(["main", "chat-2026-11-22-1"], today), "chat-2026-11-22-2");
  assert.equal(label("main", today), "Main");
  assert.equal(label("chat-2026-11-22-2", today), "Today, no. 2");
  assert.equal(label("chat-2026-11-21-1", today), "21 November, no. 1");
  assert.equal(label("chat-2025-01-02-1", today), "2 January 2025, no. 1");
  assert.equal(label("work", today), "work");
  assert.deepEqual(inOrder(["chat-2026-11-22-2", "main", "chat-2026-11-22-10"]), [
    "main",
    "chat-2026-11-22-10",
    "chat-2026-11-22-2",
  ]);
});
