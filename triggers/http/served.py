"""What the edge serves at a moment: the catalog, compiled. It is swapped as a whole when the catalog changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from runtime.versions.catalog import Catalog
from triggers.http.routes import Route, RouteTable
from triggers.http.targets import Target


@dataclass(frozen=True, slots=True)
class Served:
    """The functions and routes that requests can reach."""

    catalog: Catalog
    targets: dict[str, Target]
    routes: RouteTable

    @classmethod
    def of(cls, catalog: Catalog, before: Served | None) -> Self:
        """Compile a catalog; what has not changed since `before` is kept as it is."""
        known = {} if before is None else before.targets
        targets = {
            name: kept if (kept := known.get(name)) is not None and kept.function == function else Target(function)
            for name, function in catalog.functions.items()
        }
        return cls(catalog, targets, RouteTable(Route(trigger, targets[f.name]) for trigger, f in catalog.routes))
