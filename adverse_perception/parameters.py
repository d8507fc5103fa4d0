"""The node's parameters, free of ROS: which changes are taken, and what is said about the rest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, fields, replace
from typing import Any

from adverse_perception.config import AUTO, ConfigError, NodeConfig, checked, knobs, wanted
from adverse_perception.engines import Engines

_NOT_OURS = ("qos_overrides.", "use_sim_time", "start_type_description_service")


def constraints(knob: Field[Any]) -> str:
    """What a knob takes beyond its range, and when, for the parameter's descriptor."""
    choices = wanted(knob) if knob.metadata["choices"] else ""
    fixed = "" if knob.metadata["live"] else "fixed while the node is configured"
    return "; ".join(word for word in (choices, fixed) if word)


def explained(knob: Field[Any], error: Exception) -> str:
    """Why a value given at start was refused, and what to write instead."""
    hint = "; write 25.0 for 25" if isinstance(knob.default, float) else ""
    return f"{knob.name}: {error}; expected {wanted(knob)}{hint}"


def revised(config: NodeConfig, values: Mapping[str, Any], engines: Engines | None) -> NodeConfig:
    """The configuration with some values changed; names that are no knobs are left alone.

    Args:
        config: what holds now.
        values: the new values by name.
        engines: what is loaded; None while the node is not configured.

    Raises:
        ConfigError: a value does not fit, or cannot be changed while the engines are loaded.
    """
    changes = {k.name: checked(k, values[k.name]) for k in knobs(NodeConfig) if k.name in values}
    for knob in fields(config):
        changed = knob.name in changes and changes[knob.name] != getattr(config, knob.name)
        if changed and engines is not None and not knob.metadata["live"]:
            raise ConfigError(
                f"{knob.name}: fixed while the node is configured, found"
                f" {changes[knob.name]!r}; deactivate and clean up the node first"
            )
    new = replace(config, **changes)
    if new.condition == AUTO and engines is not None and engines.weather is None:
        raise ConfigError("condition: auto needs a weather engine, found none; choose a weather")
    return new


def unknown_names(given: Iterable[str]) -> Iterator[str]:
    """One warning for each parameter that was given and that nobody reads."""
    known = [knob.name for knob in knobs(NodeConfig)]
    for name in given:
        if name not in known and not name.startswith(_NOT_OURS):
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else "it changes nothing"
            yield f"unknown parameter {name}: {hint}"
