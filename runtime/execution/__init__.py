"""Runs invocations: the actor, and the warm children in which handlers live."""
