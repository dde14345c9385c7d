"""The reference pages of the book: docstrings, signatures and defaults, written out as MyST when a page is compiled.

Docstrings here are plain prose with formulas in it, which neither Markdown nor reStructuredText may read as markup; so
everything outside of backticks is escaped.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from defenselib import attacks, defenses
from defenselib.errors import unknown
from defenselib.experiments.fields import hyper_parameters

ARGUMENT = re.compile(r"\w[\w, ]{0,40}: ")
SPECIAL = re.compile(r"([\\*_\[\]<>$|#~^{}])")
REGISTRIES: dict[str, dict[str, Any]] = {"attacks": attacks.ATTACKS, "defenses": defenses.DEFENSES}


def page(names: Sequence[str]) -> tuple[str, list[str]]:
    """The MyST text for dotted names, or for a whole registry ("attacks", "defenses"), and the files it is made of."""
    parts, files = [], []
    for name in names:
        listed = REGISTRIES[name] if name in REGISTRIES else {name: resolve(name)}
        for key, thing in listed.items():
            parts.append(method(key, thing, name) if name in REGISTRIES else entry(key, thing))
            files.append(str(inspect.getsourcefile(inspect.unwrap(thing))))
    return "\n\n".join(parts), files


def resolve(name: str) -> Any:
    """The function or class with a dotted name, such as "defenselib.learning.losses.soft_cross_entropy"."""
    owner, _, last = name.rpartition(".")
    module = importlib.import_module(owner)
    if not hasattr(module, last):
        raise unknown(f"name of {owner}:", last, [item for item in dir(module) if not item.startswith("_")])
    return getattr(module, last)


def method(name: str, cls: type, kind: str) -> str:
    """A section on a registered attack or defense: how it is made, what it says of itself, every hyper-parameter."""
    anchor = f"(api-{kind[:-1]}-{name})="
    call = f'`dl.{kind}.create("{name}")`'
    facts = _attack_facts(name) if kind == "attacks" else _defense_facts(cls)
    module = f"`{cls.__module__.replace('.', '/')}.py`"
    lines = [anchor, f"## {name}", f"{call} makes `{cls.__name__}` of {module}. {facts}"]
    lines += [markdown(text) for text in (_module_text(cls), inspect.getdoc(cls)) if text]
    return "\n\n".join([*lines, _fields(cls)])


def _module_text(cls: type) -> str:
    """The docstring of the module; on the classes that share one, of the first alone."""
    module = importlib.import_module(cls.__module__)
    own = [item for item in vars(module).values() if inspect.isclass(item) and item.__module__ == cls.__module__]
    first = [item for item in own if any(item in registry.values() for registry in REGISTRIES.values())][:1]
    return inspect.getdoc(module) or "" if cls in first else ""


def _attack_facts(name: str) -> str:
    attack = attacks.ATTACKS[name]
    kind = "Clean label." if attack.clean_label else "All to all." if attack.all_to_all else "Dirty label."
    known = ", ".join(f"`{preset}`" for preset in attacks.presets(name))
    return f"{kind if attack.poisons else 'Poisons nothing.'} Presets, the default first: {known}."


def _defense_facts(cls: Any) -> str:
    request = cls().clean_request()
    when = "Repairs the undefended model." if cls.post_training else "Trains from scratch."
    if request is None:
        return f"{when} Needs no clean data."
    amount = f"{100 * request.share:g} %" if request.share is not None else f"{request.per_class} of each class"
    return f"{when} Is granted clean samples: {amount}{', inside the training set' if request.inside else ''}."


def entry(name: str, thing: Any) -> str:
    """A function or class as an object of Sphinx's Python domain."""
    if not inspect.isclass(thing):
        return _block("py:function", f"{name}{signature(thing)}", markdown(inspect.getdoc(thing) or ""))
    body = [markdown(inspect.getdoc(thing) or "")]
    if dataclasses.is_dataclass(thing):
        body.append(_fields(thing))
    for key, value in vars(thing).items():
        if inspect.isfunction(value) and not key.startswith("_") and value.__doc__:
            body.append(_block("py:method", f"{key}{signature(value)}", markdown(inspect.getdoc(value) or "")))
    return _block("py:class", name, "\n\n".join(part for part in body if part), fence=4)


def _block(kind: str, argument: str, body: str, fence: int = 3) -> str:
    # Tildes around a block that holds code, backticks around code: neither can end the other.
    return f"{'~' * fence}{{{kind}}} {argument}\n{body}\n{'~' * fence}"


def signature(function: Callable[..., Any]) -> str:
    """The signature on one line; defaults that do not read well become dots."""
    found = inspect.signature(function)
    kept = [_readable(item) for name, item in found.parameters.items() if name != "self"]
    return str(found.replace(parameters=kept, return_annotation=_bare(found.return_annotation)))


class _Bare(str):
    """A text whose repr is the text itself."""

    __slots__ = ()
    __repr__ = str.__str__


def _bare(annotation: Any) -> Any:
    # With postponed evaluation annotations are texts, which would be shown in quotes.
    return _Bare(annotation) if isinstance(annotation, str) else annotation


def _readable(item: inspect.Parameter) -> inspect.Parameter:
    default = item.default if item.default is item.empty else _Bare(_said(item.default))
    return item.replace(default=default, annotation=_bare(item.annotation))


def _fields(cls: Any) -> str:
    """A table of the fields of a dataclass: name, type, default; of a method, what `create` takes."""
    known = dataclasses.fields(cls)
    is_method = issubclass(cls, (attacks.Attack, defenses.Defense))
    names = hyper_parameters(cls) if is_method else {item.name: item.type for item in known}
    shown = [item for item in known if item.name in names and not (is_method and item.name == "plan")]
    if not shown:
        return "No hyper-parameters." if is_method else ""
    head = f"| {'hyper-parameter' if is_method else 'field'} | default | type |\n|---|---|---|"
    types = [str(getattr(item.type, "__name__", item.type)).replace("|", "or") for item in shown]
    rows = [f"| `{item.name}` | {_default(item)} | `{kind}` |" for item, kind in zip(shown, types, strict=True)]
    return "\n".join([head, *rows])


def _default(item: Any) -> str:
    if item.default is not dataclasses.MISSING:
        return f"`{_said(item.default)}`"
    return "empty" if item.default_factory is not dataclasses.MISSING else "needed"


def _said(default: Any) -> str:
    """A default as it is written: settings that are all usual as a call without arguments, dots for what has no text of
    its own (a function, whose repr is an address that changes with every build)."""
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        kind = type(default)
        required = [item for item in dataclasses.fields(kind) if item.default is item.default_factory]
        if not required and default == kind():
            return f"{kind.__name__}()"
    return "..." if "<" in repr(default) else repr(default)


def markdown(docstring: str) -> str:
    """A docstring as Markdown that shows what it says: examples and indented formulas as code, the rest escaped."""
    blocks = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        lines = block.splitlines()
        if lines[0].startswith(">>>"):
            blocks.append("\n".join(["```pycon", *lines, "```"]))
        elif all(line.startswith("    ") for line in lines):
            blocks.append("\n".join(["```text", *(line[4:] for line in lines), "```"]))
        elif lines[1:] and all(ARGUMENT.match(line) for line in lines if not line.startswith(" ")):
            # A line an argument: without marks Markdown would run them together.
            blocks.append("\n".join(escape(line) if line[0] == " " else f"- {escape(line)}" for line in lines))
        else:
            blocks.append("\n".join(escape(line) for line in lines))
    return "\n\n".join(blocks)


def escape(line: str) -> str:
    """Markdown's signs taken literally, except for code in single backticks and the dash of a list."""
    pieces = re.split(r"(`[^`]+`)", line)
    return "".join(piece if place % 2 else SPECIAL.sub(r"\\\1", piece) for place, piece in enumerate(pieces))
