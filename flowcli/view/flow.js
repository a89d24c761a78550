// Flow at a point, and where it carries the point. Places are in pixels of the source, whose centres are whole numbers.

// The vector at a kept pixel, column and row of the grid; null where it is unknown.
function vectorAt(flow, column, row) {
  const place = row * gridWidth + column;
  const u = flow.levels[place];
  const v = flow.levels[gridWidth * gridHeight + place];
  return u === UNKNOWN || v === UNKNOWN ? null : { u: u * flow.step, v: v * flow.step };
}

// The kept pixel nearest to a place: column and row of the grid, and its own x and y.
function nearest(x, y) {
  const along = (place, count) => Math.min(Math.max(Math.round(place / facts.spacing), 0), count - 1);
  const column = along(x, gridWidth);
  const row = along(y, gridHeight);
  return { column, row, x: column * facts.spacing, y: row * facts.spacing };
}

function isInside(x, y) {
  return x >= -0.5 && y >= -0.5 && x <= facts.width - 0.5 && y <= facts.height - 0.5;
}

// The vector between kept pixels, from the four around; null where one of them is unknown.
function vectorBetween(flow, x, y) {
  const across = Math.min(Math.max(x / facts.spacing, 0), gridWidth - 1);
  const down = Math.min(Math.max(y / facts.spacing, 0), gridHeight - 1);
  const column = Math.min(Math.floor(across), Math.max(gridWidth - 2, 0));
  const row = Math.min(Math.floor(down), Math.max(gridHeight - 2, 0));
  const sum = { u: 0, v: 0 };
  for (const [right, below] of [[0, 0], [1, 0], [0, 1], [1, 1]]) {
    const weight = (right ? across - column : 1 - across + column) * (below ? down - row : 1 - down + row);
    if (weight === 0) continue;
    const vector = vectorAt(flow, column + right, row + below);
    if (vector === null) return null;
    sum.u += weight * vector.u;
    sum.v += weight * vector.v;
  }
  return sum;
}

// Adds to point.paths[which] its places in the frames that follow, until it leaves the picture or the flow ends.
// A point that was removed has `gone`.
async function follow(point, which, changed) {
  const path = point.paths[which];
  for (let number = point.frame; number + 1 < facts.frames.length && !point.gone; number++) {
    const flow = await flowOf(which, number);
    const last = path[path.length - 1];
    const vector = flow && vectorBetween(flow, last.x, last.y);
    if (!vector) break;
    // Of frames that were left out, the page has no flow: the motion is taken to stay as it is.
    const frames = facts.frames[number + 1].index - facts.frames[number].index;
    const next = { x: last.x + frames * vector.u, y: last.y + frames * vector.v };
    if (!isInside(next.x, next.y)) break;
    path.push(next);
    if (path.length % 25 === 0) changed();
  }
  changed();
}
