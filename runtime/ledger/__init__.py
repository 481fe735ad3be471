"""The record of every invocation, in Redis. The scripts here are the only place where state changes."""
