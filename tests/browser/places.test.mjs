// Every search is an address: reuse, back and forward, shared links, settings, the gallery.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { choose, elsewhere, icons, names, page, results, scratch, serve, setUp, someItems, until } from "./support.mjs";

const world = setUp();

test("a result is the next query, back and forward lead through them", () =>
  page(world, "/", async (tab) => {
    await tab.locator(".example").first().click();
    const first = await results(tab);
    const start = tab.url();
    await tab.locator(".content .card-open").nth(1).click();
    await tab.getByRole("dialog").getByRole("link", { name: "Search with this one" }).click();
    await tab.waitForURL((url) => url.href !== start);
    const second = await results(tab);
    assert.notDeepEqual(first, second);
    assert.equal(new URL(tab.url()).searchParams.get("id"), first[1]);
    assert.equal(await tab.getByRole("navigation", { name: "Searches that led here" }).getByRole("link").count(), 1);
    await tab.goBack();
    assert.deepEqual(await results(tab), first);
    await tab.goForward();
    assert.deepEqual(await results(tab), second);
    assert.equal(await tab.getByRole("navigation", { name: "Searches that led here" }).getByRole("link").count(), 1);
    await tab.getByRole("navigation", { name: "Searches that led here" }).getByRole("link").click();
    await tab.waitForURL(start);
    assert.deepEqual(await results(tab), first);
    await tab.goBack();
    await tab.goBack();
    await tab.goBack();
    await tab.getByRole("heading", { level: 1, name: "What looks like this?" }).waitFor();
  }));

test("a shared link and a reload show the same, uploaded queries too", () =>
  page(world, "/", async (tab, context) => {
    await choose(tab, join(icons, "apps", "accessories-calculator.png"));
    await tab.getByRole("dialog").getByRole("button", { name: "Search", exact: true }).click();
    const first = await results(tab);
    await tab.reload();
    assert.deepEqual(await results(tab), first);
    await tab.getByRole("heading", { level: 1, name: "accessories-calculator.png" }).waitFor();
    const other = await context.newPage();
    await other.goto(tab.url());
    assert.deepEqual(await results(other), first);
  }));

test("whoever is sent the link of an upload sees its picture too", () =>
  page(world, "/", async (tab) => {
    await choose(tab, join(icons, "apps", "accessories-calculator.png"));
    await tab.getByRole("dialog").getByRole("button", { name: "Search", exact: true }).click();
    const first = await results(tab);
    const drawn = () => {
      const img = document.querySelector(".query-picture img");
      return img?.complete && img.naturalWidth > 0;
    };
    await until(tab, drawn);
    // Another browser knows nothing of this one.
    await page(world, tab.url().slice(world.url.length), async (other) => {
      assert.deepEqual(await results(other), first);
      await until(other, drawn);
      assert.equal(
        await other.locator(".query-picture img").evaluate((img) => `${img.naturalWidth} x ${img.naturalHeight}`),
        await tab.locator(".query-picture img").evaluate((img) => `${img.naturalWidth} x ${img.naturalHeight}`),
      );
      await other.getByRole("heading", { level: 1, name: "An uploaded image" }).waitFor();
    });
  }));

test("how many neighbours were wanted is remembered, and stands in the address", () =>
  page(world, "/", async (tab, context) => {
    await tab.locator(".example").first().click();
    assert.equal((await results(tab)).length, 20);
    const slider = tab.getByRole("slider", { name: "Neighbours" });
    await slider.focus();
    await slider.press("ArrowLeft");
    await tab.waitForURL(/[?&]k=15(&|$)/);
    const other = await context.newPage();
    await other.goto(world.url);
    await other.locator(".example").first().click();
    await other.waitForURL(/[?&]k=15(&|$)/);
    assert.equal((await results(other)).length, 15);
    // An address that says nothing means the same to everybody.
    const { at } = await someItems(world);
    await other.goto(world.url + at(0));
    assert.equal((await results(other)).length, 20);
    await tab.getByRole("button", { name: "Reset" }).click();
    await other.goto(world.url);
    await other.locator(".example").first().click();
    assert.equal((await results(other)).length, 20);
  }));

test("files of one name in two folders are told apart", async () => {
  const folder = scratch();
  for (const [to, from] of [
    ["a", ["apps", "accessories-calculator.png"]],
    ["b", ["places", "folder.png"]],
  ]) {
    mkdirSync(join(folder, to));
    cpSync(join(icons, ...from), join(folder, to, "1.png"));
  }
  await elsewhere(world, [folder], (there) =>
    page(there, "/", async (tab) => {
      const cards = tab.locator("#main .card");
      await cards.first().waitFor();
      const saved = [];
      for (const i of [0, 1]) {
        await cards.nth(i).locator("button").click();
        const [download] = await Promise.all([
          tab.waitForEvent("download"),
          tab.getByRole("dialog").getByRole("link", { name: "Download" }).click(),
        ]);
        saved.push([download.suggestedFilename(), readFileSync(await download.path())]);
        await tab.keyboard.press("Escape");
      }
      assert.deepEqual(saved, [
        ["a-1.png", readFileSync(join(folder, "a", "1.png"))],
        ["b-1.png", readFileSync(join(folder, "b", "1.png"))],
      ]);
    }),
  );
});

test("a query that the server has forgotten is said kindly", () =>
  page(
    world,
    "/?q=qgone",
    async (tab) => {
      await tab.getByRole("heading", { name: "This query is no longer kept" }).waitFor();
      await tab.getByRole("link", { name: /^Back to/ }).click();
      await tab.getByRole("heading", { level: 1, name: "What looks like this?" }).waitFor();
    },
    { expected: /404/ },
  ));

test("an item and a collection that are not there are said", async () => {
  await page(
    world,
    "/?id=none-such",
    async (tab) => {
      await tab.getByRole("heading", { name: "That is not here" }).waitFor();
    },
    { expected: /404/ },
  );
  await page(world, "/?c=none-such", async (tab) => {
    await tab.getByRole("heading", { name: /There is no collection named/ }).waitFor();
    await tab
      .getByRole("main")
      .getByRole("link", { name: /^Go to/ })
      .click();
    await tab.getByRole("heading", { level: 1, name: "What looks like this?" }).waitFor();
  });
});

test("whoever goes back stands where the search began", () =>
  page(world, "/", async (tab) => {
    const focused = () => tab.evaluate(() => document.activeElement.closest(".card")?.dataset.id);
    await tab.locator(".card-open").nth(2).click();
    await tab.getByRole("dialog").getByRole("link", { name: "Search with this one" }).click();
    await tab.waitForURL(/id=/);
    const first = new URL(tab.url()).searchParams.get("id");
    const [, second] = await results(tab);
    await tab.locator(".content .card-open").nth(1).click();
    await tab.getByRole("dialog").getByRole("link", { name: "Search with this one" }).click();
    await tab.waitForURL((url) => url.searchParams.get("id") === second);
    await results(tab);
    await tab.goBack();
    await until(tab, (id) => document.activeElement.closest(".card")?.dataset.id === id, second);
    await tab.goBack();
    await tab.getByRole("heading", { level: 1, name: "What looks like this?" }).waitFor();
    await until(tab, () => document.activeElement.closest(".card"));
    assert.equal(await focused(), first);
  }));

test("an address that asks for more than there are shows all", async () => {
  const { at, facts } = await someItems(world);
  await page(world, at(0, "&k=1000"), async (tab) => {
    assert.equal((await results(tab)).length, facts.n - 1);
    const slider = tab.getByRole("slider", { name: "Neighbours" });
    assert.equal(await slider.getAttribute("aria-valuetext"), String(facts.n - 1));
    assert.equal(await slider.inputValue(), await slider.getAttribute("max"));
  });
});

test("an image is asked of another collection too", async () => {
  const server = await serve(["--collection", `one=${world.folder}`, "--collection", `two=${world.folder}`]);
  try {
    await page({ ...world, url: server.url }, "/?c=one", async (tab) => {
      await choose(tab, join(icons, "apps", "accessories-calculator.png"));
      await tab.keyboard.press("Enter");
      const found = await results(tab);
      await tab.getByLabel("Collection").selectOption("two");
      await tab.waitForURL(/c=two&q=/);
      assert.deepEqual(await results(tab), found);
      await tab.getByRole("heading", { level: 1, name: "accessories-calculator.png" }).waitFor();
    });
  } finally {
    await server.stop();
  }
});

test("settings search again and stand in the address", async () => {
  const { at } = await someItems(world);
  await page(world, at(0), async (tab) => {
    await results(tab);
    const entries = await tab.evaluate(() => history.length);
    const slider = tab.getByRole("slider", { name: "Neighbours" });
    await slider.focus();
    await slider.press("Home");
    await slider.press("ArrowRight");
    await tab.waitForURL(/[?&]k=2(&|$)/);
    await until(tab, () => document.querySelectorAll(".content .card").length === 2);
    assert.equal(await tab.evaluate(() => document.activeElement.getAttribute("aria-valuetext")), "2");
    await tab.getByRole("complementary").getByLabel("Class").selectOption("devices");
    await tab.waitForURL(/label=devices/);
    await until(tab, () =>
      [...document.querySelectorAll(".content .card-label")].every((label) => label.textContent.endsWith("devices")),
    );
    // Settings are no steps of the history: one step back leaves the query.
    assert.equal(await tab.evaluate(() => history.length), entries);
    await tab.getByRole("button", { name: "Reset" }).click();
    await tab.waitForURL((url) => !/k=|label=/.test(url.search));
    assert.ok((await results(tab)).length > 2);
  });
});

test("the gallery shows classes, pages and single items", async () => {
  const { facts } = await someItems(world);
  await page(world, "/", async (tab) => {
    const cards = tab.locator("#main .card");
    await cards.first().waitFor();
    const before = await cards.count();
    if (facts.n > before) {
      await tab.getByRole("button", { name: /^Show \d+ more/ }).click();
      await until(tab, (n) => document.querySelectorAll(".card").length > n, before);
    }
    await tab
      .getByRole("navigation", { name: "Classes" })
      .getByRole("link", { name: /^places/ })
      .click();
    await tab.waitForURL(/label=places/);
    await until(tab, () =>
      [...document.querySelectorAll(".card-label")].every((label) => label.textContent.endsWith("places")),
    );
    const shown = await tab.locator("#main .card").evaluateAll((all) => all.map((card) => card.dataset.id));
    await cards.nth(1).locator("button").click();
    const dialog = tab.getByRole("dialog");
    await dialog.getByText(`2 / ${shown.length}`).waitFor();
    await tab.keyboard.press("ArrowRight");
    await dialog.getByText(`3 / ${shown.length}`).waitFor();
    const [download] = await Promise.all([
      tab.waitForEvent("download"),
      dialog.getByRole("link", { name: "Download" }).click(),
    ]);
    assert.match(download.suggestedFilename(), /\.png$/);
    await tab.keyboard.press("Escape");
    await until(tab, (id) => document.activeElement.closest(".card")?.dataset.id === id, shown[2]);
    await tab.goBack();
    await until(tab, (n) => document.querySelectorAll(".card").length >= n, before);
  });
});

test("examples change when asked", () =>
  page(world, "/", async (tab) => {
    const titles = () => tab.locator(".example").evaluateAll((all) => all.map((one) => one.title).join());
    await tab.locator(".example").first().waitFor();
    const before = await titles();
    await tab.getByRole("button", { name: "Others" }).click();
    await until(
      tab,
      (old) => {
        const now = [...document.querySelectorAll(".example")].map((one) => one.title).join();
        return now && now !== old;
      },
      before,
    );
  }));

test("a server that is gone is said, and the page goes on once it is back", async (t) => {
  if (process.env.VOISIN_URL) return t.skip("the server is not ours to stop");
  const { at } = await someItems(world);
  return page(
    world,
    at(0),
    async (tab) => {
      await results(tab);
      await tab.route("**/api/search", (route) => route.abort("connectionrefused"));
      await tab.getByRole("complementary").getByLabel("Class").selectOption("devices");
      await tab.getByRole("heading", { name: "The server is gone" }).waitFor();
      await tab.unroute("**/api/search");
      await tab.getByRole("button", { name: "Try again" }).click();
      assert.ok((await results(tab)).length > 1);
      assert.ok((await names(tab)).length > 1);
    },
    { expected: /ERR_CONNECTION_REFUSED/ },
  );
});
