"""A list as its address bar asks for it: `?q=words&sort=-created&page=2`, and `&format=csv` for all of it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.functional import Promise

from apps.console import addresses

M = TypeVar("M", bound=Model)
Words = str | Promise

PAGE_ROWS = 50
EXPORT_ROWS = 100_000
# As OWASP lists them, with the full-width forms that East Asian spreadsheets take for the same.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Column(NamedTuple):
    """A column that a list can be sorted by: its name in the address bar, its title, and Django's names of what orders it."""

    key: str
    title: Words
    order: tuple[str, ...] = ()
    is_number: bool = False


class Header(NamedTuple):
    """A column's head as the template shows it."""

    title: Words
    href: str
    direction: str
    is_number: bool


@dataclass(frozen=True, slots=True)
class Listing(Generic[M]):
    """One page of a list, and the addresses of its neighbours."""

    rows: list[M]
    total: int
    query: str
    sort: str
    page: int
    columns: Sequence[Column]
    params: QueryDict

    @classmethod
    def of(
        cls,
        request: HttpRequest,
        found: QuerySet[M],
        *,
        columns: Sequence[Column],
        search: Sequence[str],
        sort: str,
        total: int | None = None,
    ) -> Listing[M]:
        """Search, sort and cut; what makes no sense in the address bar is as if it were not there.

        `total` is how many there are without a search, when the caller knows.
        """
        query = request.GET.get("q", "").replace("\x00", "").strip()[:200]
        if query:
            wanted = Q()
            for field in search:
                wanted |= Q(**{f"{field}__icontains": query})
            found = found.filter(wanted)
        asked = request.GET.get("sort", "")
        known = {column.key for column in columns if column.order}
        chosen = asked if asked.removeprefix("-") in known else sort
        total = found.count() if query or total is None else total
        pages = max(1, -(-total // PAGE_ROWS))
        page = min(_positive(request.GET.get("page")), pages)
        ordered = found.order_by(*_order(columns, chosen))
        rows = list(ordered[(page - 1) * PAGE_ROWS : page * PAGE_ROWS])
        return cls(rows=rows, total=total, query=query, sort=chosen, page=page, columns=columns, params=request.GET)

    @property
    def headers(self) -> list[Header]:
        """The heads; a click sorts by one, a second click the other way round."""
        return [self._header(column) for column in self.columns]

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What a search form must carry on, beside its words."""
        return [(key, str(self.params[key])) for key in self.params if key not in {"q", "page", "format"}]

    @property
    def first(self) -> int:
        """The number of the first row shown, counted from 1."""
        return min(self.total, (self.page - 1) * PAGE_ROWS + 1)

    @property
    def last(self) -> int:
        """The number of the last row shown."""
        return min(self.total, self.page * PAGE_ROWS)

    @property
    def previous(self) -> str:
        """The address of the page before, or nothing."""
        return self.address(page=str(self.page - 1)) if self.page > 1 else ""

    @property
    def next(self) -> str:
        """The address of the page after, or nothing."""
        return self.address(page=str(self.page + 1)) if self.last < self.total else ""

    @property
    def here(self) -> str:
        """The parameters of the very page one is on."""
        return self.address()

    @property
    def csv(self) -> str:
        """The address of the whole list as a file."""
        return self.address(page="", format="csv")

    def address(self, **changes: str) -> str:
        """The list's address with some parameters changed; an empty one is left out."""
        return addresses.changed(self.params, **changes)

    def _header(self, column: Column) -> Header:
        if not column.order:
            return Header(column.title, "", "", column.is_number)
        direction = {column.key: "ascending", f"-{column.key}": "descending"}.get(self.sort, "")
        other = f"-{column.key}" if direction == "ascending" or (not direction and column.is_number) else column.key
        return Header(column.title, self.address(sort=other, page=""), direction, column.is_number)


def _order(columns: Sequence[Column], sort: str) -> list[str]:
    fields = next(column.order for column in columns if column.key == sort.removeprefix("-"))
    sign = "-" if sort.startswith("-") else ""
    return [*(f"{sign}{field}" for field in fields), "pk"]


def _positive(written: str | None) -> int:
    return int(written) if written and written.isascii() and written.isdigit() and int(written[:9]) > 0 else 1


def wants_csv(request: HttpRequest) -> bool:
    """Whether the list is to be sent as a file."""
    return request.GET.get("format") == "csv"


class _Line:
    """A file that hands back what is written, for csv.writer."""

    def write(self, value: str) -> str:
        return value


def as_csv(name: str, heads: Sequence[Words], rows: Sequence[Sequence[Any]] | Iterator[Sequence[Any]]) -> HttpResponse:
    """A CSV file whose cells no spreadsheet runs as a formula."""
    writer = csv.writer(_Line())
    lines = [writer.writerow([str(head) for head in heads]), *(writer.writerow([cell(value) for value in row]) for row in rows)]
    response = HttpResponse("".join(lines), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def export(name: str, columns: Sequence[tuple[Words, Callable[[M], Any]]], found: QuerySet[M]) -> HttpResponse:
    """A list's rows as a CSV file, the first 100,000 of them."""
    return as_csv(name, [head for head, _value in columns], [[value(row) for _head, value in columns] for row in found[:EXPORT_ROWS]])


def cell(value: Any) -> Any:
    """What goes into a cell.

    >>> cell("=1+1"), cell(" =1+1"), cell("plain"), cell(-3), cell(None)
    ("'=1+1", "' =1+1", 'plain', -3, '')
    """
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, str) and (value.startswith(FORMULA_BEGINNINGS) or value.lstrip().startswith(FORMULA_BEGINNINGS)):
        return f"'{value}"
    return value
