# Every recipe first brings .venv in step with the locks; that takes milliseconds when nothing has changed.

set positional-arguments

# uv trusts what the machine trusts, takes the interpreter that is there, and heeds no settings but these.
export UV_SYSTEM_CERTS := "1"
export UV_PYTHON_DOWNLOADS := "never"
export UV_NO_CONFIG := "1"

# List the recipes
default:
    @just --justfile '{{ justfile() }}' --list --unsorted

# Run OnCue on its embedded server and serve functions/
up *args: (environment "--no-dev")
    @exec .venv/bin/oncue up "$@"

# Like up, with every log line shown and the developers' tools at hand
dev *args: environment
    @exec .venv/bin/oncue dev "$@"

# Run the tests: ./just test tests/infra -k supervisor
test *args: environment
    @exec .venv/bin/pytest "$@"

# Check format, lint, types and the direction of imports
check: environment
    .venv/bin/ruff format --check
    .venv/bin/ruff check
    .venv/bin/mypy
    .venv/bin/lint-imports

# Put the format right, and what ruff can mend by itself
format: environment
    .venv/bin/ruff check --fix
    .venv/bin/ruff format

# Measure OnCue against stock Dramatiq, side by side
bench *args: environment
    @exec .venv/bin/python tests/bench "$@"

# Break things on purpose for some twenty minutes, and print what was lost: ./just chaos worker_killed --seed 7
chaos *args: environment
    @exec .venv/bin/python -m tests.chaos "$@"

# Build the wheel and the source archive into dist/
build: environment
    uv build --quiet --python .venv/bin/python
    @ls dist

# Write uv.lock and requirements.lock anew from pyproject.toml
lock *args:
    uv lock --python python3 --default-index https://pypi.org/simple "$@"
    uv export --quiet --python python3 --locked --no-emit-project --output-file requirements.lock

# Bring .venv in step with the locks
[private]
environment *args:
    @exec python3 -I infra/environment.py "$@"
