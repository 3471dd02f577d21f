"""Lists that come in pages: iterate over them, and the next page is fetched when it is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import AsyncIterator, Awaitable, Callable, Dict, Generic, Iterator, List, Optional, Tuple, TypeVar
from urllib.parse import urljoin

import httpx

from ._errors import BadAnswer

__all__ = ["AsyncPages", "Page", "Pages"]

T = TypeVar("T")

LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^;,=\s]+\s*(?:=\s*(?:\"[^\"]*\"|[^;,\"\s]*))?)*)")
#: How many addresses an iteration remembers: a circle of that many pages is found.
MOST_ADDRESSES = 1000
NEXT = re.compile(r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next(?=\s*(?:;|$)))", re.IGNORECASE)


@dataclass(frozen=True)
class Page(Generic[T]):
    """Items of a list, and the address of those that follow."""

    items: List[T]
    next_url: Optional[str]


def origin(url: httpx.URL) -> Tuple[str, str, Optional[int], bytes]:
    """Who is asked for a page, and as whom."""
    return url.scheme, url.host, url.port, url.userinfo


def next_page(url: str, link: Optional[str]) -> Optional[str]:
    """The address in `Link: <...>; rel="next"`, seen from `url`. Another origin is refused: it would be sent the token."""
    for found in LINK.finditer(link or ""):
        if NEXT.search(found[2]):
            try:
                target, here = httpx.URL(urljoin(url, found[1])), httpx.URL(url)
            except (ValueError, httpx.InvalidURL):
                raise BadAnswer("the next page is said to be at no address") from None
            # Some take a backslash for a slash.
            if "\\" in found[1] or origin(target) != origin(here):
                raise BadAnswer("the next page is said to be at another origin")
            if target == here:
                raise BadAnswer("the next page is said to be the same one")
            return str(target)
    return None


class Way:
    """Where an iteration has been: pages that name each other in a circle would have no end."""

    def __init__(self) -> None:
        self._been: Dict[str, None] = {}

    def onward(self, page: Page[T]) -> Optional[str]:
        """The address that follows a page, if one does."""
        url = page.next_url
        if url in self._been:
            raise BadAnswer("the next page is said to be one that was there already")
        if url is not None:
            self._been[url] = None
            if len(self._been) > MOST_ADDRESSES:
                del self._been[next(iter(self._been))]
        return url


class Pages(Generic[T]):
    """`for item in pages` goes through all items, `pages.pages()` page by page. Each iteration asks anew."""

    def __init__(self, fetch: Callable[[Optional[str]], Page[T]]) -> None:
        self._fetch = fetch

    def pages(self) -> Iterator[Page[T]]:
        """Page by page."""
        way, page = Way(), self._fetch(None)
        yield page
        while url := way.onward(page):
            page = self._fetch(url)
            yield page

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.items


class AsyncPages(Generic[T]):
    """`async for item in pages` goes through all items, `pages.pages()` page by page. Each iteration asks anew."""

    def __init__(self, fetch: Callable[[Optional[str]], Awaitable[Page[T]]]) -> None:
        self._fetch = fetch

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Page by page."""
        way, page = Way(), await self._fetch(None)
        yield page
        while url := way.onward(page):
            page = await self._fetch(url)
            yield page

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item
