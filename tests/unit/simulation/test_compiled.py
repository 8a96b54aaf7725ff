"""Machine code where nothing can be kept."""

from penstock.domain.simulation.compiled import compiled


def test_a_function_that_cannot_be_kept_is_compiled_all_the_same() -> None:
    made: dict[str, object] = {}
    exec("def twice(number):\n    return 2 * number", made)  # no file, so there is no place beside it
    twice = made["twice"]
    assert callable(twice)
    assert compiled(twice)(21) == 42
