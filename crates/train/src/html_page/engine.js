// The generator in plain JavaScript: one function for each operation of `nn::InferenceLayer`
// (crates/nn/src/inference_layer.rs says what each computes). A feature map is {shape, data}, the
// shape [H, W, C] or [F], channels last. Sums are taken in double precision.

/** The values of the page's weights: bytes in planes (see mod.rs) to single precision. */
function unpackWeights(bytes, precision) {
  const width = precision === "f16" ? 2 : 4;
  const count = bytes.length / width;
  const values = new Float32Array(count);
  if (width === 4) {
    const target = new DataView(values.buffer);
    for (let i = 0; i < count; i++) {
      const byte = (plane) => bytes[plane * count + i];
      const bits = byte(0) | (byte(1) << 8) | (byte(2) << 16) | (byte(3) << 24);
      values[i] = (target.setInt32(i * 4, bits, true), target.getFloat32(i * 4, true));
    }
    return values;
  }
  const known = Float32Array.from({ length: 65536 }, (_, bits) => {
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size = exponent
      ? (1 + fraction / 1024) * 2 ** (exponent - 15)
      : fraction * 2 ** -24;
    return bits & 0x8000 ? -size : size;
  });
  for (let i = 0; i < count; i++) values[i] = known[bytes[i] | (bytes[count + i] << 8)];
  return values;
}

/** The elements of a shape. */
const sizeOf = (shape) => shape.reduce((product, n) => product * n, 1);
const channelsOf = (shape) => shape[shape.length - 1];

/** The feature map with `change(value, channel, index)` in each element. */
function mapped({ shape, data }, change) {
  const [out, channels] = [new Float32Array(data.length), channelsOf(shape)];
  for (let i = 0, c = 0; i < out.length; i++) {
    out[i] = change(data[i], c, i);
    if (++c === channels) c = 0;
  }
  return { shape, data: out };
}

/** Mean and variance of each channel. */
function moments({ shape, data }) {
  const channels = channelsOf(shape);
  const pixels = data.length / channels;
  const [mean, variance] = [new Float64Array(channels), new Float64Array(channels)];
  for (let i = 0; i < data.length; i++) mean[i % channels] += data[i] / pixels;
  for (let i = 0; i < data.length; i++) {
    variance[i % channels] += (data[i] - mean[i % channels]) ** 2 / pixels;
  }
  return [mean, variance];
}

/**
 * Adds to the sums of each pixel `to[p]` the product of the matrix `weight` [outputs, inputs],
 * which starts at `at`, with the values of pixel `from[p]`; in blocks of two pixels and four
 * outputs, whose sums stay in registers.
 */
function addProducts(data, from, sums, to, count, weight, at, inputs, outputs) {
  for (let p = 0; p < count; p += 2) {
    const single = p + 1 === count;
    const a = from[p] * inputs;
    const b = single ? a : from[p + 1] * inputs;
    const c = to[p] * outputs;
    const d = single ? c : to[p + 1] * outputs;
    let o = 0;
    for (; o + 3 < outputs; o += 4) {
      const r0 = at + o * inputs;
      const [r1, r2, r3] = [r0 + inputs, r0 + 2 * inputs, r0 + 3 * inputs];
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (let i = 0; i < inputs; i++) {
        const x = data[a + i], y = data[b + i];
        const w0 = weight[r0 + i], w1 = weight[r1 + i], w2 = weight[r2 + i], w3 = weight[r3 + i];
        a0 += x * w0; a1 += x * w1; a2 += x * w2; a3 += x * w3;
        b0 += y * w0; b1 += y * w1; b2 += y * w2; b3 += y * w3;
      }
      sums[c + o] += a0; sums[c + o + 1] += a1; sums[c + o + 2] += a2; sums[c + o + 3] += a3;
      if (!single) {
        sums[d + o] += b0; sums[d + o + 1] += b1; sums[d + o + 2] += b2; sums[d + o + 3] += b3;
      }
    }
    for (; o < outputs; o++) {
      const row = at + o * inputs;
      let first = 0, second = 0;
      for (let i = 0; i < inputs; i++) {
        first += data[a + i] * weight[row + i];
        second += data[b + i] * weight[row + i];
      }
      sums[c + o] += first;
      if (!single) sums[d + o] += second;
    }
  }
}

/**
 * A convolution or a transposed one, tap by tap of the kernel: `pair(y, x, ky, kx)` is the index of
 * the output pixel that input pixel (y, x) contributes to through the tap, or -1.
 */
function convolve({ shape: [height, width, inputs], data }, layer, [oh, ow], outputs, pair) {
  const { matrix, kernel: [kh, kw] } = layer;
  const sums = new Float64Array(oh * ow * outputs);
  const [from, to] = [new Int32Array(height * width), new Int32Array(height * width)];
  for (let ky = 0; ky < kh; ky++) {
    for (let kx = 0; kx < kw; kx++) {
      let count = 0;
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const target = pair(y, x, ky, kx);
          if (target < 0) continue;
          from[count] = y * width + x;
          to[count++] = target;
        }
      }
      const at = (ky * kw + kx) * inputs * outputs;
      addProducts(data, from, sums, to, count, matrix, at, inputs, outputs);
    }
  }
  return { shape: [oh, ow, outputs], data: withBias(sums, layer.bias) };
}

function withBias(sums, bias) {
  const data = new Float32Array(sums.length);
  for (let i = 0; i < data.length; i++) data[i] = sums[i] + (bias ? bias[i % bias.length] : 0);
  return data;
}

/** The matrices [rows, columns] in `values`, one after the other, transposed. */
function transposed(values, rows, columns) {
  const out = new Float32Array(values.length);
  for (let start = 0; start < values.length; start += rows * columns) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        out[start + j * rows + i] = values[start + i * columns + j];
      }
    }
  }
  return out;
}

/** x · W for each pixel, W being [inputs, outputs]. */
function multiplied(data, weight, outputs) {
  const inputs = weight.length / outputs;
  const sums = new Float64Array((data.length / inputs) * outputs);
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (value === 0) continue;
    const [row, target] = [(i % inputs) * outputs, Math.floor(i / inputs) * outputs];
    for (let o = 0; o < outputs; o++) sums[target + o] += value * weight[row + o];
  }
  return sums;
}

function pooled({ shape: [height, width, channels], data }, { size, stride }, start, add, end) {
  const oh = Math.floor((height - size[0]) / stride[0]) + 1;
  const ow = Math.floor((width - size[1]) / stride[1]) + 1;
  const out = new Float32Array(oh * ow * channels);
  for (let i = 0; i < out.length; i++) {
    const [c, x, y] = [i % channels, Math.floor(i / channels) % ow, Math.floor(i / channels / ow)];
    let value = start;
    for (let ky = 0; ky < size[0]; ky++) {
      for (let kx = 0; kx < size[1]; kx++) {
        const pixel = (y * stride[0] + ky) * width + x * stride[1] + kx;
        value = add(value, data[pixel * channels + c]);
      }
    }
    out[i] = end(value);
  }
  return { shape: [oh, ow, channels], data: out };
}

function globallyPooled({ shape: [height, width, channels], data }, divisor) {
  const sums = new Float64Array(channels);
  for (let i = 0; i < data.length; i++) sums[i % channels] += data[i] / divisor(height * width);
  return { shape: [channels], data: Float32Array.from(sums) };
}

const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  "leaky-relu": (x, slope) => (x > 0 ? x : x * slope),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

/** The operations: (feature map, layer with its values, condition) to feature map. */
const OPERATIONS = {
  linear(x, { weight, outputs, bias }) {
    return { shape: [outputs], data: withBias(multiplied(x.data, weight, outputs), bias) };
  },

  conv(x, layer) {
    const [height, width] = x.shape;
    const { stride, pad, kernel, outputs } = layer;
    const oh = Math.floor((height + pad[0][0] + pad[0][1] - kernel[0]) / stride[0]) + 1;
    const ow = Math.floor((width + pad[1][0] + pad[1][1] - kernel[1]) / stride[1]) + 1;
    return convolve(x, layer, [oh, ow], outputs, (y, x, ky, kx) => {
      const [down, across] = [y + pad[0][0] - ky, x + pad[1][0] - kx];
      const [oy, ox] = [down / stride[0], across / stride[1]];
      const inside = oy >= 0 && oy < oh && ox >= 0 && ox < ow;
      return inside && down % stride[0] === 0 && across % stride[1] === 0 ? oy * ow + ox : -1;
    });
  },

  "conv-transpose"(x, layer) {
    const [height, width] = x.shape;
    const { stride, pad, output_padding: extra, kernel, outputs } = layer;
    const oh = (height - 1) * stride[0] + extra[0] + kernel[0] - pad[0][0] - pad[0][1];
    const ow = (width - 1) * stride[1] + extra[1] + kernel[1] - pad[1][0] - pad[1][1];
    return convolve(x, layer, [oh, ow], outputs, (y, x, ky, kx) => {
      const [oy, ox] = [y * stride[0] + ky - pad[0][0], x * stride[1] + kx - pad[1][0]];
      return oy >= 0 && oy < oh && ox >= 0 && ox < ow ? oy * ow + ox : -1;
    });
  },

  "scale-shift"(x, { scale, shift }) {
    return mapped(x, (value, c) => value * scale[c] + shift[c]);
  },

  "instance-norm"(x, { eps, scale, shift }) {
    const [mean, variance] = moments(x);
    return mapped(x, (value, c) => {
      return ((value - mean[c]) / Math.sqrt(variance[c] + eps)) * scale[c] + shift[c];
    });
  },

  "layer-norm"(x, { eps, scale, shift }) {
    const [[mean], [variance]] = moments({ shape: [1], data: x.data });
    const factor = 1 / Math.sqrt(variance + eps);
    return mapped(x, (value, _, i) => (value - mean) * factor * scale[i] + shift[i]);
  },

  "virtual-batch-norm"(x, { eps, rows: n, mean, variance, scale, shift }) {
    const [ownMean, ownVariance] = moments(x);
    const [old, own] = [n / (n + 1), 1 / (n + 1)];
    const blended = ownMean.map((value, c) => old * mean[c] + own * value);
    const factor = ownVariance.map((value, c) => {
      const between = (ownMean[c] - mean[c]) ** 2 * old * own;
      return scale[c] / Math.sqrt(old * variance[c] + own * value + between + eps);
    });
    return mapped(x, (value, c) => (value - blended[c]) * factor[c] + shift[c]);
  },

  activation(x, { name, slope }) {
    const change = ACTIVATIONS[name];
    return mapped(x, (value) => change(value, slope));
  },

  maxout({ shape, data }, { pieces }) {
    const out = new Float32Array(data.length / pieces).fill(-Infinity);
    data.forEach((value, i) => {
      const group = Math.floor(i / pieces);
      if (value > out[group]) out[group] = value;
    });
    return { shape: [...shape.slice(0, -1), channelsOf(shape) / pieces], data: out };
  },

  "max-pool": (x, layer) => pooled(x, layer, -Infinity, Math.max, (value) => value),

  "average-pool"(x, layer) {
    const count = sizeOf(layer.size);
    return pooled(x, layer, 0, (sum, value) => sum + value, (sum) => sum / count);
  },

  "global-sum": (x) => globallyPooled(x, () => 1),
  "global-average": (x) => globallyPooled(x, (pixels) => pixels),

  upsample({ shape: [height, width, channels], data }, { scale: [down, across] }) {
    const shape = [height * down, width * across, channels];
    const out = new Float32Array(sizeOf(shape));
    for (let y = 0; y < shape[0]; y++) {
      for (let x = 0; x < shape[1]; x++) {
        const source = (Math.floor(y / down) * width + Math.floor(x / across)) * channels;
        out.set(data.subarray(source, source + channels), (y * shape[1] + x) * channels);
      }
    }
    return { shape, data: out };
  },

  reshape: ({ data }, { shape }) => ({ shape, data }),

  attention({ shape, data }, { f, g, h, gamma }) {
    const channels = channelsOf(shape);
    const [pixels, narrow] = [data.length / channels, f.length / channels];
    const keys = multiplied(data, f, narrow);
    const queries = multiplied(data, g, narrow);
    const values = multiplied(data, h, channels);
    const out = Float32Array.from(data);
    const weights = new Float64Array(pixels);
    for (let j = 0; j < pixels; j++) {
      let [largest, total] = [-Infinity, 0];
      for (let i = 0; i < pixels; i++) {
        let sum = 0;
        for (let c = 0; c < narrow; c++) sum += queries[j * narrow + c] * keys[i * narrow + c];
        weights[i] = sum;
        if (sum > largest) largest = sum;
      }
      for (let i = 0; i < pixels; i++) total += weights[i] = Math.exp(weights[i] - largest);
      const sums = new Float64Array(channels);
      for (let i = 0; i < pixels; i++) {
        const share = weights[i] / total;
        for (let c = 0; c < channels; c++) sums[c] += share * values[i * channels + c];
      }
      for (let c = 0; c < channels; c++) out[j * channels + c] += gamma[0] * sums[c];
    }
    return { shape, data: out };
  },

  condition({ shape, data }, { weight, outputs }, condition) {
    const rows = weight ? multiplied(condition, weight, outputs) : condition;
    const channels = channelsOf(shape);
    const wide = channels + rows.length;
    const out = new Float32Array((data.length / channels) * wide);
    for (let p = 0; p * wide < out.length; p++) {
      out.set(data.subarray(p * channels, (p + 1) * channels), p * wide);
      out.set(rows, p * wide + channels);
    }
    return { shape: [...shape.slice(0, -1), wide], data: out };
  },
};

/**
 * The generator's function from a latent and a condition (or null), both Float32Arrays, to an image
 * in [-1, 1], `network.image` = [height, width, channels].
 */
function makeGenerator(network, weights) {
  const layers = network.layers.map((settings) => {
    const layer = { ...settings };
    for (const [name, tensor] of Object.entries(settings)) {
      if (typeof tensor.at !== "number") continue;
      const { at, shape } = tensor;
      layer[name] = weights.subarray(at, at + sizeOf(shape));
      if (name !== "weight") continue;
      layer.kernel = shape;
      layer.outputs = shape[layer.op === "conv-transpose" ? 2 : shape.length - 1];
      // Kernels have [outputs, inputs] for each tap; a convolution's is [inputs, outputs].
      if (layer.op === "conv-transpose") layer.matrix = layer.weight;
      if (layer.op === "conv") layer.matrix = transposed(layer.weight, shape[2], shape[3]);
    }
    return layer;
  });
  const [factor, offset] = network.output;
  return (latent, condition) => {
    let x = { shape: [latent.length], data: latent };
    for (const layer of layers) x = OPERATIONS[layer.op](x, layer, condition);
    return factor === 1 && offset === 0 ? x.data : x.data.map((v) => v * factor + offset);
  };
}
