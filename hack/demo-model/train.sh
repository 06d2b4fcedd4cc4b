#!/usr/bin/env bash
# Makes the demo model from nothing: environment, data, two training stages, export, measurement, goldens.
# Run it again after an interruption: finished parts are kept, and training goes on from its checkpoint.
#
#   VAE_MINUTES, DIFFUSION_MINUTES   training time of the two stages (21 and 70: two CPU cores)
#   ATELIER_DEMO_MODEL_WORK          environment, data and checkpoints (~/.cache/atelier/demo-model)
#   PYTHON                           the interpreter the environment is made with (python3)
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
python="$("$here/../environment.sh" "$here")"
"$here/fetch.sh"

"$python" "$here/vae.py" --minutes "${VAE_MINUTES:-21}"
"$python" "$here/diffusion.py" --minutes "${DIFFUSION_MINUTES:-70}"
"$python" "$here/export.py"
"$python" "$here/evaluate.py"
"$python" "$here/make_tiny.py"
"$python" "$here/../goldens/golden.py"
