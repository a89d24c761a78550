// What the page holds: facts about it, pictures, and flow in levels. flowcli/view/coding.py says how flow is packed.

const facts = JSON.parse(document.getElementById("facts").textContent);
const UNKNOWN = -32768;
const KEPT_BYTES = 96e6; // Of decoded flow: a phone has not much more to spare.
const gridWidth = Math.ceil(facts.width / facts.spacing);
const gridHeight = Math.ceil(facts.height / facts.spacing);

function storedBytes(name) {
  const element = document.getElementById(name);
  return element && Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
}

// Levels of flow, all of u and then all of v.
async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const halves = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = halves.length / 2;
  const levels = new Int16Array(count);
  for (let row = 0; row < count; row += gridWidth) {
    for (let place = row; place < row + gridWidth; place++) {
      const folded = halves[place] | (halves[count + place] << 8);
      let before = 0;
      if (place > row) before = levels[place - 1];
      else if (row % (count / 2) > 0) before = levels[place - gridWidth];
      levels[place] = before + ((folded >> 1) ^ -(folded & 1));
    }
  }
  return levels;
}

// Results of `make` by key; the oldest go when they take more than `most` bytes in all.
function remembering(most, size, make) {
  const known = new Map();
  return (...key) => {
    const name = key.join("-");
    const found = known.get(name) ?? make(...key);
    known.delete(name);
    known.set(name, found);
    while (known.size > 2 && known.size * size > most) known.delete(known.keys().next().value);
    return found;
  };
}

// A promise of {levels, step}, or of null where no flow leads on from that frame.
const flowOf = remembering(KEPT_BYTES, 4 * gridWidth * gridHeight, async (which, number) => {
  const bytes = storedBytes(`flow-${which}-${number}`);
  return bytes && { levels: await unpack(bytes), step: facts.frames[number].steps[which] };
});

// A promise of a picture to draw, or of null.
const pictureOf = remembering(KEPT_BYTES, 4 * facts.width * facts.height, async (number) => {
  const bytes = storedBytes(`picture-${number}`);
  return bytes && createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
});
