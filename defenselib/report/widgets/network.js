// The forward pass of a small residual network, in plain numbers: what `export.py` describes, with its weights. It knows
// no page, so that it can be tried by itself.

function halves(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const found = new Float32Array(bytes.length / 2);
  for (let at = 0; at < found.length; at += 1) {
    const bits = view.getUint16(2 * at, true);
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    found[at] = bits >> 15 ? -size : size;
  }
  return found;
}

// maps: { data, channels, side }, channel by channel, row by row. A convolution with its bias.
function convolved(maps, layer, weights) {
  const { inputs, outputs, size, stride, padding, at } = layer;
  const side = Math.floor((maps.side + 2 * padding - size) / stride) + 1;
  const data = new Float32Array(outputs * side * side);
  const bias = at + outputs * inputs * size * size;
  for (let output = 0; output < outputs; output += 1) {
    data.fill(weights[bias + output], output * side * side, (output + 1) * side * side);
    for (let input = 0; input < inputs; input += 1) {
      for (let y = 0; y < size; y += 1) {
        for (let x = 0; x < size; x += 1) {
          const weight = weights[at + ((output * inputs + input) * size + y) * size + x];
          add(maps, input, data, output * side * side, side, { stride, up: y - padding, left: x - padding, weight });
        }
      }
    }
  }
  return { data, channels: outputs, side };
}

// One tap of a convolution over a whole map; outside of the map there is nothing.
function add(maps, input, data, start, side, { stride, up, left, weight }) {
  const inside = (shift) => [
    Math.max(0, Math.ceil(-shift / stride)),
    Math.min(side - 1, Math.floor((maps.side - 1 - shift) / stride)),
  ];
  const [[top, bottom], [first, last]] = [inside(up), inside(left)];
  for (let row = top; row <= bottom; row += 1) {
    let from = (input * maps.side + row * stride + up) * maps.side + first * stride + left;
    const end = start + row * side + last;
    for (let to = start + row * side + first; to <= end; to += 1) {
      data[to] += weight * maps.data[from];
      from += stride;
    }
  }
}

function halved({ data, channels, side }) {
  const half = side >> 1;
  const found = new Float32Array(channels * half * half);
  for (let channel = 0; channel < channels; channel += 1) {
    for (let row = 0; row < half; row += 1) {
      for (let column = 0; column < half; column += 1) {
        const at = (channel * side + 2 * row) * side + 2 * column;
        const most = Math.max(data[at], data[at + 1], data[at + side], data[at + side + 1]);
        found[(channel * half + row) * half + column] = most;
      }
    }
  }
  return { data: found, channels, side: half };
}

const positive = (maps) => ({ ...maps, data: maps.data.map((value) => Math.max(0, value)) });

function block(maps, { convolutions, shortcut }, weights) {
  let found = maps;
  convolutions.forEach((layer, number) => {
    found = convolved(found, layer, weights);
    if (number < convolutions.length - 1) found = positive(found);
  });
  const beside = shortcut ? convolved(maps, shortcut, weights) : maps;
  return positive({ ...found, data: found.data.map((value, at) => value + beside.data[at]) });
}

// pixels: 0 .. 1, channel by channel. The probabilities of the classes.
function probabilities(pixels, network, weights) {
  const area = network.side * network.side;
  const data = pixels.map((value, at) => (value - network.mean[Math.floor(at / area)]) / network.std[Math.floor(at / area)]);
  let maps = { data: Float32Array.from(data), channels: 3, side: network.side };
  for (const layer of network.layers) {
    if (layer.kind === "convolution") maps = positive(convolved(maps, layer, weights));
    if (layer.kind === "pool") maps = halved(maps);
    if (layer.kind === "block") maps = block(maps, layer, weights);
  }
  const size = maps.side * maps.side;
  const means = Array.from({ length: maps.channels }, (_, channel) =>
    maps.data.subarray(channel * size, (channel + 1) * size).reduce((sum, value) => sum + value, 0) / size,
  );
  const { at, outputs } = network.head;
  const logits = Array.from({ length: outputs }, (_, output) =>
    means.reduce((sum, value, channel) => sum + value * weights[at + output * means.length + channel], weights[at + outputs * means.length + output]),
  );
  const top = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - top));
  const whole = powers.reduce((sum, value) => sum + value, 0);
  return powers.map((value) => value / whole);
}
