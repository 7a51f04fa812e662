"""The version of this package, kept free of imports."""
__version__ = '0.1.0'
