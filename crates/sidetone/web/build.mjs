// Bundles the web phone into dist/, which the binary embeds. Nothing is loaded from elsewhere.
import { build } from "esbuild";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = join(here, "dist");

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.ts"],
  outfile: "dist/phone.js",
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  platform: "browser",
  metafile: true,
  logLevel: "warning",
});
for (const file of ["index.html", "phone.css", "favicon.svg"]) {
  await cp(join(here, "src", file), join(dist, file));
}
await writeFile(join(dist, "licenses.txt"), await licenses(Object.keys(metafile.inputs)));

/** The licence of every package that went into the bundle. */
async function licenses(inputs) {
  const names = inputs.flatMap((input) => input.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1] ?? []);
  const texts = [];
  for (const name of [...new Set(names)].sort()) {
    const folder = join(here, "node_modules", name);
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const text = file === undefined ? `Licence: ${license}\n` : await readFile(join(folder, file), "utf8");
    texts.push(`${name} ${version}\n\n${text}`);
  }
  return texts.join("\n----\n\n");
}
