// Bundles styles, scripts, fonts and icons into static/dist/. Run by `npm run build`; `--watch` keeps it running.
import { build, context } from "esbuild";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "..", "node_modules");
const dist = join(here, "dist");

const FONTS = {
  "inter.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
  "jetbrains-mono.woff2": "@fontsource-variable/jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2",
};

/** One SVG file with a <symbol> for each name in icons.txt, drawn from lucide. */
function sprite() {
  const names = readFileSync(join(here, "icons.txt"), "utf8").split("\n").filter((line) => line && !line.startsWith("#"));
  const symbols = names.map((name) => {
    const source = readFileSync(join(modules, "lucide-static", "icons", `${name}.svg`), "utf8");
    const inner = source.replace(/<!--[\s\S]*?-->/g, "").replace(/^[\s\S]*?<svg[\s\S]*?>/, "").replace(/<\/svg>\s*$/, "");
    const shape = 'fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round"';
    return `<symbol id="${name}" viewBox="0 0 24 24" ${shape}>${inner.replace(/\s*\n\s*/g, "")}</symbol>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>\n`;
}

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
for (const [name, source] of Object.entries(FONTS)) cpSync(join(modules, source), join(dist, name));
writeFileSync(join(dist, "icons.svg"), sprite());
cpSync(join(here, "img", "mark.svg"), join(dist, "mark.svg"));

const shared = { bundle: true, minify: true, legalComments: "none", target: ["chrome111", "firefox115", "safari16.4"], logLevel: "warning" };
const jobs = [
  { ...shared, outdir: dist, format: "iife", entryPoints: { boot: join(here, "js/boot.js") } },
  {
    ...shared,
    outdir: dist,
    format: "esm",
    entryPoints: Object.fromEntries(["app", "job", "journal", "charts"].map((name) => [name, join(here, `js/${name}.js`)])),
  },
  {
    ...shared,
    outdir: dist,
    format: "esm",
    entryPoints: { terminal: join(here, "js/terminal.js") },
    inject: [join(here, "js/csp-document.js")],
    define: { document: "strictDocument", "window.document": "strictDocument" },
  },
  {
    ...shared,
    outdir: dist,
    external: ["*.woff2"],
    entryPoints: { app: join(here, "css/app.css") },
  },
  ...[
    ["terminal", `@import "@xterm/xterm/css/xterm.css"; @import "./terminal-skin.css";`],
    ["charts", `@import "uplot/dist/uPlot.min.css"; @import "./chart-skin.css";`],
  ].map(([name, contents]) => ({
    ...shared,
    outfile: join(dist, `${name}.css`),
    stdin: { contents, loader: "css", resolveDir: join(here, "css") },
  })),
];

if (process.argv.includes("--watch")) {
  for (const job of jobs) await (await context(job)).watch();
} else {
  await Promise.all(jobs.map((job) => build(job)));
}
