"""The commands with their options; what each does is in the modules one floor up, imported when it runs."""
