// An index that misses something, compared and explained; stories that it cannot tell; and texts.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  elsewhere,
  faissFile,
  iconLists,
  iconModel,
  names,
  page,
  post,
  results,
  serious,
  setUp,
  shoot,
  someItems,
  texts,
  until,
} from "./support.mjs";

const world = setUp(iconLists);

test("lists, recall and exact comparison can be set", async () => {
  const { at, facts } = await someItems(world);
  assert.equal(facts.nlist, 8);
  await page(world, at(0), async (tab) => {
    const told = tab.locator(".timing");
    await results(tab);
    const slider = tab.getByRole("slider", { name: "Lists visited" });
    await slider.focus();
    await slider.press("Home");
    await tab.waitForURL(/nprobe=1(&|$)/);
    await told.getByText("1 of 8 lists visited").waitFor();
    const few = await names(tab);
    const exact = tab.getByRole("switch", { name: "Exact" });
    await exact.press("Space");
    await tab.waitForURL(/exact=1/);
    await told.getByText("69 vectors compared").waitFor();
    assert.notDeepEqual(await names(tab), few);
    await exact.press("Space");
    await tab.getByRole("radio", { name: "Recall" }).check({ force: true });
    await tab.waitForURL(/recall=0\.9/);
    await until(tab, () => /[2-8] of 8 lists visited/.test(document.querySelector(".timing").textContent));
  });
});

test("compare shows both ways, the recall, and marks what differs", async () => {
  const { at } = await someItems(world);
  await page(world, at(0, "&nprobe=1"), async (tab) => {
    await results(tab);
    await tab.getByRole("navigation", { name: "What is shown" }).getByRole("link", { name: "Compare" }).click();
    await tab.waitForURL(/view=compare/);
    const index = tab.getByRole("region", { name: "By the index" });
    const exact = tab.getByRole("region", { name: "Exact" });
    await exact.getByRole("listitem").first().waitFor();
    const ids = (root) => root.locator(".card").evaluateAll((all) => all.map((card) => card.dataset.id));
    const marked = (root) => root.locator(".card.marked").evaluateAll((all) => all.map((card) => card.dataset.id));
    const [found, truth] = [await ids(index), await ids(exact)];
    assert.notDeepEqual(found, truth);
    assert.deepEqual(
      await marked(exact),
      truth.filter((id) => !found.includes(id)),
    );
    assert.deepEqual(
      await marked(index),
      found.filter((id) => !truth.includes(id)),
    );
    const told = await tab.locator(".recall").innerText();
    assert.ok(told.includes(`Recall@${truth.length}`), told);
    await shoot(tab, "compare");
  });
});

test("explain tells the icons' search", async (t) => {
  const { at, facts } = await someItems(world);
  if (facts.asks.explain != null) return t.skip(facts.asks.explain);
  return page(world, at(0, "&nprobe=1&view=explain"), async (tab) => {
    await tab.getByRole("heading", { name: "It chose lists" }).waitFor();
    await tab.getByRole("heading", { name: "It narrowed down" }).waitFor();
    await tab.getByRole("heading", { name: "What it missed, and why" }).waitFor();
    await tab.getByText("List not visited").first().waitFor();
    assert.ok((await tab.locator(".p-hit").count()) > 0 && (await tab.locator(".p-missed").count()) > 0);
    await shoot(tab, "explain");
  });
});

/** The first item whose story at a place has what is looked for, and the story. */
async function storyWith(there, has) {
  const { c, items } = await someItems(there, 400);
  for (const nprobe of [1, 2, 3, 4])
    for (const [i, { id }] of items.entries()) {
      const story = await post(there, "/api/explain", { collection: c, id, map: "none", k: 20, nprobe });
      if (has(story)) return { i, nprobe, story };
    }
  throw new Error("no item has such a story");
}

test("explain names missed neighbours and their reasons", () =>
  elsewhere(world, texts(4000, "IVF64,PQ4"), async (there) => {
    const reasons = (story) => new Set(story.missed.map((one) => one.reason));
    const { i, nprobe, story } = await storyWith(
      there,
      (one) => reasons(one).has("list_not_visited") && reasons(one).has("code_error"),
    );
    const { at } = await someItems(there, 400);
    await page(there, at(i, `&nprobe=${nprobe}&view=explain`), async (tab) => {
      const missed = tab.getByRole("region", { name: "Missed neighbours" });
      await missed.getByText("List not visited").first().waitFor();
      await missed.getByText("Lost to the code").first().waitFor();
      assert.equal(await missed.getByRole("row").count(), 1 + story.missed.length);
      for (const one of story.missed) await missed.getByText(one.text).first().waitFor();
    });
  }));

test("explain names lists and draws them, and a point is a search", async () => {
  const { i, nprobe, story } = await storyWith(world, (one) => one.missed.length > 0);
  const { at, items } = await someItems(world, 400);
  await page(world, at(i, `&nprobe=${nprobe}&view=explain`), async (tab) => {
    const table = tab.getByRole("region", { name: "Lists in the order of the query" });
    await table
      .getByRole("row", { name: /not visited/ })
      .first()
      .waitFor();
    assert.equal(await table.getByRole("row").count(), 1 + nprobe + story.not_visited.length);
    await tab.getByText(`${nprobe} of 8 were visited, in this order.`).waitFor();
    const trust = tab.getByText(/Trustworthiness \d\.\d\d/);
    const before = await trust.innerText();
    // Arrow keys go through the map and say what is there; Enter searches with it.
    const map = tab.locator("svg.map");
    await map.focus();
    await tab.keyboard.press("ArrowRight");
    await tab.locator(".map-tip", { hasText: "The query" }).waitFor();
    await tab.keyboard.press("ArrowRight");
    await tab.locator(".map-tip", { hasText: "missed" }).waitFor();
    await tab.locator(".map-tip img").waitFor();
    await tab.getByRole("radio", { name: "t-SNE" }).check({ force: true });
    await tab.waitForURL(/map=tsne/);
    await until(tab, (old) => !document.querySelector("#main").textContent.includes(old), before);
    await trust.waitFor();
    assert.equal(await tab.evaluate(() => document.activeElement.value), "tsne", "the focus stays on the choice");
    await shoot(tab, "explain-lists");
    // A point under the pointer is a search.
    const hit = tab.locator(".p-hit").first();
    await hit.scrollIntoViewIfNeeded();
    const box = await hit.boundingBox();
    await tab.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await tab.locator(".map-tip", { hasText: "found" }).waitFor();
    await tab.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
    await tab.waitForURL(
      (url) => !url.search.includes("view=") && items.some((item) => item.id === url.searchParams.get("id")),
    );
    await results(tab);
  });
});

test("explain shows a learned partition's probabilities", () =>
  elsewhere(world, iconModel(world.folder), async (there) => {
    const { at } = await someItems(there);
    await page(there, at(0, "&nprobe=8&view=explain"), async (tab) => {
      await tab.getByText("A model gave each list a probability").waitFor();
      await tab.getByRole("columnheader", { name: "Probability" }).waitFor();
      const rows = tab.getByRole("region", { name: "Lists in the order of the query" }).getByRole("row");
      assert.equal(await rows.count(), 1 + 8);
      const shares = await rows.evaluateAll((all) =>
        all
          .slice(1)
          .map((row) => Number.parseFloat(row.querySelector(".wide-cell .tabular").textContent.replace("< ", ""))),
      );
      assert.deepEqual(
        shares,
        [...shares].sort((a, b) => b - a),
      );
      const sum = shares.reduce((x, y) => x + y);
      assert.ok(sum > 97 && sum < 103, `${shares}`);
      assert.deepEqual(await serious(tab), []);
      await shoot(tab, "explain-learned");
    });
  }));

test("many visited lists are folded", () =>
  elsewhere(world, texts(4000, "IVF64,Flat"), async (there) => {
    const { at } = await someItems(there);
    await page(there, at(0, "&nprobe=40&view=explain"), async (tab) => {
      const rows = tab.getByRole("region", { name: "Lists in the order of the query" }).getByRole("row");
      await rows.first().waitFor();
      const few = await rows.count();
      await tab.getByRole("button", { name: /Show all 40 visited lists/ }).click();
      assert.equal(await rows.count(), few + 28);
    });
  }));

test("a class that is compared as a whole, and an index of one list, say so", async () => {
  const { at, facts, items } = await someItems(world, 1, "places");
  const { count } = facts.classes.find((one) => one.label === "places");
  await page(world, at(0, "&view=explain&label=places"), async (tab) => {
    await tab.getByRole("heading", { name: "It chose no lists" }).waitFor();
    await tab.getByText(`All ${count} items of \u201cplaces\u201d were compared, so no lists were chosen`).waitFor();
    assert.equal(await tab.getByRole("region", { name: "Lists in the order of the query" }).count(), 0);
    await shoot(tab, "explain-class");
  });
  const told = await post(world, "/api/explain", {
    collection: facts.name,
    id: items[0].id,
    label: "places",
    map: "none",
  });
  assert.deepEqual([told.compared, told.nprobe, told.lists], ["allowed", 0, []]);
  await elsewhere(world, [world.folder], async (there) => {
    const flat = await someItems(there);
    await page(there, flat.at(0, "&view=explain"), async (tab) => {
      await tab.getByRole("heading", { name: "It compared everything" }).waitFor();
      await tab.getByText("The index has one list, so none was chosen: all 69 vectors were compared.").waitFor();
      // Where all is compared anyway there is nothing to compare it with.
      assert.equal(await tab.getByRole("navigation", { name: "What is shown" }).getByRole("link").count(), 2);
      await tab.goto(there.url + flat.at(0, "&view=compare"));
      await tab.getByRole("heading", { name: "There is nothing to compare" }).waitFor();
      await tab.getByRole("link", { name: "See the results" }).click();
      await results(tab);
    });
  });
});

test("an exact comparison that goes by codes says so", () =>
  elsewhere(world, faissFile("ivf_pq.index"), async (there) => {
    const { at, facts } = await someItems(there);
    assert.deepEqual([facts.spec, facts.exact_by], ["IVF8,PQ4", "codes"]);
    await page(there, at(0), async (tab) => {
      await results(tab);
      await tab.getByRole("switch", { name: "Exact (by codes)" }).press("Space");
      await tab.waitForURL(/exact=1/);
      await tab.locator(".timing").getByText("400 vectors compared").waitFor();
      await tab.goto(there.url + at(0, "&nprobe=1&view=compare"));
      await tab.getByRole("region", { name: "Exact (by codes)" }).getByRole("listitem").first().waitFor();
      await tab.getByText("400 vectors compared by their codes").waitFor();
      await tab.goto(there.url + at(0, "&nprobe=1&view=explain"));
      await tab.getByText("against Exact (by codes)").waitFor();
      assert.deepEqual(await serious(tab), []);
    });
  }));

test("a graph is walked, and searched more thoroughly by keeping more", () =>
  elsewhere(world, faissFile("hnsw.index"), async (there) => {
    const { at, facts, c, items } = await someItems(there);
    assert.ok(facts.ef >= 1 && facts.nlist === 1 && facts.exact_by === "vectors", JSON.stringify(facts));
    const compared = (ef) =>
      post(there, "/api/search", { collection: c, id: items[0].id, k: 5, ...(ef && { ef }) }).then(
        (one) => one.scanned,
      );
    const [few, many] = [await compared(), await compared(399)];
    assert.ok(few < many, `${few} ${many}`);
    await page(there, at(0, "&k=5"), async (tab) => {
      const told = tab.locator(".timing");
      await results(tab);
      await told.getByText(`${few} vectors compared`).waitFor();
      const slider = tab.getByRole("slider", { name: "How thoroughly" });
      assert.equal(await slider.getAttribute("aria-valuetext"), `${facts.ef} kept`);
      await slider.focus();
      await slider.press("End");
      await tab.waitForURL(/ef=512/);
      await until(
        tab,
        (old) => !document.querySelector(".timing").textContent.includes(old),
        `${few} vectors compared`,
      );
      await slider.press("Home");
      await tab.waitForURL(/ef=5(&|$)/);
      await shoot(tab, "graph-results");
      // The walk, level by level.
      await tab.goto(there.url + at(0, "&k=5&view=explain"));
      await tab.getByRole("heading", { name: "It walked a graph" }).waitFor();
      const story = await post(there, "/api/explain", { collection: c, id: items[0].id, k: 5, map: "none" });
      const { hops } = story.graph;
      assert.equal(story.compared, undefined);
      await tab.getByText(`${hops.length} hops`).first().waitFor();
      for (const level of new Set(hops.map((hop) => hop.level)))
        await tab.getByRole("heading", { name: level ? `Level ${level}` : "Level 0, all vectors" }).waitFor();
      const shown = [...new Set(hops.map((hop) => hop.level))]
        .map((level) => Math.min(24, hops.filter((hop) => hop.level === level).length))
        .reduce((x, y) => x + y);
      assert.equal(await tab.locator(".hop").count(), shown);
      await shoot(tab, "explain-graph");
    });
  }));

test("texts are shown as texts, and searched by their ids", async () => {
  await elsewhere(world, texts(), async (there) => {
    await page(there, "/", async (tab) => {
      await tab.getByRole("heading", { level: 1, name: "Choose one to find its neighbours" }).waitFor();
      await tab.locator(".example-words").first().waitFor();
      assert.deepEqual(await serious(tab), []);
      await tab.getByRole("textbox", { name: "Search by name or id" }).fill("7");
      await tab.keyboard.press("Enter");
      assert.equal((await results(tab)).length, 20);
      // What a text says is text, not markup.
      assert.match(await tab.locator(".card-text").first().innerText(), /of its kind, written <b>plainly<\/b>/);
      assert.equal(await tab.locator("#main b").count(), 0);
      assert.equal(await tab.locator(".content img").count(), 0);
      assert.deepEqual(await serious(tab), []);
      await shoot(tab, "texts");
      await tab.locator(".card-open").first().click();
      await tab.getByRole("dialog").locator("blockquote").getByText("of its kind").waitFor();
    });
    await page(
      there,
      "/",
      async (tab) => {
        await tab.getByRole("textbox", { name: "Search by name or id" }).fill("none");
        await tab.keyboard.press("Enter");
        await tab.locator(".notice.wrong").waitFor();
      },
      { expected: /40[04]/ },
    );
  });
});
