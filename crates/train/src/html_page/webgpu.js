// The generator on a GPU: the program's own kernels, as recorded (recording.rs), replayed through
// WebGPU.

const SLOT = 256; // Bytes of a dispatch's parameters: the largest offset alignment.

/** An adapter that is no software renderer, or any if `software` is allowed. */
async function findAdapter(software) {
  if (!navigator.gpu) throw new Error("this browser has no WebGPU");
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("WebGPU found no adapter");
  const isSoftware = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter;
  if (isSoftware && !software) throw new Error("the GPU is a software renderer");
  return adapter;
}

/**
 * The generator's function from `count` latents and conditions, row after row, to `count` images.
 * @returns {Promise<{sizes: number[], draw: function}>} and the numbers of images that it draws at
 * once
 */
async function makeGpuGenerator(network, weights, recorded, software) {
  if (recorded.refused) throw new Error(recorded.refused);
  const adapter = await findAdapter(software);
  const device = await adapter.requestDevice();
  device.pushErrorScope("validation");
  const shared = new Map();
  const tapes = new Map();
  for (const tape of recorded.tapes) {
    tapes.set(tape.batch, await prepareTape(device, tape, weights, shared));
  }
  const invalid = await device.popErrorScope();
  if (invalid) throw new Error(invalid.message);
  const [factor, offset] = network.output;
  const draw = async (latents, conditions, count) => {
    const values = await replay(device, tapes.get(count), { latents, condition: conditions });
    return factor === 1 && offset === 0 ? values : values.map((v) => v * factor + offset);
  };
  return { sizes: [...tapes.keys()], draw };
}

/** The pipeline of a kernel, after it is compiled. */
function compile(device, { source, entry, inputs, outputs }) {
  const binding = (i) => ({
    binding: i,
    visibility: GPUShaderStage.COMPUTE,
    buffer:
      i === 0
        ? { type: "uniform", hasDynamicOffset: true }
        : { type: i <= inputs ? "read-only-storage" : "storage" },
  });
  const entries = Array.from({ length: 1 + inputs + outputs }, (_, i) => binding(i));
  return device.createComputePipelineAsync({
    layout: device.createPipelineLayout({
      bindGroupLayouts: [device.createBindGroupLayout({ entries })],
    }),
    compute: { module: device.createShaderModule({ code: source }), entryPoint: entry },
  });
}

/** A tape's buffers, pipelines and steps. `shared` has what tapes have in common. */
async function prepareTape(device, tape, weights, shared) {
  const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  const written = new Set(); // Buffers that a kernel writes, or that are written twice.
  const uploaded = new Set();
  for (const { run, upload, operands } of tape.commands) {
    if (run !== undefined) {
      operands.slice(tape.shaders[run].inputs).forEach((buffer) => written.add(buffer));
    } else if (upload !== undefined) {
      (uploaded.has(upload) ? written : uploaded).add(upload);
    }
  }
  const buffers = tape.buffers.map(() => null);
  const make = (index) => device.createBuffer({ size: tape.buffers[index], usage: storage });
  const bufferOf = (index) => (buffers[index] ??= make(index));

  // Tapes have kernels in common, too.
  const pipelines = await Promise.all(
    tape.shaders.map((shader) => {
      const key = `${shader.entry} ${shader.source}`;
      if (!shared.has(key)) shared.set(key, compile(device, shader));
      return shared.get(key);
    }),
  );

  const runs = tape.commands.filter(({ run }) => run !== undefined);
  const slots = new Uint32Array((runs.length * SLOT) / 4);
  const uniform = device.createBuffer({
    size: slots.byteLength,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  const steps = [];
  let [at, staging, length] = [0, null, 0];
  for (const command of tape.commands) {
    if (command.upload !== undefined) {
      const { upload: index, source } = command;
      if (typeof source === "string") {
        steps.push({ target: bufferOf(index), input: source });
        continue;
      }
      const values = source.words
        ? Uint32Array.from(source.words)
        : weights.subarray(source.at, source.at + source.len);
      if (written.has(index)) {
        steps.push({ target: bufferOf(index), values });
        continue;
      }
      // A constant is written once; weights are shared by the tapes.
      const key = source.words ? null : `${source.at} ${tape.buffers[index]}`;
      if (key && shared.has(key)) {
        buffers[index] = shared.get(key);
        continue;
      }
      device.queue.writeBuffer(bufferOf(index), 0, values);
      if (key) shared.set(key, buffers[index]);
    } else if (command.run !== undefined) {
      slots.set(command.params, at / 4);
      const resources = [{ buffer: uniform, size: SLOT }];
      command.operands.forEach((index) => resources.push({ buffer: bufferOf(index) }));
      const pipeline = pipelines[command.run];
      const group = device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: resources.map((resource, binding) => ({ binding, resource })),
      });
      steps.push({ pipeline, group, offset: at, grid: command.grid });
      at += SLOT;
    } else {
      length = command.len;
      staging = device.createBuffer({
        size: length * 4,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      steps.push({ source: bufferOf(command.read), staging });
    }
  }
  device.queue.writeBuffer(uniform, 0, slots);
  return { steps, staging, length };
}

/** Runs a tape with these inputs, and returns the values that it reads. */
async function replay(device, { steps, staging }, inputs) {
  let encoder = null;
  const submit = () => {
    if (encoder) device.queue.submit([encoder.finish()]);
    encoder = null;
  };
  for (const step of steps) {
    if (step.target) {
      submit();
      device.queue.writeBuffer(step.target, 0, step.values ?? inputs[step.input]);
      continue;
    }
    encoder ??= device.createCommandEncoder();
    if (step.staging) {
      encoder.copyBufferToBuffer(step.source, 0, step.staging, 0, step.staging.size);
      continue;
    }
    const pass = encoder.beginComputePass();
    pass.setPipeline(step.pipeline);
    pass.setBindGroup(0, step.group, [step.offset]);
    pass.dispatchWorkgroups(...step.grid);
    pass.end();
  }
  submit();
  await staging.mapAsync(GPUMapMode.READ);
  const values = new Float32Array(staging.getMappedRange().slice(0));
  staging.unmap();
  return values;
}
