"""callboard: a supervised session runtime for agent platforms."""

__version__ = "0.1.0"

__all__ = ["__version__"]
