// Latents: the same bits as the program's `train::latents`, and its truncation. Every operation is
// rounded to single precision as there, in the same order (crates/tensor/src/rng.rs, cpu/math.rs).

const round = Math.fround;
const MULTIPLIER = [0xd2511f53, 0xcd9e8d57];
const WEYL = [0x9e3779b9, 0xbb67ae85];

/** The upper 32 bits of the product of two 32-bit words. */
function multiplyHigh(a, b) {
  const [al, ah, bl, bh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const [low, left, right] = [al * bl, al * bh, ah * bl];
  const middle = (low >>> 16) + (left & 0xffff) + (right & 0xffff);
  return (ah * bh + (left >>> 16) + (right >>> 16) + (middle >>> 16)) >>> 0;
}

/** Philox4x32-10 (Salmon et al. 2011): `counter` (4 words) under `key` (2 words). */
function philox(counter, key) {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let turn = 0; turn < 10; turn++) {
    const [aHigh, aLow] = [multiplyHigh(MULTIPLIER[0], c0), Math.imul(MULTIPLIER[0], c0)];
    const [bHigh, bLow] = [multiplyHigh(MULTIPLIER[1], c2), Math.imul(MULTIPLIER[1], c2)];
    [c0, c1, c2, c3] = [bHigh ^ c1 ^ k0, bLow, aHigh ^ c3 ^ k1, aLow];
    [k0, k1] = [(k0 + WEYL[0]) | 0, (k1 + WEYL[1]) | 0];
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

const floatOf = new Float32Array(1);
const bitsOf = new Int32Array(floatOf.buffer);
const LN = [
  -1.151461e-1, 1.1676999e-1, -1.2420141e-1, 1.4249323e-1, -1.6668058e-1, 2.0000715e-1,
  -2.4999994e-1, 3.333333e-1,
].map(round);
const [LN_FIRST, LN2_LOW, LN2_HIGH] = [7.0376836e-2, -2.1219444e-4, 0.6933594].map(round);

/** ln x for normal x > 0, as `math::ln`. */
function ln(x) {
  floatOf[0] = x;
  const exponent = (bitsOf[0] - 0x3f3504f3) >> 23;
  bitsOf[0] -= exponent << 23;
  const m = round(floatOf[0] - 1);
  const z = round(m * m);
  let p = LN_FIRST;
  for (const term of LN) p = round(round(p * m) + term);
  let y = round(round(round(p * m) * z) + round(exponent * LN2_LOW));
  y = round(y - round(0.5 * z));
  return round(round(m + y) + round(exponent * LN2_HIGH));
}

const TURN = round(round(2 * Math.PI) / 4294967296);
const SINE = [-1.9515296e-4, 8.332161e-3, -1.6666655e-1].map(round);
const COSINE = [2.4433157e-5, -1.3887316e-3, 4.1666646e-2].map(round);

/** Sine and cosine of `turn` / 2^32 of a full turn, as `math::sin_cos_turn`. */
function sineAndCosine(turn) {
  const quadrant = ((turn + 0x20000000) >>> 0) >>> 30;
  const x = round(round((turn - (quadrant << 30)) | 0) * TURN);
  const z = round(x * x);
  const horner = ([a, b, c]) => round(round(round(round(a * z) + b) * z) + c);
  const sine = round(round(round(horner(SINE) * z) * x) + x);
  const cosine = round(round(round(round(horner(COSINE) * z) * z) - round(0.5 * z)) + 1);
  return [[sine, cosine], [cosine, -sine], [-sine, -cosine], [-cosine, sine]][quadrant];
}

/** Two values of N(0, 1) from two words (Box & Muller 1958). */
function boxMuller(a, b) {
  const uniform = round(round(round(a) + 1) / 4294967296);
  const radius = round(Math.sqrt(round(-2 * ln(uniform))));
  const [sine, cosine] = sineAndCosine(b);
  return [round(radius * cosine), round(radius * sine)];
}

/**
 * Row `index` of the latents that `dcgan sample --seed` draws. `seed` is a BigInt below 2^64.
 * @returns {Float32Array} of `network.latent` values
 */
function latentOf(network, seed, index, stream = network.stream) {
  const key = [Number(seed & 0xffffffffn), Number(seed >> 32n)];
  const row = new Float32Array(network.latent);
  const start = index * network.latent;
  for (let at = 0; at < row.length; ) {
    const block = Math.floor((start + at) / 4);
    const words = philox([block >>> 0, Math.floor(block / 4294967296), stream, 0], key);
    const four =
      network.distribution === "normal"
        ? [...boxMuller(words[0], words[1]), ...boxMuller(words[2], words[3])]
        : words.map((word) => (word >>> 8) / 8388608 - 1);
    for (let i = (start + at) % 4; i < 4 && at < row.length; i++, at++) row[at] = four[i];
  }
  return row;
}

// The error function of FreeBSD's msun (s_erf.c, Copyright (C) 1993 by Sun Microsystems, Inc.;
// permission to use, copy, modify, and distribute this software is freely granted, provided that
// this notice is preserved), which the program has from the crate libm.
const ERX = 8.45062911510467529297e-01;
const EFX8 = 1.02703333676410069053e+00;
const PP = [
  1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
  -5.77027029648944159157e-03, -2.37630166566501626084e-05,
];
const QQ = [
  1, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
  1.32494738004321644526e-04, -3.96022827877536812320e-06,
];
const PA = [
  -2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
  3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
  -2.16637559486879084300e-03,
];
const QA = [
  1, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
  1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02,
];
const RA = [
  -9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01,
  -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02,
  -8.12874355063065934246e+01, -9.81432934416914548592e+00,
];
const SA = [
  1, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02,
  6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02,
  6.57024977031928170135e+00, -6.04244152148580987438e-02,
];
const RB = [
  -9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01,
  -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03,
  -4.83519191608651397019e+02,
];
const SB = [
  1, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03,
  3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02,
  -2.24409524465858183362e+01,
];

/** The polynomial with these coefficients, the constant first. */
function polynomial(x, coefficients) {
  let value = coefficients[coefficients.length - 1];
  for (let i = coefficients.length - 2; i >= 0; i--) value = coefficients[i] + x * value;
  return value;
}

const double = new Float64Array(1);
const halves = new Uint32Array(double.buffer);

/** The error function for x >= 0. */
function erf(x) {
  if (x < 0.84375) {
    if (x < 2 ** -28) return 0.125 * (8 * x + EFX8 * x);
    const z = x * x;
    return x + x * (polynomial(z, PP) / polynomial(z, QQ));
  }
  if (x >= 6) return 1;
  if (x < 1.25) {
    const s = x - 1;
    return 1 - (1 - ERX - polynomial(s, PA) / polynomial(s, QA));
  }
  const s = 1 / (x * x);
  const [r, q] = x < 1 / 0.35 ? [RA, SA] : [RB, SB];
  double[0] = x;
  halves[0] = 0;
  const z = double[0];
  const ratio = polynomial(s, r) / polynomial(s, q);
  return 1 - (Math.exp(-z * z - 0.5625) * Math.exp((z - x) * (z + x) + ratio)) / x;
}

/**
 * The truncation trick, as `train::truncate`: each value keeps its quantile in the distribution
 * that is truncated to ±psi.
 */
function truncated(network, latent, psi) {
  if (network.distribution !== "normal") {
    const factor = round(psi);
    return latent.map((z) => z * factor);
  }
  const inside = erf(psi / Math.SQRT2);
  return latent.map((z) => {
    const quantile = erf(Math.abs(z) / Math.SQRT2) * inside;
    let [low, high] = [0, psi];
    for (let step = 0; step < 50; step++) {
      const middle = (low + high) / 2;
      if (erf(middle / Math.SQRT2) < quantile) low = middle;
      else high = middle;
    }
    return ((low + high) / 2) * (z < 0 ? -1 : 1);
  });
}
