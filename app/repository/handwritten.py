"""YAML as people write it by hand: words stay words, and nothing is passed over in silence."""

from __future__ import annotations

import re
from typing import Any

import yaml

from app.errors import InvalidModel


class Whole(int):
    """A whole number that knows how it was written: a version 010 is not 8."""

    written: str


class Decimal(float):
    """A number that knows how it was written: a version 1.10 is not 1.1."""

    written: str


class _Loader(yaml.SafeLoader):
    """PyYAML's, without its readings of yes, no, on, off, dates and numbers to the base of 60."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_scalar(self, node: Any) -> Any:
        """Refuse half of a character: it can be written as an escape, and in no answer."""
        made = super().construct_scalar(node)
        try:
            made.encode()
        except UnicodeEncodeError as error:
            raise InvalidModel(
                f"model.yaml has half of a character in {made!r:.60}; write the character itself"
            ) from error
        return made

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse what is said twice: the first would be passed over."""
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    raise InvalidModel(
                        f"model.yaml says {key.value!r:.60} twice, in line "
                        f"{key.start_mark.line + 1} again; say it once"
                    )
                seen.add(str(key.value))
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def _whole(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Whole:
    made = Whole(node.value)
    made.written = node.value
    return made


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    made = Decimal(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    made.written = node.value
    return made


_NUMBERS = list("+-.0123456789")
_DECIMAL = r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
# The first that fits is taken.
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?\d+\Z", re.A), _NUMBERS)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(rf"(?:{_DECIMAL})\Z", re.A), _NUMBERS
)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)


def document(text: str) -> Any:
    """Read one YAML document; numbers are of the two types above, where they are no texts.

    Raises: yaml.YAMLError; InvalidModel for a key that comes twice, or characters that are none.
    """
    return yaml.load(text, _Loader)  # noqa: S506


def text_of(value: Any) -> str:
    """Give a value's text as it was written; "" for none."""
    return "" if value is None else str(getattr(value, "written", value))
