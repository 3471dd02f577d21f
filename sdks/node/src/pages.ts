// Lists that come in pages: iterate over them, and the next page is fetched when it is needed.
import { BadAnswer } from "./errors.js";

/** How many addresses an iteration remembers: a circle of that many pages is found. */
const MOST_ADDRESSES = 1_000;

/** Items of a list, and the address of those that follow. */
export interface Page<T> {
  items: T[];
  nextUrl: string | undefined;
}

/** The address in `Link: <...>; rel="next"`, seen from `url`. Another origin is refused: it would be sent the token. */
export function nextPage(url: string, link: string | null): string | undefined {
  const links = /<([^<>]*)>((?:\s*;\s*[^;,=\s]+\s*(?:=\s*(?:"[^"]*"|[^;,"\s]*))?)*)/g;
  for (const found of (link ?? "").matchAll(links)) {
    if (!/;\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next(?=\s*(?:;|$)))/i.test(found[2] ?? "")) continue;
    let target: URL;
    try {
      target = new URL(found[1] ?? "", url);
    } catch {
      throw new BadAnswer("the next page is said to be at no address");
    }
    const elsewhere = target.origin !== new URL(url).origin || target.username || target.password;
    if (elsewhere || found[1]?.includes("\\")) throw new BadAnswer("the next page is said to be at another origin");
    if (target.href === new URL(url).href) throw new BadAnswer("the next page is said to be the same one");
    return target.href;
  }
  return undefined;
}

/** `for await (const item of pages)` goes through all items, `pages.pages()` page by page. Each iteration asks anew. */
export class Pages<T> implements AsyncIterable<T> {
  constructor(private readonly fetch: (url: string | undefined) => Promise<Page<T>>) {}

  /** Page by page. */
  async *pages(): AsyncGenerator<Page<T>, void, undefined> {
    // Pages that name each other in a circle would have no end.
    const been = new Set<string>();
    let page = await this.fetch(undefined);
    yield page;
    while (page.nextUrl !== undefined) {
      if (been.has(page.nextUrl)) throw new BadAnswer("the next page is said to be one that was there already");
      const [first] = been.add(page.nextUrl);
      if (first !== undefined && been.size > MOST_ADDRESSES) been.delete(first);
      page = await this.fetch(page.nextUrl);
      yield page;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for await (const page of this.pages()) yield* page.items;
  }

  /** All of them at once. */
  async all(): Promise<T[]> {
    const items: T[] = [];
    for await (const item of this) items.push(item);
    return items;
  }
}
