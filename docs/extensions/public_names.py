"""Names under which the site documents what other people use.

A signature or a docstring may name an object by the module that defines it; the reference page has it under its public
module. Both are one object, so the reference leads there.
"""

from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def found(name: str) -> Any:
    """The object of a dotted name; None if there is none."""
    parts = name.strip(".").split(".") if name.strip(".") else []
    for cut in range(len(parts), 0, -1):
        try:
            thing: Any = import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part, None)
        return thing
    return None


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node) -> nodes.Node | None:
    """The reference to a name that is documented under another module."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    domain = env.domains["py"]
    here = ".".join(filter(None, (node.get("py:module"), node.get("py:class"))))
    defined_in = getattr(found(here), "__module__", None) or node.get("py:module")
    candidates = [target, *(f"{module}.{target}" for module in (node.get("py:module"), defined_in))]
    for candidate in candidates:
        thing = found(candidate) if candidate.startswith("imsvd_plugins") else None
        if thing is None:
            continue
        last = candidate.rpartition(".")[2]
        for name, entry in sorted(domain.objects.items()):
            if name.rpartition(".")[2] == last and found(name) is thing:
                from sphinx.util.nodes import make_refnode  # noqa: PLC0415

                return make_refnode(
                    app.builder, node.get("refdoc", ""), entry.docname, entry.node_id, content.deepcopy(), name
                )
    return None


def skip_fields(app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object) -> bool | None:
    """Leave out a named tuple's fields, which its docstring explains, and methods that a host defines and calls."""
    if type(thing).__name__ == "_tuplegetter":
        return True
    owner = found(f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}".rpartition(".")[0])
    if not isinstance(owner, type) or name == "forward":
        return None
    hosts = [base for base in owner.__mro__[1:] if not base.__module__.startswith(("imsvd_plugins", "builtins"))]
    return True if any(name in vars(base) for base in hosts) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-skip-member", skip_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
