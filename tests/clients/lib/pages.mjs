// Serves the page with which the tests call, from loopback, which browsers treat as secure.
import { build } from "esbuild";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const PAGE = fileURLToPath(new URL("../page/", import.meta.url));

export async function servePages() {
  const { outputFiles } = await build({
    entryPoints: [`${PAGE}caller.js`],
    bundle: true,
    format: "iife",
    target: ["es2022"],
    platform: "browser",
    write: false,
    logLevel: "error",
  });
  const files = {
    "/": ["text/html", "<!doctype html><meta charset=utf-8><title>Caller</title><link rel=icon href=data:,><script src=caller.js></script>"],
    "/caller.js": ["text/javascript", outputFiles[0].contents],
    "/recorder.js": ["text/javascript", readFileSync(`${PAGE}recorder.js`)],
  };
  const server = createServer((request, response) => {
    const found = files[request.url.split("?")[0]];
    if (found === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": found[0] }).end(found[1]);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => server.close(),
  };
}
