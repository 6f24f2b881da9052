// Puts src/remediator.js and an engine into one component. Called by `palisade remediator build` with the folder of the
// contract and the file to write.
import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [witPath, output] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath: new URL("src/remediator.js", import.meta.url).pathname,
  witPath,
  worldName: "remediator",
  // A remediator has no clock, no network, no files and no random numbers.
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await writeFile(output, component);
