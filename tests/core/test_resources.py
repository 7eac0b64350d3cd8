"""What an instance takes."""

from __future__ import annotations

import pytest

from flame_remote.core.resources import ResourceRequirement
from flame_remote.exceptions import FlameError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu=1,mem=1g,gpu=2", ResourceRequirement(1, 2**30, 2)),
        ("cpu=2", ResourceRequirement(2)),
        (" CPU = 1 , Memory = 512 ", ResourceRequirement(1, 512)),
        ("mem=1", ResourceRequirement(memory=1)),
        ("mem=1k", ResourceRequirement(memory=2**10)),
        ("mem=3M", ResourceRequirement(memory=3 * 2**20)),
        ("mem=1gb", ResourceRequirement(memory=2**30)),
        ("mem=1GiB", ResourceRequirement(memory=2**30)),
        ("mem=1gi", ResourceRequirement(memory=2**30)),
        ("mem=2t", ResourceRequirement(memory=2 * 2**40)),
        ("mem=1pib", ResourceRequirement(memory=2**50)),
        ("cpu=1,cpu=2", ResourceRequirement(2)),
    ],
)
def test_requirements_are_read_from_text(text: str, expected: ResourceRequirement) -> None:
    assert ResourceRequirement.from_string(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is not key=value"),
        ("cpu=1,,mem=1g", "'' is not key=value"),
        ("cpu", "'cpu' is not key=value"),
        ("cpu=", "'cpu=' is not key=value"),
        ("cpu=0.5", "cpu must be a whole number, not '0.5'"),
        ("cpu=1k", "cpu must be a whole number, not '1k'"),
        ("cpu=-1", "cpu must be a whole number, not '-1'"),
        ("mem=1x", "memory must be a size such as 512m or 1g, not '1x'"),
        ("mem=1.5g", "memory must be a size such as 512m or 1g, not '1.5g'"),
        ("disk=1", "there is no resource 'disk', only cpu, mem and gpu"),
        ("cpu=1=2", "cpu must be a whole number, not '1=2'"),
    ],
)
def test_what_is_no_requirement_is_told_with_an_example(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        ResourceRequirement.from_string(text)
    assert isinstance(caught.value, FlameError)
    assert str(caught.value) == (
        f"resource requirement {text!r} cannot be read: {reason}; "
        "an example is 'cpu=1,mem=1g,gpu=1'"
    )


def test_text_in_place_of_a_number_is_refused() -> None:
    with pytest.raises(TypeError, match=r"memory of a ResourceRequirement must be a whole number"):
        ResourceRequirement(cpu=1, memory="16g")  # type: ignore[arg-type]


@pytest.mark.parametrize("cpu", [-1, 2**64])
def test_numbers_that_do_not_fit_are_refused(cpu: int) -> None:
    with pytest.raises(ValueError, match=f"cpu of a ResourceRequirement must be 0 to .* not {cpu}"):
        ResourceRequirement(cpu=cpu)


def test_a_requirement_survives_the_wire() -> None:
    requirement = ResourceRequirement(1, 2, 3)
    assert ResourceRequirement.from_proto(requirement.to_proto()) == requirement
