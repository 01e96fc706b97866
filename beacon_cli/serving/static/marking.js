// Where a quote stands in the text of some elements: marked there, however it is spaced, hyphenated or broken in lines.

// Words of a quote that must stand together to be marked where the whole quote is not found.
const LEAST_WORDS = 3;

// Letters and digits of a text, in small letters, and for each the place that it comes from.
function letters(nodes) {
  const places = [];
  let text = "";
  for (const node of nodes) {
    let offset = 0;
    for (const character of node.data) {
      for (const letter of folded(character)) {
        text += letter;
        for (let unit = 0; unit < letter.length; unit++) places.push([node, offset, offset + character.length]);
      }
      offset += character.length;
    }
  }
  return { text, places };
}

function folded(text) {
  return text.normalize("NFKD").toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
}

// The stretches of `text` that hold the quote: all of it, or else each longest row of its words that stands there.
function stretches(text, quote) {
  const whole = folded(quote);
  if (!whole) return [];
  const at = text.indexOf(whole);
  if (at >= 0) return [[at, at + whole.length]];
  const words = quote.split(/\s+/u).map(folded).filter(Boolean);
  const found = [];
  for (let first = 0; first + LEAST_WORDS <= words.length; ) {
    let end = first + LEAST_WORDS;
    let run = words.slice(first, end).join("");
    let place = text.indexOf(run);
    if (place < 0) {
      first += 1;
      continue;
    }
    while (end < words.length && text.indexOf(run + words[end]) >= 0) {
      run += words[end];
      place = text.indexOf(run);
      end += 1;
    }
    found.push([place, place + run.length]);
    first = end;
  }
  return found;
}

// Mark a quote in all text below `root`; returns the first mark, or undefined if it is not found.
export function mark(root, quote) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  const { text, places } = letters(nodes);
  // What is to be marked in each text node, as [start, end].
  const wanted = new Map();
  for (const [first, end] of stretches(text, quote)) {
    for (const [node, start, stop] of places.slice(first, end)) {
      const [low, high] = wanted.get(node) ?? [start, stop];
      wanted.set(node, [Math.min(low, start), Math.max(high, stop)]);
    }
  }
  for (const [node, [start, end]] of wanted) {
    const range = document.createRange();
    range.setStart(node, start);
    range.setEnd(node, end);
    range.surroundContents(document.createElement("mark"));
  }
  return root.querySelector("mark") ?? undefined;
}
