// The worker: gets the network once, then draws what it is asked for.

let generator;

onmessage = async ({ data }) => {
  try {
    if (data.network) {
      const { network, bytes, recorded, software } = data;
      const weights = unpackWeights(bytes, network.precision);
      if (recorded) {
        generator = await makeGpuGenerator(network, weights, recorded, software);
      } else {
        const draw = makeGenerator(network, weights);
        generator = { sizes: [1], draw: (latent, condition) => draw(latent, condition) };
      }
      postMessage({ sizes: generator.sizes });
    } else {
      const images = await generator.draw(data.latents, data.conditions, data.count);
      postMessage({ images }, [images.buffer]);
    }
  } catch (error) {
    postMessage({ error: error.message || String(error) });
  }
};
