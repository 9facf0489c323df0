"""Errors of conversions to and from ONNX."""


def expect(truth: bool, message: str) -> None:
    """Raises a `ValueError` unless `truth`."""
    if not truth:
        raise ValueError(f"ONNX: {message}")
