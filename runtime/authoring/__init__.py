"""Declarations and the values a handler meets. Imports the standard library and pydantic only."""
