"""Lists that come in pages: iterate over them, and the next page is fetched when it is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import AsyncIterator, Awaitable, Callable, Generic, Iterator, List, Optional, Tuple, TypeVar
from urllib.parse import urljoin

import httpx

from ._errors import BadAnswer

__all__ = ["AsyncPages", "Page", "Pages"]

T = TypeVar("T")

LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^;,=\s]+\s*(?:=\s*(?:\"[^\"]*\"|[^;,\"\s]*))?)*)")
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


class Pages(Generic[T]):
    """`for item in pages` goes through all items, `pages.pages()` page by page. Each iteration asks anew."""

    def __init__(self, fetch: Callable[[Optional[str]], Page[T]]) -> None:
        self._fetch = fetch

    def pages(self) -> Iterator[Page[T]]:
        """Page by page."""
        page = self._fetch(None)
        yield page
        while page.next_url:
            page = self._fetch(page.next_url)
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
        page = await self._fetch(None)
        yield page
        while page.next_url:
            page = await self._fetch(page.next_url)
            yield page

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item
