#!/usr/bin/env bash
# Makes the pinned Python environment of optimum, once, and prints its interpreter. It is not the one of the goldens:
# optimum-onnx needs a version of transformers that is older than what diffusers 0.42 works with.
#
#   ATELIER_PEER_WORK   where the environment lies (~/.cache/atelier/peer)
#   PYTHON              the interpreter the environment is made with (python3)
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
work="${ATELIER_PEER_WORK:-$HOME/.cache/atelier/peer}"
mkdir -p "$work"

if [[ ! -x "$work/venv/bin/python" ]]; then
  "${PYTHON:-python3}" -m venv "$work/venv"
fi
"$work/venv/bin/pip" install --quiet -r "$here/requirements.txt" >&2
echo "$work/venv/bin/python"
