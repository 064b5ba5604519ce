// A server over a folder of icons, a browser, and what the tests ask of both.
//
// VOISIN_BINARY   the binary to test (else the release build of this tree)
// VOISIN_CHROMIUM the browser (else chromium on the path)
// VOISIN_STATIC   a folder to take the page from instead of the binary, while it is worked on
// VOISIN_SCREENSHOTS  a folder for screenshots of every view
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const tree = join(here, "..", "..");
export const icons = join(tree, "tests", "data", "icons");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
];

const binary = process.env.VOISIN_BINARY ?? join(tree, "target", "release", "voisin");

/** Runs `voisin` to its end. */
export const voisin = (...args) => execFileSync(binary, [...args, "--quiet"], { stdio: ["ignore", "ignore", "pipe"] });

/** Starts `voisin serve` and waits until it says where; `stop` ends it. */
export async function serve(args) {
  assert.ok(existsSync(binary), `${binary} is not there: cargo build --release`);
  const child = spawn(
    binary,
    ["serve", ...args, "--port", "0", ...(process.env.VOISIN_STATIC ? ["--static", process.env.VOISIN_STATIC] : [])],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let said = "";
  const url = await new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`the server did not say where it is:\n${said}`)), 30_000);
    const hear = (data) => {
      said += data;
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(said);
      if (found) {
        clearTimeout(timer);
        done(found[0]);
      }
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.on("exit", (code) => fail(new Error(`the server ended with ${code}:\n${said}`)));
  });
  return {
    url,
    stop: () =>
      new Promise((done) => {
        child.removeAllListeners("exit");
        child.on("exit", done);
        child.kill("SIGTERM");
        setTimeout(() => child.kill("SIGKILL"), 5000).unref();
      }),
  };
}

/** A folder that is removed in the end. */
export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), "voisin-page-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The icons and one file that is none. */
export function iconFolder() {
  const folder = join(scratch(), "icons");
  cpSync(icons, folder, { recursive: true });
  rmSync(join(folder, "README.md"));
  writeFileSync(join(folder, "status", "broken.png"), "no image");
  return folder;
}

/** The icons as an index of eight lists of rough codes, which misses some neighbours: what `serve` is called with. */
export function iconLists(folder) {
  const to = (name) => join(dirname(folder), name);
  voisin("embed", folder, "-o", to("icons.h5"));
  voisin("build", "--base", to("icons.h5"), "-o", to("lists"), "--index", "IVF8,PQ11");
  return [to("lists"), "--images", folder, "--features", to("icons.h5")];
}

/** The icons by a learned partition of eight lists; after `iconLists`. */
export function iconModel(folder) {
  const to = (name) => join(dirname(folder), name);
  if (!existsSync(to("learned"))) voisin("build", "--base", to("icons.h5"), "-o", to("learned"), "--index", "LMI8,SQ8");
  return [to("learned"), "--images", folder, "--features", to("icons.h5")];
}

/** A file of FAISS with 400 vectors of 16 dimensions, and names and labels for them. */
export function faissFile(name) {
  const data = join(tree, "tests", "data");
  const beside = (file) => join(data, "names", file);
  return [join(data, "faiss", name), "--names", beside("paths.pkl"), "--labels", beside("labels.json")];
}

/** Runs `test` with a world whose server serves something else. */
export async function elsewhere(world, args, test) {
  const server = await serve(args);
  try {
    await test({ ...world, url: server.url });
  } finally {
    await server.stop();
  }
}

/** Texts with vectors of eight dimensions, as files or as an index: what `serve` is called with. */
export function texts(n = 60, spec = null) {
  const folder = scratch();
  const values = Float32Array.from({ length: n * 8 }, (_, i) => Math.sin(i * i * 0.37) + 0.01 * i);
  const head = `{'descr': '<f4', 'fortran_order': False, 'shape': (${n}, 8), }`;
  const padded = head + " ".repeat(63 - ((10 + head.length) % 64)) + "\n";
  writeFileSync(
    join(folder, "texts.npy"),
    Buffer.concat([
      Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, padded.length & 255, padded.length >> 8]),
      Buffer.from(padded),
      Buffer.from(values.buffer),
    ]),
  );
  const things = ["a tool that draws maps", "an editor of sound", "a game of cards", "a library of fonts"];
  writeFileSync(
    join(folder, "texts.txt"),
    Array.from({ length: n }, (_, i) => `${things[i % 4]}, the ${i}th of its kind, written <b>plainly</b>\n`).join(""),
  );
  const [vectors, index, words] = ["texts.npy", "index", "texts.txt"].map((name) => join(folder, name));
  if (!spec) return [vectors, "--texts", words];
  voisin("build", "--base", vectors, "-o", index, "--index", spec);
  return [index, "--texts", words, "--features", vectors];
}

/**
 * A server over the icons and a browser for a file of tests. `open` gives a page that reports to `troubles` whatever the
 * console, an exception or the content policy complains of; after each page is closed there must be none.
 */
export function setUp(collection = (folder) => [folder]) {
  const world = { url: "", browser: null, server: null, folder: "" };
  before(async () => {
    world.folder = iconFolder();
    const outer = process.env.VOISIN_URL;
    world.server = outer ? { url: outer, stop: async () => {} } : await serve(collection(world.folder));
    world.url = world.server.url;
    world.browser = await chromium.launch({
      executablePath: process.env.VOISIN_CHROMIUM ?? "/usr/bin/chromium",
      headless: true,
      args: FLAGS,
    });
  });
  after(async () => {
    await world.browser?.close();
    await world.server?.stop();
  });
  return world;
}

/** What the page sends, seen from inside: the browser's protocol does not show bodies that are files. */
function watchFetch() {
  window.sent = [];
  const plain = window.fetch;
  window.fetch = (path, options) => {
    window.sent.push({ path: String(path), body: options?.body });
    return plain(path, options);
  };
}

/**
 * Runs `test` with a page; what went wrong in it fails the test.
 * @param expected a pattern of complaints that belong to the test (an answer that is an error is one for the console)
 */
export async function page(
  world,
  path,
  test,
  { width = 1280, height = 900, scheme = "light", expected = null, permissions = ["camera"] } = {},
) {
  const context = await world.browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    permissions,
    acceptDownloads: true,
  });
  const troubles = [];
  const report = (text) => (expected?.test(text) ? null : troubles.push(text));
  try {
    const tab = await context.newPage();
    tab.setDefaultTimeout(20_000);
    tab.on(
      "console",
      (message) =>
        ["error", "warning"].includes(message.type()) && report(`${message.text()} ${message.location().url}`),
    );
    tab.on("pageerror", (error) => report(error.stack ?? error.message));
    await tab.addInitScript(watchFetch);
    await tab.addInitScript(() =>
      document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`),
      ),
    );
    await tab.goto(world.url + path);
    await test(tab, context);
  } finally {
    await context.close();
  }
  assert.deepEqual(troubles, []);
}

/** Results as a person sees them. */
export const names = (tab) =>
  tab.locator(".content .card").evaluateAll((cards) => cards.map((card) => card.dataset.id));

/** Waits until a function of the page is true. (The browser driver's own way evaluates a string, which the content policy forbids.) */
export async function until(tab, test, given) {
  const end = Date.now() + 20_000;
  for (;;) {
    // While the page changes to another there is nothing to evaluate in.
    if (await tab.evaluate(test, given).catch(() => false)) return;
    if (Date.now() > end) throw new Error(`never true: ${test}`);
    await new Promise((done) => setTimeout(done, 30));
  }
}

/** Waits for results and says which. */
export async function results(tab) {
  await until(tab, () => document.querySelector(".content .card") && !document.querySelector(".content [aria-busy]"));
  return names(tab);
}

/** Chooses a file through the button. */
export async function choose(tab, files, button = /Choose an image|New image/) {
  const [chooser] = await Promise.all([
    tab.waitForEvent("filechooser"),
    tab.getByRole("button", { name: button }).click(),
  ]);
  await chooser.setFiles(files);
  await tab.getByRole("dialog", { name: "Search with this image" }).waitFor();
}

/** An answer of the server's API. */
export const ask = (world, path) => fetch(world.url + path).then((answer) => answer.json());

/** The answer to what is posted to it. */
export const post = (world, path, body) =>
  fetch(world.url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then((answer) => answer.json());

/** The name of the first collection, and some of its items. */
export async function someItems(world, limit = 5, label = "") {
  const { collections } = await ask(world, "/api/collections");
  const c = collections[0].name;
  const { items } = await ask(
    world,
    `/api/items?collection=${encodeURIComponent(c)}&limit=${limit}${label && `&label=${label}`}`,
  );
  return {
    c,
    facts: collections[0],
    items,
    at: (i, more = "") => `/?c=${encodeURIComponent(c)}&id=${encodeURIComponent(items[i].id)}${more}`,
  };
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds that is serious or worse. */
export async function serious(tab) {
  // What is still fading in has less contrast than it will have.
  await until(tab, () => document.getAnimations().every((one) => one.playState !== "running"));
  await tab.evaluate(axeSource);
  const { violations } = await tab.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
}

/** Writes a screenshot where they are wanted. */
export async function shoot(tab, name) {
  const folder = process.env.VOISIN_SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await tab.screenshot({ path: join(folder, `${name}.png`), fullPage: !(await tab.locator("dialog[open]").count()) });
}
