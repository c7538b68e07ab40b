/**
 * Colours for Python and JSON: a text is cut into `[kind, piece]` pairs, whose pieces together are the text again.
 *
 * Kinds: `keyword`, `string`, `comment`, `number`, `key`, `prompt`, or null for all that has no colour. It is a
 * tokeniser for the eye, not a parser, and knows nothing of the page.
 */

const KEYWORDS =
  "and|as|assert|async|await|break|case|class|continue|def|del|elif|else|except|finally|for|from|global|if|" +
  "import|in|is|lambda|match|nonlocal|not|or|pass|raise|return|try|while|with|yield|None|True|False";

/** Python's strings; one in three quotes may still be open where a text that streams ends. */
const QUOTED = [
  String.raw`"""[^]*?(?:"""|(?![^]))`,
  String.raw`'''[^]*?(?:'''|(?![^]))`,
  String.raw`"(?:[^"\\\n]|\\.)*"`,
  String.raw`'(?:[^'\\\n]|\\.)*'`,
];

const PYTHON = new RegExp(
  [
    String.raw`(?<prompt>^(?:>>>|\.\.\.)(?= |$))`,
    String.raw`(?<comment>#[^\n]*)`,
    String.raw`(?<string>(?<!\w)[rbuf]{0,2}(?:${QUOTED.join("|")}))`,
    String.raw`(?<keyword>(?<![\w.])(?:${KEYWORDS})(?!\w))`,
    String.raw`(?<number>(?<![\w.])\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w))`,
  ].join("|"),
  "gm",
);

const JSON_TEXT = new RegExp(
  [
    String.raw`(?<key>"(?:[^"\\]|\\.)*"(?=\s*:))`,
    String.raw`(?<string>"(?:[^"\\]|\\.)*")`,
    String.raw`(?<keyword>\b(?:true|false|null)\b)`,
    String.raw`(?<number>-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)`,
  ].join("|"),
  "g",
);

const LANGUAGES = new Map([
  ["python", PYTHON],
  ["py", PYTHON],
  ["pycon", PYTHON],
  ["python3", PYTHON],
  ["json", JSON_TEXT],
]);

/** @returns {[string | null, string][]} */
export function highlight(text, language) {
  const pattern = LANGUAGES.get(language);
  if (pattern === undefined) return [[null, text]];
  const pieces = [];
  let done = 0;
  for (const match of text.matchAll(pattern)) {
    const [kind] = Object.entries(match.groups).find(([, value]) => value !== undefined);
    if (match.index > done) pieces.push([null, text.slice(done, match.index)]);
    pieces.push([kind, match[0]]);
    done = match.index + match[0].length;
  }
  if (done < text.length) pieces.push([null, text.slice(done)]);
  return pieces;
}
