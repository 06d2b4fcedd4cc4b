#!/usr/bin/env bash
# Makes the pinned Python environment of the demo model and the goldens, once, and prints its interpreter.
#
#   ATELIER_DEMO_MODEL_WORK   environment, data and checkpoints (~/.cache/atelier/demo-model)
#   PYTHON                    the interpreter the environment is made with (python3)
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
work="${ATELIER_DEMO_MODEL_WORK:-$HOME/.cache/atelier/demo-model}"
mkdir -p "$work"

if [[ ! -x "$work/venv/bin/python" ]]; then
  "${PYTHON:-python3}" -m venv "$work/venv"
fi
"$work/venv/bin/pip" install --quiet -r "$here/requirements.txt" >&2
echo "$work/venv/bin/python"
